"""What every decoder does: decode a batch of arbitrary (source, decoder) pairs, or all pairs at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import KindConfig
from dsetpack.formats.words import plural


def prefers_loops(x: Tensor) -> bool:
    """Whether a loop over decoders beats one wide launch: on the CPU, and never while a graph is traced."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def take(values: Tensor, ids: Tensor | None) -> Tensor:
    """``values[ids]`` along the first dimension, with a gradient that sums in the same order every time.

    If ``ids`` is None, all values are taken as they are.
    """
    if ids is None:
        return values
    # Each device has one deterministic way: indexing's gradient adds with atomics on a CPU, index_select's on a GPU.
    return values.index_select(0, ids) if values.device.type == "cpu" else values[ids]


class Decoder(nn.Module, ABC):
    """The bank of one part: it turns sources into images, differentiable in the sources and in the bank.

    Calling it decodes pairs; ``product`` decodes all of them. Both check their arguments. A kind overrides the
    ``unchecked_...`` methods, which trust theirs.

    ``state_dict()`` has the keys and shapes of ``config.bank_shapes(image, classes)``; a new decoder holds the values
    that training starts from. Up to rounding, an image equals what the same decoder makes from its source alone; equal
    batches give equal bits.

    Attributes:
        config: the part's configuration.
        image: (C, H, W) of the images.
        classes: the number of classes of the pack.
        source_shape: the shape of one source.
        bank_size: K, the number of decoders.
    """

    config: KindConfig

    def __init__(self, config: KindConfig, image: tuple[int, int, int], classes: int) -> None:
        """Check that the configuration can make such images.

        Raises:
            FormatError: if it cannot; also a ValueError.
        """
        super().__init__()
        if min(image) < 1 or classes < 1:
            raise FormatError(
                f"image {image} with {plural(classes, 'class')}, expected (C, H, W) and classes of at least 1"
            )
        config.bank_shapes(image, classes)
        self.config = config
        self.image = image
        self.classes = classes
        self.source_shape = config.source_shape(image)
        self.bank_size = config.bank_size()

    def forward(self, sources: Tensor, decoder_ids: Tensor, source_ids: Tensor | None = None) -> Tensor:
        """Decode pairs.

        Ids may stay on the CPU if the sources are on a GPU; their range is then checked without waiting for the GPU.

        Args:
            sources: float [B, *source_shape], or [N, *source_shape] with ``source_ids``.
            decoder_ids: int64 [B], the decoder of each pair, in 0..K-1.
            source_ids: int64 [B], the source of each pair, in 0..N-1; faster than passing ``sources[source_ids]``.
                None means that pair i takes source i.

        Returns:
            images [B, C, H, W], in the pack's space or raw as ``config.yields`` says.

        Raises:
            FormatError: if shapes or types do not fit, or if an id is out of its range. The range of ids on a GPU is
                not checked, because that would stall it.
        """
        if not torch.compiler.is_compiling():
            self._check_sources(sources)
            _check_ids("decoder", decoder_ids, len(sources) if source_ids is None else len(source_ids), self.bank_size)
            if source_ids is not None:
                _check_ids("source", source_ids, len(source_ids), len(sources))
        device = sources.device
        return self.unchecked_pairs(
            sources, decoder_ids.to(device), None if source_ids is None else source_ids.to(device)
        )

    def product(self, sources: Tensor) -> Tensor:
        """Decode every source [B, *source_shape] with every decoder: [B, K, C, H, W].

        Raises:
            FormatError: if the sources have another shape or are not floats.
        """
        self._check_sources(sources)
        return self.unchecked_product(sources)

    def condition(self, noise: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """The sources that a generator makes from noise [B, z] and labels int64 [B].

        Raises:
            FormatError: if the kind stores its sources.
        """
        raise FormatError(f"{type(self).__name__}: this kind stores its sources, it draws no noise")

    @abstractmethod
    def unchecked_one(self, sources: Tensor, decoder_id: int) -> Tensor:
        """Decode every source [B, *source_shape] with one decoder: [B, C, H, W]."""

    def unchecked_pairs(self, sources: Tensor, decoder_ids: Tensor, source_ids: Tensor | None) -> Tensor:
        """What a call does once its arguments are checked; kinds with a faster way override it."""
        if prefers_loops(sources):
            return self._by_decoder(sources, decoder_ids, source_ids)
        # Shapes that do not depend on the ids' values: no wait for the device, and a graph that can be exported.
        sources = take(sources, source_ids)
        return self.unchecked_product(sources)[torch.arange(sources.shape[0], device=sources.device), decoder_ids]

    def unchecked_product(self, sources: Tensor) -> Tensor:
        """What ``product`` does once the sources are checked; kinds with a faster way override it."""
        one = self.prepared()
        return torch.stack([one(sources, decoder_id) for decoder_id in range(self.bank_size)], 1)

    def prepared(self) -> Callable[[Tensor, int], Tensor]:
        """``unchecked_one`` for many calls with the same bank; kinds with something to prepare override it."""
        return self.unchecked_one

    def _by_decoder(self, sources: Tensor, decoder_ids: Tensor, source_ids: Tensor | None) -> Tensor:
        """Sort the pairs by decoder and run each decoder once, on the sources that need it."""
        counts = torch.bincount(decoder_ids, minlength=self.bank_size).tolist()
        if max(counts) == len(decoder_ids):
            return self.unchecked_one(take(sources, source_ids), counts.index(len(decoder_ids)))
        one = self.prepared()
        # Gathered and written run by run: on a CPU, fresh memory for a whole batch costs as much as decoding it.
        images = sources.new_empty(len(decoder_ids), *self.image)
        for decoder_id, positions in enumerate(torch.split(torch.argsort(decoder_ids, stable=True), counts)):
            if len(positions):
                run = sources.index_select(0, positions if source_ids is None else source_ids[positions])
                images.index_copy_(0, positions, one(run, decoder_id).to(images.dtype))
        return images

    def _check_sources(self, sources: Tensor) -> None:
        if sources.shape[1:] != self.source_shape or not sources.is_floating_point():
            expected = ", ".join(["B", *map(str, self.source_shape)])
            raise FormatError(f"sources are {_describe(sources)}, expected floats of shape [{expected}]")


def _check_ids(what: str, ids: Tensor, batch: int, count: int) -> None:
    if ids.dtype != torch.int64 or ids.shape != (batch,):
        raise FormatError(f"{what} numbers are {_describe(ids)}, expected int64 of shape [{batch}]")
    if ids.device.type == "cpu" and batch:
        low, high = (cast(int, v.item()) for v in torch.aminmax(ids))
        if low < 0 or high >= count:
            raise FormatError(f"{what} numbers from {low} to {high}, expected 0 to {count - 1}")


def _describe(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} of shape {list(x.shape)}"
