"""Decoder kinds as torch modules: one file a kind, named like the kind in ``dsetpack.formats.kinds``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsetpack.decoders.base import Decoder
from dsetpack.formats.by_name import by_name
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import KindConfig, kind_config

__all__ = ["Decoder", "decoder"]


def decoder(kind: str, config: KindConfig | Mapping[str, Any], image: tuple[int, int, int], classes: int) -> Decoder:
    """A new decoder of a kind, with the values that training starts from; load a stored bank with ``load_state_dict``.

    Args:
        kind: name of the kind, such as ``haba``.
        config: the kind's configuration, or its fields.
        image: (C, H, W).
        classes: number of classes.

    Raises:
        VersionError: no such kind in this version.
        FormatError: a configuration that is of another kind or cannot make such images; a ValueError too.
        pydantic.ValidationError: fields that the kind does not know or values out of range; a ValueError too.
    """
    model = kind_config(kind)
    if isinstance(config, Mapping):
        config = model.model_validate(config)
    if not isinstance(config, model):
        raise FormatError(f"kind {kind!r}: {type(config).__name__} found; {model.__name__} expected")
    made: Decoder = by_name(__name__, "DECODER")[kind](config, image, classes)
    return made
