"""A reader of CIFAR-10 and CIFAR-100 as published; by name also from an ``.npz``, and CIFAR-10 from mosaics."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from dsetpack.files.cifar import NAMES, Version, version_in, versions
from dsetpack.files.splits import Split
from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import mosaics
from dsetpack.trainers.data.npz import read_known
from dsetpack.trainers.data.reader import REAL, DataReader, ImageData, from_arrays, places, searched


class CifarReader(DataReader):
    """Reads CIFAR-10 and CIFAR-100 (fine labels) by name, and any folder with the files of one of their versions."""

    names: ClassVar[tuple[str, ...]] = NAMES

    @override
    def load(self, name: str, root: Path | None, split: Split) -> ImageData:
        known = versions(name)
        forms = ", ".join(f"{one.folder}/" for one in known)
        also = f"{name}.npz" + (" or the mosaics" if name == "cifar10" else "")
        if root is None:
            raise FormatError(f"{name} needs its files: give the folder that holds {forms}, {also} as --root")
        if (npz := root / f"{name}.npz").is_file():
            return read_known(npz, split, name)
        folders = places(root, ("", name, name.upper()), ("", *(one.folder for one in known)))
        for folder in folders:
            for version in known:
                if version.is_in(folder):
                    return _read(version, folder, split)
            if name == "cifar10" and mosaics.are_in(folder):
                return mosaics.read_mosaics(folder, split)
        files = " nor ".join(one.files[split][0] for one in known)
        raise FormatError(f"{name}: neither {npz} nor {files} in {searched(root, folders)}")

    @override
    def accepts(self, path: Path) -> bool:
        return version_in(path) is not None

    @override
    def read(self, path: Path, split: Split) -> ImageData:
        version = version_in(path)
        assert version is not None
        return _read(version, path, split)


def _read(version: Version, folder: Path, split: Split) -> ImageData:
    found = version.read(folder, split, REAL)
    return from_arrays(found.images, found.labels, version.name, found.classes, axes="NCHW")


READERS = (CifarReader(),)
