"""The package as people get it: what imports pull in, and what wheel and sdist hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from tests.support.paths import ROOT, SAMPLE

NOT_SOURCE = (".*", "__pycache__", "*.egg-info", "build", "dist", "node_modules", "out", "runs", "venv")
FOLDERS = ("dsetpack", "dsetpack/formats", "dsetpack/trainers")


def run(code: str, **env: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import dsetpack; dsetpack.Card; dsetpack.FormatError; dsetpack.verify",
        "import dsetpack.formats",
        "import dsetpack.cli",
        "from click.testing import CliRunner; from dsetpack.cli import main;"
        "r = CliRunner().invoke(main, ['info', SAMPLE]); assert r.exit_code == 0, r.output",
        "from click.testing import CliRunner; from dsetpack.cli import main;"
        "r = CliRunner().invoke(main, ['verify', SAMPLE]); assert r.exit_code == 0, r.output",
        "from click.testing import CliRunner; from dsetpack.cli import main;"
        "r = CliRunner().invoke(main, ['--help']); assert r.exit_code == 0 and 'distill' in r.output, r.output",
    ],
)
def test_light_imports_never_import_torch(code):
    run(f"SAMPLE = {str(SAMPLE)!r}\n{code}\nimport sys; assert 'torch' not in sys.modules")


def test_every_public_name_resolves():
    run("import dsetpack; [getattr(dsetpack, name) for name in dsetpack.__all__]")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and sdist, built from a copy so that no other build meets this one's files."""
    out, copy = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("copy") / "dsetpack"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


@pytest.mark.slow
def test_wheel_and_sdist_hold_real_folders(built):
    wheel = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        members = archive.getmembers()
    assert not [m.name for m in members if m.issym() or m.islnk()]
    sdist = [m.name.split("/", 1)[1] for m in members if "/" in m.name]
    here = [
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".dpk", ".md", ".json", ".toml", ".typed")
    ]
    assert len(here) > 60
    for listing in (wheel, sdist):
        assert not set(here) - set(listing)
    assert not [name for name in wheel if name.startswith(("formats/", "trainers/", "tests/"))]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_imports_from_what_was_built(built, tmp_path, kind):
    archive, site = next(built.glob(kind)), tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site)]
    done = subprocess.run([*command, str(archive)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    code = (
        "import sys; sys.path.insert(0, SITE)\n"
        "import importlib.resources as r\n"
        "import dsetpack, dsetpack.formats.writer, dsetpack.trainers, dsetpack.cli, dsetpack.pack\n"
        "assert dsetpack.__file__.startswith(SITE) and dsetpack.trainers.__file__.startswith(SITE)\n"
        "sample = r.files('dsetpack') / 'data' / 'fashion-sample.dpk'\n"
        "pack = dsetpack.open(sample.read_bytes(), verify='all')\n"
        "assert pack.decode([0, 1])[0].shape == (2, 1, 28, 28)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"SITE = {str(site)!r}\n{code}"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
