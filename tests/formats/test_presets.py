"""What ``encoding=`` chooses: presets by role, overrides by name, and choices that are refused."""

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import FormatError, Reader, VersionError
from dsetpack.formats.card import Labels
from dsetpack.formats.encodings.quantize import Quantize
from tests.support.format_packs import KINDS, images, part_of, same


def test_pixels_are_stored_as_pixels():
    """Images that came from uint8 cost a byte per pixel and come back exactly, in every preset but int4."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4)).astype(np.uint8)
    floats = pixels.astype(np.float32) * np.float32(1 / 255)
    for preset in ("exact", "f16", "int8"):
        reader = Reader(images(floats, preset, shape=(3, 4, 4)))
        assert np.array_equal(reader.stored("sources"), pixels)
        assert same(reader.tensor("sources"), floats)
    minus_zero = floats.copy()
    minus_zero[0, 0, 0, 0] = -0.0
    reader = Reader(images(minus_zero, shape=(3, 4, 4)))
    assert reader.manifest.tensors["sources"].encodings == ()
    assert same(reader.tensor("sources"), minus_zero)


def test_choices_by_name_role_group_and_default():
    made, part, tensors = part_of("kfs")
    encoding = {
        "default": "f16",
        "sources": Quantize(bits=5),
        "bank": {"name": "cast", "configuration": {"dtype": "bfloat16"}},
        "layers.0.weight": "int8",
        "layers.1.weight": None,
    }
    reader = Reader(formats.encode(made, [part], tensors, encoding))
    steps = {name: [e.name for e in t.encodings] for name, t in reader.manifest.tensors.items()}
    assert steps["sources"] == ["quantize"]
    assert reader.manifest.tensors["sources"].encodings[0].configuration["bits"] == 5
    assert steps["layers.0.weight"] == ["quantize"]
    assert steps["layers.1.weight"] == []
    assert steps["layers.1.bias"] == ["cast"]
    assert reader.stored("layers.1.bias").dtype == np.uint16
    assert steps["labels"] == []


@pytest.mark.parametrize("preset", ["exact", "int8", "int4"])
@pytest.mark.parametrize("kind", ["images", "upsample", "haba", "kfs", "generator"])
@pytest.mark.parametrize("spoilt", [0.0, 1e5, 2e38, np.nan, np.inf])
def test_only_f16_writes_floats_of_16_bits(preset, kind, spoilt):
    """Many HDF5 tools cannot read them: not for soft labels, small banks of many decoders, or values of any size."""
    config = KINDS[kind][1] | ({"decoders": 40} if "decoders" in KINDS[kind][1] else {})
    made, part, tensors = part_of(kind, config=config)
    if "labels" in tensors:
        made = made.replace(labels=Labels(kind="soft"))
        tensors["labels"] = np.full((len(tensors["labels"]), len(made.classes)), 0.1, np.float32)
    for values in tensors.values():
        if values.dtype == np.float32 and spoilt:
            values.flat[0] = spoilt
    made = made.replace(finite=bool(np.isfinite(spoilt)))
    reader = Reader(formats.encode(made, [part], tensors, preset))
    assert not {"float16", "uint16"} & {entry.dtype for entry in reader.manifest.datasets.values()}


@pytest.mark.parametrize(
    ("encoding", "error", "match"),
    [
        ("int2", FormatError, "encoding 'int2': one of exact, f16, int8, int4 expected"),
        ({"sources": "int2"}, FormatError, "encoding 'int2'"),
        ({"source": "int8"}, FormatError, "encoding for 'source': no such tensor or role; there are"),
        ({"sources": 8}, FormatError, "encoding 8: a preset, an encoding, a dict"),
        ({"sources": {"nam": "cast"}}, FormatError, "encoding .*: name: Field required"),
        ({"sources": {"name": "jpeg"}}, VersionError, "unknown encoding 'jpeg'"),
        ({"sources": {"name": "zstd"}}, FormatError, "works on bytes; the writer chooses those itself"),
        ({"sources": {"name": "cast", "configuration": {"dtype": "f8"}}}, FormatError, "encoding 'cast': dtype"),
        ({"labels": Quantize(bits=8)}, FormatError, "tensor 'labels': quantize takes float32, not uint8"),
        ({"sources": Quantize(bits=8, block=(1,))}, FormatError, "tensor 'sources': "),
        ({"sources": Quantize(bits=8, block=(9, 1, 1, 1))}, FormatError, "do not fit the shape"),
        (
            {"sources": Quantize(bits=8, block=(1, 1, 1, 1), scale=1.0, offset=0.0)},
            FormatError,
            "one scale cannot serve",
        ),
    ],
)
def test_wrong_choices_are_refused(encoding, error, match):
    with pytest.raises(error, match=match):
        images(encoding=encoding)
