"""What a layout is, what a source says of itself, and what the one who converts declares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor

from dsetpack.formats.card import Augmentation, Card, Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import KindConfig
from dsetpack.formats.kinds.images import ImagesConfig
from dsetpack.formats.limits import Limits
from dsetpack.spaces import Space

LABEL_RULES = ("order", "hard", "softmax", "centred", "uncentred")
"""What ``labels=`` may say; anything else is a file of labels."""


@dataclass(frozen=True)
class Given:
    """What the one who converts declares, because no source says it; None where nothing was declared.

    Attributes:
        space: the pixel space that the source's values are in.
        labels: one of ``LABEL_RULES``, or a file (``.npy`` or ``.pt``): integers [N] or floats [N, classes].
        classes: class names, or how many.
        lr: the learning rate to train with; ``none`` for a pack without a recipe.
        factor: patches a side that each image of an IDC release holds; 1 for none.
        experiment: which of several sets in one file, from 0.
        dataset: the real data, by the name people call it.
        title: of the pack.
        limits: how many bytes a source may declare.
    """

    space: Space | None = None
    labels: str | None = None
    classes: tuple[str, ...] | int | None = None
    lr: float | Literal["none"] | None = None
    factor: int | None = None
    experiment: int | None = None
    dataset: str | None = None
    title: str | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Protocol:
    """How a release trains on its sets, as far as a card can say it.

    Attributes:
        recipe: with the release's learning rate, or with any where the method learns it.
        augmentation: None for none.
        learned: the method learns the rate, so that no default is right.
    """

    recipe: Recipe
    augmentation: Augmentation | None = None
    learned: bool = False


@dataclass(frozen=True)
class Found:
    """What a source says. What it leaves open is None.

    Attributes:
        sources: images, bases or codes as stored, any real dtype, [N, ...].
        where: the file and the field they come from, for messages.
        files: all files that were read.
        labels: integers [N] or floats [N, classes].
        labels_where: as ``where``.
        labels_hint: where labels would be in this layout, for the message that asks for them.
        by_order: the layout implies labels: equally many images of each class, class by class.
        centred: soft labels are regression targets whose rows sum to about zero.
        target_scale: of centred labels: one-hot · scale - scale / classes is where the release starts from.
        classes: class names.
        space: the pixel space, where the layout fixes it.
        space_hint: what this layout's values usually are, for the message that asks for it.
        kind, config, bank: the decoder; ``bank`` holds its tensors by role.
        shape: of a decoded image where it is not that of a source, (C, H, W).
        product: an epoch takes every pair, not each source once.
        method: what made the set.
        protocol: how the release trains on it.
        lr: the learning rate, where it is stored.
        card: all of it, where the source was unpacked from a pack.
        tensors: of the card's space.
    """

    sources: Tensor
    where: str
    files: tuple[Path, ...]
    labels: Tensor | None = None
    labels_where: str = "labels"
    labels_hint: str = ""
    by_order: bool = False
    centred: bool = False
    target_scale: float | None = None
    classes: tuple[str, ...] | None = None
    space: Space | None = None
    space_hint: str = ""
    kind: str = "images"
    config: KindConfig = field(default_factory=ImagesConfig)
    bank: Mapping[str, Tensor] = field(default_factory=dict)
    shape: tuple[int, int, int] | None = None
    product: bool = True
    method: str | None = None
    protocol: Protocol | None = None
    lr: float | None = None
    card: Card | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


class Layout(ABC):
    """One layout of other people's files; each file of this package without an underscore offers one as ``LAYOUT``.

    Attributes:
        recognised: which paths it takes, in words.
        unknown: what such a source does not say, in words.
        last: it takes paths that others know better, so they are asked first.
    """

    recognised: ClassVar[str]
    unknown: ClassVar[str]
    last: ClassVar[bool] = False

    @abstractmethod
    def accepts(self, path: Path) -> bool:
        """Whether this existing path looks like the layout, by its names alone where they suffice. Never raises."""

    @abstractmethod
    def read(self, path: Path, given: Given) -> Found:
        """What the source at ``path`` says.

        Raises:
            FormatError: it is not in this layout, or something that only ``given`` could say is missing; names the file
                and the field.
            LimitError: it declares more bytes than ``given.limits`` allows.
        """


def refuse_factor(given: Given, layout: str) -> None:
    """``factor`` is for IDC's images alone. FormatError: it was given."""
    if given.factor is not None:
        raise FormatError(f"factor is for layout 'idc', whose images hold smaller ones; leave it out for {layout!r}")


def refuse_experiment(given: Given, layout: str) -> None:
    """``experiment`` is for files that hold several sets. FormatError: it was given."""
    if given.experiment is not None:
        raise FormatError(
            f"experiment is for files of DC, DSA and DM, which may hold several sets; leave it out for this one "
            f"(layout {layout!r})"
        )
