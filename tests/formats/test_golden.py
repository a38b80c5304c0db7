"""Golden files: a file that was once written stays readable for ever."""

import json

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats.encodings import encoding_names
from dsetpack.formats.kinds import kind_names
from tests.support.format_packs import same
from tests.support.paths import GOLDEN

FILES = sorted(GOLDEN.glob("v*/*.dpk"))
from tests.support import make_golden


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_reads_the_values_beside_it(path):
    expected = np.load(path.with_suffix(".npz"), allow_pickle=False)
    formats.verify(path, hdf5=False)
    with formats.Reader(path) as reader:
        tensors = {f"tensor:{name}" for name in reader.manifest.tensors}
        assert tensors == {name for name in expected.files if name.startswith("tensor:")}
        for name in reader.manifest.tensors:
            assert same(reader.tensor(name), expected[f"tensor:{name}"])


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_decodes_the_images_beside_it(path):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    import dsetpack

    expected = np.load(path.with_suffix(".npz"), allow_pickle=False)
    pack = dsetpack.open(path)
    x, y = pack.decode(np.arange(len(pack)), seed=3, epoch=1)
    assert np.allclose(x.numpy(), expected["images"], rtol=1e-4, atol=1e-5)
    assert same(y.numpy(), expected["labels"])


def test_the_view_of_one_file_of_each_group():
    for name in ("kind-kfs", "encoding-none", "parts-shared-bank"):
        formats.verify(GOLDEN / "v1.0" / f"{name}.dpk")


@pytest.mark.parametrize("name", make_golden.RECIPES)
def test_written_again_it_is_the_same(name):
    """The same versions of zstd and HDF5 give the same bytes; all versions give the same values."""
    data, path = make_golden.RECIPES[name](), GOLDEN / "v1.0" / f"{name}.dpk"
    written_by = json.loads((GOLDEN / "v1.0" / "versions.json").read_text())[name]
    old, new = formats.Reader(path), formats.Reader(data)
    assert new.manifest.card == old.manifest.card
    assert new.manifest.parts == old.manifest.parts
    assert {n: (t.dtype, t.shape) for n, t in new.manifest.tensors.items()} == {
        n: (t.dtype, t.shape) for n, t in old.manifest.tensors.items()
    }
    for tensor in old.manifest.tensors:
        assert same(new.tensor(tensor), old.tensor(tensor))
    if make_golden.versions() == written_by:
        assert data == path.read_bytes()
        assert new.manifest.content_digest == old.manifest.content_digest


def test_there_is_a_file_for_everything():
    kinds, encodings = set(), set()
    for path in FILES:
        manifest = formats.Reader(path).manifest
        kinds |= {part.kind for part in manifest.parts}
        encodings |= {e.name for t in manifest.tensors.values() for e in t.encodings}
        encodings |= {e.name for d in manifest.datasets.values() for e in d.encodings}
    assert kinds == set(kind_names())
    assert encodings == set(encoding_names())
    assert {path.stem for path in FILES if path.parent.name == "v1.0"} >= set(make_golden.RECIPES)
