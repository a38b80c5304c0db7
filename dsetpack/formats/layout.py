"""How the HDF5 part is laid out for other tools: ``plain``, or ``open`` with a name for every axis (SPEC.md, 9.1).

Both hold the same chunks and have the same content digest. A name is an HDF5 dimension scale, in the way of netCDF-4: a
dataset without data, which netCDF tools take for a dimension. Names cost 4 to 10 kB in a file, most of it one heap that
HDF5 makes no smaller than 4 KiB, so packs are plain unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, cast

import numpy as np

from dsetpack.formats import hdf5, index
from dsetpack.formats.by_name import spelled
from dsetpack.formats.encodings.quantize import Quantize
from dsetpack.formats.errors import FormatError
from dsetpack.formats.manifest import DatasetEntry, Manifest, PartEntry, TensorEntry

Layout = Literal["plain", "open"]
LAYOUTS: tuple[Layout, ...] = ("plain", "open")
Shape = tuple[int, ...]


def known(layout: str) -> Layout:
    """The layout that somebody means.

    Raises:
        FormatError: if there is no such layout.
    """
    if (found := spelled(LAYOUTS, layout)) is None:
        raise FormatError(f"layout {layout!r}: one of {', '.join(LAYOUTS)} expected")
    return cast(Layout, found)


def by_dataset(tensors: Mapping[str, TensorEntry]) -> dict[str, list[TensorEntry]]:
    """The tensors of each dataset."""
    found: dict[str, list[TensorEntry]] = {}
    for tensor in tensors.values():
        if tensor.dataset is not None:
            found.setdefault(tensor.dataset, []).append(tensor)
    return found


def attributes(tensors: Sequence[TensorEntry]) -> dict[str, float]:
    """``scale_factor`` and ``add_offset`` of the netCDF convention, if one scale serves the whole dataset."""
    steps = [step for tensor in tensors for step in index.array_codecs(tensor)]
    if len(tensors) != 1 or not steps or not isinstance(steps[0], Quantize):
        return {}
    scale, offset = steps[0].scale, steps[0].offset
    if not isinstance(scale, float) or not isinstance(offset, float):
        return {}
    return {"scale_factor": float(np.float32(scale)), "add_offset": float(np.float32(offset))}


def axes(
    parts: Sequence[PartEntry], tensors: Mapping[str, TensorEntry], shapes: Mapping[str, Shape]
) -> dict[str, tuple[str, ...]]:
    """The names of the axes of every dataset in the open layout.

    Axes of one name have one length. A name that a dataset has, or an axis of another length, gets a ``_`` behind it.

    Args:
        parts, tensors: as in the manifest.
        shapes: the shapes of the datasets.
    """
    meant = _meant(parts, tensors)
    lengths = dict.fromkeys(shapes, 0)  # no axis has this length
    return {name: _free(meant.get(name, ()), name, shapes[name], lengths) for name in sorted(shapes)}


def _meant(parts: Sequence[PartEntry], tensors: Mapping[str, TensorEntry]) -> dict[str, tuple[str, ...]]:
    """What the axes of sources and labels are, by dataset; for a dataset that they share, this means nothing."""
    holds = by_dataset(tensors)
    found: dict[str, tuple[str, ...]] = {}
    for number, part in enumerate(parts):
        source = "source" if len(parts) == 1 else f"part{number}.source"
        for role, names in (("sources", (source, "channel", "height", "width")), ("labels", (source, "class"))):
            tensor = tensors.get(part.tensors.get(role, ""))
            if tensor is not None and tensor.dataset is not None and len(holds[tensor.dataset]) == 1:
                found.setdefault(tensor.dataset, names[: len(tensor.shape)])
    return found


def _free(meant: tuple[str, ...], dataset: str, shape: Shape, lengths: dict[str, int]) -> tuple[str, ...]:
    """The names of one dataset's axes; ``lengths`` has the length of each name, and gets these."""
    chosen = []
    for at, length in enumerate(shape):
        name = meant[at] if len(meant) == len(shape) else f"{dataset}.axis{at}"
        while lengths.setdefault(name, length) != length:
            name += "_"
        chosen.append(name)
    return tuple(chosen)


def laid_out(
    datasets: Mapping[str, hdf5.StoredDataset],
    parts: Sequence[PartEntry],
    tensors: Mapping[str, TensorEntry],
    layout: Layout,
) -> hdf5.Image:
    """The HDF5 part of a file."""
    named = axes(parts, tensors, {name: d.shape for name, d in datasets.items()}) if layout == "open" else {}
    return hdf5.build({name: replace(d, axes=named.get(name, ())) for name, d in datasets.items()})


def laid_out_again(manifest: Manifest, image: bytes, layout: Layout) -> tuple[Manifest, bytes]:
    """A manifest and its HDF5 part in another layout: the same chunks at other places.

    Args:
        manifest: of the file; every digest in it was checked.
        image: the HDF5 part, from the end of the user block.
        layout: the new layout.
    """
    tensors = by_dataset(manifest.tensors)
    stored = {name: _stored(entry, tensors.get(name, []), image) for name, entry in manifest.datasets.items()}
    made = laid_out(stored, manifest.parts, manifest.tensors, layout)
    moved = {name: _moved(entry, made.offsets[name]) for name, entry in manifest.datasets.items()}
    return manifest.model_copy(update={"datasets": moved}), made.data


def _stored(entry: DatasetEntry, tensors: Sequence[TensorEntry], image: bytes) -> hdf5.StoredDataset:
    return hdf5.StoredDataset(
        entry.dtype,
        entry.shape,
        entry.chunk,
        tuple(index.byte_codecs(entry)),
        tuple(image[chunk.offset : chunk.offset + chunk.length] for chunk in entry.chunks),
        attributes(tensors),
    )


def _moved(entry: DatasetEntry, offsets: Sequence[int]) -> DatasetEntry:
    chunks = [c.model_copy(update={"offset": at}) for c, at in zip(entry.chunks, offsets, strict=True)]
    return entry.model_copy(update={"chunks": tuple(chunks)})
