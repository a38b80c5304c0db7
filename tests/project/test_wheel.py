"""What is built: from a whole checkout all files, from half of one nothing; and what type checkers elsewhere see."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT

HERE = Path(__file__).parent


@pytest.fixture
def checkout(tmp_path):
    """A copy of what a build reads: builds leave files behind, and parallel test workers would collide."""
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "dsetpack", tmp_path / "dsetpack", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def build(folder, *options):
    command = [sys.executable, "-m", "build", "--no-isolation", *options, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_wheel_holds_the_files_it_always_held_moved_or_added_by_name(checkout):
    """Every new file in ``dsetpack/`` is named in wheel_moves.toml, so that none is added or lost by accident."""
    done = build(checkout, "--wheel")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    names = zipfile.ZipFile(next((checkout / "dist").glob("*.whl"))).namelist()
    files = {name for name in names if ".dist-info/" not in name}
    before = (HERE / "wheel_before.txt").read_text().split()
    moves = tomllib.loads((HERE / "wheel_moves.toml").read_text())
    assert len(before) == 538
    assert {*moves["moved"], *moves["merged"]} <= set(before)
    kept = {_moved(name, moves) for name in before if name not in moves["merged"]}
    assert not kept & set(moves["added"]["files"])
    assert files == kept | set(moves["added"]["files"])
    assert set(moves["merged"].values()) <= files


def _moved(name, moves):
    """Where a file of the first wheel is: moved itself, or with its folder."""
    for old, new in moves["folders"].items():
        if name.startswith(f"{old}/"):
            return new + name.removeprefix(old)
    return moves["moved"].get(name, name)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["formats", "trainers", "formats/encodings", "recipes"])
def test_half_a_checkout_is_not_built(checkout, folder):
    shutil.rmtree(checkout / "dsetpack" / folder)
    (checkout / "dsetpack" / folder).write_text(f"../{folder}")  # what git makes of a link if the system has no links
    for option in ("--sdist", "--wheel"):
        done = build(checkout, option)
        assert done.returncode != 0
        told = [line for line in (done.stdout + done.stderr).splitlines() if "cannot be built" in line]
        [line] = told
        assert line.startswith(f"dsetpack cannot be built: no code in dsetpack/{folder}")
        assert line.endswith("; get a whole checkout, or the wheel")
    assert not (checkout / "dist").exists() or not list((checkout / "dist").iterdir())


def test_every_folder_is_asked_for():
    tree = ast.parse((ROOT / "setup.py").read_text())
    [folders] = [
        ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "FOLDERS"
    ]
    package = ROOT / "dsetpack"
    held = {path.parent for path in package.rglob("*.*") if path.is_file() and "__pycache__" not in path.parts}
    assert list(folders) == sorted(str(folder.relative_to(package)) for folder in held - {package})


@pytest.mark.slow
def test_type_checkers_in_other_projects_see_an_editable_install(tmp_path):
    """The install is a plain path in site-packages, which mypy follows and which holds ``py.typed``."""
    (tmp_path / "use.py").write_text(
        "from dsetpack.formats import Reader\n"
        "with Reader('x.dpk') as reader:\n"
        "    right: str = reader.digest\n"
        "    wrong: int = reader.digest\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", sys.executable, "use.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[0].startswith("use.py:4: error: Incompatible types in assignment"), done.stdout
    assert "Found 1 error in 1 file" in done.stdout
