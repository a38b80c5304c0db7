"""The device to compute on, and how values are moved to it."""

from __future__ import annotations

import torch

from dsetpack.loading.device import moved


def test_only_copies_to_a_gpu_do_not_wait():
    class Copied(torch.Tensor):
        def to(self, device, non_blocking):
            return device.type, non_blocking

    values = torch.zeros(1).as_subclass(Copied)
    assert moved(values, torch.device("cpu")) == ("cpu", False)  # it may be read at once
    assert moved(values, torch.device("cuda")) == ("cuda", True)
