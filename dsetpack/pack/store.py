"""Between a pack in memory and the floor below: which tensors a pack stores, and a pack from a file's tensors."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from dsetpack.decoders import Decoder, decoder
from dsetpack.formats import Limits, Reader
from dsetpack.formats import Part as Entry
from dsetpack.formats.card import Card, ZcaSpace
from dsetpack.formats.errors import FormatError, checked
from dsetpack.formats.keys import TrustedKey
from dsetpack.formats.parts import part_config, part_size
from dsetpack.formats.source import Readable
from dsetpack.loading.device import usable
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.spaces import Space, Zca, space_from_card

Arrays = dict[str, NDArray[Any]]


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
        verify: ``touched`` checks header, manifest and every chunk read; ``all`` checks every byte of the file.
        limits: how much the file may declare.
        device: where to decode.
        per_class: images a class and epoch for a generator, instead of the card's.
        digest: the file must have this ``digest``, ``sha256:...``: it is then the very file that was pinned.
        trusted_keys: one of these Ed25519 public keys must have signed the file. Each is 32 bytes, or 64 hexadecimal
            digits, or the path of a file with the digits or with PEM. Needs ``dsetpack[sign]``.

    Raises:
        FormatError, IntegrityError, VersionError, LimitError: the file is not a sound pack; OSError: not readable.
        DsetpackError: torch cannot use the device here.
    """
    chosen = usable(device)
    reader = Reader(where, verify=verify, limits=limits, digest=digest, trusted_keys=trusted_keys)
    pack = StoredPack(reader, per_class, _origin(where))
    return pack if chosen.type == "cpu" else pack.to(chosen)


DRAWS = 6
"""Images of each class that are shown of a generator whose card says no number."""


def open_to_show(where: Readable, digest: str | None = None, per_class: int = DRAWS) -> Pack:
    """Open a pack to look at; a generator that does not say how many images it makes makes ``per_class`` of each class.

    Raises:
        as ``open_pack``.
    """
    with Reader(where, digest=digest) as reader:
        digest, manifest = reader.digest, reader.manifest
        unsaid = manifest.card.per_class is None and not all(part.sources for part in manifest.parts)
    return open_pack(where, digest=digest, per_class=per_class if unsaid else None)


def _origin(where: Readable) -> str | bytes | None:
    """What opens the same file later, from any folder."""
    if isinstance(where, str) and "://" in where:
        return where
    if isinstance(where, str | os.PathLike):
        return str(Path(where).absolute())
    return where if isinstance(where, bytes) else None


