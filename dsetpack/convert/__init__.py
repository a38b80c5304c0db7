"""Conversion of other people's files to packs: one module per layout, found by its name.

    from dsetpack.convert import convert
    pack = convert("images_best.pt", space=space, lr=0.01)

Nothing in a file is run: torch files are read with ``weights_only=True``, arrays without pickle, and sizes are checked
before memory is allocated. The user declares what a file does not say, or is asked for it, and the card tells which is
which (``provenance.settings["converted"]``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dsetpack.convert._assemble import assemble
from dsetpack.convert._labels import label_source
from dsetpack.convert._matrix import given_zca
from dsetpack.convert._published import PUBLISHED, Published, published
from dsetpack.convert.base import Given, Layout
from dsetpack.files.splits import Split
from dsetpack.formats.axes import Axes
from dsetpack.formats.by_name import by_name, chosen, spelled
from dsetpack.formats.errors import FormatError
from dsetpack.formats.limits import Limits
from dsetpack.pack.pack import Pack
from dsetpack.spaces import Space, as_space

__all__ = [
    "PUBLISHED",
    "Layout",
    "Published",
    "convert",
    "detect",
    "given_zca",
    "label_source",
    "layout_names",
    "layout_of",
    "published",
]


def layout_names() -> tuple[str, ...]:
    """The names of all layouts, sorted."""
    return tuple(by_name(__name__, "LAYOUT"))


def layout_of(name: str) -> Layout:
    """Find a layout by name.

    Raises:
        FormatError: if no layout has that name; the message names the nearest.
    """
    found: Layout = chosen(by_name(__name__, "LAYOUT"), name, "layout")
    return found


def detect(source: str | os.PathLike[str]) -> str:
    """Find the name of the layout of a file or folder.

    Raises:
        FormatError: if the path does not exist, or is in no known layout; the message lists the layouts.
    """
    path = Path(source)
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder")
    for name in sorted(layout_names(), key=lambda name: layout_of(name).last):
        if layout_of(name).accepts(path):
            return name
    known = "; ".join(f"{name}: {layout_of(name).recognised}" for name in layout_names())
    raise FormatError(f"{path}: in no layout known here ({known}); if it is in one of them, pass layout= (--layout)")


def convert(
    source: str | os.PathLike[str],
    *,
    layout: str | None = None,
    space: Space | None = None,
    labels: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | int | None = None,
    lr: float | Literal["none"] | None = None,
    factor: int | None = None,
    experiment: int | None = None,
    split: Split | None = None,
    axes: Axes | None = None,
    drop_alpha: bool = False,
    absent: bool = False,
    dataset: str | None = None,
    method: str | None = None,
    recipe: str | None = None,
    title: str | None = None,
    description: str | None = None,
    license: str | None = None,  # noqa: A002 - the card's word
    author: str | None = None,
    url: str | None = None,
    limits: Limits | None = None,
) -> Pack:
    """Convert a file or folder to a pack.

    Args:
        source: a file or folder.
        layout: one of ``layout_names()``; by default the layout that ``detect`` finds.
        space: the pixel space of the file's values: ``Raw()``, ``Normalized(...)``, ``Zca.fit(...)``, or a ``Zca``
            with a given matrix. It is declared, not applied: no value is changed.
        labels: ``order`` (the same number of images per class, class by class); ``one-based`` (class number 1 is the
            first class); the meaning of soft labels: ``softmax`` (logits, converted to probabilities),
            ``probabilities`` (kept as they are), ``renormalised`` (each row divided by its sum), ``centred`` (targets,
            kept as they are), ``uncentred`` (undo the centring of FRePo and RFAD) or ``hard`` (keep the largest
            entry); or a ``.npy`` or ``.pt`` file of labels, alone or with its rule: ``y.npy:softmax``.
        classes: class names, or their number; by default those in the file, those of ``dataset``, or the number that
            the labels need. If the source has names, the same ones in another order renumber its labels; other names
            rename its classes in their order, or by number if they are numbers.
        lr: the learning rate of the card's recipe; ``none`` for no recipe.
        factor: only for IDC: the number of smaller images per side.
        experiment: only for DC, DSA and DM: the number of the set in the file.
        split: the split to read, ``train`` or ``test``, of a source that has both; by default ``train``.
        axes: the order of the axes of images, ``NCHW`` or ``NHWC``; by default it is seen from the shape, or asked
            for where both could be meant.
        drop_alpha: drop the alpha channel: that of image files, or the last of 2 or 4 channels of arrays. Without it,
            image files with transparent pixels are refused, and arrays keep all channels.
        absent: accept classes without images.
        dataset: the name of the real data, such as ``cifar10``; it is only used for the card, for class names and for
            the choice of the recipe.
        method: the method that made the set, such as ``dsa``; by default what the source says.
        recipe: the recipe whose training the card takes, such as ``dc-mnist-ipc10``, or a ``.toml`` file; by default
            that of method, ``dataset`` and the nearest number of images per class.
        title, description, license: texts of the card.
        author: who made the set; it becomes the card's ``credit``.
        url: where the set comes from; it becomes ``extra["url"]`` of the card.
        limits: how many bytes the file may declare.

    Returns:
        a pack of kind ``haba``, ``upsample`` or ``images``.

    Raises:
        FormatError: if the file is not in the layout or is damaged, if a value is not finite, or if neither the file
            nor the arguments say what is needed. The message names the file and the field.
        LimitError: if the file declares more bytes than ``limits`` allows.
        DsetpackError: if an optional package is missing.

    Examples:
        >>> import torch
        >>> from dsetpack.convert import convert
        >>> torch.save({"images": torch.rand(20, 3, 32, 32), "labels": torch.arange(20) % 10}, "images.pt")
        >>> pack = convert("images.pt", space=dsetpack.Raw())
        >>> len(pack), pack.card.shape
        (20, (3, 32, 32))
    """
    path = Path(source)
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder")
    name = detect(path) if layout is None else spelled(layout_names(), layout) or layout
    given = Given(
        space=None if space is None else as_space(space),
        labels=_labels(labels),
        classes=_classes(classes),
        lr=_rate(lr),
        factor=factor,
        experiment=experiment,
        split=split,
        axes=axes,
        drop_alpha=drop_alpha,
        absent=absent,
        dataset=spelled(PUBLISHED, dataset) or dataset,
        method=method,
        recipe=recipe,
        title=title,
        description=description,
        license=license,
        author=author,
        url=url,
        limits=limits or Limits(),
    )
    return assemble(layout_of(name).read(path, given), given, name)


def _labels(labels: str | os.PathLike[str] | None) -> str | None:
    """The declaration with its rule as ``LABEL_RULES`` spells it."""
    if labels is None:
        return None
    file, rule = label_source(os.fspath(labels))
    return ":".join(str(part) for part in (file, rule) if part is not None)


def _rate(lr: float | str | None) -> float | Literal["none"] | None:
    if not isinstance(lr, str):
        return lr
    if lr.casefold() != "none":
        raise FormatError(f"lr is {lr!r}; a number or 'none' expected")
    return "none"


def _classes(classes: Sequence[str] | int | None) -> tuple[str, ...] | int | None:
    if isinstance(classes, str):
        raise FormatError(f"classes is {classes!r}; a list of names or a number of classes expected")
    return classes if classes is None or isinstance(classes, int) else tuple(classes)
