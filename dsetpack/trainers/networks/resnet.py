"""ResNet-10 and -18 as in IDC's released code for CIFAR; KFS and DiM evaluate on them (He et al. 2016).

They have a 3×3 stem without pooling, four stages of basic blocks with 32, 64, 128 and 256 channels (half the usual
widths), batch norm and global average pooling. A stage has 1 (ResNet-10) or 2 (ResNet-18) blocks. Convolutions start
from a normal distribution of variance 2 / (k·k·channels out).

ResNetAP (``resnetap10``, ``resnetap18``), used for matching in DC's line of papers, has average pooling instead of
strides, after the first convolution's ReLU and after the shortcut's convolution.
"""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.trainers.networks.base import Factory, Image, Network, halved

WIDTH = 32


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut, which is a 1×1 convolution if the shape changes.

    The output is smaller by ``stride``: through strided convolutions, or if ``pooled``, through average pooling after
    plain ones.
    """

    def __init__(self, channels: int, out: int, stride: int, pooled: bool) -> None:
        super().__init__()
        step, pool = (1, nn.AvgPool2d(stride)) if pooled and stride > 1 else (stride, nn.Identity())
        self.conv1 = nn.Conv2d(channels, out, 3, step, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.pool = pool
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        same = stride == 1 and channels == out
        conv = nn.Conv2d(channels, out, 1, step, bias=False)
        self.shortcut = nn.Identity() if same else nn.Sequential(conv, pool, nn.BatchNorm2d(out))

    @override
    def forward(self, x: Tensor) -> Tensor:
        inner = self.pool(F.relu(self.norm1(self.conv1(x))))
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


def resnet(image: Image, classes: int, width: int | None, *, blocks: int, pooled: bool = False) -> Network:
    """Build a ResNet with ``blocks`` basic blocks per stage; stage s has ``width · 2**s`` channels."""
    if pooled:
        halved(image, 3, f"resnetap{8 * blocks + 2}")
    width = width or WIDTH
    layers: list[nn.Module] = [nn.Conv2d(image[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage in range(4):
        for block in range(blocks):
            out = width << stage
            layers.append(Block(channels, out, 2 if stage and not block else 1, pooled))
            channels = out
    layers.append(nn.AdaptiveAvgPool2d(1))
    made = Network(nn.Sequential(*layers), channels, classes)
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, 0.0, math.sqrt(2 / fan_out))
    return made


NETWORKS: dict[str, Factory] = {
    "resnet10": partial(resnet, blocks=1),
    "resnet18": partial(resnet, blocks=2),
    "resnetap10": partial(resnet, blocks=1, pooled=True),
    "resnetap18": partial(resnet, blocks=2, pooled=True),
}
