"""Decoder kinds as torch modules: one file per kind, named as in ``dsetpack.formats.kinds``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dsetpack.decoders.base import Decoder
from dsetpack.formats.by_name import by_name
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.formats.kinds import KindConfig, kind_config
from dsetpack.torch_settings import lasting

__all__ = ["Decoder", "decoder", "finished"]

Bank = Mapping[str, Tensor]
"""The tensors of all decoders of a part by role."""


def decoder(kind: str, config: KindConfig | Mapping[str, Any], image: tuple[int, int, int], classes: int) -> Decoder:
    """Make a decoder with the values that training starts from, on torch's default device and in its default dtype.

    Args:
        kind: name of the kind, such as ``haba``.
        config: the kind's configuration, or its fields.
        image: (C, H, W).
        classes: number of classes.

    Raises:
        VersionError: if this version does not know the kind.
        FormatError: if the configuration is of another kind or cannot make such images; also a ValueError.
        pydantic.ValidationError: if a field is unknown or a value is out of its range; also a ValueError.
    """
    model = kind_config(kind)
    if isinstance(config, Mapping):
        config = model.model_validate(config)
    if not isinstance(config, model):
        raise FormatError(f"kind {kind!r}: {type(config).__name__} found; {model.__name__} expected")
    known = by_name(__name__, "DECODER")
    if kind not in known:
        raise DsetpackError(f"kind {kind!r} has no decoder: {__name__}.{kind} is missing")
    made: Decoder = known[kind](config, image, classes)
    return made


def finished(
    kind: str, config: KindConfig | Mapping[str, Any], image: tuple[int, int, int], classes: int, bank: Bank
) -> Decoder:
    """Make a decoder of values that are there already: float32, on the CPU, without gradients, under any settings.

    Args:
        kind, config, image, classes: see ``decoder``, also for its errors.
        bank: its tensors.

    Raises:
        RuntimeError: if the tensors do not fit.
    """
    with lasting():
        made = decoder(kind, config, image, classes).float()
        made.load_state_dict(bank)
    return made.requires_grad_(False).eval()
