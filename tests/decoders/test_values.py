"""Decoded values and gradients against one decoder at a time, built from ``torch.nn`` modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck

from dsetpack.decoders import Decoder, base, decoder

CIFAR = (3, 32, 32)
MNIST = (1, 28, 28)
ODD = (3, 13, 17)
Oracle = Callable[[dict[str, Tensor], int, Tensor], Tensor]


pytestmark = pytest.mark.usefixtures("one_thread")


def load(module: nn.Module, state: dict[str, Tensor], prefix: str, number: int | None = None) -> nn.Module:
    """Give an ``nn`` layer the weights of decoder ``number``, of the only one (shared), or unstacked (None)."""
    for name, parameter in module.named_parameters():
        stored = state[f"{prefix}.{name}"]
        parameter.data = stored if number is None else stored[min(number, len(stored) - 1)]
    return module


def oracle_images(state: dict[str, Tensor], number: int, source: Tensor) -> Tensor:
    return source


def oracle_upsample(factor: int, align_corners: bool) -> Oracle:
    def run(state: dict[str, Tensor], number: int, source: Tensor) -> Tensor:
        _, height, width = source.shape
        h, w = -(-height // factor), -(-width // factor)
        canvas = torch.full((len(source), h * factor, w * factor), 0.5, dtype=source.dtype)
        canvas[:, :height, :width] = source
        top, left = (number // factor) * h, (number % factor) * w
        patch = canvas[None, :, top : top + h, left : left + w]
        return nn.Upsample(size=(height, width), mode="bilinear", align_corners=align_corners)(patch)[0]

    return run


def oracle_haba(depth: int, form: str, source_channels: int, channels: int, image: tuple[int, int, int]) -> Oracle:
    """Layer by layer as ``formats/kinds/haba.py`` words it."""
    out = image[0]
    widths = [channels * 2**i for i in range(depth)]

    def released(state: dict[str, Tensor], number: int, x: Tensor) -> Tensor:
        x = load(nn.Conv2d(source_channels, channels, 3), state, "encoder.0", number)(x[None])
        x = state["sigma"][number] * x + state["mu"][number]
        y: Tensor = load(nn.ConvTranspose2d(channels, out, 3), state, "decoder.0", number)(x)[0]
        return y

    def paper(state: dict[str, Tensor], number: int, x: Tensor) -> Tensor:
        x, sizes = x[None], []
        for i, (a, b) in enumerate(zip([source_channels, *widths], widths, strict=False)):
            sizes.append(x.shape[2:])
            conv = nn.Conv2d(a, b, 3, stride=1 if i == 0 else 2, padding=1)
            x = nn.ReLU()(load(conv, state, f"encoder.{i}", number)(x))
        x = state["sigma"][number] * x + state["mu"][number]
        for i in range(depth - 1):
            a, b = widths[depth - 1 - i], widths[depth - 2 - i]
            conv = nn.ConvTranspose2d(a, b, 3, stride=2, padding=1)
            x = nn.ReLU()(load(conv, state, f"decoder.{i}", number)(x, output_size=sizes.pop()))
        if depth:
            x = load(nn.Conv2d(channels, out, 3, padding=1), state, f"decoder.{depth - 1}", number)(x)
        return x[0]

    return released if form == "released" else paper


def oracle_kfs(channels: tuple[int, ...], kernel: int, image: tuple[int, int, int]) -> Oracle:
    def run(state: dict[str, Tensor], number: int, code: Tensor) -> Tensor:
        widths, x = [*channels, image[0]], code[None]
        for i in range(len(channels)):
            layer = nn.ConvTranspose2d(widths[i], widths[i + 1], kernel, stride=2, padding=(kernel - 2) // 2)
            x = load(layer, state, f"layers.{i}", number)(x)
        top, left = (x.shape[2] - image[1]) // 2, (x.shape[3] - image[2]) // 2
        return nn.Sigmoid()(x)[0, :, top : top + image[1], left : left + image[2]]

    return run


def haba(image: tuple[int, int, int], **config: Any) -> tuple[str, dict[str, Any], tuple[int, int, int], Oracle]:
    depth = config.get("depth", 1)
    channels = config.get("channels") or (8 if depth > 1 else image[0])
    plain = oracle_haba(depth, config.get("form", "paper"), config.get("source_channels", image[0]), channels, image)
    factor = config.get("factor", 1)

    def small_bases(state: dict[str, Tensor], number: int, source: Tensor) -> Tensor:
        basis = oracle_upsample(factor, align_corners=False)(state, number % factor**2, source)
        return plain(state, number // factor**2, basis)

    return "haba", {"decoders": 4, **config}, image, plain if factor == 1 else small_bases


def kfs(image: tuple[int, int, int], channels: tuple[int, ...], kernel: int) -> tuple[str, Any, Any, Oracle]:
    config = {"decoders": 4, "channels": channels, "kernel": kernel}
    return "kfs", config, image, oracle_kfs(channels, kernel, image)


CASES = [
    ("images", {}, CIFAR, oracle_images),
    *(
        ("upsample", {"factor": f, "align_corners": a}, image, oracle_upsample(f, a))
        for f, a, image in [(2, False, CIFAR), (2, True, MNIST), (3, False, CIFAR), (3, True, ODD), (2, False, ODD)]
    ),
    *(haba(image, depth=depth) for depth in range(4) for image in (CIFAR, MNIST, ODD)),
    *(haba(image, form="released") for image in (CIFAR, MNIST, ODD)),
    haba(CIFAR, channels=8),
    haba(CIFAR, channels=16, source_channels=1),
    haba(ODD, depth=2, channels=4, source_channels=1),
    haba(CIFAR, form="released", source_channels=1),
    haba(CIFAR, form="released", channels=5),
    haba(CIFAR, shared=True),
    haba(MNIST, shared=True, form="released"),
    haba(ODD, shared=True, depth=3),
    haba(CIFAR, decoders=1),
    haba(CIFAR, factor=2),
    haba(MNIST, factor=2, decoders=1),
    haba(ODD, factor=2, decoders=2, depth=2),
    haba(ODD, factor=3, decoders=2, source_channels=1, form="released"),
    haba(ODD, factor=2, decoders=2, shared=True),
    haba(MNIST, factor=2, decoders=2, depth=0),
    *(kfs(image, c, k) for image in (CIFAR, MNIST, ODD) for c in ((12, 9, 6), (5, 4)) for k in (2, 4)),
]
IDS = [f"{kind}-{image[0]}x{image[1]}x{image[2]}-{config}" for kind, config, image, _ in CASES]


def randomized(bank: Decoder, seed: int = 0) -> Decoder:
    """Every tensor at random, so that no sigma of one and no mu of zero hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in bank.state_dict().values():
            tensor.add_(torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) - 0.5)
    return bank


