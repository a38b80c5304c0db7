"""The card of a converted set trains as the shipped recipe of its method, data and size says."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch

from dsetpack import Normalized, NormalizedSpace
from dsetpack.convert import convert
from dsetpack.formats import FormatError
from dsetpack.formats.notices import Notice
from dsetpack.trainers.recipe import for_data, load_recipe
from tests.support import release_layouts as made
from tests.support.bad_sources import refused

SPACE = Normalized(NormalizedSpace(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)))
GREY = Normalized(NormalizedSpace(mean=(0.1307,), std=(0.3081,)))
pytestmark = pytest.mark.usefixtures("one_thread")


def silent(path, **options):
    """Convert, and fail if anything had to be decided for the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        return convert(path, **{"space": SPACE, **options})


@pytest.mark.parametrize("name", made.ROWS)
def test_every_row_is_converted_with_its_own_recipe(tmp_path, name):
    """Every method × data set × budget with a recipe: the files of its release get that recipe's training."""
    row = made.ROWS[name]
    path, said = made.row(tmp_path, name)
    known = for_data(load_recipe(name), row.data)
    learned = hasattr(known.objective, "lr_lr")
    space = None if row.method == "idc" else GREY if "mnist" in row.data else SPACE
    pack = convert(path, space=space, lr=0.123 if learned else None, **said)
    assert pack.card.recipe == known.evaluation.model_copy(update={"lr": 0.123} if learned else {})
    assert pack.card.augmentation == known.augmentation
    assert pack.card.provenance.method == row.method
    assert pack.card.provenance.settings["converted"]["recipe"] == name


def test_mnist_by_dc_trains_as_its_release(tmp_path):
    """1000 epochs with crop, scale and rotate, not 300 without: 92.5% instead of 87.0% on a real file."""
    made.dc(tmp_path / "res_DC_MNIST_ConvNet_2ipc.pt", 1)
    card = silent(tmp_path / "res_DC_MNIST_ConvNet_2ipc.pt", dataset="mnist", classes=5).card
    assert card.recipe.epochs == 1000
    assert (card.augmentation.ops, card.augmentation.rotate) == (("crop", "scale", "rotate"), 45.0)


@pytest.mark.parametrize(
    "name",
    ["res_DC_MNIST_ConvNet_1ipc.pt", "old_res_DC_MNIST_ConvNet_10ipc.pt", "res_DC_MNIST_ConvNet_10ipc (1).pt",
     "mnist-dc.pth", "DC_MNIST.pt", "set_of_dc.pt", "dc.pt"],
)  # fmt: skip
def test_names_in_the_wild(tmp_path, name):
    made.dc(tmp_path / name, 1, classes=10)
    card = silent(tmp_path / name, dataset="mnist").card
    assert (card.provenance.method, card.recipe.epochs) == ("dc", 1000)


@pytest.mark.parametrize("name", ["result.pt", "data_mnist.pt", "dcgan.pt", "res_DC_and_DM.pt"])
def test_a_result_whose_name_does_not_say_the_method(tmp_path, name):
    """DC trains MNIST otherwise than DSA and DM: neither is guessed."""
    made.dc(tmp_path / name, 1, classes=10)
    refused(tmp_path / name, name, "DC, DSA or DM", "--method dc, dsa or dm")
    assert convert(tmp_path / name, space=SPACE, lr="none").card.recipe is None
    for method, epochs in {"dc": 300, "DSA": 1000, "dm": 1000}.items():
        card = silent(tmp_path / name, method=method, dataset="cifar10").card
        assert (card.provenance.method, card.recipe.epochs) == (method.lower(), epochs)
    card = silent(tmp_path / name, recipe="dc-mnist-ipc1", dataset="mnist").card
    assert (card.provenance.method, card.recipe.epochs) == ("dc", 1000)
    assert card.provenance.settings["converted"]["declared"]["recipe"] == "dc-mnist-ipc1"


def test_the_data_in_the_name_choose_the_recipe_and_that_is_said(tmp_path):
    for name, data, epochs in (
        ("res_DC_MNIST_ConvNet_1ipc.pt", "mnist", 1000),
        ("res_DC_FashionMNIST_ConvNet_1ipc.pt", "fashion-mnist", 300),
        ("res_DC_TinyImageNet_ConvNet_1ipc.pt", "tiny-imagenet", 300),
        ("res_DC_CIFAR100_ConvNet_1ipc.pt", "cifar100", 300),
    ):
        made.dc(tmp_path / name, 1, classes=10)
        with pytest.warns(Notice, match=f"trains as on {data}, by its name; pass dataset="):
            card = convert(tmp_path / name, space=SPACE).card
        assert (card.recipe.epochs, card.provenance.dataset) == (epochs, None)
    made.dc(tmp_path / "res_DC_birds_ConvNet_1ipc.pt", 1)
    with pytest.warns(Notice, match=r"trains as dc does on most data; pass dataset= \(--dataset\)"):
        convert(tmp_path / "res_DC_birds_ConvNet_1ipc.pt", space=SPACE)


