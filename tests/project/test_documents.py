"""Every code block of README.md and docs/ runs as written; the pages name commands, options and files that exist."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from dsetpack.cli import main
from dsetpack.formats import encodings, kinds
from tests.support.document_runner import PAGES, blocks, commands, run_page
from tests.support.paths import DOCS, KFS, ROOT

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("name", NAMES)
def test_code_runs(name, tmp_path, monkeypatch):
    page = ROOT / name
    if not blocks(page):
        pytest.skip("no code")
    text = page.read_text(encoding="utf-8")
    if not re.search(r"dsetpack (push|pull)\b|hf://", text):
        run_page(page, _made(tmp_path / "here"), monkeypatch)
        return
    pytest.importorskip("huggingface_hub")
    from tests.support.hub_stand_in import pointed_at, serving

    with serving() as hub, pointed_at(hub, tmp_path / "hf", monkeypatch):
        run_page(page, _made(tmp_path / "here"), monkeypatch)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_options_in_the_text_exist(name):
    """This includes prose, where ``dsetpack NAME`` is a command."""
    text = (ROOT / name).read_text(encoding="utf-8")
    known = set(main.list_commands(None))
    assert set(re.findall(r"`dsetpack ([a-z]+)", text)) <= known
    for block in blocks(ROOT / name):
        if block.kind == "sh":
            assert {command[0] for command in commands(block.code)} <= known


def test_a_page_that_is_wrong_fails(tmp_path, monkeypatch):
    """The runner itself notices each kind of wrong block."""
    wrong = {
        "```python\nimport dsetpack\ndsetpack.nothing\n```\n": AttributeError,
        "```sh\ndsetpack info none.dpk\n```\n": AssertionError,
        "```sh\npip install x && dsetpack unknown x  # y\n```\n": AssertionError,
        "```sh\ndsetpack distill --recipe x --root DATA --no-such-option\n```\n": Exception,
        "```python\nx = 1\n```\n\n```python\nprint(x)\n```\n": NameError,
        "```python\n# dsetpack/formats/kinds/kfs.py\n```\n": AssertionError,
        "{0}```python\n1 / 0\n```\n{0}".format("<!-- not run: a -->\n```python\n```\n"): ZeroDivisionError,
    }
    for number, (text, error) in enumerate(wrong.items()):
        page = tmp_path / f"{number}.md"
        page.write_text(text)
        with pytest.raises(error):
            run_page(page, _made(tmp_path / str(number)), monkeypatch)
    right = tmp_path / "right.md"
    right.write_text(
        "```text\nnot code\n```\n\n<!-- not run: needs a GPU -->\n```python\n1 / 0\n```\n\n```\n$ x\n```\n"
    )
    run_page(right, _made(tmp_path / "right"), monkeypatch)


def test_what_a_page_adds_to_the_package_leaves_with_it(tmp_path, monkeypatch):
    before = kinds.kind_names(), encodings.encoding_names()
    page = tmp_path / "x.md"
    page.write_text(
        "```python\n# dsetpack/formats/kinds/mine.py\n"
        "from dsetpack.formats.kinds.images import ImagesConfig\nCONFIG = ImagesConfig\n```\n"
        "```python\nfrom dsetpack.formats.kinds import kind_names\nassert 'mine' in kind_names()\n```\n"
    )
    run_page(page, _made(tmp_path / "here"), monkeypatch)
    assert (kinds.kind_names(), encodings.encoding_names()) == before
    assert "dsetpack.formats.kinds.mine" not in sys.modules


def test_the_site_has_every_page():
    """``mkdocs.yml`` lists each page once; the build itself, with all links, is in .ci/integration."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"[\w/-]+\.md", str(yaml.safe_load(settings)["nav"]))
    assert len(set(listed)) == len(listed)
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert set(listed) == pages


def test_every_module_of_the_reference_exists():
    for page in (DOCS / "api").glob("*.md"):
        for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            path = ROOT.joinpath(*name.split("."))
            assert any(_is_module(p) for p in (path, path.parent)), f"{page.name}: {name}"


def _is_module(path: Path) -> bool:
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_the_pack_of_the_pages_is_the_example():
    done = CliRunner().invoke(main, ["info", str(KFS)])
    assert done.exit_code == 0
    assert "280 = kfs 70 × 4" in done.output
