"""The lower bounds that `.ci/integration lowest` installs: each dependency has one, at most what is tested."""

from __future__ import annotations

import subprocess
import sys

from tests.support.paths import ROOT


def pins(text: str) -> dict[str, tuple[int, ...]]:
    lines = [line for line in text.splitlines() if line and line[0] != "#"]
    return {name: tuple(map(int, version.split("."))) for name, version in (line.split("==") for line in lines)}


def lowest(*extras: str) -> dict[str, tuple[int, ...]]:
    command = [sys.executable, str(ROOT / ".ci" / "lowest.py"), *extras]
    return pins(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_each_bound_is_at_most_the_version_that_is_tested():
    tested = pins((ROOT / "constraints.txt").read_text(encoding="utf-8").replace("huggingface_hub", "huggingface-hub"))
    tested["setuptools"] = (77, 0, 1)  # it has no constraint
    found = lowest("all", "dev", "docs")
    assert set(found) <= set(tested)
    assert {name: bound for name, bound in found.items() if bound > tested[name]} == {}


def test_an_extra_raises_the_bounds_that_it_needs():
    assert lowest()["click"] < lowest("hub")["click"] == lowest("all")["click"]
    assert "pytest" not in lowest()
