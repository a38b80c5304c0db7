"""``ddranking``: a folder that DD-Ranking (Li et al. 2025) can read: ``images.pt``, ``labels.pt``, ``lr.pt``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from dsetpack.convert._files import load_torch, tensor_of, torch_labels
from dsetpack.convert.base import Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.limits import Limits


class DdRankingLayout(Layout):
    """``images.pt`` [N, C, H, W]; ``labels.pt`` (hard labels, probabilities or logits); ``lr.pt``, one number.

    The last two may be missing: then the user is asked for the rate, and for labels, which may be by order.
    """

    recognised: ClassVar[str] = "a folder with images.pt, and with labels.pt and lr.pt if there are any"
    unknown: ClassVar[str] = "pixel space; whether soft labels are logits; lr, if there is no lr.pt"

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_dir() and (path / "images.pt").is_file()

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_factor(given, "ddranking")
        refuse_experiment(given, "ddranking")
        if not path.is_dir():
            raise FormatError(f"{path}: a folder with images.pt, labels.pt and lr.pt expected")
        images, labels, rate = (path / f"{name}.pt" for name in ("images", "labels", "lr"))
        return Found(
            sources=_tensor(images, given.limits),
            where="images.pt: images",
            files=tuple(file for file in (images, labels, rate) if file.is_file()),
            labels=_labels(labels, given.limits) if labels.is_file() else None,
            labels_where="labels.pt: labels",
            labels_hint="no labels.pt beside it",
            space_hint="DD-Ranking's sets are normalised, or whitened (zca-kornia), as the method made them.",
            protocol="mtt",  # as in its demos
            lr=_rate(rate, given.limits) if rate.is_file() else None,
        )


def _tensor(path: Path, limits: Limits) -> Tensor:
    held = load_torch(path, limits)
    with at(path.name):
        return tensor_of(held)


def _labels(path: Path, limits: Limits) -> Tensor | NDArray[Any]:
    held = load_torch(path, limits)
    with at(path.name):
        return torch_labels(held)


def _rate(path: Path, limits: Limits) -> float:
    held = load_torch(path, limits)
    with at(path.name):
        if isinstance(held, Tensor) and held.numel() == 1 and not held.is_complex():
            held = tensor_of(held).item()
        if isinstance(held, bool) or not isinstance(held, int | float) or not 0 < held < float("inf"):
            what = f"a tensor {list(held.shape)}" if isinstance(held, Tensor) else repr(held)[:60]
            raise FormatError(f"{what}; one learning rate above 0 expected")
    return float(held)


LAYOUT = DdRankingLayout()
