"""``frepo``: prototypes of FRePo (Zhou et al. 2022) and RFAD (Loo et al. 2022), with centred soft labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor
from typing_extensions import override

from dsetpack.convert._files import as_tensor, tensors_of
from dsetpack.convert.base import Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.files.arrays import headers, load_arrays, names_in
from dsetpack.formats.axes import Axes, seen
from dsetpack.formats.errors import DsetpackError, FormatError, at
from dsetpack.formats.limits import Limits

_RFAD = ("k", "jit", "valid_loss")
"""Arrays that only RFAD writes beside the images."""


class FrepoLayout(Layout):
    """An ``.npz`` of float images and float labels [N, classes] whose rows sum to about zero.

    FRePo has ``image`` [N, H, W, C] and ``label``, learned from (one-hot - 1/classes) / √(classes/10). RFAD has
    ``images`` [N, C, H, W] and ``labels``, which start as one-hot - 1/classes. The labels are regression targets, and
    are kept as such unless the user says ``labels='uncentred'`` or ``'hard'``.
    """

    recognised: ClassVar[str] = "an .npz with image and label (FRePo), or images, labels and any of k, jit, valid_loss"
    unknown: ClassVar[str] = "pixel space; for RFAD the lr of its networks"

    @override
    def accepts(self, path: Path) -> bool:
        if path.suffix != ".npz":
            return False
        try:
            return _names(path, Limits()) is not None
        except (DsetpackError, OSError):
            return False

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_factor(given, "frepo")
        refuse_experiment(given, "frepo")
        names = _names(path, given.limits)
        if names is None:
            raise FormatError(
                f"{path}: no arrays 'image' and 'label' [N, classes] (FRePo), nor 'images', 'labels' and one of "
                f"{', '.join(_RFAD)} (RFAD)"
            )
        return _found(path, *names, given)


def _found(path: Path, image: str, label: str, given: Given) -> Found:
    arrays = load_arrays(path, (image, label), given.limits)
    learned = image == "image"  # FRePo, in Flax's order of axes
    with at(path.name):
        images, labels = tensors_of(arrays, (image, label), as_tensor)
        if images.ndim != 4 or not images.is_floating_point() or not images.numel():
            axes = "[N, H, W, C]" if learned else "[N, C, H, W]"
            raise FormatError(f"{image} is {images.dtype} {list(images.shape)}; floats {axes} expected")
        if not (classes := labels.shape[1]):
            raise FormatError(f"{label} is {list(labels.shape)}; floats [N, classes] expected")
    own: dict[str, Any] = {"method": "rfad", "target_scale": 1.0}
    if learned:
        own = {
            "method": "frepo",
            "target_scale": 1 / math.sqrt(classes / 10),
            "protocol": "frepo",
        }
    return Found(
        sources=images,
        axes=(given.axes or _usual(images)) if learned else None,
        where=f"{path.name}: {image}",
        files=(path,),
        labels=labels,
        labels_where=f"{path.name}: {label}",
        centred=True,
        space_hint="FRePo and RFAD whiten color images (zca-frepo) and normalise MNIST and Fashion-MNIST.",
        **own,
    )


def _usual(images: Tensor) -> Axes | None:
    """Flax's order of axes, unless the shape shows another."""
    return None if seen(images.shape) == "NCHW" else "NHWC"


def _names(path: Path, limits: Limits) -> tuple[str, str] | None:
    """The names of images and labels; None if the file is in another layout."""
    found = names_in(path, limits)
    for image, label, needs in (("image", "label", ()), ("images", "labels", _RFAD)):
        if image in found and label in found and (not needs or any(name in found for name in needs)):
            targets = headers(path, (label,), limits)[label]
            return (image, label) if len(targets.shape) == 2 and targets.dtype.kind == "f" else None
    return None


LAYOUT = FrepoLayout()
