"""How coarser matrix products change the loss of distribution matching, on the sample of Fashion-MNIST in the package.

Each precision takes the same steps, including the real means, from the same start. The start is made in float32, since
after other rounding KFS's pre-training would end with other codes. ``loss`` is the loss that the run itself saw: the
mean over one use of every network. ``in_float32`` is the loss of the final set over the same networks in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, get_args

import torch

from dsetpack.trainers.arithmetic import Precision, precision
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.data.registry import load
from dsetpack.trainers.job import Job
from dsetpack.trainers.loop import Run, optimise
from dsetpack.trainers.objectives import Distillation
from dsetpack.trainers.parameterizations import Parameterization
from dsetpack.trainers.recipe import DistillRecipe, load_recipe

METHODS = ("dm", "kfs")
STEPS, NETWORKS = 60, 20
SEED = 0
NOT_MEASURED = "not measured: needs CUDA"


def effects(device: torch.device) -> dict[str, Any]:
    """Measure the losses by method and precision."""
    data = load("fashion-sample").to(device)
    return {"steps": STEPS, "networks": NETWORKS} | {name: effect(name, data) for name in METHODS}


def effect(name: str, data: ImageData, steps: int = STEPS) -> dict[str, Any]:
    """Measure the losses by precision, and their relative difference from the loss of the float32 run."""
    device, found = data.images.device, dict[str, Any]()
    chosen = load_recipe(f"{name}-cpu", {"schedule.steps": steps, "objective.networks": NETWORKS})
    with TemporaryDirectory() as folder:
        context = Job.of(chosen, seed=SEED, cache=folder, run=Run(show=False)).context(data)
        start = chosen.parameterization.build(context)
        assert chosen.objective is not None
        judge = chosen.objective.build(context, start)
        for exact in get_args(Precision):
            if exact == "tf32" and device.type != "cuda":
                found[exact] = NOT_MEASURED
                continue
            learned, loss = _learned(deepcopy(start), chosen, context, exact)
            worth = _in_float32(Distillation(judge, learned), device)
            found[exact] = {"loss": loss, "in_float32": worth, "change": worth / _reference(found, worth) - 1}
    return found


def _reference(found: Mapping[str, Any], own: float) -> float:
    """The loss of the float32 run; float32 is measured first."""
    return float(found["float32"]["in_float32"]) if found else own


def _learned(
    synthetic: Parameterization, chosen: DistillRecipe, context: Context, exact: Precision
) -> tuple[Parameterization, float]:
    assert chosen.objective is not None
    assert chosen.schedule is not None
    losses: list[float] = []
    with precision(exact, context.device):
        work = Distillation(chosen.objective.build(context, synthetic), synthetic)
        run = Run(show=False, on_step=lambda _, terms: losses.append(terms["loss"]))
        optimise(work, chosen.schedule, seed=SEED, run=run)
    return synthetic, fmean(losses[-NETWORKS:])


def _in_float32(work: Distillation, device: torch.device) -> float:
    with precision("float32", device):
        terms = [work.backward(number, torch.Generator()) for number in range(NETWORKS)]
    return fmean(float(found["matching"]) for found in terms)


def effect_lines(found: Mapping[str, Any]) -> list[str]:
    """The effects as lines of text."""
    return [
        f"{method}, {exact}: {row if isinstance(row, str) else _line(row)}"
        for method in METHODS
        for exact, row in found.get(method, {}).items()
    ]


def _line(row: Mapping[str, float]) -> str:
    return f"loss {row['loss']:.5g}, of the set in float32 {row['in_float32']:.5g} ({row['change']:+.2%})"
