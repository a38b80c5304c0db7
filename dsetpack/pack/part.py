"""A part: sources, their labels, and the bank of decoders that turns each source into images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dsetpack.decoders import Decoder
from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import KindConfig
from dsetpack.formats.words import plural
from dsetpack.torch_settings import as_lasting, exact, lasting


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a pack, in memory. Parts that hold the same ``decoder`` object share its bank.

    Attributes:
        kind, config: the decoder kind and its settings.
        decoder: the bank as a differentiable module.
        sources: float32 [N, *source shape]; None for a kind that draws them (``generator``).
        labels: hard int64 [N] or soft float32 [N, classes]. A generator's labels are int64 [N]: the class of each
            image of an epoch.
        stage: the stage of a continual learner in which the part was made.
        name: a name for people (``train``, ``test``).
        class_decoders: for each class the decoder_ids that its sources may use, the same number for each class; None
            for all.

    Raises:
        FormatError: if there is not one label per source, or if ``class_decoders`` come with soft labels.
    """

    kind: str
    config: KindConfig
    decoder: Decoder
    sources: Tensor | None
    labels: Tensor
    stage: int = 0
    name: str | None = None
    class_decoders: tuple[tuple[int, ...], ...] | None = None
    _allowed: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.sources is not None and len(self.sources) != len(self.labels):
            raise FormatError(
                f"{plural(len(self.sources), 'source')} and {plural(len(self.labels), 'label')}; one label "
                "per source expected"
            )
        if self.sources is not None:
            object.__setattr__(self, "sources", as_lasting(self.sources))
        object.__setattr__(self, "labels", as_lasting(self.labels))
        if self.class_decoders is not None:
            if self.labels.ndim != 1:
                raise FormatError("class_decoders needs hard labels")
            with lasting():
                allowed = torch.tensor(self.class_decoders, device=self.labels.device)
            object.__setattr__(self, "_allowed", allowed)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        labels = "soft" if self.labels.ndim == 2 else "hard"
        name = "" if self.name is None else f", {self.name!r}"
        return f"Part({self.kind} {len(self)} × {self.slots}, {labels} labels, stage {self.stage}{name})"

    @property
    def slots(self) -> int:
        """The number of ways in which each source can be decoded."""
        return len(self.class_decoders[0]) if self.class_decoders else self.config.bank_size()

    def decode(self, sources: Tensor, slot_ids: Tensor, labels: Tensor, source_ids: Tensor | None = None) -> Tensor:
        """Decode sources with these labels by the decoders in these slots into images [B, C, H, W].

        Args:
            sources: [B, ...], or any number of sources if ``source_ids`` selects from them.
            slot_ids: int64 [B]; if they are on the CPU, the decoder checks them without waiting for a GPU.
            labels: int64 [B], or soft float32 [B, classes].
            source_ids: int64 [B], the sources to take; by default all, in order.
        """
        decoder_ids = slot_ids if self._allowed is None else self._allowed[labels, slot_ids.to(labels.device)]
        with exact(sources.device):
            images: Tensor = self.decoder(sources, decoder_ids, source_ids)
        return images

    def to(self, device: torch.device | str, decoder: Decoder) -> Part:
        """Copy the part to a device, with its decoder already there."""
        sources = None if self.sources is None else self.sources.to(device)
        return replace(self, decoder=decoder, sources=sources, labels=self.labels.to(device))

    def take(self, chosen: Tensor) -> Part:
        """Keep only the chosen sources (bool [N] or int64 indices)."""
        sources = None if self.sources is None else self.sources[chosen]
        return replace(self, sources=sources, labels=self.labels[chosen])

    def by_class(self, classes: Sequence[int]) -> Part:
        """Keep only the sources of some classes (the class of a soft label is its largest entry)."""
        hard = self.labels if self.labels.ndim == 1 else self.labels.argmax(1)
        return self.take(torch.isin(hard, torch.tensor(list(classes), device=hard.device)))


def drawn_labels(card: Card, per_class: int) -> Tensor:
    """The labels of a generator's images in an epoch, int64: ``per_class`` images of each class in turn."""
    return torch.arange(len(card.classes), device="cpu").repeat_interleave(per_class)