def test_accuracies_in_the_file_are_the_releases_claim(tmp_path):
    path = tmp_path / "res_DM_CIFAR10_ConvNet_2ipc.pt"
    sets = made.dc(path, 2, classes=10)
    accuracies = {
        "ConvNet": [np.float64(0.5), np.float32(0.75), np.float16(0.25), 0.25],
        "VGG11": [np.float64(50.0), np.float64(51.0)],  # no fractions
        "LeNet": [np.float64(0.5)] * 3,  # not as many for each set
        "MLP": [np.int64(1), np.dtype(">f8").type(0.5)],
    }
    torch.save({"data": [list(pair) for pair in sets], "accs_all_exps": accuracies}, path)
    first, second = (silent(path, experiment=n, dataset="cifar10").card for n in (0, 1))
    assert first.extra["claimed"] == [
        {"accuracy": 0.625, "std": 0.125, "seeds": 2, "arch": "ConvNet"},
        {"accuracy": 1.0, "seeds": 1, "arch": "MLP"},
    ]
    assert [one["accuracy"] for one in second.extra["claimed"]] == [0.25, 0.5]
    assert first.metrics == ()
    made.mtt(tmp_path / "mtt", classes=10)
    assert convert(tmp_path / "mtt", space=SPACE, lr=1.0).card.extra == {}


def test_a_method_without_a_recipe(tmp_path):
    made.mtt(tmp_path / "mtt", classes=10)
    with pytest.warns(Notice, match=r"no recipe is shipped for method 'FTD': the card trains as mtt does"):
        card = convert(tmp_path / "mtt", space=SPACE, lr=0.02, method="FTD", dataset="cifar10").card
    assert (card.provenance.method, card.recipe.lr, card.recipe.epochs) == ("FTD", 0.02, 1000)
    torch.save([made.noise(10, 3, 8, 8), torch.arange(10)], tmp_path / "plain.pt")
    with pytest.warns(Notice, match="the card has none"):
        card = convert(tmp_path / "plain.pt", space=SPACE, method="mine").card
    assert (card.provenance.method, card.recipe) == ("mine", None)
    with pytest.warns(Notice, match="nothing says which method made the set: the card trains as dsa does"):
        assert convert(tmp_path / "plain.pt", space=SPACE, lr=0.5).card.recipe.lr == 0.5
    assert silent(tmp_path / "plain.pt").card.recipe is None
    refused(tmp_path / "plain.pt", "no recipe 'dsaa'; nearest is 'dsa", recipe="dsaa")
    refused(tmp_path / "plain.pt", "learns its learning rate", "--lr", method="mtt", dataset="cifar10")


def test_what_only_a_name_says_is_said(tmp_path):
    made.mtt(tmp_path, classes=10)
    with pytest.warns(Notice, match=r"images_best.pt: taken for a set of MTT, by its name; pass method= \(--method\)"):
        convert(tmp_path, space=SPACE, lr=0.02, dataset="cifar10")
    assert silent(tmp_path, lr=0.02, dataset="cifar10", method="mtt").card.provenance.method == "mtt"
    (tmp_path / "data.pt").write_bytes((tmp_path / "images_best.pt").read_bytes())
    refused(tmp_path / "data.pt", "layout='tensors'", factor=1, space=None)


def test_a_recipe_of_the_users(tmp_path):
    torch.save([made.noise(10, 3, 8, 8), torch.arange(10)], tmp_path / "plain.pt")
    (tmp_path / "mine.toml").write_text('base = "dm"\n[evaluation]\nepochs = 7\n')
    card = silent(tmp_path / "plain.pt", recipe=str(tmp_path / "mine.toml"), dataset="svhn").card
    assert (card.recipe.epochs, "flip" in card.augmentation.ops) == (7, False)
    converted = card.provenance.settings["converted"]
    assert (converted["recipe"], converted["declared"]["recipe"]) == ("mine", "mine.toml"), (
        "never a path of the machine"
    )


def test_labels_stay_what_they_are(tmp_path):
    made.rfad(tmp_path / "best.npz")
    card = silent(tmp_path / "best.npz", method="dsa", dataset="cifar10", classes=5).card
    assert (card.recipe.loss, card.labels.centred) == ("mse", True)
    with pytest.raises(FormatError, match=re.escape("lr: ")):
        silent(tmp_path / "best.npz", method="dsa", dataset="cifar10", classes=5, lr=-1.0)
