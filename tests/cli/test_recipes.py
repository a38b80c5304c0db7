"""``dsetpack recipes``: the shipped recipes as a table, as JSON, and one in full."""

from __future__ import annotations

import json
import subprocess
import sys

from dsetpack.recipes.tables import method_names, recipe_names
from dsetpack.trainers.recipe import as_json, load_recipe
from tests.support.command_line import run

NAMES = (*method_names(), *recipe_names())


def test_the_table_has_a_row_for_every_recipe():
    rows = [line.split() for line in run("recipes").splitlines()]
    assert rows[0][:3] == ["recipe", "data", "IPC"]
    assert [row[0] for row in rows[1:] if row[0] in NAMES] == list(NAMES)  # a narrow terminal wraps long rows


def test_json_holds_every_recipe():
    found = json.loads(run("recipes", "--json"))
    assert list(found) == list(NAMES)
    assert all(made["method"] for made in found.values())


def test_one_recipe_is_shown_in_full():
    every = json.loads(run("recipes", "--json"))
    for name in NAMES[:2]:
        assert json.loads(run("recipes", name)) == every[name] == as_json(load_recipe(name))


def test_an_unknown_recipe_is_one_clear_error():
    assert "no-such-recipe" in run("recipes", "no-such-recipe", expect=1)


def test_torch_is_never_needed():
    calls = ([], ["--json"], ["kfs-cifar10-ipc1"], ["--help"])
    code = (
        "import sys; sys.modules['torch'] = None\nfrom dsetpack.cli import main\n"
        f"for call in {calls}: main(['recipes', *call], standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kfs-cifar10-ipc1" in done.stdout
