"""Real data: the class that all readers return, one file per reader, and ``load``, which finds the right reader."""

from dsetpack.trainers.data.reader import ImageData
from dsetpack.trainers.data.registry import data_names, load
from dsetpack.trainers.data.torchset import from_torch

__all__ = ["ImageData", "data_names", "from_torch", "load"]
