"""The pack: a factorized dataset in memory that decodes (source, decoder) pairs on the fly."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.utils.data import Dataset

from dsetpack.formats.axes import Axes
from dsetpack.formats.card import Augmentation, Card, Recipe
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.presets import EncodingChoice
from dsetpack.formats.words import plural
from dsetpack.formats.writer import encode, write
from dsetpack.loading.dataset import PackDataset, Sample
from dsetpack.loading.device import usable
from dsetpack.loading.loader import PackLoader
from dsetpack.loading.source import PairIds, Transform
from dsetpack.loading.stream import PackStream
from dsetpack.order.pairs import PairTable
from dsetpack.order.sampler import PairSampler
from dsetpack.pack.arrays import images_contents
from dsetpack.pack.combine import Which, floats, merged_card, merged_parts, select, unmeasured
from dsetpack.pack.contents import MemoryContents, PackContents, check_fits_card
from dsetpack.pack.decode import decode_pairs
from dsetpack.pack.part import Part
from dsetpack.pack.stored import to_file
from dsetpack.spaces import Space, as_space, same_space, space_from_card
from dsetpack.torch_settings import lasting
from dsetpack.training.augment import augmentation_of
from dsetpack.training.train import Progress, Report, train

BATCH = 1024


class Pack(Dataset[Sample]):
    """A factorized dataset: parts of sources × decoders, with the card that says how to use them.

    A pack is a map-style dataset of all its pairs: ``pack[i]`` is ``(x, y)``, x float32 [C, H, W] in the pack's space,
    y an int or float32 [classes], and ``DataLoader(pack)`` works. ``dataset`` makes one with a transform.

    Attributes:
        card: the description of the pack.
        table: the (part, source, slot) of each pair.
        digest: ``sha256:...`` of the file that the pack was opened from; None for a pack made in memory.
        origin: that file if it can be opened again, as an absolute path, URL or bytes; otherwise None.
    """

    def __init__(self, card: Card, parts: Iterable[Part], space: Space | None = None, digest: str | None = None):
        """Put a pack together.

        Args:
            card: the description of the pack; class count, image shape and label kind must fit the parts.
            parts: at least one part.
            space: the pixel space; needed only if the card alone cannot make it (an embedded ZCA).
            digest: the digest of the file that the pack comes from, if any.

        Raises:
            FormatError: if a part or the space does not fit the card.
        """
        contents = MemoryContents(tuple(parts), space_from_card(card.space, {}) if space is None else as_space(space))
        check_fits_card(contents, card)
        self._set(card, contents, digest, None, None)

    @classmethod
    def _of(
        cls,
        card: Card,
        contents: PackContents,
        digest: str | None,
        origin: str | bytes | None,
        decoded: tuple[Tensor, Tensor] | None = None,
    ) -> Pack:
        """Make a pack of contents that fit the card already, such as a file's; they may be read later."""
        pack = cls.__new__(cls)
        pack._set(card, contents, digest, origin, decoded)
        return pack

    def _set(
        self,
        card: Card,
        contents: PackContents,
        digest: str | None,
        origin: str | bytes | None,
        decoded: tuple[Tensor, Tensor] | None,
    ) -> None:
        self.card, self.digest, self.origin = card, digest, origin
        self.table = PairTable(contents.sizes)
        self._contents, self._decoded = contents, decoded

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts; if the pack was opened from a file, they are read and checked when first used."""
        return self._contents.parts

    @property
    def space(self) -> Space:
        """The pixel space of decoded images; ``space.apply`` maps raw images in [0, 1] into it."""
        return self._contents.space

    @property
    def labels(self) -> Tensor:
        """The label of every pair, without reading images: int64 [len], or float32 [len, classes]."""
        return self._contents.labels

    @property
    def device(self) -> torch.device:
        """The device that the pack is on and decodes on."""
        return self.parts[0].labels.device

    @classmethod
    def from_arrays(
        cls,
        images: ArrayLike | Tensor,
        labels: ArrayLike | Tensor,
        *,
        classes: Sequence[str] | int | None = None,
        space: Space | None = None,
        axes: Axes | None = None,
        **card: Any,
    ) -> Pack:
        """Make a pack of plain images. The arrays are copied.

        Args:
            images: uint8 in 0..255, which are raw, or floats in the pack's space: [N, C, H, W], [N, H, W, C] or
                [N, H, W]. Floats that look like 0..255 are refused.
            labels: class numbers [N] or [N, 1], class names [N], one-hot integers [N, classes], or soft floats [N,
                classes].
            classes: class names, or the number of classes; by default the names in ``labels``, sorted, or the number
                of their columns, or that of the class numbers, which must then use all of 0, 1, 2, ...
            space: the pixel space of float images, such as ``Normalized.fit(images)``; by default raw, and then the
                images must be in [0, 1], or at most 0.5 outside. Learned ones may have any values in a declared space,
                ``Raw()`` included; a notice says an unusual range.
            axes: the order of the axes, ``NCHW`` or ``NHWC``. By default the shape decides: a last axis of 1 to 4 that
                is the shortest holds the channels, which a notice says; if both orders make sense, it is an error.
            **card: further fields of the card (``title``, ``recipe``, ...).

        Raises:
            FormatError: if shapes, dtypes or values do not fit, if a label is outside the classes, if undeclared
                classes have no label, or if a card field is unknown.

        Examples:
            >>> import numpy as np
            >>> images = np.zeros((4, 28, 28), np.uint8)
            >>> pack = dsetpack.Pack.from_arrays(images, labels=[0, 0, 1, 1], classes=["cat", "dog"])
            >>> len(pack), pack.card.shape
            (4, (1, 28, 28))
        """
        made, part, pixel_space = images_contents(images, labels, classes=classes, space=space, axes=axes, **card)
        return Pack(made, [part], pixel_space)

    @staticmethod
    def merge(*packs: Pack, **card: Any) -> Pack:
        """Merge several packs into one, on the device of the first: their parts follow one another.

        Args:
            *packs: packs with the same card fields ``shape``, ``classes``, ``space``, ``labels``, ``epoch_rule`` and
                ``per_class``, except those given in ``card``. The stages of each pack are renumbered to follow those of
                the packs before it.
            **card: fields in which the new card differs from the first pack's. The new card has no metrics. If all
                packs have a budget, it counts the floats of all parts.

        Raises:
            FormatError: if no packs are given, or if packs differ in such a field (the message names it).

        Examples:
            >>> pack = dsetpack.open("fashion-kfs.dpk")
            >>> bags, coats = pack.select(classes="Bag"), pack.select(classes="Coat")
            >>> both = dsetpack.Pack.merge(bags, coats, title="Bags and coats")
            >>> len(bags), len(coats), len(both)
            (28, 28, 56)
        """
        merged = merged_card([pack.card for pack in packs], card)  # before anything is read or moved
        parts = merged_parts(pack.to(packs[0].device).parts for pack in packs)
        if "provenance" not in card and all(pack.card.provenance.budget_floats is not None for pack in packs):
            merged = unmeasured(merged, floats(parts))
        return Pack(merged, parts, packs[0].space)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        parts = " + ".join(f"{p.kind} {len(p)} × {p.slots}" for p in self.parts)
        return f"Pack({self.card.title!r}, {parts} = {plural(len(self), 'image')} {list(self.card.shape)})"

    def __getitem__(self, index: SupportsIndex) -> Sample:
        """The image and label of a pair, as from ``PackDataset``.

        Raises:
            IndexError: if the index is outside -len..len-1.
        """
        return self.dataset()[index]

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[Sample]:
        """Decode the items of many indices with one call; a ``DataLoader`` calls this for each batch."""
        return self.dataset().__getitems__(indices)

    def __iter__(self) -> Iterator[Sample]:
        """All pairs in order, decoded in batches."""
        for start in range(0, len(self), BATCH):
            yield from self.__getitems__(range(start, min(start + BATCH, len(self))))

    def decode(self, pair_ids: PairIds, *, seed: int = 0, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Decode any pairs in one batched call; the images are differentiable in sources and banks.

        Args:
            pair_ids: B numbers in 0..len-1, in any order, repeats allowed.
            seed, epoch: choose the noise of ``generator`` parts; other kinds ignore them.

        Returns:
            images float32 [B, C, H, W] in the pack's space, and labels int64 [B] or float32 [B, classes], whatever
            torch's default dtype, default device and autocast are.

        Raises:
            IndexError: if a pair does not exist, or if ``pair_ids`` is not one-dimensional.

        Examples:
            >>> pack = dsetpack.open("fashion-kfs.dpk")
            >>> x, y = pack.decode([0, 1, 279])
            >>> x.shape
            torch.Size([3, 1, 28, 28])
            >>> y
            tensor([0, 0, 9])
        """
        pair_ids = np.asarray(pair_ids.cpu() if isinstance(pair_ids, Tensor) else pair_ids)
        if pair_ids.ndim != 1:
            raise IndexError(f"pair numbers must be a list, found shape {list(pair_ids.shape)}")
        where = self.table.locate(pair_ids)
        if self._decoded is None:
            return decode_pairs(self.parts, self.space, pair_ids, where, (seed, epoch))
        images, labels = self._decoded
        on_device = torch.from_numpy(pair_ids.astype(np.int64)).to(self.device)  # uint8 would be a mask
        return images[on_device], labels[on_device]

    def dataset(self, transform: Transform | None = None, *, seed: int = 0) -> PackDataset:
        """Make a map-style dataset over all pairs with a transform or fresh noise; see ``PackDataset``."""
        return PackDataset(self, transform=transform, seed=seed)

    def sampler(self, batch_size: int, *, rule: str | None = None, **options: Any) -> PairSampler:
        """Make a sampler of batches of pair_ids by ``rule`` (by default the card's); see ``PairSampler``."""
        return PairSampler(self.table, batch_size, rule=rule or self.card.epoch_rule, **options)

    def loader(self, batch_size: int, **options: Any) -> PackLoader:
        """Make a loader of batches (images, labels), decoded on the pack's device; see ``PackLoader`` for the options.

        It can be resumed exactly. Images are not augmented; ``Dsa(pack.card.augmentation)(x, generator)`` augments a
        batch as ``train`` does.

        Examples:
            >>> pack = dsetpack.open("fashion-kfs.dpk").select(classes=["Bag", "Coat"])
            >>> for x, y in pack.loader(batch_size=32, seed=0):
            ...     print(x.shape, y.shape)
            torch.Size([32, 1, 28, 28]) torch.Size([32])
            torch.Size([24, 1, 28, 28]) torch.Size([24])
        """
        return PackLoader(self, batch_size, **options)

    def stream(self, batch_size: int, **options: Any) -> PackStream:
        """Make an iterable dataset of whole batches for ``DataLoader(..., batch_size=None)``; see ``PackStream``."""
        return PackStream(self, batch_size, **options)

    def select(
        self, *, classes: Which | Iterable[Which] | None = None, parts: Which | Iterable[Which] | None = None
    ) -> Pack:
        """Select some classes or parts as a new pack.

        Its card has no metrics, which were measured on the whole pack; a budget counts the floats that are left.

        Args:
            classes: keep only sources of these classes, by number or name; the class list and labels do not change.
            parts: keep only these parts, by number or name.

        Raises:
            FormatError: if nothing is left, or if a class or part does not exist.

        Examples:
            >>> pack = dsetpack.open("fashion-kfs.dpk")
            >>> shoes = pack.select(classes=["Sneaker", "Ankle boot"])
            >>> len(pack), len(shoes)
            (280, 56)
            >>> shoes.labels.unique()
            tensor([7, 9])
        """
        card, kept = select(self.card, self.parts, classes, parts)
        return Pack(card, kept, self.space)

    def to(self, device: torch.device | str) -> Pack:
        """Copy the pack to a device; the original stays where it is. A pack that is already there returns itself.

        Raises:
            DsetpackError: if torch cannot use the device here.
        """
        device = usable(device)
        if device == self.device:
            return self
        banks = {id(part.decoder): part.decoder for part in self.parts}
        with lasting():
            moved_banks = {key: copy.deepcopy(bank).to(device) for key, bank in banks.items()}
        parts = tuple(part.to(device, moved_banks[id(part.decoder)]) for part in self.parts)
        decoded = None if self._decoded is None else (self._decoded[0].to(device), self._decoded[1].to(device))
        return Pack._of(self.card, MemoryContents(parts, self.space.to(device)), self.digest, self.origin, decoded)

    def materialize(self, device: torch.device | str | None = None) -> Pack:
        """Decode all images once and keep them: faster epochs for ``len × C × H × W × 4`` bytes of memory.

        The images of ``generator`` parts are those of seed 0 and epoch 0, the same in every epoch.
        """
        moved = self.to(device or self.device)
        batches = np.array_split(np.arange(len(self)), max(1, -(-len(self) // BATCH)))
        with lasting():
            decoded = torch.cat([moved.decode(pair_ids)[0] for pair_ids in batches]), moved.labels
        return Pack._of(self.card, moved._contents, self.digest, self.origin, decoded)

    def train(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        recipe: Recipe | None = None,
        augmentation: Augmentation | Literal["card"] | None = "card",
        device: torch.device | str | None = None,
        steps: int | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Train a network in place on the pack, by the card's recipe and augmentation or by others.

        Args:
            model: maps images [B, C, H, W] in the pack's space to logits [B, classes].
            seed: seed of order, augmentation, CutMix and dropout.
            recipe: the training recipe; by default the card's.
            augmentation: by default the card's; None trains without augmentation.
            device: where to train; by default where the pack is.
            steps: optimiser steps instead of the recipe's length.
            progress: called regularly with the number of steps done, the number of all steps, and the mean loss since
                the last call.

        Returns:
            ``loss`` (mean of at most the last 25 steps), ``steps`` and ``seconds``.

        Raises:
            FormatError: if the card has no recipe and none is given, or if the labels do not fit the model or the loss.
            DsetpackError: if the loss becomes NaN or infinite, or if torch cannot use the device here.
        """
        recipe = recipe or self.card.recipe
        if recipe is None:
            raise FormatError(f"{self.card.title!r} has no recipe in its card; pass recipe=dsetpack.Recipe(...)")
        target = device or self.device
        return train(
            model,
            self.to(target),
            recipe=recipe,
            augmentation=augmentation_of(self.card, augmentation),
            seed=seed,
            device=target,
            steps=steps,
            progress=progress,
        )

    def save(self, path: str | os.PathLike[str], encoding: EncodingChoice = "exact") -> int:
        """Write the pack to a file; an existing file is replaced completely or not at all.

        Args:
            path: the ``.dpk`` file, which may be the one that the pack was opened from.
            encoding: ``exact``, ``f16``, ``int8``, ``int4``, or choices by tensor name or role.

        Returns:
            the file's size in bytes.

        Examples:
            >>> pack = dsetpack.open("fashion-kfs.dpk")
            >>> size = pack.select(classes="Bag").save("bags.dpk", encoding="int8")
            >>> len(dsetpack.open("bags.dpk"))
            28
        """
        return write(path, *to_file(self.card, self.parts, self.space), encoding=encoding)

    def to_bytes(self, encoding: EncodingChoice = "exact") -> bytes:
        """Encode the pack as the bytes that ``save`` writes."""
        return encode(*to_file(self.card, self.parts, self.space), encoding=encoding)

    def to_onnx(self, path: str | os.PathLike[str], **options: Any) -> int:
        """Write an ONNX model that decodes without torch or dsetpack; see ``dsetpack.onnx.export``."""
        from dsetpack.onnx import export

        return export(self, path, **options)

    def replace_card(self, **changes: Any) -> Pack:
        """Make the same pack with some fields of its card changed.

        Raises:
            FormatError: if a field is unknown, or if a value does not fit the card or the pack.
        """
        with at("card"):
            card = self.card.replace(**changes)
        return Pack(card, self.parts, self.space)

    def with_space(self, space: Space) -> Pack:
        """Give the pack its own pixel space, made by ``Zca.refit`` or to be stored in another way.

        Raises:
            FormatError: if ``space`` is not the pack's space.
        """
        if not same_space(as_space(space).model, self.card.space):
            raise FormatError(f"the pack's images are not in the space {space!r}, but in {self.space!r}")
        contents = MemoryContents(self.parts, space.to(self.device))
        if space.model != self.card.space:
            return Pack._of(self.card.replace(space=space.model), contents, None, None)
        return Pack._of(self.card, contents, self.digest, self.origin)
