"""What every decoder does: a batch of arbitrary (source, decoder) pairs, or all pairs at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import KindConfig


def prefers_loops(x: Tensor) -> bool:
    """Whether a loop over decoders beats one wide launch: on the CPU, and never while a graph is traced."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def take(bank: Tensor, index: Tensor) -> Tensor:
    """``bank[index]`` along the first dimension, with a gradient that sums in the same order every time."""
    # Each device has one deterministic way: indexing's gradient adds with atomics on a CPU, index_select's on a GPU.
    return bank.index_select(0, index) if bank.device.type == "cpu" else bank[index]


class Decoder(nn.Module, ABC):
    """The bank of one part: turns sources into images, differentiable in the sources and in the bank.

    ``state_dict()`` has the keys and shapes of ``config.bank_shapes(image, classes)``; a new decoder holds the values
    that training starts from. What a decoder returns equals the same decoder run on one source alone up to rounding;
    equal batches give equal bits.

    Attributes:
        config: the part's configuration.
        image: (C, H, W) of the images.
        classes: how many classes the pack has.
        source_shape: shape of one source.
        bank_size: K, the number of decoders.
    """

    config: KindConfig

    def __init__(self, config: KindConfig, image: tuple[int, int, int], classes: int) -> None:
        """Check that the configuration can make such images.

        Raises:
            FormatError: it cannot; a ValueError too.
        """
        super().__init__()
        if min(image) < 1 or classes < 1:
            raise FormatError(f"image {image} with {classes} classes, expected (C, H, W) and classes of at least 1")
        config.bank_shapes(image, classes)
        self.config = config
        self.image = image
        self.classes = classes
        self.source_shape = config.source_shape(image)
        self.bank_size = config.bank_size()

    def forward(self, sources: Tensor, index: Tensor) -> Tensor:
        """Decode pairs.

        Args:
            sources: float [B, *source_shape].
            index: int64 [B], the decoder of each source, in 0..K-1. It may stay on the CPU while the sources are on a
                GPU; then its range is checked without waiting for the GPU.

        Returns:
            Images [B, C, H, W], in the pack's space or raw as ``config.yields`` says.

        Raises:
            FormatError: shapes or types that do not fit, or an index out of range. The values of an index on a GPU are
                not read, because that would stall it.
        """
        if not torch.compiler.is_compiling():
            self._check_sources(sources)
            self._check_index(index, len(sources))
        return self.pairs(sources, index.to(sources.device))

    def product(self, sources: Tensor) -> Tensor:
        """Every source [B, *source_shape] with every decoder: [B, K, C, H, W]."""
        self._check_sources(sources)
        return self.all_pairs(sources)

    @abstractmethod
    def one(self, sources: Tensor, number: int) -> Tensor:
        """Every source [B, *source_shape] with decoder ``number``: [B, C, H, W]. Unchecked."""

    def label_noise(self, noise: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Sources of a generator from noise [B, z] and labels int64 [B]; kinds that store their sources refuse."""
        raise FormatError(f"{type(self.config).__module__.rpartition('.')[2]} stores its sources, it draws no noise")

    def all_pairs(self, sources: Tensor) -> Tensor:
        """What ``product`` does once the sources are checked; kinds with a faster way override it."""
        return torch.stack([self.one(sources, k) for k in range(self.bank_size)], 1)

    def pairs(self, sources: Tensor, index: Tensor) -> Tensor:
        """What ``forward`` does once its arguments are checked; kinds with a faster way override it."""
        if prefers_loops(sources):
            return self._by_decoder(sources, index)
        # Shapes that do not depend on the index: no wait for the device, and a graph that can be exported.
        return self.all_pairs(sources)[torch.arange(len(sources), device=sources.device), index]

    def _by_decoder(self, sources: Tensor, index: Tensor) -> Tensor:
        """Sort the pairs by decoder, run each decoder once on its run, restore the order."""
        counts = torch.bincount(index, minlength=self.bank_size).tolist()
        if max(counts) == len(sources):
            return self.one(sources, counts.index(len(sources)))
        order = torch.argsort(index, stable=True)
        runs = torch.split(sources[order], counts)
        images = torch.cat([self.one(run, k) for k, run in enumerate(runs) if len(run)])
        return images[torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))]

    def _check_sources(self, sources: Tensor) -> None:
        if sources.shape[1:] != self.source_shape or not sources.is_floating_point():
            expected = ", ".join(["B", *map(str, self.source_shape)])
            raise FormatError(f"sources are {_describe(sources)}, expected floats of shape [{expected}]")

    def _check_index(self, index: Tensor, batch: int) -> None:
        if index.dtype != torch.int64 or index.shape != (batch,):
            raise FormatError(f"decoder index is {_describe(index)}, expected int64 of shape [{batch}]")
        if index.device.type == "cpu" and batch:
            low, high = (cast(int, v.item()) for v in torch.aminmax(index))
            if low < 0 or high >= self.bank_size:
                raise FormatError(f"decoder numbers from {low} to {high}, expected 0 to {self.bank_size - 1}")


def _describe(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} of shape {list(x.shape)}"
