"""Other file formats for the tensors of a pack: torch.save, safetensors, npz, and h5py with gzip."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from benchmarks.cases.packs import Arrays


def save_torch(path: Path, tensors: Arrays) -> None:
    torch.save({name: torch.from_numpy(values) for name, values in tensors.items()}, path)


def load_torch(path: Path) -> object:
    return torch.load(path, weights_only=True)


def save_safetensors(path: Path, tensors: Arrays) -> None:
    from safetensors.numpy import save_file

    save_file(tensors, path)


def load_safetensors(path: Path) -> object:
    from safetensors.numpy import load_file

    return load_file(path)


def save_npz(path: Path, tensors: Arrays) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **tensors)


def load_npz(path: Path) -> object:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def save_h5py(path: Path, tensors: Arrays) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        for name, values in tensors.items():
            options = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if values.ndim else {}
            file.create_dataset(name, data=values, **options)


def load_h5py(path: Path) -> object:
    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


PEERS: dict[str, tuple[Callable[[Path, Arrays], None], Callable[[Path], object]]] = {
    "torch.save": (save_torch, load_torch),
    "safetensors": (save_safetensors, load_safetensors),
    "npz": (save_npz, load_npz),
    "h5py+gzip": (save_h5py, load_h5py),
}
"""What writes and what reads a file, by format."""


def installed() -> list[str]:
    """The formats that can be used here; safetensors is optional."""
    return [name for name in PEERS if name != "safetensors" or importlib.util.find_spec("safetensors")]
