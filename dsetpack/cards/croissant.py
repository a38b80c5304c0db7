"""A pack as Croissant 1.1 metadata (MLCommons, http://mlcommons.org/croissant/1.1), for dataset catalogues.

``CONTEXT`` is that of the specification's appendix 1 but for two things. The appendix has ``http://schema.org/``; the
published 1.1 examples and the reference library ``mlcroissant`` have ``https://schema.org/``, and the library accepts
nothing else. And the library warns if its own four terms are missing, so they are there.

Croissant can say neither how a decoder makes images from sources nor how to read HDF5, and a reader fails on a record
set that it cannot read. So the record set ``parts`` only describes what the file holds, with the HDF5 data sets and
their types; ``preview`` has images, if there is a table of them beside the pack.
"""

from __future__ import annotations

import copy
import datetime
import json
from typing import Any
from urllib.parse import quote

from dsetpack.cards import text
from dsetpack.cards.facts import Facts, PartFacts, Preview
from dsetpack.cards.licenses import license_url
from dsetpack.formats.card import Card
from dsetpack.formats.words import plural

VERSION = "http://mlcommons.org/croissant/1.1"
HDF5, PARQUET = "application/x-hdf5", "application/x-parquet"
SUFFIX = ".croissant.jsonld"
"""The end of the metadata's name beside a pack. ``datasets`` takes a ``.json`` file for data, and no ``.jsonld``."""
FILE, PREVIEW = "pack", "preview-table"
"""The ``@id`` of the pack and of its preview."""
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        term: f"cr:{term}"
        for term in (
            "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract",
            "field", "fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset",
            "jsonPath", "key", "md5", "parentField", "recordSet", "references", "regex", "readLines", "sdVersion",
            "separator", "source", "subField", "transform", "unArchive", "value",
            "path", "repeated", "replace", "samplingRate",
        )
    },
}  # fmt: skip

Json = dict[str, Any]


def croissant(
    found: Facts,
    *,
    url: str | None = None,
    published: datetime.date | None = None,
    preview: Preview | None = None,
) -> Json:
    """The metadata, as a value that ``json.dumps`` takes.

    Args:
        found: the pack; its ``name`` is where the file lies, relative to the metadata.
        url: the page of the dataset; by default the address in the card, or else the folder of the metadata. If both
            are there and differ, the address in the card is another page of the same dataset (``sameAs``).
        published: the date of publication, which Croissant requires; by default the day that the card names as
            ``created``, or today.
        preview: the table of images beside the pack.
    """
    card = found.card
    day = published or created(card) or datetime.datetime.now(datetime.UTC).date()
    return {
        "@context": copy.deepcopy(CONTEXT),  # mlcroissant writes into the document that it reads
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": text.line(card.title) or "untitled",
        "description": _description(found),
        "url": url or found.address or "./",
        **({"sameAs": found.address} if url and found.address not in (None, url) else {}),
        "license": license_url(card.license),
        "creator": {"@type": "sc:Organization", "name": text.line(card.credit or "") or "unknown"},
        "datePublished": day.isoformat(),
        "version": f"1.0.0+{found.digest.removeprefix('sha256:')[:12]}",
        "citeAs": _citation(found, url, day),
        "keywords": ["dataset distillation", "dataset condensation", *sorted({part.kind for part in found.parts})],
        "distribution": [_file(found), *([_table(preview)] if preview else [])],
        "recordSet": [_classes(card), _parts(found), *([_preview(found, preview)] if preview else [])],
    }


