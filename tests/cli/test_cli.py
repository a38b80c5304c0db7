"""The command line: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import dsetpack
from dsetpack import FormatError, Pack, Zca
from dsetpack.cli import main
from dsetpack.cli.options import Sections
from dsetpack.trainers import progress
from tests.support import release_layouts
from tests.support.command_line import run
from tests.support.displays import Recorder
from tests.support.fast_recipe import FAST
from tests.support.paths import KFS, SAMPLE
from tests.support.processes import environment

COMMANDS = main.list_commands(None)


def test_help_lists_every_command_in_groups_with_its_whole_summary():
    listing = run("--help")
    assert "..." not in listing.partition("\n")[2]  # after the line of usage
    titles = [line for line in listing.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles[:3] == ["Options:", "Make a pack:", "Look at a pack:"]
    for name in COMMANDS:
        summary = main.get_command(None, name).get_short_help_str(limit=200)
        assert summary.endswith(".")
        assert re.search(rf"^  {name} +{re.escape(summary)}$", re.sub(r"\n {8,}", " ", listing), re.MULTILINE)
    assert [listing.index(f"\n  {name} ") for name in COMMANDS] == sorted(
        listing.index(f"\n  {name} ") for name in COMMANDS
    )


def test_in_a_help_with_sections_every_option_has_one():
    for name in COMMANDS:
        command = main.get_command(None, name)
        if isinstance(command, Sections):
            rest = run(name, "--help").split("\nOptions:\n")[1].partition("\n\n")[0].rstrip()
            assert rest == "  -h, --help  Show this message and exit.", name


def test_help_of_every_command_without_torch():
    """In a process in which torch cannot be imported, and neither can what is slow to import."""
    code = """
import sys
from click.testing import CliRunner

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "h5py", "huggingface_hub", "onnx", "onnxruntime"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Nothing())
from dsetpack.cli import main
for name in ("", *main.list_commands(None)):
    done = CliRunner().invoke(main, [*name.split(), "--help"])
    assert done.exit_code == 0, (name, done.output, done.exception)
    assert done.output.startswith("Usage: ")
    assert name in done.output
done = CliRunner().invoke(main, ["info", sys.argv[1]])
assert done.exit_code == 0, (done.output, done.exception)
assert "280 = kfs 70 × 4, 1×28×28 (channels × height × width)" in done.output
"""
    done = subprocess.run([sys.executable, "-c", code, str(KFS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_options_with_the_same_meaning_have_the_same_help():
    texts = {}
    for name in COMMANDS:
        for param in main.get_command(None, name).params:
            for option in ("--device", "--per-class", "--root", "--encoding", "--force"):
                if option in param.opts:
                    texts.setdefault(option, set()).add(param.help)
    assert {option: len(found) for option, found in texts.items()} == dict.fromkeys(texts, 1)
    assert len(texts) == 5


@pytest.mark.parametrize("name", ["eval", "reproduce", "score", "audit", "unpack", "export", "preview"])
def test_a_generators_number_of_images_can_be_given_wherever_one_is_opened(name):
    assert "--per-class N " in run(name, "--help")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("evaluate", "'eval'"),
        ("show", "'info' or 'preview'"),
        ("validate", "'verify'"),
        ("download", "'pull'"),
        ("convrt", "'convert'"),
        ("distil", "'distill'"),
        ("INFO", "'info'"),
        ("key-gen", "'keygen'"),
    ],
)
def test_a_command_that_is_none_meets_the_one_that_is_meant(said, meant):
    assert f"No such command '{said}'. Did you mean {meant}?" in run(said, expect=2)


def test_a_command_that_is_like_none():
    assert "No such command 'zzzz'.\n" in run("zzzz", expect=2)
    assert "Did you mean" not in run("zzzz", expect=2)


def test_names_in_any_spelling(tmp_path):
    out = tmp_path / "x.dpk"
    run("distill", "--data", "Fashion-Sample", "--method", "RANDOM", "--preset", "CPU", "--encoding", "INT8", "-o", out)
    card = dsetpack.open(out).card
    assert (card.provenance.dataset, card.provenance.method) == ("fashion-sample", "random")
    assert run("recipes", "KFS-CIFAR10-ipc1") == run("recipes", "kfs-cifar10-ipc1")
    run("distill", "--data", "FashionSample", "--recipe", "Random_CPU", "-o", out)
    printed = run("eval", out, "--data", "FASHION_SAMPLE", "--arch", "ConvNet3", "--width", "2", "--set", "steps=1")
    assert "on 1,000 test images of fashion-sample; convnet3 2, 5 seeds" in printed
    run("unpack", out, tmp_path / "st", "--as", "SafeTensors")
    told = run("convert", tmp_path / "st", "--layout", "SAFETENSORS", "-o", tmp_path / "y.dpk")
    assert "layout safetensors" in told


def test_a_path_comes_before_a_name_in_another_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DSETPACK_DATA", raising=False)
    (tmp_path / "CIFAR10").mkdir()
    said = run("distill", "--data", "CIFAR10", "-o", "x.dpk", expect=1)
    assert said.startswith("error: CIFAR10: ")
    assert "--root" not in said
    assert "cifar10 needs its files" in run("distill", "--data", "Cifar10", "-o", "x.dpk", expect=1)


def test_one_of_a_thing_is_singular(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("one.npz", images=np.zeros((1, 6, 8), np.uint8), labels=np.zeros(1, np.int64))
    said = [
        run("convert", "one.npz", "--lr", "none", "--classes", "1", "-o", "one.dpk"),
        run("info", "one.dpk"),
        run("card", "one.dpk"),
        run("card", "one.dpk", "--croissant"),
        run("unpack", "one.dpk", "-o", "plain"),
        run("verify", "one.dpk"),
        run("preview", "one.dpk", "-o", "one.png"),
        repr(dsetpack.open("one.dpk")),
    ]
    assert "; 1 image 1×6×8" in said[0]
    assert "plain: 1 image as png" in said[4]
    words = "images|classes|sources|decoders|parts|labels|tensors|steps|seeds|floats|pairs|files|stages|bytes"
    assert not re.search(rf"(?<![\d.,])1 (\w+ )?({words})\b", "\n".join(said))
    with Image.open("one.png") as picture:
        assert f"one.png: {picture.height}×{picture.width} pixels (height × width)" in said[6]


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
        (["eval", SAMPLE, "--data", "fashion-sample", "--device", "processor"], "device 'processor' cannot be used"),
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
LONG = {
    "distill": (DISTILL, {"read fashion-sample", "pretrain", "real means", "match", "save"}),
    "verify": (("verify", KFS), {"verify", "verify values", "verify the HDF5 view"}),
    "unpack": (("unpack", KFS, "folder"), {"unpack"}),
    "eval": (("eval", KFS, "--data", "fashion-sample", "--set", "steps=2", "--seeds", "1"), {"evaluate", "training"}),
    "convert": (
        ("convert", "mtt", "-o", "x.dpk", "--space", "zca-kornia", "--dataset", "real.npz", "--lr", "1"),
        {"read real.npz", "fit ZCA", "eigenvectors for ZCA", "save"},
    ),
}


@pytest.mark.parametrize("name", LONG)
def test_long_work_says_what_it_does_and_ends(name, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(progress, "display", lambda title: made.append(Recorder(title)) or made[-1])
    monkeypatch.chdir(tmp_path)
    release_layouts.mtt(tmp_path / "mtt")
    x, y = np.random.default_rng(0).integers(0, 256, (30, 3, 8, 8), dtype=np.uint8), np.arange(30) % 5
    np.savez("real.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    arguments, titles = LONG[name]
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
