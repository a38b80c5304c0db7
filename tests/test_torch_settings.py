"""What a pack holds and decodes is the same whatever torch is set to."""

from __future__ import annotations

import itertools
import os
import threading
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

import dsetpack
from dsetpack import Pack, Zca
from dsetpack.decoders import decoder, finished
from dsetpack.formats.kinds import kind_config
from dsetpack.torch_settings import PRODUCTS, as_lasting, exact, lasting
from tests.support.onnx_packs import CASES, LISTS, NORMALIZED, mixed, pack_of
from tests.support.paths import GOLDEN
from tests.support.processes import python
from tests.support.space_cases import pictures

CPU = torch.device("cpu")


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device):
    before = torch.get_default_device()
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None if before == CPU else before)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def products(setting):
    """Each product's own setting."""
    every = [one for some in PRODUCTS.values() for one in some]
    before = [one.fp32_precision for one in every]
    for one in every:
        one.fp32_precision = setting
    try:
        yield
        assert [one.fp32_precision for one in every] == [setting] * len(every)
    finally:
        for one, old in zip(every, before, strict=True):
            one.fp32_precision = old


@contextmanager
def matmul_precision(name):
    torch.set_float32_matmul_precision(name)
    try:
        yield
        assert torch.get_float32_matmul_precision() == name
    finally:
        torch.set_float32_matmul_precision("highest")


SETTINGS = {
    "float64 by default": lambda: default_dtype(torch.float64),
    "float16 by default": lambda: default_dtype(torch.float16),
    "bfloat16 by default": lambda: default_dtype(torch.bfloat16),
    "meta by default": lambda: default_device("meta"),
    "meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "grad": torch.enable_grad,
    "deterministic": deterministic,
    "products in tf32": lambda: products("tf32"),
    "matmul high": lambda: matmul_precision("high"),
    "matmul medium": lambda: matmul_precision("medium"),
}


KINDS = (
    "images", "upsample 2, padded", "haba depth 0", "haba depth 2", "haba released", "haba factor 2", "kfs Low-R, cut",
    "kfs kernel 4, cut", "generator 14",
)  # fmt: skip


class Watched(TorchDispatchMode):
    """Notes under which settings products are computed."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(word in str(func) for word in ("mm", "convolution", "addmv", "matmul")):
            self.seen |= {one.fp32_precision for one in PRODUCTS["cpu"]} | {args[0].dtype}
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def files():
    """Packs of every kind and with every space."""
    found = {name: pack_of(*CASES[name]) for name in KINDS} | {"of every kind": mixed()}
    kfs = ("kfs", {"decoders": 2, "channels": [4, 3]}, (3, 8, 8))
    found["haba, lists"] = pack_of(*CASES["haba depth 1"], class_decoders=LISTS)
    found["kfs, normalized"] = pack_of(*kfs, space=NORMALIZED)
    made, raw = dsetpack.open(pack_of(*kfs)), pictures(60, (3, 8, 8))
    for variant in ("kornia", "frepo"):
        space = Zca.fit(raw, variant)
        found[f"kfs, {variant}"] = Pack(made.card.replace(space=space.model), made.parts, space).to_bytes()
    return found


@pytest.fixture(scope="module")
def plain(files):
    return {name: decoded(dsetpack.open(data)) for name, data in files.items()}


@pytest.mark.parametrize("path", sorted((GOLDEN / "v1.0").glob("*.dpk")), ids=lambda path: path.stem)
def test_golden_packs_decode_the_same(path):
    expected = decoded(dsetpack.open(path, per_class=2 if "generator" in path.stem else None))
    for setting in SETTINGS.values():
        with setting():
            found = decoded(dsetpack.open(path, per_class=2 if "generator" in path.stem else None))
        assert_same(found, expected)


def decoded(pack):
    """All that a pack gives: a batch, with its images mapped back and forth again, and labels."""
    x, y = pack.decode(range(len(pack)), seed=3, epoch=2)
    return x, y, pack.space.invert(x), pack.space.apply(x), pack.labels, *pack.decode([])


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one.dtype, one.device) == (other.dtype, CPU)
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", SETTINGS)
def test_decoding_is_the_same(name, files, plain):
    """Opened, decoded and kept under a setting, then used as ever; the dataset, the loader and stored images, too."""
    for what, data in files.items():
        with SETTINGS[name](), Watched() as watched:
            pack = dsetpack.open(data)
            assert_same(decoded(pack), plain[what])
            items = [x for x, _ in pack.dataset(seed=3).__getitems__([2, 0])]
            kept, moved = pack.materialize(), pack.select(parts=0)
            x, y = next(iter(pack.loader(5, seed=1)))
        assert watched.seen <= {"ieee", "none", torch.float32, torch.float64}, what
        assert (x.dtype, y.device) == (torch.float32, CPU)
        assert [item.dtype for item in items] == [torch.float32] * 2
        assert_same(decoded(pack), plain[what])
        assert_same(kept.decode(range(len(kept))), pack.materialize().decode(range(len(kept))))
        for part in (*pack.parts, *moved.parts):
            for values in (part.sources, part.labels, *part.decoder.state_dict().values()):
                assert values is None or (values.device == CPU and not values.is_inference())
        sources = pack.parts[0].sources
        if sources is not None:
            sources.requires_grad_()
            pack.decode([0])[0].square().sum().backward()
            assert sources.grad is not None


@pytest.mark.parametrize("name", SETTINGS)
def test_finished_decoders_and_packs_are_made_the_same(name):
    images, labels = (255 * pictures(8)).byte().numpy(), [0, 1] * 4
    banks = {what: decoder(*shaped(what)).state_dict() for what in KINDS}
    with SETTINGS[name]():
        found = {what: finished(*shaped(what), bank) for what, bank in banks.items()}
        file = Pack.from_arrays(images, labels).to_bytes()
    for what, bank in banks.items():
        assert_same(found[what].state_dict().values(), bank.values())
    assert file == Pack.from_arrays(images, labels).to_bytes()


def shaped(what):
    kind, config, image = CASES[what]
    return kind, kind_config(kind).model_validate(config), image, 3


@pytest.mark.parametrize("name", ["float64 by default", "meta by default", "autocast", "inference mode"])
def test_workers_of_our_loader_decode_the_same(name, files):
    """Forked workers inherit the setting."""
    pack = dsetpack.open(files["haba depth 2"])
    expected = list(pack.loader(10, seed=1))
    with SETTINGS[name]():
        found = list(pack.loader(10, seed=1, num_workers=2, multiprocessing_context="fork"))
    assert_same(itertools.chain(*found), itertools.chain(*expected))


@pytest.mark.parametrize("name", ["float64 by default", "autocast", "inference mode"])
@pytest.mark.parametrize("of", ["stream", "dataset"])
def test_workers_of_torchs_loader_decode_the_same(name, of, files):
    """But not under "meta": torch's own loader draws its seed on the default device."""
    pack = dsetpack.open(files["haba depth 2"])

    def loader(**options):  # a stream counts its epochs, so each loader has its own
        data, batch = (pack.stream(10, seed=1), None) if of == "stream" else (pack, 10)
        return DataLoader(data, batch_size=batch, **options)

    expected = list(loader())
    with SETTINGS[name]():
        found = list(loader(num_workers=2, multiprocessing_context="fork"))
    assert_same(itertools.chain(*found), itertools.chain(*expected))


