"""``dsetpack score`` on the shipped sample, and what it refuses."""

import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import dsetpack
from dsetpack.cli import main
from dsetpack.formats.card import Recipe
from dsetpack.trainers.data import load
from tests.support.score_cases import AUGMENT


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """500 training and 200 test images of the shipped sample, as an .npz."""
    path = tmp_path_factory.mktemp("data") / "sample.npz"
    arrays = {}
    for split, each in (("train", 50), ("test", 20)):
        real = load("fashion-sample", split=split)
        part = real.take(real.draw(each, 0))
        arrays |= {f"x_{split}": part.images[:, 0].numpy(), f"y_{split}": part.labels.numpy()}
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def small(sample, tmp_path_factory):
    """A pack of one of those images per class, with a teacher-like soft label for each."""
    real = load(sample)
    chosen = real.take(real.draw(1, 0))
    labels = torch.full((10, 10), 0.01) + 0.9 * torch.eye(10)[chosen.labels]
    recipe = Recipe(steps=10, batch_size=16, lr=0.01, width=4)
    made = dsetpack.Pack.from_arrays(
        chosen.images,
        labels,
        classes=real.classes,
        recipe=recipe,
        augmentation=AUGMENT,
    )
    path = tmp_path_factory.mktemp("score") / "small.dpk"
    made.save(path)
    return path


@pytest.mark.slow
def test_the_command_on_the_shipped_sample(sample, small, tmp_path):
    options = ["score", str(small), "--data", str(sample), "--seeds", "2", "--real-steps", "40", "--rate", "0.05"]
    options += ["--results", str(tmp_path / "found.json")]
    found = CliRunner().invoke(main, [*options, "--json"])
    assert found.exit_code == 0, found.output
    assert "16 trainings of 10 steps and 2 of 40 on real images" in found.stderr
    facts = json.loads(found.stdout)
    parts = {name: part["accuracies"] for name, part in facts["parts"].items()}
    assert all(len(values) == 2 and all(0 <= v <= 1 for v in values) for values in parts.values())
    assert facts["parts"]["real-hard"]["mean"] > facts["parts"]["rdm-any"]["mean"] + 0.1
    assert facts["per_class"] >= 1
    alpha = [
        0.5 * (any_ - random) - 0.5 * (real - hard)
        for any_, random, real, hard in zip(
            parts["syn-any"], parts["rdm-any"], parts["real-hard"], parts["syn-hard"], strict=True
        )
    ]
    assert facts["lrs"]["values"] == pytest.approx(
        [(math.exp(a) - math.exp(-1)) / (math.e - math.exp(-1)) for a in alpha]
    )
    shown = CliRunner().invoke(main, options)
    assert "0 trainings" in shown.stderr
    assert f"{facts['lrs']['mean']:.3f}" in shown.stdout
    assert "beside" in shown.stdout


def test_the_command_names_what_is_wrong(sample, small, tmp_path):
    (tmp_path / "bad.json").write_text("{")
    options = ["score", str(small), "--data", str(sample), "--results", str(tmp_path / "bad.json")]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 1
    assert "not a file of measured accuracies" in result.output