def dumps(document: Json) -> str:
    """The metadata as the text of a file."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def created(card: Card) -> datetime.date | None:
    """The day on which, according to the card, the pack was made; None if the card has no date or not an ISO one."""
    try:
        return datetime.datetime.fromisoformat(card.provenance.created or "").date()
    except ValueError:
        return None


def _description(found: Facts) -> str:
    card = found.card
    made = plural(found.images, "image") if found.images else "Images"
    sized = f"{made} of {'×'.join(map(str, card.shape))} in {plural(len(card.classes), 'class')}"
    stored = f"{sized}, as a distilled data set in one .dpk file (HDF5) of {found.size:,} bytes."
    return " ".join(filter(None, (text.line(card.description), stored, f"dsetpack digest {found.digest}.")))


def _file(found: Facts) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": FILE,
        "name": text.line(found.name),
        "description": "The pack: sources, decoders, labels and the card. `dsetpack.open` reads it "
        "(pip install dsetpack), and so does HDF5.",
        "contentUrl": quote(found.name, errors="surrogateescape"),
        "contentSize": f"{found.size} B",
        "encodingFormat": HDF5,
        "sha256": found.sha256,
    }


def _classes(card: Card) -> Json:
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The classes; a label is the number of one.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/label"},
        "field": [
            _field("classes/label", "The number of the class.", "sc:Integer"),
            _field("classes/name", "The name of the class.", "sc:Text"),
        ],
        "data": [{"classes/label": n, "classes/name": text.line(name)} for n, name in enumerate(card.classes)],
    }


def _citation(found: Facts, url: str | None, day: datetime.date) -> str:
    """Who, when, what, where, and the digest that pins it."""
    card = found.card
    who, what = text.line(card.credit or "") or "Unknown author", text.line(card.title) or "untitled"
    where = url or found.address
    return f"{who} ({day.year}). {what}. {f'{where}, ' if where else ''}dsetpack digest {found.digest}."


def _table(preview: Preview) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": PREVIEW,
        "name": text.line(preview.name),
        "description": f"{plural(preview.images, 'image')} of the pack as 8-bit PNG, with labels.",
        "contentUrl": quote(preview.name),
        "contentSize": f"{preview.size} B",
        "encodingFormat": PARQUET,
        "sha256": preview.sha256,
    }


def _preview(found: Facts, preview: Preview) -> Json:
    """Record set of the preview: its columns are those that ``dsetpack.unpack`` writes."""
    image = _field("preview/image", "The image, 8-bit, as raw pixel values.", "sc:ImageObject")
    picture = {**_extract(PREVIEW, "image"), "transform": {"jsonPath": "bytes"}}
    return {
        "@type": "cr:RecordSet",
        "@id": "preview",
        "name": "preview",
        "description": f"{preview.images:,} of the images that dsetpack decodes from the pack.",
        "field": [
            {**image, "source": picture},
            {**_label("preview/label", found.card), "source": _extract(PREVIEW, "label")},
        ],
    }


_COLUMNS = {
    "part": ("The number of the part.", "sc:Integer"),
    "name": ("Its name; empty if it has none.", "sc:Text"),
    "kind": ("The kind of its decoders; images are stored as they are.", "sc:Text"),
    "images": ("How many images dsetpack decodes from it; 0 if the user decides.", "sc:Integer"),
    "image_shape": ("The shape of one image: channels, height, width.", "sc:Text"),
    "space": ("The pixel space of the decoded images.", "sc:Text"),
    "sources": ("The HDF5 data set of the sources; empty if they share one, or if there are none.", "sc:Text"),
    "source_shape": ("The shape of one source.", "sc:Text"),
    "source_type": ("The type of the sources in the HDF5 data set.", "sc:Text"),
    "source_encoding": ("The steps from sources to stored values; a reader undoes them.", "sc:Text"),
    "labels": ("The HDF5 data set of the labels; empty if they share one, or if there are none.", "sc:Text"),
    "label_type": ("The type of the labels in the HDF5 data set.", "sc:Text"),
}
"""The columns of the record set ``parts``."""


def _parts(found: Facts) -> Json:
    """What the file holds, one row a part, for tools that read HDF5."""
    return {
        "@type": "cr:RecordSet",
        "@id": "parts",
        "name": "parts",
        "description": "The parts of the pack, and where HDF5 tools find their stored sources and labels.",
        "key": {"@id": "parts/part"},
        "field": [_field(f"parts/{name}", *column) for name, column in _COLUMNS.items()],
        "data": [
            {f"parts/{name}": value for name, value in zip(_COLUMNS, _row(found, number, part), strict=True)}
            for number, part in enumerate(found.parts)
        ],
    }


def _row(found: Facts, number: int, part: PartFacts) -> tuple[str | int, ...]:
    card = found.card
    sources, labels = (_column(found, number, role) if part.stored else None for role in ("sources", "labels"))
    return (
        number,
        text.line(part.name or ""),
        part.kind,
        part.images,
        _sizes(card.shape),
        card.space.kind,
        sources or "",
        _sizes(part.source_shape),
        found.manifest.datasets[sources].dtype if sources else "",
        _steps(found, number, "sources") if sources else "",
        labels or "",
        found.manifest.datasets[labels].dtype if labels else "",
    )


def _sizes(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))


def _column(found: Facts, number: int, role: str) -> str | None:
    """The HDF5 dataset of a part's tensor; None if it shares one with others."""
    manifest = found.manifest
    tensor = manifest.tensors[manifest.parts[number].tensors[role]]
    shared = [other for other in manifest.tensors.values() if other.dataset == tensor.dataset]
    return tensor.dataset if len(shared) == 1 else None


def _steps(found: Facts, number: int, role: str) -> str:
    steps = found.manifest.tensors[found.manifest.parts[number].tensors[role]].encodings
    return ", ".join(f"{step.name} {json.dumps(step.configuration, sort_keys=True)}" for step in steps)


def _extract(file: str, column: str) -> Json:
    return {"fileObject": {"@id": file}, "extract": {"column": column}}


def _field(key: str, description: str, *types: str) -> Json:
    kinds = types[0] if len(types) == 1 else list(types)
    return {"@type": "cr:Field", "@id": key, "name": key, "description": description, "dataType": kinds}


def _array(key: str, description: str, shape: tuple[int, ...], *types: str) -> Json:
    field = _field(key, description, "sc:Float", *types)
    return {**field, "isArray": True, "arrayShape": _sizes(shape)}


def _label(key: str, card: Card) -> Json:
    if card.labels.kind == "soft":
        return _array(key, "One number per class.", (len(card.classes),), "cr:Label")
    field = _field(key, "The number of the class.", "sc:Integer", "cr:Label")
    return {**field, "references": {"field": {"@id": "classes/label"}}}
