"""FRePo's network ``conv`` (Zhou et al. 2022, released code): widths that double, norms before convolutions.

It has blocks of 3×3 convolution, ReLU and average pooling by 2; then one linear layer. The usual width is 128, so
channels are 128, 256, 512 and there are 512·4·4 = 8192 features at 32×32. Batch norm comes before every convolution but
the first. FRePo learns a set with batch norm (``frepo3``) and evaluates it on the same network without norms
(``frepo3-nonorm``).

Initial weights are as in Flax: from a normal distribution of variance 1 / fan-in, cut off at two standard deviations
and scaled back to that variance (LeCun normal). Biases are 0.

Differences from the release:

- 28×28 images of any number of channels get the wider first padding, as in the other networks here; in the release,
  1-channel images of any size get it.
- Batch norm's running variance is torch's unbiased one; Flax's is biased, which is a factor of n / (n - 1), n = B·H·W.
"""

from __future__ import annotations

import math
from functools import partial

from torch import nn

from dsetpack.trainers.networks.base import Factory, Image, Network, first_padding, halved

WIDTH = 128
DEPTHS = (3, 4, 5)
MOMENTUM = 0.9
"""The newest batch's share in the running statistics; Flax's momentum of 0.1 is the older batches' share."""
_CUT = 0.87962566103423978
"""The standard deviation of a standard normal distribution cut off at -2 and 2."""


def frepo(image: Image, classes: int, width: int | None, *, depth: int, norm: bool) -> Network:
    """Build ``depth`` blocks with ``width``, 2 · ``width``, 4 · ``width``, ... channels."""
    width = width or WIDTH
    height, breadth = halved(image, depth, f"frepo{depth}")
    layers: list[nn.Module] = []
    channels = image[0]
    for block in range(depth):
        if block and norm:
            layers.append(nn.BatchNorm2d(channels, momentum=MOMENTUM))
        padding = 1 if block else first_padding(image, 1)
        layers += [nn.Conv2d(channels, width << block, 3, padding=padding), nn.ReLU(), nn.AvgPool2d(2)]
        channels = width << block
    made = Network(nn.Sequential(*layers), channels * height * breadth, classes)
    for module in made.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _lecun(module)
    return made


def _lecun(layer: nn.Conv2d | nn.Linear) -> None:
    scale = 1 / math.sqrt(layer.weight[0].numel()) / _CUT
    nn.init.trunc_normal_(layer.weight, 0.0, scale, -2 * scale, 2 * scale)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


NETWORKS: dict[str, Factory] = {
    f"frepo{depth}{end}": partial(frepo, depth=depth, norm=norm)
    for depth in DEPTHS
    for end, norm in (("", True), ("-nonorm", False))
}
"""Depth 3 is for images of 28 and 32. 4 for 64 and 5 for 128 are inferred (from RCIG's configurations)."""
