"""The page of ``dsetpack preview``: its structure, what it shows, and that a card cannot break out of its text."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

import dsetpack
from dsetpack import Pack, Zca
from dsetpack.formats import DsetpackError, Reader
from dsetpack.preview import pictures
from dsetpack.preview.page import page
from tests.support.paths import KFS, SAMPLE
from tests.support.preview_packs import EVIL, evil, generator, large

VOID = {"meta", "link", "input", "img", "br"}
LOADING = ("src", "href", "srcset", "action", "data", "poster", "formaction", "background", "ping", "style")
"""Attributes that load something, or would set styles despite the policy."""


class Page(HTMLParser):
    """Elements with attributes, text, and raw text of scripts and styles; unbalanced tags fail."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.raw, self.open = [], [], {"script": [], "style": []}, []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"an attribute twice in {tag}: {attributes}"
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        tag = self.open[-1] if self.open else ""
        self.raw.get(tag, self.texts).append(data)

    def all(self, tag, **attributes):
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in attributes.items())]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module", params=["kfs", "sample", "evil", "generator", "large"])
def made(request):
    """Each page as its text and as parsed."""
    where = {"kfs": KFS, "sample": SAMPLE, "evil": evil, "generator": generator, "large": large}[request.param]
    text = page(where() if callable(where) else where)
    return text, Page(text)


@pytest.fixture(scope="module")
def kfs():
    return Page(page(KFS))


def pixels(uri):
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"), validate=True)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_the_page_is_whole_and_loads_nothing(made):
    text, parsed = made
    assert text.startswith("<!doctype html>")
    assert len(text.encode()) < 6_500_000
    for tag, attributes in parsed.elements:
        for name in LOADING:
            value = attributes.get(name)
            assert value is None or re.match(r"#[a-z]|data:image/(png|webp);base64,|data:,$", value), (
                f"{tag} {name}={value}"
            )
        assert not [name for name in attributes if name.startswith("on")], f"{tag}: {attributes}"
        assert tag not in ("iframe", "object", "embed", "base", "form", "audio", "video", "template"), tag
    assert "url(" not in "".join(parsed.raw["style"])
    assert "@import" not in "".join(parsed.raw["style"])
    for word in ("fetch", "XMLHttpRequest", "innerHTML", "eval", "import(", "outerHTML", "document.write"):
        assert word not in "".join(parsed.raw["script"])


