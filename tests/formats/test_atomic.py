"""A save is all or nothing: kills, failures at every call, leftovers, two writers at once."""

import contextlib
import errno
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import atomic
from dsetpack.formats.atomic import SUFFIX, check_writable, write_atomically
from tests.support.format_packs import card

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX")


def write(path, value=1.0):
    part = formats.PartEntry(kind="images", sources=3, tensors={"sources": "sources", "labels": "labels"})
    tensors = {"sources": np.full((3, 1, 6, 5), value, np.float32), "labels": np.arange(3, dtype=np.uint8)}
    return formats.write(path, card(), [part], tensors)


def temporaries(folder):
    return [p for p in folder.iterdir() if p.name.endswith(SUFFIX)]


def test_write_returns_the_size_and_leaves_one_file(tmp_path):
    size = write(tmp_path / "x.dpk")
    assert size == (tmp_path / "x.dpk").stat().st_size
    assert [p.name for p in tmp_path.iterdir()] == ["x.dpk"]
    formats.verify(tmp_path / "x.dpk", hdf5=False)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("save", ["pack", "file"])
def test_killed_at_any_instant(save, tmp_path):
    from benchmarks.measure import kill

    found = kill.kill_test(kill.SAVES[save], 12, tmp_path)
    assert found["kills"] == 12
    assert found["broken"] == 0
    assert found["files_after_the_next_save"] == ["x.dpk"]


class Failing:
    """A stand-in for ``os`` that fails at the n-th call that changes something, before or after the change."""

    CALLS = ("open", "write", "fsync", "replace", "close")

    def __init__(self, fail_at, after):
        self.fail_at, self.after, self.calls = fail_at, after, []

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in self.CALLS:
            return real

        def call(*arguments):
            self.calls.append(name)
            fails = len(self.calls) == self.fail_at
            if fails and not self.after:
                if name == "close":
                    real(*arguments)
                raise OSError(errno.ENOSPC, f"no room for {name}")
            result = real(*arguments)
            if fails:
                if name == "open":
                    os.close(result)
                raise OSError(errno.EIO, f"broke after {name}")
            return result

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_failure_at_every_call_leaves_a_whole_file(after, tmp_path, monkeypatch):
    path = tmp_path / "x.dpk"
    monkeypatch.setattr(atomic, "_PIECE", 10)
    old, new = b"old" * 10, b"new" * 11
    plain = Failing(0, after)
    monkeypatch.setattr(atomic, "os", plain)
    write_atomically(path, old)
    calls = list(plain.calls)
    assert calls.count("write") == 3
    assert [c for c in calls if c != "write"][:4] == ["open", "fsync", "replace", "close"]
    kept, replaced = 0, 0
    for n in range(1, len(calls) + 2):
        path.write_bytes(old)
        failing = Failing(n, after)
        monkeypatch.setattr(atomic, "os", failing)
        with contextlib.suppress(OSError):
            write_atomically(path, new)
            assert path.read_bytes() == new  # the failed call was not part of the replacement
        assert path.read_bytes() in (old, new)
        kept, replaced = kept + (path.read_bytes() == old), replaced + (path.read_bytes() == new)
        left = temporaries(tmp_path)
        assert not left or failing.calls[n - 1] == "open"
        monkeypatch.setattr(atomic, "os", os)
        write_atomically(path, old)
        assert not temporaries(tmp_path)
    assert kept >= 6
    assert replaced >= 2


def test_an_interrupt_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.dpk"
    write(path)
    before = path.read_bytes()

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, 2.0)
    assert path.read_bytes() == before
    assert temporaries(tmp_path) == []


def test_stale_files_go_and_others_stay(tmp_path):
    path = tmp_path / "a[1]*.dpk"
    stale = [tmp_path / f".a[1]*.dpk.{n:016x}{SUFFIX}" for n in range(3)]
    others = [
        tmp_path / f".b.dpk.{0:016x}{SUFFIX}",
        tmp_path / f".a1x.dpk.{0:016x}{SUFFIX}",
        tmp_path / f"a[1]*.dpk.{0:016x}{SUFFIX}",
        tmp_path / ".a[1]*.dpk.txt",
    ]
    for file in stale + others:
        file.write_bytes(b"left")
    write(path)
    assert not any(file.exists() for file in stale)
    assert all(file.exists() for file in others)


