"""Packs as plain files and back: the same pixels, the same labels, and a folder that is whole or not there."""

from __future__ import annotations

import csv
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import dsetpack
from dsetpack import DsetpackError, FormatError, Metric, Pack, Part, Provenance, Recipe, Zca
from dsetpack.convert import convert, detect
from dsetpack.decoders import decoder
from dsetpack.formats.kinds.generator import GeneratorConfig
from dsetpack.formats.notices import Notice
from dsetpack.spaces import Normalized
from dsetpack.unpack import base, form_names, unpack
from tests.support import release_layouts as made

REAL = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SPACES = {"raw": dsetpack.Raw(), "normalized": Normalized.fit(REAL), "zca": Zca.fit(REAL, "frepo")}


def images_pack(space: str = "normalized", soft: bool = False, channels: int = 3) -> Pack:
    chosen = SPACES[space]
    x = chosen.apply(REAL[:12, :channels] if space == "raw" else REAL[:12])
    y = torch.arange(12) % 3
    labels = torch.softmax(made.noise(12, 4), 1) if soft else y
    recipe = Recipe(epochs=5, lr=0.25)
    return Pack.from_arrays(x, labels, classes=["a", "b, c", 'd"é', "label"], space=chosen, title="t", recipe=recipe)


def haba_pack(tmp_path: Path) -> Pack:
    made.haba(tmp_path / "haba")
    return convert(tmp_path / "haba", space=SPACES["normalized"], classes=made.CLASSES, lr=0.02)


def raw_pixels(pack: Pack) -> np.ndarray:
    """Computed independently: floor(x · 255 + 1/2) of clipped raw values, away from ties."""
    raw = pack.space.invert(pack.decode(range(len(pack)))[0]).clamp(0, 1)
    return np.floor(raw.numpy() * np.float32(255) + np.float32(0.5)).astype(np.uint8)


@pytest.mark.parametrize("space", ["raw", "normalized", "zca"])
@pytest.mark.parametrize("soft", [False, True])
def test_png_comes_back_to_8_bits(tmp_path, space, soft):
    pack = images_pack(space, soft)
    folder = unpack(pack, tmp_path / "out")
    back = convert(folder)
    assert detect(folder) == "folder"
    assert np.array_equal((back.parts[0].sources * 255).round().byte().numpy(), raw_pixels(pack))
    raw = pack.space.invert(pack.decode(range(12))[0]).clamp(0, 1)
    assert (back.decode(range(12))[0] - raw).abs().max() <= 0.5001 / 255
    assert torch.equal(back.labels, pack.labels)
    assert (back.card.classes, back.card.title, back.card.recipe) == (pack.card.classes, "t", pack.card.recipe)
    assert back.card.space.kind == "raw"
    again = convert(unpack(back, tmp_path / "again"))
    assert torch.equal(again.decode(range(12))[0], back.decode(range(12))[0]), "8 bits lose nothing more"


def test_png_without_its_card_is_a_plain_folder(tmp_path):
    for soft in (False, True):
        pack = images_pack(soft=soft)
        folder = unpack(pack, tmp_path / f"out{soft}")
        (folder / "card.json").unlink()
        back = convert(folder, classes=pack.card.classes, absent=True)
        assert torch.equal(back.labels, pack.labels)
        assert back.card.classes == pack.card.classes


def test_png_files_and_listing(tmp_path):
    pack = images_pack("raw", channels=1)
    folder = unpack(pack, tmp_path / "out")
    rows = list(csv.reader((folder / "labels.csv").open(encoding="utf-8", newline="")))
    assert rows[0] == ["file", "label", "class"]
    assert rows[2] == ["images/000001.png", "1", "b, c"]
    with Image.open(folder / rows[2][0]) as image:
        assert (image.mode, image.size) == ("L", (8, 8))
        assert np.array_equal(np.asarray(image), raw_pixels(pack)[1, 0])
    assert json.loads((folder / "card.json").read_text(encoding="utf-8"))["classes"][1] == "b, c"
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "images", "labels.csv"]


