"""AlexNet as in the released code of DC, DSA and DM: five convolutions without norms, and one linear layer."""

from __future__ import annotations

from torch import nn

from dsetpack.trainers.networks.base import Factory, Image, Network, first_padding, halved

WIDTH = 128


def alexnet(image: Image, classes: int, width: int | None) -> Network:
    """Build an AlexNet: 128, 192, 256, 192, 192 channels at the usual width; max pooling after layers 1, 2 and 5."""
    width = width or WIDTH
    height, breadth = halved(image, 3, "alexnet")
    wide, widest = width * 3 // 2, width * 2
    body = nn.Sequential(
        nn.Conv2d(image[0], width, 5, padding=first_padding(image, 2)),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, wide, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(wide, widest, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(widest, wide, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(wide, wide, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
    return Network(body, wide * height * breadth, classes)


NETWORKS: dict[str, Factory] = {"alexnet": alexnet}
