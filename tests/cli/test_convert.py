"""``dsetpack convert``: what it prints, writes and refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image

import dsetpack
from dsetpack import Zca
from dsetpack.convert import layout_names
from tests.support import release_layouts as made
from tests.support.command_line import run
from tests.support.paths import DOCS
from tests.support.paths import KFS as PACK

NORMALIZED = ("--space", "normalized", "--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.2")


@pytest.fixture
def real(tmp_path):
    """Real images for whitening: the path of their file, and the images."""
    x = np.random.default_rng(0).integers(0, 256, (30, 3, 8, 8), dtype=np.uint8)
    y = np.arange(30) % made.CLASSES
    np.savez(tmp_path / "real.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return tmp_path / "real.npz", torch.from_numpy(x)


def test_help_lists_every_layout():
    text = run("convert", "--help")
    for name in layout_names():
        assert f"\n  {name}" in text
    assert "Not said:" in text
    assert "--as" in run("unpack", "--help")


def test_haba_to_a_file_that_verifies(tmp_path, real):
    bases, nets = made.haba(tmp_path / "haba")
    out = tmp_path / "x.dpk"
    told = run("convert", tmp_path / "haba", "-o", out, "--space", "zca-kornia", "--dataset", real[0], "--lr", "0.02")
    assert "layout haba; 10 × 3 haba = 30 images 3×8×8, zca space, hard labels, lr 0.02" in told
    assert "sound" in run("verify", out)
    pack = dsetpack.open(out)
    assert torch.allclose(pack.decode(range(30))[0], made.hallucinated(bases, nets), atol=1e-6)
    expected = Zca.fit(real[1], "kornia")
    assert pack.card.space == expected.model
    assert torch.allclose(pack.space.apply(real[1][:2] / 255), expected.apply(real[1][:2] / 255))
    assert pack.card.provenance.dataset == "real"
    assert str(tmp_path) not in pack.card.model_dump_json(), "no path of the machine in the card"
    small = tmp_path / "small.dpk"
    run(
        "convert", tmp_path / "haba", "-o", small, "--space", "zca-kornia", "--dataset", real[0], "--lr", "none",
        "--refit", "--encoding", "int8",
    )  # fmt: skip
    assert small.stat().st_size < out.stat().st_size / 4
    assert not dsetpack.open(small).space.ready
    run("unpack", small, tmp_path / "png", expect=1)
    run("unpack", small, tmp_path / "png", "--data", real[0])
    assert len(list((tmp_path / "png" / "images").iterdir())) == 30


@pytest.mark.parametrize("form", ["mean", "mean_vector", "zca_mean"])
def test_a_matrix_that_is_given(tmp_path, real, form):
    """The pack whitens with the file's matrix; FRePo's matrix has its pixels in another order."""
    zca = Zca.fit(real[1], "frepo" if form == "zca_mean" else "kornia")
    mean, matrix = (tensor.double() for tensor in zca.tensors().values())
    made.mtt(tmp_path / "mtt")
    if form == "zca_mean":
        order = torch.arange(192).view(3, 8, 8).permute(1, 2, 0).reshape(-1)
        np.savez(tmp_path / "z.npz", zca_mean=mean[order].numpy(), whitening_transform=matrix[order][:, order].numpy())
        extra = (
            "--mean",
            ",".join(map(str, zca.model.channel_mean)),
            "--std",
            ",".join(map(str, zca.model.channel_std)),
        )
        file, space = tmp_path / "z.npz", ("--space", "zca-frepo", *extra)
    else:
        second = "matrix" if form == "mean" else "transform_matrix"
        torch.save({form: mean[None], second: matrix}, tmp_path / "z.pt")
        file, space = tmp_path / "z.pt", ("--space", "zca-kornia")
    run("convert", tmp_path / "mtt", "-o", tmp_path / "x.dpk", *space, "--dataset", real[0], "--zca", file, "--lr", 1)
    pack = dsetpack.open(tmp_path / "x.dpk")
    assert torch.allclose(pack.space.apply(real[1] / 255), zca.apply(real[1] / 255), atol=1e-5)
    assert (pack.card.space.storage, pack.card.space.spectrum) == ("embed", ())
    assert pack.card.space.fitted_on == zca.model.fitted_on


def test_published_statistics_and_names(tmp_path):
    path = tmp_path / "res_DM_CIFAR10_ConvNet_2ipc.pt"
    made.dc(path, experiments=1)
    run(
        "convert",
        path,
        "-o",
        tmp_path / "x.dpk",
        "--space",
        "normalized",
        "--dataset",
        "cifar10",
        "--title",
        "Mine",
        "--absent",
    )
    card = dsetpack.open(tmp_path / "x.dpk").card
    assert card.space.std == (0.2023, 0.1994, 0.2010)
    assert card.classes[3] == "cat"
    assert (card.title, card.provenance.dataset) == ("Mine", "cifar10")
    assert card.provenance.settings["converted"]["declared"] == {
        "space": "normalized",
        "absent": True,
        "dataset": "cifar10",
    }
    assert "Declared by the one who converted it, not by the files: space, absent, dataset." in card.description


def test_texts_of_the_card(tmp_path):
    path, out = tmp_path / "res_DM_CIFAR10_ConvNet_2ipc.pt", tmp_path / "x.dpk"
    made.dc(path, experiments=1)
    texts = ("--title", "Mine", "--license", "CC-BY-4.0", "--author", "Ada", "--url", "https://example.org/set")
    run("convert", path, "-o", out, *NORMALIZED, *texts, "--description", "Two lines.\n\nOf mine.", "--method", "ours")
    card = dsetpack.open(out).card
    assert (card.title, card.license, card.credit) == ("Mine", "CC-BY-4.0", "Ada")
    assert card.extra["url"] == "https://example.org/set"
    assert card.description.startswith("Two lines.\n\nOf mine.\n\nConverted from res_DM")
    assert card.provenance.method == "ours"
    assert card.provenance.settings["converted"]["declared"] == {"space": "normalized", "method": "ours"}
    run("convert", path, "-o", out, *NORMALIZED, "--url", "example.org", expect=1)
    run("unpack", out, tmp_path / "plain", "--as", "safetensors")
    run("convert", tmp_path / "plain", "-o", out, "--description", "Other.", "--author", "Ben")
    again = dsetpack.open(out).card
    assert (again.title, again.description, again.credit, again.license) == ("Mine", "Other.", "Ben", "CC-BY-4.0")
    run("convert", tmp_path / "plain", "-o", out)
    assert dsetpack.open(out).card.description == card.description


def test_decisions_are_notes_and_options_decide_otherwise(tmp_path):
    x, path = np.random.default_rng(0).integers(0, 256, (10, 8, 9, 4), dtype=np.uint8), tmp_path / "x.npz"
    np.savez(path, images=x, labels=np.arange(10))
    told = run("convert", path, "-o", tmp_path / "x.dpk")
    assert "note: images of shape [10, 8, 9, 4] are read as NHWC: 4 channels, 8×9 (height × width);" in told
    assert "note: all 4 channels are kept; if the last is alpha, drop_alpha=True (--drop-alpha) drops it" in told
    assert dsetpack.open(tmp_path / "x.dpk").card.shape == (4, 8, 9)
    told = run("convert", path, "-o", tmp_path / "x.dpk", "--axes", "nhwc", "--drop-alpha")
    assert "note:" not in told
    card = dsetpack.open(tmp_path / "x.dpk").card
    assert card.shape == (3, 8, 9)
    assert card.provenance.settings["converted"]["declared"] == {"axes": "NHWC", "drop_alpha": True}
    np.savez(path, images=x[:, :3, :, :3], labels=np.arange(10))
    assert "can be NCHW (3 channels" in run("convert", path, "-o", tmp_path / "y.dpk", expect=1)
    assert not (tmp_path / "y.dpk").exists()
    np.savez(path, images=x[..., :3] / 20 - 6, labels=np.arange(10))
    told = run("convert", path, "-o", tmp_path / "x.dpk", "--space", "raw", "--axes", "NHWC")
    assert "note: values from -6 to 6.75 are kept as raw; raw pixels of real images are in [0, 1]" in told


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 1, "--space"),
        (("--space", "normalized"), 2, "--mean"),
        (("--space", "normalized", "--mean", "0.5"), 2, "--std"),
        (("--space", "normalized", "--mean", "a,b", "--std", "1"), 2, "numbers with commas"),
        (("--space", "normalized", "--mean", "0,0,0", "--std", "0,1,1"), 1, "--mean and --std"),
        (("--space", "normalized", "--dataset", "flowers"), 1, "cifar10"),
        (("--space", "raw", "--mean", "1", "--std", "1"), 2, "--mean"),
        (("--space", "raw", "--zca", "z.pt"), 2, "--zca"),
        (("--space", "raw", "--refit"), 2, "--refit"),
        (("--space", "zca-kornia"), 2, "--dataset"),
        (("--space", "zca-kornia", "--dataset", "x", "--zca", "z", "--refit"), 2, "leave one of them out"),
        ((*NORMALIZED, "--lr", "fast"), 2, "'none' expected"),
        (NORMALIZED, 1, "--lr"),
        ((*NORMALIZED, "--lr", "1", "--layout", "habba"), 1, "'haba'"),
        ((*NORMALIZED, "--lr", "1", "--classes", "a,b"), 1, "for 2 classes"),
    ],
)
def test_refusals_leave_no_file(tmp_path, options, code, words):
    made.mtt(tmp_path / "mtt")
    told = run("convert", tmp_path / "mtt", "-o", tmp_path / "x.dpk", *options, expect=code)
    assert words in told
    assert [path.name for path in tmp_path.iterdir()] == ["mtt"]


def test_places_that_cannot_be_read_or_written(tmp_path):
    made.mtt(tmp_path / "mtt")
    assert "no such file or folder" in run("convert", tmp_path / "no", "-o", tmp_path / "x.dpk", expect=1)
    assert "folder does not exist" in run("convert", tmp_path / "mtt", "-o", tmp_path / "no" / "x.dpk", expect=1)


def test_the_blocks_of_the_page_run(tmp_path, monkeypatch):
    """The Python blocks of docs/convert.md, on files in the layouts that they name."""
    monkeypatch.chdir(tmp_path)
    made.haba(tmp_path / "haba_run")
    (tmp_path / "demo.dpk").write_bytes(PACK.read_bytes())
    page = (DOCS / "convert.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/convert.md block {number}", "exec"), {})
    options = set(re.findall(r"--[a-z]+", page))
    helped = run("convert", "--help") + run("unpack", "--help")
    assert {option for option in options if option not in helped} == set()


def test_a_folder_of_splits_and_numbered_classes(tmp_path):
    """The split that is read is said; numbers stay numbers; the pack's classes are those of the data."""
    for split, first in (("train", 0), ("test", 100)):
        for number in range(12):
            (tmp_path / "in" / split / str(number)).mkdir(parents=True)
            pixels = np.full((4, 4), first + number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "in" / split / str(number) / "a.png")
    out = tmp_path / "x.dpk"
    told = run("convert", tmp_path / "in", "-o", out)
    assert "note: " in told
    assert "the split 'train' is read; pass split='test' (--split test) for the other" in told
    assert "12 images 1×4×4" in told
    told = run("convert", tmp_path / "in", "-o", out, "--split", "test", "--classes", ",".join("abcdefghijkl"))
    assert "note: " not in told
    pack = dsetpack.open(out)
    assert (pack.decode(range(12))[0][:, 0, 0, 0] * 255).round().tolist() == list(range(100, 112))
    assert pack.labels.tolist() == list(range(12))
    assert pack.card.classes[10] == "k"


def test_names_of_data_that_are_only_numbers_rename_nothing(tmp_path, real):
    for name in ("ant", "bee", "cat", "dog", "emu"):
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / name / "a.png")
    run("convert", tmp_path / "in", "-o", tmp_path / "x.dpk", "--dataset", real[0])
    assert dsetpack.open(tmp_path / "x.dpk").card.classes == ("ant", "bee", "cat", "dog", "emu")
