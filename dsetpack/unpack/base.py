"""Code that all forms of unpacking share: batches of decoded images, the card of the unpacked images, the folder."""

from __future__ import annotations

import math
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dsetpack.formats.atomic import SUFFIX
from dsetpack.formats.card import Card, RawSpace, Recipe
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.formats.notices import notice
from dsetpack.formats.progress import steps
from dsetpack.formats.words import plural
from dsetpack.pack.pack import Pack

CARD = "dsetpack.card"
"""The metadata key of the card's JSON in a safetensors file."""
HALF_STEP = 0.5 / 255
"""Up to this distance from [0, 1], a value becomes 0 or 255 by rounding alone."""
CARD_FILE, LABELS_FILE = "card.json", "labels.csv"
LABEL_CLASS = "label "
"""The column of probabilities of a class called ``label``, because a column ``label`` holds class numbers."""
BATCH = 256


def batches(pack: Pack, pair_ids: NDArray[np.int64] | None = None) -> Iterator[Tensor]:
    """Images, by default all in the order of pairs: float32 [<= 256, C, H, W] in the pack's space, on the CPU.

    The images of ``generator`` parts are those of seed 0 and epoch 0.
    """
    chosen = np.arange(len(pack)) if pair_ids is None else pair_ids
    with steps("unpack", len(chosen)) as work:
        for start in range(0, len(chosen), BATCH):
            stop = min(start + BATCH, len(chosen))
            with torch.no_grad():
                yield pack.decode(chosen[start:stop])[0].cpu()
            work.update(stop)


def raw_batches(pack: Pack, pair_ids: NDArray[np.int64] | None = None) -> Iterator[Tensor]:
    """The images of ``batches`` in raw space. They are not clipped: learned images may lie outside [0, 1].

    Raises:
        DsetpackError: if the pack keeps only the recipe of its ZCA.
    """
    for images in batches(pack, pair_ids):
        with torch.no_grad():
            yield pack.space.invert(images.to(pack.device)).cpu()


def pictures(pack: Pack, pair_ids: NDArray[np.int64] | None = None) -> Iterator[Image.Image]:
    """Images, by default all, as 8-bit pictures, grey or RGB: raw values clipped to [0, 1], times 255, rounded.

    After the last one of all, a notice says how many values were clipped, if any were.

    Raises:
        FormatError: if the images have neither 1 nor 3 channels.
        DsetpackError: if the pack keeps only the recipe of its ZCA.
    """
    if pack.card.shape[0] not in (1, 3):
        raise FormatError(
            f"images have {plural(pack.card.shape[0], 'channel')}; a picture has 1 or 3: unpack as safetensors"
        )
    clipped = Clipped()
    for images in raw_batches(pack, pair_ids):
        clipped.count(images)
        pixels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        for pixel in pixels:
            yield Image.fromarray(np.ascontiguousarray(pixel[..., 0] if pixel.shape[2] == 1 else pixel))
    if clipped.number and pair_ids is None:
        notice(f"{clipped}; 'safetensors' keeps every value")


@dataclass
class Clipped:
    """How many raw values lie outside [0, 1] by more than rounding to 8 bits changes, and by how much at most."""

    number: int = 0
    of: int = 0
    most: float = 0.0

    def count(self, images: Tensor) -> None:
        """Count the values of more images."""
        outside = torch.maximum(-images, images - 1).nan_to_num(0.0, posinf=torch.inf)
        self.number += int((outside > HALF_STEP).sum())
        self.of += images.numel()
        self.most = max(self.most, float(outside.max()))

    def __str__(self) -> str:
        share = self.number / self.of
        told = f"{share:.2%}" if share >= 0.0001 else f"{self.number:,}"
        return f"{told} of {self.of:,} pixel values were outside [0, 1] and were clipped, by at most {self.most:.3g}"


def labels(pack: Pack) -> NDArray[np.int64] | NDArray[np.float32]:
    """The label of every image: int64 [N] or float32 [N, classes]."""
    found: NDArray[np.int64] | NDArray[np.float32] = pack.labels.cpu().numpy()
    return found


def unpacked_card(pack: Pack, *, raw: bool) -> Card:
    """The card of the unpacked images: each image is a source of its own, and there are no metrics.

    A budget counts the floats of these images: as many as before, if the pack's sources are its images.
    If an epoch of the pack does not take every image, a recipe's length in epochs becomes the same number of steps.
    """
    card = pack.card
    budget = None if card.provenance.budget_floats is None else len(pack) * math.prod(card.shape)
    provenance = card.provenance.model_copy(update={"budget_floats": budget})
    return card.replace(
        space=RawSpace() if raw else card.space,
        epoch_rule="product",
        per_class=None,
        recipe=card.recipe and _same_length(card.recipe, pack),
        provenance=provenance,
        metrics=(),
    )


def _same_length(recipe: Recipe, pack: Pack) -> Recipe:
    sources = sum(len(part) for part in pack.parts)
    if recipe.epochs is None or pack.card.epoch_rule == "product" or sources == len(pack):
        return recipe
    steps = recipe.epochs * -(-sources // recipe.batch_size)
    return Recipe.model_validate({**recipe.model_dump(), "epochs": None, "steps": steps})


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to fill, which takes the name ``path`` in one step at the end; after an error, nothing is left.

    Raises:
        DsetpackError: if ``path`` exists and is not an empty folder; nothing is ever overwritten.
        OSError: if its parent does not exist or cannot be written; the error names ``path``.
    """
    target = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow links)
    _check_free(target)
    filling = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}{SUFFIX}")
    try:
        filling.mkdir()
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    try:
        yield filling
        _check_free(target)
        if target.exists():
            target.rmdir()  # it is empty, and not every system can rename onto a folder
        filling.rename(target)
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(filling)
        raise


def _check_free(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise DsetpackError(f"{target}: there already, and not an empty folder; name a new one, nothing is overwritten")