class StoredPack(Pack):
    """A pack in a file: its card is known at once, its tensors are read, checked and decoded when first used.

    Pickling it (for worker processes) reads them first, so that no file handle travels.
    """

    def __init__(self, reader: Reader, per_class: int | None, origin: str | bytes | None) -> None:
        card = reader.manifest.card
        if per_class is not None:
            with checked("per_class"):
                card = card.replace(per_class=per_class)
        sizes = [part_size(entry, card) for entry in reader.manifest.parts]
        if not all(sources for sources, _ in sizes):
            raise FormatError(f"{reader.name}: a generator has no length of its own; say per_class=")
        self.origin = origin
        self._reader: Reader | None = reader  # until everything is in memory
        self._load_lock = threading.Lock()
        self._begin(card, sizes, reader.digest)

    @property
    @override
    def parts(self) -> tuple[Part, ...]:
        self._load()
        return self._parts

    @property
    @override
    def space(self) -> Space:
        self._load()
        return self._space

    @property
    @override
    def labels(self) -> Tensor:
        """The label of every pair; reads no images."""
        with self._load_lock:
            if (reader := self._reader) is not None:
                slots = [slots for _, slots in self.table.parts]
                labels = [_labels_of(reader, n, self.card) for n in range(len(slots))]
                return torch.cat([y.repeat_interleave(k, 0) for y, k in zip(labels, slots, strict=True)])
        return super().labels

    def _load(self) -> None:
        with self._load_lock:
            if (reader := self._reader) is None:
                return
            banks: dict[tuple[str, ...], Decoder] = {}
            count = len(reader.manifest.parts)
            self._space = _read_space(reader, self.card)
            self._parts = tuple(_read_part(reader, n, self.card, banks) for n in range(count))
            self._reader = None
            reader.close()

    def __getstate__(self) -> dict[str, Any]:
        self._load()
        return {k: v for k, v in self.__dict__.items() if k != "_load_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load_lock = threading.Lock()


def _labels_of(reader: Reader, number: int, card: Card) -> Tensor:
    """The label of every source; of a generator's, ``per_class`` images of each class in turn."""
    if "labels" not in reader.manifest.parts[number].tensors:
        return _drawn_labels(card, card.per_class or 0)
    labels = torch.from_numpy(reader.role(number, "labels"))
    return labels.long() if card.labels.kind == "hard" else labels.float()


def _read_part(reader: Reader, number: int, card: Card, banks: dict[tuple[str, ...], Decoder]) -> Part:
    entry = reader.manifest.parts[number]
    config = part_config(entry)
    tensors = {role: torch.from_numpy(values) for role, values in reader.part(number).items()}
    sources, _ = tensors.pop("sources", None), tensors.pop("labels", None)
    bank = (entry.kind, repr(config), *(entry.tensors[role] for role in sorted(tensors)))
    if bank not in banks:
        banks[bank] = _decoder(entry, config, card, tensors)
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


def _decoder(entry: Entry, config: Any, card: Card, tensors: dict[str, Tensor]) -> Decoder:
    made = decoder(entry.kind, config, card.shape, len(card.classes))
    made.load_state_dict(tensors)
    return made.requires_grad_(False).eval()


def _drawn_labels(card: Card, per_class: int) -> Tensor:
    """A generator's labels an epoch: ``per_class`` images of each class in turn."""
    return torch.arange(len(card.classes)).repeat_interleave(per_class)


def _read_space(reader: Reader, card: Card) -> Space:
    space = card.space
    embedded = isinstance(space, ZcaSpace) and space.storage == "embed"
    names = [str(space.mean), str(space.matrix)] if isinstance(space, ZcaSpace) and embedded else []
    return space_from_card(space, {name: torch.from_numpy(reader.tensor(name)) for name in names})


def contents(pack: Pack) -> tuple[Card, list[Entry], Arrays]:
    """What a pack's file says and holds: the arguments of ``formats.write``.

    Raises:
        FormatError: a generator's labels are some that its file cannot say.
    """
    card, space = pack.card, pack.space
    if isinstance(space, Zca) and space.tensors():  # under our names: another writer's may be those of sources
        space = space.stored("embed")
        card = card.replace(space=space.model)
    tensors: Arrays = {name: _array(t) for name, t in space.tensors().items()}
    entries: list[Entry] = []
    banks: list[Decoder] = []
    several = len(pack.parts) > 1
    for number, part in enumerate(pack.parts):
        prefix = f"part{number}." if several else ""
        if not any(part.decoder is bank for bank in banks):
            banks.append(part.decoder)
        bank = next(n for n, b in enumerate(banks) if b is part.decoder)
        roles = {f"{role}": f"bank{bank if several else ''}.{role}" for role in part.decoder.state_dict()}
        tensors |= {name: _array(part.decoder.state_dict()[role]) for role, name in roles.items()}
        if part.sources is None:
            _check_drawn(number, part, pack.card)
        else:
            roles |= {"sources": f"{prefix}sources", "labels": f"{prefix}labels"}
            tensors[roles["sources"]] = _array(part.sources)
            tensors[roles["labels"]] = _labels(part.labels, len(pack.card.classes))
        entries.append(_entry(part, roles))
    return card, entries, tensors


def _check_drawn(number: int, part: Part, card: Card) -> None:
    """A file says of a generator's images only how many there are of each class."""
    classes = len(card.classes)
    per_class = card.per_class or max(1, len(part.labels) // classes)
    if not torch.equal(part.labels.cpu(), _drawn_labels(card, per_class)):
        raise FormatError(
            f"part {number}: {len(part.labels)} labels found; a generator's file can only say 'per_class' images of "
            f"each class in turn, here {per_class} × {classes}: save the whole pack, and select after opening it"
        )


def _entry(part: Part, roles: dict[str, str]) -> Entry:
    return Entry(
        kind=part.kind,
        config=part.config.model_dump(mode="json", exclude_defaults=True),
        sources=0 if part.sources is None else len(part.sources),
        tensors=roles,
        stage=part.stage,
        name=part.name,
        class_decoders=part.class_decoders,
    )


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().contiguous().numpy()


def _labels(labels: Tensor, classes: int) -> NDArray[Any]:
    """Hard labels in the fewest bytes."""
    values = _array(labels)
    return values.astype(np.min_scalar_type(classes - 1)) if values.ndim == 1 else values
