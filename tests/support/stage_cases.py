"""A small recipe for stages, and images by class."""

import torch

from dsetpack.trainers.data import ImageData

STEPS = 5
SMALL = {
    "parameterization.channels": (3, 2),
    "parameterization.decoders": 2,
    "parameterization.pretrain.steps": STEPS,
    "parameterization.pretrain_batch": 8,
    "parameterization.encoder_width": 4,
    "schedule.steps": STEPS,
    "objective.networks": 3,
    "objective.width": 4,
    "evaluation.steps": 4,
    "evaluation.width": 4,
}
NAMES = ("a", "b", "c", "d", "e")


def of(data: ImageData, *classes: int) -> torch.Tensor:
    return torch.isin(data.labels, torch.tensor(classes))
