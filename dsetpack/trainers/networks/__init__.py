"""Networks that distillation matches and that packs are evaluated on: one file a family, found by name.

A file of this package lists its networks in ``NETWORKS``: name -> factory. A new network is a new file; nothing else
changes.
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
    """All names that ``network`` knows, sorted."""
    return tuple(sorted(_factories()))


def network(name: str, image: Image, classes: int, width: int | None = None, *, seed: int = 0) -> Network:
    """A freshly initialised network, on the CPU, in float32, in training mode.

    The weights are a function of the arguments (and of torch's initialisers): they are drawn on the CPU from ``seed``,
    and the caller's random state stays as it was.

    Args:
        name: ``convnet3``, ``resnet18``, ``vgg11``, ``alexnet``, ...; see ``network_names``.
        image: (C, H, W).
        classes: how many logits.
        width: channels of the first convolution; the others keep their ratio to it. None for the papers' width.
        seed: any integer in 0..2**64 - 1.

    Raises:
        FormatError: no such network, or an image it cannot take; the message says why.
    """
    factory = chosen(dict(sorted(_factories().items())), name, "network")
    if width is not None and width < 1:
        raise FormatError(f"width is {width}; expected at least 1, or None for the papers' width")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed: that reseeds devices, too
        return factory(image, classes, width)
