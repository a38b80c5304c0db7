"""Cards: golden texts, the Hub's vocabulary, text that cannot break out, code that runs, Croissant that tools take."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dsetpack import cards
from dsetpack.cards import text
from dsetpack.cards.croissant import CONTEXT, created
from dsetpack.cards.licenses import SPDX, hub_license, license_url
from dsetpack.cards.markdown import size_category
from dsetpack.cli import main
from dsetpack.formats.card import Card, Metric, Provenance
from tests.support.make_cards import DAY, FOLDER, PACKS, rendered

KFS = PACKS["fashion-kfs"]
# hub-docs, docs/hub/repositories-licenses.md and datasetcard.md; huggingface.js, packages/tasks/src/pipelines.ts
_LISTED = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
openmdw-1.0 openmdw-1.1 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr
deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4
grok2-community gemma unknown other
"""
LICENSES = set(_LISTED.split())
SIZES = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B"]
SIZES += ["1B<n<10B", "10B<n<100B", "100B<n<1T", "n>1T"]
TASKS = {"image-classification": {"multi-class-image-classification", "multi-label-image-classification"}}
FIELDS = {"pretty_name", "license", "license_name", "task_categories", "task_ids", "size_categories", "tags", "viewer"}


def front_matter(card: str) -> dict[str, Any]:
    _, front, _ = card.split("---\n", 2)
    return yaml.safe_load(front)


def with_card(**changes: Any) -> cards.Facts:
    """The facts of the example pack, with another card in it."""
    found = cards.facts(KFS)
    manifest = found.manifest.model_copy(update={"card": found.card.replace(**changes)})
    return dataclasses.replace(found, manifest=manifest)


@pytest.mark.parametrize("name", PACKS)
def test_golden(name):
    for file, content in rendered(name).items():
        assert content == (FOLDER / file).read_text(encoding="utf-8"), f"{file}: see tests/support/make_cards.py"


@pytest.mark.parametrize("name", PACKS)
def test_front_matter_has_the_hubs_values(name):
    found = cards.facts(PACKS[name])
    front = front_matter(cards.markdown(found))
    assert set(front) <= FIELDS
    assert front["pretty_name"] == found.card.title
    assert front["license"] in LICENSES
    assert set(front["task_categories"]) <= set(TASKS)
    assert set(front["task_ids"]) <= TASKS["image-classification"]
    assert front["viewer"] is False
    assert len(front["size_categories"]) == 1
    low, high = 0, 1000
    for size in SIZES:
        if size == front["size_categories"][0]:
            assert low <= found.images < high
        low, high = high, high * 10


@pytest.mark.parametrize(
    ("images", "size"),
    [(0, 0), (999, 0), (1000, 1), (9999, 1), (10**4, 2), (10**9, 7), (10**10, 8), (10**11, 9), (10**12, 10)],
)
def test_size_categories_begin_at_their_lower_end(images, size):
    assert size_category(images) == SIZES[size]


def test_licenses():
    assert set(SPDX) <= LICENSES
    assert hub_license("MIT") == "mit"
    assert hub_license("CC-BY-SA-4.0") == "cc-by-sa-4.0"
    assert hub_license("ODbL-1.0") == "odbl"
    assert hub_license("GPL-3.0-or-later") == hub_license("gpl-3.0-only") == "gpl-3.0"
    assert hub_license("our own") == "other"
    assert hub_license(None) == hub_license("  ") == "unknown"
    assert license_url("mit") == "https://spdx.org/licenses/MIT.html"
    assert license_url("GPL-3.0-or-later") == "https://spdx.org/licenses/GPL-3.0-or-later.html"
    assert license_url("https://example.org/terms") == "https://example.org/terms"
    assert license_url(None) == "unknown"
    front = front_matter(cards.markdown(with_card(license="Our: own #1")))
    assert (front["license"], front["license_name"]) == ("other", "Our: own #1")


