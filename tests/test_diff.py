"""``dsetpack diff``: what differs between two packs, and the exit status that says so."""

from __future__ import annotations

import json
import math

import fsspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import dsetpack
from dsetpack import Card, Labels, NormalizedSpace, Pack, Part, Recipe, Zca, formats
from dsetpack import diff as module
from dsetpack.cli import main
from dsetpack.decoders import decoder
from dsetpack.diff import Change, Missing, diff
from dsetpack.formats import IntegrityError, writer
from dsetpack.formats.kinds import kind_config
from tests.support.format_packs import part_of
from tests.support.paths import KFS


def run(*arguments, expect=0):
    done = CliRunner().invoke(main, ["diff", *(str(a) for a in arguments)])
    assert done.exit_code == expect, done.output + repr(done.exception)
    return done.output


def file_of(images, labels=(0, 1, 2), **card):
    return Pack.from_arrays(torch.as_tensor(images), list(labels), classes=3, **card).to_bytes()


@pytest.fixture
def images():
    return np.random.default_rng(0).random((3, 1, 4, 5)).astype(np.float32)


def test_a_file_is_the_same_as_itself():
    found = diff(KFS, KFS.read_bytes())
    assert found.same
    assert (found.images.pairs, found.images.max_abs, found.images.mean_abs, found.images.labels_changed) == (
        280,
        0,
        0,
        0,
    )
    assert run(KFS, KFS).splitlines()[-1] == "the same"
    printed = json.loads(run(KFS, KFS, "--json"))
    assert printed["same"] is True
    assert printed["a"]["digest"] == dsetpack.open(KFS).digest


def test_images_and_labels_against_numpy(images):
    other = images.copy()
    other[1] += np.linspace(-0.5, 0.25, 20, dtype=np.float32).reshape(1, 4, 5)
    found = diff(file_of(images), file_of(other, labels=(0, 2, 1)))
    assert not found.same
    change = next(t for t in found.tensors if t.name == "sources")
    distance = np.abs(images.astype(np.float64) - other.astype(np.float64))
    assert change.max_abs == distance.max()
    assert change.differing == int((distance > 0).sum())
    assert found.images.pairs == 3
    assert found.images.max_abs == distance.max()
    assert math.isclose(found.images.mean_abs, distance.mean(), rel_tol=1e-12)
    assert found.images.labels_changed == 2
    labels = next(t for t in found.tensors if t.name == "labels")
    assert (labels.differing, labels.max_abs) == (2, 1)


def test_decoded_images_against_decoding_all_at_once(tmp_path, monkeypatch):
    pack, path = dsetpack.open(KFS), tmp_path / "f16.dpk"
    pack.save(path, encoding="f16")
    monkeypatch.setattr(module, "BATCH_VALUES", 784 * 13)  # the last batch is smaller
    sizes = []
    decode = Pack.decode
    monkeypatch.setattr(Pack, "decode", lambda self, pairs: sizes.append(len(pairs)) or decode(self, pairs))
    found = diff(KFS, path)
    monkeypatch.undo()
    with torch.no_grad():
        x, u = (dsetpack.open(where).decode(np.arange(280))[0].double() for where in (KFS, path))
    assert found.images.max_abs == pytest.approx(float((x - u).abs().max()), abs=1e-6)
    assert found.images.mean_abs == pytest.approx(float((x - u).abs().mean()), rel=1e-3)
    assert max(sizes) == 13
    assert not found.card
    assert not found.parts
    removed = {t.name for t in found.tensors if t.b is None}
    assert removed == {f"bank.layers.{n}.weight.{what}" for n in (0, 1) for what in ("scale", "offset")}
    added = {t.name for t in diff(path, KFS).tensors if t.a is None}
    assert added == removed
    assert run(KFS, path, expect=1).count("only in A") == 4
    assert run(path, KFS, expect=1).count("only in B") == 4


def test_card_fields(images):
    first = file_of(images, title="a", recipe=Recipe(epochs=3), extra={"x": None, "n": [1, 2], "flag": True})
    second = file_of(images, title="b", recipe=Recipe(epochs=3, lr=0.5), extra={"n": [1, 3, 4], "flag": 1})
    found = diff(first, second)
    assert not found.same
    assert not found.tensors
    assert {c.field: (c.a, c.b) for c in found.card} == {
        "title": ("a", "b"),
        "recipe.lr": (0.01, 0.5),
        "extra.x": (None, Missing.MISSING),
        "extra.n[1]": (2, 3),
        "extra.n[2]": (Missing.MISSING, 4),
        "extra.flag": (True, 1),
    }
    assert found.to_json()["card"][1] == {"field": "extra.n[1]", "a": 2, "b": 3}
    assert {"field": "extra.x", "a": None} in found.to_json()["card"]
    assert found.images.max_abs == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(values, values)
def test_changes_are_found_exactly_where_json_differs(a, b):
    found = list(module._changes(a, b))
    assert (json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)) == (not found)
    assert [Change(c.field, c.b, c.a) for c in found] == list(module._changes(b, a))
    assert list(module._changes(a, json.loads(json.dumps(a)))) == []


