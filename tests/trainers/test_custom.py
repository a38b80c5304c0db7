"""Networks of the user's own."""

from __future__ import annotations

import sys

import pytest
import torch

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.custom import custom_network
from dsetpack.trainers.protocols import plan
from tests.support.protocol_cases import RECIPE, card

OWN = """
import torch
from torch import nn

class Nets:
    @staticmethod
    def small(image, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(image[0] * image[1] * image[2], classes))

def wrong_size(image, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3, classes))

def wrong_classes(image, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(image[0] * image[1] * image[2], classes + 1))

def pair(image, classes):
    class Two(nn.Module):
        def forward(self, x):
            return x, x
    return Two()

def misspelt(image, classes):
    class Misspelt(nn.Linear):
        def forward(self, x):
            return self.linear(x)
    return Misspelt(1, 1)

def still(image, classes):
    class Still(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :classes]
    return Still()

def no_module(image, classes):
    return lambda x: x

def fails(image, classes):
    raise KeyError("weights")

def positional(size):
    return None

number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(OWN)
    (tmp_path / "broken_nets.py").write_text("import does_not_exist_anywhere")
    (tmp_path / "wrong_nets.py").write_text("def net(")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_nets", None)


def test_a_network_of_ones_own(own):
    made = plan(card(), "x", arch="own_nets:Nets.small")
    assert (made.recipe.arch, made.recipe.width, made.label) == ("own_nets:Nets.small", None, "changed")
    state = torch.get_rng_state()
    first, same, other = (made.network(seed)[1].weight for seed in (0, 0, 1))
    assert first.shape == (2, 784)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("own_nets:wrong_size", r"cannot take images of \[1, 28, 28\]: .*mat1 and mat2"),
        ("own_nets:wrong_classes", r"makes \[2, 3\] of 2 images; expected logits \[2, 2\]"),
        ("own_nets:pair", r"makes tuple of 2 images; expected logits \[2, 2\]"),
        ("own_nets:misspelt", r"cannot take images of .*: AttributeError: .*'linear'"),
        ("own_nets:still", "has nothing to train: it has no parameters"),
        ("own_nets:no_module", "returned function; expected a torch.nn.Module"),
        ("own_nets:fails", "failed: KeyError"),
        ("own_nets:positional", "failed: TypeError"),
        ("own_nets:number", "'number' is int, not a callable"),
        ("own_nets:Nets.large", "'own_nets' has no 'Nets.large'"),
        ("own_nets:", "has no ''"),
        ("nowhere_nets:net", "cannot import 'nowhere_nets'"),
        ("broken_nets:net", "cannot import 'broken_nets'.*does_not_exist_anywhere"),
        ("wrong_nets:net", "cannot import 'wrong_nets' .SyntaxError"),
        (":net", "cannot import ''"),
        (".own_nets:net", "cannot import '.own_nets'"),
    ],
)
def test_mistakes_in_a_network_of_ones_own(own, arch, message):
    with pytest.raises(FormatError, match=message):
        plan(card(), "x", arch=arch)


def test_what_ones_own_network_cannot_do(own):
    with pytest.raises(FormatError, match="set its width there"):
        plan(card(), "x", arch="own_nets:Nets.small", width=8)
    with pytest.raises(FormatError, match="needs features, which own_nets:Nets.small does not offer"):
        plan(card(), "x", arch="own_nets:Nets.small", predictor="krr")
    with pytest.raises(FormatError, match="set its width"):
        custom_network("own_nets:Nets.small", (1, 4, 4), 2, 3)


def test_no_file_names_code(own, monkeypatch):
    """A card's recipe comes from a file; a name in it is never imported, not even a valid one."""
    monkeypatch.setattr("dsetpack.trainers.protocols.custom_network", None)
    evil = card(recipe=RECIPE.model_copy(update={"arch": "own_nets:Nets.small", "width": None}))
    with pytest.raises(FormatError, match="the recipe names the network 'own_nets:Nets.small'"):
        plan(evil, "x")
    assert plan(evil, "x", arch="convnet3", width=4).recipe.arch == "convnet3"
    with pytest.raises(FormatError, match="the recipe names"):
        plan(card(), "x", recipe=evil.recipe)
