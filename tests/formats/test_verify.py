"""``verify`` checks in its own process, from any folder, and leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from dsetpack import formats
from dsetpack.formats import IntegrityError
from tests.support.attacks.attack_views import linked, viewed
from tests.support.format_packs import images


def test_verify_says_where_h5py_is_missing(tmp_path):
    path = tmp_path / "x.dpk"
    path.write_bytes(images())
    blocker = tmp_path / "sitecustomize.py"
    blocker.write_text("import sys; sys.modules['h5py'] = None")
    code = (
        "from dsetpack import formats; import sys\n"
        "formats.verify(sys.argv[1], hdf5=False)\n"
        "try: formats.verify(sys.argv[1])\n"
        "except formats.DsetpackError as error: print(error)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False, env=environment
    )
    assert "checking the HDF5 view needs h5py; install it or pass hdf5=False" in done.stdout, done.stderr


def test_verify_runs_from_any_folder(tmp_path, monkeypatch):
    """The child process imports no modules from the working directory."""
    (tmp_path / "h5py.py").write_text("raise SystemExit(0)")
    (tmp_path / "json.py").write_text("raise SystemExit(0)")
    monkeypatch.chdir(tmp_path)
    data = viewed(labels=linked(h5py.SoftLink("/sources"))).file()
    with pytest.raises(IntegrityError, match="SoftLink"):
        formats.verify(data)
    formats.verify(images())


def test_limits_reach_the_view():
    with pytest.raises(formats.LimitError):
        formats.verify(images(), limits=formats.Limits(total=100))
    formats.verify(images(), limits=formats.Limits(total=2**40, manifest=2000))


def test_temporary_copies_are_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    formats.verify(images())
    assert list(Path(tmp_path).iterdir()) == []
