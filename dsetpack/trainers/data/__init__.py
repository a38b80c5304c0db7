"""Real data: one class for what all readers return, one reader a file, and ``load``, which finds the right one."""

from dsetpack.trainers.data.reader import ImageData
from dsetpack.trainers.data.registry import data_names, load
from dsetpack.trainers.data.torchset import from_torch

__all__ = ["ImageData", "data_names", "from_torch", "load"]
