"""Write a card, parts and arrays as the bytes of a ``.dpk`` file: the same input gives the same bytes."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dsetpack.formats import hdf5
from dsetpack.formats import layout as layouts
from dsetpack.formats.atomic import write_atomically
from dsetpack.formats.card import Card, ZcaSpace
from dsetpack.formats.compression import SMALL_BYTES, Compress, Compressed, sampled, smallest
from dsetpack.formats.encodings import ArrayCodec, Encoding, spell
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.manifest import ITEMSIZE, Chunk, DatasetEntry, DType, Manifest, PartEntry, TensorEntry
from dsetpack.formats.parts import check_values
from dsetpack.formats.presets import EncodingChoice, check_keys, choose
from dsetpack.formats.progress import Work, steps
from dsetpack.formats.reuse import Once, Reuse, plain
from dsetpack.formats.seal import seal

Array = NDArray[Any]
CHUNK_BYTES = 1 << 20
LARGEST_CHUNK_BYTES = 1 << 26
CHUNKS = 8
"""Tensors are cut along the first axis into chunks of about ``CHUNK_BYTES``, or into larger ones if there would be more
than ``CHUNKS``: each chunk costs about 70 bytes, and no more than this many threads decompress at once."""
SHARED_BYTES = 1 << 16
"""Bank tensors, and tensors of the space up to this size, share a dataset: a separate one costs about 400 bytes."""


def write(
    path: str | os.PathLike[str],
    card: Card,
    parts: Iterable[PartEntry],
    tensors: Mapping[str, Array],
    encoding: EncodingChoice = "exact",
    layout: layouts.Layout = "plain",
) -> int:
    """Write a pack file in one step: a crash leaves the old file or the new one, never part of one.

    Args:
        path: the file; its folder must exist.
        card, parts: what the file says; parts name their tensors by role.
        tensors: arrays by name, with dtypes that the format knows.
        encoding: a preset (``exact``, ``f16``, ``int8``, ``int4``), or choices by tensor name or role.
        layout: ``plain``, or ``open``: every axis has a name for other HDF5 tools, for 4 to 10 kB.

    Returns:
        The file's size in bytes.

    Raises:
        FormatError: if parts, card and tensors do not fit each other, if an encoding does not fit a tensor, or if
            there is no such layout.
        OSError: if the file cannot be written.
    """
    data = encode(card, parts, tensors, encoding, layout=layout)
    write_atomically(path, data)
    return len(data)


def encode(
    card: Card,
    parts: Iterable[PartEntry],
    tensors: Mapping[str, Array],
    encoding: EncodingChoice = "exact",
    reuse: Reuse | None = None,
    layout: layouts.Layout = "plain",
) -> bytes:
    """The bytes that ``write`` writes; see there.

    ``reuse`` has what was computed for files with some of the same tensors, and then what was for this one.
    """
    layout = layouts.known(layout)
    parts, once = tuple(parts), plain if reuse is None else reuse.once
    roles = _roles(card, parts)
    check_keys(encoding, list(tensors), list(roles.values()))
    tensors = {name: _native(values) for name, values in tensors.items()}
    _check_input(card, tensors, roles)
    stored, entries = _encode_arrays(tensors, roles, encoding, once)
    groups = _group(stored, roles)
    entries = _place(entries, stored, groups)
    datasets = _compress(stored, groups, entries, once)
    if reuse is not None:
        reuse.forget()
    image = layouts.laid_out(datasets, parts, entries, layout)
    return _assemble(card, parts, entries, datasets, image)


def _native(values: Array) -> Array:
    """A plain array in this machine's byte order."""
    array = np.asarray(values)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _roles(card: Card, parts: tuple[PartEntry, ...]) -> dict[str, str]:
    """The role of each tensor, by tensor name."""
    roles = {name: role for part in parts for role, name in part.tensors.items()}
    if isinstance(card.space, ZcaSpace) and card.space.storage == "embed":
        roles |= {str(card.space.mean): "space", str(card.space.matrix): "space"}
    return roles


def _check_input(card: Card, tensors: Mapping[str, Array], roles: Mapping[str, str]) -> None:
    for name, values in tensors.items():
        if values.dtype.name not in ITEMSIZE:
            raise FormatError(f"tensor {name!r}: dtype {values.dtype} found; {', '.join(ITEMSIZE)} can be stored")
        if name not in roles:
            raise FormatError(f"tensor {name!r} belongs to no part and not to the card's space")
        with at(f"tensor {name!r}"):
            check_values(roles[name], values, card)


def _encode_arrays(
    tensors: Mapping[str, Array], roles: dict[str, str], encoding: EncodingChoice, once: Once
) -> tuple[dict[str, Array], dict[str, TensorEntry]]:
    """Stored arrays and index entries by name, including the side tensors of the encodings."""
    stored: dict[str, Array] = {}
    entries: dict[str, TensorEntry] = {}
    for name in sorted(tensors):
        values = tensors[name]
        step = choose(encoding, name, roles[name], values)
        stored[name], steps, sides = once([values], (name, step), partial(_encode_array, values, step, name))
        with at(f"tensor {name!r}"):  # the manifest may not hold so many dimensions
            entries[name] = TensorEntry(dtype=cast(DType, values.dtype.name), shape=values.shape, encodings=steps)
        for side, numbers in sides.items():
            if side in tensors:
                raise FormatError(f"tensor {side!r}: the name is taken by the scales of {name!r}; choose another")
            stored[side], roles[side] = numbers, "scale"
            entries[side] = TensorEntry(dtype="float32", shape=numbers.shape)
    return stored, entries


