"""Croissant metadata: valid, complete, and true of the file."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from dsetpack import cards
from dsetpack.cards.croissant import CONTEXT, SUFFIX, created
from dsetpack.formats.card import Card, Provenance
from tests.support.card_cases import with_card
from tests.support.format_packs import images
from tests.support.make_cards import DAY, FOLDER, PACKS


def test_context_is_that_of_the_specification_and_has_the_librarys_terms():
    """Appendix 1 of the specification 1.1, but with https: its examples and its library differ in this letter."""
    appendix = json.loads((FOLDER / "context-1.1.json").read_text(encoding="utf-8"))
    https = {
        k: v.replace("http://schema.org/", "https://schema.org/") if isinstance(v, str) else v
        for k, v in appendix.items()
    }
    own = {"path", "repeated", "replace", "samplingRate"}
    assert https == {key: value for key, value in CONTEXT.items() if key not in own}
    assert {key: CONTEXT[key] for key in own} == {key: f"cr:{key}" for key in own}
    assert sum(https[key] != appendix[key] for key in appendix) == 2


@pytest.mark.parametrize("name", PACKS)
def test_mlcroissant_reads_every_record_set_without_a_warning(name, tmp_path, caplog):
    mlcroissant = pytest.importorskip("mlcroissant")
    shutil.copy(PACKS[name], tmp_path)
    path = tmp_path / f"{name}{SUFFIX}"
    path.write_text((FOLDER / f"{name}.json").read_text(encoding="utf-8"), encoding="utf-8")
    read = mlcroissant.Dataset(jsonld=path)
    records = {one.id: list(read.records(one.id)) for one in read.metadata.record_sets}
    issues = read.metadata.ctx.issues
    assert (issues.errors, issues.warnings, caplog.records) == (set(), set(), [])
    found = cards.facts(PACKS[name])
    assert set(records) == {"classes", "parts"}
    labels = [(row["classes/label"], row["classes/name"]) for row in records["classes"]]
    assert labels == list(enumerate(found.card.classes))
    parts = [(row["parts/kind"], row["parts/images"], row["parts/image_shape"]) for row in records["parts"]]
    assert parts == [(part.kind, part.images, ",".join(map(str, found.card.shape))) for part in found.parts]
    (file,) = read.metadata.file_objects
    data = (tmp_path / file.content_url).read_bytes()
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert file.content_size == f"{len(data)} B"


def test_croissant_has_all_that_the_specification_requires():
    document = json.loads((FOLDER / "fashion-kfs.json").read_text(encoding="utf-8"))
    required = {"@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished"}
    assert required <= set(document)
    assert document["datePublished"] == DAY.isoformat()
    assert document["license"] == "https://spdx.org/licenses/MIT.html"
    assert document["creator"]["name"] == "from Fashion-MNIST, Copyright 2017 Zalando SE"
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.1"


@pytest.mark.parametrize("name", PACKS)
def test_croissant_names_data_sets_that_hdf5_tools_find(name):
    import h5py

    document = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found = cards.facts(PACKS[name])
    (parts,) = (record for record in document["recordSet"] if record["@id"] == "parts")
    named = 0
    with h5py.File(PACKS[name]) as file:
        for row, part in zip(parts["data"], found.parts, strict=True):
            assert row["parts/source_shape"] == ",".join(map(str, part.source_shape))
            for role, shape in (("source", part.source_shape), ("label", None)):
                if not (dataset := row[f"parts/{role}s"]):
                    continue
                named += 1
                data = file[dataset]
                assert data.dtype == row[f"parts/{role}_type"]
                assert shape is None or data.shape == (part.sources, *shape)
    assert named == (0 if name == "kind-generator" else 2 * len(found.parts))


@pytest.mark.parametrize(
    ("encoding", "stored", "step"),
    [
        ("int8", "uint8", 'quantize {"bits": 8,'),
        ("int4", "uint8", 'quantize {"bits": 4,'),
        ({"sources": {"name": "cast", "configuration": {"dtype": "float16"}}}, "float16", 'cast {"dtype": "float16"}'),
        ({"sources": {"name": "cast", "configuration": {"dtype": "bfloat16"}}}, "uint16", 'cast {"dtype": "bfloat16"}'),
    ],
)
def test_croissant_says_how_values_are_stored(encoding, stored, step, tmp_path):
    """Codes and bfloat16 have the type that they have in HDF5, and no column is a float that is none."""
    path = tmp_path / "x.dpk"
    path.write_bytes(images(encoding=encoding))
    document = cards.croissant(cards.facts(path))
    (parts,) = (record for record in document["recordSet"] if record["@id"] == "parts")
    (row,) = parts["data"]
    assert row["parts/source_type"] == stored
    assert row["parts/source_encoding"].startswith(step)
    assert "sc:Float" not in json.dumps(document)


def test_a_preview_is_a_record_set_of_pictures_and_labels():
    preview = cards.Preview("preview/x.parquet", 280, 5, "ab" * 32)
    document = cards.croissant(cards.facts(PACKS["labels-soft"]), preview=preview)
    assert document["distribution"][1]["contentUrl"] == "preview/x.parquet"
    (record,) = (record for record in document["recordSet"] if record["@id"] == "preview")
    image, label = record["field"]
    assert image["dataType"] == "sc:ImageObject"
    assert label["arrayShape"] == "3"


def test_a_document_is_the_callers_own():
    document = cards.croissant(cards.facts(PACKS["fashion-kfs"]))
    document["@context"]["data"]["@id"] = document["@context"]["@base"] = "changed/"
    assert "changed/" not in json.dumps(cards.croissant(cards.facts(PACKS["fashion-kfs"])))


def test_who_cites_it_pins_it():
    found = with_card(credit="A. Author", title="A set", provenance=Provenance(created="2025-03-04"))
    document = cards.croissant(found, url="https://example.org/set")
    assert document["citeAs"] == f"A. Author (2025). A set. https://example.org/set, dsetpack digest {found.digest}."
    assert document["version"] == f"1.0.0+{found.digest[7:19]}"


def test_the_day_comes_from_the_card():
    card = Card(title="x", classes=("a",), shape=(1, 1, 1), provenance=Provenance(created="2025-03-04T05:06:07Z"))
    assert created(card).isoformat() == "2025-03-04"
    assert created(card.replace(provenance=Provenance(created="last spring"))) is None
    made = with_card(provenance=Provenance(created="2025-03-04"))
    assert cards.croissant(made)["datePublished"] == "2025-03-04"
