"""The interface that an export needs from a pack in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dsetpack.formats.card import Card
from dsetpack.formats.presets import EncodingChoice


class Exportable(Protocol):
    """``dsetpack.Pack``, described without importing torch."""

    card: Card
    digest: str | None
    origin: str | bytes | None

    @property
    def parts(self) -> Sequence[Any]:
        """The parts, each a ``dsetpack.Part``."""

    @property
    def space(self) -> Any:
        """The pixel space, a ``dsetpack.Space``."""

    def to_bytes(self, encoding: EncodingChoice = "exact") -> bytes:
        """Encode the pack as the bytes of its file."""
