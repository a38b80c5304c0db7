"""``npz``: images and labels as arrays of an ``.npz`` file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from dsetpack.convert._files import tensors_of
from dsetpack.convert._npz import as_tensor, headers, load_npz, numpy_labels
from dsetpack.convert.base import Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.formats.errors import at
from dsetpack.labelled.splits import IMAGES, LABELS, named_arrays


class NpzLayout(Layout):
    """Images [N, H, W], [N, C, H, W] or [N, H, W, C] and hard or soft labels, under usual names.

    Names may have a split, such as ``x_train`` and ``y_train``, or ``test_images`` and ``test_labels``. Channels are
    last if the last axis has length 1 or 3 and the second does not. ``classes`` may hold class names.
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
        (image, label), split = named_arrays(known, given.split, path.name)
        classes = "classes" if "classes" in known else None
        arrays = load_npz(path, [name for name in (image, label, classes) if name], given.limits)
        with at(path.name):
            [images] = tensors_of(arrays, (image,), as_tensor)
            with at(label or ""):
                labels = numpy_labels(arrays[label]) if label else None
        return Found(
            sources=channels_first(images),
            where=f"{path.name}: {image}",
            files=(path,),
            labels=labels,
            labels_where=f"{path.name}: {label}",
            labels_hint=f"no array {', '.join(LABELS)}",
            classes=tuple(map(str, arrays[classes].reshape(-1).tolist())) if classes else None,
            split=split,
        )


def channels_first(images: Tensor) -> Tensor:
    """Convert [N, H, W, C] to [N, C, H, W], if the axes show that channels are last."""
    last = images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3)
    return images.movedim(3, 1) if last else images


LAYOUT = NpzLayout()
