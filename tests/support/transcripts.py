"""Runs the console blocks of docs/transcripts.md: each line after ``$`` is a command, and what follows is its output.

``python -m tests.support.transcripts`` runs all commands and writes what they print into the page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image

from dsetpack.convert import published
from dsetpack.formats.card import NormalizedSpace
from dsetpack.spaces import Normalized
from dsetpack.trainers.data import load
from tests.support.paths import DOCS, KFS, ROOT

PAGE = DOCS / "transcripts.md"
_SECTION = re.compile(r"^## (.+?)$\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.+(?:\n> .+)*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """The page's sections by heading."""
    return {match[1]: match[2] for match in _SECTION.finditer(text)}


def commands(section: str) -> list[tuple[str, str]]:
    """The commands of a section with the output that the page shows."""
    return [(m[1], m[2]) for block in _BLOCK.findall(section) for m in _COMMAND.finditer(block)]


def prepare(folder: Path) -> None:
    """Put what the three people have into their folder: a condensed set, photos, and a pack."""
    data = load("fashion-sample")
    chosen = data.draw(10, seed=0)
    known = published("fashion-mnist")
    space = Normalized(NormalizedSpace(mean=known.mean, std=known.std))
    pair = [space.apply(data.raw(chosen)), data.labels[chosen]]
    torch.save({"data": [pair], "accs_all_exps": {"ConvNet": []}}, folder / "res_DM_FashionMNIST_ConvNet_10ipc.pt")
    for number in data.draw(60, seed=1).tolist():
        name = data.classes[int(data.labels[number])].replace("/", "-")
        (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.images[number, 0].numpy()).save(folder / "photos" / name / f"{number:05}.png")
    shutil.copy(KFS, folder / "received.dpk")
    for example in ("replay_buffer.py", "read_a_pack.py"):
        shutil.copy(ROOT / "examples" / example, folder)


def environment(folder: Path, torch_installed: bool) -> dict[str, str]:
    """The variables of a shell that has ``dsetpack`` and ``python``, with or without torch, and no terminal."""
    paths = [str(ROOT)]
    if not torch_installed:
        missing = folder / "missing"
        missing.mkdir()
        (missing / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
        paths.insert(0, str(missing))
    tools = folder / "bin"
    tools.mkdir()
    for name, arguments in (("python", ""), ("dsetpack", "-m dsetpack ")):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        tool.chmod(0o755)
    return os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths),
        "COLUMNS": "110",
        "OMP_NUM_THREADS": "1",
    }


def run(section: str, folder: Path) -> list[tuple[str, str]]:
    """Run a section's commands in order; return each with what it printed.

    Raises:
        AssertionError: if a command fails.
    """
    here = folder / "here"
    here.mkdir()
    prepare(here)
    variables = environment(folder, torch_installed="without torch" not in section)
    found = []
    for command, _ in commands(section):
        done = subprocess.run(
            ["bash", "-c", command.replace("\n> ", "\n")],
            cwd=here,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        found.append((command, done.stdout.replace(f"{here}/", "")))
    return found


def masked(output: str) -> str:
    """What must be the same on every machine: words without digests, numbers, bars and the widths of columns.

    A slow machine also prints signs of life, such as ``preview (5 s so far)``; they are left out.
    """
    text = re.sub(r"^.* (so far|left)\)\n", "", output, flags=re.MULTILINE)
    text = re.sub(r"\b[0-9a-f]{16,}\b", "D", text)
    text = re.sub(r"\d[\d,.:]*", "N", text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def main() -> None:
    """Write the outputs of today into the page."""
    import tempfile

    text = PAGE.read_text(encoding="utf-8")
    for title, section in sections(text).items():
        if not commands(section):
            continue
        with tempfile.TemporaryDirectory() as folder:
            outputs = iter(run(section, Path(folder)))

        def filled(block: re.Match[str], outputs=outputs) -> str:  # type: ignore[no-untyped-def]
            return _COMMAND.sub(lambda m: "$ {}\n{}".format(*next(outputs)), block[0])

        text = text.replace(section, _BLOCK.sub(filled, section))
        print(f"{title}: done")
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
