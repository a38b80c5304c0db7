"""``Reader``: what it reads and when, and where damage is found."""

import io
import threading

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import Reader
from tests.support.format_packs import images, large_pack, same


@pytest.fixture(scope="module")
def large():
    return large_pack()


class Counting(io.BytesIO):
    """Records every read."""

    def __init__(self, data):
        super().__init__(data)
        self.reads = []

    def read(self, size=-1):
        data = super().read(size)
        self.reads.append((self.tell() - len(data), len(data)))
        return data


def test_opening_reads_header_and_manifest_only(large):
    data, _ = large
    file = Counting(data)
    reader = Reader(file)
    assert file.reads == [(0, 8192)]
    labels = reader.manifest.datasets["labels"].chunks[0]
    reader.tensor("labels")
    assert file.reads[1:] == [(reader.header.user_block + labels.offset, labels.length)]
    file.reads.clear()
    reader.tensor("sources")
    expected = {(reader.header.user_block + c.offset, c.length) for c in reader.manifest.datasets["sources"].chunks}
    assert set(file.reads) == expected
    assert len(file.reads) == len(expected) > 2


def test_a_long_manifest_takes_a_second_read():
    digits = "".join(map(str, np.random.default_rng(0).integers(0, 10, 30_000)))
    file = Counting(images(description=digits))
    reader = Reader(file)
    assert reader.header.user_block == 16384
    assert file.reads == [(0, 8192), (8192, 8192)]


def test_damage_is_found_when_touched(large):
    data, _sources = large
    reader = Reader(data)
    last = reader.manifest.datasets["sources"].chunks[-1]
    at = reader.header.user_block + last.offset
    damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    with Reader(damaged) as lazy:
        assert lazy.tensor("labels").size == 500
        with pytest.raises(formats.IntegrityError, match=r"dataset 'sources', chunk \d: digest .* expected: damaged"):
            lazy.tensor("sources")
    with pytest.raises(formats.IntegrityError, match="dataset 'sources', chunk"):
        Reader(damaged, verify="all")
    with pytest.raises(ValueError, match="verify='none'"):
        Reader(data, verify="none")
    with pytest.raises(KeyError, match="no tensor 'x'; there are labels, sources"):
        Reader(data).tensor("x")


def test_many_threads_read_one_pack(large):
    data, sources = large
    reader, found = Reader(data), []
    threads = [threading.Thread(target=lambda: found.append(reader.tensor("sources"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(values, sources) for values in found)
