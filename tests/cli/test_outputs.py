"""Every command that writes: it keeps what it reads, and files of another kind. A new command must be in the table."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

import dsetpack
from dsetpack.cli import main
from dsetpack.cli.outputs import OutputPath
from tests.support.command_line import run
from tests.support.paths import KFS, SAMPLE

COMMANDS = {name: main.get_command(click.Context(main), name) for name in main.list_commands(click.Context(main))}
PATHS = {
    (name, str(param.name)): param
    for name, command in COMMANDS.items()
    for param in command.params
    if isinstance(param.type, click.Path)
}
INPUTS = {
    ("audit", "root"),
    ("convert", "root"),
    ("convert", "source"),
    ("convert", "zca"),
    ("distill", "cache"),  # a folder that keeps what several runs may use
    ("distill", "root"),
    ("eval", "root"),
    ("push", "file"),
    ("reproduce", "root"),
    ("score", "root"),
    ("sign", "file"),  # signed in place: that is what the command is for
    ("sign", "key"),
    ("unpack", "root"),
}
"""Parameters that name a path which is not an output: it is read, or changed in place."""


@dataclass(frozen=True)
class Case:
    """How a parameter makes a command write.

    Attributes:
        arguments: the rest of the command line; OUT stands for what is written.
        reads: the files among them that must stay as they are.
        name: the name of what is written.
        forced: whether ``--force`` can be tried: the command is quick.
    """

    arguments: str
    reads: tuple[str, ...] = ()
    name: str = "out.dpk"
    forced: bool = True


_CONVERT = "source.npz --labels labels.npy --classes 3 --lr none"
_EVAL = "pack.dpk --data test.npz --set steps=1 --width 2 --seeds 1"
OUTPUTS = {
    ("convert", "out"): Case(f"{_CONVERT} -o OUT", ("source.npz", "labels.npy")),
    ("distill", "out"): Case("--data data.npz --recipe mine.toml -o OUT", ("data.npz", "mine.toml")),
    ("card", "out"): Case("pack.dpk -o OUT", ("pack.dpk",), "card.md"),
    ("preview", "out"): Case("pack.dpk --rows 1 -o OUT", (), "grid.png"),
    ("edit", "out"): Case("pack.dpk --title Mine -o OUT"),
    ("export", "output"): Case("pack.dpk OUT", ("pack.dpk",), "out.onnx"),
    ("export", "out"): Case("pack.dpk -o OUT", ("pack.dpk",), "out.onnx"),
    ("eval", "record"): Case(f"{_EVAL} -o OUT", ("test.npz",)),
    ("score", "results"): Case("pack.dpk --data data.npz -o OUT", ("pack.dpk", "data.npz"), "kept.json", forced=False),
    ("demo", "out"): Case("--picture other.png -o OUT", forced=False),
    ("demo", "picture"): Case("-o other.dpk --picture OUT", (), "demo.png", forced=False),
    ("unpack", "folder"): Case("pack.dpk OUT", (), "folder", forced=False),
    ("unpack", "out"): Case("pack.dpk -o OUT", (), "folder", forced=False),
    ("keygen", "key"): Case("OUT", (), "a.key", forced=False),
    ("keygen", "out"): Case("-o OUT", (), "a.key", forced=False),
    ("pull", "out"): Case("you/demo -o OUT", forced=False),  # forced in tests/test_hub.py
}
READS = [(key, read) for key, case in OUTPUTS.items() for read in case.reads]
FORCED = [key for key, case in OUTPUTS.items() if case.forced]


def ids(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """The current folder, with all that the commands read."""
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    labels = np.arange(6) % 3
    np.savez(tmp_path / "source.npz", images=images, labels=labels)
    np.save(tmp_path / "labels.npy", labels)
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    (tmp_path / "mine.toml").write_text('base = "random-cpu"\n')
    recipe, classes = dsetpack.Recipe(steps=1, batch_size=8, lr=0.01), dsetpack.open(SAMPLE).card.classes
    pixels = np.random.default_rng(1).integers(0, 256, (20, 1, 28, 28), dtype=np.uint8)
    dsetpack.Pack.from_arrays(pixels, np.arange(20) % 10, classes=classes, recipe=recipe).save(tmp_path / "pack.dpk")
    test = {"x_test": pixels, "y_test": np.arange(20) % 10}
    np.savez(tmp_path / "test.npz", x_train=pixels, y_train=np.arange(20) % 10, classes=np.array(classes), **test)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(key: tuple[str, str], out: object, *more: str) -> list[str]:
    return [key[0], *(str(out) if word == "OUT" else word for word in OUTPUTS[key].arguments.split()), *more]


def test_every_path_of_every_command_is_known():
    written = {key for key, param in PATHS.items() if isinstance(param.type, OutputPath)}
    assert written == set(OUTPUTS)
    assert set(PATHS) - written == INPUTS


@pytest.mark.parametrize("name", sorted({name for name, _ in OUTPUTS}))
def test_every_command_that_writes_takes_out(name):
    [option] = [param for param in COMMANDS[name].params if {"-o", "--out"} <= set(param.opts)]
    assert isinstance(option.type, OutputPath)


def test_no_command_takes_paths_in_another_way():
    """Text that a command takes as it is: packs may be URLs, repositories and recipes have names."""
    text = [(name, param) for name, command in COMMANDS.items() for param in command.params]
    plain = {str(p.name) for _, p in text if isinstance(p, click.Argument) and not isinstance(p.type, click.Path)}
    assert plain == {"a", "b", "file", "name", "repository"}
    assert all(isinstance(p.type, OutputPath) for _, p in text if {"-o", "--out"} & {*p.opts, *p.secondary_opts})


@pytest.mark.parametrize(("key", "read"), READS, ids=ids)
@pytest.mark.parametrize("by", ["its name", "a symbolic link", "a hard link"])
def test_what_is_read_stays(key, read, by, place):
    out, before = Path(read), Path(read).read_bytes()
    if by != "its name":
        out = Path(f"link-{OUTPUTS[key].name}")
        out.symlink_to(place / read) if by == "a symbolic link" else os.link(read, out)
    forces = [[], ["--force"]] if any(param.name == "force" for param in COMMANDS[key[0]].params) else [[]]
    for more in forces:
        assert "it is what is read here" in run(*arguments(key, out, *more), expect=1)
    assert Path(read).read_bytes() == before


@pytest.mark.parametrize("key", FORCED, ids=ids)
def test_a_file_of_another_kind_is_replaced_only_by_force(key, place):
    out = Path(OUTPUTS[key].name)
    out.write_bytes(b"somebody's work of months")
    present = {path.name for path in place.iterdir()}
    assert "there already, and not a" in run(*arguments(key, out), expect=1).lower().replace("croissant", "a")
    assert out.read_bytes() == b"somebody's work of months"
    assert {path.name for path in place.iterdir()} == present
    run(*arguments(key, out, "--force"))
    first = out.read_bytes()
    assert len(first) > 200
    run(*arguments(key, out))  # of its own kind
    assert len(out.read_bytes()) > 200
    out.write_bytes(b"")
    run(*arguments(key, out))
    assert len(out.read_bytes()) > 200


@pytest.mark.parametrize("key", OUTPUTS, ids=ids)
def test_a_dash_is_no_file(key, place):
    present = {path.name for path in place.iterdir()}
    if key == ("card", "out"):
        assert run(*arguments(key, "-")) == run("card", "pack.dpk")
    else:
        assert "the result cannot be printed" in run(*arguments(key, "-"), expect=2)
    assert {path.name for path in place.iterdir()} == present


def test_kinds_are_told_apart_by_content(place):
    """One after the other over the same file: each kind is another's work."""
    run("card", "pack.dpk", "-o", "x")
    assert "not Croissant metadata" in run("card", "pack.dpk", "--croissant", "-o", "x", expect=1)
    run("card", "pack.dpk", "--croissant", "-o", "x", "--force")
    run("card", "pack.dpk", "--croissant", "-o", "x")
    assert "not a card that dsetpack wrote" in run("card", "pack.dpk", "-o", "x", expect=1)
    assert "not a model that dsetpack exported" in run("export", "pack.dpk", "x", expect=1)
    run("preview", "pack.dpk", "-o", "x.html")
    run("preview", "pack.dpk", "-o", "x.html")
    shutil.copy("x.html", "x.png")
    assert "not a PNG image" in run("preview", "pack.dpk", "-o", "x.png", expect=1)


