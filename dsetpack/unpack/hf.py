"""``hf``: one Parquet file of pictures and labels, which the Hugging Face ``datasets`` library loads."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsetpack.formats.extras import need
from dsetpack.pack.pack import Pack
from dsetpack.unpack.base import labels, pictures

NAME = "data/train-00000-of-00001.parquet"
_ROWS = 1000
PREVIEW_IMAGES = 1000
PREVIEW_VALUES = 2**24


def write(pack: Pack, folder: Path) -> None:
    """Write ``data/train-00000-of-00001.parquet`` with columns ``image`` and ``label``.

    ``datasets.load_dataset(DIR)`` reads it. Images are 8-bit PNG of the raw values. Hard labels are a ``ClassLabel``
    with the class names, soft labels a list of float32. The schema's metadata describes this in the library's own
    terms, so no other file is needed.
    """
    (folder / NAME).parent.mkdir()
    _write(pack, folder / NAME, labels(pack), pictures(pack))


def preview(pack: Pack) -> tuple[bytes, int]:
    """The same table as ``write``'s, of at most 1,000 images and 16 million pixel values; and how many they are.

    If there are more images, these are drawn at random, always the same, and stand in the order of pairs.

    Raises:
        FormatError: if the images have neither 1 nor 3 channels.
        DsetpackError: if the pack keeps only the recipe of its ZCA, or if pyarrow is missing.
    """
    number = max(1, min(len(pack), PREVIEW_IMAGES, PREVIEW_VALUES // math.prod(pack.card.shape)))
    pair_ids = np.sort(np.random.default_rng(0).permutation(len(pack))[:number])
    buffer = io.BytesIO()
    _write(pack, buffer, labels(pack)[pair_ids], pictures(pack, pair_ids))
    return buffer.getvalue(), number


def _write(pack: Pack, where: Path | io.BytesIO, found: NDArray[Any], images: Iterator[Image.Image]) -> None:
    """Write a table of images and their labels, a group of rows at a time."""
    arrow, parquet = need("pyarrow", "hf"), need("pyarrow.parquet", "hf")
    schema = _schema(arrow, pack)
    with parquet.ParquetWriter(where, schema) as writer:
        rows: list[dict[str, Any]] = []
        for number, picture in enumerate(images):
            buffer = io.BytesIO()
            picture.save(buffer, format="PNG")
            image = {"bytes": buffer.getvalue(), "path": f"{number:06}.png"}
            rows.append({"image": image, "label": found[number].tolist()})
            if len(rows) == _ROWS or number + 1 == len(found):
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
                rows.clear()


def _schema(arrow: Any, pack: Pack) -> Any:
    hard, names = pack.card.labels.kind == "hard", list(pack.card.classes)
    label: dict[str, Any] = {"names": names, "_type": "ClassLabel"}
    if not hard:
        label = {"feature": {"dtype": "float32", "_type": "Value"}, "length": len(names), "_type": "Sequence"}
    features = {"image": {"_type": "Image"}, "label": label}
    columns = [
        arrow.field("image", arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])),
        arrow.field("label", arrow.int64() if hard else arrow.list_(arrow.float32(), len(names))),
    ]
    return arrow.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})


FORM = write
