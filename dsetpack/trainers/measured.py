"""Accuracies measured so far, kept in a file so that an interruption does not lose hours of training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsetpack.formats.atomic import check_writable, write_atomically
from dsetpack.formats.errors import FormatError


class Measured:
    """Accuracies by name, learning rate and seed, in memory and in an optional JSON file.

    Args:
        path: the file, which is read if it exists and written whole after each accuracy; None for memory only.
        what: plain JSON values that identify the measurement.

    Raises:
        FormatError: if the file is not such a file.
        FormatError: if it belongs to another measurement; the message names the first value that differs.
    """

    def __init__(self, path: Path | None, what: Mapping[str, Any]) -> None:
        self._path, self._what = path, json.loads(json.dumps(what))
        self._found: dict[str, float] = {}
        if path is not None and path.exists():
            self._found = _read(path, self._what)
        elif path is not None:
            check_writable(path)

    def has(self, name: str, rate: float, seed: int) -> bool:
        """Whether this accuracy was measured."""
        return _key(name, rate, seed) in self._found

    def get(self, name: str, rate: float, seed: int) -> float:
        """The accuracy in [0, 1].

        Raises:
            KeyError: if it was not measured.
        """
        return self._found[_key(name, rate, seed)]

    def put(self, name: str, rate: float, seed: int, accuracy: float) -> None:
        """Store an accuracy."""
        self._found[_key(name, rate, seed)] = accuracy
        if self._path is not None:
            content = {"what": self._what, "accuracies": self._found}
            write_atomically(self._path, (json.dumps(content, indent=1) + "\n").encode())


def _key(name: str, rate: float, seed: int) -> str:
    return f"{name} lr={rate:.9g} seed={seed}"


def _read(path: Path, what: Mapping[str, Any]) -> dict[str, float]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        theirs, found = dict(content["what"]), {str(k): float(v) for k, v in content["accuracies"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: not a file of measured accuracies; name another, or remove it") from error
    for name, value in what.items():
        if theirs.get(name) != value:
            raise FormatError(
                f"{path}: its accuracies are of another measurement: {name} is {theirs.get(name)!r}, here {value!r}; "
                "name another file"
            )
    return found
