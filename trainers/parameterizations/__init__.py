"""Parameterizations: what a synthetic set is made of while it is learned. One file each."""

from dsetpack.trainers.parameterizations.base import Parameterization
from dsetpack.trainers.parameterizations.kfs import Kfs

__all__ = ["Kfs", "Parameterization"]
