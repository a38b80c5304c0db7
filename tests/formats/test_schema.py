"""The JSON Schema is current and accepts real manifests."""

import json
import subprocess
import sys

import jsonschema
import pytest

from dsetpack import formats
from dsetpack.formats import schema
from dsetpack.formats.card import Augmentation, Labels, Metric, NormalizedSpace, Recipe
from tests.support.attacks.dpk_draft import Draft, canonical
from tests.support.format_packs import KINDS, PRESETS, part_of
from tests.support.paths import GOLDEN
from tests.support.spec_reader import SpecReader

VALIDATOR = jsonschema.Draft202012Validator(schema.schema())
FILES = sorted(GOLDEN.glob("v*/*.dpk"))


def test_the_file_is_current():
    stored = json.loads(schema.PATH.read_text(encoding="utf-8"))
    if stored["$comment"] != schema.schema()["$comment"]:
        pytest.skip(f"another version of pydantic words it otherwise: {stored['$comment']}")
    assert schema.PATH.read_text(encoding="utf-8") == schema.text()
    done = subprocess.run(
        [sys.executable, "-m", "dsetpack.formats.schema", "--check"], capture_output=True, check=False
    )
    assert done.returncode == 0
    assert b"is current" in done.stdout


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema.schema())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_golden_manifests_are_valid(path):
    VALIDATOR.validate(SpecReader(path.read_bytes()).manifest)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_written_manifests_are_valid(kind, preset):
    card, part, tensors = part_of(
        kind,
        space=NormalizedSpace(mean=(0.5,) * KINDS[kind][0][0], std=(1.0,) * KINDS[kind][0][0]),
        labels=Labels(centred=True),
        augmentation=Augmentation(ops=("flip",)),
        recipe=Recipe(steps=3),
        metrics=(Metric(value=0.5, arch="convnet3", test_data="x"),),
        extra={"a": [1, None, {"b": 2.5}]},
    )
    VALIDATOR.validate(SpecReader(formats.encode(card, [part], tensors, preset)).manifest)


def small() -> Draft:
    card, part, tensors = part_of("kfs")
    data = formats.encode(card, [part], tensors, "int8")
    reader = SpecReader(data)
    return Draft(reader.manifest, data[reader.user_block :])


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        (lambda m: m.update(new={"must_understand": False}), True),
        (lambda m: m["card"].update(new={"must_understand": False, "x": 1}), True),
        (lambda m: m["parts"][0]["config"].update(new={"must_understand": False}), True),
        (lambda m: m.update(new={"must_understand": True}), False),
        (lambda m: m.update(new=1), False),
        (lambda m: m["parts"][0].update(kind="warp"), False),
        (lambda m: m["parts"][0]["config"].update(decoders=0), False),
        (lambda m: m["parts"][0]["config"].update(new=1), False),
        (lambda m: m["parts"][0]["config"].pop("channels"), False),
        (lambda m: m["tensors"]["sources"]["encodings"][0].update(name="brotli"), False),
        (lambda m: m["tensors"]["sources"]["encodings"][0]["configuration"].update(bits=9), False),
        (lambda m: m["datasets"]["sources"]["chunks"][0].update(offset=-1), False),
        (lambda m: m["datasets"]["sources"]["chunks"][0].update(sha256="x"), False),
        (lambda m: m["datasets"]["sources"].update(dtype="bool"), False),
        (lambda m: m["card"].update(shape=[1, 2]), False),
        (lambda m: m["card"].update(space={"kind": "warp"}), False),
        (lambda m: m["card"].pop("title"), False),
    ],
)
def test_schema_and_reader_agree(change, valid):
    made = small()
    change(made.manifest)
    assert VALIDATOR.is_valid(json.loads(canonical(made.manifest))) == valid
    if valid:
        formats.Reader(made.file(digests=False))
    else:
        with pytest.raises(formats.DsetpackError):
            formats.Reader(made.file(digests=False))
