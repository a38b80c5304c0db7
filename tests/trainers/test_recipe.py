"""Recipes: bases and merging, changes by name, mistakes that name the nearest setting, pairs that make no sense."""

from pathlib import Path

import pytest

from dsetpack.formats.errors import FormatError
from dsetpack.recipes.tables import method_names, recipe_names
from dsetpack.trainers.recipe import for_data, load_recipe

SHIPPED = (*method_names(), *recipe_names())


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_is_valid(name):
    found = load_recipe(name)
    assert found.parameterization.name
    for dotted in found.inferred:
        place = found.model_dump()
        for key in dotted.split("."):
            assert key in place, f"{name}: inferred {dotted!r} is no setting"
            place = place[key]


def test_rows_name_their_data_and_methods_serve_any():
    assert all(load_recipe(name).data for name in recipe_names())
    assert not any(load_recipe(name).data for name in method_names())


def test_a_recipe_of_the_users_starts_from_a_shipped_one(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "kfs-cpu"\nipc = 3\n[schedule]\nsteps = 7\n[evaluation]\nepochs = 5\n')
    mine, base = load_recipe(path), load_recipe("kfs-cpu")
    assert (mine.ipc, mine.schedule.steps, mine.schedule.milestones) == (3, 7, base.schedule.milestones)
    assert (mine.evaluation.epochs, mine.evaluation.steps) == (5, None)
    assert mine.parameterization == base.parameterization
    assert load_recipe(path, {"schedule.steps": 9}).schedule.steps == 9
    assert base == load_recipe("kfs-cpu")


def test_another_objective_replaces_the_table_below(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "kfs-cpu"\n[objective]\nname = "dc"\n')
    assert load_recipe(path).objective == type(load_recipe(path).objective)()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameterization.decoder": 3}, "setting 'parameterization.decoder'; nearest is 'parameterization.decoders'"),
        ({"schedule.step": 3}, "no setting 'schedule.step'; nearest is 'schedule.steps'"),
        ({"parameterization.pretrain.step": 3}, "nearest is 'parameterization.pretrain.steps'"),
        ({"networks": 3}, "no setting 'networks'; nearest is 'objective.networks'"),
        ({"parameterization.noise": "loud"}, r"setting parameterization.noise: .*\(found 'loud'\)"),
        ({"parameterization.name": "kvs"}, "no parameterization 'kvs'; nearest is 'kfs'"),
        ({"objective.name": "dmm"}, "no objective 'dmm'; nearest is 'dm'"),
        ({"method.name": 1}, "'method' has no settings inside"),
        ({"schedule": None}, "an objective needs a schedule"),
        ({"siamese": "autoaugment"}, "setting siamese"),
        ({"adversary.lr": 0.1}, "an adversary needs an objective and hallucinators; the parameterization is kfs"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(FormatError, match=message):
        load_recipe("kfs-cpu", changes)


def test_files_that_are_no_recipes(tmp_path):
    path = tmp_path / "x.toml"
    for text, message in (
        ("a = [", "not a readable recipe"),
        ('method = "x"', "needs a table 'parameterization'"),
        ("[parameterization]\nlr = 1", "parameterization needs a 'name', one of"),
        ('base = "kvs"', "no recipe 'kvs'; nearest is 'kfs'"),
        ("base = 3", r"\.toml: base is 3; the name of a recipe expected"),
    ):
        path.write_text(text)
        with pytest.raises(FormatError, match=message):
            load_recipe(path)
    with pytest.raises(FormatError, match="not a readable recipe"):
        load_recipe(tmp_path / "missing.toml")
    with pytest.raises(FormatError, match="no recipe"):
        load_recipe("../methods/kfs")


def test_digits_are_not_mirrored_and_a_card_has_one_length():
    assert "flip" in for_data(load_recipe("kfs-cpu"), "fashion-mnist").augmentation.ops
    assert "flip" not in for_data(load_recipe("kfs-cpu"), "mnist").augmentation.ops
    changed = load_recipe("kfs", {"evaluation.steps": 30}).evaluation
    assert (changed.steps, changed.epochs) == (30, None)
    assert load_recipe("kfs", {"augmentation": "none"}).augmentation is None


def test_a_recipe_is_not_its_own_base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, base in {"one": "one", "two": "three", "three": "two"}.items():
        Path(f"{name}.toml").write_text(f'base = "{base}.toml"\n')
    for name in ("one", "two"):
        with pytest.raises(FormatError, match=f"{name}.toml: its base is, by way of others or at once, itself"):
            load_recipe(f"{name}.toml")
