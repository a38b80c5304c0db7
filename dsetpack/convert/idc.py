"""``idc``: condensed images as IDC (Kim et al. 2022) saves them, each holding f×f smaller ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from dsetpack.convert._files import load_torch, tensor_of, torch_labels
from dsetpack.convert.base import Found, Given, Layout, refuse_experiment
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.kinds.upsample import UpsampleConfig
from dsetpack.formats.words import plural
from dsetpack.spaces import Raw

_FACTOR = re.compile(r"_factor(\d{1,2})(?!\d)")


class IdcLayout(Layout):
    """``data.pt``: a list of images [classes · ipc, C, H, W], raw and learned without bounds, and labels int64.

    The file does not say how many smaller images each image holds. The folder names of a run do
    (``..._factor2_.../ipc10``); if they were kept, the error message shows their number, but it is not used without
    being declared. Only uniform multi-formation is supported: the release's ``multi`` and ``bound`` decode with several
    factors at once, which no kind does.
    """

    recognised: ClassVar[str] = "data.pt, or the folder that holds it"
    unknown: ClassVar[str] = "the factor (--factor; 1 for IDC-I, whose images are plain)"

    @override
    def accepts(self, path: Path) -> bool:
        return (path / "data.pt").is_file() if path.is_dir() else path.name == "data.pt"

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_experiment(given, "idc")
        file = path / "data.pt" if path.is_dir() else path
        held = load_torch(file, given.limits)
        with at(file.name):
            images, labels = _pair(held)
        factor = _factor(file, given)
        decoder: dict[str, Any] = {"kind": "upsample", "config": UpsampleConfig(factor=factor)} if factor > 1 else {}
        return Found(
            sources=images,
            where=f"{file.name}: images",
            files=(file,),
            labels=labels,
            labels_where=f"{file.name}: labels",
            space=Raw(),
            method="idc",
            protocol="idc",
            **decoder,
        )


def _pair(held: object) -> tuple[Tensor, Tensor | NDArray[Any]]:
    if not isinstance(held, list | tuple) or len(held) != 2:
        what = plural(len(held), "entry") if isinstance(held, list | tuple) else type(held).__name__
        raise FormatError(f"{what}; a list [images, labels] expected; if IDC did not make it, pass layout='tensors'")
    with at("images"):
        images = tensor_of(held[0])
    with at("labels"):
        labels = torch_labels(held[1])
    if images.ndim != 4 or not images.is_floating_point():
        raise FormatError(f"images are {images.dtype} {list(images.shape)}; floats [N, C, H, W] expected")
    return images, labels


def _factor(file: Path, given: Given) -> int:
    if given.factor is None:
        hint = _FACTOR.findall(str(file.absolute()))
        offered = f"; its folder's name says {hint[-1]}" if hint else ""
        raise FormatError(
            f"{file.name}: the number of smaller images per side of each image is not in the file; pass factor= "
            f"(--factor 2, ImageNet's is 3, IDC-I's 1){offered}; if IDC did not make it, pass layout='tensors'"
        )
    if given.factor < 1:
        raise FormatError(f"factor is {given.factor}; 1 or more expected")
    return given.factor


LAYOUT = IdcLayout()
