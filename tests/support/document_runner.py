"""Runs the code of a Markdown page as a reader would, block by block, in a folder with a ``demo.dpk``.

- ``python``: executed, each block on its own. A block that begins with ``# dsetpack/...py`` is a file of the
  package: it is put where a reader would put it.
- ``toml``: a block that begins with ``# NAME.toml`` is written to the folder.
- ``sh``: its ``dsetpack`` commands are run; those that need minutes, a GPU or whole data sets are only parsed, which
  checks that their options exist. Other programs are not run.
- ``text`` or no language: not code. ``<!-- not run: REASON -->`` before a block excludes it.
"""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from click.testing import CliRunner

from dsetpack.cli import main
from dsetpack.formats.by_name import by_name
from dsetpack.training.train import train
from tests.support import release_layouts
from tests.support.fast_recipe import FAST
from tests.support.paths import DOCS, KFS, ROOT

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```(?P<kind>\w*)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r"# ((?:formats|dsetpack|trainers)/[\w/]+\.py|[\w-]+\.toml)\n")
STEPS = 2


@dataclass(frozen=True)
class Block:
    """One block of code: its language, its text, and the line it begins on."""

    kind: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are code and not excluded."""
    text = page.read_text(encoding="utf-8")
    found = [m for m in _BLOCK.finditer(text) if m["why"] is None and m["kind"] in ("python", "sh", "toml")]
    return [Block(m["kind"], m["code"], text.count("\n", 0, m.start("code")) + 1) for m in found]


def excluded(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page that are not run, each as the reason and the code."""
    return [(m["why"], m["code"]) for m in _BLOCK.finditer(page.read_text(encoding="utf-8")) if m["why"]]


def prepare(folder: Path) -> None:
    """Create what the pages assume: a pack, a user's own images, and files that other projects released."""
    shutil.copy(KFS, folder / "demo.dpk")
    x, y = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8), np.arange(40) % 2
    np.savez(folder / "my.npz", x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])
    release_layouts.haba(folder / "haba_run")
    release_layouts.dc(folder / "res_DSA_CIFAR10_ConvNet_10ipc.pt", classes=10)
    release_layouts.idc(folder / "results" / "cifar10" / "run_factor2" / "ipc10", classes=10)


def run_page(page: Path, folder: Path, monkeypatch: Any) -> None:
    """Run all blocks of a page in order; errors name the page and the line."""
    few = lambda *args, **given: train(*args, **{**given, "steps": min(STEPS, given.get("steps") or STEPS)})  # noqa: E731
    monkeypatch.setattr("dsetpack.pack.pack.train", few)
    monkeypatch.chdir(folder)
    prepare(folder)
    with overlay(folder / "package") as add:
        for block in blocks(page):
            place = f"{page.name}:{block.line}"
            if match := _FILE.match(block.code):
                add(match[1], block.code) if match[1].endswith(".py") else (folder / match[1]).write_text(block.code)
            elif block.kind == "python":
                exec(compile("\n" * block.line + block.code, str(page), "exec"), {"__name__": "__main__"})
            elif block.kind == "sh":
                for command in commands(block.code):
                    run_command(command, place)


def commands(code: str) -> Iterator[list[str]]:
    """The arguments of each ``dsetpack`` command of a shell block, without comments."""
    for line in code.replace("\\\n", " ").splitlines():
        for piece in re.split(r"&&|\|\||;", line):
            words = shlex.split(piece, comments=True)
            while words and re.fullmatch(r"\w+=.*", words[0]):
                words = words[1:]
            if words and words[0] == "torchrun":
                words = words[words.index("-m") + 1 :]
            if words and words[0] == "dsetpack":
                yield words[1:]


def run_command(arguments: list[str], place: str) -> None:
    """Run one command, shortened if it would take minutes, or only parse it."""
    name, *rest = arguments
    command = main.get_command(None, name)
    assert command is not None, f"{place}: no command 'dsetpack {name}'"
    if name == "demo" or {"--root", "cuda"} & set(rest):
        command.make_context(name, list(rest), resilient_parsing=False)
        return
    done = CliRunner().invoke(main, [name, *rest, *_shorter(command, name, rest)])
    assert done.exit_code == 0, f"{place}: dsetpack {shlex.join(arguments)}\n{done.output}"


def _shorter(command: click.Command, name: str, rest: list[str]) -> list[str]:
    if name == "distill" and "--recipe" not in rest:
        return FAST
    return ["--seeds", "1"] if name == "eval" and "--seeds" not in rest else []


@contextmanager
def overlay(folder: Path) -> Iterator[Any]:
    """Make files of a page modules of the package until the page ends."""
    packages = {
        "dsetpack/formats/kinds": "dsetpack.formats.kinds",
        "dsetpack/formats/encodings": "dsetpack.formats.encodings",
        "dsetpack/decoders": "dsetpack.decoders",
        "dsetpack/trainers/objectives": "dsetpack.trainers.objectives",
        "dsetpack/trainers/parameterizations": "dsetpack.trainers.parameterizations",
    }
    modules = {where: importlib.import_module(name) for where, name in packages.items()}

    def forget() -> None:
        by_name.cache_clear()
        importlib.invalidate_caches()

    def add(path: str, code: str) -> None:
        parent = str(Path(path).parent)
        assert parent in modules, f"{path}: files are found by name only in {', '.join(modules)}"
        assert not (ROOT / path).exists(), f"{path}: it is there already"
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(code, encoding="utf-8")
        if str(target.parent) not in modules[parent].__path__:
            modules[parent].__path__.append(str(target.parent))
        forget()

    try:
        yield add
    finally:
        for where, module in modules.items():
            if (added := str(folder / where)) in module.__path__:
                module.__path__.remove(added)
                for path in Path(added).glob("*.py"):
                    sys.modules.pop(f"{module.__name__}.{path.stem}", None)
                    vars(module).pop(path.stem, None)
        forget()
