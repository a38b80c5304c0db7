"""What a layout is, what a file or folder says about itself, and what the user declares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from dsetpack.files.splits import Split
from dsetpack.formats.axes import Axes
from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import KindConfig
from dsetpack.formats.kinds.images import ImagesConfig
from dsetpack.formats.limits import Limits
from dsetpack.spaces import Space

LABEL_RULES = ("order", "hard", "one-based", "softmax", "probabilities", "renormalised", "centred", "uncentred")
"""The values of ``labels=`` that are not the name of a file of labels."""


@dataclass(frozen=True)
class Given:
    """The user's declarations about what the files do not say; None if a field is not declared.

    Attributes:
        space: the pixel space of the stored values.
        labels: one of ``LABEL_RULES``; a file (``.npy`` or ``.pt``) of labels; or both, ``FILE:RULE``.
        classes: class names, or their number.
        lr: the learning rate to train with; ``none`` for a pack without a recipe.
        factor: the number of patches per side that each image of an IDC release holds; 1 for plain images.
        experiment: the number of the set in a file of several sets, from 0.
        split: the split to read of a source that has several: ``train`` or ``test``.
        axes: the order of the axes of images: ``NCHW`` or ``NHWC``.
        drop_alpha: whether the alpha channel of images is dropped.
        absent: whether classes without images are intended.
        dataset: the usual name of the real data.
        method: the method that made the set, such as ``dsa``.
        recipe: the recipe whose training the card takes: a name such as ``dc-mnist-ipc10``.
        title, description, license, author, url: what the card tells people.
        limits: how many bytes the files may declare.
    """

    space: Space | None = None
    labels: str | None = None
    classes: tuple[str, ...] | int | None = None
    lr: float | Literal["none"] | None = None
    factor: int | None = None
    experiment: int | None = None
    split: Split | None = None
    axes: Axes | None = None
    drop_alpha: bool = False
    absent: bool = False
    dataset: str | None = None
    method: str | None = None
    recipe: str | None = None
    title: str | None = None
    description: str | None = None
    license: str | None = None
    author: str | None = None
    url: str | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Found:
    """What the files say. A field that they leave open is None.

    Attributes:
        sources: images, bases or codes as stored, any real dtype, [N, ...].
        where: the file and the field that the sources come from, for messages.
        files: all files that were read.
        axes: the order of the axes of the sources, if the layout fixes it.
        labels: class numbers or names [N], one-hot integers or floats [N, classes].
        labels_where: the file and the field that the labels come from, for messages.
        labels_hint: where labels would be in this layout, for the message that asks for them.
        by_order: whether the layout implies labels: the same number of images per class, class by class.
        centred: whether soft labels are regression targets whose rows sum to about zero.
        target_scale: the scale of centred labels: the release starts from one-hot · scale - scale / classes.
        classes: the class names.
        split: the split that was read, if the source has splits.
        space: the pixel space, if the layout fixes it.
        space_hint: the usual space of this layout, for the message that asks for it.
        kind, config, bank: the decoder; ``bank`` holds its tensors by role.
        shape: the shape of a decoded image, (C, H, W), if it is not that of a source.
        product: whether an epoch takes every pair, not each source once.
        method: the method that made the set.
        protocol: the method whose recipes say how the release trains on the set.
        dataset: the real data, if the file's name says it; only the choice of a recipe uses it.
        lr: the learning rate, if it is stored.
        extra: what the card keeps of the file besides: accuracies that the release claims, an order of steps.
        card: the whole card, if the files were unpacked from a pack.
        tensors: the tensors of the card's space.
    """

    sources: Tensor
    where: str
    files: tuple[Path, ...]
    axes: Axes | None = None
    labels: Tensor | NDArray[Any] | None = None
    labels_where: str = "labels"
    labels_hint: str = ""
    by_order: bool = False
    centred: bool = False
    target_scale: float | None = None
    classes: tuple[str, ...] | None = None
    split: Split | None = None
    space: Space | None = None
    space_hint: str = ""
    kind: str = "images"
    config: KindConfig = field(default_factory=ImagesConfig)
    bank: Mapping[str, Tensor] = field(default_factory=dict)
    shape: tuple[int, int, int] | None = None
    product: bool = True
    method: str | None = None
    protocol: str | None = None
    dataset: str | None = None
    lr: float | None = None
    extra: Mapping[str, JsonValue] = field(default_factory=dict)
    card: Card | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


class Layout(ABC):
    """One layout of other people's files; modules of this package offer one as ``LAYOUT``.

    Attributes:
        recognised: the paths that the layout takes, in words.
        unknown: what such files do not say, in words.
        last: whether other layouts are tried first, because this one takes paths that they know better.
    """

    recognised: ClassVar[str]
    unknown: ClassVar[str]
    last: ClassVar[bool] = False

    @abstractmethod
    def accepts(self, path: Path) -> bool:
        """Whether this existing path looks like the layout, judged by names alone if they suffice. Never raise."""

    @abstractmethod
    def read(self, path: Path, given: Given) -> Found:
        """Read what the files at ``path`` say.

        Raises:
            FormatError: if they are not in this layout, or if a declaration is missing in ``given``; the message names
                the file and the field.
            LimitError: if they declare more bytes than ``given.limits`` allows.
        """


def refuse_factor(given: Given, layout: str) -> None:
    """Check that ``factor`` is not given: it is only for IDC's images.

    Raises:
        FormatError: if it is given.
    """
    if given.factor is not None:
        raise FormatError(
            f"factor is for layout 'idc', whose images hold smaller ones: pass layout='idc' (--layout idc) if IDC made "
            f"this one, otherwise leave factor out for {layout!r}"
        )


def refuse_experiment(given: Given, layout: str) -> None:
    """Check that ``experiment`` is not given: it is only for files that hold several sets.

    Raises:
        FormatError: if it is given.
    """
    if given.experiment is not None:
        raise FormatError(
            f"experiment is for files of DC, DSA and DM, which may hold several sets; leave it out for this one "
            f"(layout {layout!r})"
        )
