"""A pack as it can be trained on, where its file keeps only how its pixel space was fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsetpack.pack.pack import Pack


def fitted(pack: Pack, data: str, root: Path | None) -> Pack:
    """The pack with its ZCA fitted again where need be; only then are the data's training images read."""
    from dsetpack.spaces import Zca
    from dsetpack.trainers.data import load
    from dsetpack.trainers.real import with_its_space

    if not isinstance(pack.space, Zca) or pack.space.ready:
        return pack
    return with_its_space(pack, load(data, root, "train"))
