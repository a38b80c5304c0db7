"""A process that looks like a worker of a ``DataLoader``."""

import multiprocessing
import os
from types import SimpleNamespace

import pytest
from torch.utils.data._utils import worker as torch_worker


class AsWorker:
    """Inside the block, this process looks to torch like worker ``number`` of ``count``."""

    def __init__(self, number, count, seed=1234, parent=None):
        self.info = SimpleNamespace(id=number, num_workers=count, seed=seed + number)
        self.parent = SimpleNamespace(pid=parent or os.getpid())

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(torch_worker, "_worker_info", self.info)
        self.patch.setattr(multiprocessing, "parent_process", lambda: self.parent)

    def __exit__(self, *_):
        self.patch.undo()
