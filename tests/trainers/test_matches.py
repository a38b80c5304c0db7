"""Every objective on every parameterization that the table of pairs names: real steps on real images lower its loss."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import dsetpack
from dsetpack.formats.errors import FormatError
from dsetpack.trainers import objectives, parameterizations
from dsetpack.trainers.checkpoint import load_checkpoint
from dsetpack.trainers.distill import distill
from dsetpack.trainers.evaluate import fresh
from dsetpack.trainers.job import Job
from dsetpack.trainers.loop import Schedule
from dsetpack.trainers.matches import pairs, refusal
from dsetpack.trainers.objectives.adversary import Adversarial
from dsetpack.trainers.parameterizations import Parameterization
from dsetpack.trainers.recipe import DistillRecipe, as_json
from dsetpack.trainers.seeds import derive, generator
from tests.support.tiny_methods import EACH, real, tiny

ALL = [(o, p) for o in objectives.known() for p in parameterizations.known()]
OTHERS = ("adversary", "critic")
"""Loss terms of networks that play against the set."""
STEPS = {"logits": 20, "mtt": 20}
"""More than 10 steps for objectives whose steps see a random expert and start, or fresh noise and networks."""
FEW = {"frepo": 6, "isa": 6}
"""Fewer for those whose steps overshoot on some networks: torch's releases initialise them differently."""

GAME = {"adversary": {"width": 4}}
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    *((objective, on, {}) for objective, on in pairs()),
    *((o, "haba", {**GAME, "parameterization.factor": f}) for o in ("dc", "dm", "mtt") for f in (1, 2)),
    *((o, "images", {"parameterization.labels": "learned"}) for o in ("dc", "frepo", "isa")),
    ("dm", "images", {"objective.real_batch": 16, "objective.drop": 0.2}),
]
"""The pairs; HaBa's game; learned labels if an objective can use them; ISA on DM."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Experts and real means, made once for all tests."""
    return tmp_path_factory.mktemp("cache")


class Judge:
    """Measures the initial objective on a set before or after learning, as means over the same few steps.

    Each step has its own networks (experts, draws of images); the adversary and the critic begin as in the game.
    """

    def __init__(self, chosen: DistillRecipe, folder: Path, cache: Path) -> None:
        self.chosen = chosen
        self.context = Job.of(chosen, folder=folder, resume=True, cache=cache).context(real())
        recipe = {
            "recipe": as_json(chosen), "data": real().digest, "labels": real().labels_digest,
            "schedule": chosen.schedule.model_dump(mode="json"), "seed": derive(0, "match"),
        }  # fmt: skip
        self.state = load_checkpoint(folder / "match.pt", recipe)["work"]

    def __call__(self, learned: bool, steps: int = 6) -> tuple[dict[str, float], Parameterization]:
        """The mean of each loss term, and the set."""
        synthetic = self.chosen.parameterization.build(self.context)
        objective = self.chosen.objective.build(self.context, synthetic)
        if self.chosen.adversary is not None:
            objective = Adversarial(objective, self.chosen.adversary, self.context, synthetic)
        if learned:
            synthetic.load_state_dict(self.state["synthetic"])
        means: dict[str, float] = {}
        for step in range(steps):
            terms = objective.backward(synthetic, step, generator(0, "judge", step))
            synthetic.zero_grad()
            means = {name: means.get(name, 0.0) + float(value) / steps for name, value in terms.items()}
        if learned:  # the judge's draws moved a generator's running statistics
            synthetic.load_state_dict(self.state["synthetic"])
        return means, synthetic


