"""The interface of all parameterizations."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import KindConfig
from dsetpack.formats.model import Model
from dsetpack.formats.words import plural
from dsetpack.pack.part import Part
from dsetpack.spaces import Space
from dsetpack.trainers.context import Context
from dsetpack.trainers.loop import Group

Positive = Annotated[int, Field(ge=1)]


class Budget(Model):
    """The floats that a set may store, and what they are spent on.

    Attributes:
        allowed: ipc · C · H · W · classes.
        sources: the number of sources per class.
        source_floats, decoder_floats: the floats spent on sources (without labels) and on decoders.
    """

    allowed: int
    sources: int
    source_floats: int
    decoder_floats: int

    @property
    def used(self) -> int:
        """The number of floats stored."""
        return self.source_floats + self.decoder_floats

    @property
    def over(self) -> float:
        """Over-parameterisation: used / allowed - 1; negative if floats are left."""
        return self.used / self.allowed - 1


class ParameterizationSettings(Model, ABC):
    """The settings of a parameterization. Each file of this package has them as ``SETTINGS`` and is named like it.

    Attributes:
        every_budget: whether one learned set serves every budget, so that runs share it; see ``shared_set``.
        name: the parameterization's name.
        sources: the number of sources per class; None for as many as fit the budget.
        over_parameterisation: how far sources and decoders may exceed the budget, as a share of it. Papers do exceed it
            (KFS's example by 19%) and say so; the default does not allow it.
    """

    every_budget: ClassVar[bool] = False

    name: str
    sources: Positive | None = None
    over_parameterisation: Annotated[float, Field(ge=0)] = 0.0

    @abstractmethod
    def config(self, image: tuple[int, int, int]) -> KindConfig:
        """The part's configuration for images of shape (C, H, W)."""

    @abstractmethod
    def build(self, context: Context) -> Parameterization:
        """Build the set that learning starts from, on the context's device, after any training that it needs first."""

    def budget(self, image: tuple[int, int, int], classes: int, ipc: int) -> Budget:
        """How many sources per class a budget of ``ipc`` images per class allows, and what they cost.

        Raises:
            FormatError: if the budget is too small for one source per class, or for the number that ``sources`` asks
                for.
        """
        config = self.config(image)
        return self.budget_for(image, classes, ipc, sum(map(math.prod, config.bank_shapes(image, classes).values())))

    def budget_for(self, image: tuple[int, int, int], classes: int, ipc: int, bank: int) -> Budget:
        """``budget`` with decoders that cost ``bank`` floats: 0 if they were paid for before."""
        config = self.config(image)
        source = math.prod(config.source_shape(image)) * classes
        allowed = ipc * math.prod(image) * classes
        limit = math.floor(allowed * (1 + self.over_parameterisation) + 1e-6)
        fits = (limit - bank) // source
        sources = self.sources or max(fits, 1)
        if sources > fits:
            more = f" (+{self.over_parameterisation:.0%}: {limit})" if self.over_parameterisation else ""
            decoders = f" and {plural(config.bank_size(), 'decoder')}" if bank else ""
            raise FormatError(
                f"{plural(sources, 'source')} per class of {list(config.source_shape(image))}{decoders} of {self.name}"
                f": {sources * source + bank} floats, more than the {allowed}{more} of {plural(ipc, 'image')} per "
                "class: raise ipc, take fewer or smaller sources or decoders, or allow over_parameterisation"
            )
        return Budget(allowed=allowed, sources=sources, source_floats=sources * source, decoder_floats=bank)


class Parameterization(nn.Module, ABC):
    """A synthetic set as learnable parameters. Pairs are numbered as in a pack: source · slots + slot.

    Attributes:
        space: the pixel space that images come in.
        labels: int64 [P], the label of every pair (with learned labels: the class that the pair began with).
        epoch_rule: what an epoch over the set is; see the card.
        per_class: images per class and epoch, if the set is a generator.
    """

    epoch_rule: ClassVar[Literal["paired", "product"]] = "product"

    space: Space
    labels: Tensor
    per_class: int | None = None

    @abstractmethod
    def images(self, pair_ids: Tensor | None = None) -> Tensor:
        """Differentiable images float [n, C, H, W] in ``space``.

        Args:
            pair_ids: int64 [n]; None for all pairs in order, by the fast path.
        """

    def targets(self, pair_ids: Tensor | None = None) -> Tensor | None:  # noqa: ARG002
        """Learned labels float [n, classes] of these pairs, differentiable; None if labels are hard."""
        return None

    def batch(self, generator: torch.Generator, size: int | None = None, label: int | None = None) -> Tensor:
        """Choose pairs for one step of a student, or for matching one class: pair_ids, int64 [n], on the set's device.

        Args:
            generator: the generator to draw from, on the CPU.
            size: how many pairs to draw without replacement; None (or their number or more) for all, in order.
            label: the class to choose from; None for all classes.
        """
        host = self.labels.cpu()
        pair_ids = torch.arange(len(host)) if label is None else torch.nonzero(host == label)[:, 0]
        if size is not None and size < len(pair_ids):
            pair_ids = pair_ids[torch.randperm(len(pair_ids), generator=generator)[:size]]
        return pair_ids.to(self.device)

    @abstractmethod
    def groups(self) -> Sequence[Group]:
        """The parameters to optimise, with their learning rates."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """The set as parts of a pack, which are detached copies on the CPU."""

    def floats(self) -> int:
        """The number of floats that the set stores, as papers count it for a budget."""
        return sum(p.numel() for p in self.parameters())

    @property
    def device(self) -> torch.device:
        """The device that the set is on."""
        return self.labels.device
