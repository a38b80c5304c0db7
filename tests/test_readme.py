"""Every Python block of the README runs as written, and what it says of files is true."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PACK = ROOT / "examples" / "packs" / "fashion-kfs-ipc1.dpk"


def test_there_are_the_two_commands_and_three_uses():
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    assert "pip install -c constraints.txt -e '.[all]' && dsetpack demo" in shell
    assert "pip install -c constraints.txt -e '.[dev]' && pytest" in shell
    assert len(BLOCKS) >= 3


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
