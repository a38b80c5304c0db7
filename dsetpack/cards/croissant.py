"""A pack as Croissant 1.1 metadata (MLCommons, http://mlcommons.org/croissant/1.1), for dataset catalogues.

``CONTEXT`` is that of the specification's appendix 1 except for one letter: the appendix has ``http://schema.org/``,
but the published 1.1 examples and the reference library ``mlcroissant`` have ``https://schema.org/``, and the library
accepts nothing else.

Croissant cannot say how a decoder makes images from sources. So the record set ``images`` describes what dsetpack
decodes, and one record set per part describes what HDF5 tools read from the file.
"""

from __future__ import annotations

import copy
import datetime
import json
from typing import Any
from urllib.parse import quote

from dsetpack.cards import text
from dsetpack.cards.facts import Facts, PartFacts
from dsetpack.cards.licenses import license_url
from dsetpack.formats.card import Card
from dsetpack.formats.words import plural

VERSION = "http://mlcommons.org/croissant/1.1"
HDF5 = "application/x-hdf5"
FILE = "pack"
"""The ``@id`` of the only file."""
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
        )
    },
}  # fmt: skip

Json = dict[str, Any]


def croissant(found: Facts, *, url: str | None = None, published: datetime.date | None = None) -> Json:
    """The metadata, as a value that ``json.dumps`` takes.

    Args:
        found: the pack; its ``name`` is where the file lies, relative to the metadata.
        url: the page of the dataset; by default the address in the card, or else the folder of the metadata. If both
            are there and differ, the address in the card is another page of the same dataset (``sameAs``).
        published: the date of publication, which Croissant requires; by default the day that the card names as
            ``created``, or today.
    """
    card = found.card
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
        "datePublished": (published or created(card) or datetime.datetime.now(datetime.UTC).date()).isoformat(),
        "keywords": ["dataset distillation", "dataset condensation", *sorted({part.kind for part in found.parts})],
        "distribution": [_file(found)],
        "recordSet": [_classes(card), _images(found), *_stored(found)],
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


def _images(found: Facts) -> Json:
    card = found.card
    content = {"fileObject": {"@id": FILE}, "extract": {"fileProperty": "content"}}
    pixels = f"The image, float32 channels × height × width, in the pixel space '{card.space.kind}'."
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "The images that dsetpack decodes from the file: every source with every decoder.",
        "field": [
            {**_array("images/image", pixels, card.shape), "source": content},
            {**_label("images/label", card), "source": content},
        ],
    }


def _stored(found: Facts) -> list[Json]:
    """A record set for each part whose sources and labels lie in HDF5 datasets of their own."""
    return [
        _part(found, number, part)
        for number, part in enumerate(found.parts)
        if part.stored and _column(found, number, "sources") and _column(found, number, "labels")
    ]


def _part(found: Facts, number: int, part: PartFacts) -> Json:
    key = f"part{number}"
    named = f" ({text.line(part.name)})" if part.name else ""
    steps = _steps(found, number, "sources")
    said = f"A source of kind '{part.kind}', as stored: {steps}." if steps else f"A source of kind '{part.kind}'."
    return {
        "@type": "cr:RecordSet",
        "@id": key,
        "name": key,
        "description": f"Part {number}{named}: the stored sources and their labels, as data sets of the HDF5 file.",
        "field": [
            {**_array(f"{key}/source", said, part.source_shape), "source": _extract(found, number, "sources")},
            {**_label(f"{key}/label", found.card), "source": _extract(found, number, "labels")},
        ],
    }


def _column(found: Facts, number: int, role: str) -> str | None:
    """The HDF5 dataset of a part's tensor; None if it shares one with others."""
    manifest = found.manifest
    tensor = manifest.tensors[manifest.parts[number].tensors[role]]
    shared = [other for other in manifest.tensors.values() if other.dataset == tensor.dataset]
    return tensor.dataset if len(shared) == 1 else None


def _steps(found: Facts, number: int, role: str) -> str:
    steps = found.manifest.tensors[found.manifest.parts[number].tensors[role]].encodings
    return ", ".join(f"{step.name} {json.dumps(step.configuration, sort_keys=True)}" for step in steps)


def _extract(found: Facts, number: int, role: str) -> Json:
    return {"fileObject": {"@id": FILE}, "extract": {"column": _column(found, number, role)}}


def _field(key: str, description: str, *types: str) -> Json:
    kinds = types[0] if len(types) == 1 else list(types)
    return {"@type": "cr:Field", "@id": key, "name": key, "description": description, "dataType": kinds}


def _array(key: str, description: str, shape: tuple[int, ...], *types: str) -> Json:
    field = _field(key, description, "sc:Float", *types)
    return {**field, "isArray": True, "arrayShape": ",".join(map(str, shape))}


def _label(key: str, card: Card) -> Json:
    if card.labels.kind == "soft":
        return _array(key, "One number per class.", (len(card.classes),), "cr:Label")
    field = _field(key, "The number of the class.", "sc:Integer", "cr:Label")
    return {**field, "references": {"field": {"@id": "classes/label"}}}
