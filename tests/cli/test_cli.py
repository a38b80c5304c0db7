"""The command line: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import dsetpack
from dsetpack import Augmentation, Card, Metric, Recipe, Zca
from dsetpack.cli import main
from dsetpack.formats import Reader
from dsetpack.trainers.data import load
from tests.support.fast_recipe import FAST
from tests.support.paths import KFS, SAMPLE


def run(*arguments, expect=0):
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == expect, done.output + repr(done.exception)
    return done.output


def test_help_names_every_command_and_each_explains_itself():
    listing = run("--help")
    for name in ("info", "verify", "preview", "distill", "recipes", "eval", "demo"):
        assert name in listing
        assert "Usage" in run(name, "--help")


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


def test_info_shows_a_title_as_it_is_and_no_control_codes(tmp_path):
    path = tmp_path / "odd.dpk"
    dsetpack.Pack.from_arrays(torch.rand(2, 1, 4, 4), [0, 1], title="[/x] [bold]\x1b[31mred").save(path)
    printed = run("info", path)
    assert "[/x] [bold]" in printed
    assert "\x1b" not in printed


def test_verify_is_silent_status_zero_or_one(tmp_path):
    assert "sound" in run("verify", SAMPLE)
    damaged = bytearray(SAMPLE.read_bytes())
    damaged[5000] ^= 1
    path = tmp_path / "damaged.dpk"
    path.write_bytes(damaged)
    assert "digest" in run("verify", path, "--no-hdf5", expect=1)
    assert "No such file" in run("verify", tmp_path / "none.dpk", expect=1)
    assert "directory" in run("info", tmp_path, expect=1)


def test_preview_draws_a_grid(tmp_path):
    out = tmp_path / "grid.png"
    run("preview", SAMPLE, "-o", out, "--rows", "10")
    with Image.open(out) as image:
        assert image.height > 10 * 60
        assert len(image.getcolors(1 << 20)) > 100


def test_pictures_are_png_and_say_so(tmp_path):
    for arguments in (["preview", SAMPLE, "-o"], ["demo", "--picture"]):
        assert "ends in .png" in run(*arguments, tmp_path / "grid.jpg", expect=2)
    assert "grid.PNG" in run("preview", SAMPLE, "-o", tmp_path / "grid.PNG", "--rows", "1")
    assert "folder does not exist" in run("preview", SAMPLE, "-o", tmp_path / "none" / "x.png", expect=1)
    assert "folder does not exist" in run("demo", "--out", tmp_path / "none" / "x.dpk", expect=1)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.PNG"]


def test_eval_can_record_onto_the_file_itself_and_looks_first_where_it_may_write(tmp_path):
    path = tmp_path / "tiny.dpk"
    sample = load("fashion-sample", split="train")
    chosen = sample.take(sample.draw(1, seed=0))
    recipe = Recipe(steps=2, batch_size=4, width=4)
    dsetpack.Pack.from_arrays(chosen.images, chosen.labels, classes=chosen.classes, recipe=recipe).save(path)
    evaluate = ("eval", path, "--data", "fashion-sample", "--seeds", "1")
    for where, message in (
        (tmp_path, "directory"),
        (tmp_path / "none" / "x.dpk", "folder"),
        ("s3://a/b", "local path"),
    ):
        assert message in run(*evaluate, "--set", "steps=100000000", "--record", where, expect=1)
    run(*evaluate, "--record", path)
    run(*evaluate, "--record", path, "--no-augment", "--width", "5")
    metrics = dsetpack.open(path).card.metrics
    assert [(m.protocol, m.width) for m in metrics] == [("own", 4), ("changed", 5)]


def test_eval_refits_the_zca_of_a_pack_that_keeps_only_how(tmp_path):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 256, (60, 8, 8), dtype=torch.uint8, generator=g), torch.arange(60) % 2
    other = x.flip(0)
    for name, train in (("mine", x), ("others", other)):
        np.savez(tmp_path / f"{name}.npz", x_train=train, y_train=y, x_test=x[:20], y_test=y[:20])
    space = Zca.fit(x[:, None], storage="refit")
    images = space.apply(x[:4, None].float() / 255)
    pack = dsetpack.Pack.from_arrays(images, y[:4], space=space, recipe=Recipe(steps=2, batch_size=4, width=4))
    path, recorded = tmp_path / "white.dpk", tmp_path / "recorded.dpk"
    pack.save(path)
    printed = run("eval", path, "--data", tmp_path / "mine.npz", "--seeds", "1", "--record", recorded)
    assert "20 test images" in printed
    assert dsetpack.open(recorded).card.space == pack.card.space
    assert dsetpack.open(recorded).card.metrics[0].protocol == "own"
    assert "same raw training images" in run("eval", path, "--data", tmp_path / "others.npz", expect=1)


def test_distill_then_eval_records_the_result_and_keeps_the_tensors(tmp_path):
    out, recorded = tmp_path / "x.dpk", tmp_path / "recorded.dpk"
    run("distill", "--data", "fashion-sample", "--out", out, "--encoding", "int8", *FAST)
    assert dsetpack.open(out).card.provenance.method == "kfs"
    printed = run("eval", out, "--data", "fashion-sample", "--seeds", "2", "--record", recorded, "--set", "steps=2")
    card = dsetpack.open(recorded).card
    assert len(card.metrics) == 1
    assert f"{card.metrics[0].value:.2%}" in printed
    assert card.metrics[0].protocol == "changed"
    with Reader(out) as before, Reader(recorded) as after:
        assert before.manifest.content_digest == after.manifest.content_digest
        assert before.digest != after.digest
    dsetpack.verify(recorded)
    again = tmp_path / "y.dpk"
    run("distill", "--data", "fashion-sample", "--out", again, "--encoding", "int8", *FAST)
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["distill", "--data", "fashion-minst", "--out", "x.dpk"], "fashion-mnist"),
        (["distill", "--data", "fashion-sample", "--out", "x.dpk", "--set", "schedule.stepz=1"], "schedule.steps"),
        (["distill", "--data", "fashion-sample", "--out", "x.dpk", "--method", "magic"], "kfs"),
        (["distill", "--data", "fashion-mnist", "--root", "/nonexistent", "--out", "x.dpk"], "/nonexistent"),
        (["eval", SAMPLE, "--data", "fashion-sample"], "no recipe"),
        (["eval", SAMPLE, "--data", "fashion-sample", "--set", "step=3"], "no setting 'step'; nearest is 'steps'"),
        (["eval", SAMPLE, "--data", "fashion-sample", "--set", "lr=-1"], "--set: lr: Input should be greater than 0"),
        (["eval", SAMPLE, "--data", "fashion-sample", "--device", "gpu"], "device 'gpu' cannot be used here"),
        (["eval", SAMPLE, "--data", "fashion-sample", "--set", "steps=2", "--arch", "convnet9"], "convnet3"),
    ],
)
def test_mistakes_are_named_with_the_remedy(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in run(*arguments, expect=1)
    assert not (tmp_path / "x.dpk").exists()


def test_a_setting_without_a_value_is_a_usage_error():
    assert "KEY=VALUE" in run("distill", "--data", "x", "--out", "y", "--set", "steps", expect=2)


def test_preview_of_a_generator_shows_draws_of_each_class():
    from dsetpack import Card, Pack, Part
    from dsetpack.decoders import decoder
    from dsetpack.formats.kinds import kind_config
    from dsetpack.preview.grid import grid

    config = kind_config("generator")(width=8)
    card = Card(title="g", classes=("a", "b", "c"), shape=(1, 28, 28), per_class=4)
    bank = decoder("generator", config, card.shape, 3).eval()
    pack = Pack(card, [Part("generator", config, bank, None, torch.arange(3).repeat_interleave(4))])
    assert grid(pack).height < 300  # a row a class


def test_signs_that_a_code_page_does_not_have():
    for command in ("info", "card"):
        done = subprocess.run(
            [sys.executable, "-m", "dsetpack", command, str(KFS)],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"?" in done.stdout
