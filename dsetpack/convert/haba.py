"""``haba``: bases and hallucinators as the authors of HaBa (Liu et al. 2022) release them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from dsetpack.convert._files import load_torch, tensor_of
from dsetpack.convert.base import Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.kinds.haba import HabaConfig
from dsetpack.formats.model import printable

_ROLES = {
    "enc.weight": "encoder.0.weight",
    "enc.bias": "encoder.0.bias",
    "scale": "sigma",
    "shift": "mu",
    "dec.weight": "decoder.0.weight",
    "dec.bias": "decoder.0.bias",
}
"""The tensors of one released hallucinator, and their roles in kind ``haba``."""
_KEY = re.compile(r"(?:module\.)?(\d{1,4})\.(.+)")
_BASES = re.compile(r"images_(best|\d+)\.pt")


class HabaLayout(Layout):
    """``images_best.pt``, a tensor [classes · bases, c, H, W], and ``weights_best.pt``, the hallucinators' state dict.

    Iterations other than the best are ``images_N.pt`` with ``styles_N.pt``. Every hallucinator has the released form: a
    3×3 convolution, a scale and shift, and a 3×3 transposed convolution.
    """

    recognised: ClassVar[str] = (
        "a folder with images_best.pt and weights_best.pt (or images_N.pt and styles_N.pt), or its images file"
    )
    unknown: ClassVar[str] = "classes (labels are by order), pixel space, learned lr"

    @override
    def accepts(self, path: Path) -> bool:
        if path.is_dir():
            return any(_banks(file) for file in _bases_in(path))
        return _BASES.fullmatch(path.name) is not None and _banks(path) is not None

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_factor(given, "haba")
        refuse_experiment(given, "haba")
        bases_file, bank_file = _files(path)
        where, held = f"{bases_file.name}: bases", load_torch(bases_file, given.limits)
        with at(where):
            bases = tensor_of(held)
        state = load_torch(bank_file, given.limits)
        with at(bank_file.name):
            config, bank, channels = read_bank(state)
        with at(bases_file.name):
            _check(bases, bank, bank_file)
        height, width = bases.shape[2:]
        return Found(
            sources=bases,
            where=where,
            files=(bases_file, bank_file),
            axes="NCHW",
            by_order=True,
            space_hint="HaBa's scripts whiten: zca-kornia.",
            kind="haba",
            config=config,
            bank=bank,
            shape=(channels, height, width),
            product=False,
            method="haba",
            protocol="haba",
        )


def read_bank(state: object) -> tuple[HabaConfig, dict[str, Tensor], int]:
    """Read the hallucinators in a state dict: the kind's settings, its tensors by role, and the image's channels.

    Raises:
        FormatError: if it is not a state dict of released hallucinators; the message names the entry.
    """
    stacked = _stacked(state)
    out, into, *kernel = stacked["encoder.0.weight"].shape[1:]
    channels = stacked["decoder.0.weight"].shape[2]
    if kernel != [3, 3] or stacked["decoder.0.weight"].shape[3:] != (3, 3):
        raise FormatError(f"enc.weight with a kernel of {kernel}; the release has 3×3 kernels")
    with at("hallucinators"):
        config = HabaConfig(
            decoders=len(stacked["sigma"]),
            form="released",
            channels=None if out == channels else out,
            source_channels=None if into == channels else into,
        )
    return config, stacked, channels


def _stacked(state: object) -> dict[str, Tensor]:
    if not isinstance(state, Mapping) or not state:
        raise FormatError(f"{type(state).__name__}; the state dict of the hallucinators expected")
    found: dict[str, dict[int, Tensor]] = {role: {} for role in _ROLES.values()}
    for key, value in state.items():
        match = _KEY.fullmatch(str(key))
        if match is None or match[2] not in _ROLES:
            raise FormatError(f"entry {printable(str(key))!r}; expected 0.enc.weight, 0.scale, 0.shift, ...")
        with at(str(key)):
            found[_ROLES[match[2]]][int(match[1])] = tensor_of(value)
    numbers = range(1 + max(number for tensors in found.values() for number in tensors))
    for old, role in _ROLES.items():
        if missing := [number for number in numbers if number not in found[role]]:
            raise FormatError(f"no entry '{missing[0]}.{old}'; hallucinators 0 to {numbers[-1]} need it")
    return {role: _stack(role, [tensors[i] for i in numbers]) for role, tensors in found.items()}


def _stack(role: str, tensors: list[Tensor]) -> Tensor:
    old = next(key for key, value in _ROLES.items() if value == role)
    dims = 1 if role.endswith("bias") else 4
    for number, tensor in enumerate(tensors):
        entry = f"{number}.{old}"
        if tensor.shape != tensors[0].shape or tensor.ndim != dims or not tensor.is_floating_point():
            expected = list(tensors[0].shape) if tensors[0].ndim == dims else f"{dims} axes"
            raise FormatError(f"{entry} is {tensor.dtype} {list(tensor.shape)}; floats of {expected} expected")
        if not bool(tensor.isfinite().all()):
            raise FormatError(f"{entry} holds NaN or infinity; finite values expected")
        if role in ("sigma", "mu") and len(tensor) != 1:
            raise FormatError(f"{entry} is {list(tensor.shape)}; [1, c, h, w] expected")
    joined = torch.stack(tensors).float()
    return joined[:, 0] if role in ("sigma", "mu") else joined


def _check(bases: Tensor, bank: Mapping[str, Tensor], bank_file: Path) -> None:
    """Check that bases and hallucinators fit each other.

    Raises:
        FormatError: if they do not.
    """
    if bases.ndim != 4 or not bases.is_floating_point():
        raise FormatError(f"bases are {bases.dtype} {list(bases.shape)}; floats [classes · bases, c, H, W] expected")
    channels, height, width = bases.shape[1:]
    expected = (bank["encoder.0.weight"].shape[2], *(side + 2 for side in bank["sigma"].shape[2:]))
    if (channels, height, width) != expected:
        raise FormatError(
            f"bases are {list(bases.shape[1:])}; the hallucinators of {bank_file.name} take {list(expected)}"
        )


def _bases_in(folder: Path) -> list[Path]:
    """The files of bases in a folder: the best first, then the latest."""
    files = [file for file in folder.iterdir() if _BASES.fullmatch(file.name)]
    return sorted(files, key=lambda file: (file.stem != "images_best", -int(_step(file) or 0)))


def _step(file: Path) -> str | None:
    match = _BASES.fullmatch(file.name)
    return None if match is None or match[1] == "best" else match[1]


def _banks(bases: Path) -> Path | None:
    """The file of hallucinators beside a file of bases, or None."""
    step = _step(bases)
    names = ("weights_best.pt", "styles_best.pt") if step is None else (f"styles_{step}.pt",)
    return next((bases.with_name(name) for name in names if bases.with_name(name).is_file()), None)


def _files(path: Path) -> tuple[Path, Path]:
    bases = [path] if path.is_file() else _bases_in(path)
    if not bases:
        raise FormatError(f"{path}: no bases: images_best.pt or images_N.pt expected")
    for file in bases:
        if (bank := _banks(file)) is not None:
            return file, bank
    wanted = "weights_best.pt" if _step(bases[0]) is None else f"styles_{_step(bases[0])}.pt"
    raise FormatError(f"{bases[0]}: bases without hallucinators: no {wanted} beside it")


LAYOUT = HabaLayout()
