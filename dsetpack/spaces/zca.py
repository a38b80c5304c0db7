"""``zca``: whitening that stays as close to the image as possible, in the two variants that papers use.

Images are rows of D = C·H·W pixels in C×H×W order. S (descending) and U are the eigenvalues and eigenvectors of the
covariance of the N training images; the transform is ``(x - mean) @ (U diag(f) Uᵀ)``.

- ``kornia``: ``kornia.enhance.ZCAWhitening(eps=0.1)`` fitted on raw [0, 1] images, as MTT and HaBa do. The covariance
  is divided by N - 1 (kornia's default) and ``f = (S + epsilon)^-1/2``: epsilon is in squared pixel units.
- ``frepo``: FRePo's ``normalize_zca``. Each channel is standardised first (the release uses rounded published
  statistics; here they are computed if not given), the covariance is divided by N, and
  ``f = (S + epsilon · trace(covariance) / D)^-1/2``: epsilon is a share of the mean eigenvalue. If N < D, f = 1 for
  the D - N smallest eigenvalues. The release flattens H×W×C; the result is the same, because ZCA commutes with
  permutations of the pixels.

Both releases compute in float32; here everything up to the stored matrix is float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from dsetpack.formats.card import ZcaSpace
from dsetpack.formats.errors import DsetpackError, FormatError, IntegrityError
from dsetpack.formats.progress import steps
from dsetpack.formats.words import plural
from dsetpack.spaces.base import Space, SpaceModel, float_images
from dsetpack.spaces.images import data_digest, raw_batches
from dsetpack.spaces.normalized import stds
from dsetpack.torch_settings import as_lasting, exact, lasting

Variant = Literal["kornia", "frepo"]
Storage = Literal["embed", "refit"]
MEAN, MATRIX = "space.mean", "space.matrix"
"""The names of the embedded tensors in a file."""
_SIDE = 64
_SPECTRUM = 16
_TOLERANCE = 1e-6


class Zca(Space):
    """ZCA whitening: ``model`` with the mean [D] and matrix [D, D] in float32.

    A space that was opened from a pack with ``storage="refit"`` has neither: it is not ``ready``, and ``apply`` and
    ``invert`` raise. ``Zca.refit`` makes a ready one from the training images.
    """

    def __init__(self, model: ZcaSpace, mean: Tensor | None = None, matrix: Tensor | None = None) -> None:
        self._model = model
        self._mean = None if mean is None else as_lasting(mean)
        self._matrix = None if matrix is None else as_lasting(matrix)
        self._inverse: Tensor | None = None
        device = "cpu" if mean is None else mean.device
        with lasting():
            self._shift, self._scale = (
                torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)
                for values in (model.channel_mean or (0.0,), model.channel_std or (1.0,))
            )

    def __repr__(self) -> str:
        size = "to be refit" if self._mean is None else plural(len(self._mean), "value")
        return f"Zca({self._model.variant}, epsilon {self._model.epsilon:g}, {size})"

    @property
    @override
    def model(self) -> ZcaSpace:
        return self._model

    @property
    def ready(self) -> bool:
        """Whether mean and matrix are present, so that ``apply`` and ``invert`` work."""
        return self._matrix is not None

    @classmethod
    @override
    def from_card(cls, model: SpaceModel, tensors: Mapping[str, Tensor]) -> Zca:
        if not isinstance(model, ZcaSpace):
            raise FormatError(f"the space is {model.kind!r}; expected 'zca'")
        if model.storage == "refit":
            return cls(model)
        mean, matrix = (_embedded(tensors, name) for name in (model.mean, model.matrix))
        if mean.ndim != 1 or matrix.shape != (len(mean), len(mean)):
            shapes = f"mean {list(mean.shape)} and matrix {list(matrix.shape)}"
            raise FormatError(f"the embedded ZCA has {shapes}; expected [D] and [D, D]")
        return cls(model, mean, matrix)

    @classmethod
    def fit(
        cls,
        x: Tensor,
        variant: Variant = "kornia",
        *,
        epsilon: float = 0.1,
        storage: Storage = "embed",
        channel_mean: Sequence[float] | None = None,
        channel_std: Sequence[float] | None = None,
    ) -> Zca:
        """Fit on raw training images: three passes in batches, float64, a few D×D matrices in memory besides ``x``.

        Args:
            x: [N, C, H, W] float32 in [0, 1] or uint8, N >= 2, H and W at most 64.
            variant: ``kornia`` (HaBa, MTT) or ``frepo`` (FRePo, ISA); see the module.
            epsilon: the variant's regularisation, 0.1 in both releases.
            storage: what a pack with this space keeps: mean and matrix (``embed``), or what checks a refit (``refit``).
            channel_mean, channel_std: the standardisation of ``frepo``; computed from ``x`` if left out.

        Raises:
            FormatError: if the images are not as above, if a channel is constant, or if the standardisation does not
                fit.
        """
        found = _fit(x, variant, epsilon, channel_mean, channel_std)
        model = ZcaSpace(
            variant=variant,
            epsilon=epsilon,
            fitted_on=data_digest(x),
            storage=storage,
            channel_mean=found.channel_mean,
            channel_std=found.channel_std,
            spectrum=tuple(found.spectrum[:_SPECTRUM]),
            mean=MEAN if storage == "embed" else None,
            matrix=MATRIX if storage == "embed" else None,
        )
        return cls(model, found.mean, found.matrix)

    @classmethod
    def refit(cls, model: ZcaSpace, x: Tensor) -> Zca:
        """Fit again a space that a pack does not embed, and check that it is the same.

        Args:
            model: ``card.space``.
            x: the raw training images that the pack's space was fitted on, in the same order.

        Raises:
            IntegrityError: if the images are others, or if an eigenvalue differs by more than 1e-6 of itself plus 1e-9
                of the largest.
            FormatError: as for ``fit``.
        """
        digest = data_digest(x)
        if digest != model.fitted_on:
            raise IntegrityError(
                f"ZCA was fitted on images with digest {model.fitted_on}; these {list(x.shape)} have {digest}: "
                "pass the same raw training images in the same order"
            )
        found = _fit(x, model.variant, model.epsilon, model.channel_mean, model.channel_std)
        _check_spectrum(model.spectrum, found.spectrum)
        return cls(model, found.mean, found.matrix)

    def stored(self, storage: Storage) -> Zca:
        """The same space with another ``storage``: what ``Pack.save`` keeps of it.

        Raises:
            DsetpackError: if it is to be embedded but is not ``ready``.
        """
        names = {"mean": MEAN, "matrix": MATRIX} if storage == "embed" else {"mean": None, "matrix": None}
        if storage == "embed":
            self._need()
        model = ZcaSpace.model_validate({**self._model.model_dump(), "storage": storage, **names})
        return Zca(model, self._mean, self._matrix)

    @override
    def apply(self, x: Tensor) -> Tensor:
        x, mean, matrix = self._match(x)
        standard = (x - self._shift.to(x.dtype)) / self._scale.to(x.dtype)
        with exact(x.device):
            return ((standard.flatten(1) - mean) @ matrix).view_as(x)

    @override
    def invert(self, x: Tensor) -> Tensor:
        x, mean, _ = self._match(x)
        with exact(x.device):
            standard = (x.flatten(1) @ self._inverted().to(x.dtype) + mean).view_as(x)
        return standard * self._scale.to(x.dtype) + self._shift.to(x.dtype)

    @override
    def to(self, device: torch.device | str) -> Zca:
        if self._mean is None or self._matrix is None:
            return self
        return Zca(self._model, self._mean.to(device), self._matrix.to(device))

    @override
    def tensors(self) -> dict[str, Tensor]:
        model = self._model
        if model.mean is None or model.matrix is None:
            return {}
        mean, matrix = self._need()
        return {model.mean: mean, model.matrix: matrix}

    def _need(self) -> tuple[Tensor, Tensor]:
        if self._mean is None or self._matrix is None:
            raise DsetpackError(
                f"the pack does not store its ZCA ({self._model.variant}, epsilon {self._model.epsilon:g}); "
                "make it with pack.with_space(Zca.refit(pack.card.space, x)), x the raw training images with digest "
                f"{self._model.fitted_on}"
            )
        return self._mean, self._matrix

    def _match(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, matrix = self._need()
        x = float_images(x)
        channels = self._shift.shape[1]
        if math.prod(x.shape[1:]) != len(mean):
            raise FormatError(f"images have shape {list(x.shape)}; this ZCA is for C·H·W = {len(mean)}")
        if channels not in (1, x.shape[1]):
            raise FormatError(f"images have {plural(x.shape[1], 'channel')}; this ZCA standardises {channels}")
        return x, mean.to(x.dtype), matrix.to(x.dtype)

    def _inverted(self) -> Tensor:
        """The inverse of the matrix as it was stored and rounded, computed once by LU in float64 and kept."""
        if self._inverse is None:
            _, matrix = self._need()
            with steps("invert ZCA"), lasting():
                wide = matrix.double() if matrix.is_cuda else matrix.cpu().double()
                inverse, info = torch.linalg.inv_ex(wide)
                inverse = inverse.to(matrix)
            if info.item() or not inverse.isfinite().all():
                raise FormatError("the ZCA matrix cannot be inverted: it is damaged, or too coarsely quantized")
            self._inverse = inverse
        return self._inverse

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_inverse": None}  # as large as the matrix and cheap to compute again


class _Fitted(NamedTuple):
    mean: Tensor
    matrix: Tensor
    spectrum: list[float]
    channel_mean: tuple[float, ...] | None
    channel_std: tuple[float, ...] | None


def _fit(
    x: Tensor, variant: Variant, epsilon: float, centre: Sequence[float] | None, scale: Sequence[float] | None
) -> _Fitted:
    _check_size(x)
    mean, cov = _moments(x)
    if variant == "kornia":
        if centre is not None or scale is not None:
            raise FormatError("variant 'kornia' whitens raw images: channel_mean and channel_std are for 'frepo'")
        cov *= len(x) / (len(x) - 1)
        return _Fitted(mean.float(), *_whitening(cov, epsilon, 0), None, None)
    means, deviations = _channels(mean, cov, x.shape[1], centre, scale)
    pixels = x[0, 0].numel()
    spread = mean.new_tensor(deviations).repeat_interleave(pixels)
    mean = (mean - mean.new_tensor(means).repeat_interleave(pixels)) / spread
    cov /= spread.outer(spread)
    ridge = epsilon * (cov.trace() / len(cov)).item()
    matrix, spectrum = _whitening(cov, ridge, max(0, len(cov) - len(x)))
    return _Fitted(mean.float(), matrix, spectrum, means, deviations)


def _check_size(x: Tensor) -> None:
    if x.ndim != 4 or len(x) < 2:
        raise FormatError(f"raw images have shape {list(x.shape)}; ZCA needs [N, C, H, W] with N >= 2")
    if max(x.shape[2:]) > _SIDE:
        raise FormatError(
            f"images are {x.shape[2]}×{x.shape[3]}; ZCA is supported up to {_SIDE}×{_SIDE}: the matrix grows with "
            "(C·H·W)², and FRePo's checkerboard of 64×64 blocks for 128×128 images is not implemented; use 'normalized'"
        )


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D] (divided by N) of raw images in float64.

    Two passes, because one pass (mean of squares minus squared mean) loses digits to cancellation.
    """
    with steps("fit ZCA", 2 * len(x)) as work:
        sums = []
        for batch in raw_batches(x):
            sums.append(batch.flatten(1).double().sum(0))
            work.advance(len(batch))
        mean = torch.stack(sums).sum(0) / len(x)
        cov = mean.new_zeros(len(mean), len(mean))
        for batch in raw_batches(x):
            centred = batch.flatten(1).double().sub_(mean)
            cov.addmm_(centred.T, centred)
            work.advance(len(batch))
    return mean, cov.div_(len(x))