def _encode_array(
    values: Array, step: ArrayCodec | None, name: str
) -> tuple[Array, tuple[Encoding, ...], dict[str, Array]]:
    if step is None or values.size == 0:
        return values, (), {}
    with at(f"tensor {name!r}"):
        stored, used, sides = step.encode(values, name)
        used.stored_dtype(values.dtype.name)
        used.needs(values.shape)
    return stored, (spell(used),), sides


def _group(stored: Mapping[str, Array], roles: Mapping[str, str]) -> dict[str, list[str]]:
    """The datasets by name, each with its tensors in order.

    Tensors of one dtype share a dataset, except sources, labels and large tensors of the space.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    own = {
        name
        for name, values in stored.items()
        if roles[name] in ("sources", "labels") or (roles[name] == "space" and values.nbytes > SHARED_BYTES)
    }
    for name in sorted(stored):
        if stored[name].size:
            groups[name if name in own else _shared(stored[name].dtype.name, own)].append(name)
    return dict(groups)


def _shared(dtype: str, taken: Collection[str]) -> str:
    """The name of the dataset that tensors of a dtype share."""
    name = f"shared_{dtype}"
    while name in taken:
        name += "_"
    return name


def _place(
    entries: Mapping[str, TensorEntry], stored: Mapping[str, Array], groups: Mapping[str, list[str]]
) -> dict[str, TensorEntry]:
    placed = dict(entries)
    for dataset, group in groups.items():
        start = 0
        for name in group:
            placed[name] = entries[name].model_copy(update={"dataset": dataset, "start": start})
            start += stored[name].size
    return placed


@dataclass(frozen=True, eq=False)
class _Plain:
    """The values of a dataset, and how many rows of them are a chunk."""

    values: Array
    rows: int

    @staticmethod
    def of(arrays: list[Array]) -> _Plain:
        values = arrays[0] if len(arrays) == 1 and arrays[0].ndim else np.concatenate([a.reshape(-1) for a in arrays])
        values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        target = min(max(CHUNK_BYTES, -(-values.nbytes // CHUNKS)), LARGEST_CHUNK_BYTES)
        return _Plain(values, min(len(values), max(1, target // values[:1].nbytes)))

    def __len__(self) -> int:
        return -(-len(self.values) // self.rows)

    def chunks(self) -> list[bytes]:
        """All chunks; the last one is padded with zeros."""
        size = self.rows * self.values[:1].nbytes
        starts = range(0, len(self.values), self.rows)
        return [self.values[at : at + self.rows].tobytes().ljust(size, b"\0") for at in starts]

    def compressed(self, compress: Compress, pool: Executor, work: Work) -> Compressed:
        return compress(self.chunks(), self.values.dtype.itemsize, pool, work)


def _compress(
    stored: Mapping[str, Array], groups: Mapping[str, list[str]], entries: Mapping[str, TensorEntry], once: Once
) -> dict[str, hdf5.StoredDataset]:
    """Cut every dataset into chunks and compress them."""
    compress = smallest if sum(values.nbytes for values in stored.values()) <= SMALL_BYTES else sampled
    cuts = {name: _Plain.of([stored[t] for t in group]) for name, group in groups.items()}
    datasets = {}
    with (
        steps("save", sum(map(len, cuts.values()))) as work,
        ThreadPoolExecutor(os.cpu_count()) as pool,  # zstd releases Python's global lock
    ):
        for name, cut in cuts.items():
            shape, dtype = cut.values.shape, cut.values.dtype
            way = (cut.rows, compress.__name__)
            codecs, chunks = once([cut.values], way, partial(cut.compressed, compress, pool, work))
            attributes = layouts.attributes([entries[t] for t in groups[name]])
            datasets[name] = hdf5.StoredDataset(dtype.name, shape, (cut.rows, *shape[1:]), codecs, chunks, attributes)
    return datasets


def _assemble(
    card: Card,
    parts: tuple[PartEntry, ...],
    entries: dict[str, TensorEntry],
    datasets: dict[str, hdf5.StoredDataset],
    image: hdf5.Image,
) -> bytes:
    with at("the pack"):
        manifest = Manifest(
            card=card,
            parts=parts,
            tensors=entries,
            datasets={name: _index_entry(d, image.offsets[name]) for name, d in datasets.items()},
            rest="0" * 64,
        )
        return seal(manifest, image.data)


def _index_entry(dataset: hdf5.StoredDataset, offsets: tuple[int, ...]) -> DatasetEntry:
    chunks = tuple(
        Chunk(offset=at, length=len(data), sha256=hashlib.sha256(data).hexdigest())
        for at, data in zip(offsets, dataset.chunks, strict=True)
    )
    return DatasetEntry(
        dtype=cast(DType, dataset.dtype),
        shape=dataset.shape,
        chunk=dataset.chunk,
        encodings=tuple(map(spell, dataset.codecs)),
        chunks=chunks,
    )
