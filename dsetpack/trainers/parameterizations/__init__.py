"""Parameterizations: what a synthetic set is made of while it is learned. One file each, found by its name."""

from dsetpack.trainers.parameterizations.base import Budget, Parameterization, Settings

__all__ = ["Budget", "Parameterization", "Settings"]
