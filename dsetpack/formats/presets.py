"""What ``encoding=`` means: presets that depend on a tensor's role, and overrides for single tensors.

    exact   every bit is kept (images that came from 8-bit pixels are stored as such)
    f16     floats as binary16; labels and whitening matrices exact
    int8    sources and banks as 8-bit codes (sources: one scale; banks: one per decoder), soft labels exact
    int4    the same in 4 bits, with one scale per channel for sources

Many HDF5 tools cannot read 16-bit floats, so only ``f16`` and encodings given by hand write them. Only float32 tensors
change; other dtypes are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dsetpack.formats.by_name import spelled
from dsetpack.formats.encodings import ArrayCodec, Encoding, codec
from dsetpack.formats.encodings.cast import Cast
from dsetpack.formats.encodings.quantize import Quantize
from dsetpack.formats.errors import FormatError, at

Preset = Literal["exact", "f16", "int8", "int4"]
PRESETS: tuple[str, ...] = ("exact", "f16", "int8", "int4")
Choice = str | ArrayCodec | Mapping[str, Any] | None
EncodingChoice = str | Mapping[str, Choice]
"""A preset, or choices by tensor name or role (``sources``, ``labels``, ``bank``). Tensors that are not named are exact
unless ``"default"`` gives their choice. A choice is a preset, an array codec, its JSON spelling, or None for exact."""
PIXELS = Quantize(bits=8, scale=float(np.float32(1 / 255)), offset=0.0)
WIDEST = 1e38
"""Larger values are kept exactly: rounding them up, or the span between them, may exceed float32."""
SMALL = 32
"""Bank tensors with fewer than 32 elements per decoder stay exact: codes would save less than their scales cost."""


def choose(encoding: EncodingChoice, name: str, role: str, values: NDArray[Any]) -> ArrayCodec | None:
    """The array encoding of one tensor; None if its values are stored as they are.

    Raises:
        FormatError: if the preset does not exist, or if a choice is not an encoding.
        VersionError: if this version does not know the encoding.
    """
    if isinstance(encoding, str):
        return _preset(encoding, role, values)
    group = role if role in ("sources", "labels", "space") else "bank"
    for key in (name, role, group, "default"):
        if key in encoding:
            return _explicit(encoding[key], role, values)
    return None


def check_keys(encoding: EncodingChoice, names: Sequence[str], roles: Sequence[str]) -> None:
    """Refuse a choice for a tensor or role that does not exist."""
    if isinstance(encoding, str):
        return
    known = {*names, *roles, "sources", "labels", "bank", "space", "default"}
    if unknown := sorted(set(encoding) - known):
        raise FormatError(f"encoding for {unknown[0]!r}: no such tensor or role; there are {', '.join(sorted(known))}")


def _explicit(choice: Choice, role: str, values: NDArray[Any]) -> ArrayCodec | None:
    if choice is None or isinstance(choice, ArrayCodec):
        return choice
    if isinstance(choice, str):
        return _preset(choice, role, values)
    if not isinstance(choice, Mapping):
        raise FormatError(f"encoding {choice!r}: a preset, an encoding, a dict with 'name', or None expected")
    with at(f"encoding {dict(choice)}"):
        spelled = Encoding.model_validate(dict(choice))
    found = codec(spelled)
    if not isinstance(found, ArrayCodec):
        raise FormatError(f"encoding {found.name!r} works on bytes; the writer chooses those itself")
    return found


def _preset(preset: str, role: str, values: NDArray[Any]) -> ArrayCodec | None:
    said, preset = preset, spelled(PRESETS, preset) or ""
    if not preset:
        raise FormatError(f"encoding {said!r}: one of {', '.join(PRESETS)} expected, or a dict of them by tensor")
    if values.dtype != np.float32 or role == "space" or values.size == 0:
        return None
    if role == "sources" and preset != "int4" and _are_pixels(values):
        return PIXELS
    if preset == "exact":
        return None
    if preset == "f16":
        return None if role == "labels" else _half(values)
    if role == "labels" or (role != "sources" and values.size < SMALL * max((1, *values.shape[:1]))):
        return None
    return _integers(8 if preset == "int8" else 4, role, values)


def _are_pixels(values: NDArray[Any]) -> bool:
    """Whether 8-bit pixels restore every bit: real images then cost a quarter of their floats and lose nothing."""
    if not bool(((values >= 0) & (values <= 1)).all()):
        return False
    restored = np.rint(values * 255).astype(np.uint8).astype(np.float32) * np.float32(1 / 255)
    return bool(restored.tobytes() == values.tobytes())  # compares bits, since -0.0 == 0.0


def _half(values: NDArray[Any]) -> ArrayCodec | None:
    """binary16, or bfloat16 if the values exceed its range, or None if they exceed that too."""
    finite = values[np.isfinite(values)]
    peak = float(np.max(np.abs(finite), initial=0.0))
    if peak > WIDEST:
        return None
    return Cast(dtype="float16" if peak <= 65504 else "bfloat16")


def _integers(bits: int, role: str, values: NDArray[Any]) -> ArrayCodec | None:
    if not bool((np.abs(values) <= WIDEST).all()):  # also for NaN and infinity
        return None
    if role != "sources":
        return Quantize(bits=bits, block=(1, *values.shape[1:]))
    if bits == 8 or values.ndim < 3:
        return Quantize(bits=bits)
    return Quantize(bits=bits, block=(values.shape[0], 1, *values.shape[2:]))