@pytest.mark.parametrize("form", ["png", "hf"])
def test_clipped_values_are_counted(tmp_path, form):
    if form == "hf":
        pytest.importorskip("pyarrow")
    half, step = 0.5 / 255, 1 / 255
    values = torch.full((5, 1, 4, 5), 0.5)
    values[0, 0, 0] = torch.tensor([-half, 1 + half, -0.25, 1.5, 1 + step])  # the first two only round
    said = r"3\.00% of 100 pixel values were outside \[0, 1\] and were clipped, by at most 0\.5; 'safetensors' keeps"
    with pytest.warns(Notice, match=said) as caught:
        unpack(Pack.from_arrays(values, [0] * 5), tmp_path / "out", as_=form)
    assert len(caught) == 1
    if form == "png":
        with Image.open(tmp_path / "out" / "images" / "000000.png") as image:
            assert np.asarray(image)[0].tolist() == [0, 255, 0, 255, 255]


def test_few_clipped_values_are_a_number_and_none_are_no_word(tmp_path):
    values = torch.full((3, 1, 64, 64), 0.5)
    values[2, 0, 0, 0] = 1.1
    with pytest.warns(Notice, match=r"^1 of 12,288 pixel values"):
        unpack(Pack.from_arrays(values, [0] * 3), tmp_path / "few")
    values[2, 0, 0, 0] = 1 + 0.4 / 255
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unpack(Pack.from_arrays(values, [0] * 3), tmp_path / "none")
        values[2, 0, 0, 0] = 1.1
        unpack(Pack.from_arrays(values, [0] * 3), tmp_path / "exact", as_="safetensors")


@pytest.mark.parametrize("space", ["raw", "normalized", "zca"])
@pytest.mark.parametrize("soft", [False, True])
def test_safetensors_comes_back_exactly(tmp_path, space, soft):
    pack = images_pack(space, soft)
    folder = unpack(pack, tmp_path / "out", as_="safetensors")
    back = convert(folder)
    assert detect(folder) == detect(folder / "images.safetensors") == "safetensors"
    assert torch.equal(back.decode(range(12))[0], pack.decode(range(12))[0])
    assert torch.equal(back.labels, pack.labels)
    assert back.card == pack.card
    for name, tensor in pack.space.tensors().items():
        assert torch.equal(back.space.tensors()[name], tensor)
    assert back.to_bytes() == pack.to_bytes()


@pytest.mark.parametrize("form", ["png", "safetensors"])
def test_a_budget_comes_back(tmp_path, form):
    """As it was, if the sources are images; the floats of the images, if they were decoded; unknown, if it was."""
    plain, decoded = images_pack("raw", soft=True), haba_pack(tmp_path)
    plain = plain.replace_card(provenance=Provenance(method="dm", budget_floats=12 * 3 * 8 * 8))
    for number, (pack, expected) in enumerate(
        [(plain, 12 * 3 * 8 * 8), (decoded, len(decoded) * np.prod(decoded.card.shape)), (images_pack("raw"), None)]
    ):
        for back in (pack, dsetpack.open(pack.to_bytes("int8")), pack.with_space(pack.space)):
            assert back.card.provenance == pack.card.provenance
        back = convert(unpack(pack, tmp_path / f"{number}", as_=form))
        assert back.card.provenance == pack.card.provenance.model_copy(update={"budget_floats": expected})
        assert dsetpack.open(back.to_bytes()).card.provenance == back.card.provenance


def test_safetensors_in_raw_space(tmp_path):
    pack = images_pack("zca")
    folder = unpack(pack, tmp_path / "out", as_="safetensors", space="raw")
    with safe_open(str(folder / "images.safetensors"), framework="np") as file:
        assert set(file.keys()) == {"images", "labels"}
        assert np.allclose(file.get_tensor("images"), REAL[:12].numpy(), atol=1e-4)
        assert file.get_tensor("labels").tolist() == pack.labels.tolist()
    assert convert(folder).card.space.kind == "raw"


def test_every_pair_of_a_factorized_pack_is_written(tmp_path):
    pack = haba_pack(tmp_path)
    pack = pack.replace_card(metrics=(Metric(value=0.5, arch="convnet3", test_data="x"),))
    back = convert(unpack(pack, tmp_path / "out", as_="safetensors"))
    assert len(back) == len(pack) == 30
    assert torch.equal(back.decode(range(30))[0], pack.decode(range(30))[0])
    assert torch.equal(back.labels, pack.labels)
    assert not back.card.metrics
    assert (back.card.recipe.epochs, back.card.recipe.steps) == (None, 1000), "10 bases are one step per epoch"
    assert back.card.recipe.lr == 0.02


