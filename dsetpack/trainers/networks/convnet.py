"""ConvNet: the network that condensation papers match and report (Gidaris & Komodakis 2018, as used since DC).

It has blocks of 3×3 convolution, instance norm, ReLU and average pooling by 2, then one linear layer. With 3 blocks of
128 channels at 3×32×32 it has 320,010 parameters for 10 classes, and 2048 features. Instance norm is ``GroupNorm`` with
as many groups as channels, with learned scale and shift. Everything is initialised by torch's defaults.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from dsetpack.trainers.networks.base import Factory, Image, Network, first_padding, halved

WIDTH = 128


def convnet(image: Image, classes: int, width: int | None, *, depth: int) -> Network:
    """Build a ConvNet of ``depth`` blocks, all with ``width`` channels."""
    width = width or WIDTH
    height, breadth = halved(image, depth, f"convnet{depth}")
    layers: list[nn.Module] = []
    for block in range(depth):
        channels, padding = (width, 1) if block else (image[0], first_padding(image, 1))
        layers += [
            nn.Conv2d(channels, width, 3, padding=padding),
            nn.GroupNorm(width, width),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
    return Network(nn.Sequential(*layers), width * height * breadth, classes)


NETWORKS: dict[str, Factory] = {f"convnet{depth}": partial(convnet, depth=depth) for depth in (3, 4, 5)}
"""Depth 3 is for images of 28 and 32, 4 for 64, 5 for 128, as in DC and MTT."""
