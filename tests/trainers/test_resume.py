"""Every method, interrupted in each of its phases and resumed, makes the same pack byte for byte.

The same holds after a step whose loss is NaN only the first time, because the run keeps the last good state.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from dsetpack.formats.errors import DsetpackError
from dsetpack.formats.progress import Work
from dsetpack.trainers.distill import distill
from dsetpack.trainers.gan import Gan
from dsetpack.trainers.loop import Interrupted, Run, Terms, Trainable
from dsetpack.trainers.objectives import Distillation, means
from dsetpack.trainers.parameterizations.kfs import Autoencoder
from dsetpack.trainers.recipe import DistillRecipe, load_recipe
from dsetpack.trainers.selections import FeatureNetwork
from tests.support.tiny_methods import real, table

STEPS = 5
DSA = {"siamese": "dsa"}
LEARNED = {"parameterization.labels": "learned", "parameterization.lr": 0.01, "schedule.optimizer": "lamb"}
GAME = {"adversary": {"width": 4}, "schedule.optimizer": "sgd", "parameterization.momentum": 0.5}
PICKED = {"parameterization.selection": {"width": 4, "steps": 6, "batch": 32}}
IDC = {"objective.train_on": "real", "objective.distance": "mse", "objective.outer": 3}
REUSED = {"objective.networks": 2}

METHODS: dict[str, tuple[str, str, dict[str, Any], set[str]]] = {
    "kfs": ("dm", "kfs", {**DSA, "parameterization.pretrain": {"steps": 5}}, {"pretrain", "real means"}),
    "dm": ("dm", "images", {**DSA, **PICKED, "parameterization.init": "herding"}, {"select", "real means"}),
    "isa-dm": ("dm", "images", {**DSA, "objective.real_batch": 8, "objective.drop": 0.2}, set()),
    "dsa": ("dc", "images", {**DSA, "objective.outer": 3, "schedule.optimizer": "sgd"}, set()),
    "resnet": ("dc", "images", {"objective.network": "resnet10", "objective.width": 2, "objective.outer": 3}, set()),
    "mtt": ("mtt", "images", {**DSA, "schedule.optimizer": "sgd"}, {"experts"}),
    "frepo": ("frepo", "images", LEARNED | {"schedule.final": 0.1}, set()),
    "isa": ("isa", "images", LEARNED | DSA, set()),
    "idc": ("dc", "upsample", {**DSA, **PICKED, **IDC, "parameterization.init": "k-center"}, {"select"}),
    "haba": ("mtt", "haba", {**DSA, **GAME}, {"experts"}),
    "haba-dm": ("dm", "haba", {**GAME, "parameterization.factor": 2, **REUSED}, {"real means"}),
    "dim": ("logits", "generator", {**DSA, "objective.epoch_steps": 3, "objective.gan.steps": 5}, {"gan"}),
    "dim-resnet": ("logits", "generator", {"objective.networks": ["resnet10"], "objective.gan.steps": 4}, {"gan"}),
}
"""Objective, parameterization, changes, and the phases before matching."""

LOOPS = {"pretrain", "gan", "select", "match"}
"""Phases that resume after the last step; the others repeat the network or expert that was at work."""


def method(name: str, folder: Path) -> DistillRecipe:
    """The recipe of a method."""
    objective, on, changes, _ = METHODS[name]
    path = folder / "tiny.toml"
    path.write_text('method = "tiny"\n[evaluation]\nsteps = 3\n')
    return load_recipe(path, table(objective, on, {"schedule.steps": STEPS, **changes}))


class Watch:
    """Counts the progress of every phase, and sends Ctrl-C at a chosen number in one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        self.at: tuple[str, int] | None = None
        update = Work.update

        def counted(work: Work, done: int, note: str = "") -> None:
            update(work, done, note)
            self.counts[work.title] += 1
            if self.at == (work.title, self.counts[work.title]):
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(Work, "update", counted)

    def begin(self, phase: str | None = None, number: int = 0) -> None:
        self.counts, self.at = Counter(), None if phase is None else (phase, number)


