"""Recipes of the papers' table rows: each fits its data, networks and budget, and says where its figure is from."""

import re

import pytest

from dsetpack.recipes.tables import method_names, recipe_names
from dsetpack.trainers.data import data_names
from dsetpack.trainers.networks import network
from dsetpack.trainers.recipe import load_recipe

SHAPES = {
    "mnist": ((1, 28, 28), 10),
    "fashion-mnist": ((1, 28, 28), 10),
    "svhn": ((3, 32, 32), 10),
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "tiny-imagenet": ((3, 64, 64), 200),
}
ROWS = tuple(name for name in recipe_names() if "-cpu-" not in name)
TABLES = "HaBa, Table [12347]|KFS, Table 1|DiM, Table [23]|ISA, Table [18]"
KNOWN = {
    "haba-cifar10-bpc9": 0.699,
    "haba-svhn-bpc1": 0.698,
    "haba-fashion-mnist-bpc49": 0.903,
    "haba-idc-cifar10-bpc50": 0.7531,
    "haba-dm-cifar10-bpc10": 0.5683,
    "kfs-svhn-ipc1": 0.829,
    "kfs-cifar100-ipc10": 0.506,
    "kfs-tiny-imagenet-ipc10": 0.278,
    "dim-cifar10-ipc50": 0.726,
    "dim-mnist-ipc1": 0.965,
    "isa-cifar100-ipc1": 0.312,
    "isa-tiny-imagenet-ipc10": 0.27,
    "dc-svhn-ipc10": 0.761,
    "dsa-fashion-mnist-ipc1": 0.706,
    "dm-cifar100-ipc50": 0.436,
    "mtt-cifar10-ipc10": 0.653,
    "idc-svhn-ipc1": 0.681,
    "frepo-mnist-ipc50": 0.992,
    "herding-cifar10-ipc10": 0.316,
    "k-center-mnist-ipc10": 0.844,
    "forgetting-svhn-ipc50": 0.272,
    "random-cifar100-ipc50": 0.3,
}
"""The first figure of each row, read from the papers by eye."""


@pytest.mark.parametrize(("name", "accuracy"), KNOWN.items())
def test_figures_are_the_papers(name, accuracy):
    assert load_recipe(name).figures[0].accuracy == accuracy


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_named_after_what_they_are(name):
    found = load_recipe(name)
    method, count = re.fullmatch(rf"(.+)-{found.data}-(?:ipc|bpc)(\d+)", name).groups()
    assert method == found.method
    assert method in method_names()
    assert int(count) == (found.ipc if "-ipc" in name else found.parameterization.sources)
    assert found.data in data_names()
    assert found.figures or name.startswith("kfs-fashion-mnist-")  # KFS reports no figures for it
    for figure in found.figures:
        assert re.fullmatch(f"(?:{TABLES})(?:; (?:{TABLES}))*", figure.source)


@pytest.mark.parametrize("name", ROWS)
def test_rows_fit_their_data(name):
    found = load_recipe(name)
    image, classes = SHAPES[found.data]
    budget = found.parameterization.budget(image, classes, found.ipc)
    assert (
        found.method == "dim" or 0.7 < budget.used / budget.allowed <= 1 + found.parameterization.over_parameterisation
    )
    for arch in {found.evaluation.arch, getattr(found.objective, "network", found.evaluation.arch)}:
        assert network(arch, image, classes, 2).features


def test_papers_count_one_basis_less_than_images():
    for name in ROWS:
        found = load_recipe(name)
        if found.method == "haba" and found.ipc in (10, 50):
            assert found.parameterization.sources == found.ipc - 1
