"""A recipe in full without torch is the validated recipe, setting by setting."""

import json
import re
import subprocess
import sys

import pytest

from dsetpack.formats.errors import FormatError
from dsetpack.recipes.full import full_recipe
from dsetpack.recipes.tables import method_names, recipe_names
from dsetpack.trainers.recipe import as_json, load_recipe


@pytest.mark.parametrize("name", [*method_names(), *recipe_names()])
def test_every_recipe_is_shown_as_it_is_validated(name):
    assert json.dumps(full_recipe(name)) == json.dumps(as_json(load_recipe(name)))


def test_a_recipe_of_the_users(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "kfs-cpu"\nsiamese = "dsa"\n[parameterization]\npretrain = { steps = 7 }\n')
    assert full_recipe(path) == as_json(load_recipe(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed = 3", "no setting 'speed'; nearest is "),
        ("[objective]\nnetwork_count = 3", "no setting 'objective.network_count'; nearest is 'objective.network"),
        ("[parameterization.pretrain]\nstep = 3", "nearest is 'parameterization.pretrain.steps'"),
        ('[objective]\nname = "dmm"', "objective needs a 'name', one of dc, dm, frepo"),
    ],
)
def test_wrong_settings_are_named(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "kfs-cpu"\n{text}\n')
    with pytest.raises(FormatError, match=re.escape(message)):
        full_recipe(path)


def test_without_torch():
    code = "import sys; sys.modules['torch'] = None; from dsetpack.recipes.full import full_recipe; full_recipe('dim')"
    subprocess.run([sys.executable, "-c", code], check=True)
