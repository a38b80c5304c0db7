"""The packs in examples/packs: sound, measured, and at least one measured again."""

from __future__ import annotations

import os

import pytest

import dsetpack
from dsetpack.trainers.data import load
from dsetpack.trainers.reproduce import reproduce
from tests.support.paths import PACKS as FOLDER

PACKS = sorted(FOLDER.glob("*.dpk"))
needs_data = pytest.mark.skipif("DSETPACK_DATA" not in os.environ, reason="DSETPACK_DATA is not set")


def test_there_are_some():
    kept = {"kfs-ipc1", "idc-ipc1", "isa-ipc1", "kfs-ipc10", "haba-ipc10", "isa-ipc10"}
    assert {f"fashion-{name}" for name in kept} <= {path.stem for path in PACKS}
    assert sum(path.stat().st_size for path in PACKS) < 500_000


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_is_sound_and_says_how_it_was_measured(path):
    dsetpack.verify(path)
    card = dsetpack.open(path).card
    assert card.license
    assert card.credit
    assert card.recipe
    assert any(m.protocol == "own" and m.seeds >= 3 and m.test_digest and m.std for m in card.metrics)


@pytest.mark.slow
@needs_data
@pytest.mark.data
def test_its_accuracy_is_reproduced():
    pack = dsetpack.open(PACKS[0].with_name("fashion-idc-ipc1.dpk"))
    test = load("fashion-mnist", os.environ["DSETPACK_DATA"], "test")
    found = reproduce(pack, test, seeds=[100, 101], show=False)  # other seeds than the card's
    assert found.holds, (found.card.value, found.new.value, found.errors)
