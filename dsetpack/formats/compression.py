"""How the chunks of a file are compressed: with or without the byte shuffle, and with how much effort.

A small file tries everything and takes what is smallest. A large one decides on a sample of each dataset, and then
compresses each chunk once. What it loses is a few percent at most, because most tensors do not reward effort: in
learned floats only the exponents can be compressed, and level 1 does that as well as level 19, in a hundredth of the
time. Images with few distinct values reward it; for them there are efforts between zstd's levels.

Only sizes decide, never clocks: the same tensors have the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from dsetpack.formats.encodings import ByteCodec
from dsetpack.formats.encodings.shuffle import Shuffle
from dsetpack.formats.encodings.zstd import ZstdFrame, pack_frame
from dsetpack.formats.progress import Work

SMALL_BYTES = 1 << 20
"""Files whose arrays have up to this many bytes try all of ``Pipeline``s for every dataset."""
LEVELS = (19, 3)
"""zstd levels to try in a small file. On noise, a high level finds matches that cost more than they save."""
SAMPLE = 1 << 17
PIECES = 2
"""The sample of a dataset has so many elements, in ``PIECES`` runs at even distances. Shuffled, the first bytes of all
elements fill a block of zstd, as do the second ones, ...; so they compress as they will in a larger chunk."""
CHEAP = 3
"""So many of the first efforts take next to no time; they decide whether to shuffle."""
TOLERANCE = 0.02
"""The cheapest effort counts that makes a sample at most this much larger than the best effort does."""
REPETITIVE = 0.1
"""A sample that shrinks below this share repeats itself; then the dataset may repeat what the sample does not show,
and only the greatest effort finds it. There is not much left to compress."""


class Effort(NamedTuple):
    """How hard zstd tries: a level, which the manifest names, and changes of its parameters."""

    level: int
    changes: Mapping[str, int] = MappingProxyType({})


EFFORTS = (
    Effort(1),
    Effort(5),
    Effort(12),
    # Optimal parsing with short matches nearby, for 8-bit pixels.
    Effort(
        16,
        {"window_log": 17, "hash_log": 14, "chain_log": 8, "search_log": 2, "min_match": 3, "target_length": 16},
    ),
    # Optimal parsing with matches from the whole chunk, for floats with few distinct values.
    Effort(17, {"hash_log": 17, "search_log": 4}),
    Effort(19),
)
"""From the cheapest to the best. Levels above 19 would need more memory than a reader should have to give."""


class Pipeline(NamedTuple):
    """The byte shuffle, if ``itemsize`` is not 1, and then zstd."""

    itemsize: int
    effort: Effort

    @property
    def codecs(self) -> tuple[ByteCodec, ...]:
        """What the manifest says of it."""
        zstd = ZstdFrame(level=self.effort.level)
        return (zstd,) if self.itemsize == 1 else (Shuffle(itemsize=self.itemsize), zstd)

    def encode(self, data: bytes, expected: int | None = None) -> bytes:
        """Encode a chunk, or a sample of chunks of ``expected`` bytes."""
        if self.itemsize > 1:
            data = Shuffle(itemsize=self.itemsize).encode(data)
        return pack_frame(data, self.effort.level, expected, **self.effort.changes)


Compressed = tuple[tuple[ByteCodec, ...], tuple[bytes, ...]]
"""The codecs of a dataset, and its compressed chunks."""
Compress = Callable[[Sequence[bytes], int, Executor, Work], Compressed]
"""``smallest`` or ``sampled``."""


def smallest(chunks: Sequence[bytes], itemsize: int, pool: Executor, work: Work) -> Compressed:
    """Compress the chunks of a dataset in all ways, and keep the way that gives the fewest bytes.

    Args:
        chunks: the plain chunks.
        itemsize: the bytes of one element.
        pool: threads to compress in; zstd releases Python's global lock.
        work: advances by one for each chunk.
    """
    ways = [Pipeline(size, Effort(level)) for size in sorted({1, itemsize}) for level in LEVELS]
    frames = tuple(_all(pool, [partial(way.encode, chunk) for way in ways for chunk in chunks]))
    found = [frames[at : at + len(chunks)] for at in range(0, len(frames), len(chunks))]
    best = min(range(len(ways)), key=lambda n: sum(map(len, found[n])))
    work.advance(len(chunks))
    return ways[best].codecs, found[best]


def sampled(chunks: Sequence[bytes], itemsize: int, pool: Executor, work: Work) -> Compressed:
    """Compress the chunks of a dataset in the way that a sample of them decides; arguments as for ``smallest``."""
    way = decide(chunks, itemsize, pool)
    frames = []
    for frame in _all(pool, [partial(way.encode, chunk) for chunk in chunks]):
        frames.append(frame)
        work.advance()
    return way.codecs, tuple(frames)


def decide(chunks: Sequence[bytes], itemsize: int, pool: Executor) -> Pipeline:
    """Choose the cheapest way that makes a sample of the chunks about as small as the best way does."""
    sample, expected = _sample(chunks, SAMPLE * itemsize), len(chunks[0])

    def sizes(size: int, efforts: Sequence[Effort]) -> list[int]:
        tasks = [partial(Pipeline(size, effort).encode, sample, expected) for effort in efforts]
        return [len(frame) for frame in _all(pool, tasks)]

    chosen = min(sorted({1, itemsize}), key=lambda size: min(sizes(size, EFFORTS[:CHEAP])))
    found = sizes(chosen, EFFORTS)
    least = min(found)
    if least < REPETITIVE * len(sample):
        return Pipeline(chosen, EFFORTS[-1])
    enough = (effort for effort, size in zip(EFFORTS, found, strict=True) if size <= (1 + TOLERANCE) * least)
    return Pipeline(chosen, next(enough))


def _sample(chunks: Sequence[bytes], size: int) -> bytes:
    """Runs of bytes at even distances, cut between elements; all bytes if there are not many more."""
    length = len(chunks[0])
    total = length * len(chunks)
    if total <= 2 * size:
        return b"".join(chunks)
    run, runs = size // PIECES, []
    for piece in range(PIECES):
        number, start = divmod(total * (2 * piece + 1) // (2 * PIECES), length)
        start = max(0, min(start, length - run)) // 8 * 8
        runs.append(chunks[number][start : start + run])
    return b"".join(runs)


def _all(pool: Executor, tasks: Sequence[Callable[[], bytes]]) -> Iterator[bytes]:
    """The results of tasks in their order. An interruption cancels those that have not begun."""
    pending = [pool.submit(task) for task in tasks]
    try:
        for future in pending:
            yield future.result()
    finally:
        for future in pending:
            future.cancel()