def test_a_generator_is_drawn_once(tmp_path):
    config = GeneratorConfig(width=4, noise=8)
    card = dsetpack.Card(title="g", classes=("a", "b"), shape=(3, 8, 8), per_class=3)
    torch.manual_seed(0)
    part = Part(
        "generator", config, decoder("generator", config, (3, 8, 8), 2).eval(), None, torch.tensor([0] * 3 + [1] * 3)
    )
    pack = Pack(card, [part])
    back = convert(unpack(pack, tmp_path / "out", as_="safetensors"))
    assert torch.allclose(back.decode(range(6))[0], pack.decode(range(6), seed=0, epoch=0)[0])
    assert (back.labels.tolist(), back.card.per_class) == ([0, 0, 0, 1, 1, 1], None)


@pytest.mark.parametrize("soft", [False, True])
def test_hugging_face_table(tmp_path, soft):
    parquet = pytest.importorskip("pyarrow.parquet")
    pack = images_pack(soft=soft)
    folder = unpack(pack, tmp_path / "out", as_="hf")
    table = parquet.read_table(folder / "data" / "train-00000-of-00001.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    rows = table.to_pylist()
    for number, row in enumerate(rows):
        (tmp_path / "one.png").write_bytes(row["image"]["bytes"])
        with Image.open(tmp_path / "one.png") as image:
            assert np.array_equal(np.asarray(image).transpose(2, 0, 1), raw_pixels(pack)[number])
    assert len(rows) == 12
    assert np.array_equal(np.array([row["label"] for row in rows], pack.labels.numpy().dtype), pack.labels.numpy())
    if soft:
        assert features["label"]["length"] == 4
    else:
        assert features["label"] == {"names": list(pack.card.classes), "_type": "ClassLabel"}


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DsetpackError, match=r"pyarrow.*dsetpack\[hf\]"):
        unpack(images_pack(), tmp_path / "out", as_="hf")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(DsetpackError, match=r"safetensors.*dsetpack\[convert\]"):
        convert(tmp_path / "x.safetensors")
    with pytest.raises(DsetpackError, match=r"safetensors.*dsetpack\[convert\]"):
        unpack(images_pack(), tmp_path / "out", as_="safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.safetensors"]


@pytest.mark.parametrize("form", ["png", "safetensors", "hf"])
def test_nothing_is_overwritten_and_nothing_half_written(tmp_path, form, monkeypatch):
    pack, out = images_pack(), tmp_path / "out"
    assert form in form_names()
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(DsetpackError, match="not an empty folder"):
        unpack(pack, out, as_=form)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    with pytest.raises(DsetpackError, match="not an empty folder"):
        unpack(pack, out / "mine.txt", as_=form)
    with pytest.raises(OSError, match="nowhere"):
        unpack(pack, tmp_path / "nowhere" / "out", as_=form)

    def fails(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Pack, "decode", fails)
    with pytest.raises(KeyboardInterrupt):
        unpack(pack, tmp_path / "new", as_=form)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (out / "mine.txt").unlink()
    unpack(pack, out, as_=form)  # an empty folder is filled
    assert any(out.iterdir())


def test_a_folder_that_fills_meanwhile_is_kept(tmp_path):
    def fill():
        with base.new_folder(tmp_path / "out") as filling:
            (filling / "x").write_text("x")
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "theirs").write_text("y")

    with pytest.raises(DsetpackError, match="nothing is overwritten"):
        fill()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


def test_what_cannot_be_unpacked(tmp_path):
    two = Pack.from_arrays(torch.rand(4, 2, 5, 5), [0, 1, 0, 1])
    with pytest.raises(FormatError, match="2 channels.*safetensors"):
        unpack(two, tmp_path / "out")
    assert torch.equal(convert(unpack(two, tmp_path / "two", as_="safetensors")).decode([3])[0], two.decode([3])[0])
    with pytest.raises(FormatError, match="no form 'jpg'"):
        unpack(two, tmp_path / "out", as_="jpg")
    with pytest.raises(FormatError, match="raw 8-bit"):
        unpack(images_pack(), tmp_path / "out", space="raw")
    white = images_pack("zca")
    kept = dsetpack.open(white.with_space(white.space.stored("refit")).to_bytes())
    with pytest.raises(DsetpackError, match="Zca.refit"):
        unpack(kept, tmp_path / "out")
    back = convert(unpack(kept, tmp_path / "kept", as_="safetensors"))
    assert torch.equal(back.decode(range(12))[0], white.decode(range(12))[0])
    assert back.card.space.storage == "refit"
