"""The decoder kinds of formats/SPEC.md (section 5.1) in plain numpy, one image at a time, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray
Json = dict[str, Any]


def conv(x: Array, weight: Array, bias: Array, *, stride: int = 1, padding: int = 0) -> Array:
    """Cross-correlation of [in, h, w] with [out, in, k, k]."""
    k = weight.shape[-1]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    rows, columns = ((n - k) // stride + 1 for n in x.shape[1:])
    found = np.empty((len(weight), rows, columns))
    for i in range(rows):
        for j in range(columns):
            window = x[:, i * stride : i * stride + k, j * stride : j * stride + k]
            found[:, i, j] = np.tensordot(weight, window, 3) + bias
    return found


def transposed(x: Array, weight: Array, bias: Array, *, stride: int, padding: int, size: tuple[int, ...]) -> Array:
    """The adjoint of ``conv``, with [in, out, k, k], to an image of ``size``."""
    k = weight.shape[-1]
    found = np.zeros((weight.shape[1], size[0] + 2 * padding + k, size[1] + 2 * padding + k))
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            found[:, i * stride : i * stride + k, j * stride : j * stride + k] += np.tensordot(x[:, i, j], weight, 1)
    return found[:, padding : padding + size[0], padding : padding + size[1]] + bias[:, None, None]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def images(config: Json, shape: tuple[int, int, int], bank: dict[str, Array], source: Array, k: int) -> Array:
    return source


def upsample(config: Json, shape: tuple[int, int, int], bank: dict[str, Array], source: Array, k: int) -> Array:
    f, (h, w) = config["factor"], (math.ceil(n / config["factor"]) for n in shape[1:])
    padded = np.full((shape[0], f * h, f * w), 0.5)
    padded[:, : shape[1], : shape[2]] = source
    row, column = k // f, k % f
    patch = padded[:, row * h : row * h + h, column * w : column * w + w]

    def enlarge(line: Array, size: int) -> Array:
        n = len(line)
        found = []
        for i in range(size):
            if config.get("align_corners", False):
                x = i * (n - 1) / (size - 1) if size > 1 else 0
            else:
                x = max(0, (i + 0.5) * n / size - 0.5)
            j = math.floor(x)
            found.append((1 - (x - j)) * line[j] + (x - j) * line[min(j + 1, n - 1)])
        return np.array(found)

    tall = np.apply_along_axis(enlarge, 1, patch, shape[1])
    return np.apply_along_axis(enlarge, 2, tall, shape[2])


def haba(config: Json, shape: tuple[int, int, int], bank: dict[str, Array], source: Array, k: int) -> Array:
    depth, form = config.get("depth", 1), config.get("form", "paper")
    f, x = config.get("factor", 1), source
    if f > 1:
        k, patch = k // f**2, k % f**2
        x = upsample({"factor": f}, (len(source), *shape[1:]), {}, source, patch)
    n = 0 if config.get("shared", False) else k

    def layer(name: str) -> tuple[Array, Array]:
        return bank[f"{name}.weight"][n], bank[f"{name}.bias"][n]

    if form == "released":
        x = bank["sigma"][k] * conv(x, *layer("encoder.0")) + bank["mu"][k]
        return transposed(x, *layer("decoder.0"), stride=1, padding=0, size=shape[1:])
    for i in range(depth):
        x = relu(conv(x, *layer(f"encoder.{i}"), stride=2 if i else 1, padding=1))
    x = bank["sigma"][k] * x + bank["mu"][k]
    for i in range(depth):
        if i == depth - 1:
            x = conv(x, *layer(f"decoder.{i}"), padding=1)
        else:
            size = tuple(math.ceil(side / 2 ** (depth - 2 - i)) for side in shape[1:])
            x = relu(transposed(x, *layer(f"decoder.{i}"), stride=2, padding=1, size=size))
    return x


def kfs(config: Json, shape: tuple[int, int, int], bank: dict[str, Array], source: Array, k: int) -> Array:
    x = source
    for i in range(len(config["channels"])):
        size = tuple(2 * side for side in x.shape[1:])
        weight, bias = bank[f"layers.{i}.weight"][k], bank[f"layers.{i}.bias"][k]
        x = transposed(x, weight, bias, stride=2, padding=0 if config.get("kernel", 2) == 2 else 1, size=size)
    top, left = (x.shape[1] - shape[1]) // 2, (x.shape[2] - shape[2]) // 2
    return 1 / (1 + np.exp(-x[:, top : top + shape[1], left : left + shape[2]]))


def generator(config: Json, shape: tuple[int, int, int], bank: dict[str, Array], source: Array, k: int) -> Array:
    width, side = config.get("width", 196), shape[1]
    start = 7 if side % 7 == 0 else 8
    d = int(math.log2(side // start))
    layers = ["up3" if start == 7 else "up4", "conv", "conv", "conv"]
    layers += ["up4", *(["conv", "up4"] * (d - 1))] if d else []

    def norm(x: Array, name: str) -> Array:
        mean, var, weight, bias = (bank[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        shaped = (-1,) + (1,) * (x.ndim - 1)
        return (x - mean.reshape(shaped)) / np.sqrt(var.reshape(shaped) + 1e-5) * weight.reshape(shaped) + bias.reshape(
            shaped
        )

    x = relu(norm(bank["fc.weight"] @ source + bank["fc.bias"], "fc_norm")).reshape(width, 4, 4)
    for i, layer in enumerate(layers):
        weight, bias = bank[f"blocks.{i}.conv.weight"], bank[f"blocks.{i}.conv.bias"]
        if layer == "conv":
            x = conv(x, weight, bias, padding=1)
        else:
            side = 2 * x.shape[1] - (1 if layer == "up3" else 0)
            x = transposed(x, weight, bias, stride=2, padding=1, size=(side, side))
        x = relu(norm(x, f"blocks.{i}.norm"))
    return (np.tanh(conv(x, bank["out.weight"], bank["out.bias"], padding=1)) + 1) / 2


KINDS = {"images": images, "upsample": upsample, "haba": haba, "kfs": kfs, "generator": generator}
RAW = {"kfs", "generator"}
