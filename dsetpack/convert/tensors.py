"""``tensors``: images and labels in torch files, as saved by DC, DSA, DM (Zhao et al.) and MTT (Cazenavette et al.)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor
from typing_extensions import override

from dsetpack.convert._files import load_torch, tensor_of
from dsetpack.convert._protocols import protocol
from dsetpack.convert.base import LABEL_RULES, Found, Given, Layout, Protocol, refuse_experiment, refuse_factor
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.model import printable
from dsetpack.formats.words import plural

_RESULT = re.compile(r"res_(DC|DSA|DM)_([A-Za-z0-9]+)_.*ipc\.pt")
_IMAGES = re.compile(r"images_(?:zca_)?(best|\d+)\.pt")
_HINT = (
    "DC, DSA and DM normalise by channel (normalized); MTT whitens with --zca (zca-kornia) and otherwise normalises, "
    "and its images_zca_N.pt are whitened images made raw again (raw)."
)
_KEYS = {"images": ("images", "image", "x", "data"), "labels": ("labels", "label", "y", "targets")}


class TensorsLayout(Layout):
    """One of three forms.

    - DC, DSA, DM: ``{"data": [[images, labels], ...], ...}``, one pair per experiment, in
      ``res_<method>_..._<n>ipc.pt``.
    - MTT: the tensor of ``images_best.pt`` or ``images_N.pt``, with ``labels_best.pt`` or ``labels_N.pt`` beside it.
    - Any other torch file that holds a pair ``[images, labels]``, or a dict with ``images`` and ``labels``.
    """

    recognised: ClassVar[str] = (
        "res_<method>_<data>_<net>_<n>ipc.pt (DC, DSA, DM); images_best.pt with labels_best.pt (MTT), or their folder; "
        "any .pt of [images, labels] or {'images': ..., 'labels': ...}"
    )
    unknown: ClassVar[str] = "pixel space; for MTT the learned lr; which experiment, if there are several"
    last: ClassVar[bool] = True

    @override
    def accepts(self, path: Path) -> bool:
        if path.is_dir():
            return any(_IMAGES.fullmatch(file.name) for file in path.iterdir())
        return path.suffix in (".pt", ".pth")

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_factor(given, "tensors")
        file = _best(path) if path.is_dir() else path
        held = load_torch(file, given.limits)
        if isinstance(held, Mapping) and isinstance(held.get("data"), list | tuple):
            with at(file.name):
                images, labels = _experiment(held["data"], given.experiment)
            return _of_experiment(file, images, labels, given)
        refuse_experiment(given, "tensors")
        if isinstance(held, Tensor):
            return _pair_of_files(file, held, given)
        with at(file.name):
            images, labels = _pair(held)
        return _found(file, images, labels)


def _found(file: Path, images: object, labels: object, labels_file: Path | None = None, **more: Any) -> Found:
    where, labels_where = f"{file.name}: images", f"{(labels_file or file).name}: labels"
    with at(where):
        sources = tensor_of(images)
    with at(labels_where):
        targets = tensor_of(labels) if labels_file or labels is not None else None
    return Found(
        sources=sources,
        where=where,
        files=(file, labels_file) if labels_file else (file,),
        labels=targets,
        labels_where=labels_where,
        space_hint=_HINT,
        **more,
    )


def _experiment(pairs: Sequence[object], wanted: int | None) -> tuple[object, object]:
    """The images and labels of one experiment in a file of DC, DSA or DM."""
    if not pairs:
        raise FormatError("'data' is empty; one pair [images, labels] per experiment expected")
    if wanted is None and len(pairs) > 1:
        raise FormatError(
            f"'data' holds the sets of {len(pairs)} experiments; pass experiment= (--experiment 0 to {len(pairs) - 1})"
        )
    number = wanted or 0
    if not 0 <= number < len(pairs):
        raise FormatError(f"no experiment {number}; 'data' holds {len(pairs)}, numbered from 0")
    with at(f"data[{number}]"):
        return _pair(pairs[number])


def _of_experiment(file: Path, images: object, labels: object, given: Given) -> Found:
    match = _RESULT.fullmatch(file.name)
    method = match[1].lower() if match else None
    count = len(images) if isinstance(images, Tensor) else 1
    own = protocol(method, images=count, dataset=given.dataset) if method else None
    return _found(file, images, labels, method=method, protocol=own)


def _pair_of_files(file: Path, images: Tensor, given: Given) -> Found:
    """Read a bare tensor: MTT's images, with the labels in a separate file."""
    match = _IMAGES.fullmatch(file.name)
    beside = None if match is None else file.with_name(f"labels_{match[1]}.pt")
    own: Protocol | None = None if match is None else protocol("mtt", images=1, dataset=given.dataset)
    common: dict[str, Any] = {"method": "mtt" if match else None, "protocol": own}
    replaced = given.labels is not None and given.labels not in LABEL_RULES
    if beside is not None and beside.is_file() and not replaced:
        return _found(file, images, load_torch(beside, given.limits), beside, **common)
    hint = "one tensor and no more"
    if beside is not None:
        weights = "weights_best.pt" if match and match[1] == "best" else "styles_N.pt"
        hint = f"no {beside.name} beside it; if these are bases of HaBa, its hallucinators, {weights}, are missing"
    return _found(file, images, None, labels_hint=hint, **common)


def _pair(held: object) -> tuple[object, object]:
    """The images and labels of a pair or a dict."""
    if isinstance(held, Mapping):
        return tuple(_entry(held, what) for what in ("images", "labels"))  # type: ignore[return-value]
    if isinstance(held, list | tuple) and len(held) == 2:
        return held[0], held[1]
    what = plural(len(held), "entry") if isinstance(held, list | tuple) else type(held).__name__
    raise FormatError(f"{what}; a pair [images, labels] or a dict with 'images' and 'labels' expected")


def _entry(held: Mapping[Any, Any], what: str) -> object:
    for key in _KEYS[what]:
        if key in held:
            return held[key]
    if what == "labels":
        return None
    known = printable(", ".join(map(str, list(held)[:8])))
    raise FormatError(f"no entry {what!r}; it holds {known or 'nothing'}")


def _best(folder: Path) -> Path:
    """The best or else the latest images of an MTT run, in the space that it trained in."""
    files = [file for file in folder.iterdir() if _IMAGES.fullmatch(file.name) and "zca" not in file.name]
    if not files:
        raise FormatError(f"{folder}: no images_best.pt or images_N.pt; name an images_zca_N.pt itself")
    best = folder / "images_best.pt"
    return best if best in files else max(files, key=lambda file: int(file.stem.removeprefix("images_")))


LAYOUT = TensorsLayout()
