"""Decoder kinds: registry, parameter counts, tensors, shapes, and what they refuse."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from dsetpack.decoders import decoder
from dsetpack.formats.errors import FormatError, VersionError
from dsetpack.formats.kinds import kind_config, kind_names

CIFAR = (3, 32, 32)
MNIST = (1, 28, 28)
ODD = (3, 13, 17)

CASES: list[tuple[str, dict[str, Any]]] = [
    ("images", {}),
    ("upsample", {"factor": 2}),
    ("upsample", {"factor": 3, "align_corners": True}),
    *(("haba", {"decoders": 3, "depth": depth, "shared": shared}) for depth in range(4) for shared in (False, True)),
    ("haba", {"decoders": 3, "channels": 5, "source_channels": 1}),
    ("haba", {"decoders": 3, "form": "released"}),
    ("haba", {"decoders": 3, "form": "released", "shared": True}),
    ("haba", {"decoders": 3, "factor": 2}),
    ("haba", {"decoders": 2, "factor": 3, "source_channels": 1, "depth": 2}),
    *(("kfs", {"decoders": 4, "channels": c, "kernel": k}) for c in ((5, 4, 3), (5, 4)) for k in (2, 4)),
    ("generator", {"width": 4, "noise": 16}),
]


pytestmark = pytest.mark.usefixtures("one_thread")


def name(case: tuple[str, dict[str, Any]]) -> str:
    return "-".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


def test_every_kind_has_a_module() -> None:
    assert {kind for kind, _ in CASES} == set(kind_names())


IMAGES = [(case, image) for case in CASES for image in (CIFAR, MNIST, ODD) if (case[0], image) != ("generator", ODD)]


@pytest.mark.parametrize(("case", "image"), IMAGES, ids=str)
def test_tensors_and_shapes(case: tuple[str, dict[str, Any]], image: tuple[int, int, int]) -> None:
    kind, config = case
    bank = decoder(kind, config, image, 10)
    model = kind_config(kind).model_validate(config)
    assert {k: tuple(v.shape) for k, v in bank.state_dict().items()} == model.bank_shapes(image, 10)
    assert bank.config == model
    assert (bank.image, bank.classes) == (image, 10)

    sources = torch.rand(2, *model.source_shape(image))
    count = model.bank_size()
    with torch.no_grad():
        assert bank(sources, torch.tensor([count - 1, 0])).shape == (2, *image)
        every = bank.product(sources)
        assert every.shape == (2, count, *image)
        assert every.dtype == torch.float32
        assert bank(sources[:0], torch.zeros(0, dtype=torch.int64)).shape == (0, *image)
        assert bank.product(sources[:0]).shape == (0, count, *image)
    if model.yields == "raw":
        assert every.min() >= 0
        assert every.max() <= 1


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_bank_survives_copies_and_state_dicts(case: tuple[str, dict[str, Any]]) -> None:
    kind, config = case
    bank = decoder(kind, config, MNIST, 10)
    with torch.no_grad():
        for tensor in bank.state_dict().values():
            tensor.uniform_(0.1, 0.5)
    sources, index = torch.rand(3, *bank.source_shape), torch.tensor([0, bank.bank_size - 1, 0])
    loaded = decoder(kind, bank.config, MNIST, 10)
    plain = {key: value.clone() for key, value in bank.state_dict().items()}
    assert not any(loaded.load_state_dict(plain))
    with torch.no_grad():
        expected = bank(sources, index)
        for other in (loaded, copy.deepcopy(bank), pickle.loads(pickle.dumps(bank))):
            assert torch.equal(other(sources, index), expected)


def test_starting_values() -> None:
    bank = decoder("haba", {"decoders": 4, "channels": 16}, CIFAR, 10)
    state = bank.state_dict()
    assert torch.equal(state["sigma"], torch.ones(4, 16, 32, 32))
    assert torch.equal(state["mu"], torch.zeros(4, 16, 32, 32))
    for key, fan_in in (("encoder.0", 3 * 9), ("decoder.0", 16 * 9)):
        bound = 1 / math.sqrt(fan_in)
        weight = state[f"{key}.weight"]
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert state[f"{key}.bias"].abs().max() <= bound
        assert not torch.equal(weight[0], weight[1])
    # A transposed convolution's fan-in counts its outputs, as PyTorch's does.
    weight = decoder("kfs", {"decoders": 9, "channels": (12, 9, 6)}, CIFAR, 10).state_dict()["layers.0.weight"]
    assert weight.abs().max().item() == pytest.approx(1 / math.sqrt(9 * 4), rel=0.02)


@pytest.mark.parametrize(
    ("kind", "config", "image", "message"),
    [
        ("upsample", {"factor": 33}, CIFAR, "factor 33 does not fit image height 32"),
        ("upsample", {"factor": 4}, (3, 8, 5), "factor 4 does not fit image width 5"),
        ("haba", {"decoders": 1, "source_channels": 2}, CIFAR, "source_channels 2, expected 1 or the image's 3"),
        ("haba", {"decoders": 1, "source_channels": 3}, MNIST, "source_channels 3, expected 1 or the image's 1"),
        ("haba", {"decoders": 1, "depth": 0, "source_channels": 1}, CIFAR, "depth 0 has no layer"),
        ("haba", {"decoders": 1, "depth": 0, "channels": 8}, CIFAR, "found source_channels 3 and channels 8"),
        ("haba", {"decoders": 1, "factor": 4}, (3, 5, 8), "haba: factor 4 does not fit image height 5"),
        ("haba", {"decoders": 1, "form": "released"}, (3, 2, 9), "at least 3×3, found 2×9"),
        ("generator", {}, (3, 30, 30), "image size 30×30, expected a square"),
        ("generator", {}, (3, 32, 64), "image size 32×64, expected a square"),
        ("generator", {}, (3, 4, 4), "image size 4×4"),
        ("generator", {"noise": 10}, CIFAR, "10 noise entries for 10 classes; expected more than 10"),
        ("images", {}, (3, 0, 4), r"image \(3, 0, 4\) with 10 classes"),
    ],
)
def test_configurations_that_cannot_make_the_image(
    kind: str, config: dict[str, Any], image: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        decoder(kind, config, image, 10)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("kind", "config", "field"),
    [
        ("images", {"factor": 2}, "factor"),
        ("upsample", {}, "factor"),
        ("upsample", {"factor": 1}, "factor"),
        ("haba", {"decoders": 0}, "decoders"),
        ("haba", {"decoders": 2, "depth": 4}, "depth"),
        ("haba", {"decoders": 2, "channels": 0}, "channels"),
        ("haba", {"decoders": 2, "factor": 0}, "factor"),
        ("haba", {"decoders": 2, "form": "other"}, "form"),
        ("haba", {"decoders": 2, "form": "released", "depth": 2}, "found depth 2"),
        ("kfs", {"decoders": 2, "channels": (12,)}, "channels"),
        ("kfs", {"decoders": 2, "channels": (12, 9, 6, 3)}, "channels"),
        ("kfs", {"decoders": 2, "channels": (12, 0, 6)}, "channels"),
        ("kfs", {"decoders": 2, "channels": (12, 9, 6), "kernel": 3}, "kernel"),
        ("generator", {"width": 0}, "width"),
        ("generator", {"noise": 0}, "noise"),
    ],
)
def test_configurations_that_make_no_sense(kind: str, config: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        decoder(kind, config, CIFAR, 10)


def test_unknown_kind_and_foreign_configuration() -> None:
    for kind in ("siren", "base", "_conv", "os"):
        with pytest.raises(VersionError, match=f"unknown decoder kind '{kind}'"):
            decoder(kind, {}, CIFAR, 10)
    with pytest.raises(FormatError, match="kind 'haba': ImagesConfig found; HabaConfig expected"):
        decoder("haba", kind_config("images")(), CIFAR, 10)
