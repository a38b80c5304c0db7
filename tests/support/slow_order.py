"""An oracle for tests: the order and the noise, one number at a time, written from the text of the specification."""

import math
import struct
from collections.abc import Iterable, Sequence

LOW = 2**32 - 1


def flat(batches: Iterable[Iterable[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


def words(seed: int, epoch: int, stream: int, position: int, block: int = 0) -> tuple[int, int, int, int]:
    c = [position % 2**32, position // 2**32, epoch, stream + 256 * block]
    k = [seed % 2**32, seed // 2**32]
    for number in range(10):
        if number:
            k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & LOW, (a >> 32) ^ c[3] ^ k[1], a & LOW]
    return c[0], c[1], c[2], c[3]


def bits(seed: int, epoch: int, stream: int, position: int) -> int:
    x = words(seed, epoch, stream, position)
    return x[0] + 2**32 * x[1]


def permutation(n: int, seed: int, epoch: int) -> list[int]:
    return sorted(range(n), key=lambda i: (bits(seed, epoch, 0, i), i))


def paired(parts: Sequence[tuple[int, int]], seed: int, epoch: int) -> list[int]:
    first_pair, drawn = 0, []
    for sources, slots in parts:
        for s in range(sources):
            slot = (bits(seed, epoch, 1, len(drawn)) // 2**32) * slots // 2**32
            drawn.append(first_pair + s * slots + slot)
        first_pair += sources * slots
    return [drawn[s] for s in permutation(len(drawn), seed, epoch)]


def normals(seed: int, epoch: int, position: int, size: int) -> list[float]:
    out: list[float] = []
    for block in range((size + 1) // 2):
        x = words(seed, epoch, 2, position, block)
        a, c = x[0] + 2**32 * x[1], x[2] + 2**32 * x[3]
        u, v = (a // 2**11 + 1) / 2**53, (c // 2**11) / 2**53
        r = math.sqrt(-2 * math.log(u))
        out += [r * math.cos(2 * math.pi * v), r * math.sin(2 * math.pi * v)]
    return [struct.unpack("<f", struct.pack("<f", z))[0] for z in out[:size]]


def epoch(parts: Sequence[tuple[int, int]], rule: str, seed: int, number: int) -> list[int]:
    if rule == "paired":
        return paired(parts, seed, number)
    return permutation(sum(n * k for n, k in parts), seed, number)
