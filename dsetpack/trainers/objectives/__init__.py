"""Objectives: what makes a synthetic set good, as gradients on its parameters. One file each, found by its name."""

from dsetpack.trainers.objectives.base import Distillation, Objective, Settings

__all__ = ["Distillation", "Objective", "Settings"]
