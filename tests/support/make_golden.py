"""Golden files: one for every encoding, every decoder kind and every way to build a pack, kept for ever.

    python -m tests.support.make_golden        writes what is missing in tests/golden/v1.0/, and overwrites nothing

Beside each ``NAME.dpk`` lies ``NAME.npz`` with the values that reading must give (``tensor:NAME``) and, for kinds, the
images that decoding must give (``images``, ``labels``).
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import zstandard

from dsetpack import formats
from dsetpack.formats.card import Augmentation, Card, Labels, NormalizedSpace, Recipe, ZcaSpace
from dsetpack.formats.encodings.cast import Cast
from dsetpack.formats.encodings.quantize import Quantize
from dsetpack.formats.kinds import kind_config
from tests.support.attacks.dpk_draft import draft
from tests.support.paths import GOLDEN

FOLDER = GOLDEN / "v1.0"
RFC_8032_SECRET = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
"""The secret key of RFC 8032, section 7.1, TEST 1: known to everyone."""
Recipes = dict[str, Callable[[], bytes]]
RECIPES: Recipes = {}


def golden(make: Callable[[], bytes]) -> Callable[[], bytes]:
    RECIPES[make.__name__.replace("_", "-")] = make
    return make


def values(*shape: int, salt: int = 0) -> np.ndarray:
    """Float32 multiples of 1/512 between -2 and 2, which are the same on every machine."""
    number = np.arange(int(np.prod(shape)), dtype=np.int64) + 1
    return (((number * 7919 + salt * 104729) % 2003 - 1001) / 512).astype(np.float32).reshape(shape)


def part(
    kind: str,
    shape: tuple[int, int, int],
    config: dict[str, Any],
    encoding: Any = "exact",
    sources: int = 5,
    fixed: dict[str, np.ndarray] | None = None,
    **card: Any,
) -> bytes:
    """A pack with one part of a kind."""
    made = Card(title=kind, classes=("a", "b", "c"), shape=shape, **card)
    model = kind_config(kind).model_validate(config)
    shapes = model.bank_shapes(shape, 3)
    # Small weights; a variance must be positive.
    tensors = {
        role: np.abs(values(*size, salt=n)) + 1 if role.endswith("running_var") else values(*size, salt=n) / 4
        for n, (role, size) in enumerate(shapes.items())
    }
    if model.has_sources:
        tensors["sources"] = values(sources, *model.source_shape(shape), salt=99)
        tensors["labels"] = (np.arange(sources) % 3).astype(np.uint8)
    tensors |= fixed or {}
    entry = formats.PartEntry(
        kind=kind, config=config, sources=sources if model.has_sources else 0, tensors={t: t for t in tensors}
    )
    return formats.encode(made, [entry], tensors, encoding)


def images(encoding: Any = "exact", **options: Any) -> bytes:
    return part("images", (2, 5, 6), {}, encoding, **options)


@golden
def kind_images() -> bytes:
    return images()


@golden
def kind_upsample() -> bytes:
    return part("upsample", (2, 7, 6), {"factor": 2}, epoch_rule="paired")


@golden
def kind_upsample_corners() -> bytes:
    return part("upsample", (1, 8, 8), {"factor": 3, "align_corners": True})


@golden
def kind_haba() -> bytes:
    return part("haba", (3, 8, 8), {"decoders": 2})


@golden
def kind_haba_deep() -> bytes:
    return part("haba", (3, 7, 6), {"decoders": 2, "depth": 3, "channels": 2, "source_channels": 1, "shared": True})


@golden
def kind_haba_flat() -> bytes:
    return part("haba", (1, 5, 5), {"decoders": 3, "depth": 0})


@golden
def kind_haba_released() -> bytes:
    return part("haba", (3, 6, 6), {"decoders": 2, "channels": 4, "form": "released"})


@golden
def kind_haba_patches() -> bytes:
    config = {"decoders": 2, "source_channels": 1, "factor": 2}
    return part("haba", (3, 7, 6), config, epoch_rule="paired")


@golden
def kind_kfs() -> bytes:
    space = NormalizedSpace(mean=(0.25,), std=(0.5,))
    recipe, augmentation = Recipe(epochs=3), Augmentation(ops=("crop", "flip"))
    return part("kfs", (1, 12, 13), {"decoders": 3, "channels": [4, 3, 2]}, space=space, recipe=recipe,
                augmentation=augmentation)  # fmt: skip


@golden
def kind_kfs_kernel_4() -> bytes:
    return part("kfs", (3, 8, 8), {"decoders": 2, "channels": [4, 3], "kernel": 4})


@golden
def kind_generator() -> bytes:
    return part("generator", (1, 16, 16), {"width": 3, "noise": 5}, per_class=2)


@golden
def kind_generator_seven() -> bytes:
    return part("generator", (1, 14, 14), {"width": 3, "noise": 5}, per_class=1)


@golden
def encoding_cast_float16() -> bytes:
    return images("f16")


@golden
def encoding_cast_bfloat16() -> bytes:
    return images({"sources": Cast(dtype="bfloat16")})


@golden
def encoding_quantize_tensor() -> bytes:
    return images({"sources": Quantize(bits=8)})


@golden
def encoding_quantize_axis() -> bytes:
    return images({"sources": Quantize(bits=5, block=(5, 1, 5, 6))})


@golden
def encoding_quantize_patch() -> bytes:
    return images({"sources": Quantize(bits=3, block=(1, 1, 2, 4))})


@golden
def encoding_quantize_pixels() -> bytes:
    pixels = (np.arange(300, dtype=np.float32) % 256).reshape(5, 2, 5, 6) * np.float32(1 / 255)
    return part("images", (2, 5, 6), {}, fixed={"sources": pixels})


@golden
def encoding_shuffle() -> bytes:
    smooth = (np.arange(6000, dtype=np.float32) / 4096 + 1).reshape(100, 2, 5, 6)
    return part("images", (2, 5, 6), {}, sources=100, fixed={"sources": smooth})


@golden
def encoding_none() -> bytes:
    """Uncompressed chunks, made by hand because the writer always compresses."""
    entry = {"kind": "images", "sources": 3, "tensors": {"sources": "x", "labels": "y"}}
    card = {"title": "plain", "classes": ["a", "b", "c"], "shape": [1, 2, 2]}
    tensors = {"x": values(3, 1, 2, 2), "y": np.array([0, 1, 2], np.int64)}
    return draft(tensors, card, entry, compressed=False).file()


@golden
def preset_int8() -> bytes:
    return part("kfs", (1, 24, 24), {"decoders": 3, "channels": [12, 9, 6]}, "int8")


@golden
def preset_int4() -> bytes:
    return part("haba", (3, 8, 8), {"decoders": 2}, "int4")


@golden
def chunks_several() -> bytes:
    from dsetpack.formats import writer

    before, writer.CHUNK_BYTES, writer.LARGEST_CHUNK_BYTES = writer.CHUNK_BYTES, 500, 500
    try:
        return part("images", (2, 5, 6), {}, sources=7)
    finally:
        writer.CHUNK_BYTES, writer.LARGEST_CHUNK_BYTES = before, 64 * before


@golden
def labels_soft() -> bytes:
    return images(labels=Labels(kind="soft", centred=True), fixed={"labels": values(5, 3)}, finite=False)


@golden
def space_zca() -> bytes:
    names = {"mean": "space.mean", "matrix": "space.matrix"}
    space = ZcaSpace(variant="kornia", epsilon=0.1, fitted_on="sha256:" + "0" * 64, storage="embed", **names)
    card = Card(title="zca", classes=("a", "b", "c"), shape=(1, 2, 3), space=space)
    entry = formats.PartEntry(kind="images", sources=3, tensors={"sources": "sources", "labels": "labels"})
    tensors = {"sources": values(3, 1, 2, 3), "labels": np.array([0, 1, 2], np.int16)}
    tensors |= {"space.mean": values(6, salt=1), "space.matrix": values(6, 6, salt=2) + np.eye(6, dtype=np.float32)}
    return formats.encode(card, [entry], tensors)


@golden
def parts_shared_bank() -> bytes:
    """Two stages that share a bank; the second allows each class its own decoders."""
    config: dict[str, Any] = {"decoders": 3, "channels": [2, 2]}
    card = Card(title="replay", classes=("a", "b", "c"), shape=(1, 4, 4), epoch_rule="paired")
    shapes = kind_config("kfs").model_validate(config).bank_shapes(card.shape, 3)
    tensors = {f"bank.{role}": values(*size, salt=n) for n, (role, size) in enumerate(shapes.items())}
    entries = []
    for stage, lists in enumerate((None, ((0, 1), (1, 2), (2, 0)))):
        own = {"sources": f"part{stage}.sources", "labels": f"part{stage}.labels"}
        tensors |= {own["sources"]: values(4, 2, 1, 1, salt=50 + stage), own["labels"]: np.array([0, 1, 2, 1], np.int8)}
        roles = own | {role: f"bank.{role}" for role in shapes}
        entries.append(
            formats.PartEntry(kind="kfs", config=config, sources=4, tensors=roles, stage=stage, class_decoders=lists)
        )
    return formats.encode(card, entries, tensors)


@golden
def signed() -> bytes:
    """Signed by hand, as SPEC.md says in 2.1, with the key of RFC 8032's first test; ``signed.pub`` is public."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = images(description="signed")
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(RFC_8032_SECRET))
    identity = hashlib.sha256(key.public_key().public_bytes_raw()).digest()
    signature = key.sign(b"dsetpack manifest signature v1\0" + data[48:80])
    body = data[:80] + identity + signature + data[176:252]
    return body + struct.pack("<I", zlib.crc32(body)) + data[256:]


def versions() -> dict[str, str]:
    """The versions of the libraries that determine the bytes."""
    return {"zstd": ".".join(map(str, zstandard.ZSTD_VERSION)), "hdf5": h5py.version.hdf5_version}


def expected(data: bytes, *, decode: bool) -> dict[str, np.ndarray]:
    with formats.Reader(data, verify="all") as reader:
        found = {f"tensor:{name}": reader.tensor(name) for name in reader.manifest.tensors}
    if decode:
        import dsetpack

        pack = dsetpack.open(data)
        x, y = pack.decode(np.arange(len(pack)), seed=3, epoch=1)
        found |= {"images": x.numpy(), "labels": y.numpy()}
    return found


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    made = []
    for name, make in RECIPES.items():
        path = FOLDER / f"{name}.dpk"
        if path.exists():
            continue
        data = make()
        path.write_bytes(data)
        np.savez_compressed(path.with_suffix(".npz"), **expected(data, decode=True))
        made.append(name)
    if made:
        known = FOLDER / "versions.json"
        found = json.loads(known.read_text()) if known.exists() else {}
        known.write_text(json.dumps(found | dict.fromkeys(made, versions()), indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"{len(made)} new golden files\n")


if __name__ == "__main__":
    main()
