"""How chunks are compressed: small files in the best way, large ones nearly so, in a fraction of the time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import Reader, compression
from dsetpack.formats.compression import EFFORTS, SAMPLE, Pipeline, decide, sampled, smallest
from dsetpack.formats.progress import Work
from tests.support.format_packs import images, part_of
from tests.support.paths import SAMPLE as REAL

MEGABYTE = 1 << 20


def pixels() -> np.ndarray:
    """Real images: uint8 [2000, 1, 28, 28]."""
    with Reader(REAL) as reader:
        return np.round(reader.tensor("part0.sources")[:2000] * 255).astype(np.uint8)


def normal(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(count, np.float32)


VALUES = {
    "pixels": pixels,
    "normalized pixels": lambda: (pixels()[:600].astype(np.float32) / 255 - np.float32(0.286)) / np.float32(0.353),
    "learned images": lambda: pixels()[:600].astype(np.float32) / 255 + 0.3 * normal(600 * 784).reshape(600, 1, 28, 28),
    "noise": lambda: normal(500_000),
    "16-bit noise": lambda: normal(1_000_000).astype(np.float16),
    "4-bit codes": lambda: np.clip(np.rint(2.5 * normal(2_000_000) + 8), 0, 15).astype(np.uint8),
    "repeated images": lambda: np.tile(normal(70_000), 8),
    "labels": lambda: np.arange(400_000) % 10,
    "zeros": lambda: np.zeros(500_000, np.float32),
}


def chunks(values: np.ndarray) -> list[bytes]:
    data = values.tobytes()
    return [data[at : at + MEGABYTE].ljust(MEGABYTE, b"\0") for at in range(0, len(data), MEGABYTE)]


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.mark.parametrize("name", VALUES)
def test_a_sample_decides_nearly_as_well_as_trying_everything(name, pool):
    values = VALUES[name]()
    plain, work = chunks(values), Work("save", 2)
    codecs, frames = sampled(plain, values.itemsize, pool, work)
    _, best = smallest(plain, values.itemsize, pool, Work("save", 2))
    assert sum(map(len, frames)) <= 1.03 * sum(map(len, best)) + 100
    assert work.done == len(plain)
    for frame, chunk in zip(frames, plain, strict=True):
        for step in reversed(codecs):
            frame = step.decode(frame, MEGABYTE)
        assert frame == chunk


@pytest.mark.parametrize(
    ("name", "itemsize", "effort"),
    [
        ("pixels", 1, EFFORTS[2]),
        ("normalized pixels", 1, EFFORTS[4]),
        ("learned images", 4, EFFORTS[0]),
        ("noise", 4, EFFORTS[0]),
        ("4-bit codes", 1, EFFORTS[0]),
    ],
)
def test_effort_goes_where_it_pays(name, itemsize, effort, pool):
    values = VALUES[name]()
    assert decide(chunks(values), values.itemsize, pool) == Pipeline(itemsize, effort)


def test_only_a_sample_of_noise_is_compressed_with_effort(monkeypatch, pool):
    spent = []
    encode = Pipeline.encode

    def counted(self, data, expected=None):
        spent.append((self.effort.level, len(data)))
        return encode(self, data, expected)

    monkeypatch.setattr(Pipeline, "encode", counted)
    sampled(chunks(VALUES["noise"]()), 4, pool, Work("save", 2))
    assert sum(size for level, size in spent if level > 12) <= 3 * 4 * SAMPLE


def test_repetitions_that_a_sample_does_not_show_are_found(pool):
    """Each image comes ten times: a sample shrinks as well with little effort, but all of it does not."""
    values = np.repeat(pixels()[:300].astype(np.float32) / 255, 10, 0)
    assert decide(chunks(values), 4, pool).effort == EFFORTS[-1]


def test_small_files_try_everything_and_large_ones_do_not(monkeypatch):
    asked = []
    for name in ("smallest", "sampled"):
        real = getattr(compression, name)
        monkeypatch.setattr(formats.writer, name, lambda *a, real=real, name=name: (asked.append(name), real(*a))[1])
    images(normal(8600 * 30).reshape(8600, 1, 6, 5))
    assert asked == ["smallest", "smallest"]
    images(normal(8800 * 30).reshape(8800, 1, 6, 5))  # just over a megabyte
    assert asked == ["smallest", "smallest", "sampled", "sampled"]


def test_the_number_of_threads_does_not_matter():
    values = VALUES["learned images"]()
    found = []
    for threads in (1, 5):
        with ThreadPoolExecutor(threads) as pool:
            found.append(sampled(chunks(values), 4, pool, Work("save", 2)))
    assert found[0] == found[1]


def test_an_interruption_cancels_what_has_not_begun(monkeypatch):
    begun, go = [], threading.Event()

    def encode(self, data, expected=None):
        begun.append(data)
        if len(begun) == 1:
            raise KeyboardInterrupt
        go.wait(10)
        return b""

    monkeypatch.setattr(Pipeline, "encode", encode)
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            smallest([bytes(100)] * 50, 4, pool, Work("save", 50))
        go.set()
    assert len(begun) <= 2  # one may have begun before the others were cancelled


def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(monkeypatch, tmp_path):
    made, part, tensors = part_of("images")
    formats.write(tmp_path / "x.dpk", made, [part], tensors)
    before = (tmp_path / "x.dpk").read_bytes()

    def interrupted(self, data, expected=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipeline, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        formats.write(tmp_path / "x.dpk", made, [part], tensors, "int8")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x.dpk", before)]
