"""The result file of DC, DSA and DM, which others took over: the sets of all experiments, and their accuracies.

``{"data": [[images, labels], ...], "accs_all_exps": {network: accuracies}}``. FreD (Shin et al. 2023) saves each pair
in a list of its own. Which of the methods made a file is only in its name, if anywhere; names differ in the wild.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from pydantic import JsonValue

from dsetpack.convert._published import PUBLISHED
from dsetpack.convert.base import Given
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.model import printable
from dsetpack.formats.notices import notice

_METHODS = re.compile(r"(?<![a-z0-9])(dc|dsa|dm)(?![a-z0-9])")
_DATA = re.compile(
    r"(?<![a-z0-9])("
    + "|".join(name.replace("-", "[-_]?") for name in sorted(PUBLISHED, key=len, reverse=True))
    + r")(?![a-z0-9])"
)


@dataclass(frozen=True)
class Experiment:
    """One set of a result file.

    Attributes:
        pair: the images and labels, or what stands in their place.
        nested: whether the pair is in a list of its own, as FreD saves it.
        claimed: the accuracies that the file records for this set.
    """

    pair: object
    nested: bool
    claimed: list[JsonValue]


def is_result(held: object) -> bool:
    """Whether a file is such a result."""
    return isinstance(held, Mapping) and isinstance(held.get("data"), list | tuple)


def experiment(held: Mapping[Any, Any], wanted: int | None) -> Experiment:
    """The set of one experiment.

    Raises:
        FormatError: if there is none, or if there are several and none is chosen.
    """
    sets = held["data"]
    if not sets:
        raise FormatError("'data' is empty; one pair [images, labels] per experiment expected")
    if wanted is None and len(sets) > 1:
        raise FormatError(
            f"'data' holds the sets of {len(sets)} experiments; pass experiment= (--experiment 0 to {len(sets) - 1})"
        )
    number = wanted or 0
    if not 0 <= number < len(sets):
        raise FormatError(f"no experiment {number}; 'data' holds {len(sets)}, numbered from 0")
    pair = sets[number]
    nested = isinstance(pair, list | tuple) and len(pair) == 1 and isinstance(pair[0], list | tuple)
    return Experiment(
        pair=pair[0] if nested else pair,
        nested=nested,
        claimed=_claimed(held.get("accs_all_exps"), number, len(sets)),
    )


def _claimed(recorded: object, number: int, sets: int) -> list[JsonValue]:
    """The accuracies of one experiment: those of all experiments follow each other, as many for each."""
    found: list[JsonValue] = []
    for network, values in recorded.items() if isinstance(recorded, Mapping) else ():
        count, rest = divmod(len(values), sets) if isinstance(values, list | tuple) else (0, 1)
        mine: Sequence[Any] = () if rest else values[number * count : (number + 1) * count]
        if mine and all(isinstance(value, float | int) and 0 <= value <= 1 for value in mine):
            spread = {"std": pstdev(mine)} if len(mine) > 1 else {}
            found.append({"accuracy": fmean(mine), **spread, "seeds": len(mine), "arch": printable(str(network))})
    return found


def method_in(file: Path, recorded: bool, given: Given) -> str | None:
    """The method of a result file, by its name; None if it need not be known, or if nothing says that it is a result.

    Args:
        file: the file.
        recorded: whether it records accuracies, so that it is certainly a result of one of the methods.
        given: what the user declares.

    Raises:
        FormatError: if one of three methods made the file, and neither its name nor the user says which.
    """
    named = set(_METHODS.findall(file.stem.lower()))
    if len(named) == 1:
        return str(named.pop())
    if not recorded or given.lr == "none" or given.method is not None or given.recipe is not None:
        return None
    with at(file.name):
        raise FormatError(
            "a result of DC, DSA or DM, and its name does not say which; they train differently: pass method= "
            "(--method dc, dsa or dm)"
        )


def dataset_in(file: Path, given: Given) -> str | None:
    """The real data of a result file, by its name; None if the user declares it, or if the name does not say it."""
    if given.dataset is not None or given.recipe is not None:
        return None
    named = {match.replace("-", "").replace("_", "") for match in _DATA.findall(file.stem.lower())}
    found = [name for name in PUBLISHED if name.replace("-", "") in named]
    if len(found) != 1:
        return None
    if given.lr != "none":
        notice(f"{file.name}: the card trains as on {found[0]}, by its name; pass dataset= (--dataset) for other data")
    return found[0]
