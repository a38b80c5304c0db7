"""Reading of torch files without running anything in them, and tensors of what files hold."""

from __future__ import annotations

import hashlib
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsetpack.files.limited import check_size, open_zip
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.limits import Limits
from dsetpack.formats.model import printable

_PIECE = 1 << 22


class _NumpyType:
    """A stand-in for the numpy dtype of a pickled scalar: it keeps the letters and the order of bytes."""

    def __init__(self, letters: object, *_rest: object) -> None:
        self.letters, self.order = letters, "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.order = ">"


def _numpy_number(kind: object, data: object) -> float | None:
    """Convert a pickled numpy scalar to a number without running numpy; None if it is not a known number."""
    code = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i"}.get(str(getattr(kind, "letters", "")))
    form = f"{getattr(kind, 'order', '<')}{code}"
    if code is None or not isinstance(data, bytes) or len(data) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, data)[0])


# DC, DSA and DM save the accuracies of their networks, numpy scalars, beside the images. With these stand-ins,
# weights_only=True accepts them; no function that the file chooses is called.
_ALLOWED: list[Any] = [
    (_NumpyType, "numpy.dtype"),
    (_numpy_number, "numpy.core.multiarray.scalar"),
    (_numpy_number, "numpy._core.multiarray.scalar"),
]


def load_torch(path: Path, limits: Limits) -> Any:
    """Load a file that ``torch.save`` wrote, with ``weights_only=True``: tensors, numbers, text, lists and dicts.

    Raises:
        FormatError: if the file names code, is damaged or cut off, or is not a torch file.
        LimitError: if the file, or what its archive declares, is larger than ``limits.total`` bytes.
    """
    with at(str(path)):
        check_size(path, limits)
        if zipfile.is_zipfile(path):
            with open_zip(path, limits) as archive:
                _refuse_program(archive)
        with path.open("rb") as file:
            return _load(file, path)


def _load(file: IO[bytes], path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_ALLOWED), warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FormatError(_refusal(path)) from error
    except Exception as error:  # a damaged pickle or archive can raise anything in torch
        raise FormatError(
            "not a sound torch file: cut off, damaged, or something else; fetch it again, or save it again with "
            "torch.save"
        ) from error


def _refuse_program(archive: zipfile.ZipFile) -> None:
    """Refuse what ``torch.jit.save`` wrote."""
    if any(name.endswith("/constants.pkl") for name in archive.namelist()):
        raise FormatError(
            "a TorchScript program, which is code, so it is not read. If you trust it, load it where it was made and "
            "save its tensors: torch.save({'images': images, 'labels': labels}, 'plain.pt')"
        )


def _refusal(path: Path) -> str:
    """Why torch does not read a file, in our words: torch's own advise to load it without any check."""
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            named = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # a damaged file, or one from before torch 1.6
        named = []
    if not named:
        return (
            "not a torch file of plain tensors: cut off, damaged, or something else. If it is one of other objects, "
            "save its tensors again where it was made: torch.save({'images': images, 'labels': labels}, 'plain.pt')"
        )
    shown = printable(", ".join(named[:4]))[:240] + (", ..." if len(named) > 4 else "")
    return (
        f"refused, because it is a pickle that names code ({shown}), which loading would run. Only tensors, numbers, "
        "text, lists and dicts are read. If you trust it, load it where it was made and save its tensors again: "
        "torch.save({'images': images, 'labels': labels}, 'plain.pt') in Python, or safetensors.torch.save_file"
    )


def tensor_of(value: object) -> Tensor:
    """Check that ``value`` is a plain tensor with its values in memory, and return it.

    Raises:
        FormatError: if it is not.
    """
    if not isinstance(value, Tensor):
        raise FormatError(f"{type(value).__name__}; a tensor expected")
    if value.layout != torch.strided or value.is_meta or value.is_quantized or value.is_nested or value.is_complex():
        what = "without values" if value.is_meta else "sparse, quantized, nested or complex"
        raise FormatError(f"a tensor {what}; a plain one expected: save it with .to_dense() or .dequantize()")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise FormatError(f"{list(value.shape)} of repeated values; save it with .contiguous()")
    return value.detach()


def as_tensor(array: NDArray[Any]) -> Tensor:
    """Copy a plain array to a tensor in the machine's byte order.

    Raises:
        FormatError: if the array holds text, or if torch does not have its dtype.
    """
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise FormatError(f"{array.dtype}; numbers of at most 64 bits expected")
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return torch.from_numpy(native.reshape(array.shape).copy())


def numpy_labels(array: NDArray[Any]) -> Tensor | NDArray[Any]:
    """Labels that are text as they are, and others ``as_tensor``."""
    return array if array.dtype.kind == "U" else as_tensor(array)


def torch_labels(value: object) -> Tensor | NDArray[Any]:
    """Labels in a torch file: a plain tensor, or a list of numbers or of texts.

    Raises:
        FormatError: if they are neither.
    """
    plain = isinstance(value, list | tuple) and {type(entry) for entry in value} in ({int}, {float}, {str})
    return np.array(value) if plain else tensor_of(value)


def tensors_of(
    held: Mapping[str, Any], names: Iterable[str], read: Callable[[Any], Tensor] = tensor_of
) -> list[Tensor]:
    """The tensors of some entries, each by ``read``; an error says which entry it is."""
    found = []
    for name in names:
        with at(name):
            found.append(read(held[name]))
    return found


def sha256(path: Path) -> str:
    """The digest of a file, ``sha256:...``."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"
