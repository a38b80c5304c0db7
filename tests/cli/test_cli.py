"""The command line: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from dsetpack import FormatError, Pack, Zca
from dsetpack.cli import main
from dsetpack.trainers import progress
from tests.support import release_layouts
from tests.support.command_line import run
from tests.support.displays import Recorder
from tests.support.fast_recipe import FAST
from tests.support.paths import KFS, SAMPLE
from tests.support.processes import environment


def test_help_names_every_command_and_each_explains_itself():
    listing = run("--help")
    for name in ("info", "verify", "preview", "distill", "recipes", "eval", "demo"):
        assert name in listing
        assert "Usage" in run(name, "--help")


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


DISTILL = ("distill", "--data", "fashion-sample", "--out", "made.dpk", *FAST)
COMMANDS = {
    "distill": (DISTILL, {"read fashion-sample", "pretrain", "real means", "match", "save"}),
    "verify": (("verify", KFS), {"verify", "verify values", "verify the HDF5 view"}),
    "unpack": (("unpack", KFS, "folder"), {"unpack"}),
    "eval": (("eval", KFS, "--data", "fashion-sample", "--set", "steps=2", "--seeds", "1"), {"evaluate", "training"}),
    "convert": (
        ("convert", "mtt", "-o", "x.dpk", "--space", "zca-kornia", "--dataset", "real.npz", "--lr", "1"),
        {"read real.npz", "fit ZCA", "eigenvectors for ZCA", "save"},
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_long_work_says_what_it_does_and_ends(name, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(progress, "display", lambda title: made.append(Recorder(title)) or made[-1])
    monkeypatch.chdir(tmp_path)
    release_layouts.mtt(tmp_path / "mtt")
    x, y = np.random.default_rng(0).integers(0, 256, (30, 3, 8, 8), dtype=np.uint8), np.arange(30) % 5
    np.savez("real.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    arguments, titles = COMMANDS[name]
    run(*arguments)
    (display,) = made
    assert display.title == name
    assert display.titles >= titles
    assert all(work.total in (None, work.done) for work in display.seen)
    assert not display.works


def test_a_command_without_a_terminal_says_that_it_is_alive_and_what_it_does(tmp_path):
    """The first line tells that the command is at work; later ones what it does. The result has its own stream."""
    code = (
        "import sys; from dsetpack.formats import progress; progress.FIRST = progress.EVERY = 0; progress.LOOK = 1e-3\n"
        "from dsetpack.cli import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "unpack", str(KFS), str(tmp_path / "folder")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    lines = done.stderr.splitlines()
    assert lines[0] == "unpack (0 s so far)"
    assert any(line.startswith("unpack: ") for line in lines)
    assert done.stdout.count("\n") == 1
    quiet = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(RANK="1"))
    assert "there already" in quiet.stderr
    assert quiet.stderr.count("\n") == 1


def with_data() -> list[str]:
    """The commands that read real data."""
    return [
        name
        for name in main.list_commands(None)
        if {"data", "root"} <= {one.name for one in main.get_command(None, name).params}
    ]


@pytest.mark.parametrize("command", with_data())
def test_every_command_that_reads_data_can_say_how_arrays_are_read(command, tmp_path, monkeypatch):
    x, y = np.random.default_rng(0).integers(0, 256, (8, 3, 9, 3), dtype=np.uint8), np.arange(8) % 2
    data = tmp_path / "mine.npz"
    np.savez(data, x_train=x, y_train=y, x_test=x, y_test=y)
    pack, refit = tmp_path / "x.dpk", Zca.fit(torch.rand(20, 3, 9, 3), storage="refit")
    Pack.from_arrays(torch.zeros(8, 3, 9, 3), y, space=refit, axes="NCHW").save(pack)
    own = {"distill": ["--out", tmp_path / "y.dpk"], "unpack": [pack, tmp_path / "folder"]}
    arguments = [command, *own.get(command, [pack]), "--data", data]
    assert "can be NCHW (3 channels" in run(*arguments, expect=1)
    monkeypatch.setattr("dsetpack.trainers.data.load", stopped)
    told = run(*arguments, "--axes", "NHWC", "--drop-alpha", expect=1)
    assert "error: read with {'axes': 'NHWC', 'drop_alpha': True}" in told


def stopped(*_place, **how):
    raise FormatError(f"read with {how}")
