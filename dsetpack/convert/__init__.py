"""Other people's files as packs: one file per layout, found by its name.

    from dsetpack.convert import convert
    pack = convert("images_best.pt", space=space, lr=0.01)

Nothing in a source is run: torch files are read by ``weights_only=True``, arrays without pickle, sizes are checked
before memory is taken. What a source does not say is declared by whoever converts, or asked for, and the card tells
which is which (``provenance.settings["converted"]``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dsetpack.convert._assemble import assemble
from dsetpack.convert._matrix import given_zca
from dsetpack.convert._published import PUBLISHED, Published, published
from dsetpack.convert.base import Given, Layout
from dsetpack.formats.by_name import by_name, chosen
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
    "layout_names",
    "layout_of",
    "published",
]


def layout_names() -> tuple[str, ...]:
    """The names of all layouts, sorted."""
    return tuple(by_name(__name__, "LAYOUT"))


def layout_of(name: str) -> Layout:
    """A layout by name.

    Raises:
        FormatError: if there is none of that name; the message names the nearest.
    """
    found: Layout = chosen(by_name(__name__, "LAYOUT"), name, "layout")
    return found


def detect(source: str | os.PathLike[str]) -> str:
    """The name of the layout that a file or folder is in.

    Raises:
        FormatError: no such path, or no layout; says what there is.
    """
    path = Path(source)
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder")
    for name in sorted(layout_names(), key=lambda name: layout_of(name).last):
        if layout_of(name).accepts(path):
            return name
    known = "; ".join(f"{name}: {layout_of(name).recognised}" for name in layout_names())
    raise FormatError(f"{path}: in no layout known here ({known}); name one by layout= (--layout) if it is")


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
    dataset: str | None = None,
    title: str | None = None,
    limits: Limits | None = None,
) -> Pack:
    """A pack of a source.

    Args:
        source: a file or folder.
        layout: one of ``layout_names()``; by default the one that ``detect`` finds.
        space: the pixel space that the source's values are in: ``Raw()``, ``Normalized(...)``, ``Zca.fit(...)``, or a
            ``Zca`` with a matrix given. It is declared, not applied: no value is changed.
        labels: ``order`` (equally many a class, class by class), a ``.npy`` or ``.pt`` file of labels, or what soft
            labels are: ``softmax`` (logits, made probabilities), ``centred`` (targets, kept), ``uncentred`` (the
            centring of FRePo and RFAD undone), ``hard`` (the largest alone).
        classes: names, or how many; by default those of the source, of the ``dataset``, or as many as the labels say.
        lr: the learning rate of the card's recipe; ``none`` for no recipe.
        factor: of IDC: smaller images a side.
        experiment: of DC, DSA and DM: which of a file's sets.
        dataset: the real data, such as ``cifar10``; only a name for the card, for class names and augmentation.
        title: of the pack.
        limits: how many bytes the source may declare.

    Returns:
        a pack of kind ``haba``, ``upsample`` or ``images``.

    Raises:
        FormatError: not in the layout, damaged, values that are not finite, or something that neither the source nor
            the arguments say. Names the file and the field.
        LimitError: it declares more bytes than ``limits`` allows.
        DsetpackError: an optional package is missing.
    """
    path = Path(source)
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder")
    name = layout or detect(path)
    given = Given(
        space=None if space is None else as_space(space),
        labels=None if labels is None else os.fspath(labels),
        classes=_classes(classes),
        lr=lr,
        factor=factor,
        experiment=experiment,
        dataset=dataset,
        title=title,
        limits=limits or Limits(),
    )
    return assemble(layout_of(name).read(path, given), given, name)


def _classes(classes: Sequence[str] | int | None) -> tuple[str, ...] | int | None:
    if isinstance(classes, str):
        raise FormatError(f"classes is {classes!r}; a list of names, or how many, expected")
    return classes if classes is None or isinstance(classes, int) else tuple(classes)
