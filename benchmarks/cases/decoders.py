"""The decoders whose speed ``measure/decode.py`` and ``measure/onnx_decode.py`` measure."""

from __future__ import annotations

from typing import Any

IMAGES = {"cifar": (3, 32, 32), "mnist": (1, 28, 28)}
"""Image shapes by name."""
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("images", "images", {}),
    ("upsample 2×2", "upsample", {"factor": 2}),
    ("upsample 3×3", "upsample", {"factor": 3}),
    ("haba depth 0", "haba", {"decoders": 5, "depth": 0}),
    ("haba depth 1", "haba", {"decoders": 5}),
    ("haba depth 1, shared", "haba", {"decoders": 5, "shared": True}),
    ("haba depth 2", "haba", {"decoders": 5, "depth": 2}),
    ("haba depth 3", "haba", {"decoders": 5, "depth": 3}),
    ("haba as released", "haba", {"decoders": 5, "form": "released"}),
    ("kfs Low-R", "kfs", {"decoders": 8, "channels": (12, 9, 6)}),
    ("kfs High-R", "kfs", {"decoders": 8, "channels": (9, 6)}),
    ("kfs Low-R, kernel 4", "kfs", {"decoders": 8, "channels": (12, 9, 6), "kernel": 4}),
    ("generator", "generator", {}),
]
"""The rows of both tables: label, decoder kind, and the settings of the kind."""