def shown(tokens: list[Any]) -> list[str]:
    """The text of each paragraph, heading and cell, as a reader sees it; anything but text is refused."""
    found = []
    for token in tokens:
        assert token.type != "html_block", token.content
        if token.type == "inline":
            assert {child.type for child in token.children} <= {"text", "text_special", "code_inline", "softbreak"}
            found.append("".join(child.content or " " for child in token.children))
    return found


RENDER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


MARKUP = ["<b>x</b>", "<!-- x", "[a](b)", "![a](b)", "**b**", "_b_", "~~b~~", "`b`", "``", "a|b", "&lt;", "- x", "+ x"]
MARKUP += [
    "1. x",
    "# x",
    "> x",
    "=",
    "---",
    "***",
    "\\",
    "x\\",
    "a: b",
    "a\n---\nb",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "'\"",
    "$x$",
]
WORDS = st.lists(st.sampled_from(MARKUP) | st.text(max_size=4), min_size=1, max_size=4)
TEXTS = st.tuples(st.sampled_from(["", " "]), WORDS).map(lambda found: found[0].join(found[1]))


def check_text(first: str, second: str) -> None:
    """Whatever a card's fields hold, a reader sees those characters, and none of them becomes markup or metadata."""
    if not text.line(first) or not text.line(second):
        return
    changed = {"title": first, "description": second, "license": second, "credit": first, "classes": (first,) * 10}
    provenance = Provenance(method=first, dataset=second, settings={first: second, "n": [first, {"k": second}]})
    metric = Metric(value=0.5, arch=first, test_data=second, note=first, protocol=second, name=second)
    card = cards.markdown(with_card(**changed, provenance=provenance, metrics=(metric,)))
    assert front_matter(card)["pretty_name"] == text.line(first)
    _, _, body = card.split("---\n", 2)
    body = body.replace(body.split("\n")[1], "", 1)  # our own mark, a comment
    tokens = RENDER.parse(body)
    seen = shown(tokens)
    headings = [
        seen for seen, token in zip(seen, [t for t in tokens if t.type == "inline"], strict=True) if token.level
    ]
    one, two = (" ".join(text.line(t).split()) for t in (first, second))
    assert headings[0] == one
    assert headings[1] == two
    assert seen.count(one) >= 4  # title, credit, method, note
    assert ", ".join(f"{n} {one}" for n in range(10)) in seen


@pytest.mark.parametrize("markup", MARKUP)
def test_markup_in_a_field_stays_text(markup):
    check_text(markup, f"a {markup} z|{markup}")


@settings(deadline=None, max_examples=40)
@given(TEXTS, TEXTS)
def test_text_of_a_file_stays_text(first, second):
    check_text(first, second)


def test_the_mark_is_one_comment_line():
    found = dataclasses.replace(cards.facts(KFS), name='x--> <b>"\n.dpk')
    line = cards.markdown(found).split("---\n", 2)[2].split("\n")[1]
    assert line.startswith("<!-- ")
    assert line.index("-->") == len(line) - 3


@pytest.mark.parametrize("name", PACKS)
def test_code_of_a_card_runs(name, tmp_path, monkeypatch):
    import dsetpack.training.train

    real = dsetpack.training.train.train
    monkeypatch.setattr(dsetpack.training.train, "train", lambda *a, **k: real(*a, **{**k, "steps": 1}))
    monkeypatch.chdir(tmp_path)
    shutil.copy(PACKS[name], tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", cards.markdown(cards.facts(PACKS[name])), re.DOTALL)
    assert len(blocks) == 1
    if name == "kind-kfs":  # its images of 12×13 are too small for the network that its recipe names
        blocks = [blocks[0].split("\n\nfrom dsetpack.trainers")[0]]
    names: dict[str, Any] = {}
    exec(compile(blocks[0], name, "exec"), names)
    card = names["pack"].card
    assert names["x"].shape[1:] == card.shape
    assert tuple(names["y"].shape[1:]) == ((len(card.classes),) if card.labels.kind == "soft" else ())


def test_a_generator_that_does_not_say_how_many_is_opened_with_a_number(tmp_path, monkeypatch):
    from dsetpack.formats import Reader, write

    with Reader(PACKS["kind-generator"]) as reader:
        manifest = reader.manifest
        tensors = {name: reader.tensor(name) for name in manifest.tensors}
    write(tmp_path / "g.dpk", manifest.card.replace(per_class=None), manifest.parts, tensors)
    monkeypatch.chdir(tmp_path)
    card = cards.markdown(cards.facts("g.dpk"))
    assert "as many as `per_class=` asks for" in card
    exec(re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0], {})


