"""Checkpoints: tensors and plain values in one file, replaced atomically; loading one never runs pickled code."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from dsetpack.formats.atomic import write_atomically
from dsetpack.formats.errors import FormatError

FORMAT = 1
Identity = dict[str, JsonValue]


def save_checkpoint(path: Path, recipe: Identity, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) for a run of ``recipe`` atomically."""
    buffer = io.BytesIO()
    plain = json.loads(json.dumps(recipe))
    torch.save({"dsetpack": FORMAT, "recipe": plain, "state": state}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path, recipe: Identity) -> dict[str, Any]:
    """Load the state that was saved for a run of ``recipe``, with tensors on the CPU.

    Raises:
        FormatError: if the file is not a checkpoint of ours.
        FormatError: if it belongs to another recipe; the message names the settings that differ.
    """
    found = _read(path)
    ours = json.loads(json.dumps(recipe))  # the saved one has lists instead of tuples
    if found["recipe"] != ours:
        raise FormatError(
            f"{path}: a checkpoint of another recipe ({_difference(found['recipe'], ours)}); "
            "resume with the same settings, or start again: without resume, and with another out or folder"
        )
    state: dict[str, Any] = found["state"]
    return state


def unsound(state: Any, name: str = "") -> str | None:
    """The dotted name of the first tensor with a NaN or an infinity in a state of dicts, lists and tensors, or None."""
    if isinstance(state, torch.Tensor):
        return None if bool(state.isfinite().all()) else name
    inner = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else ()
    found = (unsound(value, f"{name}.{key}" if name else str(key)) for key, value in inner)
    return next((one for one in found if one is not None), None)


def check_free(path: Path) -> None:
    """Refuse to start over the checkpoint of a run that stopped before its end.

    Raises:
        FormatError: if there is such a checkpoint, or if the file is not a checkpoint of ours.
    """
    if path.exists() and unfinished(path):
        raise FormatError(
            f"{path} is the checkpoint of an unfinished run: resume it, remove it, or choose another folder"
        )


def unfinished(path: Path) -> bool:
    """Whether the checkpoint's run stopped before its end.

    Raises:
        FormatError: if the file is not a checkpoint of ours.
    """
    return not _read(path)["state"].get("finished", False)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise FormatError(
            f"{path}: not a readable checkpoint: damaged, or another file; remove it to start again"
        ) from error
    if not isinstance(found, dict) or found.get("dsetpack") != FORMAT:
        raise FormatError(f"{path}: not a checkpoint of this version of dsetpack; remove it to start again")
    return found


def _difference(theirs: Identity, ours: Identity, prefix: str = "") -> str:
    """The settings in which two recipes differ, in words."""
    words = []
    for key in sorted({*theirs, *ours}):
        there, here = theirs.get(key), ours.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            words.append(_difference(there, here, f"{prefix}{key}."))
        elif there != here:
            words.append(f"{prefix}{key}: {there} there, {here} here")
    return ", ".join(filter(None, words))
