"""The interface of all networks, and what their builders share."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural

Image = tuple[int, int, int]


class Network(nn.Module):
    """A network of features and one linear layer on top.

    Attributes:
        body: maps images [B, C, H, W] to feature maps [B, c, h, w].
        head: maps flattened features [B, features] to logits [B, classes].
        features: the number of features, c·h·w.
    """

    def __init__(self, body: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.body, self.features = body, features
        self.head = nn.Linear(features, classes)

    def embed(self, x: Tensor) -> Tensor:
        """The penultimate features, flattened: [B, features]. Distribution matching compares these."""
        maps: Tensor = self.body(x)
        return maps.flatten(1)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, C, H, W]."""
        logits: Tensor = self.head(self.embed(x))
        return logits


Factory = Callable[[Image, int, int | None], Network]
"""A function from (image, classes, width or None) to a network."""


def first_padding(image: Image, usual: int) -> int:
    """Zero padding of the first convolution: 28×28 grows to 32×32, as in the released code of DC, DSA, DM and HaBa."""
    return usual + 2 if image[1:] == (28, 28) else usual


def sides(image: Image) -> tuple[int, int]:
    """Height and width after that padding."""
    return (32, 32) if image[1:] == (28, 28) else image[1:]


def halved(image: Image, times: int, name: str) -> tuple[int, int]:
    """Height and width after ``times`` poolings by 2.

    Raises:
        FormatError: if no pixel is left.
    """
    height, width = (side >> times for side in sides(image))
    if not height or not width:
        raise FormatError(
            f"{name} halves images {plural(times, 'time')}: {image[1]}×{image[2]} (height × width) is too small, "
            f"{1 << times} a side needed"
        )
    return height, width
