"""A pack that can be trained on, even if its file keeps only the recipe of its pixel space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsetpack.pack.pack import Pack


def fitted(pack: Pack, data: str, root: Path | None, **how: Any) -> Pack:
    """Fit the pack's ZCA again if the file keeps only its recipe; only then are the data's training images read.

    Args:
        pack: the pack as it was opened.
        data, root, how: as for ``load``.
    """
    from dsetpack.spaces import Zca
    from dsetpack.trainers.data import load
    from dsetpack.trainers.real import with_its_space

    if not isinstance(pack.space, Zca) or pack.space.ready:
        return pack
    return with_its_space(pack, load(data, root, "train", **how))
