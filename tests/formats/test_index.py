"""The index: the datasets, chunks and tensors of a sound file, each made wrong in one way."""

import pytest

from dsetpack.formats import FormatError, LimitError, Limits, Reader, VersionError, index, writer
from dsetpack.formats.encodings import Encoding
from tests.support.format_packs import images


@pytest.fixture(scope="module")
def sound():
    """The header and manifest of a pack whose sources have three chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "CHUNK_BYTES", 3 * 30)
        patch.setattr(writer, "LARGEST_CHUNK_BYTES", 3 * 30)
        reader = Reader(images(encoding="int8"))
    assert len(reader.manifest.datasets["sources"].chunks) == 3
    return reader.header, reader.manifest


def check(sound, limits=None, datasets=None, tensors=None, **card):
    """Check the sound manifest with some datasets and tensors changed."""
    header, manifest = sound
    changed = {
        "datasets": {k: v.model_copy(update=(datasets or {}).get(k, {})) for k, v in manifest.datasets.items()},
        "tensors": {k: v.model_copy(update=(tensors or {}).get(k, {})) for k, v in manifest.tensors.items()},
        "card": manifest.card.replace(**card),
    }
    index.check(manifest.model_copy(update=changed), header, limits or Limits())


def moved(sound, name, number, **change):
    """The chunks of a dataset, one of them changed."""
    chunks = list(sound[1].datasets[name].chunks)
    chunks[number] = chunks[number].model_copy(update=change)
    return {name: {"chunks": tuple(chunks)}}


def test_the_sound_one_is_sound(sound):
    check(sound)


def test_chunks_lie_in_the_file_and_do_not_overlap(sound):
    header, manifest = sound
    length, chunks = header.file_length - header.user_block, manifest.datasets["sources"].chunks
    with pytest.raises(FormatError, match=rf"dataset 'sources': a chunk at .* lies outside the {length} bytes"):
        check(sound, datasets=moved(sound, "sources", 1, offset=length))
    with pytest.raises(FormatError, match="overlaps one of dataset 'sources'"):
        check(sound, datasets=moved(sound, "sources", 1, offset=chunks[0].offset))
    with pytest.raises(FormatError, match="dataset 'sources': 2 chunks found, 3 expected"):
        check(sound, datasets={"sources": {"chunks": chunks[:2]}})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"chunk": (3, 1, 6, 4)}, FormatError, "dataset 'sources': chunks of .* only the first axis"),
        ({"chunk": (9, 1, 6, 5)}, FormatError, "dataset 'sources': chunks of .* are larger than the dataset"),
        ({"encodings": ()}, FormatError, "an uncompressed chunk of .* bytes found, 90 expected"),
        ({"encodings": (Encoding(name="zstd"),) * 2}, FormatError, r"encodings \['zstd', 'zstd'\] found"),
        ({"encodings": (Encoding(name="lzma"),)}, VersionError, "unknown encoding 'lzma'.*; the file is of format 1.0"),
        (
            {"encodings": (Encoding(name="cast", configuration={"dtype": "float16"}),)},
            FormatError,
            "encoding 'cast' makes arrays; it belongs to a tensor",
        ),
    ],
)
def test_datasets_that_cannot_be(sound, change, error, message):
    with pytest.raises(error, match=message):
        check(sound, datasets={"sources": change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "none"}, "tensor 'labels': dataset 'none' is not in the index"),
        ({"start": 1}, "tensor 'labels': elements 1..8 exceed dataset 'labels'"),
        ({"dtype": "int16"}, "tensor 'labels': its values are stored as int16, but dataset 'labels' holds uint8"),
        ({"shape": (6,)}, "dataset 'labels': 6 of 7 elements belong to a tensor"),
        ({"shape": (0,)}, "a tensor without elements has no dataset"),
        ({"encodings": (Encoding(name="zstd"),)}, "encoding 'zstd' makes bytes; it belongs to a dataset"),
    ],
)
def test_tensors_that_cannot_be(sound, change, message):
    with pytest.raises(FormatError, match=message):
        check(sound, tensors={"labels": change})


def test_what_a_file_declares_is_limited(sound):
    with pytest.raises(LimitError, match="the file declares .* bytes of data; the limit is 500"):
        check(sound, Limits(total=500))
    with pytest.raises(LimitError, match="dataset '.*': a chunk of .* bytes; the limit is 50"):
        check(sound, Limits(chunk=50))
