"""Decoding of one batch of pairs from any parts: parts that share a bank are decoded in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsetpack.decoders.base import take
from dsetpack.order import philox
from dsetpack.order.pairs import Int64s, Located
from dsetpack.pack.part import Part
from dsetpack.spaces import Raw, Space

Run = list[tuple[Part, NDArray[np.intp]]]
"""The parts that one call decodes, each with the positions of its pairs in the batch."""


def decode_pairs(
    parts: tuple[Part, ...], space: Space, pair_ids: NDArray[np.integer[Any]], where: Located, draw: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Decode pairs on the device of the parts.

    Args:
        parts: all parts of the pack.
        space: the pack's pixel space, into which raw images are mapped.
        pair_ids: [B].
        where: part, source and slot of each pair, from the pack's table.
        draw: seed and epoch of the noise of ``generator`` parts.

    Returns:
        images float32 [B, C, H, W] in the pack's space, and labels int64 [B] or float32 [B, classes].
    """
    device = parts[0].labels.device
    if not len(pair_ids):
        return torch.empty(0, *parts[0].decoder.image, dtype=torch.float32, device=device), parts[0].labels[:0]
    runs = _runs(parts, where.part_ids)
    decoded = [_decode_run(run, space, pair_ids, where, draw) for run in runs]
    positions = [own for run in runs for _, own in run]
    if len(positions) == 1:
        return decoded[0]
    back = torch.from_numpy(np.argsort(np.concatenate(positions))).to(device)
    x, y = (torch.cat(pieces) for pieces in zip(*decoded, strict=True))
    return take(x, back), take(y, back)


def _runs(parts: tuple[Part, ...], part_ids: Int64s) -> list[Run]:
    found: dict[object, Run] = {}
    for number in np.unique(part_ids):
        part = parts[number]
        alike = number if part.sources is None else (id(part.decoder), part.class_decoders)
        found.setdefault(alike, []).append((part, np.flatnonzero(part_ids == number)))
    return list(found.values())


def _decode_run(
    run: Run, space: Space, pair_ids: NDArray[np.integer[Any]], where: Located, draw: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    part, positions = run[0]
    device = part.labels.device
    source_ids = [torch.from_numpy(where.source_ids[own]).to(device) for _, own in run]
    labels = part.labels[source_ids[0]]
    if len(run) > 1:  # for one part, the usual case, joining would cost as much as a small decode
        positions = np.concatenate([own for _, own in run])
        labels = torch.cat([some.labels[ids] for (some, _), ids in zip(run, source_ids, strict=True)])
    slot_ids = torch.from_numpy(where.slot_ids[positions])
    if part.sources is None:
        sources = _drawn(part, pair_ids[positions], labels, draw)
        images = part.decode(sources, slot_ids, labels)
    elif len(run) == 1:
        images = part.decode(part.sources, slot_ids, labels, source_ids[0])
    else:
        stored = [some.sources for some, _ in run if some.sources is not None]
        images = part.decode(torch.cat(list(map(take, stored, source_ids))), slot_ids, labels)
    if part.config.yields == "raw" and not isinstance(space, Raw):
        images = space.apply(images)
    return images, labels


def _drawn(part: Part, pair_ids: NDArray[np.integer[Any]], labels: Tensor, draw: tuple[int, int]) -> Tensor:
    """Draw a generator's sources: noise that depends only on seed, epoch and pair, conditioned on the label."""
    size = part.config.source_shape(part.decoder.image)[0]
    noise = philox.noise(*draw, pair_ids.astype(np.int64), size)
    return part.decoder.condition(torch.from_numpy(noise).to(labels.device), labels)
