"""``normalized``: each channel minus its mean, divided by its standard deviation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from typing_extensions import override

from dsetpack.formats.card import NormalizedSpace
from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural
from dsetpack.spaces.base import Space, SpaceModel, float_images
from dsetpack.spaces.images import raw_batches
from dsetpack.torch_settings import lasting


class Normalized(Space):
    """``(raw - mean) / std``, channel by channel."""

    def __init__(self, model: NormalizedSpace, device: torch.device | str = "cpu") -> None:
        self._model = model
        with lasting():
            self._mean = torch.tensor(model.mean, dtype=torch.float32, device=device).view(1, -1, 1, 1)
            self._std = torch.tensor(model.std, dtype=torch.float32, device=device).view(1, -1, 1, 1)

    def __repr__(self) -> str:
        mean, std = (", ".join(f"{v:.4g}" for v in values) for values in (self._model.mean, self._model.std))
        return f"Normalized(mean=[{mean}], std=[{std}])"

    @property
    @override
    def model(self) -> NormalizedSpace:
        return self._model

    @classmethod
    @override
    def from_card(cls, model: SpaceModel, tensors: Mapping[str, Tensor]) -> Normalized:
        if not isinstance(model, NormalizedSpace):
            raise FormatError(f"the space is {model.kind!r}; expected 'normalized'")
        return cls(model)

    @classmethod
    def fit(cls, x: Tensor) -> Normalized:
        """Fit the mean and population standard deviation of each channel of raw images, accumulated in float64.

        Args:
            x: [N, C, H, W] float32 in [0, 1] or uint8.

        Raises:
            FormatError: if the images are not as above, or if a channel is constant.
        """
        means = [batch.double().sum((0, 2, 3)) for batch in raw_batches(x)]
        mean = torch.stack(means).sum(0) / (x.numel() / x.shape[1])
        squares = [(batch.double() - mean.view(1, -1, 1, 1)).square().sum((0, 2, 3)) for batch in raw_batches(x)]
        variance = torch.stack(squares).sum(0) / (x.numel() / x.shape[1])
        return cls(NormalizedSpace(mean=tuple(mean.tolist()), std=stds(variance)))

    @override
    def apply(self, x: Tensor) -> Tensor:
        x, mean, std = self._match(x)
        return (x - mean) / std

    @override
    def invert(self, x: Tensor) -> Tensor:
        x, mean, std = self._match(x)
        return x * std + mean

    @override
    def to(self, device: torch.device | str) -> Normalized:
        return Normalized(self._model, device)

    def _match(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = float_images(x)
        if x.shape[1] != self._mean.shape[1]:
            raise FormatError(f"images have {plural(x.shape[1], 'channel')}; the space has {self._mean.shape[1]}")
        return x, self._mean.to(x), self._std.to(x)


def stds(variance: Tensor) -> tuple[float, ...]:
    """Standard deviations from variances [C].

    Raises:
        FormatError: if a channel is constant, because nothing can be divided by its deviation.
    """
    if flat := (variance <= 0).nonzero().flatten().tolist():
        raise FormatError(
            f"channel {flat[0]} has the same value in every pixel of every image: it cannot be normalised"
        )
    return tuple(variance.sqrt().tolist())