def close(a: Tensor, b: Tensor) -> None:
    """Equal up to rounding. (The matrices of ``upsample`` are float32 in any case.)"""
    rtol, atol = (1e-6, 1e-6) if b.dtype == torch.float64 else (1e-3, 1e-4)
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize(("kind", "config", "image", "oracle"), CASES, ids=IDS)
def test_forward_and_product_equal_single_modules(
    kind: str, config: dict[str, Any], image: tuple[int, int, int], oracle: Oracle
) -> None:
    bank = randomized(decoder(kind, config, image, 10).double())
    count, state = bank.bank_size, bank.state_dict()
    generator = torch.Generator().manual_seed(1)
    sources = torch.rand(7, *bank.source_shape, generator=generator, dtype=torch.float64) - 0.3
    index = torch.randint(count, (7,), generator=generator)
    rows = torch.randint(7, (11,), generator=generator)
    slots = torch.randint(count, (11,), generator=generator)
    with torch.no_grad():
        expected = torch.stack([oracle(state, k, x) for k, x in zip(index.tolist(), sources, strict=True)])
        close(bank(sources, index), expected)
        every = torch.stack([torch.stack([oracle(state, k, x) for k in range(count)]) for x in sources])
        close(bank.product(sources), every)
        close(bank(sources, slots, rows), every[rows, slots])
        same = torch.full((7,), count - 1)
        close(bank(sources, same), every[:, -1])
        close(bank.unchecked_one(sources, count - 1), every[:, -1])
        assert torch.equal(bank(sources, index), bank(sources, index))
        close(bank.float()(sources.float(), index), expected.float())
        close(bank.product(sources.float()), every.float())


