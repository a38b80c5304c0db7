"""Corrupted test sets: clean images damaged by named corruptions at five levels, as in CIFAR-10-C.

Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019.
HaBa (fig. 10) reports the mean accuracy over all 19 corruptions of CIFAR-10-C for each level. This module has 15 of
them under the same names. They work on any clean images, with the published values at each level (``make_cifar_c.py``
of hendrycks/robustness); lengths in pixels grow with the shorter side, which is 32 in CIFAR-10-C. Left out are frost
(it needs photographs of frost), snow, spatter and glass blur. The images are not CIFAR-10-C's: random numbers, borders
and rounding differ.

The function of each corruption documents what it computes and what its values mean:

- noise: ``gaussian_noise``, ``shot_noise``, ``impulse_noise``, ``speckle_noise``;
- blur: ``gaussian_blur``, ``defocus_blur``, ``motion_blur``, ``zoom_blur``;
- tone: ``fog``, ``brightness``, ``contrast``, ``saturate`` (images with 3 channels only);
- resampling: ``elastic_transform``, ``pixelate``, ``jpeg_compression`` (1 or 3 channels).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dsetpack.formats.by_name import closest, spelled
from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural
from dsetpack.trainers.data.corruptions import blur, noise, resampling, tone
from dsetpack.trainers.data.corruptions.base import Corruption, Draws
from dsetpack.trainers.data.reader import ImageData

CORRUPTIONS: dict[str, Corruption] = {
    **noise.CORRUPTIONS,
    **blur.CORRUPTIONS,
    **tone.CORRUPTIONS,
    **resampling.CORRUPTIONS,
}
"""Every corruption by its name in CIFAR-10-C."""

LEVELS = (1, 2, 3, 4, 5)
"""The levels, from mild to severe."""

_AT_ONCE = 500


def corrupted(data: ImageData, name: str, level: int, seed: int = 0) -> ImageData:
    """Corrupt all images; labels and classes stay.

    Each corrupted image depends only on the image, ``name``, ``level``, ``seed`` and its index in ``data``, not on the
    other images. Random numbers are the same at every level.

    Args:
        data: clean images, uint8 or float32.
        name: a name of ``CORRUPTIONS``.
        level: 1 (mildest) to 5 (severest).
        seed: any integer; it has no effect if nothing is random.

    Returns:
        data of the same dtype, with uint8 rounded to the nearest, on the same device. Its name is
        ``<data's>:<name>:<level>``, followed by ``:seed=<seed>`` unless the seed is 0; its digest is that of the new
        images.

    Raises:
        FormatError: if the name or level is unknown, or the corruption is not defined for the number of channels.
    """
    name = _known(name)
    corruption = CORRUPTIONS[name]
    if level not in LEVELS:
        raise FormatError(f"corruption level {level!r}; expected an integer from {LEVELS[0]} to {LEVELS[-1]}")
    channels = data.shape[0]
    if corruption.channels is not None and channels not in corruption.channels:
        accepted = " or ".join(map(str, corruption.channels))
        raise FormatError(f"{data.name} has images of {plural(channels, 'channel')}; {name} is defined for {accepted}")
    values = corruption.levels[LEVELS.index(level)]
    parts = []
    for start in range(0, len(data), _AT_ONCE):
        indices = range(start, min(start + _AT_ONCE, len(data)))
        x = data.raw(slice(indices.start, indices.stop)).cpu()
        parts.append(_stored(corruption.apply(x, values, Draws(seed, name, indices)), data.images.dtype))
    tail = f":seed={seed}" if seed else ""
    return replace(data, images=torch.cat(parts).to(data.images.device), name=f"{data.name}:{name}:{level}{tail}")


def _known(name: str) -> str:
    if (found := spelled(CORRUPTIONS, name)) is None:
        near = closest(CORRUPTIONS, name, 0.6)
        hint = f"; did you mean {near!r}?" if near else ""
        raise FormatError(f"no corruption {name!r}; known are {', '.join(CORRUPTIONS)}{hint}")
    return found


def _stored(x: Tensor, dtype: torch.dtype) -> Tensor:
    x = x.clamp(0, 1)
    return (x * 255).round().byte() if dtype == torch.uint8 else x
