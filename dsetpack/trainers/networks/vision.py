"""DenseNet-121 and EfficientNet-B0 for small images, on which KFS, IDC and DiM also test. They need torchvision.

Both are torchvision's modules with freshly drawn weights, and with a first convolution that keeps the image's size;
unchanged, they would halve 28×28 or 32×32 images five times, to a single pixel. As in the networks for CIFAR that IDC
tests on:

- ``densenet121`` (Huang et al. 2017) has a 3×3 stem of stride 1 without pooling. Three halvings remain, from 32×32 to
  4×4. Growth is 32 and the stem has 64 channels, as on ImageNet; IDC's has growth 12.
- ``efficientnet-b0`` (Tan & Le 2019) has a 3×3 stem of stride 1. Four halvings remain, from 32×32 to 2×2. Dropout (0.2)
  and stochastic depth (0.2) are as in torchvision.

The width is the stem's: DenseNet's growth rate is half of it; EfficientNet's channels keep their ratio to it, in
multiples of 8.
"""

from __future__ import annotations

from types import ModuleType
from typing import Literal

from torch import nn

from dsetpack.formats.errors import DsetpackError
from dsetpack.trainers.networks.base import Factory, Image, Network, halved

DENSE_WIDTH, DENSE_BLOCKS = 64, (6, 12, 24, 16)
B0_WIDTH = 32
B0 = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
"""Tan & Le's table 1: each stage's expansion, kernel, stride, channels in and out, and number of layers."""


def densenet121(image: Image, classes: int, width: int | None) -> Network:
    """Build blocks of 6, 12, 24 and 16 layers on a stem of ``width`` channels, usually 64."""
    models, width = _models("densenet121"), width or DENSE_WIDTH
    halved(image, 3, "densenet121")
    made = models.densenet.DenseNet(max(1, width // 2), DENSE_BLOCKS, width, num_classes=classes)
    made.features.conv0 = _stem(image, width, "fan_in")
    made.features.pool0 = nn.Identity()
    body = nn.Sequential(made.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return _network(body, made.classifier, classes)


def efficientnet_b0(image: Image, classes: int, width: int | None) -> Network:
    """Build seven stages of inverted bottlenecks with squeeze-and-excitation on a stem of ``width`` (32) channels."""
    models = _models("efficientnet-b0")
    halved(image, 3, "efficientnet-b0")
    ratio = (width or B0_WIDTH) / B0_WIDTH
    stages = [models.efficientnet.MBConvConfig(*stage, width_mult=ratio) for stage in B0]
    made = models.efficientnet.EfficientNet(stages, 0.2, num_classes=classes)
    made.features[0][0] = _stem(image, stages[0].input_channels, "fan_out")
    dropout, head = made.classifier
    return _network(nn.Sequential(made.features, nn.AdaptiveAvgPool2d(1), dropout), head, classes)


def _network(body: nn.Module, head: nn.Linear, classes: int) -> Network:
    """Join body and head into a ``Network``, with the head as torchvision initialised it."""
    made = Network(body, head.in_features, classes)
    made.head = head
    return made


def _stem(image: Image, channels: int, fan: Literal["fan_in", "fan_out"]) -> nn.Conv2d:
    """Make a first convolution that keeps the image's size, initialised like torchvision's other convolutions."""
    stem = nn.Conv2d(image[0], channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode=fan)
    return stem


def _models(name: str) -> ModuleType:
    try:
        from torchvision import models
    except Exception as error:  # a build for another torch may raise RuntimeError on import
        raise DsetpackError(
            f"{name} is torchvision's, which cannot be imported ({error}): install the torchvision that fits your torch"
        ) from error
    found: ModuleType = models
    return found


NETWORKS: dict[str, Factory] = {"densenet121": densenet121, "efficientnet-b0": efficientnet_b0}
