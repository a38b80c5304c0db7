"""``OnnxStream``: the batches of each epoch of an exported pack as numpy arrays, with elastic resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dsetpack.onnx.runtime import Floats, Labels

if TYPE_CHECKING:
    from dsetpack.onnx.runtime import OnnxPack
    from dsetpack.order.sampler import PairSampler


class OnnxStream:
    """Decoded batches of one epoch an iteration, the same as ``Pack.stream`` gives.

    Epochs, ranks and resume are those of ``PairSampler``, and a state is good for either: what a ``PackStream`` saved
    an ``OnnxStream`` loads, and the other way round.

    Yields:
        (x, y): x float32 [B, C, H, W] in ``pack.space``, after ``transform``; y int64 [B], or float32 [B, classes].
    """

    def __init__(self, pack: OnnxPack, sampler: PairSampler, transform: Callable[[Floats], Any] | None = None) -> None:
        self.pack, self.sampler, self.transform = pack, sampler, transform

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[tuple[Any, Labels]]:
        batches, seed = iter(self.sampler), self.sampler.schedule.seed
        for pairs in batches:
            x, y = self.pack.decode(pairs, seed=seed, epoch=batches.epoch)
            yield (x if self.transform is None else self.transform(x)), y

    @property
    def epoch(self) -> int:
        """The epoch that is running, or the next one where none has begun or the last one has ended."""
        return self.sampler.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; see ``PairSampler``."""
        self.sampler.set_epoch(epoch)

    def state_dict(self, consumed: int | None = None) -> dict[str, int | str]:
        """Where all ranks stand; see ``PairSampler``."""
        return self.sampler.state_dict(consumed)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration give the rest of the epoch from where the state was taken."""
        self.sampler.load_state_dict(state)