def test_the_policy_allows_this_style_and_this_script_only(made):
    _, parsed = made
    (policy,) = (m["content"] for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (style,), (script,) = parsed.raw["style"], parsed.raw["script"]
    hashed = {
        name: f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
        for name, inline in (("style-src", style), ("script-src", script))
    }
    assert rules == hashed | {
        "default-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_every_reference_has_its_element_and_every_id_is_there_once(made):
    _, parsed = made
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = {a[key] for _, a in parsed.elements for key in ("aria-labelledby", "for", "aria-controls") if key in a}
    referred |= {a["href"][1:] for a in parsed.all("a")}
    assert referred <= set(ids)
    asked = set(re.findall(r'getElementById\("([^"]+)"\)', "".join(parsed.raw["script"])))
    assert {"large", "large-name", "large-pictures"} <= asked | {"previous", "next", "close"} <= set(ids)


def test_it_is_usable_by_everyone(made):
    _, parsed = made
    assert parsed.all("html", lang="en")
    assert parsed.all("meta", name="viewport", content="width=device-width, initial-scale=1")
    assert len(parsed.all("h1")) == 1
    assert all(image.get("alt") for image in parsed.all("img"))
    assert parsed.all("svg")[0]["role"] == "img"
    assert parsed.all("svg")[0]["aria-label"].startswith("Of ")
    assert all(a.get("scope") in ("col", "row") for a in parsed.all("th"))
    for attributes in parsed.all("div", role="region"):
        assert attributes["tabindex"] == "0"
        assert attributes.get("aria-label") or attributes.get("aria-labelledby")
    groups = [a["name"] for a in parsed.all("input", type="radio")]
    checked = [a["name"] for a in parsed.all("input", type="radio") if "checked" in a]
    assert sorted(set(groups)) == sorted(checked)
    assert all(a["aria-label"] for a in parsed.all("input"))


def test_a_card_is_text_whatever_it_says():
    text = page(evil())
    parsed = Page(text)
    assert len(parsed.all("script")) == len(parsed.all("style")) == 1
    assert len(parsed.all("img")) == sum("<img" in piece for piece in re.split(r"(?=<figure)", text)[1:])
    assert not [a for a in parsed.all("img") if not a["src"].startswith("data:image/png;base64,")]
    assert "".join(parsed.raw["script"]).count("hacked") == 0
    for place in ("\u202e", "\x1b"):
        assert place not in text
    assert "\\u202esecond\\x1b[31m paragraph" in parsed.text
    title, names = " ".join(EVIL.split()), {" ".join(f"{EVIL}{n}".split()) for n in range(3)}
    assert parsed.text.count(title) > 20  # title, heading, license, credit, method, results, classes, ...
    assert all(name in parsed.text for name in names)
    assert parsed.all("option") != []
    assert {a["alt"].rsplit(",", 1)[0] for a in parsed.all("img")} == {f"{EVIL}{n}" for n in range(3)}
    assert "https://example.org/x.js" in parsed.text
    assert "(100 numbers)" in parsed.text


def test_pictures_are_the_decoded_images(kfs):
    """Every picture is compared with decoding, including sources."""
    pack = dsetpack.open(KFS)
    part, found = pack.parts[0], {}
    for image in kfs.all("img"):
        name, source, what = re.fullmatch(r"(.*), source (\d+): (.*)", image["alt"]).groups()
        assert name == pack.card.classes[int(part.labels[int(source)])]
        found[int(source), what] = pixels(image["src"])
    sources = sorted({source for source, _ in found})
    assert sources == list(range(70))
    assert len(found) == 70 * 5
    for source in sources:
        x = pack.space.invert(pack.decode(np.arange(4) + 4 * source)[0]).detach().clamp(0, 1).numpy()
        for number in range(4):
            picture = found[source, f"decoder {number}"]
            assert np.array_equal(picture, np.round(x[number, 0] * 255).astype(np.uint8))
        code = part.sources[source].numpy()
        grey, opaque = found[source, "the code"].transpose(2, 0, 1)
        assert code.shape == (2, 7, 7)
        assert grey.shape == (7, 15)  # two channels and a gap
        expected = np.round((code - code.min()) / (code.max() - code.min()) * 255)
        assert np.abs(np.concatenate([grey[:, :7], grey[:, 8:]]) - expected.reshape(14, 7)).max() <= 1
        assert (opaque == 255).sum() == 98


def test_a_bank_with_lists_shows_each_class_its_own_decoders():
    parsed, pack = Page(page(evil())), dsetpack.open(evil())
    part = pack.parts[1]
    shown = [
        re.fullmatch(r".*, source (\d+): decoder (\d+)", a["alt"], re.DOTALL).groups()
        for a in parsed.all("img")
        if ": decoder" in a["alt"]
    ][7 * 12 : 7 * 12 + 5 * 2]
    first = 7 * 14
    assert len(shown) == 10
    order = sorted(range(5), key=lambda n: (int(part.labels[n]), n))
    expected = [(str(n), str(k)) for n in order for k in part.class_decoders[int(part.labels[n])]]
    assert shown == expected
    uris = [a["src"] for a in parsed.all("img") if ": decoder" in a["alt"]][7 * 12 : 7 * 12 + 5 * 2]
    image = pack.decode([first + order[1] * 2 + 1])[0][0].clamp(0, 1)
    assert np.array_equal(pixels(uris[3]), np.round(image.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    assert "Place in the class's list 1" in [a["aria-label"] for a in parsed.all("input")]


def test_views_of_every_part_have_their_rule():
    parsed = Page(page(evil()))
    (style,) = parsed.raw["style"]
    values = {a["value"] for a in parsed.all("input")}
    assert values == {"all", "source", *map(str, range(12))}
    for view in values - {"all"}:
        assert f".part:has(.show-{view}:checked) .sources figure:not(.is-{view}) {{ display: none; }}" in style


def test_it_says_how_much_it_shows():
    assert "All 70 sources; 4 of 4 decoders; kind kfs" in Page(page(KFS)).text
    few = Page(page(KFS, 3, 2))
    assert "3 of 70 sources; 2 of 4 decoders" in few.text
    assert len(few.all("figure")) == 3 * 3
    assert "All 7 sources; 12 of 14 decoders; kind haba; stage 0" in Page(page(evil())).text
    assert "shrunk" not in Page(page(large())).text
    assert "All 12 draws" in Page(page(generator())).text
    assert "All 18 draws" in Page(page(generator(None))).text  # the card does not say how many


def test_real_images_are_called_real_and_learned_ones_are_not(kfs):
    assert Page(page(SAMPLE)).text.count("real images, selected") == 2
    assert "real images" not in kfs.text


def test_soft_labels_show_the_largest_entry_and_its_weight():
    text = Page(page(large())).text
    assert [f"{name} {weight} image" in text for name, weight in (("a", "0.90"), ("b", "0.75"), ("a", "0.50"))] == [
        True
    ] * 3


def test_large_images_stay_within_the_budget(monkeypatch):
    monkeypatch.setattr(pictures, "EXACT", 3 * 200 * 300 - 1)
    assert "clipped to [0, 1]; stored with loss, as WebP." in Page(page(large())).text
    monkeypatch.setattr(pictures, "LOSSY", 3 * 105 * 157)
    text = page(large())
    assert (
        "All 3 images; kind images; pixels clipped to [0, 1]; shrunk to 157×105 pixels (height × width)"
        in Page(text).text
    )
    assert len(Page(text).all("img")) == 3
    monkeypatch.setattr(pictures, "LOSSY", 2 * 26 * 39)
    text = page(large())
    assert "2 of 3 images" in Page(text).text
    assert len(Page(text).all("img")) == 2
    monkeypatch.setattr(pictures, "EXACT", 1)
    monkeypatch.setattr(pictures, "LOSSY", 1)
    assert len(Page(page(evil())).all("img")) == 3 * 2  # one source of each part, itself and one image


def test_bytes_add_up_to_the_file():
    for where in (KFS, SAMPLE, evil()):
        parsed, size = Page(page(where)), Reader(where).header.file_length
        rows = re.findall(r"([\d,]+) \d+\.\d%", parsed.text.split("Bytes by tensor")[1].split("Measured")[0])
        numbers = [int(number.replace(",", "")) for number in rows]
        assert numbers[-1] == size
        assert sum(numbers[:-1]) == size
        names = parsed.all("rect")
        assert sum(float(a["width"]) for a in names) <= 1000
        assert float(names[-1]["x"]) + float(names[-1]["width"]) <= 1000.01
        assert set(Reader(where).manifest.tensors) <= set(re.findall(r"[\w.]+", parsed.text))


def test_results_and_card_are_there(kfs):
    card = dsetpack.open(KFS).card
    assert f"{card.metrics[0].value:.2%} ± {card.metrics[0].std:.2%}" in kfs.text
    for words in ("convnet3, width 32", str(card.metrics[0].test_digest), dsetpack.open(KFS).digest, card.credit):
        assert words in kfs.text
    assert "The card has no measured result" in Page(page(SAMPLE)).text
    assert "momentum 0.9" in kfs.text


def test_the_same_file_gives_the_same_page(tmp_path):
    shutil.copy(KFS, tmp_path)
    assert page(KFS) == page(tmp_path / KFS.name)
    assert page(KFS) == page(KFS.read_bytes()).replace("FILE.dpk", KFS.name)


def test_it_says_how_to_install_dsetpack_and_to_open_the_pack(kfs, monkeypatch):
    assert "pip install dsetpack" in kfs.text
    code = re.search(r"import dsetpack (pack = \S+\([^)]*\)) (x, y = \S+\([^)]*\))", kfs.text)
    monkeypatch.chdir(KFS.parent)
    names = {"dsetpack": dsetpack}
    exec(f"{code[1]}\n{code[2]}", names)
    assert names["x"].shape == (1, 1, 28, 28)
    assert "per_class=10" in Page(page(generator(None))).text
    assert "per_class" not in Page(page(generator())).text


def plain(counts, side=32, **card):
    """A pack of plain images, of each class so many, in turn as far as there are any."""
    order = sorted((n, label) for label, count in enumerate(counts) for n in range(count))
    images = torch.rand(len(order), 3, side, side, generator=torch.Generator().manual_seed(0))
    names = [f"class {n}" for n in range(len(counts))]
    return Pack.from_arrays(images, [label for _, label in order], classes=names, **card)


def test_plain_images_have_one_row_per_class():
    pack = plain([5, 0, 7, 2])
    parsed = Page(page(pack.to_bytes()))
    assert "All 14 images; kind images" in parsed.text
    assert [f"class {n} {k} images" in parsed.text for n, k in ((0, 5), (2, 7), (3, 2))] == [True] * 3
    assert len(parsed.all("section", **{"class": "row"})) == 3
    shown = [re.fullmatch(r"class (\d), image (\d+)", a["alt"]).groups() for a in parsed.all("img")]
    labels = pack.labels.tolist()
    assert [(int(n), int(k)) for n, k in shown] == sorted((y, k) for k, y in enumerate(labels))
    for (_, k), attributes in zip(shown, parsed.all("img"), strict=True):
        expected = (pack.decode([int(k)])[0][0] * 255).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(pixels(attributes["src"]), expected)
    few = Page(page(pack.to_bytes(), 2, 3))
    assert [a["alt"].split(",")[0] for a in few.all("img")] == ["class 0"] * 3 + ["class 2"] * 3
    assert "6 of 14 images" in few.text


def test_few_images_per_class_are_one_grid_with_names():
    parsed = Page(page(plain([1] * 12).to_bytes()))
    assert parsed.all("section", **{"class": "row"}) == []
    assert len(parsed.all("li", **{"class": "item"})) == 12
    assert "class 11 image 11" in parsed.text


def test_all_images_are_there_however_many():
    text = page(plain([160] * 10).to_bytes("int8"))
    assert "All 1,600 images; kind images; pixels clipped to [0, 1]; stored with loss, as WebP." in text
    assert text.count('<img src="data:image/webp;base64,') == 1600
    assert len(text) < 2_500_000
    assert len(Page(page(plain([4], side=8).to_bytes())).all("nav", **{"class": "pager"})) == 2


@pytest.mark.parametrize(
    ("shape", "tile", "smooth"),
    [((1, 28, 28), 56, ""), ((3, 32, 32), 64, ""), ((3, 64, 64), 64, ""), ((3, 96, 96), 96, " smooth"),
     ((3, 224, 224), 112, " smooth"), ((3, 32, 256), 256, " smooth")],
)  # fmt: skip
def test_tiles_are_whole_multiples_of_small_images_and_shrink_large_ones(shape, tile, smooth):
    parsed = Page(page(Pack.from_arrays(torch.rand(4, *shape), [0] * 4).to_bytes("int8")))
    assert f"#part-0 {{ --tile: {tile}px; }}" in "".join(parsed.raw["style"])
    assert parsed.all("section", id="part-0")[0]["class"] == f"part{smooth}"


def test_empty_and_endless_things(tmp_path):
    pack = Pack.from_arrays(torch.rand(2, 2, 1, 1), [0, 1], title="", extra={"x": "y" * 50_000, "none": {}})
    text = page(pack.to_bytes())
    assert "(50,000 characters)" in text
    Page(text)
    many = Pack.from_arrays(torch.rand(2, 1, 4, 4), [0, 1], classes=[f"class{n}" for n in range(1500)])
    assert "and 500 more" in Page(page(many.to_bytes())).text


def test_a_space_that_must_be_fitted_again_is_an_error_that_says_so():
    raw = torch.randint(0, 256, (40, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    space = Zca.fit(raw, storage="refit")
    pack = Pack.from_arrays(space.apply(raw[:4] / 255), [0, 1, 0, 1], space=space)
    with pytest.raises(DsetpackError, match="raw training images"):
        page(pack.to_bytes())
