"""Comparison of two pack files: card, parts, tensors, and the images that they decode to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsetpack.formats import Reader
from dsetpack.formats.source import Readable
from dsetpack.pack.opened import open_to_show
from dsetpack.pack.pack import Pack
from dsetpack.spaces import Zca

Array = NDArray[Any]
Json = dict[str, Any]
BATCH_VALUES = 1 << 22
"""The number of pixel values per pack that are decoded at once."""


class Missing(Enum):
    """The value of a field that a file does not have; a null in the file is a value."""

    MISSING = "missing"


@dataclass(frozen=True)
class Change:
    """A field whose JSON values differ, or that only one side has; the other's value is ``Missing.MISSING``."""

    field: str
    a: Any
    b: Any

    def to_json(self) -> Json:
        """The field and its values, without a missing one."""
        return {key: value for key, value in vars(self).items() if value is not Missing.MISSING}


@dataclass(frozen=True)
class TensorChange:
    """A tensor that differs.

    Attributes:
        name: the tensor's name, the same in both files.
        a, b: dtype, shape, encodings (of the values), compression (of their bytes), stored bytes, and the SHA-256 of
            the stored elements; None if the file does not have the tensor.
        max_abs: the largest difference of values, in float64; None if the tensors cannot be compared, or if it is not
            finite.
        differing: the number of elements that differ (two NaN do not); None if the tensors cannot be compared.
    """

    name: str
    a: Json | None
    b: Json | None
    max_abs: float | None = None
    differing: int | None = None


@dataclass(frozen=True)
class Images:
    """Comparison of the decoded images, pair by pair, in the packs' pixel space.

    Attributes:
        pairs: the number of pairs compared; 0 if they cannot be compared.
        reason: why they cannot be compared; None if they can.
        max_abs, mean_abs: largest and mean difference over all pixels of all pairs; None if not compared or not finite.
        labels_changed: the number of pairs whose labels differ; None if not compared.
    """

    pairs: int = 0
    reason: str | None = None
    max_abs: float | None = None
    mean_abs: float | None = None
    labels_changed: int | None = None


@dataclass(frozen=True)
class Difference:
    """The result of ``diff``.

    Attributes:
        a, b: each file's name, digest and content digest.
        card, parts: the fields that differ, such as ``recipe.lr`` or ``[0].config.decoders``.
        tensors: the tensors that differ, sorted by name.
        images: the comparison of all pairs, made even if nothing else differs.
    """

    a: Json
    b: Json
    card: tuple[Change, ...]
    parts: tuple[Change, ...]
    tensors: tuple[TensorChange, ...]
    images: Images

    @property
    def same(self) -> bool:
        """Whether card and parts are equal, and all tensors in dtype, shape, encodings and stored elements.

        Compression and place of the elements in the file do not count: they change with the version of zstd.
        """
        return not (self.card or self.parts or self.tensors)

    def to_json(self) -> Json:
        """Convert the result to plain values for ``json.dumps``."""
        changes = {key: [change.to_json() for change in getattr(self, key)] for key in ("card", "parts")}
        return {"same": self.same, **asdict(self), **changes}


def diff(a: Readable, b: Readable) -> Difference:
    """Compare two pack files.

    Tensors are compared one at a time. Then both packs are loaded, and their images are compared batch by batch.

    Args:
        a, b: path, bytes, binary file object or fsspec URL.

    Raises:
        DsetpackError: if one of them is not a sound pack.
        OSError: if one of them cannot be read.
    """
    with Reader(a) as first, Reader(b) as second:
        return Difference(
            a=_about(first),
            b=_about(second),
            card=tuple(_changes(_card(first), _card(second))),
            parts=tuple(_changes(_parts(first), _parts(second))),
            tensors=tuple(_tensors(first, second)),
            images=_images(open_to_show(a, first.digest, draws=1), open_to_show(b, second.digest, draws=1)),
        )


def _about(reader: Reader) -> Json:
    return {"file": reader.name, "digest": reader.digest, "content_digest": reader.manifest.content_digest}


def _card(reader: Reader) -> Json:
    return reader.manifest.card.model_dump(mode="json")


def _parts(reader: Reader) -> list[Json]:
    return [part.model_dump(mode="json") for part in reader.manifest.parts]


