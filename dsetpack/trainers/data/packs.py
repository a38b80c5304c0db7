"""A reader of real images in our own format: the shipped ``fashion-sample``, and any pack of kind ``images``."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import ClassVar

import torch
from typing_extensions import override

from dsetpack.formats.card import RawSpace
from dsetpack.formats.errors import FormatError
from dsetpack.pack.opened import open_to_show
from dsetpack.trainers.data.reader import DataReader, ImageData

SAMPLE = "fashion-sample"


class PacksReader(DataReader):
    """Reads packs of raw images with hard labels, in parts named ``train`` and ``test``."""

    names: ClassVar[tuple[str, ...]] = (SAMPLE,)

    @override
    def load(self, name: str, root: Path | None, split: str) -> ImageData:
        with resources.as_file(resources.files("dsetpack") / "data" / f"{SAMPLE}.dpk") as path:
            return read_pack(path, split, name)

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_file() and path.suffix == ".dpk"

    @override
    def read(self, path: Path, split: str) -> ImageData:
        return read_pack(path, split, path.stem)


def read_pack(path: Path, split: str, name: str) -> ImageData:
    """Read the part of a pack that is named ``split``; for ``train``, a pack's only part may have any name.

    Raises:
        FormatError: if the pack holds anything but raw images with hard labels, or has no such part.
    """
    pack = open_to_show(path)  # a generator is refused below for what it is, not here for lack of a number
    if not isinstance(pack.card.space, RawSpace) or any(part.kind != "images" for part in pack.parts):
        raise FormatError(f"{path}: not a pack of raw real images, but of {', '.join(p.kind for p in pack.parts)}")
    only = len(pack.parts) == 1 and split == "train"
    chosen = pack.parts[0] if only else next((p for p in pack.parts if p.name == split), None)
    if chosen is None or chosen.sources is None or chosen.labels.ndim != 1:
        raise FormatError(f"{path}: no part {split!r} with hard labels; its parts are {[p.name for p in pack.parts]}")
    pixels = (chosen.sources * 255).round()
    # pixels that were 8-bit become uint8 again, so that the digest is that of the files they came from
    exact = bool(torch.isclose(pixels / 255, chosen.sources, rtol=0, atol=1e-6).all())
    images = pixels.to(torch.uint8) if exact else chosen.sources
    return ImageData(images, chosen.labels, pack.card.classes, name)


READERS = (PacksReader(),)
