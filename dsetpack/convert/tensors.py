"""``tensors``: images and labels in torch files, as saved by DC, DSA, DM, MTT and others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor
from typing_extensions import override

from dsetpack.convert._experiments import dataset_in, experiment, is_result, method_in
from dsetpack.convert._files import load_torch, tensor_of, torch_labels
from dsetpack.convert._steps import are_steps, found_steps
from dsetpack.convert.base import LABEL_RULES, Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.files.names import usual
from dsetpack.files.splits import Split
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.notices import notice
from dsetpack.formats.words import plural

_IMAGES = re.compile(r"images_(?:zca_)?(best|\d+)\.pt")
_MASK = "mask.pt"
"""FreD's mask of the frequencies that it learns, beside the decoded images."""
_HINT = (
    "DC, DSA and DM normalise by channel (normalized); MTT whitens with --zca (zca-kornia) and otherwise normalises, "
    "and its images_zca_N.pt are whitened images made raw again (raw)."
)


class TensorsLayout(Layout):
    """One of these forms, known by what the file holds.

    - DC, DSA, DM: ``{"data": [[images, labels], ...], "accs_all_exps": ...}``, one pair per experiment; see
      ``_experiments``.
    - MTT: the tensor of ``images_best.pt`` or ``images_N.pt``, with ``labels_best.pt`` or ``labels_N.pt`` beside it.
    - FreD: one of these two, with its images decoded, and ``mask.pt`` beside it.
    - Dataset Distillation: a list of steps (images, labels, learning rate); see ``_steps``.
    - Any other torch file that holds a pair ``[images, labels]``, or a dict with ``images`` and ``labels``.

    DDiF's neural fields are refused by name: no decoder kind holds them.
    """

    recognised: ClassVar[str] = (
        "any .pt of {'data': [[images, labels]], 'accs_all_exps': ...} (DC, DSA, DM), of [images, labels] or "
        "{'images': ..., 'labels': ...}, or of steps (Dataset Distillation); images_best.pt with labels_best.pt (MTT, "
        "FreD), or their folder"
    )
    unknown: ClassVar[str] = (
        "pixel space; for MTT the learned lr; which experiment, if there are several; DC, DSA or DM, if no name says it"
    )
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
        if isinstance(held, Mapping) and is_result(held):
            return _of_experiment(file, held, given)
        refuse_experiment(given, "tensors")
        if are_steps(held):
            return found_steps(file, held, given)
        if isinstance(held, Tensor):
            return _pair_of_files(file, held, given)
        with at(file.name):
            _refuse_fields(held)
        images, labels, split = _pair(held, file.name, given.split)
        return _found(file, images, labels, split=split)


def _found(file: Path, images: object, labels: object, labels_file: Path | None = None, **more: Any) -> Found:
    where, labels_where = f"{file.name}: images", f"{(labels_file or file).name}: labels"
    with at(where):
        sources = tensor_of(images)
    with at(labels_where):
        targets = torch_labels(labels) if labels_file or labels is not None else None
    return Found(
        sources=sources,
        where=where,
        files=(file, labels_file) if labels_file else (file,),
        labels=targets,
        labels_where=labels_where,
        space_hint=_HINT,
        **more,
    )


def _of_experiment(file: Path, held: Mapping[Any, Any], given: Given) -> Found:
    """Read one set of a result of DC, DSA, DM or FreD."""
    with at(file.name):
        chosen = experiment(held, given.experiment)
    images, labels, _ = _pair(chosen.pair, f"{file.name}: data[{given.experiment or 0}]")
    method = method_in(file, "accs_all_exps" in held, given)
    dataset = dataset_in(file, given) if method or given.method else None
    extra = {"claimed": chosen.claimed} if chosen.claimed else {}
    found = _found(file, images, labels, method=method, protocol=method, dataset=dataset, extra=extra)
    return _fred(file, found, given) if chosen.nested or _has_mask(file, found, given) else found


def _pair_of_files(file: Path, images: Tensor, given: Given) -> Found:
    """Read a bare tensor: MTT's images, with the labels in a separate file."""
    match = _IMAGES.fullmatch(file.name)
    if match is None:
        return _found(file, images, None, labels_hint="one tensor and no more")
    beside = file.with_name(f"labels_{match[1]}.pt")
    replaced = given.labels is not None and given.labels not in LABEL_RULES
    if replaced or not beside.is_file():
        weights = "weights_best.pt" if match[1] == "best" else "styles_N.pt"
        hint = f"no {beside.name} beside it; if these are bases of HaBa, its hallucinators, {weights}, are missing"
        found = _found(file, images, None, labels_hint=hint, method="mtt", protocol="mtt")
    else:
        labels = load_torch(beside, given.limits)
        found = _found(file, images, labels, beside, method="mtt", protocol="mtt")
    if _has_mask(file, found, given):
        return _fred(file, found, given)
    if given.method is None and given.recipe is None:
        notice(f"{file.name}: taken for a set of MTT, by its name; pass method= (--method) if another method made it")
    return found


def _has_mask(file: Path, found: Found, given: Given) -> bool:
    """Whether FreD's mask is beside a file: zeros and ones, one per value of the images."""
    mask = file.with_name(_MASK)
    if not mask.is_file():
        return False
    held = load_torch(mask, given.limits)
    return isinstance(held, Tensor) and held.shape == found.sources.shape and bool(((held == 0) | (held == 1)).all())


def _fred(file: Path, found: Found, given: Given) -> Found:
    """The set of FreD (Shin et al. 2023), which trains as the method does whose objective it takes."""
    if given.method is None:
        notice(
            f"{file.name}: a set of FreD, saved as decoded images; the pack keeps these and no mask of frequencies, so "
            "it takes more floats than FreD counts"
        )
    return replace(found, method="fred")


def _refuse_fields(held: object) -> None:
    """Refuse the result of DDiF (Shin et al. 2025): ``{"nf": [state dict, ...], "label": ...}``.

    Raises:
        FormatError: if it is one.
    """
    if not isinstance(held, Mapping) or "label" not in held or not isinstance(fields := held.get("nf"), list | tuple):
        return
    raise FormatError(
        f"a set of DDiF (Shin et al. 2025): {len(fields)} neural fields, which no decoder kind holds, without the size "
        "and the frequencies (w0) that decode them. Decode them where they were made, and save the images: "
        "torch.save([images, labels], 'plain.pt')"
    )


def _pair(held: object, where: str, split: Split | None = None) -> tuple[object, object, Split | None]:
    """The images and labels of a pair or a dict, and their split if the dict has splits."""
    if isinstance(held, Mapping):
        names, found = usual((key for key in held if isinstance(key, str)), split, where)
        return held[names.images], None if names.labels is None else held[names.labels], found
    if isinstance(held, list | tuple) and len(held) == 2:
        return held[0], held[1], None
    what = plural(len(held), "entry") if isinstance(held, list | tuple) else type(held).__name__
    raise FormatError(f"{where}: {what}; a pair [images, labels] or a dict with 'images' and 'labels' expected")


def _best(folder: Path) -> Path:
    """The best or else the latest images of an MTT run, in the space that it trained in."""
    files = [file for file in folder.iterdir() if _IMAGES.fullmatch(file.name) and "zca" not in file.name]
    if not files:
        raise FormatError(f"{folder}: no images_best.pt or images_N.pt; name an images_zca_N.pt itself")
    best = folder / "images_best.pt"
    return best if best in files else max(files, key=lambda file: int(file.stem.removeprefix("images_")))


LAYOUT = TensorsLayout()