def _channels(
    mean: Tensor, cov: Tensor, channels: int, centre: Sequence[float] | None, scale: Sequence[float] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The standardisation: as given, or each channel's mean and population deviation from the pixels' moments."""
    if (centre is None) != (scale is None):
        raise FormatError("give channel_mean and channel_std, or neither")
    if centre is None or scale is None:
        means = mean.view(channels, -1)
        overall = means.mean(1)
        variance = (cov.diagonal().view(channels, -1) + (means - overall[:, None]).square()).mean(1)
        return tuple(overall.tolist()), stds(variance)
    if len(centre) != channels or len(scale) != channels or min(scale) <= 0:
        raise FormatError(
            f"channel_mean {centre} and channel_std {scale} do not fit images with {plural(channels, 'channel')}"
        )
    return tuple(float(v) for v in centre), tuple(float(v) for v in scale)


def _whitening(cov: Tensor, ridge: float, untouched: int) -> tuple[Tensor, list[float]]:
    """The matrix [D, D] in float32, which leaves the ``untouched`` smallest directions unchanged, and all eigenvalues.

    The eigenvalues are in descending order.
    """
    with steps("eigenvectors for ZCA"):
        values, vectors = torch.linalg.eigh(cov)
    values = values.clamp_min(0)  # rounding can make zeros negative
    factor = (values + ridge).rsqrt()
    factor[:untouched] = 1
    matrix = (vectors * factor) @ vectors.T
    return ((matrix + matrix.T) / 2).float(), values.flip(0).tolist()


def _check_spectrum(expected: Sequence[float], found: Sequence[float]) -> None:
    if len(expected) > len(found):
        raise IntegrityError(f"the card's ZCA spectrum has {len(expected)} eigenvalues; these images give {len(found)}")
    for index, (old, new) in enumerate(zip(expected, found, strict=False)):
        if abs(old - new) > _TOLERANCE * old + 1e-9 * expected[0]:
            raise IntegrityError(
                f"the refit ZCA differs from the pack's: eigenvalue {index} is {new:.9g}, expected {old:.9g}; "
                "the card's variant or standardisation is not what the pack was made with"
            )


def _embedded(tensors: Mapping[str, Tensor], name: str | None) -> Tensor:
    tensor = tensors.get(name) if name is not None else None
    if tensor is None:
        raise FormatError(f"the card's ZCA names the tensor {name!r}; the pack has no such tensor")
    if not tensor.is_floating_point() or not tensor.isfinite().all():
        raise FormatError(f"the ZCA tensor {name!r} is {tensor.dtype} or not finite; expected finite floats")
    return tensor.float()
