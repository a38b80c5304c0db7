"""IDC's multi-formation (Kim et al. 2022): each source holds f×f small images, which are enlarged before use.

What the release (snu-mllab/Efficient-Dataset-Condensation) does, and where this code differs:

- Its start ``mix`` shrinks f×f random real images of a class by nearest-neighbour sampling (the default of torch's
  ``interpolate``) and tiles them; so does this code. If f does not divide a side, the release's tiles and its decoder's
  cuts do not match; here tiles are cut as the decoder cuts, and pixels beyond the border are lost.
- It learns raw pixels and normalises them afterwards; here sources are in the context's space. In a normalised space, a
  step of SGD with learning rate r on raw pixels corresponds to one with r / std² of the channel.
- It clamps raw pixels to [0, 1] every 100 steps; this code does not, or with ``clip`` does so after every step.
- In its evaluation an epoch goes through all f·f·N enlarged images, which is ``epoch_rule`` ``product``. The default
  here is ``paired`` (each source once, with one of its patches drawn), 1/f² of the images: to see as many images takes
  f² times the epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.decoders import Decoder, decoder
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.upsample import UpsampleConfig
from dsetpack.pack.part import Part
from dsetpack.spaces import Space, Zca
from dsetpack.trainers import selections
from dsetpack.trainers.context import Context
from dsetpack.trainers.loop import Group
from dsetpack.trainers.parameterizations import base
from dsetpack.trainers.parameterizations.base import Parameterization
from dsetpack.trainers.parameterizations.images import Init, Momentum, Rate, copied, group, noise

KIND = "upsample"
LR = 5e-3
"""The release's learning rate for 10 images per class."""
Resize = Literal["nearest", "bilinear", "area"]
EpochRule = Literal["paired", "product"]


class UpsampleSettings(base.ParameterizationSettings):
    """Settings of sources as large as an image, ``ipc`` of each class, that hold ``factor²`` images each.

    See the module's docstring.

    Attributes:
        factor: patches per side: 2, or 3 for ImageNet.
        align_corners: how patches are enlarged, as in torch's ``interpolate``.
        init: what patches start from: ``noise`` (raw pixels 0.5 ± 0.25, clipped to [0, 1]), or real images, see
            ``dsetpack.trainers.selections``. Picks fill source after source, patch after patch.
        resize: how real images are shrunk; ``nearest`` in the release. ``bilinear`` does not smooth either.
        lr: the pixels' learning rate; None for the release's 0.005 · ipc / 10, which was chosen for raw pixels.
        momentum: SGD's momentum; None for the schedule's.
        clip: whether to clip pixels to the values that raw 0 to 1 have in the space, before each use; not possible in a
            ZCA space.
        epoch_rule: what an epoch over the set is.
        selection: the network that picks real images.
    """

    name: Literal["upsample"] = "upsample"
    factor: Annotated[int, Field(ge=2)] = 2
    align_corners: bool = False
    init: Init = "random"
    resize: Resize = "nearest"
    lr: Rate | None = None
    momentum: Momentum | None = 0.5
    clip: bool = False
    epoch_rule: EpochRule = "paired"
    selection: selections.SelectionSettings = selections.SelectionSettings()

    @override
    def config(self, image: tuple[int, int, int]) -> UpsampleConfig:
        return UpsampleConfig(factor=self.factor, align_corners=self.align_corners)

    @override
    def build(self, context: Context) -> Upsample:
        count = self.budget(context.data.shape, context.classes, context.ipc).sources
        config = self.config(context.data.shape)
        if self.init == "noise":
            drawn, labels = noise(context, count)
            sources = context.space.apply((drawn / 4 + 0.5).clamp(0, 1))
        else:
            picked, of = selections.real_images(self.init, context, count * config.bank_size(), self.selection)
            sources, labels = tiled(picked, config, self.resize), of[:: config.bank_size()]
        return (Upsample if self.epoch_rule == "paired" else UpsampleProduct)(
            sources,
            labels,
            decoder(KIND, config, context.data.shape, context.classes).to(context.device),
            context.space,
            lr=self.lr or LR * context.ipc / 10,
            momentum=self.momentum,
            clip=self.clip,
        )


