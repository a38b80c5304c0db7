"""Decoders as one would write them without dsetpack: one ``torch.nn`` module per decoder."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsetpack.decoders import Decoder


class Hallucinator(nn.Module):
    """HaBa: encode, scale and shift, decode. As released: no padding, no ReLU, a transposed convolution."""

    def __init__(self, bank: Decoder, number: int) -> None:
        super().__init__()
        config: Any = bank.config
        state, shapes = bank.state_dict(), config.bank_shapes(bank.image, bank.classes)
        self.released = config.form == "released"
        self.sigma = nn.Parameter(state["sigma"][number][None])
        self.mu = nn.Parameter(state["mu"][number][None])
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        side = 0 if self.released else 1
        for i in range(config.depth):
            _, out, inward, *_ = shapes[f"encoder.{i}.weight"]
            conv: nn.Module = nn.Conv2d(inward, out, 3, stride=2 if i else 1, padding=side)
            self.encoder.append(_filled(conv, state, f"encoder.{i}", number))
            _, first, second, *_ = shapes[f"decoder.{i}.weight"]
            if self.released:
                conv = nn.ConvTranspose2d(first, second, 3)
            elif i < config.depth - 1:
                conv = nn.ConvTranspose2d(first, second, 3, stride=2, padding=1, output_padding=1)
            else:
                conv = nn.Conv2d(second, first, 3, padding=1)
            self.decoder.append(_filled(conv, state, f"decoder.{i}", number))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.encoder:
            x = layer(x) if self.released else F.relu(layer(x))
        x = self.sigma * x + self.mu
        for i, layer in enumerate(self.decoder):
            x = layer(x) if self.released or i == len(self.decoder) - 1 else F.relu(layer(x))
        return x


class Patch(nn.Module):
    """IDC: cut out patch ``number`` and enlarge it."""

    def __init__(self, bank: Decoder, number: int) -> None:
        super().__init__()
        config: Any = bank.config
        self.row, self.column = divmod(number, config.factor)
        self.size = [-(-side // config.factor) for side in bank.image[1:]]
        self.pad = [size * config.factor - side for size, side in zip(self.size, bank.image[1:], strict=True)]
        self.enlarge = nn.Upsample(size=bank.image[1:], mode="bilinear", align_corners=config.align_corners)

    def forward(self, x: Tensor) -> Tensor:
        h, w = self.size
        x = F.pad(x, (0, self.pad[1], 0, self.pad[0]), value=0.5)
        enlarged: Tensor = self.enlarge(x[:, :, self.row * h : self.row * h + h, self.column * w : self.column * w + w])
        return enlarged


def kfs(bank: Decoder, number: int) -> nn.Module:
    """KFS: transposed convolutions, a crop to the centre, and a sigmoid."""
    config: Any = bank.config
    state, widths = bank.state_dict(), [*config.channels, bank.image[0]]
    layers: list[nn.Module] = []
    for i in range(len(config.channels)):
        layer = nn.ConvTranspose2d(widths[i], widths[i + 1], config.kernel, stride=2, padding=config.kernel // 2 - 1)
        layers.append(_filled(layer, state, f"layers.{i}", number))
    surplus = bank.source_shape[1] * config.scale() - bank.image[1]
    if surplus:
        layers.append(nn.ZeroPad2d(-(surplus // 2)))  # a negative padding crops
    return nn.Sequential(*layers, nn.Sigmoid())


class Whole(nn.Module):
    """The bank itself, if it holds one network (generator) or none (images)."""

    def __init__(self, bank: Decoder) -> None:
        super().__init__()
        self.bank = bank

    def forward(self, x: Tensor) -> Tensor:
        return self.bank.unchecked_one(x, 0)


def modules_of(kind: str, bank: Decoder) -> nn.ModuleList:
    """One module per decoder of the bank, with the bank's weights."""
    make = {
        "haba": lambda number: Hallucinator(bank, number),
        "kfs": lambda number: kfs(bank, number),
        "upsample": lambda number: Patch(bank, number),
    }.get(kind, lambda _: Whole(bank))
    device = next(bank.parameters(), torch.empty(0)).device
    return nn.ModuleList(make(number) for number in range(bank.bank_size)).to(device)


def _filled(layer: nn.Module, state: dict[str, Tensor], prefix: str, number: int) -> nn.Module:
    for name, parameter in layer.named_parameters():
        stored = state[f"{prefix}.{name}"]
        parameter.data = stored[min(number, len(stored) - 1)].clone()
    return layer