@pytest.mark.parametrize(("kind", "config", "image", "oracle"), CASES, ids=IDS)
def test_the_way_without_loops_decodes_the_same(
    kind: str, config: dict[str, Any], image: tuple[int, int, int], oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What GPUs and exported graphs run."""
    bank = randomized(decoder(kind, config, image, 10))
    sources, index = torch.rand(5, *bank.source_shape), torch.arange(5) % bank.bank_size
    with torch.no_grad():
        pairs, product = bank(sources, index), bank.product(sources)
        monkeypatch.setattr(base, "prefers_loops", lambda x: False)
        close(bank(sources, index), pairs)
        close(bank(sources.flip(0), index, torch.arange(4, -1, -1)), pairs)
        close(bank.product(sources), product)


GRADIENTS = [
    ("images", {}, (2, 3, 3)),
    ("upsample", {"factor": 2}, (1, 5, 4)),
    ("haba", {"decoders": 2, "depth": 0}, (1, 4, 4)),
    ("haba", {"decoders": 2}, (2, 4, 4)),
    ("haba", {"decoders": 2, "shared": True}, (1, 3, 3)),
    ("haba", {"decoders": 2, "form": "released"}, (1, 4, 4)),
    ("haba", {"decoders": 2, "depth": 2, "channels": 1}, (1, 3, 4)),
    ("haba", {"decoders": 2, "factor": 2}, (1, 4, 5)),
    ("haba", {"decoders": 2, "factor": 2, "shared": True}, (1, 4, 3)),
    ("kfs", {"decoders": 2, "channels": (2, 2, 1)}, (1, 9, 8)),
    ("kfs", {"decoders": 2, "channels": (2, 1), "kernel": 4}, (1, 5, 4)),
    ("generator", {"width": 2, "noise": 3}, (1, 8, 8)),
]


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "wide"])
@pytest.mark.parametrize(("kind", "config", "image"), GRADIENTS, ids=[f"{k}-{c}" for k, c, _ in GRADIENTS])
def test_gradients(
    kind: str, config: dict[str, Any], image: tuple[int, int, int], loops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "prefers_loops", lambda x: loops)
    bank = randomized(decoder(kind, config, image, 2).double(), seed=3)
    for key, tensor in bank.state_dict().items():
        if key.endswith("running_var"):
            tensor.fill_(0.7)
    names = [key for key, _ in bank.named_parameters()]
    generator = torch.Generator().manual_seed(5)
    sources = torch.rand(3, *bank.source_shape, generator=generator, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([1, 0, 1]) % bank.bank_size
    rows = torch.tensor([2, 0, 2])

    def call(x: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        state = dict(zip(names, values, strict=True))
        pairs = torch.func.functional_call(bank, state, (x, index, rows))
        return pairs, torch.func.functional_call(Product(bank), {f"bank.{k}": v for k, v in state.items()}, (x,))

    values = [p.detach().requires_grad_() for p in bank.parameters()]
    assert gradcheck(call, (sources, *values), fast_mode=True)


class Product(nn.Module):
    """``product`` as a module's forward."""

    def __init__(self, bank: Decoder) -> None:
        super().__init__()
        self.bank = bank

    def forward(self, sources: Tensor) -> Tensor:
        return self.bank.product(sources)


def test_gradients_reach_sources_and_bank_alike_in_both_ways() -> None:
    """The gradient of a sum over random pairs, against the single modules."""
    bank = randomized(decoder("haba", {"decoders": 3}, CIFAR, 10))
    oracle = oracle_haba(1, "paper", 3, 3, CIFAR)
    sources, index = torch.rand(6, *CIFAR, requires_grad=True), torch.tensor([2, 0, 2, 1, 0, 2])
    weight = torch.rand(6, *CIFAR)
    (bank(sources, index) * weight).sum().backward()
    state = {key: value.detach().clone().requires_grad_() for key, value in bank.state_dict().items()}
    x = sources.detach().clone().requires_grad_()
    sigma, mu = state["sigma"], state["mu"]
    images = torch.stack([oracle(state, k, x[i]) for i, k in enumerate(index.tolist())])
    (images * weight).sum().backward()
    assert sources.grad is not None
    assert x.grad is not None
    close(sources.grad, x.grad)
    for key, expected in (("sigma", sigma), ("mu", mu)):
        grad = dict(bank.named_parameters())[key].grad
        assert grad is not None
        assert expected.grad is not None
        close(grad, expected.grad)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("kfs", {"decoders": 3, "channels": (12, 9, 6)}),
        ("haba", {"decoders": 3}),
        ("haba", {"decoders": 3, "factor": 2}),
        ("upsample", {"factor": 2}),
    ],
    ids=str,
)
def test_gradients_are_the_same_bits_every_time(kind: str, config: dict[str, Any]) -> None:
    """Sums over repeated decoders and sources must not depend on how threads interleave."""
    torch.set_num_threads(2)
    bank = decoder(kind, config, CIFAR, 10)
    sources = torch.rand(20, *bank.source_shape, requires_grad=True)
    index, rows = torch.randint(3, (64,)), torch.randint(20, (64,))
    weight = torch.randn(64, *CIFAR)
    wanted = [sources, *bank.parameters()]
    first = torch.autograd.grad((bank(sources, index, rows) * weight).sum(), wanted)
    for _ in range(3):
        again = torch.autograd.grad((bank(sources, index, rows) * weight).sum(), wanted)
        assert all(torch.equal(a, b) for a, b in zip(again, first, strict=True))


