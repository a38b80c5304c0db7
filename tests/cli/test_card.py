"""``dsetpack card``: what it prints, writes and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from click.testing import CliRunner

from dsetpack.cli import main
from tests.support.card_cases import KFS
from tests.support.make_cards import FOLDER


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["card", *map(str, arguments)])


def test_command(tmp_path):
    printed = run(KFS)
    assert (printed.exit_code, printed.output) == (0, (FOLDER / "fashion-kfs.md").read_text(encoding="utf-8"))
    out = tmp_path / "x.json"
    done = run(KFS, "--croissant", "-o", out, "--url", "https://example.org/x", "--date", "2026-11-21")
    assert done.exit_code == 0, done.output
    written, golden = (json.loads(p.read_text(encoding="utf-8")) for p in (out, FOLDER / "fashion-kfs.json"))
    assert written.pop("url") == "https://example.org/x"
    assert golden.pop("url") == "./"
    cited = golden.pop("citeAs").replace("dsetpack digest", "https://example.org/x, dsetpack digest")
    assert written.pop("citeAs") == cited
    assert written == golden


def test_bad_input(tmp_path):
    damaged = bytearray(KFS.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged.dpk").write_bytes(damaged)
    for arguments, said in (
        ((tmp_path / "damaged.dpk", "-o", tmp_path / "card.md"), "damaged.dpk: "),
        ((tmp_path / "none.dpk",), "none.dpk: No such file"),
        ((KFS, "-o", tmp_path / "no" / "card.md"), "card.md: cannot be written: its folder does not exist"),
    ):
        failed = run(*arguments)
        assert failed.exit_code == 1
        assert said in failed.output
    assert run(KFS, "--url", "https://example.org").exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.dpk"]


def test_torch_is_not_imported():
    code = f"""
import sys
from click.testing import CliRunner
from dsetpack.cli import main
for more in ([], ["--croissant"]):
    done = CliRunner().invoke(main, ["card", {str(KFS)!r}, *more])
    assert done.exit_code == 0, done.output
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
