"""What is decoded does not depend on the settings of torch that a program has changed, nor does it change them."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import dsetpack
from dsetpack.loading.plain import plain_torch
from tests.support.paths import GOLDEN, KFS

PACKS = sorted((GOLDEN / "v1.0").glob("*.dpk"))


@contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def products() -> Iterator[None]:
    conv, matmul = torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul
    before = conv.fp32_precision, matmul.fp32_precision
    conv.fp32_precision = matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        conv.fp32_precision, matmul.fp32_precision = before


SETTINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "default dtype": default_dtype,
    "default device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "deterministic": deterministic,
    "products in bfloat16": products,
}


def first(pack: dsetpack.Pack, count: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    return pack.decode(np.arange(min(len(pack), count)), seed=1, epoch=2)


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_every_pack_decodes_alike_under_every_setting(path):
    per_class = 2 if "generator" in path.stem else None
    x, y = first(dsetpack.open(path, per_class=per_class))
    assert x.dtype == torch.float32
    for name, setting in SETTINGS.items():
        with setting():
            images, labels = first(dsetpack.open(path, per_class=per_class))  # read there, too
            every = dsetpack.open(path, per_class=per_class).labels
        assert (images.dtype, images.device.type, every.device.type) == (x.dtype, "cpu", "cpu"), name
        assert torch.equal(images, x), name
        assert torch.equal(labels, y), name


@pytest.mark.parametrize("name", SETTINGS)
def test_the_setting_is_as_before(name):
    def state() -> tuple[object, ...]:
        return (
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.is_autocast_enabled("cpu"),
            torch.is_inference_mode_enabled(),
            torch.backends.mkldnn.conv.fp32_precision,
        )

    with SETTINGS[name]():
        before = state()
        with plain_torch(torch.device("cpu"), reading=True):
            precision = "ieee" if "products" in name else "none"
            assert state() == (torch.float32, torch.device("cpu"), False, False, precision)
        assert state() == before


def test_what_was_read_in_inference_mode_can_be_learned():
    with torch.inference_mode():
        pack = dsetpack.open(KFS)
        first(pack)
    sources = pack.parts[0].sources
    assert sources is not None
    copy.deepcopy(pack.parts[0].decoder).requires_grad_(True)(sources[:2], torch.tensor([0, 1])).sum().backward()


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_and_workers(workers):
    expected = torch.cat([x for x, _ in DataLoader(dsetpack.open(KFS), batch_size=70)])
    with default_dtype(), torch.autocast("cpu", torch.bfloat16):
        found = torch.cat([x for x, _ in DataLoader(dsetpack.open(KFS), batch_size=70, num_workers=workers)])
        own = torch.cat([x for x, _ in dsetpack.open(KFS).loader(batch_size=70, seed=0)])
    assert found.dtype == own.dtype == torch.float32
    assert torch.equal(found, expected)
    assert torch.equal(own.sort(0).values, expected.sort(0).values)


def test_one_item_of_a_batch_is_saved_alone():
    batch = dsetpack.open(KFS).__getitems__(list(range(64)))
    file = io.BytesIO()
    torch.save(batch[0][0], file)
    assert len(file.getvalue()) < 10_000