def test_a_model_is_not_replaced_by_a_card(place):
    run("export", "pack.dpk", "s.onnx")
    before = Path("s.onnx").read_bytes()
    assert "s.onnx: there already, and not a card" in run("card", "pack.dpk", "-o", "s.onnx", expect=1)
    assert Path("s.onnx").read_bytes() == before


def test_nothing_is_written_into_a_folder_that_is_read(place):
    run("unpack", "pack.dpk", "images")
    before = sorted(path.name for path in Path("images").rglob("*"))
    for out in ("images/x.dpk", "images/labels.csv"):
        for more in ([], ["--force"]):
            assert "it lies in the folder that is read here" in run("convert", "images", "-o", out, *more, expect=1)
    assert "lies in the folder" in run("distill", "--data", "images", "-o", "images/x.dpk", expect=1)
    assert "lies in the folder" in run("eval", "pack.dpk", "--data", "images", "-o", "images/x.dpk", expect=1)
    assert "lies in the folder" in run("unpack", "pack.dpk", "images/new", "--data", "images", expect=1)
    assert sorted(path.name for path in Path("images").rglob("*")) == before


def test_what_lies_beside_the_source_and_is_read_with_it(place):
    import torch

    torch.save(torch.rand(6, 1, 8, 8), "images_best.pt")
    torch.save(torch.arange(6) % 3, "labels_best.pt")
    before = Path("labels_best.pt").read_bytes()
    line = ["convert", "images_best.pt", "--space", "raw", "--lr", "none", "-o", "labels_best.pt", "--force"]
    assert "it is what is read here" in run(*line, expect=1)
    assert Path("labels_best.pt").read_bytes() == before


