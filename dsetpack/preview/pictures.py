"""The choice of sources that are shown of a pack, and their pictures: PNGs as ``data:`` URIs."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.preview.grid import spread

PARTS = 8
SIDE = 128
"""The longest side of a picture in pixels; larger images are shrunk to it."""
PIXELS = 1_500_000
"""The largest number of pixels in all pictures together, which makes a page of at most about 6 MB."""
SELECTIONS = ("random", "herding", "k-center", "forgetting")
"""Methods that select images and do not change them, as every ``selection: ...`` does, too."""


@dataclass(frozen=True)
class Shown:
    """One source that is shown.

    Attributes:
        number: the number of the source in its part, or of a generator's draw.
        label: its class; the largest entry of a soft label.
        weight: that entry; None for hard labels.
        source: a picture of the source itself; None if the source is noise, or is the decoded image.
        decoded: a picture for each decoder shown.
        decoders: the decoder_ids of these pictures.
    """

    number: int
    label: int
    weight: float | None
    source: str | None
    decoded: tuple[str, ...]
    decoders: tuple[int, ...]


@dataclass(frozen=True)
class Gallery:
    """The pictures of one part.

    Attributes:
        number: the number of the part.
        part: the part.
        source_kind: ``image``, ``code`` (channels as grey tiles, from the smallest value, black, to the largest,
            white), or None if no source is shown.
        size: width and height of a decoded picture, in pixels.
        shrunk: whether that is less than the image's size.
        rows: the sources shown, by class.
    """

    number: int
    part: Part
    source_kind: str | None
    size: tuple[int, int]
    shrunk: bool
    rows: tuple[Shown, ...]


@dataclass(frozen=True)
class Pictures:
    """The pictures of a pack.

    Attributes:
        pack: the pack.
        parts: the pictures of the first parts, at most ``PARTS``.
        real: whether the card says that these are real images, selected and not learned.
    """

    pack: Pack
    parts: tuple[Gallery, ...]
    real: bool


def draw(pack: Pack, sources: int, decoders: int) -> Pictures:
    """Draw at most this many sources and decoders of a pack.

    Raises:
        DsetpackError: if the pack's space cannot be inverted before it is fitted again.
    """
    parts = pack.parts[:PARTS]
    each = max(1, sources // len(parts))
    method = pack.card.provenance.method or ""
    real = all(p.kind == "images" for p in pack.parts) and (method in SELECTIONS or method.startswith("selection"))
    return Pictures(pack, tuple(_gallery(pack, n, each, decoders, len(parts)) for n in range(len(parts))), real)


def _gallery(pack: Pack, number: int, sources: int, decoders: int, parts: int) -> Gallery:
    part, (_, height, width) = pack.parts[number], pack.card.shape
    size = _fit(width, height)
    slots = min(part.slots, decoders)
    kind = _source_kind(part, pack)
    afford = PIXELS // parts // (size[0] * size[1])
    slots = max(1, min(slots, afford - bool(kind)))
    count = max(1, min(sources, afford // (slots + bool(kind))))
    source_ids = spread(_hard(part.labels).cpu().numpy(), count)
    first = sum(n * k for n, k in pack.table.parts[:number])
    pair_ids = first + source_ids[:, None] * part.slots + np.arange(slots)
    images = [_raw(pack, of_source) for of_source in pair_ids]
    rows = tuple(
        _shown(pack, part, int(source), kind, [_picture(x) for x in decoded])
        for source, decoded in zip(source_ids, images, strict=True)
    )
    return Gallery(number, part, kind, size, size != (width, height), rows)


def _source_kind(part: Part, pack: Pack) -> str | None:
    if part.sources is None or part.kind == "images":
        return None
    return "image" if tuple(part.sources.shape[1:]) == pack.card.shape else "code"


def _hard(labels: Tensor) -> Tensor:
    return labels if labels.ndim == 1 else labels.argmax(1)


def _raw(pack: Pack, pair_ids: NDArray[np.int64]) -> Tensor:
    with torch.no_grad():
        return pack.space.invert(pack.decode(pair_ids)[0]).cpu()


def _shown(pack: Pack, part: Part, source: int, kind: str | None, decoded: list[str]) -> Shown:
    label = int(_hard(part.labels[source : source + 1])[0])
    weight = None if part.labels.ndim == 1 else float(part.labels[source, label])
    order = part.class_decoders[label] if part.class_decoders else range(part.slots)
    picture = None
    if kind is not None and part.sources is not None:
        values = part.sources[source].detach().cpu()
        picture = _picture(pack.space.invert(values[None])[0]) if kind == "image" else _code(values)
    return Shown(source, label, weight, picture, tuple(decoded), tuple(order)[: len(decoded)])


def _picture(image: Tensor) -> str:
    """Draw an image [C, H, W], clipped to [0, 1]: of 1 or 2 channels the first as grey, otherwise the first three."""
    pixels = (image.nan_to_num(0.0).clamp(0, 1) * 255).round().byte().numpy()
    shown = pixels[0] if len(pixels) < 3 else pixels[:3].transpose(1, 2, 0)
    return _uri(Image.fromarray(np.ascontiguousarray(shown)))


def _code(values: Tensor) -> str:
    """Draw a code [channels, h, w], or of any shape: its channels as grey tiles, one grey value per number."""
    channels = values.reshape(-1, *(values.shape[-2:] if values.ndim > 1 else (1, values.numel()))).float().numpy()
    channels = np.nan_to_num(channels, posinf=0.0, neginf=0.0)
    low, high = float(channels.min()), float(channels.max())
    grey = np.round((channels - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    count, height, width = grey.shape
    columns = math.ceil(math.sqrt(count * height / width))
    columns = min(max(columns, 1), count)
    rows = -(-count // columns)
    canvas = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1, 2), np.uint8)  # gaps are transparent
    for number, tile in enumerate(grey):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        canvas[top : top + height, left : left + width] = np.stack([tile, np.full_like(tile, 255)], -1)
    return _uri(Image.fromarray(canvas, "LA"))


def _fit(width: int, height: int) -> tuple[int, int]:
    """The width and height of a picture of an image."""
    scale = min(1.0, SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _uri(image: Image.Image) -> str:
    if (size := _fit(*image.size)) != image.size:
        image = image.resize(size, Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
