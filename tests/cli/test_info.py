"""``dsetpack info``: what it says of a file, without control characters for a terminal."""

from __future__ import annotations

import json

import torch
from click.testing import CliRunner

import dsetpack
from dsetpack import Augmentation, Card, Metric, Recipe
from dsetpack.cli import main
from dsetpack.formats import Reader, write
from tests.support.command_line import run
from tests.support.paths import SAMPLE
from tests.support.small_packs import generator_pack


def test_json_holds_no_control_codes(tmp_path):
    path, title = tmp_path / "odd.dpk", "\x9b31mred\x1b[0m ü"
    dsetpack.Pack.from_arrays(torch.rand(2, 1, 4, 4), [0, 1], title=title).save(path)
    printed = CliRunner().invoke(main, ["info", str(path), "--json"]).output
    assert printed.replace("\n", "").isprintable()
    assert json.loads(printed)["card"]["title"] == title


def test_info_json_agrees_with_the_file():
    facts = json.loads(run("info", SAMPLE, "--json"))
    with Reader(SAMPLE) as reader:
        assert facts["digest"] == reader.digest
        assert facts["content_digest"] == reader.manifest.content_digest
        assert {t["name"] for t in facts["tensors"]} == set(reader.manifest.tensors)
        assert sum(t["stored_bytes"] for t in facts["tensors"]) == sum(
            d.stored_bytes for d in reader.manifest.datasets.values()
        )
    assert facts["bytes"] == SAMPLE.stat().st_size
    assert [p["images"] for p in facts["parts"]] == [2000, 1000]
    assert "part0.sources" in run("info", SAMPLE)


def test_info_shows_the_whole_recipe_every_metric_and_whole_digests(tmp_path):
    path = tmp_path / "measured.dpk"
    card = {
        "recipe": Recipe(steps=7, milestones=(2 / 3,)),
        "augmentation": Augmentation(ops=("crop", "flip")),
        "metrics": (
            Metric(value=0.5, std=0.01, arch="convnet3", width=16, seeds=3, test_data="mine"),
            Metric(name="accuracy\x1b[31m", value=0.25, arch="vgg11", test_data="mine", protocol="changed"),
        ),
    }
    pack = dsetpack.Pack.from_arrays(torch.rand(2, 1, 4, 4), [0, 1], **card)
    pack.save(path)
    printed = run("info", path)
    lines = printed.splitlines()
    assert next(line for line in lines if line.startswith("digest")).endswith(dsetpack.open(path).digest)
    recipe = next(line for line in lines if line.startswith("recipe"))
    for words in (
        "steps 7",
        "milestones 0.666667;",
        "momentum 0.9",
        "cutmix 0",
        "warmup 0",
        "final 1",
        "loss cross_entr",
    ):
        assert words in recipe
    assert "epochs" not in recipe
    assert "ops crop, flip; mode one" in printed
    assert [line for line in lines if line.startswith("accuracy")] == [
        "accuracy     50.00% ± 1.00% (convnet3 of width 16 on mine, 3 seeds)",
        "accuracy\\x1b[31m 25.00% (vgg11 on mine, 1 seed, changed recipe)",
    ]
    facts = json.loads(run("info", path, "--json"))
    assert Card.model_validate(facts["card"]) == pack.card
    assert facts["card"]["recipe"]["momentum"] == 0.9
    assert facts["card"]["augmentation"]["cutout"] == 0.5


def test_a_generator_without_a_number_of_images(tmp_path):
    with Reader(generator_pack(2, per_class=2).to_bytes()) as reader:
        tensors = {name: reader.tensor(name) for name in reader.manifest.tensors}
        write(tmp_path / "g.dpk", reader.manifest.card.replace(per_class=None), reader.manifest.parts, tensors)
    assert "as many as --per-class asks for = generator, 1×8×8" in run("info", tmp_path / "g.dpk")
    said = run("distill", "--data", tmp_path / "g.dpk", "-o", tmp_path / "x.dpk", expect=1)
    assert "g.dpk: not a pack of raw real images, but of generator" in said


def test_info_shows_a_title_as_it_is_and_no_control_codes(tmp_path):
    path = tmp_path / "odd.dpk"
    dsetpack.Pack.from_arrays(torch.rand(2, 1, 4, 4), [0, 1], title="[/x] [bold]\x1b[31mred").save(path)
    printed = run("info", path)
    assert "[/x] [bold]" in printed
    assert "\x1b" not in printed
