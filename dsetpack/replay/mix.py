"""``MixedLoader``: batches of new data, each with some images of the memory, exactly resumable."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dsetpack.formats.errors import FormatError
from dsetpack.loading.device import moved
from dsetpack.loading.source import Batch, PairSource, decode, loaded
from dsetpack.order.pairs import PairTable
from dsetpack.order.sampling import Sampling
from dsetpack.order.schedule import Schedule

STATE_VERSION = 3


class Batches(Protocol):
    """Batches of new data: ``pack.loader(...)``, torchdata's ``StatefulDataLoader``, or any loader.

    Resuming also needs ``state_dict`` and ``load_state_dict``.
    """

    def __iter__(self) -> Iterator[Any]: ...


class MixedLoader:
    """Batches (x, y) of new data, each followed by rehearsed images.

    A batch of n new samples is followed by about n · ratio rehearsed ones: after s new samples, floor(s · ratio), in
    double precision, have been rehearsed. Rehearsal runs through the memory epoch by epoch by the memory's own rule,
    and continues across the epochs of the new data, so each rehearsed sample depends only on the seed and the number of
    new samples so far. One iteration of this loader is one iteration of ``new``.

    Args:
        new: batches (x, y): x float [n, C, H, W] in the memory's pixel space (``memory.pack.space.apply``), y int64
            [n], or float [n, classes] if the memory's labels are soft.
        memory: a pack, such as ``ReplayMemory.pack``, on the device that should decode it (``pack.to("cuda")``); with
            None, the memory is empty: there are the new data alone.
        ratio: rehearsed samples per new sample, > 0.
        seed: seed of the rehearsal's order, 0 <= seed < 2**64.
        rank, world: this process and how many share the rehearsal: each takes every ``world``-th sample. By default
            those of ``torch.distributed`` if it is initialised. ``new`` must divide its own batches between processes.

    Yields:
        (x, y): the new samples first; all on the device of the new samples, images in their dtype.

    Raises:
        FormatError: if an argument is out of range, or, from an iteration, if a batch does not fit the memory.
    """

    def __init__(
        self,
        new: Batches,
        memory: PairSource | None,
        ratio: float = 1.0,
        *,
        seed: int = 0,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        if not isinstance(ratio, int | float | np.number) or not 0 < ratio < math.inf:
            raise FormatError(f"ratio is {ratio!r}; expected rehearsed samples for each new one, more than 0")
        if not hasattr(new, "__iter__"):
            raise FormatError(f"new is a {type(new).__name__}; a loader of batches (x, y) expected")
        self.new, self.memory, self.ratio = new, None if memory is None else loaded(memory), float(ratio)
        table, rule = (PairTable([]), "product") if memory is None else (memory.table, memory.card.epoch_rule)
        self._plan = Schedule(table, 1, Sampling.of(seed=seed, rule=rule, rank=rank, world=world))
        self._seen = 0  # new samples given so far, over all epochs

    def __len__(self) -> int:
        """The number of batches in one iteration, if ``new`` has a length."""
        return len(self.new)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.new:
            x, y = self._checked(batch)
            first, last = (math.floor(seen * self.ratio) for seen in (self._seen, self._seen + len(x)))
            again = [self._decode(*run, x) for run in self._runs(first, last)]
            self._seen += len(x)
            yield torch.cat([x, *(images for images, _ in again)]), torch.cat([y, *(labels for _, labels in again)])

    @property
    def resumable(self) -> bool:
        """Whether ``new`` can save and restore its position."""
        return all(hasattr(self.new, name) for name in ("state_dict", "load_state_dict"))

    def state_dict(self) -> dict[str, Any]:
        """The position of this rank after the batches received so far: plain values if those of ``new`` are plain.

        It is the same on all ranks as long as their batches have equal sizes.

        Raises:
            FormatError: if ``new`` cannot save its position.
        """
        return {**self._state(), "seen": self._seen, "new": self._resumable().state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration continue from where the state was taken.

        Save a memory before you mix it: saving changes its values to those of the file.

        Raises:
            FormatError: if the state belongs to a memory of other values, or to another ratio, seed or number of ranks,
                if it is damaged, or if ``new`` cannot restore its position. Then this loader has not changed.
        """
        expected = self._state()
        if (version := state.get("version", STATE_VERSION)) != STATE_VERSION:
            raise FormatError(f"the state has version {version!r}, this dsetpack reads {STATE_VERSION}")
        if missing := [key for key in (*expected, "seen", "new") if key not in state]:
            raise FormatError(f"not a state of a mixed loader: {', '.join(missing)} missing")
        for key, value in expected.items():
            if key != "contents" and state[key] != value:
                raise FormatError(f"the state has {key} {state[key]!r}, here it is {value!r}: make an equal loader")
        if state["contents"] != expected["contents"]:
            raise FormatError(
                "the state belongs to a memory of other values: saving encodes them again, so save a memory before it "
                "is mixed, and open that file to go on"
            )
        seen = state["seen"]
        if isinstance(seen, bool) or not isinstance(seen, int) or seen < 0:
            raise FormatError(f"the state has seen {seen!r}; expected a number of samples")
        self._resumable().load_state_dict(state["new"])
        self._seen = seen

    def _state(self) -> dict[str, Any]:
        plan = self._plan
        return {
            "version": STATE_VERSION,
            "rule": plan.sampling.rule,
            "seed": plan.sampling.seed,
            "pairs": len(plan.table),
            "contents": self._contents,
            "length": plan.length,
            "ratio": self.ratio,
            "world": plan.sampling.world,
        }

    @cached_property
    def _contents(self) -> str:
        """SHA-256 over labels, sources and decoders; over the labels alone if the memory is not a pack."""
        tensors, found = [] if self.memory is None else [self.memory.labels], hashlib.sha256()
        for part in getattr(self.memory, "parts", ()):
            found.update(f"{part.kind} {part.config!r}".encode())
            tensors += [] if part.sources is None else [part.sources]
            tensors += part.decoder.state_dict().values()
        for values in tensors:
            found.update(f"{list(values.shape)}".encode() + values.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def _resumable(self) -> Any:
        if not self.resumable:
            raise FormatError(
                f"the new data come from a {type(self.new).__name__}, which cannot say where it stands: use "
                "pack.loader(...), or torchdata's StatefulDataLoader"
            )
        return self.new

    def _runs(self, first: int, last: int) -> Iterator[tuple[int, slice]]:
        """Samples ``first`` to ``last`` of this rank's rehearsal, as epochs and positions in their orders."""
        plan, rank, step = self._plan, self._plan.sampling.rank, self._plan.sampling.world
        start, stop = first * step + rank, last * step + rank if plan.length else 0
        while start < stop:
            epoch, place = divmod(start, plan.length)
            end = min(stop - epoch * plan.length, plan.length)
            yield epoch, slice(place, end, step)
            start += len(range(place, end, step)) * step

    def _decode(self, epoch: int, places: slice, like: Tensor) -> Batch:
        assert self.memory is not None
        pair_ids = np.ascontiguousarray(self._plan.order(epoch)[places])
        x, y = decode(self.memory, pair_ids, self._plan.sampling.seed, epoch)
        return moved(x, like.device).to(like.dtype), moved(y, like.device)

    def _checked(self, batch: Any) -> Batch:
        pair = tuple(batch) if isinstance(batch, Sequence) else (batch,)
        if len(pair) != 2 or not all(isinstance(one, Tensor) for one in pair):
            found = ", ".join(type(one).__name__ for one in pair)
            raise FormatError(f"a batch of new data is ({found}); a pair of tensors (x, y) expected")
        x, y = pair
        if self.memory is None:  # so it says nothing about images
            return x, y
        card = self.memory.card
        soft = card.labels.kind == "soft"
        labels = (len(x), len(card.classes)) if soft else (len(x),)
        if tuple(x.shape[1:]) != card.shape or not x.is_floating_point():
            raise FormatError(
                f"new images are {x.dtype} {list(x.shape)}; the memory's are float {list(card.shape)} in the space "
                f"{card.space.kind}: pass raw ones through memory.pack.space.apply"
            )
        if tuple(y.shape) != labels or y.is_floating_point() != soft:
            raise FormatError(
                f"new labels are {y.dtype} {list(y.shape)}; the memory's are {card.labels.kind}, {list(labels)}"
            )
        return x, y
