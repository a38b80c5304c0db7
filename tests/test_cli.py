"""The command line: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import dsetpack
from dsetpack.cli import main
from dsetpack.formats import Reader

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = str(ROOT / "dsetpack" / "data" / "fashion-sample.dpk")
FAST = [
    part
    for setting in (
        "parameterization.pretrain.steps=3", "parameterization.pretrain_batch=16", "parameterization.encoder_width=4",
        "schedule.steps=3", "objective.networks=2", "objective.width=4",
        "evaluation.steps=3", "evaluation.batch_size=16", "evaluation.width=4",
    )
    for part in ("--set", setting)
]  # fmt: skip


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
    assert facts["bytes"] == Path(SAMPLE).stat().st_size
    assert [p["images"] for p in facts["parts"]] == [2000, 1000]
    assert "part0.sources" in run("info", SAMPLE)


def test_info_shows_a_title_as_it_is_and_no_control_codes(tmp_path):
    path = tmp_path / "odd.dpk"
    dsetpack.Pack.from_arrays(torch.rand(2, 1, 4, 4), [0, 1], title="[/x] [bold]\x1b[31mred").save(path)
    printed = run("info", path)
    assert "[/x] [bold]" in printed
    assert "\x1b" not in printed


def test_verify_is_silent_status_zero_or_one(tmp_path):
    assert "sound" in run("verify", SAMPLE)
    damaged = bytearray(Path(SAMPLE).read_bytes())
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
    from dsetpack.preview import grid

    config = kind_config("generator")(width=8)
    card = Card(title="g", classes=("a", "b", "c"), shape=(1, 28, 28), per_class=4)
    bank = decoder("generator", config, card.shape, 3).eval()
    pack = Pack(card, [Part("generator", config, bank, None, torch.arange(3).repeat_interleave(4))])
    assert grid(pack).height < 300  # a row a class
