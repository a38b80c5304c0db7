"""The result file of Dataset Distillation (Wang et al. 2018): a list of steps, each (images, labels, learning rate).

A network takes one step of gradient descent on each, in this order and with these rates. A pack has neither an order of
its batches nor a rate for each; its card keeps them as ``extra["steps"]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor

from dsetpack.convert._files import tensor_of
from dsetpack.convert.base import Found, Given
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.words import plural

METHOD = "dd"


def are_steps(held: object) -> bool:
    """Whether a file is a list of such steps."""
    return (
        isinstance(held, list | tuple)
        and len(held) > 0
        and all(isinstance(step, list | tuple) and len(step) == 3 for step in held)
        and all(isinstance(part, Tensor) for part in held[0][:2])
    )


def found_steps(file: Path, steps: Sequence[Sequence[object]], given: Given) -> Found:
    """The images and labels of all steps, each batch once: later epochs use the batches of the first again.

    Raises:
        FormatError: if a step is not as expected, or if nothing says how to train without the steps.
    """
    with at(file.name):
        if given.lr is None and given.recipe is None:
            raise FormatError(
                f"a list of {plural(len(steps), 'step')} (images, labels, learning rate) of Dataset Distillation (Wang "
                "et al. 2018), which has to be trained in this order and at these rates; no recipe can say that. Pass "
                "lr='none' (--lr none) for the images and labels alone, or lr= or recipe= to train otherwise"
            )
        batches, order, rates = _parts(steps)
    return Found(
        sources=torch.cat([images for images, _ in batches]),
        where=f"{file.name}: images",
        files=(file,),
        labels=torch.cat([labels for _, labels in batches]),
        labels_where=f"{file.name}: labels",
        space_hint="Dataset Distillation normalises by channel (normalized).",
        method=METHOD,
        extra={"steps": {"sizes": [len(labels) for _, labels in batches], "batches": order, "lr": rates}},
    )


def _parts(steps: Sequence[Sequence[object]]) -> tuple[list[tuple[Tensor, Tensor]], list[JsonValue], list[JsonValue]]:
    """The batches without repeats; the number of the batch of each step; and the rate of each step."""
    batches: list[tuple[Tensor, Tensor]] = []
    numbers: dict[tuple[int, tuple[int, ...]], int] = {}
    order: list[JsonValue] = []
    rates: list[JsonValue] = []
    for number, (images, labels, rate) in enumerate(steps):
        with at(f"step {number}"):
            x, y = tensor_of(images), tensor_of(labels)
            if x.ndim != 4 or len(x) != len(y) or (batches and x.shape[1:] != batches[0][0].shape[1:]):
                raise FormatError(f"images {list(x.shape)} and labels {list(y.shape)}; [N, C, H, W] and N expected")
            rates.append(_rate(rate))
            key = (x.data_ptr(), tuple(x.shape))  # a file keeps that two tensors are the same one
            if key not in numbers:
                numbers[key] = len(batches)
                batches.append((x, y))
            order.append(numbers[key])
    return batches, order, rates


def _rate(rate: object) -> float | None:
    """A step's learning rate; None if it has none."""
    if rate is None:
        return None
    value = tensor_of(rate) if isinstance(rate, Tensor) else rate
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if isinstance(number, bool) or not isinstance(number, float | int):
        raise FormatError("no learning rate: one number expected")
    return float(number)
