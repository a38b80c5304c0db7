"""Croissant metadata: valid, complete, and true of the file."""

from __future__ import annotations

import hashlib
import json
import re
import shutil

import pytest

from dsetpack import cards
from dsetpack.cards.croissant import CONTEXT, created
from dsetpack.formats.card import Card, Provenance
from tests.support.card_cases import with_card
from tests.support.make_cards import DAY, FOLDER, PACKS


def test_context_is_that_of_the_specification():
    """Appendix 1 of the specification 1.1, but with https: its examples and its library differ in this letter."""
    appendix = json.loads((FOLDER / "context-1.1.json").read_text(encoding="utf-8"))
    https = {
        k: v.replace("http://schema.org/", "https://schema.org/") if isinstance(v, str) else v
        for k, v in appendix.items()
    }
    assert https == CONTEXT
    assert sum(https[key] != appendix[key] for key in appendix) == 2


@pytest.mark.parametrize("name", PACKS)
def test_croissant_is_valid(name, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    shutil.copy(PACKS[name], tmp_path)
    path = tmp_path / "croissant.json"
    path.write_text((FOLDER / f"{name}.json").read_text(encoding="utf-8"), encoding="utf-8")
    read = mlcroissant.Dataset(jsonld=path)
    issues = read.metadata.ctx.issues
    assert not issues.errors
    assert {re.search(r'Property "([^"]+)"', w)[1].rpartition("/")[2] for w in issues.warnings} <= {"version", "citeAs"}
    card = cards.facts(PACKS[name]).card
    labels = [(row["classes/label"], row["classes/name"]) for row in read.records("classes")]
    assert labels == list(enumerate(card.classes))
    (file,) = read.metadata.file_objects
    data = (tmp_path / file.content_url).read_bytes()
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert file.content_size == f"{len(data)} B"
    fields = {field.id: field for record in read.metadata.record_sets for field in record.fields}
    assert fields["images/image"].array_shape == ",".join(map(str, card.shape))


def test_croissant_has_all_that_the_specification_requires():
    document = json.loads((FOLDER / "fashion-kfs.json").read_text(encoding="utf-8"))
    required = {"@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished"}
    assert required <= set(document)
    assert document["datePublished"] == DAY.isoformat()
    assert document["license"] == "https://spdx.org/licenses/MIT.html"
    assert document["creator"]["name"] == "from Fashion-MNIST, Copyright 2017 Zalando SE"
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.1"


@pytest.mark.parametrize("name", [name for name in PACKS if name not in ("kind-generator", "parts-shared-bank")])
def test_croissant_names_data_sets_that_hdf5_tools_find(name):
    import h5py

    document = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found = cards.facts(PACKS[name])
    stored = [record for record in document["recordSet"] if record["@id"] == "part0"]
    assert len(stored) == 1
    with h5py.File(PACKS[name]) as file:
        for field in stored[0]["field"]:
            data = file[field["source"]["extract"]["column"]]
            if "arrayShape" in field:
                assert data.shape == (found.parts[0].sources, *map(int, field["arrayShape"].split(",")))


def test_the_day_comes_from_the_card():
    card = Card(title="x", classes=("a",), shape=(1, 1, 1), provenance=Provenance(created="2025-03-04T05:06:07Z"))
    assert created(card).isoformat() == "2025-03-04"
    assert created(card.replace(provenance=Provenance(created="last spring"))) is None
    made = with_card(provenance=Provenance(created="2025-03-04"))
    assert cards.croissant(made)["datePublished"] == "2025-03-04"
