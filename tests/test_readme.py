"""Every Python block of the README runs as written, and what it says of files is true."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dsetpack.cli import main

sys.path.insert(0, str(Path(__file__).parent))
from fast_recipe import FAST

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PACK = ROOT / "examples" / "packs" / "fashion-kfs-ipc1.dpk"


def test_there_are_the_two_commands_and_three_uses():
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    assert "pip install -c constraints.txt -e '.[all]' && dsetpack demo" in shell
    assert "pip install -c constraints.txt -e '.[dev]' && pytest" in shell
    assert len(BLOCKS) >= 3


def test_distil_and_evaluate_in_one_line(tmp_path, monkeypatch):
    line = next(line for line in README.splitlines() if line.startswith("dsetpack distill"))
    distil, evaluate = (command.split()[1:] for command in line.split(" && "))
    monkeypatch.chdir(tmp_path)
    x, y = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8), np.arange(40) % 2
    np.savez("my.npz", x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])
    for arguments in ([*distil, *FAST], [*evaluate, "--seeds", "1"]):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
    assert "10 test images" in done.output


def test_commands_and_options_exist():
    """Every ``dsetpack ...`` in the text is a command, and the options named with distill are its own."""
    named = set(re.findall(r"`dsetpack ([a-z]+)", README))
    assert named
    assert named <= set(main.list_commands(None))
    helped = CliRunner().invoke(main, ["distill", "--help"]).output
    for option in ("--method", "--preset", "--recipe"):
        assert f"`{option}" in README
        assert option in helped


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PACK, "demo.dpk")
    block = BLOCKS[number].replace(
        "pack.train(model, seed=0)", "pack.train(model, seed=0, steps=2)"
    )  # minutes otherwise
    exec(compile(block, f"README block {number}", "exec"), {})


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target
