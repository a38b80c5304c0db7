"""The choice of sources that are shown of a pack, and their pictures as ``data:`` URIs."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, features
from torch import Tensor

from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.preview.pixels import decoded, eight_bits, picture
from dsetpack.preview.rows import by_class, fitted, hard, plain, spread

PARTS = 8
DECODERS = 12
"""The most decoders of a source, unless a number is given."""
SIDE = 256
"""The side of a picture in pixels; larger images are shrunk to it."""
EXACT, LOSSY = 1_500_000, 12_000_000
"""The most pixels in all exact pictures (PNG), and in all lossy ones; either makes a page of at most some 6 to 9 MB."""
SHRUNK = (SIDE, 128, 64, 32)
"""The sides of lossy pictures, the largest first."""
WEBP = "WEBP" if features.check("webp") else "JPEG"
QUALITY = 80
SELECTIONS = ("random", "herding", "k-center", "forgetting")
"""Methods that select images and do not change them, as every ``selection: ...`` does, too."""


@dataclass(frozen=True)
class Form:
    """How pictures are stored.

    Attributes:
        format: ``PNG``, which is exact, or a lossy format of Pillow's.
        side: the side of the largest picture.
    """

    format: str
    side: int

    @property
    def pixels(self) -> int:
        """How many pixels all pictures of a page may have."""
        return EXACT if self.format == "PNG" else LOSSY

    def uri(self, image: Image.Image) -> str:
        """The picture as a ``data:`` URI."""
        if (size := fitted(*image.size, self.side)) != image.size:
            image = image.resize(size, Image.Resampling.BOX)
        file = io.BytesIO()
        image.save(file, self.format, optimize=True, quality=QUALITY)
        return f"data:image/{self.format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


FORMS = (Form("PNG", SIDE), *(Form(WEBP, side) for side in SHRUNK))
"""The first is taken with which all pictures fit."""


@dataclass(frozen=True)
class Shown:
    """One source that is shown.

    Attributes:
        number: the number of the source in its part, or of a generator's draw.
        label: its class; the largest entry of a soft label.
        weight: that entry; None for hard labels.
        source: a picture of the source itself; None if the source is noise, or is the decoded image.
        images: a picture for each decoder shown.
        decoders: the decoder_ids of these pictures.
    """

    number: int
    label: int
    weight: float | None
    source: str | None
    images: tuple[str, ...]
    decoders: tuple[int, ...]


@dataclass(frozen=True)
class Gallery:
    """The pictures of one part.

    Attributes:
        number: the number of the part.
        part: the part.
        source_kind: ``image``, ``code`` (channels as grey tiles, from the smallest value, black, to the largest,
            white), or None if no source is shown.
        form: how its pictures are stored.
        size: width and height of a decoded picture, in pixels.
        shrunk: whether that is less than the image's size.
        rows: the sources shown, by class.
    """

    number: int
    part: Part
    source_kind: str | None
    form: Form
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


def draw(pack: Pack, rows: int | None, columns: int | None) -> Pictures:
    """Draw a pack, or at most this many rows, of at most this many images.

    Raises:
        DsetpackError: if the pack's space cannot be inverted before it is fitted again.
    """
    parts = pack.parts[:PARTS]
    each = None if rows is None else max(1, rows // len(parts))
    method = pack.card.provenance.method or ""
    real = all(p.kind == "images" for p in pack.parts) and (method in SELECTIONS or method.startswith("selection"))
    return Pictures(pack, tuple(_gallery(pack, n, each, columns, len(parts)) for n in range(len(parts))), real)


def _gallery(pack: Pack, number: int, rows: int | None, columns: int | None, parts: int) -> Gallery:
    part, (_, height, width) = pack.parts[number], pack.card.shape
    labels, kind = hard(part.labels), _source_kind(part, pack)
    if plain(part):
        source_ids, slots = np.concatenate(by_class(labels, columns)[:rows]), 1
    else:
        source_ids, slots = spread(labels, rows or len(labels)), min(part.slots, columns or DECODERS)
    form, count, slots = _afford(len(source_ids), slots, kind, (width, height), parts)
    source_ids = source_ids[spread(labels[source_ids], count)]
    first = sum(n * k for n, k in pack.table.parts[:number])
    pair_ids = first + source_ids[:, None] * part.slots + np.arange(slots)
    images = [form.uri(picture(image)) for image in decoded(pack, pair_ids.reshape(-1))]
    shown = tuple(
        _shown(pack, part, int(source), kind, form, images[place * slots : (place + 1) * slots])
        for place, source in enumerate(source_ids)
    )
    size = fitted(width, height, form.side)
    return Gallery(number, part, kind, form, size, size != (width, height), shown)


def _afford(count: int, slots: int, kind: str | None, image: tuple[int, int], parts: int) -> tuple[Form, int, int]:
    """The form with which all pictures fit, or else how many sources and decoders fit with the last form."""
    for form in FORMS:
        width, height = fitted(*image, form.side)
        pictures = form.pixels // parts // (width * height)
        if count * (slots + bool(kind)) <= pictures:
            return form, count, slots
    slots = max(1, min(slots, pictures - bool(kind)))
    return form, max(1, min(count, pictures // (slots + bool(kind)))), slots


def _source_kind(part: Part, pack: Pack) -> str | None:
    if part.sources is None or part.kind == "images":
        return None
    return "image" if tuple(part.sources.shape[1:]) == pack.card.shape else "code"


def _shown(pack: Pack, part: Part, source: int, kind: str | None, form: Form, images: list[str]) -> Shown:
    label = int(hard(part.labels[source : source + 1])[0])
    weight = None if part.labels.ndim == 1 else float(part.labels[source, label])
    order = part.class_decoders[label] if part.class_decoders else range(part.slots)
    itself = None
    if kind is not None and part.sources is not None:
        values = part.sources[source].detach().cpu()
        if kind == "image":
            itself = form.uri(picture(eight_bits(pack.space.invert(values[None]))[0]))
        else:
            itself = FORMS[0].uri(_code(values))
    return Shown(source, label, weight, itself, tuple(images), tuple(order)[: len(images)])


def _code(values: Tensor) -> Image.Image:
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
    return Image.fromarray(canvas, "LA")
