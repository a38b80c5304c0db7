"""One batch of pairs from any parts: parts that share a bank are decoded by one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsetpack.decoders.base import take
from dsetpack.order import philox
from dsetpack.pack.part import Part
from dsetpack.spaces import Raw

if TYPE_CHECKING:
    from dsetpack.pack.pack import Pack

Numbers = NDArray[np.integer[Any]]
Run = list[tuple[Part, NDArray[np.intp]]]
"""Parts that one call decodes, and where in the batch each one's pairs stand."""


def decode_batch(pack: Pack, numbers: Numbers, draw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What ``Pack.decode`` does.

    Args:
        pack: which decodes on its device.
        numbers: pair numbers [B].
        draw: seed and epoch of a generator's noise.
    """
    where, sources, slots = pack.table.locate(numbers)
    if not len(numbers):
        return torch.empty(0, *pack.card.shape, device=pack.device), pack.parts[0].labels[:0]
    runs = _runs(pack.parts, where)
    made = [_decode(pack, run, numbers, sources, slots, draw) for run in runs]
    places = [at for run in runs for _, at in run]
    if len(places) == 1:
        return made[0]
    back = torch.from_numpy(np.argsort(np.concatenate(places))).to(pack.device)
    x, y = (torch.cat(pieces) for pieces in zip(*made, strict=True))
    return take(x, back), take(y, back)


def _runs(parts: tuple[Part, ...], where: NDArray[np.int64]) -> list[Run]:
    found: dict[object, Run] = {}
    for number in np.unique(where):
        part = parts[number]
        alike = number if part.sources is None else (id(part.decoder), part.class_decoders)
        found.setdefault(alike, []).append((part, np.flatnonzero(where == number)))
    return list(found.values())


def _decode(
    pack: Pack, run: Run, numbers: Numbers, sources: Numbers, slots: Numbers, draw: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    part, places = run[0][0], np.concatenate([at for _, at in run])
    rows = [torch.from_numpy(sources[at]).to(pack.device) for _, at in run]
    labels = torch.cat([some.labels[chosen] for (some, _), chosen in zip(run, rows, strict=True)])
    index = torch.from_numpy(slots[places])
    if part.sources is None:
        noise = philox.noise(*draw, numbers[places].astype(np.int64), part.config.source_shape(pack.card.shape)[0])
        images = part.decode(part.decoder.label_noise(torch.from_numpy(noise).to(pack.device), labels), index, labels)
    elif len(run) == 1:
        images = part.decode(part.sources, index, labels, rows[0])
    else:
        found = [some.sources for some, _ in run if some.sources is not None]
        images = part.decode(torch.cat(list(map(take, found, rows))), index, labels)
    if part.config.yields == "raw" and not isinstance(pack.space, Raw):
        images = pack.space.apply(images)
    return images, labels
