"""The card of a distilled set: how to use the set, and where it comes from."""

from __future__ import annotations

import torch

from dsetpack.formats.card import Card, Labels, Provenance
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.job import Learned
from dsetpack.trainers.recipe import DistillRecipe, as_json
from dsetpack.version import __version__


def card_of(data: ImageData, recipe: DistillRecipe, learned: Learned, seed: int) -> Card:
    """Make the card of a set that was distilled from these data.

    Args:
        data: the real images.
        recipe: the recipe of the distillation.
        learned: the set, and how to train on it.
        seed: the seed of the distillation.
    """
    synthetic = learned.synthetic
    ipc = recipe.ipc
    budget = recipe.parameterization.budget(data.shape, len(data.classes), ipc)
    settings = as_json(recipe)
    for key in ("evaluation", "augmentation", "figures", "title", "method", "data"):  # these are elsewhere
        settings.pop(key, None)
    return Card(
        title=f"{data.name}, {recipe.method}, {ipc} image{'s' if ipc > 1 else ''} per class",
        classes=data.classes,
        shape=data.shape,
        space=synthetic.space.model,
        labels=Labels(kind="soft", centred=True) if synthetic.targets() is not None else Labels(),
        epoch_rule=synthetic.epoch_rule,
        per_class=synthetic.per_class,
        recipe=learned.evaluation,
        augmentation=recipe.augmentation,
        provenance=Provenance(
            dataset=data.name,
            dataset_digest=data.digest,
            method=recipe.method,
            settings={
                "seed": seed,
                **settings,
                "sources": budget.sources,
                "over_parameterisation": round(budget.over, 6),
            },
            budget_floats=budget.used,
            software={"dsetpack": __version__, "torch": torch.__version__},
        ),
    )
