"""VGG-11 as in the released code of DC, DSA and DM: instance norm, and one linear layer instead of three."""

from __future__ import annotations

from torch import nn

from dsetpack.trainers.networks.base import Factory, Image, Network, first_padding, halved

BLOCKS = ((1,), (2,), (4, 4), (8, 8), (8, 8))
"""Channels of each convolution in units of the width; a max pooling by 2 ends each block."""
WIDTH = 64


def vgg11(image: Image, classes: int, width: int | None) -> Network:
    """Build eight 3×3 convolutions, each with instance norm and ReLU; 64 to 512 channels at the usual width."""
    width = width or WIDTH
    height, breadth = halved(image, len(BLOCKS), "vgg11")
    layers: list[nn.Module] = []
    channels, padding = image[0], first_padding(image, 1)
    for block in BLOCKS:
        for factor in block:
            layers += [
                nn.Conv2d(channels, factor * width, 3, padding=padding),
                nn.GroupNorm(factor * width, factor * width),
                nn.ReLU(),
            ]
            channels, padding = factor * width, 1
        layers.append(nn.MaxPool2d(2))
    return Network(nn.Sequential(*layers), channels * height * breadth, classes)


NETWORKS: dict[str, Factory] = {"vgg11": vgg11}
