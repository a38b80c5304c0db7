"""Recipes as tables: names, bases, lengths by the number of images."""

import pytest

from dsetpack.formats.errors import FormatError
from dsetpack.recipes.tables import (
    FOLDER,
    length_for,
    lengths_of,
    merged,
    method_names,
    recipe_names,
    recipe_table,
)


def test_names_are_those_of_the_files():
    assert {"kfs-cifar10-ipc1", "haba-cifar10-bpc9"} <= set(recipe_names())
    assert {"kfs", "kfs-cpu"} <= set(method_names())
    assert len(recipe_names()) + len(method_names()) == len(list(FOLDER.rglob("*.toml"))) == 284


def test_a_table_is_merged_over_its_bases():
    table = recipe_table("dc-mnist-ipc10")
    assert table["evaluation"] == {"epochs": 1000, "milestones": [0.5], "gamma": 0.1}
    assert table["method"] == "dc"
    assert "base" not in table
    assert recipe_table("dc")["evaluation"]["epochs"] == 300


def test_a_change_by_name_drops_the_other_length():
    assert "epochs" not in recipe_table("dc", {"evaluation.steps": 5})["evaluation"]
    assert recipe_table("dc")["evaluation"]["epochs"] == 300, "shared tables stay as they are"


def test_one_that_names_another_thing_replaces_what_is_below():
    below = {"objective": {"name": "dm", "width": 3}, "evaluation": {"epochs": 3, "lr": 1}}
    assert merged(below, {"objective": {"name": "dc"}})["objective"] == {"name": "dc"}
    assert merged(below, {"objective": {"lr": 1}})["objective"] == {"name": "dm", "width": 3, "lr": 1}
    assert merged(below, {"evaluation": {"steps": 4}})["evaluation"] == {"lr": 1, "steps": 4}


@pytest.mark.parametrize(
    ("images", "steps", "batch"),
    [(1, 1000, 1), (10, 1000, 10), (11, 2000, 11), (100, 2000, 100), (200, 20_000, 200), (400, 5000, 400),
     (500, 5000, 500), (1000, 10_000, 500), (2000, 40_000, 500), (5000, 40_000, 500)],
)  # fmt: skip
def test_frepo_trains_as_long_as_its_release_says(images, steps, batch):
    """Its release's steps, and min(images, 500) images per batch."""
    assert length_for(lengths_of("frepo"), images) == {"steps": steps, "batch_size": batch}


def test_a_recipe_of_the_users_takes_its_length_from_the_number_of_images(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "frepo"\nimages = 20\n[evaluation]\nlr = 0.5\n')
    found = recipe_table(path)
    assert {"steps": 2000, "batch_size": 20, "lr": 0.5}.items() <= found["evaluation"].items()
    assert not {"images", "lengths"} & found.keys()
    for text in ('base = "dc"\nimages = 20\n', 'base = "frepo"\nimages = 0\n', 'base = "frepo"\nimages = true\n'):
        path.write_text(text)
        with pytest.raises(FormatError, match="a number of images and a base with 'lengths' expected"):
            recipe_table(path)
    assert recipe_table("frepo-cpu")["evaluation"]["steps"] == 500
    assert not lengths_of("dc")
