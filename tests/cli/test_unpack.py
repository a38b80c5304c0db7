"""``dsetpack unpack``: what it writes."""

from __future__ import annotations

import torch

import dsetpack
from dsetpack.convert import convert
from tests.support.command_line import run
from tests.support.paths import KFS as PACK
from tests.support.preview_packs import generator


def test_unpack_and_back(tmp_path):
    assert "280 images as png" in run("unpack", PACK, tmp_path / "png")
    told = run("convert", tmp_path / "png", "-o", tmp_path / "back.dpk")
    assert "layout folder; 280 images 1×28×28, raw space" in told
    pack, back = dsetpack.open(PACK), dsetpack.open(tmp_path / "back.dpk")
    raw = pack.space.invert(pack.decode(range(280))[0]).clamp(0, 1)
    assert (back.decode(range(280))[0] - raw).abs().max() <= 0.5001 / 255
    assert torch.equal(back.labels, pack.labels)
    run("unpack", PACK, tmp_path / "st", "--as", "safetensors")
    assert torch.equal(convert(tmp_path / "st").decode(range(280))[0], pack.decode(range(280))[0])
    assert "not an empty folder" in run("unpack", PACK, tmp_path / "png", expect=1)


def test_unpack_of_a_generator_takes_a_number(tmp_path):
    path = tmp_path / "g.dpk"
    path.write_bytes(generator(None))
    assert "per_class= (--per-class)" in run("unpack", path, tmp_path / "out", expect=1)
    assert "9 images as png" in run("unpack", path, tmp_path / "out", "--per-class", "3")