@pytest.mark.parametrize("name", SETTINGS)
def test_epochs_count_in_any_mode(name, files):
    """What ``set_epoch`` writes to may have been made in inference mode."""
    pack = dsetpack.open(files["generator 14"])
    with SETTINGS[name]():
        data, stream = pack.dataset(), pack.stream(4)
        data.set_epoch(1)
        next(iter(stream))
    data.set_epoch(2)
    stream.set_epoch(5)
    assert (data.epoch, stream.epoch) == (2, 5)


def test_lasting_tensors():
    with torch.inference_mode():
        one = torch.zeros(2)
        kept = as_lasting(one)
        with lasting():
            assert not torch.zeros(1).is_inference()
            assert not torch.is_grad_enabled()
    assert one.is_inference()
    assert not kept.is_inference()
    assert as_lasting(kept) is kept
    with torch.device("meta"), lasting():
        assert torch.zeros(1).device == CPU


def test_exact_restores_what_the_user_set():
    """Also what a product only inherited: it goes on to inherit."""
    code = """
import torch
from dsetpack.torch_settings import PRODUCTS, exact
every = [one for some in PRODUCTS.values() for one in some]
read = lambda: [one.fp32_precision for one in every]
for device in ("cpu", "cuda"):
    torch.backends.fp32_precision = "tf32"
    before = read()
    with exact(torch.device(device)):
        assert [one.fp32_precision for one in PRODUCTS[device]] == ["ieee"] * 2
        with exact(torch.device(device)):
            pass
        assert [one.fp32_precision for one in PRODUCTS[device]] == ["ieee"] * 2
    assert read() == before == ["tf32"] * 4, read()
    torch.backends.fp32_precision = "ieee"
    assert read() == ["ieee"] * 4, read()
"""
    python(code)


def test_threads_that_decode_at_a_time():
    """The first to leave does not take full precision from the others."""
    inside, leave = threading.Barrier(2, timeout=20), threading.Event()

    def first():
        with exact(CPU):
            inside.wait()
            leave.wait(20)

    with products("tf32"):
        thread = threading.Thread(target=first)
        thread.start()
        inside.wait()
        with exact(CPU):
            leave.set()
            thread.join()
            assert [one.fp32_precision for one in PRODUCTS["cpu"]] == ["ieee"] * 2
            if hasattr(os, "fork"):
                assert _in_child(lambda: [one.fp32_precision for one in PRODUCTS["cpu"]] == ["tf32"] * 2)


def _in_child(check):
    if pid := os.fork():
        return os.waitpid(pid, 0)[1] == 0
    os._exit(0 if check() else 1)


def test_exact_is_nothing_where_nothing_is_set():
    assert isinstance(exact(CPU), nullcontext)
    assert isinstance(exact(torch.device("meta")), nullcontext)
