"""What may be written: nothing that is read, and no file of another kind."""

from __future__ import annotations

import os

import pytest

from dsetpack.formats.errors import FormatError
from dsetpack.formats.outputs import PACK, check_apart, check_output
from tests.support.paths import KFS


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.npz"
    path.write_bytes(b"a source")
    return path


def test_a_new_file_a_pack_and_an_empty_file_may_be_written(tmp_path, source):
    check_output(tmp_path / "new.dpk", PACK, [source])
    (tmp_path / "empty.dpk").touch()
    check_output(tmp_path / "empty.dpk", PACK, [source])
    (tmp_path / "old.dpk").write_bytes(KFS.read_bytes())
    check_output(tmp_path / "old.dpk", PACK, [source])
    assert (tmp_path / "old.dpk").read_bytes() == KFS.read_bytes()
    assert not (tmp_path / "new.dpk").exists()


def test_another_kind_is_kept_unless_forced(tmp_path, source):
    with pytest.raises(FormatError, match=r"source\.npz: there already, and not a pack: name another file, or pass"):
        check_output(source, PACK)
    check_output(source, PACK, force=True)
    with pytest.raises(FormatError, match="lies in the folder that is read here"):
        check_output(source, PACK, force=True, keep=tmp_path)
    check_output(tmp_path / "new.dpk", PACK, keep=tmp_path)
    with pytest.raises(IsADirectoryError):
        check_output(tmp_path, PACK)


@pytest.mark.parametrize("link", ["none", "symbolic", "hard", "of its folder"])
def test_the_same_file_by_any_name(tmp_path, source, link):
    out = source
    if link == "symbolic":
        out = tmp_path / "link.dpk"
        out.symlink_to(source)
    elif link == "hard":
        out = tmp_path / "link.dpk"
        os.link(source, out)
    elif link == "of its folder":
        (tmp_path / "elsewhere").symlink_to(tmp_path)
        out = tmp_path / "elsewhere" / source.name
    for force in (False, True):
        with pytest.raises(FormatError, match="it is what is read here"):
            check_output(out, PACK, [None, "cifar10", source], force=force)
    assert source.read_bytes() == b"a source"


def test_inside_a_folder_that_is_read(tmp_path, source):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "link").symlink_to(inner)
    for out in (tmp_path / "new.dpk", inner / "new.dpk", tmp_path / "link" / "new.dpk", source):
        with pytest.raises(FormatError, match="it lies in the folder that is read here"):
            check_apart(out, [tmp_path])
    with pytest.raises(FormatError, match="it is what is read here"):
        check_apart(tmp_path, [tmp_path])
    check_apart(tmp_path / "a" / "new.dpk", [inner])
    check_apart(tmp_path / "a-new.dpk", [tmp_path / "a"])
    check_apart(tmp_path / "new.dpk", [tmp_path / "new.dpk", "https://example.org/x.dpk"])
