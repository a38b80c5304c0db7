"""The examples in the docstrings of the public verbs run, and print what they say."""

from __future__ import annotations

import doctest
import io
import shutil

import pytest

import dsetpack
from dsetpack.convert import convert
from dsetpack.replay import ReplayMemory
from tests.support.paths import KFS

VERBS = {
    "dsetpack.open": dsetpack.open,
    "dsetpack.Pack.from_arrays": dsetpack.Pack.from_arrays,
    "dsetpack.Pack.decode": dsetpack.Pack.decode,
    "dsetpack.Pack.loader": dsetpack.Pack.loader,
    "dsetpack.Pack.select": dsetpack.Pack.select,
    "dsetpack.Pack.merge": dsetpack.Pack.merge,
    "dsetpack.Pack.save": dsetpack.Pack.save,
    "dsetpack.replay.ReplayMemory.add": ReplayMemory.add,
    "dsetpack.convert.convert": convert,
    "dsetpack.verify": dsetpack.verify,
}


@pytest.mark.parametrize("name", VERBS)
def test_examples_run(name, tmp_path, monkeypatch):
    shutil.copy(KFS, tmp_path / "fashion-kfs.dpk")
    monkeypatch.chdir(tmp_path)
    [found] = doctest.DocTestFinder(recurse=False).find(VERBS[name], name, globs={"dsetpack": dsetpack})
    assert found.examples
    report = io.StringIO()
    result = doctest.DocTestRunner().run(found, out=report.write)
    assert not result.failed, report.getvalue()


@pytest.mark.parametrize("name", VERBS)
def test_the_docs_site_shows_examples_as_code(name):
    """Only a section ``Examples`` becomes code: mkdocstrings takes ``Example`` for a box of text."""
    lines = [line.strip() for line in VERBS[name].__doc__.splitlines()]
    assert "Example:" not in lines
    assert lines.index("Examples:") < next(number for number, line in enumerate(lines) if line.startswith(">>>"))
