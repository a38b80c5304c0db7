"""``hf``: one Parquet file of pictures and labels, which the Hugging Face ``datasets`` library loads."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from dsetpack.formats.extras import need
from dsetpack.pack.pack import Pack
from dsetpack.unpack.base import labels, pictures

NAME = "data/train-00000-of-00001.parquet"
_ROWS = 1000


def write(pack: Pack, folder: Path) -> None:
    """Write ``data/train-00000-of-00001.parquet`` with columns ``image`` and ``label``.

    ``datasets.load_dataset(DIR)`` reads it. Images are 8-bit PNG of the raw values. Hard labels are a ``ClassLabel``
    with the class names, soft labels a list of float32. The schema's metadata describes this in the library's own
    terms, so no other file is needed.
    """
    arrow, parquet = need("pyarrow", "hf"), need("pyarrow.parquet", "hf")
    schema = _schema(arrow, pack)
    found = labels(pack)
    (folder / NAME).parent.mkdir()
    with parquet.ParquetWriter(folder / NAME, schema) as writer:
        rows: list[dict[str, Any]] = []
        for number, picture in enumerate(pictures(pack)):
            buffer = io.BytesIO()
            picture.save(buffer, format="PNG")
            image = {"bytes": buffer.getvalue(), "path": f"{number:06}.png"}
            rows.append({"image": image, "label": found[number].tolist()})
            if len(rows) == _ROWS or number + 1 == len(pack):
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
