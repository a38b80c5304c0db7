"""What every decoder does: a batch of arbitrary (source, decoder) pairs, or all pairs at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import KindConfig


def prefers_loops(x: Tensor) -> bool:
    """Whether a loop over decoders beats one wide launch: on the CPU, and never while a graph is traced."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def take(bank: Tensor, index: Tensor | None) -> Tensor:
    """``bank[index]`` along the first dimension, with a gradient that sums in the same order every time.

    None takes all as they are.
    """
    if index is None:
        return bank
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

    def forward(self, sources: Tensor, index: Tensor, rows: Tensor | None = None) -> Tensor:
        """Decode pairs.

        Args:
            sources: float [B, *source_shape], or [N, *source_shape] with ``rows``.
            index: int64 [B], the decoder of each pair, in 0..K-1.
            rows: int64 [B], the source of each pair, in 0..N-1; faster than to pass ``sources[rows]``. None: pair i
                takes source i.

        Both may stay on the CPU while the sources are on a GPU; then their range is checked without waiting for it.

        Returns:
            Images [B, C, H, W], in the pack's space or raw as ``config.yields`` says.

        Raises:
            FormatError: shapes or types that do not fit, or numbers out of range. The values of an index on a GPU are
                not read, because that would stall it.
        """
        if not torch.compiler.is_compiling():
            self._check_sources(sources)
            _check_index("decoder", index, len(sources) if rows is None else len(rows), self.bank_size)
            if rows is not None:
                _check_index("source", rows, len(rows), len(sources))
        return self.pairs(sources, index.to(sources.device), None if rows is None else rows.to(sources.device))

    def product(self, sources: Tensor) -> Tensor:
        """Every source [B, *source_shape] with every decoder: [B, K, C, H, W]."""
        self._check_sources(sources)
        return self.all_pairs(sources)

    @abstractmethod
    def one(self, sources: Tensor, number: int) -> Tensor:
        """Every source [B, *source_shape] with decoder ``number``: [B, C, H, W]. Unchecked."""

    def runner(self) -> Callable[[Tensor, int], Tensor]:
        """``one`` for many calls with the same bank; kinds that can prepare something for all of them override it."""
        return self.one

    def label_noise(self, noise: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Sources of a generator from noise [B, z] and labels int64 [B]; kinds that store their sources refuse."""
        raise FormatError(f"{type(self.config).__module__.rpartition('.')[2]} stores its sources, it draws no noise")

    def all_pairs(self, sources: Tensor) -> Tensor:
        """What ``product`` does once the sources are checked; kinds with a faster way override it."""
        one = self.runner()
        return torch.stack([one(sources, k) for k in range(self.bank_size)], 1)

    def pairs(self, sources: Tensor, index: Tensor, rows: Tensor | None) -> Tensor:
        """What ``forward`` does once its arguments are checked; kinds with a faster way override it."""
        if prefers_loops(sources):
            return self._by_decoder(sources, index, rows)
        # Shapes that do not depend on the index: no wait for the device, and a graph that can be exported.
        sources = take(sources, rows)
        return self.all_pairs(sources)[torch.arange(sources.shape[0], device=sources.device), index]

    def _by_decoder(self, sources: Tensor, index: Tensor, rows: Tensor | None) -> Tensor:
        """Sort the pairs by decoder and run each decoder once, on the sources that want it."""
        counts = torch.bincount(index, minlength=self.bank_size).tolist()
        if max(counts) == len(index):
            return self.one(take(sources, rows), counts.index(len(index)))
        one = self.runner()
        # Gathered and written run by run: on a CPU, fresh memory for a whole batch costs as much as decoding it.
        images = sources.new_empty(len(index), *self.image)
        for number, places in enumerate(torch.split(torch.argsort(index, stable=True), counts)):
            if len(places):
                run = sources.index_select(0, places if rows is None else rows[places])
                images.index_copy_(0, places, one(run, number).to(images.dtype))
        return images

    def _check_sources(self, sources: Tensor) -> None:
        if sources.shape[1:] != self.source_shape or not sources.is_floating_point():
            expected = ", ".join(["B", *map(str, self.source_shape)])
            raise FormatError(f"sources are {_describe(sources)}, expected floats of shape [{expected}]")


def _check_index(name: str, index: Tensor, batch: int, count: int) -> None:
    if index.dtype != torch.int64 or index.shape != (batch,):
        raise FormatError(f"{name} numbers are {_describe(index)}, expected int64 of shape [{batch}]")
    if index.device.type == "cpu" and batch:
        low, high = (cast(int, v.item()) for v in torch.aminmax(index))
        if low < 0 or high >= count:
            raise FormatError(f"{name} numbers from {low} to {high}, expected 0 to {count - 1}")


def _describe(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} of shape {list(x.shape)}"
