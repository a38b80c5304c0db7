"""``safetensors``: all images as one float32 tensor, the labels as another, and the card in the metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dsetpack.formats.extras import need
from dsetpack.pack.pack import Pack
from dsetpack.unpack.base import CARD, batches, raw_batches, unpacked_card

NAME = "images.safetensors"


def write(pack: Pack, folder: Path, *, space: Literal["pack", "raw"] = "pack") -> None:
    """Write ``images.safetensors``: ``images`` float32 [N, C, H, W], ``labels``, an embedded ZCA, the card as JSON."""
    library: Any = need("safetensors.torch", "convert")
    raw = space == "raw"
    tensors: dict[str, Tensor] = {
        "images": torch.cat(list(raw_batches(pack) if raw else batches(pack))).contiguous(),
        "labels": pack.labels.cpu().contiguous(),
    }
    if not raw:
        tensors |= {name: tensor.cpu().contiguous() for name, tensor in pack.space.tensors().items()}
    card = unpacked_card(pack, raw=raw).model_dump_json(exclude_defaults=True)
    library.save_file(tensors, str(folder / NAME), metadata={CARD: card, "format": "pt"})


FORM = write
