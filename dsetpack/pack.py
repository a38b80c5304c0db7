"""The pack: a factorized dataset in memory, which decodes (source, decoder) pairs on the fly."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dsetpack import philox
from dsetpack.formats.card import Augmentation, Card, Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.formats.presets import EncodingChoice
from dsetpack.pairs import PairTable
from dsetpack.part import Part
from dsetpack.spaces import Raw, Space, space_from_card

if TYPE_CHECKING:
    from dsetpack.dataset import PackDataset
    from dsetpack.loader import PackLoader
    from dsetpack.sampler import PairSampler
    from dsetpack.stream import PackStream
    from dsetpack.train import Report

Pairs = Sequence[int] | NDArray[np.integer[Any]] | Tensor
Transform = Callable[[Tensor], Tensor]
MATERIALIZE_BATCH = 1024


class Pack:
    """A factorized dataset: parts of sources × decoders, with the card that says how to use them.

    Attributes:
        card: what the pack is.
        table: which pair number is which (part, source, slot).
        digest: ``sha256:...`` of the file it was opened from; None for a pack made in memory.
    """

    def __init__(self, card: Card, parts: Iterable[Part], space: Space | None = None, digest: str | None = None):
        """Put a pack together.

        Args:
            card: what it is; class count, image shape and label kind must fit the parts.
            parts: at least one.
            space: the pixel space, where the card alone cannot make it (an embedded ZCA).

        Raises:
            FormatError: a part does not fit the card.
        """
        self._parts, self._space = tuple(parts), space or space_from_card(card.space, {})
        if not self._parts:
            raise FormatError("a pack needs at least one part")
        for number, part in enumerate(self._parts):
            _check_part(number, part, card)
        self._begin(card, [(len(part), part.slots) for part in self._parts], digest)

    def _begin(self, card: Card, sizes: Sequence[tuple[int, int]], digest: str | None) -> None:
        self.card, self.digest = card, digest
        self.table = PairTable(sizes)
        self._decoded: Tensor | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts; read and checked when first used where the pack was opened from a file."""
        return self._parts

    @property
    def space(self) -> Space:
        """The pixel space of decoded images; ``space.apply`` maps raw images in [0, 1] into it."""
        return self._space

    @classmethod
    def from_arrays(
        cls,
        images: NDArray[Any] | Tensor,
        labels: NDArray[Any] | Tensor,
        *,
        classes: Sequence[str] | int | None = None,
        space: Space | None = None,
        **card: Any,
    ) -> Pack:
        """A pack of plain images.

        Args:
            images: uint8 in 0..255 or float32 in the pack's space, [N, C, H, W] or [N, H, W].
            labels: hard integers [N], or soft floats [N, classes].
            classes: class names, or how many; by default as many as the labels say.
            space: the pixel space of float images; raw values in [0, 1] by default.
            **card: further fields of the card (``title``, ``recipe``, ...).

        Raises:
            FormatError: shapes that do not fit, or labels outside the classes.
        """
        from dsetpack.arrays import images_pack

        return images_pack(images, labels, classes=classes, space=space, **card)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        kinds = " + ".join(f"{len(p)} × {p.slots} {p.kind}" for p in self.parts)
        return f"Pack({self.card.title!r}, {kinds} = {len(self)} images {list(self.card.shape)})"

    @property
    def device(self) -> torch.device:
        """Where it decodes."""
        return self.parts[0].labels.device

    @property
    def labels(self) -> Tensor:
        """The label of every pair: int64 [len], or float32 [len, classes]."""
        return torch.cat([part.labels.repeat_interleave(part.slots, 0) for part in self.parts])

    def decode(self, pairs: Pairs, *, seed: int = 0, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Decode any pairs in one batched call, differentiable in sources and banks.

        Args:
            pairs: B pair numbers in 0..len-1, in any order, repeats allowed.
            seed, epoch: which noise a generator draws; others ignore them.

        Returns:
            images float32 [B, C, H, W] in the pack's space, and labels int64 [B] or float32 [B, classes].

        Raises:
            IndexError: a number that is no pair.
        """
        numbers = np.asarray(pairs.cpu() if isinstance(pairs, Tensor) else pairs)
        if numbers.ndim != 1:
            raise IndexError(f"pair numbers must be a list, found shape {list(numbers.shape)}")
        where, sources, slots = self.table.locate(numbers)
        present = np.unique(where)
        if len(present) == 1:
            return self._decode_part(self.parts[present[0]], numbers, sources, slots, (seed, epoch))
        x = torch.empty(len(numbers), *self.card.shape, device=self.device)
        y = torch.empty(
            (len(numbers), *self.parts[0].labels.shape[1:]), dtype=self.parts[0].labels.dtype, device=self.device
        )
        for part in present:
            at = np.flatnonzero(where == part)
            rows = torch.from_numpy(at).to(self.device)
            images, labels = self._decode_part(self.parts[part], numbers[at], sources[at], slots[at], (seed, epoch))
            x, y = x.index_copy(0, rows, images), y.index_copy(0, rows, labels)
        return x, y

    def _decode_part(
        self,
        part: Part,
        numbers: NDArray[np.integer[Any]],
        sources: NDArray[np.int64],
        slots: NDArray[np.int64],
        draw: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        rows = self._to_device(sources)
        labels = part.labels[rows]
        if self._decoded is not None:
            return self._decoded[self._to_device(numbers)], labels
        if part.sources is None:
            size = part.config.source_shape(self.card.shape)[0]
            noise = self._to_device(philox.noise(*draw, numbers, size))
            images = part.decode(part.decoder.label_noise(noise, labels), torch.from_numpy(slots), labels)
        else:
            images = part.decode(part.sources, torch.from_numpy(slots), labels, rows)
        if part.config.yields == "raw" and not isinstance(self.space, Raw):
            images = self.space.apply(images)
        return images, labels

    def _to_device(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def dataset(self, transform: Transform | None = None, *, seed: int = 0) -> PackDataset:
        """A map-style dataset over all pairs, for any stock ``DataLoader``."""
        from dsetpack.dataset import PackDataset

        return PackDataset(self, transform=transform, seed=seed)

    def sampler(self, batch_size: int, **options: Any) -> PairSampler:
        """Batches of pair numbers in the pack's own order; see ``PairSampler`` for the options."""
        from dsetpack.sampler import PairSampler

        options.setdefault("rule", self.card.epoch_rule)
        return PairSampler(self.table, batch_size, **options)

    def loader(self, batch_size: int, **options: Any) -> PackLoader:
        """Batches (images, labels) decoded on the pack's device, exactly resumable; see ``PackLoader``."""
        from dsetpack.loader import PackLoader

        return PackLoader(self, batch_size, **options)

    def stream(self, batch_size: int, **options: Any) -> PackStream:
        """An iterable dataset of whole batches for ``DataLoader(..., batch_size=None)``; see ``PackStream``."""
        from dsetpack.stream import PackStream

        return PackStream(self, batch_size, **options)

    def select(self, *, classes: Sequence[int] | None = None, parts: Sequence[int | str] | None = None) -> Pack:
        """Some of it: sources of some classes (class numbers stay as they are), some parts (by number or name).

        Raises:
            FormatError: nothing is left, or no such class or part.
        """
        chosen = self.parts if parts is None else tuple(self._part(p) for p in parts)
        if classes is not None:
            if wrong := [c for c in classes if not 0 <= c < len(self.card.classes)]:
                raise FormatError(f"class {wrong[0]}: there are {len(self.card.classes)} classes")
            chosen = tuple(part.by_class(classes) for part in chosen)
        chosen = tuple(part for part in chosen if len(part))
        if not chosen:
            raise FormatError(f"no sources of classes {classes} in parts {parts}")
        return Pack(self.card, chosen, self.space)

    def _part(self, which: int | str) -> Part:
        named = {part.name: part for part in self.parts if part.name is not None}
        if isinstance(which, int) and 0 <= which < len(self.parts):
            return self.parts[which]
        if isinstance(which, str) and which in named:
            return named[which]
        raise FormatError(f"no part {which!r}; there are {len(self.parts)} parts, named {sorted(named)}")

    def to(self, device: torch.device | str) -> Pack:
        """The pack on a device; the one it is called on stays where it is."""
        if torch.empty(0, device=device).device == self.device:
            return self
        banks = {id(part.decoder): part.decoder for part in self.parts}
        moved_banks = {key: copy.deepcopy(bank).to(device) for key, bank in banks.items()}
        parts = [part.to(device, moved_banks[id(part.decoder)]) for part in self.parts]
        moved = Pack(self.card, parts, self.space.to(device), self.digest)
        moved._decoded = None if self._decoded is None else self._decoded.to(device)
        return moved

    def materialize(self, device: torch.device | str | None = None) -> Pack:
        """The same pack with all images decoded once and kept: faster epochs for ``len × C × H × W × 4`` bytes.

        A generator's images are those of seed 0, epoch 0, the same every epoch.
        """
        made = copy.copy(self.to(device or self.device))
        batches = np.array_split(np.arange(len(self)), max(1, -(-len(self) // MATERIALIZE_BATCH)))
        with torch.no_grad():
            made._decoded = torch.cat([made.decode(numbers)[0] for numbers in batches])
        return made

    def train(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        recipe: Recipe | None = None,
        augmentation: Augmentation | None = None,
        device: torch.device | str | None = None,
        **options: Any,
    ) -> Report:
        """Train a network on the pack by the card's own recipe and augmentation, or by others given here.

        Returns:
            ``loss`` of the last step, ``steps`` and ``seconds``.

        Raises:
            FormatError: the card has no recipe and none is given.
        """
        from dsetpack.train import train

        recipe = recipe or self.card.recipe
        if recipe is None:
            raise FormatError(f"{self.card.title!r} has no recipe in its card; pass recipe=dsetpack.Recipe(...)")
        augmentation = augmentation or self.card.augmentation
        target = device or self.device
        return train(
            model, self.to(target), recipe=recipe, augmentation=augmentation, seed=seed, device=target, **options
        )

    def save(self, path: str | os.PathLike[str], encoding: EncodingChoice = "exact") -> int:
        """Write the pack in one step; an existing file is replaced whole or not at all.

        Args:
            path: a ``.dpk`` file.
            encoding: ``exact``, ``f16``, ``int8``, ``int4``, or choices by tensor name or role.

        Returns:
            the file's size in bytes.
        """
        from dsetpack.formats.writer import write
        from dsetpack.store import contents

        return write(Path(path), *contents(self), encoding=encoding)

    def to_bytes(self, encoding: EncodingChoice = "exact") -> bytes:
        """The bytes that ``save`` writes."""
        from dsetpack.formats.writer import encode
        from dsetpack.store import contents

        return encode(*contents(self), encoding=encoding)

    def replace_card(self, **changes: Any) -> Pack:
        """The same pack with some fields of its card changed."""
        return Pack(self.card.replace(**changes), self.parts, self.space)


def _check_part(number: int, part: Part, card: Card) -> None:
    classes, hard = len(card.classes), card.labels.kind == "hard"
    if hard != (part.labels.ndim == 1):
        raise FormatError(f"part {number}: labels of shape {list(part.labels.shape)}, the card says {card.labels.kind}")
    if not hard and part.labels.shape[1] != classes:
        raise FormatError(f"part {number}: {part.labels.shape[1]} label columns for {classes} classes")
    if hard and len(part.labels) and not 0 <= int(part.labels.min()) <= int(part.labels.max()) < classes:
        raise FormatError(f"part {number}: labels {part.labels.min()}..{part.labels.max()} for {classes} classes")
    if part.sources is not None:
        expected = part.config.source_shape(card.shape)
        if tuple(part.sources.shape[1:]) != expected:
            raise FormatError(
                f"part {number}: sources of shape {list(part.sources.shape[1:])}, {list(expected)} expected"
            )
