"""What the writer makes of tensors: chunks, shared datasets, shuffles; and the input that it refuses."""

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import FormatError, Reader, writer
from tests.support.format_packs import PRESETS, card, free_kind, free_part, images, part_of, same


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


def test_arrays_of_any_byte_order_and_layout():
    values = np.random.default_rng(0).standard_normal((7, 1, 6, 5)).astype(np.float32)
    expected = images(values)
    assert images(values.astype(">f4")) == expected
    assert images(np.asfortranarray(values)) == expected
    assert images(np.repeat(values, 2, 0)[::2]) == expected
    assert images(values, labels=(np.arange(7) % 3).astype(">i8")) == images(values, labels=np.arange(7) % 3)


def test_shuffle_is_chosen_by_size():
    """Smooth floats shrink when shuffled; codes and repeated rows do not."""
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
        (
            lambda c, p, t: t.update(labels=np.array([0, 1, 2, 3, 0], np.uint8)),
            "label 3 of source 3; the card has 3 classes",
        ),
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
