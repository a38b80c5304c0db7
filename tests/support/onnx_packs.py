"""Random packs of every kind, and their exported models compared with torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

import dsetpack
from dsetpack import formats
from dsetpack.formats.card import Card
from dsetpack.formats.kinds import kind_config
from dsetpack.onnx.exporter import model

BATCHES = (1, 2, 7, 300)
CASES: dict[str, tuple[str, dict[str, Any], tuple[int, int, int]]] = {
    "images": ("images", {}, (3, 6, 5)),
    "upsample 2": ("upsample", {"factor": 2}, (3, 8, 8)),
    "upsample 2, padded": ("upsample", {"factor": 2}, (1, 7, 9)),
    "upsample 3, padded": ("upsample", {"factor": 3}, (2, 8, 10)),
    "upsample 3, corners": ("upsample", {"factor": 3, "align_corners": True}, (1, 9, 7)),
    "haba depth 0": ("haba", {"decoders": 3, "depth": 0}, (3, 8, 8)),
    "haba depth 1": ("haba", {"decoders": 3}, (3, 8, 8)),
    "haba depth 1, odd": ("haba", {"decoders": 2, "channels": 5}, (3, 7, 9)),
    "haba depth 1, one": ("haba", {"decoders": 1}, (3, 8, 8)),
    "haba depth 2": ("haba", {"decoders": 3, "depth": 2}, (3, 8, 8)),
    "haba depth 3, odd": ("haba", {"decoders": 2, "depth": 3, "channels": 2}, (3, 9, 7)),
    "haba shared": ("haba", {"decoders": 3, "shared": True}, (3, 8, 8)),
    "haba shared, depth 2, one": ("haba", {"decoders": 1, "shared": True, "depth": 2}, (1, 8, 8)),
    "haba one channel": ("haba", {"decoders": 3, "source_channels": 1}, (3, 8, 8)),
    "haba released": ("haba", {"decoders": 3, "form": "released"}, (3, 8, 8)),
    "haba released, odd": ("haba", {"decoders": 2, "form": "released", "channels": 4}, (1, 9, 7)),
    "haba factor 2": ("haba", {"decoders": 2, "factor": 2}, (3, 8, 8)),
    "haba factor 3, shared": ("haba", {"decoders": 2, "factor": 3, "shared": True, "source_channels": 1}, (3, 8, 9)),
    "kfs Low-R": ("kfs", {"decoders": 3, "channels": [4, 3, 2]}, (3, 16, 16)),
    "kfs Low-R, cut": ("kfs", {"decoders": 2, "channels": [4, 3, 2]}, (1, 13, 18)),
    "kfs High-R, one": ("kfs", {"decoders": 1, "channels": [4, 3]}, (1, 8, 8)),
    "kfs kernel 4": ("kfs", {"decoders": 3, "channels": [4, 3, 2], "kernel": 4}, (3, 16, 16)),
    "kfs kernel 4, cut": ("kfs", {"decoders": 2, "channels": [4, 3], "kernel": 4}, (3, 9, 7)),
    "generator 8": ("generator", {"width": 4, "noise": 6}, (1, 8, 8)),
    "generator 14": ("generator", {"width": 4, "noise": 9}, (3, 14, 14)),
    "generator 32": ("generator", {"width": 4, "noise": 6}, (3, 32, 32)),
}

KFS = ("kfs", {"decoders": 3, "channels": [4, 3]}, (3, 8, 8))
HABA = ("haba", {"decoders": 3}, (3, 8, 8))
NORMALIZED = {"kind": "normalized", "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}
LISTS = ((2, 0), (1, 2), (0, 1))
"""Two of three decoders for each of three classes."""


def tensors_of(
    kind: str, config: dict[str, Any], image: tuple[int, int, int], sources: int, seed: int = 0, soft: bool = False
) -> dict[str, np.ndarray]:
    """Random tensors of a part by role; three classes."""
    rng, settings = np.random.default_rng(seed), kind_config(kind).model_validate(config)

    def draw(role: str, shape: tuple[int, ...]) -> np.ndarray:
        values = rng.standard_normal(shape).astype(np.float32) / 2
        return np.abs(values) + 0.5 if role.endswith("running_var") else values

    found = {role: draw(role, shape) for role, shape in settings.bank_shapes(image, 3).items()}
    if settings.has_sources:
        found["sources"] = draw("sources", (sources, *settings.source_shape(image)))
        found["labels"] = draw("labels", (sources, 3)) if soft else (np.arange(sources) * 7 % 3).astype(np.uint8)
    return found


def pack_of(
    kind: str,
    config: dict[str, Any],
    image: tuple[int, int, int],
    *,
    encoding: Any = "exact",
    sources: int = 11,
    soft: bool = False,
    class_decoders: tuple[tuple[int, ...], ...] | None = None,
    space_tensors: dict[str, np.ndarray] | None = None,
    **card: Any,
) -> bytes:
    """The file of a pack with one part."""
    tensors = tensors_of(kind, config, image, sources, soft=soft)
    drawn = "sources" not in tensors
    fields = {"title": kind, "classes": ("a", "b", "c"), "shape": image, "per_class": 4 if drawn else None}
    made = Card.model_validate(fields | ({"labels": {"kind": "soft"}} if soft else {}) | card)
    part = formats.PartEntry(
        kind=kind,
        config=config,
        sources=0 if drawn else sources,
        tensors={role: role for role in tensors},
        class_decoders=class_decoders,
    )
    return formats.encode(made, [part], tensors | (space_tensors or {}), encoding)


def mixed(encoding: Any = "exact", **card: Any) -> bytes:
    """Parts of every kind, two of which share a bank (one with lists), and two generators."""
    image: tuple[int, int, int] = (3, 8, 8)
    tensors: dict[str, np.ndarray] = {}
    parts = []
    for number, (kind, config, lists) in enumerate([
        ("kfs", {"decoders": 3, "channels": [4, 3]}, None),
        ("images", {}, None),
        ("generator", {"width": 4, "noise": 6}, None),
        ("haba", {"decoders": 2, "factor": 2}, None),
        ("kfs", {"decoders": 3, "channels": [4, 3]}, LISTS),
        ("upsample", {"factor": 2}, None),
        ("generator", {"width": 3, "noise": 11}, None),
        ("haba", {"decoders": 3, "shared": True}, LISTS),
        ("images", {}, None),
    ]):  # fmt: skip
        own = tensors_of(kind, config, image, 4 + number, seed=number)
        names = {role: f"part{number}.{role}" for role in own}
        if lists is not None and kind == "kfs":
            names |= {role: f"part0.{role}" for role in own if role not in ("sources", "labels")}
        tensors |= {name: own[role] for role, name in names.items() if name.startswith(f"part{number}.")}
        sources = 4 + number if "sources" in own else 0
        parts.append(formats.PartEntry(kind=kind, config=config, sources=sources, tensors=names, class_decoders=lists))
    made = Card.model_validate({"title": "mixed", "classes": ("a", "b", "c"), "shape": image, "per_class": 2} | card)
    return formats.encode(made, parts, tensors, encoding)


def exported(
    data: Any, space: Any = "pack", decoder_only: bool = False, portable: bool = False
) -> tuple[onnx.ModelProto, Any]:
    """The checked model of a pack, and a session that runs it."""
    model_bytes = model(data, space, decoder_only, portable=portable)
    proto = onnx.load_from_string(model_bytes)
    onnx.checker.check_model(proto, full_check=True)
    return proto, session(model_bytes)


def session(data: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """The error is at most 1e-5 of the range of ``expected``, or two roundings if all values are equal."""
    _assert_alike(found, expected)
    if expected.size:
        assert np.abs(found - expected).max() <= _allowed(expected)


def assert_as_exact(found: np.ndarray, torchs: np.ndarray, exact: np.ndarray) -> None:
    """Compare with what torch makes in double precision, because torch and ONNX round float32 differently.

    torch must stay within the limit of ``assert_close``; the model within the limit or twice torch's error.
    """
    _assert_alike(found, torchs)
    if exact.size:
        allowed, off = _allowed(exact), np.abs(torchs - exact).max()
        assert off <= allowed
        assert np.abs(found - exact).max() <= max(allowed, 2 * off)


def _assert_alike(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == np.float32


def _allowed(expected: np.ndarray) -> float:
    return max(1e-5 * np.ptp(expected), 2 * np.spacing(np.abs(expected).max().astype(np.float32)))


def assert_like_torch(
    data: bytes, space: Any = "pack", batches: tuple[int, ...] = BATCHES, portable: bool = False
) -> onnx.ModelProto:
    """The model of a pack makes what the pack makes, at every batch size."""
    torch.set_num_threads(1)
    proto, run = exported(data, space, portable=portable)
    pack = dsetpack.open(data)
    everything, labels = pack.decode(np.arange(len(pack)), seed=5, epoch=2)
    if space == "raw":
        everything = pack.space.invert(everything)
    everything, labels = everything.numpy(), labels.numpy()
    noise = _noise(pack, run)
    for size in batches:
        index = np.random.default_rng(size).integers(0, len(pack), size)
        feed = {"index": index} | ({} if noise is None else {"noise": noise[index]})
        image, label = run.run(["image", "label"], feed)
        assert_close(image, everything[index])
        assert label.dtype == labels.dtype
        assert np.array_equal(label, labels[index])
    return proto


def _noise(pack: dsetpack.Pack, run: Any) -> np.ndarray | None:
    sizes = [value.shape[1] for value in run.get_inputs() if value.name == "noise"]
    return dsetpack.order.philox.noise(5, 2, np.arange(len(pack)), sizes[0]) if sizes else None
