"""``npz``: images and labels as arrays of an ``.npz`` file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from dsetpack.convert._files import tensors_of
from dsetpack.convert._npz import as_tensor, headers, load_npz
from dsetpack.convert.base import Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.model import printable

IMAGES = ("images", "image", "x", "x_train", "data")
LABELS = ("labels", "label", "y", "y_train", "targets")


class NpzLayout(Layout):
    """Images [N, H, W], [N, C, H, W] or [N, H, W, C] and hard or soft labels, under usual names.

    ``classes`` may hold class names.
    """

    recognised: ClassVar[str] = f"any other .npz with images ({', '.join(IMAGES)}) and labels ({', '.join(LABELS)})"
    unknown: ClassVar[str] = "pixel space of floats (8-bit images are raw); lr"
    last: ClassVar[bool] = True

    @override
    def accepts(self, path: Path) -> bool:
        return path.suffix == ".npz"

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_factor(given, "npz")
        refuse_experiment(given, "npz")
        known = headers(path, given.limits)
        image = named(tuple(known), IMAGES)
        label = named(tuple(known), LABELS)
        if image is None:
            held = printable(", ".join(sorted(known))) or "nothing"
            raise FormatError(f"{path.name}: no array of images ({', '.join(IMAGES)}); it holds {held}")
        classes = "classes" if "classes" in known else None
        arrays = load_npz(path, [name for name in (image, label, classes) if name], given.limits)
        with at(path.name):
            images, *labels = tensors_of(arrays, (image, label) if label else (image,), as_tensor)
        return Found(
            sources=images,
            where=f"{path.name}: {image}",
            files=(path,),
            labels=labels[0] if labels else None,
            labels_where=f"{path.name}: {label}",
            labels_hint=f"no array {', '.join(LABELS)}",
            classes=tuple(map(str, arrays[classes].reshape(-1).tolist())) if classes else None,
        )


def named(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The first of the wanted names that exists, or None."""
    return next((name for name in wanted if name in names), None)


LAYOUT = NpzLayout()