def test_a_card_on_the_hub_says_how_to_fetch_it():
    found = cards.facts(KFS)
    assert f"dsetpack pull me/demo {found.name} -o {found.name} --digest {found.digest}" in cards.markdown(
        found, "me/demo"
    )
    assert "dsetpack pull" not in cards.markdown(found)


# Croissant


def test_context_is_that_of_the_specification():
    """Appendix 1 of the specification 1.1, with https: the letter in which its examples and its library differ."""
    appendix = json.loads((FOLDER / "context-1.1.json").read_text(encoding="utf-8"))
    https = {
        k: v.replace("http://schema.org/", "https://schema.org/") if isinstance(v, str) else v
        for k, v in appendix.items()
    }
    assert https == CONTEXT
    assert sum(https[key] != appendix[key] for key in appendix) == 2


@pytest.mark.parametrize("name", PACKS)
def test_croissant_is_valid(name, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    shutil.copy(PACKS[name], tmp_path)
    path = tmp_path / "croissant.json"
    path.write_text((FOLDER / f"{name}.json").read_text(encoding="utf-8"), encoding="utf-8")
    read = mlcroissant.Dataset(jsonld=path)
    issues = read.metadata.ctx.issues
    assert not issues.errors
    assert {re.search(r'Property "([^"]+)"', w)[1].rpartition("/")[2] for w in issues.warnings} <= {"version", "citeAs"}
    card = cards.facts(PACKS[name]).card
    labels = [(row["classes/label"], row["classes/name"]) for row in read.records("classes")]
    assert labels == list(enumerate(card.classes))
    (file,) = read.metadata.file_objects
    data = (tmp_path / file.content_url).read_bytes()
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert file.content_size == f"{len(data)} B"
    fields = {field.id: field for record in read.metadata.record_sets for field in record.fields}
    assert fields["images/image"].array_shape == ",".join(map(str, card.shape))


def test_croissant_has_all_that_the_specification_requires():
    document = json.loads((FOLDER / "fashion-kfs.json").read_text(encoding="utf-8"))
    required = {"@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished"}
    assert required <= set(document)
    assert document["datePublished"] == DAY.isoformat()
    assert document["license"] == "https://spdx.org/licenses/MIT.html"
    assert document["creator"]["name"] == "from Fashion-MNIST, Copyright 2017 Zalando SE"
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.1"


@pytest.mark.parametrize("name", [name for name in PACKS if name not in ("kind-generator", "parts-shared-bank")])
def test_croissant_names_data_sets_that_hdf5_tools_find(name):
    import h5py

    document = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found = cards.facts(PACKS[name])
    stored = [record for record in document["recordSet"] if record["@id"] == "part0"]
    assert len(stored) == 1
    with h5py.File(PACKS[name]) as file:
        for field in stored[0]["field"]:
            data = file[field["source"]["extract"]["column"]]
            if "arrayShape" in field:
                assert data.shape == (found.parts[0].sources, *map(int, field["arrayShape"].split(",")))


def test_the_day_comes_from_the_card():
    card = Card(title="x", classes=("a",), shape=(1, 1, 1), provenance=Provenance(created="2025-03-04T05:06:07Z"))
    assert created(card).isoformat() == "2025-03-04"
    assert created(card.replace(provenance=Provenance(created="last spring"))) is None
    made = with_card(provenance=Provenance(created="2025-03-04"))
    assert cards.croissant(made)["datePublished"] == "2025-03-04"


# The command


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
