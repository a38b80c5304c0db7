"""``open_pack``: a pack from its file. Its tensors are read, checked and decoded when they are first used."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dsetpack.decoders import Decoder, finished
from dsetpack.formats import Limits, Reader
from dsetpack.formats.card import Card, ZcaSpace
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.keys import TrustedKey
from dsetpack.formats.parts import drawing, part_config, part_size
from dsetpack.formats.source import Readable
from dsetpack.loading.device import usable
from dsetpack.pack.contents import MemoryContents
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part, drawn_labels
from dsetpack.spaces import Space, space_from_card
from dsetpack.torch_settings import lasting


def open_pack(
    where: Readable,
    *,
    verify: Literal["touched", "all"] = "touched",
    limits: Limits | None = None,
    device: torch.device | str = "cpu",
    per_class: int | None = None,
    digest: str | None = None,
    trusted_keys: Iterable[TrustedKey] | None = None,
) -> Pack:
    """Open a pack.

    Args:
        where: path, bytes, binary file object or fsspec URL.
        verify: ``touched`` checks the header, the manifest and every chunk that is read; ``all`` checks every byte of
            the file.
        limits: how much the file may declare.
        device: where to decode.
        per_class: images per class and epoch of a ``generator`` part, instead of the card's number.
        digest: the ``digest`` that the file must have, ``sha256:...``, to open exactly the file that was pinned.
        trusted_keys: Ed25519 public keys, one of which must have signed the file. Each is 32 bytes, 64 hexadecimal
            digits, or the path of a file with the digits or with PEM. This needs ``dsetpack[sign]``.

    Raises:
        FormatError, IntegrityError, VersionError, LimitError: if the file is not a sound pack.
        OSError: if the file cannot be read.
        DsetpackError: if torch cannot use the device here.

    Examples:
        >>> pack = dsetpack.open("fashion-kfs.dpk")
        >>> len(pack), pack.card.shape
        (280, (1, 28, 28))
        >>> pack.card.classes[:3]
        ('T-shirt/top', 'Trouser', 'Pullover')
    """
    chosen = usable(device)
    reader = Reader(where, verify=verify, limits=limits, digest=digest, trusted_keys=trusted_keys)
    try:
        pack = _of_reader(reader, per_class, _origin(where))
    except BaseException:
        reader.close()
        raise
    return pack if chosen.type == "cpu" else pack.to(chosen)


def _of_reader(reader: Reader, per_class: int | None, origin: str | bytes | None) -> Pack:
    with at(reader.name):
        card = drawing(reader.manifest, reader.manifest.card, per_class)
    contents = FileContents(reader, card)
    if not all(sources for sources, _ in contents.sizes):
        raise FormatError(f"{reader.name}: a generator has no length of its own; pass per_class= (--per-class)")
    return Pack._of(card, contents, reader.digest, origin)


DRAWS = 6
"""How many images per class are shown of a generator whose card gives no number."""


def open_to_show(
    where: Readable, digest: str | None = None, *, per_class: int | None = None, draws: int = DRAWS
) -> Pack:
    """Open a pack to look at it.

    Args:
        where, digest, per_class: as for ``open_pack``.
        draws: images per class of a generator, if neither ``per_class`` nor its card gives a number.

    Raises:
        FormatError, IntegrityError, VersionError, LimitError: if the file is not a sound pack.
        OSError: if the file cannot be read.
    """
    with Reader(where, digest=digest) as reader:
        digest, manifest = reader.digest, reader.manifest
        unsaid = manifest.card.per_class is None and not all(part.sources for part in manifest.parts)
    return open_pack(where, digest=digest, per_class=draws if unsaid and per_class is None else per_class)


def _origin(where: Readable) -> str | bytes | None:
    """The argument that opens the same file later from any folder, or None."""
    if isinstance(where, str) and "://" in where:
        return where
    if isinstance(where, str | os.PathLike):
        return str(Path(where).absolute())
    return where if isinstance(where, bytes) else None


class FileContents:
    """Contents that are still in a pack's file: one thread reads, checks and decodes them when they are first used.

    Pickling or copying them (for worker processes) reads everything first, so no file handle is passed on.
    """

    def __init__(self, reader: Reader, card: Card) -> None:
        self.sizes = [part_size(entry, card) for entry in reader.manifest.parts]
        self._card = card
        self._source: Reader | MemoryContents = reader
        self._lock = threading.Lock()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts."""
        return self._loaded().parts

    @property
    def space(self) -> Space:
        """The pixel space of decoded images."""
        return self._loaded().space

    @property
    def labels(self) -> Tensor:
        """The label of every pair, without reading images."""
        with self._lock, lasting():
            if isinstance(reader := self._source, Reader):
                labels = [_labels_of(reader, number, self._card) for number in range(len(self.sizes))]
                return torch.cat([y.repeat_interleave(k, 0) for y, (_, k) in zip(labels, self.sizes, strict=True)])
        return self._loaded().labels

    def _loaded(self) -> MemoryContents:
        with self._lock:
            if isinstance(self._source, MemoryContents):
                return self._source
            with lasting():
                reader, self._source = self._source, _read(self._source, self._card)
            reader.close()
            return self._source

    def __reduce__(self) -> tuple[Any, ...]:
        contents = self._loaded()
        return MemoryContents, (contents.parts, contents.space)


def _read(reader: Reader, card: Card) -> MemoryContents:
    banks: dict[tuple[str, ...], Decoder] = {}
    space = _read_space(reader, card)
    parts = (_read_part(reader, number, card, banks) for number in range(len(reader.manifest.parts)))
    return MemoryContents(tuple(parts), space)


def _labels_of(reader: Reader, number: int, card: Card) -> Tensor:
    """The label of every source; for a generator, the classes in turn, ``per_class`` times each."""
    if "labels" not in reader.manifest.parts[number].tensors:
        return drawn_labels(card, card.per_class or 0)
    labels = torch.from_numpy(reader.role(number, "labels"))
    return labels.long() if card.labels.kind == "hard" else labels.float()


def _read_part(reader: Reader, number: int, card: Card, banks: dict[tuple[str, ...], Decoder]) -> Part:
    entry = reader.manifest.parts[number]
    config = part_config(entry)
    tensors = {role: torch.from_numpy(values) for role, values in reader.part(number).items()}
    sources, _ = tensors.pop("sources", None), tensors.pop("labels", None)
    bank = (entry.kind, repr(config), *(entry.tensors[role] for role in sorted(tensors)))
    if bank not in banks:
        banks[bank] = finished(entry.kind, config, card.shape, len(card.classes), tensors)
    return Part(
        kind=entry.kind,
        config=config,
        decoder=banks[bank],
        sources=None if sources is None else sources.float(),
        labels=_labels_of(reader, number, card),
        stage=entry.stage,
        name=entry.name,
        class_decoders=entry.class_decoders,
    )


def _read_space(reader: Reader, card: Card) -> Space:
    space = card.space
    embedded = isinstance(space, ZcaSpace) and space.storage == "embed"
    names = [str(space.mean), str(space.matrix)] if isinstance(space, ZcaSpace) and embedded else []
    return space_from_card(space, {name: torch.from_numpy(reader.tensor(name)) for name in names})
