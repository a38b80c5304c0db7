"""Networks of the user's own, named ``module:callable`` on the command line or in a call, never by a file."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.networks.base import Image


def is_custom(arch: str) -> bool:
    """Whether a network's name is ``module:callable``."""
    return ":" in arch


def custom_network(arch: str, image: Image, classes: int, width: int | None = None, *, seed: int = 0) -> nn.Module:
    """Build a network by calling ``callable(image=(C, H, W), classes=n)``.

    The callable returns a module that maps images float32 [B, C, H, W] in the pack's space to logits [B, n]. Weights
    that it draws from torch's default generator, on the CPU, are a function of ``seed``; the caller's random state
    stays as it was.

    Args:
        arch: ``module:callable``; the module is imported as by ``import``. The callable may be an attribute of an
            attribute: ``models:Wide.small``.
        image: (C, H, W).
        classes: the number of logits.
        width: must be None, because the callable decides its own width.
        seed: any integer in 0..2**64 - 1.

    Raises:
        FormatError: if the module or callable does not exist or fails, if it returns anything but a module, or if
            ``width`` is given.
    """
    if width is not None:
        raise FormatError(f"width is {width}, and {arch!r} is a network of your own: set its width there")
    build = _callable(arch)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed devices, too
        try:
            made = build(image=image, classes=classes)
        except Exception as error:
            raise FormatError(f"{arch}(image={image}, classes={classes}) failed: {error!r}") from error
    if not isinstance(made, nn.Module):
        raise FormatError(f"{arch}(image=..., classes=...) returned {type(made).__name__}; expected a torch.nn.Module")
    return made


def _callable(arch: str) -> Callable[..., Any]:
    module, _, path = arch.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # any error in the module's own code, too
        raise FormatError(
            f"network {arch!r}: cannot import {module!r} ({error!r}); is its folder on PYTHONPATH?"
        ) from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise FormatError(f"network {arch!r}: {module!r} has no {path!r}")
        found = getattr(found, name)
    if not callable(found):
        raise FormatError(f"network {arch!r}: {path!r} is {type(found).__name__}, not a callable")
    return found  # type: ignore[no-any-return]
