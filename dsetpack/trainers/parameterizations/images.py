"""Plain learned pixels, optionally with learned labels: what DC, DSA, DM, MTT, FRePo and ISA optimise.

Without an objective and started from real images, the set is a selection (random, herding, k-center, forgetting).
Nothing is clipped while learning, because none of these methods clips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.decoders import decoder
from dsetpack.decoders.base import take
from dsetpack.formats.kinds.images import ImagesConfig
from dsetpack.pack.part import Part
from dsetpack.spaces import Space
from dsetpack.trainers import selections
from dsetpack.trainers.context import Context
from dsetpack.trainers.loop import Group
from dsetpack.trainers.parameterizations import base
from dsetpack.trainers.parameterizations.base import Parameterization
from dsetpack.trainers.seeds import generator

KIND = "images"
Rate = Annotated[float, Field(gt=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Init = Literal["noise", "random", "herding", "k-center", "forgetting"]


class ImagesSettings(base.ParameterizationSettings):
    """Settings of images in the pixel space, one source per image; ``ipc`` of each class fill the budget.

    Attributes:
        init: what images start from. ``noise`` is standard normal in the space (DC); the others are real images, see
            ``dsetpack.trainers.selections``.
        lr: the pixels' learning rate: 0.1 in DC and DSA, 1 in DM, 100 to 1000 in MTT, 3e-4 (by LAMB) in FRePo.
        momentum: the momentum of the pixels' SGD, 0.5 in DC, DSA, DM and MTT; None for the schedule's. Other optimisers
            ignore it.
        labels: ``hard``, or ``learned`` together with the pixels (FRePo, ISA). Learned labels do not count towards the
            budget, because the papers do not count them.
        lr_labels: the learning rate of learned labels; None for ``lr``, as in FRePo.
        label_scale: learned labels start as (one-hot - 1/classes) / label_scale; None for √(classes / 10), as in
            FRePo's release.
        selection: the network that picks real images.
    """

    name: Literal["images"] = "images"
    init: Init = "random"
    lr: Rate = 0.1
    momentum: Momentum | None = 0.5
    labels: Literal["hard", "learned"] = "hard"
    lr_labels: Rate | None = None
    label_scale: Rate | None = None
    selection: selections.SelectionSettings = selections.SelectionSettings()

    @override
    def config(self, image: tuple[int, int, int]) -> ImagesConfig:
        return ImagesConfig()

    @override
    def build(self, context: Context) -> Images:
        count = self.budget(context.data.shape, context.classes, context.ipc).sources
        if self.init == "noise":
            images, labels = noise(context, count)
        else:
            images, labels = selections.real_images(self.init, context, count, self.selection)
        return Images(
            images,
            labels,
            context.space,
            context.classes,
            lr=self.lr,
            momentum=self.momentum,
            targets=centred(labels, context.classes, self.label_scale) if self.labels == "learned" else None,
            lr_labels=self.lr_labels,
        )


class Images(Parameterization):
    """Learned images, with hard or learned labels.

    Args:
        sources: float32 [N, C, H, W] in the space.
        labels: int64 [N].
        space: the pixel space.
        classes: the number of classes.
        lr, momentum: the pixels' learning rate and momentum.
        targets: the learned labels to start from, float32 [N, classes]; None for hard labels.
        lr_labels: the learning rate of learned labels; None for ``lr``.
    """

    def __init__(
        self,
        sources: Tensor,
        labels: Tensor,
        space: Space,
        classes: int,
        *,
        lr: float = 0.1,
        momentum: float | None = None,
        targets: Tensor | None = None,
        lr_labels: float | None = None,
    ) -> None:
        super().__init__()
        self.sources = nn.Parameter(sources.detach().clone())
        self.rows = None if targets is None else nn.Parameter(targets.detach().clone())
        self.space = space
        self.register_buffer("labels", labels, persistent=False)
        self._classes, self._lr, self._lr_labels, self._momentum = classes, lr, lr_labels or lr, momentum

    @override
    def images(self, pair_ids: Tensor | None = None) -> Tensor:
        return take(self.sources, pair_ids)

    @override
    def targets(self, pair_ids: Tensor | None = None) -> Tensor | None:
        return None if self.rows is None else take(self.rows, pair_ids)

    @override
    def groups(self) -> Sequence[Group]:
        found = [group("images", self.sources, self._lr, self._momentum)]
        return found if self.rows is None else [*found, group("labels", self.rows, self._lr_labels, self._momentum)]

    @override
    def parts(self) -> list[Part]:
        """One part of kind ``images``. Learned labels are float32 [N, classes]; the card must call them soft."""
        sources = copied(self.sources)
        labels = self.labels.cpu() if self.rows is None else copied(self.rows)
        channels, height, width = sources.shape[1:]
        bank = decoder(KIND, ImagesConfig(), (channels, height, width), self._classes)
        return [Part(KIND, ImagesConfig(), bank, sources, labels)]

    @override
    def floats(self) -> int:
        """The number of pixels alone, because papers do not count labels, learned or not."""
        return self.sources.numel()


def centred(labels: Tensor, classes: int, scale: float | None = None) -> Tensor:
    """The start of learned labels: (one-hot - 1/classes) / scale, float32 [N, classes]; each row sums to 0.

    Args:
        labels: int64 [N].
        classes: the number of classes.
        scale: the divisor; None for √(classes / 10), as in FRePo's release.
    """
    return (F.one_hot(labels, classes).float() - 1 / classes) / (scale or math.sqrt(classes / 10))


def noise(context: Context, count: int) -> tuple[Tensor, Tensor]:
    """Draw standard normal images float32 [classes · count, C, H, W]; return them and their int64 labels, by class."""
    drawn = torch.randn(context.classes * count, *context.data.shape, generator=generator(context.seed, "noise images"))
    labels = torch.arange(context.classes).repeat_interleave(count)
    return drawn.to(context.device), labels.to(context.device)


def group(name: str, parameter: nn.Parameter, lr: float, momentum: float | None) -> Group:
    """One parameter as a group; momentum None stands for the schedule's."""
    made = Group(name=name, params=[parameter], lr=lr)
    if momentum is not None:
        made["momentum"] = momentum
    return made


def copied(parameter: Tensor) -> Tensor:
    """A detached float32 copy on the CPU."""
    return parameter.detach().to("cpu", torch.float32, copy=True)


SETTINGS = ImagesSettings
