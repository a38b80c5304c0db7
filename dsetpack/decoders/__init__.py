"""Decoder kinds as torch modules: one file per kind, named as in ``dsetpack.formats.kinds``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsetpack.decoders.base import Decoder
from dsetpack.formats.by_name import by_name
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.formats.kinds import KindConfig, kind_config
from dsetpack.torch_settings import lasting

__all__ = ["Decoder", "decoder"]


def decoder(kind: str, config: KindConfig | Mapping[str, Any], image: tuple[int, int, int], classes: int) -> Decoder:
    """Make a decoder with the values that training starts from; load a stored bank with ``load_state_dict``.

    It is float32 on the CPU, whatever torch's default dtype and device are.

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
    with lasting():
        made: Decoder = known[kind](config, image, classes)
    return made.float()  # a kind of the user's own may have followed torch's default dtype
