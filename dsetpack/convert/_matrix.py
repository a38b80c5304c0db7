"""A ZCA with a matrix from a file, as the release computed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dsetpack.convert._files import as_tensor, load_torch, tensors_of
from dsetpack.files.arrays import load_arrays, names_in
from dsetpack.formats.card import ZcaSpace
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.limits import Limits
from dsetpack.formats.model import printable
from dsetpack.spaces import Zca, data_digest
from dsetpack.spaces.zca import MATRIX, MEAN, Variant

NAMES = (("mean", "matrix"), ("mean_vector", "transform_matrix"), ("zca_mean", "whitening_transform"))
"""The names of mean and matrix: ours, kornia's, FRePo's."""


def given_zca(
    path: Path,
    variant: Variant,
    images: Tensor,
    channel_mean: Sequence[float] | None = None,
    channel_std: Sequence[float] | None = None,
    limits: Limits | None = None,
) -> Zca:
    """Make the space of a matrix in a file. The pack stores the matrix, since no fit reproduces its last digits.

    Args:
        path: ``.npz`` or ``.pt`` with ``mean`` [D] and ``matrix`` [D, D], D = C·H·W in that order; kornia's
            ``mean_vector`` and ``transform_matrix``; or FRePo's ``zca_mean`` and ``whitening_transform``, whose pixels
            are in H×W×C order and are reordered.
        variant: the variant of ZCA that the matrix belongs to.
        images: the raw training images that the matrix was fitted on, [N, C, H, W]; their digest goes into the card.
        channel_mean, channel_std: only for ``frepo``: the mean and deviation with which images are standardised first.
        limits: how many bytes the file may declare.

    Raises:
        FormatError: if the file has no such tensors, or if shapes or values do not fit the images.
        LimitError: if the file declares more bytes than ``limits`` allows.
    """
    (mean, matrix), channels_last = _read(path, limits or Limits())
    size = images[0].numel()
    mean, matrix = mean.reshape(-1).float(), matrix.float()
    with at(path.name):
        if mean.shape != (size,) or matrix.shape != (size, size):
            raise FormatError(
                f"mean {list(mean.shape)} and matrix {list(matrix.shape)}; [{size}] and [{size}, {size}] expected for "
                f"images {list(images.shape[1:])}"
            )
        if not (mean.isfinite().all() and matrix.isfinite().all()):
            raise FormatError("mean or matrix hold NaN or infinity")
    if channels_last:
        order = torch.arange(size).view(*images.shape[2:], images.shape[1]).permute(2, 0, 1).reshape(-1)
        mean, matrix = mean[order], matrix[order][:, order].contiguous()
    with at(f"{path.name}: zca-{variant}"):
        model = ZcaSpace(
            variant=variant,
            epsilon=0.1,  # in both releases
            fitted_on=data_digest(images),
            storage="embed",
            mean=MEAN,
            matrix=MATRIX,
            channel_mean=None if channel_mean is None else tuple(channel_mean),
            channel_std=None if channel_std is None else tuple(channel_std),
        )
    return Zca(model, mean, matrix)


def _read(path: Path, limits: Limits) -> tuple[tuple[Tensor, Tensor], bool]:
    """Mean and matrix, and whether their pixels are in H×W×C order."""
    if path.suffix == ".npz":
        known = names_in(path, limits)
        with at(path.name):
            names = _names(known)
        arrays = load_arrays(path, names, limits)
        with at(path.name):
            mean, matrix = tensors_of(arrays, names, as_tensor)
    else:
        held = load_torch(path, limits)
        with at(path.name):
            if not isinstance(held, Mapping):
                raise FormatError(f"{type(held).__name__}; a dict with mean and matrix expected")
            names = _names(tuple(map(str, held)))
            mean, matrix = tensors_of(held, names)
    return (mean, matrix), names == NAMES[2]


def _names(held: Sequence[str]) -> tuple[str, str]:
    for mean, matrix in NAMES:
        if mean in held and matrix in held:
            return mean, matrix
    wanted = "; ".join(" and ".join(pair) for pair in NAMES)
    raise FormatError(f"it holds {printable(', '.join(held)) or 'nothing'}; one of {wanted} expected")
