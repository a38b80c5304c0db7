"""``dsetpack verify``: "sound" and status 0, or the reason and status 1."""

from __future__ import annotations

from tests.support.command_line import run
from tests.support.paths import SAMPLE


def test_verify_is_silent_status_zero_or_one(tmp_path):
    assert run("verify", SAMPLE) == f"{SAMPLE}: sound, not signed\n"
    damaged = bytearray(SAMPLE.read_bytes())
    damaged[5000] ^= 1
    path = tmp_path / "damaged.dpk"
    path.write_bytes(damaged)
    assert "digest" in run("verify", path, "--no-hdf5", expect=1)
    assert "No such file" in run("verify", tmp_path / "none.dpk", expect=1)
    assert "directory" in run("info", tmp_path, expect=1)