@pytest.mark.parametrize("name", METHODS)
def test_interrupted_in_each_phase_and_resumed(name, tmp_path, monkeypatch):
    before, chosen = METHODS[name][3], method(name, tmp_path)
    out, watch = tmp_path / "x.dpk", Watch(monkeypatch)

    straight = distill(real(8), chosen, cache=tmp_path / "straight").to_bytes()
    whole = dict(watch.counts)
    assert set(whole) == {*before, "match"}

    done: Counter[str] = Counter()
    for phase, steps in whole.items():
        watch.begin(phase, max(1, steps // 2))
        with pytest.raises(KeyboardInterrupt) as stopped:
            distill(real(8), chosen, cache=tmp_path / "cache", out=out, resume=bool(done))
        assert isinstance(stopped.value, Interrupted) == (phase in LOOPS)
        assert not out.exists()
        done += watch.counts
    watch.begin()
    distill(real(8), chosen, cache=tmp_path / "cache", out=out, resume=True)
    done += watch.counts
    assert out.read_bytes() == straight
    assert {phase: done[phase] for phase in whole if phase in LOOPS} == {p: n for p, n in whole.items() if p in LOOPS}
    assert not list(tmp_path.rglob("*.dpk-tmp"))


def test_means_that_are_not_kept_make_the_same_pack(tmp_path, monkeypatch):
    """As with means that are kept, also after an interruption."""
    chosen, out, watch = method("kfs", tmp_path), tmp_path / "x.dpk", Watch(monkeypatch)
    kept = distill(real(8), chosen, cache=tmp_path / "cache").to_bytes()
    monkeypatch.setattr(means, "LARGEST", 0)
    watch.begin("match", 2)
    with pytest.raises(Interrupted):
        distill(real(8), chosen, cache=tmp_path / "none", out=out)
    watch.begin()
    distill(real(8), chosen, cache=tmp_path / "none", out=out, resume=True)
    assert watch.counts["match"] == STEPS - 2
    assert out.read_bytes() == kept
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("rule", ["herding", "forgetting"])
def test_a_selection_too(rule, tmp_path, monkeypatch):
    path = tmp_path / "tiny.toml"
    path.write_text(f'method = "{rule}"\n[parameterization]\nname = "images"\n[evaluation]\nsteps = 3\n')
    settings = {"network": "resnet10", "width": 2, "steps": 8, "batch": 32}
    chosen = load_recipe(path, {"parameterization.init": rule, "parameterization.selection": settings})
    watch = Watch(monkeypatch)
    straight = distill(real(8), chosen).to_bytes()
    watch.begin("select", 3)
    with pytest.raises(Interrupted):
        distill(real(8), chosen, folder=tmp_path)
    watch.begin()
    assert distill(real(8), chosen, folder=tmp_path, resume=True).to_bytes() == straight
    assert watch.counts["select"] == 8 - 3


def spoil(monkeypatch: pytest.MonkeyPatch, kind: type[Trainable], step: int) -> None:
    """Make the loss of one step NaN, the first time that it is computed."""
    backward, left = kind.backward, [step]

    def spoilt(work: Trainable, number: int, generator: torch.Generator) -> Terms:
        terms = backward(work, number, generator)
        if left != [number]:
            return terms
        left.clear()
        return {name: value * float("nan") for name, value in terms.items()}

    monkeypatch.setattr(kind, "backward", spoilt)


@pytest.mark.parametrize("name", METHODS)
def test_what_nan_leaves_is_the_last_good_state(name, tmp_path, monkeypatch):
    chosen = method(name, tmp_path)
    out, options = tmp_path / "x.dpk", {"cache": tmp_path / "cache", "run": Run(every=2)}
    straight = distill(real(8), chosen, cache=tmp_path / "straight").to_bytes()
    phases = {"pretrain": Autoencoder, "gan": Gan, "select": FeatureNetwork, "match": Distillation}
    for kind in phases.values():
        spoil(monkeypatch, kind, 3)
    failed = [phase for phase in phases if phase in {*METHODS[name][3], "match"}]
    for number, phase in enumerate(failed):
        with pytest.raises(DsetpackError, match=r"step 3: \w+ is nan; .* is kept in") as stopped:
            distill(real(8), chosen, out=out, resume=number > 0, **options)
        assert f"{phase}.pt" in str(stopped.value)
        assert not out.exists()
    distill(real(8), chosen, out=out, resume=True, **options)
    assert out.read_bytes() == straight
