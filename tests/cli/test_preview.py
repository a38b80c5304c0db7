"""``dsetpack preview``: a page or a grid in a file."""

from __future__ import annotations

from PIL import Image

from dsetpack.preview.page import page
from tests.support.command_line import run
from tests.support.paths import KFS, SAMPLE
from tests.support.preview_packs import generator


def test_the_command(tmp_path):
    out = tmp_path / "x.html"
    printed = run("preview", KFS, "-o", out, "--rows", "5", "--columns", "3")
    assert out.read_text(encoding="utf-8") == page(KFS, 5, 3)
    assert printed == f"{out}: {out.stat().st_size:,} bytes\n"
    assert ".png or .html" in run("preview", KFS, "-o", tmp_path / "x.pdf", expect=2)
    before = out.read_bytes()
    damaged = bytearray(KFS.read_bytes())
    damaged[-5] ^= 1
    (tmp_path / "bad.dpk").write_bytes(damaged)
    assert "changed" in run("preview", tmp_path / "bad.dpk", "-o", out, expect=1)
    assert "folder does not exist" in run("preview", KFS, "-o", tmp_path / "none" / "x.html", expect=1)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.dpk", "x.html"]
    (tmp_path / "drawn.dpk").write_bytes(generator(None))  # the card does not say how many
    for name in ("drawn.html", "drawn.png"):
        assert name in run("preview", tmp_path / "drawn.dpk", "-o", tmp_path / name)


def test_preview_draws_a_grid(tmp_path):
    out = tmp_path / "grid.png"
    run("preview", SAMPLE, "-o", out, "--rows", "10")
    with Image.open(out) as image:
        assert len(image.getcolors(1 << 20)) > 100
        whole = image.size
    run("preview", SAMPLE, "-o", out, "--rows", "3", "--columns", "2")
    with Image.open(out) as image:
        assert image.height < whole[1]


def test_pictures_are_png_and_say_so(tmp_path):
    for arguments in (["preview", SAMPLE, "-o"], ["demo", "--picture"]):
        assert "ends in .png" in run(*arguments, tmp_path / "grid.jpg", expect=2)
    assert "grid.PNG" in run("preview", SAMPLE, "-o", tmp_path / "grid.PNG", "--rows", "1")
    assert "folder does not exist" in run("preview", SAMPLE, "-o", tmp_path / "none" / "x.png", expect=1)
    assert "folder does not exist" in run("demo", "--out", tmp_path / "none" / "x.dpk", expect=1)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.PNG"]