@pytest.mark.parametrize("by", ["its name", "a hard link"])
def test_labels_named_with_their_rule(by, place):
    out = Path("soft.npy")
    np.save(out, np.random.default_rng(0).random((6, 3), dtype=np.float32))
    before = out.read_bytes()
    line = ["convert", "source.npz", "--labels", "soft.npy:Softmax", "--lr", "none"]
    if by == "a hard link":
        out = Path("other")
        os.link("soft.npy", out)
    for more in ([], ["--force"]):
        assert "it is what is read here (soft.npy)" in run(*line, "-o", out, *more, expect=1)
    assert Path("soft.npy").read_bytes() == before
    assert "soft labels" in run(*line, "-o", "soft.dpk")


def test_what_a_recipe_is_based_on(place):
    Path("own.toml").write_text('base = "mine.toml"\n')
    before = Path("mine.toml").read_bytes()
    for line in (
        ["distill", "--data", "data.npz", "--recipe", "own.toml"],
        ["convert", "source.npz", "--labels", "labels.npy", "--recipe", "own.toml"],
    ):
        assert "it is what is read here (mine.toml)" in run(*line, "-o", "mine.toml", "--force", expect=1)
    assert Path("mine.toml").read_bytes() == before


def test_a_network_of_ones_own(place):
    Path("own").mkdir()
    Path("own/net.py").write_text("from torch.nn import Linear\n")
    line = ["eval", *_EVAL.split(), "--arch", "own.net:Linear", "-o", "own/net.py", "--force"]
    assert "it is what is read here (own/net.py)" in run(*line, expect=1)


def test_nothing_is_kept_in_a_folder_that_is_read(place):
    run("unpack", "pack.dpk", "x.dpk.run")
    before = sorted(path.name for path in Path("x.dpk.run").rglob("*"))
    line = ["distill", "--data", "x.dpk.run", "--recipe", "mine.toml", "-o"]
    assert "x.dpk.run: it is what is read here" in run(*line, "x.dpk", expect=1)
    assert "lies in the folder" in run(*line, "y.dpk", "--cache", "x.dpk.run/cache", expect=1)
    assert sorted(path.name for path in Path("x.dpk.run").rglob("*")) == before


def test_a_folder_of_data_sets_keeps_its_files_by_force_too(place):
    """The files of a data set by name are somewhere under ``--root``."""
    images = place / "all" / "mnist" / "train-images-idx3-ubyte"
    images.parent.mkdir(parents=True)
    images.write_bytes(b"images")
    line = ["distill", "--data", "mnist", "--root", "all", "-o", images]
    assert "not a pack" in run(*line, expect=1)
    assert "it lies in the folder that is read here" in run(*line, "--force", expect=1)
    assert images.read_bytes() == b"images"


def test_the_sample_that_ships_is_kept():
    before = SAMPLE.read_bytes()
    for line in (["distill", "--data", "fashion-sample"], ["demo"]):
        assert "it lies in the folder that is read here" in run(*line, "-o", SAMPLE, expect=1)
    assert SAMPLE.read_bytes() == before


def test_a_pack_takes_its_own_results_in_place(place):
    assert "the result in its card" in run("eval", *_EVAL.split(), "--record", "pack.dpk")
    assert len(dsetpack.open("pack.dpk").card.metrics) == 1


def test_one_output_by_one_name(place):
    for name, what in (("export", "OUTPUT"), ("unpack", "DIR")):
        assert f"{what} and --out mean the same" in run(name, KFS, "a", "-o", "b", expect=2)
        assert f"Missing argument '{what}'" in run(name, KFS, expect=2)
    assert "name the same file" in run("demo", "-o", "x.png", "--picture", "./x.png", expect=2)


def test_a_pack_is_saved_over_its_own_file(place):
    """In Python, whoever names a file means it."""
    pack = dsetpack.open("pack.dpk")
    images = pack.decode([3, 0])[0]
    assert pack.save("pack.dpk") == Path("pack.dpk").stat().st_size
    assert pack.decode([3, 0])[0].equal(images)
    assert dsetpack.open("pack.dpk").decode([3, 0])[0].equal(images)


def test_a_symbolic_link_stays_and_its_target_is_replaced(place):
    Path("old.md").touch()
    Path("link.md").symlink_to("old.md")
    run("card", "pack.dpk", "-o", "link.md")
    assert Path("link.md").is_symlink()
    assert Path("old.md").read_text(encoding="utf-8") == run("card", "pack.dpk")


def test_a_damaged_command_line_writes_nothing():
    done = CliRunner().invoke(main, ["keygen"])
    assert done.exit_code == 2
    assert "Missing argument 'KEY'" in done.output
