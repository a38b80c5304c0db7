"""One generator serves every budget: the first run trains it, the others draw more or fewer images from it."""

from __future__ import annotations

import os
import re
import signal
import warnings

import pytest
import torch

from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice
from dsetpack.recipes.tables import recipe_names
from dsetpack.trainers.distill import distill
from dsetpack.trainers.job import Job
from dsetpack.trainers.loop import Interrupted, Run
from dsetpack.trainers.recipe import load_recipe
from dsetpack.trainers.shared_set import SharedSet
from tests.support.tiny_methods import real, table

pytestmark = pytest.mark.usefixtures("one_thread")


def recipe(folder, ipc, **changes):
    path = folder / "tiny.toml"
    path.write_text(f'method = "dim"\nipc = {ipc}\n[evaluation]\nsteps = 3\n')
    settings = {"schedule.steps": 3, "objective.gan.steps": 2, "parameterization.per_class": None}
    return load_recipe(path, table("logits", "generator", {**settings, **changes}))


def bank(pack):
    return pack.parts[0].decoder.state_dict()


def test_the_second_budget_takes_the_first_ones_generator(tmp_path):
    """The packs are those that two trainings would make, byte by byte."""
    steps = []
    run = Run(on_step=lambda step, terms: steps.append(step))
    cache = tmp_path / "cache"
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        first = distill(real(8), recipe(tmp_path, 1), cache=cache, run=run)
        assert len(steps) == 2 + 3
        alone = distill(real(8), recipe(tmp_path, 5), cache=tmp_path / "other")
    with pytest.warns(Notice, match=r"set-\w{40}\.pt: the set was learned before, for any budget; remove this file"):
        second = distill(real(8), recipe(tmp_path, 5), cache=cache, run=run, out=tmp_path / "x.dpk")
    assert len(steps) == 2 + 3
    assert second.to_bytes() == alone.to_bytes() == (tmp_path / "x.dpk").read_bytes()
    assert (first.card.per_class, second.card.per_class) == (1, 5)
    assert all(torch.equal(bank(first)[key], value) for key, value in bank(second).items())


@pytest.mark.parametrize(
    ("changes", "seed"),
    [({"schedule.steps": 4}, 0), ({"objective.gan.steps": 3}, 0), ({"parameterization.width": 5}, 0), ({}, 1)],
)
def test_another_training_is_not_shared(tmp_path, changes, seed):
    def path(seed=0, **changes):
        job = Job.of(recipe(tmp_path, 1, **changes), seed=seed, cache=tmp_path)
        return SharedSet(job.recipe, job.context(real(8))).path

    assert path() == path(**{"evaluation.lr": 0.5})
    assert path() != path(seed, **changes)


def test_a_run_that_resumes_goes_on_by_itself(tmp_path):
    out, chosen, cache = tmp_path / "x.dpk", recipe(tmp_path, 1), tmp_path / "cache"
    straight = distill(real(8), chosen, cache=tmp_path / "straight").to_bytes()
    stop = Run(on_step=lambda step, terms: step == 1 and os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        distill(real(8), chosen, out=out, cache=cache, run=stop)
    assert not list(cache.glob("set-*"))
    distill(real(8), chosen, out=out, cache=cache, resume=True)
    assert out.read_bytes() == straight
    assert len(list(cache.glob("set-*"))) == 1


def test_a_damaged_file_is_named(tmp_path):
    distill(real(8), recipe(tmp_path, 1), cache=tmp_path / "cache")
    [kept] = (tmp_path / "cache").glob("set-*.pt")
    kept.write_bytes(b"not a checkpoint")
    with pytest.raises(FormatError, match=re.escape(str(kept)) + ".*remove it to start again"):
        distill(real(8), recipe(tmp_path, 5), cache=tmp_path / "cache")


def test_the_budgets_of_a_data_set_share_one_training():
    """As the paper has it: only the images drawn per class differ."""
    rows = [name for name in recipe_names() if name.startswith("dim-") and "-cpu-" not in name]
    assert len(rows) == 12
    for name in rows:
        one, ten = (load_recipe(re.sub(r"ipc\d+", size, name)) for size in ("ipc1", "ipc10"))
        for part in ("parameterization", "objective", "schedule", "space", "siamese", "precision"):
            assert getattr(one, part) == getattr(ten, part), (name, part)
