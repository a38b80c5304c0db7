"""``cifar``: CIFAR-10 and CIFAR-100 as published, in the Python version or the binary one."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from typing_extensions import override

from dsetpack.convert.base import Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.files.cifar import version_in
from dsetpack.files.splits import SPLITS, taken
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Raw


class CifarLayout(Layout):
    """The real images of one split; of CIFAR-100, with fine labels."""

    recognised: ClassVar[str] = "cifar-10-batches-py, cifar-100-python, or the folder of a binary version"
    unknown: ClassVar[str] = "lr"

    @override
    def accepts(self, path: Path) -> bool:
        return version_in(path) is not None

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_factor(given, "cifar")
        refuse_experiment(given, "cifar")
        version = version_in(path)
        if version is None:
            raise FormatError(f"{path}: a folder with the files of CIFAR-10 or CIFAR-100 expected")
        place = path.resolve().name
        split = taken(tuple(SPLITS), given.split, place)
        found = version.read(path, split, given.limits)
        return Found(
            sources=torch.from_numpy(found.images),
            where=f"{place}: images",
            files=found.files,
            labels=torch.from_numpy(found.labels),
            labels_where=f"{place}: labels",
            classes=found.classes,
            split=split,
            space=Raw(),
        )


LAYOUT = CifarLayout()
