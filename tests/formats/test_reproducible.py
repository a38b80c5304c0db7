"""The same pack has the same bytes, whenever and wherever it is written."""

import hashlib
import time

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import Reader, seal
from dsetpack.formats.card import Metric
from tests.support.format_packs import all_bytes, card, images, part_of
from tests.support.processes import python

PRINT = "from tests.support.format_packs import all_bytes; print(all_bytes())"


def test_two_writes_over_a_second_apart():
    first = all_bytes()
    time.sleep(1.1)
    assert all_bytes() == first


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_other_processes_and_hash_seeds(seed):
    assert python(PRINT, PYTHONHASHSEED=seed, TZ="Asia/Tokyo", LC_ALL="C").strip() == all_bytes()


def test_the_order_of_dicts_does_not_matter():
    made, part, tensors = part_of("kfs")
    backwards = dict(reversed(tensors.items()))
    turned = part.model_copy(update={"tensors": dict(reversed(part.tensors.items()))})
    first = formats.encode(made, [part], tensors, {"default": "int8", "labels": None})
    assert formats.encode(made, [turned], backwards, {"labels": None, "default": "int8"}) == first


def test_reading_and_writing_again_gives_the_same_bytes():
    data = images(encoding="exact", description="x")
    with Reader(data) as reader:
        tensors = {name: reader.tensor(name) for name in reader.manifest.tensors}
        assert formats.encode(reader.manifest.card, reader.manifest.parts, tensors) == data


def test_content_digest_is_of_the_content_alone():
    values = np.random.default_rng(0).standard_normal((7, 1, 6, 5)).astype(np.float32)
    digest = lambda *arguments, **card: Reader(images(*arguments, **card)).manifest.content_digest  # noqa: E731
    first = digest(values)
    assert digest(values, title="another", description="y" * 3000, extra={"a": 1}) == first
    changed = values.copy()
    changed[3, 0, 2, 2] = np.nextafter(changed[3, 0, 2, 2], np.float32(9))
    assert digest(changed) != first
    assert digest(values, "f16") != first
    assert digest(values, labels=np.ones(7, np.uint8)) != first
    assert digest(values, labels=(np.arange(7) % 3).astype(np.int64)) != first


def test_a_new_card_keeps_the_content(tmp_path):
    old, new = tmp_path / "old.dpk", tmp_path / "new.dpk"
    old.write_bytes(images(encoding="int8"))
    notes = [hashlib.sha256(bytes([n])).hexdigest() for n in range(40)]
    metrics = tuple(Metric(value=0.5, arch="convnet3", test_data="x", note=note) for note in notes)
    for path, changes in ((new, {"metrics": metrics}), (old, {"title": "in place"})):
        before = Reader(old)
        size = seal.recard(old, before.manifest.card.replace(**changes), path)
        formats.verify(path)
        with Reader(path) as reader:
            assert size == path.stat().st_size
            assert reader.manifest.content_digest == before.manifest.content_digest
            assert reader.digest != before.digest
            assert reader.manifest.card == before.manifest.card.replace(**changes)
    assert Reader(new).header.user_block > Reader(old).header.user_block
    with pytest.raises(formats.FormatError, match="the decoder needs"):
        seal.recard(old, card(shape=(1, 3, 3)), new)
    damaged = bytearray(old.read_bytes())
    damaged[-1] ^= 1
    with pytest.raises(formats.IntegrityError):
        seal.recard(bytes(damaged), card(), new)


def test_a_new_card_must_fit_the_values_that_are_there(tmp_path):
    old, new = tmp_path / "old.dpk", tmp_path / "new.dpk"
    values = np.zeros((3, 1, 6, 5), np.float32)
    values[1] = np.nan
    old.write_bytes(images(values, finite=False))
    for changes, message in (
        ({"classes": ("a", "b")}, "part 0: labels: label 2 of source 2; there are 2 classes"),
        ({"finite": True}, "part 0: sources: nan at element 30; the card promises finite values"),
    ):
        with pytest.raises(formats.FormatError, match=message):
            seal.recard(old, Reader(old).manifest.card.replace(**changes), new)
    assert not new.exists()


def test_a_new_card_is_for_the_file_that_was_expected(tmp_path):
    path = tmp_path / "x.dpk"
    path.write_bytes(images())
    digest = Reader(path).digest
    path.write_bytes(images(title="replaced meanwhile"))
    before = path.read_bytes()
    with pytest.raises(formats.IntegrityError, match=f"it was replaced by another file: .* {digest} expected"):
        seal.recard(path, card(title="new"), path, expect=digest)
    assert path.read_bytes() == before
    seal.recard(path, card(title="new"), path, expect=Reader(path).digest)
    assert Reader(path).manifest.card.title == "new"


def test_no_clock_in_the_file():
    """No four bytes of the HDF5 part are a time near now."""
    data, now = images(), int(time.time())
    for start in range(len(data) - 3):
        assert not abs(int.from_bytes(data[start : start + 4], "little") - now) < 1000


def test_registered_filters_do_not_matter():
    """A process that has imported hdf5plugin, which gives the filter a name, writes the same bytes."""
    pytest.importorskip("hdf5plugin")
    with_plugin = python(f"import hdf5plugin, h5py\nassert h5py.h5z.filter_avail(32015)\n{PRINT}")
    without = python(f"import h5py\nassert not h5py.h5z.filter_avail(32015)\n{PRINT}")
    assert with_plugin == without == f"{all_bytes()}\n"
