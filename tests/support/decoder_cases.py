"""Banks of every kind, and one decoder at a time from ``torch.nn`` modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dsetpack.decoders import Decoder, decoder

CIFAR = (3, 32, 32)
MNIST = (1, 28, 28)
ODD = (3, 13, 17)
Oracle = Callable[[dict[str, Tensor], int, Tensor], Tensor]


def load(module: nn.Module, state: dict[str, Tensor], prefix: str, number: int | None = None) -> nn.Module:
    """Give an ``nn`` layer the weights of decoder ``number``, of the only decoder (shared), or unstacked (None)."""
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
    """HaBa layer by layer, as ``formats/kinds/haba.py`` describes it."""
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
    """Randomize every tensor, so that a sigma of one or a mu of zero cannot hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in bank.state_dict().values():
            tensor.add_(torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) - 0.5)
    return bank


def close(a: Tensor, b: Tensor) -> None:
    """Equal up to rounding. (The matrices of ``upsample`` are always float32.)"""
    rtol, atol = (1e-6, 1e-6) if b.dtype == torch.float64 else (1e-3, 1e-4)
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def parameters(kind: str, image: tuple[int, int, int] = CIFAR, **config: Any) -> int:
    return sum(p.numel() for p in decoder(kind, config, image, 10).parameters())