def _changes(a: Any, b: Any, path: str = "") -> Iterator[Change]:
    """The leaves that differ between two JSON values, each with its path."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            first, second = (side.get(key, Missing.MISSING) for side in (a, b))
            yield from _changes(first, second, f"{path}.{key}" if path else key)
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple):
        for number in range(max(len(a), len(b))):
            yield from _changes(_item(a, number), _item(b, number), f"{path}[{number}]")
    elif type(a) is not type(b) or a != b:
        yield Change(path, a, b)


def _item(values: list[Any] | tuple[Any, ...], number: int) -> Any:
    return values[number] if number < len(values) else Missing.MISSING


def _tensors(a: Reader, b: Reader) -> Iterator[TensorChange]:
    for name in sorted({*a.manifest.tensors, *b.manifest.tensors}):
        sides = [_side(r, name) if name in r.manifest.tensors else None for r in (a, b)]
        first, second = sides
        if first is None or second is None:
            yield TensorChange(name, first, second)
        elif any(first[key] != second[key] for key in ("dtype", "shape", "encodings", "sha256")):
            yield TensorChange(name, first, second, *_distance(a, b, name))


def _side(reader: Reader, name: str) -> Json:
    entry, stored = reader.manifest.tensors[name], reader.stored(name)
    below = reader.manifest.datasets[entry.dataset].encodings if entry.dataset else ()
    little = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<"))
    return {
        "dtype": entry.dtype,
        "shape": list(entry.shape),
        "encodings": [step.model_dump(mode="json") for step in entry.encodings],
        "compression": [step.model_dump(mode="json") for step in below],
        "stored_bytes": reader.manifest.stored_bytes(name),
        "sha256": hashlib.sha256(little.tobytes()).hexdigest(),
    }


def _distance(a: Reader, b: Reader, name: str) -> tuple[float | None, int | None]:
    """The largest difference and the number of differing elements of a tensor that both have."""
    x, y = a.tensor(name), b.tensor(name)
    if x.shape != y.shape:
        return None, None
    differs = (x != y) & ~((x != x) & (y != y))  # NaN differs from itself
    with np.errstate(invalid="ignore"):
        largest = np.abs(x[differs].astype(np.float64) - y[differs].astype(np.float64)).max(initial=0.0)
    return _finite(float(largest)), int(differs.sum())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _images(a: Pack, b: Pack) -> Images:
    if reason := _incomparable(a, b):
        return Images(reason=reason)
    largest, total, changed = 0.0, 0.0, 0
    step = max(1, BATCH_VALUES // math.prod(a.card.shape))
    for start in range(0, len(a), step):
        pair_ids = np.arange(start, min(start + step, len(a)))
        with torch.no_grad():
            (x, y), (u, v) = a.decode(pair_ids), b.decode(pair_ids)
        distance = (x.double() - u.double()).abs()
        distance[(x == u) | (x.isnan() & u.isnan())] = 0  # infinity minus infinity is NaN
        largest, total = max(largest, _or_infinity(distance.max())), total + _or_infinity(distance.sum())
        changed += int((y != v).reshape(len(pair_ids), -1).any(1).sum())
    mean = total / (len(a) * math.prod(a.card.shape))
    return Images(pairs=len(a), max_abs=_finite(largest), mean_abs=_finite(mean), labels_changed=changed)


def _or_infinity(value: torch.Tensor) -> float:
    """The value, with NaN as infinity, so that a maximum does not lose it."""
    return math.inf if bool(value.isnan()) else float(value)


def _incomparable(a: Pack, b: Pack) -> str | None:
    """The reason why the images of two packs cannot be compared pair by pair, or None."""
    for what, first, second in (
        ("images of shape", list(a.card.shape), list(b.card.shape)),
        ("pairs", len(a), len(b)),
        ("labels", a.card.labels.kind, b.card.labels.kind),
        ("label columns", *(len(pack.card.classes) if pack.card.labels.kind == "soft" else None for pack in (a, b))),
        ("pixel space", a.card.space.kind, b.card.space.kind),
        ("pixel space", a.card.space.model_dump(), b.card.space.model_dump()),
    ):
        if first != second:
            shown = f": {first} and {second}" if not isinstance(first, dict) else " with other settings"
            return f"different {what}{shown}"
    raw = any(part.config.yields == "raw" for pack in (a, b) for part in pack.parts)
    if raw and any(isinstance(pack.space, Zca) and not pack.space.ready for pack in (a, b)):
        return "the decoders make raw images, and the ZCA has to be fitted again on the training images first"
    return None
