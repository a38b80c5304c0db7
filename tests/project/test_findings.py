"""``findings/``: every script has the form that ``findings/README.md`` asks for. None is run here."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))
FIELDS = ("Expected", "Happens", "Versions", "Source")
PINNED = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,]+\])?==[0-9][a-z0-9.]*")
OTHER_NAMES = {"avalanche": "avalanche-lib", "PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml"}
"""Modules whose package has another name."""


@pytest.fixture(params=SCRIPTS, ids=lambda path: path.stem)
def script(request):
    return request.param


def header(text: str) -> list[str]:
    """The comment at the top, without its marks."""
    lines = text.splitlines()[1:]
    end = next(n for n, line in enumerate(lines) if not line.startswith("#"))
    return [line.removeprefix("#").removeprefix(" ") for line in lines[:end]]


def requirements(text: str) -> list[str]:
    """What ``pip install`` is asked for."""
    commands = re.findall(r"pip install ((?:[^\n]*\\\n)*[^\n]*)", text)
    return [word for command in commands for word in command.replace("\\\n", " ").split() if word[0] != "-"]


def program(text: str) -> str:
    """The one Python program."""
    (found,) = re.findall(r"^venv/bin/python (?:-W ignore )?- << 'EOF'\n(.*?)^EOF$", text, re.DOTALL | re.MULTILINE)
    return found


def test_there_are_scripts_and_nothing_else():
    assert SCRIPTS
    assert {path.name for path in (ROOT / "findings").iterdir()} == {"README.md", *(path.name for path in SCRIPTS)}
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", path.stem) for path in SCRIPTS)


def test_bash_can_run_it(script):
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n")
    assert subprocess.run(["bash", "-n", script], capture_output=True, check=False).returncode == 0
    assert os.access(script, os.X_OK) or os.name == "nt"


def test_the_header_says_what_one_expects_and_what_happens(script):
    title, blank, *fields = header(script.read_text(encoding="utf-8"))
    assert re.fullmatch(r"[A-Za-z0-9_-]+: .+\.", title)
    assert blank == ""
    named = [match[1] for line in fields if (match := re.match(r"([A-Z][a-z]+):", line))]
    assert named == list(FIELDS)
    assert all(line.startswith((*FIELDS, "    ")) for line in fields)


def test_it_keeps_to_a_folder_and_an_environment_of_its_own(script):
    commands = script.read_text(encoding="utf-8").split("\nset -", 1)[1].split("<< 'EOF'")[0].splitlines()
    start = ["euo pipefail", "folder=$(mktemp -d)", "trap 'rm -rf \"$folder\"' EXIT", 'cd "$folder"']
    assert commands[:5] == [*start, "python3 -m venv venv"]
    text = script.read_text(encoding="utf-8")
    assert text.endswith("\nEOF\n")
    assert not re.search(r"(?<![\w.:/])/(home|root|tmp|work|mnt|opt|Users|var)\b|[A-Z]:\\", text)
    assert not re.search(r"://|\bcurl\b|\bwget\b|\bgit\b", "\n".join(commands))


def test_packages_are_pinned_and_all_named(script):
    text = script.read_text(encoding="utf-8")
    wanted = requirements(text)
    assert wanted
    assert [word for word in wanted if not PINNED.fullmatch(word)] == []
    nodes = list(ast.walk(ast.parse(program(text))))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    modules = {name.split(".")[0] for name in found} - sys.stdlib_module_names
    named = {re.split(r"[\[=]", word)[0].lower() for word in wanted}
    assert {OTHER_NAMES.get(name, name.lower().replace("_", "-")) for name in modules} <= named
    assert "dsetpack" not in text


def test_it_prints_what_it_sees_and_fails_if_that_changed(script):
    code = program(script.read_text(encoding="utf-8"))
    assert re.search(r"print\(.*version", code, re.IGNORECASE)
    assert 'sys.exit("changed: ' in code
