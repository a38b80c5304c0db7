"""``npz``: images and labels as arrays of an ``.npz`` file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from dsetpack.convert._files import as_tensor, tensors_of
from dsetpack.convert.base import Found, Given, Layout, refuse_experiment, refuse_factor, taken_split
from dsetpack.files.arrays import load_arrays, names_in
from dsetpack.files.names import IMAGES, LABELS, Usual, splits_of, usual
from dsetpack.formats.errors import at


class NpzLayout(Layout):
    """Images [N, H, W], [N, C, H, W] or [N, H, W, C] and hard or soft labels, under usual names.

    Channels are last if the last axis has length 1 or 3 and the second does not. ``classes`` may hold class names.
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
        return found_in(path, usual_in(path, given), (path,), given)


def usual_in(path: Path, given: Given) -> Usual:
    """The names of the arrays of the split that is taken, in an ``.npz`` file or a folder of ``.npy`` files.

    Raises:
        FormatError: if there are no images of that split under a usual name.
        LimitError: if the file is larger, or declares more, than ``given.limits`` allows.
    """
    names, place = names_in(path, given.limits), path.resolve().name
    with at(place):
        return usual(names, taken_split(given, place, splits_of(names)))


def found_in(path: Path, names: Usual, files: tuple[Path, ...], given: Given) -> Found:
    """Read what an ``.npz`` file or a folder of ``.npy`` files holds under these names.

    Raises:
        FormatError: if an array is damaged, or not one of plain numbers.
        LimitError: if a file is larger, or declares more, than ``given.limits`` allows.
    """
    images, labels, classes = names
    place = path.resolve().name
    arrays = load_arrays(path, [name for name in (images, labels, classes) if name], given.limits)
    with at(place):
        sources, *targets = tensors_of(arrays, (images, labels) if labels else (images,), as_tensor)
    return Found(
        sources=channels_first(sources),
        where=f"{place}: {images}",
        files=files,
        labels=targets[0] if targets else None,
        labels_where=f"{place}: {labels}",
        labels_hint=f"no array {', '.join(LABELS)}",
        classes=tuple(map(str, arrays[classes].reshape(-1).tolist())) if classes else None,
    )


def channels_first(images: Tensor) -> Tensor:
    """Convert [N, H, W, C] to [N, C, H, W], if the axes show that channels are last."""
    last = images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3)
    return images.movedim(3, 1) if last else images


LAYOUT = NpzLayout()
