"""``dsetpack distill``: the same pack each time, in stages, measured and recorded."""

from __future__ import annotations

from click.testing import CliRunner

import dsetpack
from dsetpack.cli import main
from dsetpack.formats import Reader
from tests.support.command_line import run
from tests.support.fast_recipe import FAST
from tests.support.stage_cases import SMALL


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
    cache = tmp_path / "cache"
    run("distill", "--data", "fashion-sample", "--out", again, "--encoding", "int8", "--cache", cache, *FAST)
    assert list(cache.rglob("*.npy"))
    assert again.read_bytes() == out.read_bytes()


def test_a_recipe_and_a_preset_contradict_each_other(tmp_path):
    out = tmp_path / "x.dpk"
    for preset in ("cpu", "paper"):
        printed = run("distill", "--recipe", "kfs-cifar10-ipc1", "--preset", preset, "--out", out, expect=2)
        assert "--recipe kfs-cifar10-ipc1" in printed
        assert f"--preset {preset}" in printed
    assert not out.exists()
    assert not (tmp_path / "x.dpk.run").exists()
    assert "kfs-cifar10-ipc2" in run("distill", "--recipe", "kfs-cifar10-ipc2", "--out", out, expect=1)


def test_the_command_line(tmp_path):
    sets = [part for key, value in SMALL.items() for part in ("--set", f"{key}={str(value).strip('()')}")]
    sets[1] = "parameterization.channels=[3, 2]"
    base = ["distill", "--data", "fashion-sample", "--out", str(tmp_path / "x.dpk"), *sets]
    done = CliRunner().invoke(main, [*base, "--stages", "2x2"])
    assert done.exit_code == 0, done.output
    assert "2 stages" in done.output
    assert set(dsetpack.open(tmp_path / "x.dpk").labels.tolist()) == {0, 1, 2, 3}
    for wrong, message in (("2x9", "class 10 is unknown"), ("0,1;1", "in stage 0 already"), ("two", "'5x2'")):
        failed = CliRunner().invoke(main, [*base, "--stages", wrong])
        assert failed.exit_code == 1
        assert message in " ".join(failed.output.split())
