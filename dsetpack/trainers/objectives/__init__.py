"""Objectives: what makes a synthetic set good, as gradients on its parameters. One file each, found by its name."""

from collections.abc import Mapping

from dsetpack.formats.by_name import by_name
from dsetpack.trainers.objectives.base import Distillation, Objective, ObjectiveSettings

__all__ = ["Distillation", "Objective", "ObjectiveSettings", "known"]


def known() -> Mapping[str, type[ObjectiveSettings]]:
    """The settings class of every objective, by the objective's name, sorted."""
    return by_name(__name__, "SETTINGS", ("adversary", "means"))