def test_parts(images):
    whole = Pack.from_arrays(torch.as_tensor(images), [0, 1, 2], classes=3)
    found = diff(Pack.merge(whole, whole).to_bytes(), Pack.merge(whole, whole.select(classes=[0, 1])).to_bytes())
    assert [(c.field, c.a, c.b) for c in found.parts] == [("[1].sources", 3, 2)]
    assert found.images.pairs == 0
    assert found.images.reason == "different pairs: 6 and 5"
    sources = next(t for t in found.tensors if t.name == "part1.sources")
    assert (sources.max_abs, sources.differing) == (None, None)  # shapes differ
    assert "shape [3, 1, 4, 5] → [2, 1, 4, 5]" in run_bytes(whole, images)


def run_bytes(whole, images):
    for name, pack in (("a", Pack.merge(whole, whole)), ("b", Pack.merge(whole, whole.select(classes=[0, 1])))):
        with fsspec.open(f"memory://diff/{name}.dpk", "wb") as file:
            file.write(pack.to_bytes())
    return run("memory://diff/a.dpk", "memory://diff/b.dpk", expect=1)


def test_compressed_in_another_way_is_the_same(images, monkeypatch):
    first = file_of(images)
    monkeypatch.setattr(writer, "CHUNK_BYTES", 80)
    monkeypatch.setattr(writer, "LARGEST_CHUNK_BYTES", 80)
    found = diff(first, file_of(images))
    assert found.same
    assert found.a["content_digest"] != found.b["content_digest"]


def test_not_a_number_is_itself_and_nothing_else(images):
    first, second = images.copy(), images.copy()
    first[0, 0, 0, :2] = second[0, 0, 0, :2] = np.nan, np.inf
    same = diff(file_of(first, finite=False), file_of(second, finite=False))
    assert same.same
    assert same.images.max_abs == same.images.mean_abs == 0
    second[2, 0, 0, 0] = np.nan
    found = diff(file_of(first, finite=False), file_of(second, finite=False))
    assert found.tensors[0].differing == 1
    assert found.tensors[0].max_abs is None
    assert found.images.max_abs is found.images.mean_abs is None
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"space": NormalizedSpace(mean=(0.5,), std=(0.5,))}, "different pixel space: raw and normalized"),
        ({"shape": (1, 5, 4)}, "different images of shape: [1, 4, 5] and [1, 5, 4]"),
    ],
)
def test_images_that_cannot_be_compared(change, words, images):
    def made(**card):
        card = Card(**({"title": "x", "classes": ("a", "b", "c"), "shape": (1, 4, 5)} | card))
        entry = formats.PartEntry(kind="images", sources=3, tensors={"sources": "sources", "labels": "labels"})
        tensors = {"sources": images.reshape(3, *card.shape), "labels": np.arange(3, dtype=np.uint8)}
        return formats.encode(card, [entry], tensors)

    found = diff(made(), made(**change))
    assert found.images.reason == words
    assert found.images.pairs == 0


def test_soft_labels(images):
    soft = torch.eye(3)
    other = soft.clone()
    other[1, 0] = 0.25
    made = [Pack.from_arrays(torch.as_tensor(images), y, classes=3).to_bytes() for y in (soft, other)]
    found = diff(*made)
    assert found.images.labels_changed == 1
    hard = diff(made[0], file_of(images))
    assert hard.images.reason == "different labels: soft and hard"
    assert Labels(kind="soft").kind == "soft"


def test_a_zca_that_must_be_fitted_again_is_said():
    raw = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    space = Zca.fit(raw, storage="refit")
    config = kind_config("kfs").model_validate({"decoders": 2, "channels": [2, 2]})
    bank = decoder("kfs", config, (1, 8, 8), 2).eval()
    card = Card(title="white", classes=("a", "b"), shape=(1, 8, 8), space=space.model)
    data = Pack(card, [Part("kfs", config, bank, torch.rand(2, 2, 2, 2), torch.arange(2))], space).to_bytes()
    found = diff(data, data)
    assert found.same
    assert "training images" in found.images.reason


def test_a_generator_that_does_not_say_how_many(tmp_path):
    card, part, tensors = part_of("generator", per_class=None)
    tensors = {name: np.abs(t) + 1 if name.endswith("running_var") else t for name, t in tensors.items()}
    data = formats.encode(card, [part], tensors)
    found = diff(data, data)
    assert found.same
    assert (found.images.pairs, found.images.max_abs) == (3, 0)  # one pair per class


def test_exit_status_of_trouble_is_two(tmp_path, images):
    good, bad = tmp_path / "good.dpk", tmp_path / "bad.dpk"
    good.write_bytes(file_of(images))
    damaged = bytearray(file_of(images))
    damaged[-300] ^= 255
    assert "No such file" in run(good, tmp_path / "none.dpk", expect=2)
    bad.write_bytes(damaged[:-1])
    assert "are missing" in run(good, bad, expect=2)
    assert "Usage" in run(good, expect=2)
    chunk = formats.Reader(good).manifest.datasets["sources"].chunks[0]
    damaged = bytearray(good.read_bytes())
    damaged[formats.Reader(good).header.user_block + chunk.offset] ^= 1
    with pytest.raises(IntegrityError, match="chunk 0"):
        diff(bytes(damaged), good)


def test_what_a_file_says_is_printed_as_it_is(tmp_path, images):
    first, second = tmp_path / "a.dpk", tmp_path / "b.dpk"
    first.write_bytes(file_of(images, title="\x1b[31mred"))
    second.write_bytes(file_of(images, title="[bold]"))
    printed = run(first, second, expect=1)
    assert "\x1b" not in printed
    assert "[bold]" in printed