@pytest.mark.parametrize(
    ("objective", "on", "changes"),
    [
        pytest.param(
            *case,
            marks=[pytest.mark.slow] * (case[0] in (*STEPS, "dc")),
            id="-".join([*case[:2], *(key.split(".")[-1] for key in case[2]), str(number)]),
        )
        for number, case in enumerate(VARIANTS)
    ],
)
def test_real_steps_lower_the_loss_and_the_pack_is_whole(objective, on, changes, cache, tmp_path):
    """The sum of the terms that the set minimises falls: all terms except those of its opponents.

    For ``logits`` that is λ · matching + deceit + classes (the generator's side of the GAN), with λ = 30, so that the
    matching term outweighs the game. It also falls by itself; the others may rise if it pulls elsewhere.
    """
    chosen = tiny(tmp_path, objective, on, {"schedule.steps": {**STEPS, **FEW}.get(objective, 10), **changes})
    out = tmp_path / "x.dpk"
    distill(real(), chosen, out=out, cache=cache)
    judge = Judge(chosen, tmp_path / "x.dpk.run", cache)
    before, _ = judge(learned=False)
    after, synthetic = judge(learned=True)
    falling = [name for name in before if name not in OTHERS]
    started, ended = (sum(terms[name] for name in falling) for terms in (before, after))
    assert ended < started - 0.1 * abs(started)
    if objective == "logits":
        assert after["matching"] < 0.9 * before["matching"]
    pack = dsetpack.open(out)
    check_pack(pack, chosen, synthetic)
    if objective == "mtt":
        state = judge.state["objective"]
        assert pack.card.recipe.lr == float(state.get("inner", state)["alpha"]) != chosen.objective.lr
    else:
        assert pack.card.recipe == chosen.evaluation


def check_pack(pack: dsetpack.Pack, chosen: DistillRecipe, synthetic: Parameterization) -> None:
    """Check that the file holds the set's images, labels and card, and that a network trains on it."""
    data, card = real(), pack.card
    assert (card.classes, card.shape, card.space.kind) == (data.classes, data.shape, "normalized")
    assert (card.epoch_rule, card.per_class) == (synthetic.epoch_rule, synthetic.per_class)
    assert (card.provenance.dataset, card.provenance.dataset_digest) == (data.name, data.digest)
    assert card.provenance.settings["objective"]["name"] == chosen.objective.name
    assert card.provenance.settings["parameterization"]["name"] == chosen.parameterization.name
    assert ("adversary" in card.provenance.settings) == (chosen.adversary is not None)
    assert card.provenance.budget_floats == synthetic.floats()
    x, y = pack.decode(range(len(pack)))
    with torch.no_grad():
        torch.testing.assert_close(x, synthetic.images(), rtol=1e-5, atol=1e-5)
    assert x.shape[1:] == data.shape
    assert bool(x.isfinite().all())
    assert x.std(0).mean() > 0.1  # not all the same
    targets = synthetic.targets()
    assert card.labels.kind == ("hard" if targets is None else "soft")
    if targets is not None:
        assert torch.equal(y, targets.detach())
        y = y.argmax(1)
    assert torch.equal(y, torch.arange(3).repeat_interleave(len(pack) // 3))
    if card.labels.kind == "hard":
        report = pack.train(fresh(pack, card.recipe, 0), seed=0)
    else:
        report = pack.train(fresh(pack, card.recipe, 0), seed=0, recipe=card.recipe.model_copy(update={"loss": "mse"}))
    assert report["steps"] == 3
    assert math.isfinite(report["loss"])


@pytest.mark.parametrize(("objective", "on"), [pair for pair in ALL if pair not in pairs()])
def test_another_pair_is_refused_with_the_reason(objective, on, tmp_path):
    reason = refusal(objective, on)
    assert reason is not None
    with pytest.raises(FormatError, match=rf"tiny.toml: objective {objective} on {on}: {re.escape(reason)}"):
        tiny(tmp_path, objective, on)


def test_half_a_game_is_refused(tmp_path):
    for objective, on in pairs():
        if on != "haba":
            with pytest.raises(FormatError, match=f"hallucinators; the parameterization is {on}"):
                tiny(tmp_path, objective, on, GAME)
    single = tiny(tmp_path, "mtt", "haba", GAME | {"parameterization.hallucinators": 1})
    with pytest.raises(FormatError, match="two different hallucinators, and there is 1"):
        distill(real(), single, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()  # before experts are trained
    learned = tiny(tmp_path, "mtt", "images", {"parameterization.labels": "learned"})
    with pytest.raises(FormatError, match="hard labels; this set learns its labels"):
        distill(real(), learned, cache=tmp_path / "cache")


def test_there_is_a_pair_for_everything():
    assert {objective for objective, _ in pairs()} == set(objectives.known())
    assert {on for _, on in pairs()} == set(parameterizations.known())
    assert len(ALL) > len(pairs())
    assert Schedule(steps=1).optimizer == "adam"  # the learning rates here are for Adam
    assert len(real()) == 3 * EACH
