"""What the formats floor needs to run, and what it never loads."""

import subprocess
import sys

import pytest

from dsetpack import formats
from tests.support.format_packs import images, part_of


def run(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_formats_never_import_torch(tmp_path):
    (tmp_path / "x.dpk").write_bytes(images())
    run(
        "import sys, pkgutil, importlib, dsetpack.formats as formats\n"
        "for module in pkgutil.walk_packages(formats.__path__, 'dsetpack.formats.'):\n"
        "    importlib.import_module(module.name)\n"
        "formats.verify(sys.argv[1])\n"
        "assert 'torch' not in sys.modules",
        str(tmp_path / "x.dpk"),
    )


def test_importing_formats_imports_no_library_for_some_uses_only():
    run("import sys, dsetpack.formats; assert not {'h5py', 'fsspec', 'cryptography'} & set(sys.modules)")


BLOCKER = (
    "import sys\n"
    "class Blocker:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.split('.')[0] == 'h5py': raise ImportError(f'{name} is blocked')\n"
    "sys.meta_path.insert(0, Blocker())\n"
    "try: import h5py\n"
    "except ImportError: pass\n"
    "else: raise AssertionError\n"
)


@pytest.mark.parametrize("preset", ["exact", "int8"])
def test_reading_decoding_and_verifying_need_no_h5py(preset, tmp_path):
    card, part, tensors = part_of("kfs")
    path = tmp_path / "x.dpk"
    path.write_bytes(formats.encode(card, [part], tensors, preset))
    found = run(
        BLOCKER + "import dsetpack\n"
        "dsetpack.verify(sys.argv[1], hdf5=False)\n"
        "pack = dsetpack.open(sys.argv[1], verify='all')\n"
        "x, y = pack.decode([0, 3, len(pack) - 1])\n"
        "assert x.shape == (3, 1, 12, 12), x.shape\n"
        "assert 'h5py' not in sys.modules\n"
        "print(len(pack))",
        str(path),
    )
    assert found == "15\n"