def oracle_generator(state: dict[str, Tensor], noise: Tensor, side: int, width: int, out: int) -> Tensor:
    """DiM's generator from ``torch.nn`` layers in evaluation mode; [B, noise] to [B, out, side, side]."""

    def norm(layer: nn.Module, prefix: str) -> nn.Module:
        load(layer, state, prefix)
        layer.running_mean, layer.running_var = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
        return layer.eval()

    x = load(nn.Linear(noise.shape[1], 16 * width), state, "fc")(noise)
    x = nn.ReLU()(norm(nn.BatchNorm1d(16 * width), "fc_norm")(x)).view(-1, width, 4, 4)
    first = 3 if side == 28 else 4
    layers: list[nn.Module] = [nn.ConvTranspose2d(width, width, first, stride=2, padding=1)]
    layers += [nn.Conv2d(width, width, 3, padding=1) for _ in range(3)]
    layers += [nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)]
    layers += [nn.Conv2d(width, width, 3, padding=1), nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)]
    for i, layer in enumerate(layers):
        x = load(layer, state, f"blocks.{i}.conv")(x)
        x = nn.ReLU()(norm(nn.BatchNorm2d(width), f"blocks.{i}.norm")(x))
    return (nn.Tanh()(load(nn.Conv2d(width, out, 3, padding=1), state, "out")(x)) + 1) / 2


@pytest.mark.parametrize("image", [CIFAR, MNIST], ids=str)
def test_generator_equals_torch_layers(image: tuple[int, int, int]) -> None:
    bank = randomized(decoder("generator", {"width": 6, "noise": 20}, image, 10))
    noise, index = torch.randn(4, 20), torch.zeros(4, dtype=torch.int64)
    with torch.no_grad():
        expected = oracle_generator(bank.state_dict(), noise, image[1], 6, image[0])
        close(bank(noise, index), expected)
        close(bank.product(noise)[:, 0], expected)
        close(bank(noise, index[:2], torch.tensor([3, 1])), expected[[3, 1]])


@pytest.mark.parametrize("side", [7, 8, 14, 16, 56, 64])
def test_generator_sizes(side: int) -> None:
    bank = decoder("generator", {"width": 2, "noise": 3}, (1, side, side), 2)
    assert bank.product(torch.randn(2, 3)).shape == (2, 1, 1, side, side)


