"""The same pack has the same bytes, whenever and wherever it is written."""

import time

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import Reader
from tests.support.format_packs import all_bytes, images, part_of
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


def test_no_clock_in_the_file():
    """No four bytes of the file are a time near now."""
    data, now = images(), int(time.time())
    for start in range(len(data) - 3):
        assert not abs(int.from_bytes(data[start : start + 4], "little") - now) < 1000


def test_registered_filters_do_not_matter():
    """A process that has imported hdf5plugin, which gives the filter a name, writes the same bytes."""
    pytest.importorskip("hdf5plugin")
    with_plugin = python(f"import hdf5plugin, h5py\nassert h5py.h5z.filter_avail(32015)\n{PRINT}")
    without = python(f"import h5py\nassert not h5py.h5z.filter_avail(32015)\n{PRINT}")
    assert with_plugin == without == f"{all_bytes()}\n"
