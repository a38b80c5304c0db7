"""``dsetpack reproduce``: how far apart two measurements are, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dsetpack
from dsetpack import Augmentation, Metric, Zca
from tests.support.command_line import run
from tests.support.eval_files import EVAL, RECIPE


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A pack, and the data that it is tested on, in the current folder."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 2
    x = torch.randint(0, 215, (60, 16, 16), generator=g)
    x[y == 0, ::4] += 40
    x[y == 1, :, ::4] += 40
    x = x.to(torch.uint8)
    np.savez(tmp_path / "mine.npz", x_train=x[:16], y_train=y[:16], x_test=x[16:], y_test=y[16:])
    np.savez(tmp_path / "other.npz", x_train=x[:16], y_train=y[:16], x_test=x[20:], y_test=y[20:])
    card = {"recipe": RECIPE, "augmentation": Augmentation(ops=("flip",)), "classes": ["0", "1"]}
    dsetpack.Pack.from_arrays(x[:16, None], y[:16], **card).save(tmp_path / "x.dpk")
    monkeypatch.chdir(tmp_path)
    return tmp_path


REPRODUCE = ("reproduce", "y.dpk", "--data", "mine.npz")


def test_reproduce_says_how_far_apart(files):
    run(*EVAL, "--seeds", 3, "--record", "y.dpk")
    printed = run(*REPRODUCE, "--seeds", 3).splitlines()
    (metric,) = dsetpack.open("y.dpk").card.metrics
    shown = f"{metric.value:.2%} ± {metric.std:.2%} (convnet3 of width 4 on mine, 3 seeds)"
    assert printed == [
        f"card:       {shown}",
        f"here:       {shown}",
        "difference: +0.00 points, +0.0 standard errors",
        "reproduced: within 3 standard errors",
    ]
    assert "it is taken to have the other's" in run(*REPRODUCE, "--seeds", 1)


def with_metric(files, **changes):
    run(*EVAL, "--seeds", 2, "--record", "y.dpk")
    pack = dsetpack.open("y.dpk")
    (metric,) = pack.card.metrics
    pack.replace_card(metrics=(Metric(**{**metric.model_dump(), **changes}),)).save("y.dpk")


def test_reproduce_fails_with_status_1_beyond_three_errors(files):
    with_metric(files, value=0.01, std=0.01)
    printed = run(*REPRODUCE, "--seeds", 2, expect=1)
    assert "not reproduced: more than 3 standard errors apart" in printed
    assert "difference: +" in printed


def test_reproduce_refuses_other_data_and_cards_that_say_too_little(files, monkeypatch):
    with_metric(files)
    monkeypatch.setattr("dsetpack.trainers.evaluate.train", None)
    printed = run("reproduce", "y.dpk", "--data", "other.npz", expect=1)
    assert printed.startswith("error: other has the digest sha256:")
    assert "the card was measured on other test data: mine sha256:" in printed
    assert "no metric in its card" in run("reproduce", "x.dpk", "--data", "mine.npz", expect=1)
    dsetpack.open("y.dpk").replace_card(recipe=None).save("z.dpk")
    assert "no recipe in its card" in run("reproduce", "z.dpk", "--data", "mine.npz", expect=1)


def test_reproduce_fits_the_zca_of_a_pack_that_keeps_only_how(files):
    made = dsetpack.trainers.data.load("mine.npz")
    space = Zca.fit(made.images, storage="refit")
    pack = dsetpack.Pack.from_arrays(
        space.apply(made.raw()), made.labels, space=space, recipe=RECIPE, classes=["0", "1"]
    )
    pack.save("x.dpk")
    run(*EVAL, "--seeds", 2, "--record", "y.dpk")
    assert "+0.0 standard errors" in run(*REPRODUCE, "--seeds", 2)
