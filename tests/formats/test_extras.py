"""What is said when an optional package is missing."""

import sys

import pytest

from dsetpack.formats.errors import DsetpackError
from dsetpack.formats.extras import need, need_package


def test_a_package_that_is_there_is_imported():
    import json.decoder

    assert need("json.decoder", "hub") is json.decoder


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "huggingface_hub.constants", raising=False)  # another test may have imported it
    with pytest.raises(DsetpackError, match=r"needs the package huggingface_hub.*: pip install 'dsetpack\[hub\]'$"):
        need("huggingface_hub.constants", "hub")


def test_a_package_of_no_extra_names_what_to_install():
    with pytest.raises(
        DsetpackError, match="needs the package no_such_package.*: pip install 'no-such-package>=2'"
    ) as e:
        need_package("no_such_package", "no-such-package>=2")
    assert isinstance(e.value.__cause__, ImportError)


def test_a_package_that_breaks_while_it_is_imported_says_why(tmp_path, monkeypatch):
    (tmp_path / "breaks_when_imported.py").write_text("import a_library_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DsetpackError, match=r"breaks_when_imported, .*a_library_that_is_not_there"):
        need("breaks_when_imported", "all")
