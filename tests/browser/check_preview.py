"""The page of ``dsetpack preview`` in headless Chromium: by keyboard, by touch, without scripts, and under attack.

    (cd examples/browser && npm install) && pytest tests/browser/check_preview.py

Needs Chromium (``CHROMIUM`` names it, else ``/usr/bin/chromium``), node, and playwright-core, which
``examples/browser`` installs; ``NODE_FOLDER`` names another folder that has it. ``PREVIEW_PICTURES`` names a folder
that keeps the screenshots.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from dsetpack.preview.page import page
from tests.support.paths import KFS, ROOT, SAMPLE
from tests.support.preview_packs import EVIL, evil, generator, large, plain

PAGES = {"kfs": KFS, "sample": SAMPLE, "evil": evil(), "generator": generator(), "large": large(), "plain": plain()}
NODE = Path(os.environ.get("NODE_FOLDER") or ROOT / "examples" / "browser").absolute()
SCREENS = ("desktop", "dark", "phone")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = Path(os.environ.get("PREVIEW_PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(exist_ok=True, parents=True)
    return folder


@pytest.fixture(scope="module")
def seen(tmp_path_factory, pictures):
    """What Chromium saw."""
    assert (NODE / "node_modules" / "playwright-core").exists(), "first: cd examples/browser && npm install"
    folder = tmp_path_factory.mktemp("pages")
    for name, where in PAGES.items():
        (folder / f"{name}.html").write_text(page(where), encoding="utf-8")
    plan = {"pages": {name: str(folder / f"{name}.html") for name in PAGES}, "pictures": str(pictures)}
    plan["node"] = str(NODE)
    (folder / "plan.json").write_text(json.dumps(plan))
    command = ["node", str(Path(__file__).with_name("drive_preview.mjs")), str(folder / "plan.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=PAGES)
def one(request, seen):
    return seen[request.param]


def test_nothing_is_asked_for_and_nothing_complains(one):
    for visit in (*one["looks"].values(), one["keys"], one["pages"], one["taps"], one["plain"]):
        assert visit["requests"] == []
        assert visit["complaints"] == []
        assert visit["hacked"] is False


def test_every_picture_is_there_and_nothing_is_wider_than_the_screen(one, pictures):
    for screen in SCREENS:
        look = one["looks"][screen]
        assert look["broken"] == 0
        assert look["width"] <= look["screen"], screen
        assert look["small"] == 0
    assert one["looks"]["dark"]["contrast"] != one["looks"]["desktop"]["contrast"]


def test_the_keyboard_reaches_everything_and_the_focus_is_seen(one):
    keys = one["keys"]
    assert min(keys["outlines"]) >= 2
    assert keys["stops"][0] == "skip"
    assert len(keys["stops"]) < 40  # a list of sources is one stop


def test_arrow_keys_walk_the_sources_and_the_large_view(one):
    walk, large_view = one["keys"]["walk"], one["keys"]["large"]
    first, second, third, back, down, up, last, end, home = walk
    assert first == home != second == back
    assert third not in (first, second)
    assert last == end
    assert up == back or down == back  # a grid of one row has no row below
    words = lambda text: text.replace(",", "").split()  # noqa: E731
    assert words(large_view[0]) == words(home)
    assert large_view[1] == large_view[3] != large_view[2]
    assert words(one["keys"]["back"]) == words(large_view[3])


def test_the_switch_shows_one_view_of_each_source(seen):
    for name, sources, most, decoders in (("kfs", 70, 40, 4), ("evil", 7, 7, 12)):
        views = seen[name]["keys"]["views"]
        assert [view["value"] for view in views] == ["all", "source", *map(str, range(decoders))]
        assert all(view["checked"] for view in views)
        assert [view["shown"] for view in views] == [most * (decoders + 1)] + [most] * (decoders + 1)
        assert seen[name]["keys"]["largeFigures"] == decoders + 1
        assert seen[name]["taps"]["shown"] == most
        assert seen[name]["plain"]["all"] == sources * (decoders + 1)
        assert seen[name]["plain"]["one"] == sources
    assert seen["sample"]["keys"]["views"] == []


def test_without_scripts_there_is_nothing_that_does_nothing(one):
    assert one["plain"]["useless"] == 0


def test_every_image_is_on_a_page(seen):
    found = seen["plain"]["pages"]
    assert found["ranges"] == ["1–200 of 450", "201–400 of 450", "401–450 of 450", "1–200 of 450"]
    assert found["images"] == 450
    assert found["focus"]
    assert found["onScreen"]
    first, second, where = found["turned"]
    assert (first, second, where) == ("class 4, image 199", "class 4, image 200", "201–400 of 450")
    assert found["rows"] == 5  # the page begins and ends inside a class
    assert found["width"] <= 375
    assert seen["plain"]["plain"]["all"] == 450
    assert seen["kfs"]["pages"]["ranges"][:2] == ["1–40 of 70", "41–70 of 70"]
    assert seen["kfs"]["pages"]["images"] == 70 * 5
    assert not seen["large"]["pages"]["there"]


def test_the_filter_keeps_one_class(seen):
    filtered = seen["kfs"]["keys"]["filtered"]
    assert filtered["classes"] == ["0"] * 7
    assert filtered["count"] == "7 of 70 shown"
    assert filtered["next"] == "BUTTON"


def test_on_a_phone_the_large_view_fits(one):
    taps = one["taps"]
    assert taps["name"] != taps["next"]
    assert taps["box"]["x"] >= 0
    assert taps["box"]["x"] + taps["box"]["width"] <= 375


def test_an_attacking_title_is_a_title(seen):
    assert seen["evil"]["looks"]["desktop"]["title"] == EVIL


def test_screenshots_are_no_blank_pages(seen, pictures):
    for name in PAGES:
        for screen in SCREENS:
            with Image.open(pictures / f"{name}-{screen}.png") as image:
                assert len(image.convert("RGB").getcolors(1 << 22)) > 50, f"{name}-{screen}"