class Upsample(Parameterization):
    """Learned sources of f×f patches; labels are hard.

    Args:
        sources: float32 [N, C, H, W] in the space.
        labels: int64 [N].
        bank: the decoder; nothing in it is learned.
        space: the pixel space.
        lr, momentum: the pixels' learning rate and momentum.
        clip: whether to clip pixels to the values that raw 0 to 1 have in the space.

    Raises:
        FormatError: if ``clip`` is set in a ZCA space, where single pixels have no range.
    """

    epoch_rule: ClassVar[EpochRule] = "paired"

    def __init__(
        self,
        sources: Tensor,
        labels: Tensor,
        bank: Decoder,
        space: Space,
        *,
        lr: float = LR,
        momentum: float | None = None,
        clip: bool = False,
    ) -> None:
        super().__init__()
        self.sources = nn.Parameter(sources.detach().clone())
        self.bank, self.space = bank, space
        self.register_buffer("source_labels", labels, persistent=False)
        self.register_buffer("labels", labels.repeat_interleave(bank.bank_size), persistent=False)
        self._lr, self._momentum = lr, momentum
        self._range = _raw_range(space, sources) if clip else None
        self._clipped = -1

    @override
    def images(self, pair_ids: Tensor | None = None) -> Tensor:
        self._clip()
        if pair_ids is None:
            return self.bank.product(self.sources).flatten(0, 1)
        size = self.bank.bank_size
        source_ids, decoder_ids = pair_ids // size, pair_ids % size
        images: Tensor = self.bank(self.sources, decoder_ids, source_ids)
        return images

    @override
    def groups(self) -> Sequence[Group]:
        return [group("sources", self.sources, self._lr, self._momentum)]

    @override
    def parts(self) -> list[Part]:
        self._clip()
        config = self.bank.config
        bank = decoder(KIND, config, self.bank.image, self.bank.classes)
        labels: Tensor = self.get_buffer("source_labels")
        return [Part(KIND, config, bank, copied(self.sources), labels.cpu())]

    def _clip(self) -> None:
        """Clip the sources if the optimiser has moved them since, and only then: a graph may already hold them."""
        if self._range is not None and self._clipped != self.sources._version:
            with torch.no_grad():
                self.sources.clamp_(*(bound.to(self.sources) for bound in self._range))
            self._clipped = self.sources._version


class UpsampleProduct(Upsample):
    """An ``Upsample`` whose epoch is all enlarged images, as in IDC's release."""

    epoch_rule: ClassVar[EpochRule] = "product"


def tiled(images: Tensor, config: UpsampleConfig, resize: Resize) -> Tensor:
    """Shrink images and tile them as the patches of sources.

    Args:
        images: float [N · f², C, H, W]; f² consecutive ones fill a source, patch after patch, row by row.
        config: f and the size of a patch.
        resize: how to shrink.

    Returns:
        [N, C, H, W]; the last patches are cut off at the source's border, as the decoder cuts them.
    """
    channels, height, width = images.shape[1:]
    f, size = config.factor, config.patch_size((channels, height, width))
    patches = F.interpolate(images, size, mode=resize)
    grid = torch.unflatten(patches, 0, (-1, f, f)).permute(0, 3, 1, 4, 2, 5)
    return grid.flatten(4, 5).flatten(2, 3)[:, :, :height, :width].contiguous()


def _raw_range(space: Space, sources: Tensor) -> tuple[Tensor, Tensor]:
    """The values of raw 0 and raw 1 in the space, [1, C, 1, 1]."""
    if isinstance(space, Zca):
        raise FormatError(
            "clip: pixels of a ZCA space have no range of their own; choose raw or normalized, or no clip"
        )
    black = torch.zeros(1, sources.shape[1], 1, 1, device=sources.device)
    return space.apply(black), space.apply(torch.ones_like(black))


SETTINGS = UpsampleSettings
