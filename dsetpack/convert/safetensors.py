"""``safetensors``: images and labels as tensors of a ``.safetensors`` file, such as ``dsetpack unpack`` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor
from typing_extensions import override

from dsetpack.convert._files import tensors_of
from dsetpack.convert.base import Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.files.limited import check_size
from dsetpack.files.names import LABELS, usual
from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.extras import need
from dsetpack.formats.model import printable
from dsetpack.unpack.base import CARD
from dsetpack.unpack.safetensors import NAME


class SafetensorsLayout(Layout):
    """Tensors under the names that layout ``npz`` takes. If the metadata holds a card, the card says everything."""

    recognised: ClassVar[str] = "a .safetensors file with images and labels, or the folder that 'dsetpack unpack' wrote"
    unknown: ClassVar[str] = "pixel space of floats (8-bit images are raw); lr; nothing if it was unpacked from a pack"

    @override
    def accepts(self, path: Path) -> bool:
        return (path / NAME).is_file() if path.is_dir() else path.suffix == ".safetensors"

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_factor(given, "safetensors")
        refuse_experiment(given, "safetensors")
        file = path / NAME if path.is_dir() else path
        tensors, metadata = _load(file, given)
        (image, label, _), split = usual(tensors, given.split, file.name)
        with at(file.name):
            card = _card(metadata)
            images, *labels = tensors_of(tensors, (image, label) if label else (image,))
        return Found(
            sources=images,
            where=f"{file.name}: {image}",
            files=(file,),
            labels=labels[0] if labels else None,
            labels_where=f"{file.name}: {label}",
            labels_hint=f"no tensor {', '.join(LABELS)}",
            split=split,
            axes="NCHW" if card else None,
            card=card,
            tensors=tensors,
        )


def _load(file: Path, given: Given) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Load all tensors and the metadata; safetensors itself checks that the header fits the file."""
    library: Any = need("safetensors", "convert")
    with at(str(file)):
        check_size(file, given.limits)
        try:
            with library.safe_open(str(file), framework="pt") as opened:
                return {name: opened.get_tensor(name) for name in opened.keys()}, dict(opened.metadata() or {})  # noqa: SIM118
        except library.SafetensorError as error:
            raise FormatError(
                f"not a sound safetensors file ({printable(str(error))}): damaged or cut off; fetch it again"
            ) from error


def _card(metadata: dict[str, str]) -> Card | None:
    if CARD not in metadata:
        return None
    with at(f"metadata {CARD!r}"):
        return Card.model_validate_json(metadata[CARD])


LAYOUT = SafetensorsLayout()
