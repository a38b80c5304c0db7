"""Parameterizations: what a synthetic set is made of while it is learned. One file each, found by its name."""

from collections.abc import Mapping

from dsetpack.formats.by_name import by_name
from dsetpack.trainers.parameterizations.base import Budget, Parameterization, ParameterizationSettings

__all__ = ["Budget", "Parameterization", "ParameterizationSettings", "known"]


def known() -> Mapping[str, type[ParameterizationSettings]]:
    """The settings class of every parameterization, by the parameterization's name, sorted."""
    return by_name(__name__, "SETTINGS")
