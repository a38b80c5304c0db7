"""Networks that distillation matches and that packs are evaluated on: one file per family, found by name.

Each file of this package lists its networks in ``NETWORKS``: name -> factory. To add a network, add a file; nothing
else changes.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from dsetpack.formats.by_name import by_name, chosen
from dsetpack.formats.errors import FormatError
from dsetpack.trainers.networks.base import Factory, Image, Network

__all__ = ["Network", "network", "network_names"]


def _factories() -> dict[str, Factory]:
    families: Iterable[dict[str, Factory]] = by_name(__name__, "NETWORKS").values()
    return {name: factory for family in families for name, factory in family.items()}


def network_names() -> tuple[str, ...]:
    """The names that ``network`` knows, sorted."""
    return tuple(sorted(_factories()))


def network(name: str, image: Image, classes: int, width: int | None = None, *, seed: int = 0) -> Network:
    """Build a freshly initialised network, on the CPU, in float32, in training mode.

    The weights are a function of the arguments (and of torch's initialisers): they are drawn on the CPU from ``seed``,
    and the caller's random state stays as it was.

    Args:
        name: ``convnet3``, ``resnet18`` (or ``ResNet18``), ``vgg11``, ``alexnet``, ...; see ``network_names``.
        image: (C, H, W).
        classes: the number of logits.
        width: channels of the first convolution; the others keep their ratio to it. None for the papers' width.
        seed: any integer in 0..2**64 - 1.

    Raises:
        FormatError: if the network does not exist, the width is below 1, or images are too small for the network.
    """
    factory = chosen(dict(sorted(_factories().items())), name, "network")
    if width is not None and width < 1:
        raise FormatError(f"width is {width}; expected at least 1, or None for the papers' width")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed devices, too
        return factory(image, classes, width)
