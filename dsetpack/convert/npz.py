"""``npz``: images and labels as arrays of an ``.npz`` file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from dsetpack.convert._files import as_tensor, numpy_labels, tensors_of
from dsetpack.convert.base import Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.files.arrays import load_arrays, names_in
from dsetpack.files.names import IMAGES, LABELS, Usual, usual
from dsetpack.files.splits import Split
from dsetpack.formats.errors import at


class NpzLayout(Layout):
    """Images [N, H, W], [N, C, H, W] or [N, H, W, C] and hard or soft labels, under usual names.

    Names may have a split, such as ``x_train`` and ``y_train``, or ``test_images`` and ``test_labels``.
    ``classes`` may hold class names.
    """

    recognised: ClassVar[str] = (
        f"any other .npz with images ({', '.join(IMAGES)}) and labels ({', '.join(LABELS)}), or x_train, y_train, "
        "x_test, y_test"
    )
    unknown: ClassVar[str] = "pixel space of floats (8-bit images are raw); lr"
    last: ClassVar[bool] = True

    @override
    def accepts(self, path: Path) -> bool:
        return path.suffix == ".npz"

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_factor(given, "npz")
        refuse_experiment(given, "npz")
        return found_in(path, *usual_in(path, given), (path,), given)


def usual_in(path: Path, given: Given) -> tuple[Usual, Split | None]:
    """The names of the arrays that are taken from an ``.npz`` file or a folder of ``.npy`` files, and their split.

    Raises:
        FormatError: if there are no images of that split under a usual name.
        LimitError: if the file is larger, or declares more, than ``given.limits`` allows.
    """
    return usual(names_in(path, given.limits), given.split, path.resolve().name)


def found_in(path: Path, names: Usual, split: Split | None, files: tuple[Path, ...], given: Given) -> Found:
    """Read what an ``.npz`` file or a folder of ``.npy`` files holds under these names.

    Raises:
        FormatError: if an array is damaged, or not one of plain numbers.
        LimitError: if a file is larger, or declares more, than ``given.limits`` allows.
    """
    image, label, classes = names
    place = path.resolve().name
    arrays = load_arrays(path, [name for name in names if name], given.limits)
    with at(place):
        [images] = tensors_of(arrays, (image,), as_tensor)
        with at(label or ""):
            labels = numpy_labels(arrays[label]) if label else None
    return Found(
        sources=images,
        where=f"{place}: {image}",
        files=files,
        labels=labels,
        labels_where=f"{place}: {label}",
        labels_hint=f"no array {', '.join(LABELS)}",
        classes=tuple(map(str, arrays[classes].reshape(-1).tolist())) if classes else None,
        split=split,
    )


LAYOUT = NpzLayout()
