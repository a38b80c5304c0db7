"""Markdown cards: the Hub's vocabulary, text that cannot break out, code that runs."""

from __future__ import annotations

import dataclasses
import re
import shutil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dsetpack import cards
from dsetpack.cards import text
from dsetpack.cards.markdown import size_category
from dsetpack.formats.card import Metric, Provenance
from dsetpack.training.train import train
from tests.support.card_cases import KFS, LICENSES, front_matter, with_card
from tests.support.make_cards import PACKS

SIZES = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B"]
SIZES += ["1B<n<10B", "10B<n<100B", "100B<n<1T", "n>1T"]
TASKS = {"image-classification": {"multi-class-image-classification", "multi-label-image-classification"}}
FIELDS = {
    "pretty_name",
    "license",
    "license_name",
    "license_link",
    "task_categories",
    "task_ids",
    "size_categories",
    "tags",
    "viewer",
    "configs",
}


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
    """A reader sees the characters of a card's fields, and none of them becomes markup or metadata."""
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
    monkeypatch.setattr("dsetpack.pack.pack.train", lambda *a, **k: train(*a, **{**k, "steps": 1}))
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
    assert "pip install 'dsetpack[hub]'" in cards.markdown(found, "me/demo")
    assert "dsetpack pull" not in cards.markdown(found)
    assert "```sh\npip install dsetpack\n```" in cards.markdown(found)


def test_datasets_and_the_viewer_are_told_what_to_read():
    found = cards.facts(KFS)
    page = cards.markdown(found, "me/demo", cards.Preview("preview/x.parquet", 100, 5, "ab" * 32))
    front = front_matter(page)
    assert "viewer" not in front
    files = [{"split": "train", "path": "preview/x.parquet"}]
    assert front["configs"] == [{"config_name": "preview", "data_files": files}]
    assert '`datasets.load_dataset("me/demo")` and the Hub\'s viewer read a preview: 100 of 280 images as 8-bit' in page
    whole = cards.markdown(found, "me/demo", cards.Preview("preview/x.parquet", 280, 5, "ab" * 32))
    assert "read a preview: all images as 8-bit PNG" in whole


def test_without_a_preview_the_card_says_what_datasets_can_read():
    said = "`datasets.load_dataset` cannot read a `.dpk` file; `dsetpack unpack {} FOLDER --as hf` writes a table"
    assert said.format(KFS.name) in cards.markdown(cards.facts(KFS))
    assert said.format(KFS.name) in cards.markdown(cards.facts(KFS), "me/demo")
    two_channels = cards.facts(PACKS["kind-images"])
    assert two_channels.card.shape[0] == 2
    assert "load_dataset" not in cards.markdown(two_channels)


def test_a_releases_claims_stand_apart_from_what_was_measured():
    claimed = [
        {"accuracy": 0.92, "std": 0.005, "seeds": 20, "arch": "ConvNet"},
        {"accuracy": 0.5, "seeds": 1, "arch": "<b>"},
    ]
    page = cards.markdown(with_card(metrics=(), extra={"claimed": claimed}))
    measured = page.partition("## Measured")[2].partition("\n## ")[0]
    assert "Nothing: the card has no measured results." in measured
    assert "Claimed by the files of its release, not measured on this pack:" in measured
    assert "- ConvNet: 92.00% ± 0.50% (20 seeds)" in measured
    assert "- \\<b>: 50.00% (1 seed)" in measured
    for odd in ("much", [], [3], [{"accuracy": "<b>"}], {"accuracy": 1}):
        assert "<b>" not in cards.markdown(with_card(extra={"claimed": odd}))
