"""What is written is what is read: dtypes, shapes, chunks, presets, overrides, parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsetpack import formats
from dsetpack.formats import FormatError, Reader, VersionError, writer
from dsetpack.formats.card import Labels, ZcaSpace
from dsetpack.formats.encodings.quantize import Quantize
from dsetpack.formats.manifest import ITEMSIZE
from tests.support.format_packs import KINDS, PRESETS, card, free_kind, free_part, images, part_of, same

ANY = st.sampled_from(sorted(ITEMSIZE)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5))
)


def stored_and_read(tensors, encoding="exact"):
    card, part, every = free_part(tensors)
    data = formats.encode(card, [part], every, encoding)
    formats.verify(data, hdf5=False)
    with Reader(data) as reader:
        return {name: reader.tensor(name) for name in tensors}, reader


@given(st.dictionaries(st.sampled_from(["a", "b", "c.d", "E-1"]), ANY, max_size=4), st.integers(1, 64))
def test_every_dtype_and_shape_comes_back_bit_by_bit(tensors, chunk_bytes):
    with free_kind(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(writer, "LARGEST_CHUNK_BYTES", chunk_bytes)
        found, _ = stored_and_read(tensors)
    assert all(same(found[name], values) for name, values in tensors.items())
    assert all(values.flags.writeable for values in found.values())


@given(ANY, st.sampled_from(PRESETS[1:]))
@settings(max_examples=40)
def test_presets_take_every_dtype_and_shape(values, preset):
    """Also NaN, infinities, scalars and empty tensors: what cannot be encoded with loss is kept."""
    with free_kind():
        found, _ = stored_and_read({"x": values}, preset)
    assert found["x"].shape == values.shape
    assert found["x"].dtype == values.dtype
    if values.dtype != np.float32:
        assert same(found["x"], values)
        return
    finite = np.isfinite(values)
    assert np.isfinite(found["x"][finite]).all()
    assert np.array_equal(found["x"][~finite], values[~finite], equal_nan=True)


@pytest.mark.parametrize("rows", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("preset", PRESETS)
def test_several_chunks_and_an_edge_chunk(rows, preset, monkeypatch):
    sources = np.random.default_rng(0).standard_normal((7, 1, 6, 5)).astype(np.float32)
    expected = Reader(images(sources, preset)).tensor("sources")
    itemsize = {"exact": 4, "f16": 2}.get(preset, 1)
    monkeypatch.setattr(writer, "CHUNK_BYTES", rows * 30 * itemsize)
    monkeypatch.setattr(writer, "LARGEST_CHUNK_BYTES", rows * 30 * itemsize)
    data = images(sources, preset)
    formats.verify(data, hdf5=rows == 3)
    reader = Reader(data)
    dataset = reader.manifest.datasets["sources"]
    assert dataset.chunk == (rows, 1, 6, 5)
    assert len(dataset.chunks) == -(-7 // rows)
    assert same(reader.tensor("sources"), expected)


def test_chunks_grow_with_the_tensor(monkeypatch):
    monkeypatch.setattr(writer, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(writer, "LARGEST_CHUNK_BYTES", 4000)
    counts = []
    for count in (33, 66, 264, 1000):
        data = images(np.zeros((count, 1, 6, 5), np.float32) + 1.5)
        counts.append(len(Reader(data).manifest.datasets["sources"].chunks))
    assert counts == [5, 9, 8, 31]  # 1000 bytes each, then an eighth each, then 4000 bytes each


def test_many_small_tensors_share_chunked_datasets(monkeypatch):
    monkeypatch.setattr(writer, "CHUNK_BYTES", 100)
    monkeypatch.setattr(writer, "LARGEST_CHUNK_BYTES", 100)
    rng = np.random.default_rng(0)
    tensors = {f"w{n}": rng.standard_normal((n, 3)).astype(np.float32) for n in range(12)}
    with free_kind():
        found, reader = stored_and_read(tensors)
    assert all(same(found[name], values) for name, values in tensors.items())
    shared = reader.manifest.datasets["shared_float32"]
    assert shared.shape == (sum(v.size for v in tensors.values()),)
    assert shared.chunk == (25,)
    assert {reader.manifest.tensors[name].dataset for name in tensors} == {"shared_float32", None}


@pytest.mark.parametrize(
    ("name", "group"), [("shared_float16", "shared_float16_"), ("shared_float32", "shared_float16")]
)
def test_a_shared_dataset_takes_no_name_of_a_tensor(name, group):
    made, part, tensors = part_of("kfs")
    tensors[name] = tensors.pop("sources")
    part = part.model_copy(update={"tensors": part.tensors | {"sources": name}})
    data = formats.encode(made, [part], tensors, {"bank": "f16"})
    formats.verify(data)
    reader = Reader(data)
    assert set(reader.manifest.datasets) == {name, "labels", group}
    assert same(reader.part(0)["sources"], tensors[name])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_kind_in_every_preset(kind, preset):
    made, part, tensors = part_of(kind)
    data = formats.encode(made, [part], tensors, preset)
    formats.verify(data, hdf5=False)
    with Reader(data) as reader:
        found = reader.part(0)
        assert reader.manifest.card == made
        assert reader.manifest.parts == (part,)
    assert set(found) == set(tensors)
    for role, values in tensors.items():
        if preset == "exact" or values.dtype != np.float32:
            assert same(found[role], values)
        else:
            step = {"f16": 2**-10, "int8": 1 / 255, "int4": 1 / 15}[preset]
            span = max(float(values.max() - values.min()), float(np.abs(values).max()))
            assert np.abs(found[role] - values).max() <= 0.5 * span if preset == "int4" else 20 * step * span
            assert np.sqrt(np.square(found[role] - values).mean()) <= step * span


def test_pixels_are_stored_as_pixels():
    """Images that came from uint8 cost a byte a pixel and come back exactly, in every preset but int4."""
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


def test_arrays_of_any_byte_order_and_layout():
    values = np.random.default_rng(0).standard_normal((7, 1, 6, 5)).astype(np.float32)
    expected = images(values)
    assert images(values.astype(">f4")) == expected
    assert images(np.asfortranarray(values)) == expected
    assert images(np.repeat(values, 2, 0)[::2]) == expected
    assert images(values, labels=(np.arange(7) % 3).astype(">i8")) == images(values, labels=np.arange(7) % 3)


def test_parts_share_a_bank_and_allow_decoders_by_class():
    made, part, tensors = part_of("kfs")
    more = {"sources": "more.sources", "labels": "more.labels"}
    second = part.model_copy(
        update={
            "tensors": {**part.tensors, **more},
            "sources": 2,
            "stage": 3,
            "name": "later",
            "class_decoders": ((0, 1), (2, 0), (1, 2)),
        }
    )
    tensors["more.sources"], tensors["more.labels"] = tensors["sources"][:2], np.array([2, 0], np.int16)
    data = formats.encode(made, [part, second], tensors)
    formats.verify(data)
    reader = Reader(data)
    assert reader.manifest.parts == (part, second)
    assert same(reader.part(1)["layers.0.weight"], tensors["layers.0.weight"])
    assert same(reader.part(1)["labels"], tensors["more.labels"])
    assert sum(name == "layers.0.weight" for name in reader.manifest.tensors) == 1


def test_soft_labels_and_an_embedded_space():
    size = 30
    space = ZcaSpace(
        variant="kornia", epsilon=0.1, fitted_on="sha256:" + "0" * 64, storage="embed", mean="zm", matrix="zx"
    )
    made = card(space=space, labels=Labels(kind="soft", centred=True))
    rng = np.random.default_rng(0)
    tensors = {
        "sources": rng.standard_normal((4, 1, 6, 5)).astype(np.float32),
        "labels": rng.standard_normal((4, 3)).astype(np.float32),
        "zm": rng.standard_normal(size).astype(np.float32),
        "zx": rng.standard_normal((size, size)).astype(np.float32),
    }
    part = formats.PartEntry(kind="images", sources=4, tensors={"sources": "sources", "labels": "labels"})
    data = formats.encode(made, [part], tensors, "int8")
    formats.verify(data, hdf5=False)
    reader = Reader(data)
    assert same(reader.tensor("zx"), tensors["zx"])
    assert same(reader.tensor("labels"), tensors["labels"].astype(np.float16).astype(np.float32))
    bad = tensors | {"zx": np.full((size, size), np.nan, np.float32)}
    with pytest.raises(FormatError, match="nan at element 0; the card promises finite values"):
        formats.encode(made, [part], bad)


def test_shuffle_is_chosen_by_size():
    """Smooth floats shrink when shuffled; random bytes, codes and repeated rows do not."""
    smooth = np.linspace(1, 2, 2100, dtype=np.float32).reshape(70, 1, 6, 5)
    repeated = np.repeat(np.random.default_rng(0).standard_normal((1, 1, 6, 5)), 70, 0).astype(np.float32)
    names = lambda data: [e.name for e in Reader(data).manifest.datasets["sources"].encodings]  # noqa: E731
    assert names(images(smooth)) == ["shuffle", "zstd"]
    assert names(images(repeated)) == ["zstd"]
    assert names(images(smooth, "int8")) == ["zstd"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c, p, t: t.update(sources=t["sources"].astype(np.complex64)), "dtype complex64 found"),
        (lambda c, p, t: t.update(sources=t["sources"] > 0), "dtype bool found"),
        (lambda c, p, t: t.update(extra=t["sources"]), "tensor 'extra' belongs to no part"),
        (lambda c, p, t: t.pop("labels"), "labels: tensor 'labels' is not in the index"),
        (lambda c, p, t: t.update(labels=np.array([0, 1, 2, 3, 0], np.uint8)), "label 3 of source 3; there are 3"),
        (lambda c, p, t: t.update(labels=np.array([0.0, 1, 2, 0, 0])), "labels: .* is float64, integers expected"),
        (lambda c, p, t: t["sources"].fill(np.nan), "nan at element 0; the card promises finite values"),
        (lambda c, p, t: t.update(sources=t["sources"][:4]), "the decoder needs"),
        (lambda c, p, t: t.update(sources=t["sources"][:, :, 1:]), "the decoder needs"),
    ],
)
def test_input_that_does_not_fit_is_refused(change, match):
    made, part, tensors = part_of("images")
    change(made, part, tensors)
    with pytest.raises(FormatError, match=match):
        formats.encode(made, [part], tensors)


def test_names_that_collide_or_cannot_be():
    weights = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    with free_kind():
        card, part, every = free_part({"w": weights, "w.scale": weights})
        with pytest.raises(FormatError, match=r"tensor 'w.scale': the name is taken by the scales of 'w'"):
            formats.encode(card, [part], every, "int8")
        card, part, every = free_part({"w" * 125: weights})
        with pytest.raises(FormatError, match=r"the pack: .*String should match pattern"):
            formats.encode(card, [part], every, "int8")


@pytest.mark.parametrize(
    "extra",
    [{"x": float("nan")}, {"x": float("inf")}, {"x": "\ud800"}, {"\ud800": 1}, {"x": 10**5000}],
    ids=["nan", "infinity", "surrogate", "key", "digits"],
)
def test_cards_that_json_cannot_hold_are_refused(extra):
    """By the card's model, or by the writer."""
    with pytest.raises(ValueError, match=r"cannot be written as JSON|extra\.x\.float"):
        images(extra=extra)


def test_cards_that_a_reader_would_refuse_are_not_written():
    nested = []
    for _ in range(250):
        nested = [nested]
    with pytest.raises(formats.FormatError, match=r"recursion limit|nested"):
        images(extra={"x": nested})
    with pytest.raises(formats.LimitError, match="values in the manifest"):
        images(extra={"x": [0] * 300_000})
    with pytest.raises(formats.LimitError, match="a manifest of"):
        images(extra={"x": "y" * (17 << 20)})


def test_no_pack_at_all():
    with pytest.raises(FormatError, match="parts"):
        formats.encode(card(), [], {})
