"""Sizes of files and archives, before they are read."""

import zipfile

import pytest

from dsetpack.files.limited import check_size, open_zip
from dsetpack.formats.errors import FormatError, LimitError
from dsetpack.formats.limits import Limits


def test_files(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(10))
    check_size(path, Limits(total=10))
    with pytest.raises(LimitError, match="10 bytes; at most 9 are read"):
        check_size(path, Limits(total=9))
    for none in (tmp_path / "gone", tmp_path):
        with pytest.raises(FormatError, match="no such file"):
            check_size(none, Limits())


def test_archives(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(5000))
        archive.writestr("b", bytes(5000))
    with open_zip(path, Limits()) as archive:
        assert archive.namelist() == ["a", "b"]
    with pytest.raises(LimitError, match="that declare 10,000 unpacked"):
        open_zip(path, Limits(total=9999))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FormatError, match="not a whole zip archive"):
        open_zip(path, Limits())