@posix
def test_a_live_writers_file_stays(tmp_path):
    """Another process is in the middle of writing the same path."""
    path = tmp_path / "x.dpk"
    code = (
        "import os, sys; from pathlib import Path; from dsetpack.formats import atomic\n"
        "real = os.fsync\n"
        "def slow(handle):\n"
        "    print('writing', flush=True); sys.stdin.readline(); real(handle)\n"
        "os.fsync = slow\n"
        "atomic.write_atomically(Path(sys.argv[1]), b'theirs')\n"
        "print('done', flush=True)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "writing\n"
    (held,) = temporaries(tmp_path)
    write_atomically(path, b"mine")
    assert temporaries(tmp_path) == [held]
    assert path.read_bytes() == b"mine"
    output, _ = child.communicate("\n\n\n")
    assert output.endswith("done\n")
    assert path.read_bytes() == b"theirs"
    assert temporaries(tmp_path) == []


@posix
def test_two_writers_at_once_both_succeed(tmp_path):
    """Each may take the other's new file for a stale one in the instant before it is locked."""
    path, stop, failures = tmp_path / "x.dpk", time.monotonic() + 1.0, []
    values = [bytes([n]) * 1000 for n in range(4)]

    def save(value):
        try:
            while time.monotonic() < stop:
                write_atomically(path, value)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=save, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert not path.exists() or path.read_bytes() in values
    for thread in threads:
        thread.join()
    assert failures == []
    assert temporaries(tmp_path) == []


@posix
def test_a_file_taken_for_stale_before_its_lock_is_made_again(tmp_path, monkeypatch):
    path, real, stolen = tmp_path / "x.dpk", atomic._lock, []

    def steal(handle, *, wait):
        if wait and not stolen:
            (taken,) = temporaries(tmp_path)
            taken.unlink()
            stolen.append(taken)
        return real(handle, wait=wait)

    monkeypatch.setattr(atomic, "_lock", steal)
    write_atomically(path, b"data")
    assert stolen
    assert path.read_bytes() == b"data"
    assert temporaries(tmp_path) == []


@posix
def test_links_and_permissions_are_kept(tmp_path):
    target, link = tmp_path / "real.dpk", tmp_path / "link.dpk"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    mask = os.umask(0o027)
    try:
        write_atomically(tmp_path / "fresh.dpk", b"x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "fresh.dpk").stat().st_mode) == 0o640


@posix
def test_a_private_file_is_private_while_it_is_written(tmp_path, monkeypatch):
    path, modes, real = tmp_path / "x.dpk", [], os.write
    path.write_bytes(b"old")
    path.chmod(0o600)
    monkeypatch.setattr(os, "write", lambda h, data: modes.append(stat.S_IMODE(os.fstat(h).st_mode)) or real(h, data))
    write_atomically(path, b"new")
    assert modes == [0o600]
    path.chmod(0o440)
    write_atomically(path, b"newer")
    assert modes[1] & 0o037 == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o440


@posix
def test_pipes_and_links_among_the_leftovers_stay(tmp_path):
    path, pipe, link = tmp_path / "x.dpk", tmp_path / f".x.dpk.1{SUFFIX}", tmp_path / f".x.dpk.2{SUFFIX}"
    os.mkfifo(pipe)
    (tmp_path / "target").write_bytes(b"kept")
    link.symlink_to(tmp_path / "target")
    code = "import sys; from dsetpack.formats.atomic import write_atomically; write_atomically(sys.argv[1], b'new')"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)
    assert path.read_bytes() == b"new"
    assert pipe.is_fifo()
    assert link.is_symlink()


@pytest.mark.parametrize("action", [write, check_writable])
def test_places_that_cannot_be_written(action, tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        action(tmp_path)
    assert caught.value.filename == str(tmp_path)
    with pytest.raises(FileNotFoundError, match="its folder does not exist: .*nowhere.x.dpk'$"):
        action(tmp_path / "nowhere" / "x.dpk")
    for url in ("s3://bucket/x.dpk", Path("s3://bucket/x.dpk"), "https://example.org/x.dpk"):
        with pytest.raises(formats.DsetpackError, match="example|bucket/x.dpk: files are written to local paths"):
            action(url)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="it is not a regular file"):
            action(tmp_path / "pipe")
    assert Path(os.devnull).exists()
    if os.name == "posix":
        with pytest.raises(OSError, match="it is not a regular file"):
            action(os.devnull)
        assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("action", [write, check_writable])
def test_errors_name_the_path_and_not_the_temporary_file(action, tmp_path, monkeypatch):
    """The refusal is simulated because root may write anywhere."""
    path, real = tmp_path / "x.dpk", os.open

    def refuse(name, flags, mode=0o777):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", str(name))
        return real(name, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError) as caught:
        action(path)
    assert caught.value.filename == str(path)
    assert SUFFIX not in str(caught.value)


def test_checking_changes_nothing(tmp_path):
    check_writable(tmp_path / "new.dpk")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "x.dpk")
    before = (tmp_path / "x.dpk").stat()
    check_writable(tmp_path / "x.dpk")
    assert (tmp_path / "x.dpk").stat() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_long_names(tmp_path):
    path = tmp_path / ("n" * 250 + ".dpk")
    write(path)
    write(path, 2.0)
    formats.verify(path, hdf5=False)
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_is_written_where_the_pack_is_wrong(tmp_path):
    path = tmp_path / "x.dpk"
    write(path)
    before = path.read_bytes()
    with pytest.raises(formats.FormatError):
        formats.write(path, card(), [], {})
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