def test_generator_statistics() -> None:
    bank = decoder("generator", {"width": 6, "noise": 20}, CIFAR, 10)
    noise = torch.randn(8, 20)
    index = torch.zeros(8, dtype=torch.int64)
    before = {key: value.clone() for key, value in bank.state_dict().items()}
    assert not bank.training
    with torch.no_grad():
        decoded = bank(noise, index)
        close(bank(noise[:3], index[:3]), decoded[:3])
        assert all(torch.equal(value, before[key]) for key, value in bank.state_dict().items())

        bank.train()
        trained = bank(noise, index)
        assert not torch.allclose(trained, decoded, atol=1e-3)
        assert not torch.allclose(bank(noise[:3], index[:3]), trained[:3], atol=1e-4)
        after = bank.state_dict()
        hidden = F.linear(noise, after["fc.weight"], after["fc.bias"])
        moved = before["fc_norm.running_mean"] * 0.9 + hidden.mean(0) * 0.1
        close(after["fc_norm.running_mean"], moved * 0.9 + hidden[:3].mean(0) * 0.1)
        assert not any("num_batches" in key for key in after)
        bank.eval()
        assert torch.equal(bank(noise, index), bank(noise, index))


def test_label_noise_overwrites_the_first_entries() -> None:
    bank = decoder("generator", {"width": 2, "noise": 14}, MNIST, 10)
    noise, labels = torch.randn(3, 14), torch.tensor([0, 9, 4])
    kept = noise.clone()
    made = bank.condition(noise, labels)
    assert torch.equal(made[:, :10], torch.eye(10)[labels])
    assert torch.equal(made[:, 10:], noise[:, 10:])
    assert torch.equal(noise, kept)
    assert made.dtype == noise.dtype


def test_bases_start_as_the_plain_affine_map() -> None:
    bank = decoder("haba", {"decoders": 2, "depth": 0}, MNIST, 10)
    x = torch.rand(3, *MNIST)
    close(bank(x, torch.tensor([0, 1, 1])), x)


def test_autocast_keeps_the_batch_together() -> None:
    bank = decoder("haba", {"decoders": 3}, CIFAR, 10)
    x, index = torch.rand(4, *CIFAR), torch.tensor([0, 2, 1, 2])
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert bank(x, index).dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("upsample", {"factor": 3}),
        ("haba", {"decoders": 3, "depth": 2}),
        ("haba", {"decoders": 3, "form": "released"}),
        ("haba", {"decoders": 2, "factor": 2}),
        ("kfs", {"decoders": 3, "channels": (6, 5, 4)}),
        ("kfs", {"decoders": 3, "channels": (6, 5), "kernel": 4}),
    ],
)
def test_a_traced_graph_has_a_dynamic_batch(kind: str, config: dict[str, Any]) -> None:
    bank = randomized(decoder(kind, config, CIFAR, 10))
    batch = torch.export.Dim("batch", min=1, max=4096)
    sources, index = torch.rand(3, *bank.source_shape), torch.tensor([1, 0, 2])
    program = torch.export.export(bank, (sources, index), dynamic_shapes=({0: batch}, {0: batch}))
    for size in (3, 5):
        x, k = torch.rand(size, *bank.source_shape), torch.arange(size) % 3
        with torch.no_grad():
            close(program.module()(x, k), bank(x, k))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("kind", "config", "image", "oracle"), CASES, ids=IDS)
def test_a_gpu_decodes_the_same(
    kind: str, config: dict[str, Any], image: tuple[int, int, int], oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    bank = randomized(decoder(kind, config, image, 10))
    sources, index = torch.rand(9, *bank.source_shape), torch.arange(9) % bank.bank_size
    with torch.no_grad():
        pairs, product = bank(sources, index), bank.product(sources)
        bank.cuda()
        close(bank(sources.cuda(), index.cuda()).cpu(), pairs)
        close(bank(sources.cuda(), index).cpu(), pairs)
        close(bank.product(sources.cuda()).cpu(), product)
