"""Small packs for the tests of the container."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
from pydantic import Field

from dsetpack import formats
from dsetpack.formats import parts, writer
from dsetpack.formats.card import Card
from dsetpack.formats.kinds import kind_config
from dsetpack.formats.kinds.base import KindConfig, TensorShapes
from dsetpack.formats.manifest import ITEMSIZE

Arrays = dict[str, np.ndarray]
PRESETS = ("exact", "f16", "int8", "int4")
KINDS: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "images": ((1, 6, 5), {}),
    "upsample": ((2, 7, 6), {"factor": 2}),
    "haba": ((3, 8, 8), {"decoders": 2, "depth": 1}),
    "kfs": ((1, 12, 12), {"decoders": 3, "channels": [4, 3, 2]}),
    "generator": ((1, 8, 8), {"width": 4, "noise": 6}),
}
"""Image shape and configuration of a small part of each kind."""


def card(**changes: Any) -> Card:
    return Card.model_validate({"title": "test", "classes": ("a", "b", "c"), "shape": (1, 6, 5)} | changes)


def part_of(
    kind: str, *, sources: int = 5, seed: int = 0, config: dict[str, Any] | None = None, **card_changes: Any
) -> tuple[Card, formats.PartEntry, Arrays]:
    """A card, a part of a kind, and random tensors of the shapes that the kind's configuration asks for."""
    shape, default = KINDS[kind]
    config = config or default
    made = card(**({"shape": shape} | ({"per_class": 2} if kind == "generator" else {}) | card_changes))
    model = kind_config(kind).model_validate(config)
    rng = np.random.default_rng(seed)
    shapes = dict(model.bank_shapes(made.shape, len(made.classes)))
    tensors = {role: rng.standard_normal(shape).astype(np.float32) for role, shape in shapes.items()}
    if model.has_sources:
        tensors["sources"] = rng.standard_normal((sources, *model.source_shape(made.shape))).astype(np.float32)
        tensors["labels"] = (np.arange(sources) % 3).astype(np.uint8)
    entry = formats.PartEntry(
        kind=kind,
        config=config,
        sources=sources if model.has_sources else 0,
        tensors={role: role for role in tensors},
    )
    return made, entry, tensors


def images(
    sources: np.ndarray | None = None, encoding: Any = "exact", labels: np.ndarray | None = None, **changes: Any
) -> bytes:
    """A pack of images."""
    if sources is None:
        sources = np.random.default_rng(0).standard_normal((7, 1, 6, 5)).astype(np.float32)
    if labels is None:
        labels = (np.arange(len(sources)) % 3).astype(np.uint8)
    part = formats.PartEntry(kind="images", sources=len(sources), tensors={"sources": "sources", "labels": "labels"})
    made = card(**({"shape": sources.shape[1:]} | changes))
    return formats.encode(made, [part], {"sources": sources, "labels": labels}, encoding)


def large_pack() -> tuple[bytes, np.ndarray]:
    """A pack of several chunks, far larger than the first read; and its sources."""
    sources = np.random.default_rng(0).standard_normal((500, 1, 6, 5)).astype(np.float32)
    with mock.patch.multiple(writer, CHUNK_BYTES=20_000, LARGEST_CHUNK_BYTES=20_000):
        return images(sources), sources


@contextlib.contextmanager
def free_kind() -> Iterator[None]:
    """Inside the block, the kind ``images`` has a bank of any tensors of any dtype; ``config`` lists their shapes."""

    class Config(KindConfig):
        shapes: dict[str, list[int]] = Field(default={})

        def bank_size(self) -> int:
            return 1

        def source_shape(self, image: tuple[int, int, int]) -> tuple[int, ...]:
            return image

        def bank_shapes(self, image: tuple[int, int, int], classes: int) -> TensorShapes:
            return {name: tuple(shape) for name, shape in self.shapes.items()}

    with (
        mock.patch.object(parts, "kind_config", return_value=Config),
        mock.patch.object(parts, "FLOATS", tuple(ITEMSIZE)),
    ):
        yield


def free_part(tensors: Arrays) -> tuple[Card, formats.PartEntry, Arrays]:
    """A part whose bank is these tensors; use inside ``free_kind``."""
    every = tensors | {"sources": np.zeros((1, 1, 1, 1), np.float32), "labels": np.zeros(1, np.uint8)}
    config = {"shapes": {name: list(values.shape) for name, values in tensors.items()}}
    part = formats.PartEntry(kind="images", config=config, sources=1, tensors={name: name for name in every})
    return card(shape=(1, 1, 1), finite=False), part, every


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    """Equal dtype, shape and bits."""
    return (
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and found.tobytes() == np.ascontiguousarray(expected).tobytes()
    )


def all_bytes() -> str:
    """The SHA-256 over a pack of every kind in every preset."""
    digest = hashlib.sha256()
    for kind in KINDS:
        for preset in PRESETS:
            made, part, tensors = part_of(kind)
            digest.update(formats.encode(made, [part], tensors, preset))
    return digest.hexdigest()
