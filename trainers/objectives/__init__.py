"""Objectives: what makes a synthetic set good, as gradients on its parameters. One file an objective."""

from dsetpack.trainers.objectives.base import Distillation, Objective
from dsetpack.trainers.objectives.dm import DistributionMatching
from dsetpack.trainers.objectives.means import NetworkPool, RealMeans

__all__ = ["Distillation", "DistributionMatching", "NetworkPool", "Objective", "RealMeans"]
