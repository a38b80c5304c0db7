"""The device to compute on, and how values are moved to it."""

from __future__ import annotations

import pytest
import torch

from dsetpack.formats.errors import DsetpackError
from dsetpack.loading.device import device_name, moved, usable


def test_only_copies_to_a_gpu_do_not_wait():
    class Copied(torch.Tensor):
        def to(self, device, non_blocking):
            return device.type, non_blocking

    values = torch.zeros(1).as_subclass(Copied)
    assert moved(values, torch.device("cpu")) == ("cpu", False)  # it may be read at once
    assert moved(values, torch.device("cuda")) == ("cuda", True)


def test_devices_that_can_be_used():
    assert usable("cpu") == torch.device("cpu")
    assert usable(torch.device("meta")).type == "meta"


@pytest.mark.parametrize(
    ("device", "name"), [("gpu", "cuda"), ("GPU:1", "cuda:1"), ("CUDA", "cuda"), ("cpu", "cpu"), ("meta", "meta")]
)
def test_a_gpu_is_cuda(device, name):
    assert device_name(device) == name
    assert device_name(torch.device(name)) == name


def test_the_reason_is_in_our_words():
    with pytest.raises(DsetpackError, match=r"\(expected cpu, cuda, or a device such as cuda:1\)"):
        usable("processor")
    if not torch.cuda.is_available():
        with pytest.raises(
            DsetpackError, match=r"'gpu' cannot be used here \(t(orch finds no GPU|his torch is built for CPUs)\)"
        ):
            usable("gpu")


@pytest.mark.parametrize("device", ["cpu:x", "cuda:99", "gpu:99", ""])
def test_devices_that_cannot_are_named_with_the_reason(device):
    with pytest.raises(DsetpackError, match=rf"^device '{device}' cannot be used here \(.+\); use 'cpu'$") as caught:
        usable(device)
    assert str(caught.value).count("\n") == 0
