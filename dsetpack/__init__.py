"""dsetpack: the container, the runtime and the trainers for distilled datasets.

    pack = dsetpack.open("fashion-kfs.dpk")  # in all examples a copy of examples/packs/fashion-kfs-ipc1.dpk
    for x, y in pack.loader(batch_size=256, seed=0): ...

Names are imported when they are first used, so that ``import dsetpack`` stays light and never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dsetpack.version import __version__ as __version__

if TYPE_CHECKING:
    from dsetpack.formats import (
        DsetpackError,
        FormatError,
        IntegrityError,
        LimitError,
        Limits,
        VersionError,
        verify,
    )
    from dsetpack.formats.card import (
        Augmentation,
        Card,
        Labels,
        Metric,
        NormalizedSpace,
        Provenance,
        RawSpace,
        Recipe,
        ZcaSpace,
    )
    from dsetpack.pack.opened import open_pack as open  # noqa: A004
    from dsetpack.pack.pack import Pack
    from dsetpack.pack.part import Part
    from dsetpack.spaces import Normalized, Raw, Space, Zca
    from dsetpack.training.augment import Dsa

_WHERE = {
    "open": ("dsetpack.pack.opened", "open_pack"),
    "Pack": ("dsetpack.pack.pack", "Pack"),
    "Part": ("dsetpack.pack.part", "Part"),
    "Dsa": ("dsetpack.training.augment", "Dsa"),
    **{name: ("dsetpack.spaces", name) for name in ("Normalized", "Raw", "Space", "Zca")},
    **{
        name: ("dsetpack.formats", name)
        for name in (
            "DsetpackError", "FormatError", "IntegrityError", "LimitError", "Limits", "VersionError", "verify"
        )
    },
    **{
        name: ("dsetpack.formats.card", name)
        for name in (
            "Augmentation", "Card", "Labels", "Metric", "NormalizedSpace", "Provenance", "RawSpace", "Recipe",
            "ZcaSpace"
        )
    },
}  # fmt: skip

__all__ = [
    "Augmentation",
    "Card",
    "Dsa",
    "DsetpackError",
    "FormatError",
    "IntegrityError",
    "Labels",
    "LimitError",
    "Limits",
    "Metric",
    "Normalized",
    "NormalizedSpace",
    "Pack",
    "Part",
    "Provenance",
    "Raw",
    "RawSpace",
    "Recipe",
    "Space",
    "VersionError",
    "Zca",
    "ZcaSpace",
    "open",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _WHERE[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
