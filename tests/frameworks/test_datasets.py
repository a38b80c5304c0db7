"""The real ``datasets`` library on what ``push`` commits; `.ci/integration frameworks` runs this."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest

import dsetpack
from dsetpack import hub
from dsetpack.formats.notices import Notice
from tests.support.hub_stand_in import pointed_at, serving
from tests.support.paths import GOLDEN, KFS

datasets = pytest.importorskip("datasets", reason="needs datasets: .ci/integration installs it")
VERIFY = importlib.import_module("dsetpack.formats.verify")  # the package has a function of this name


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """Push a pack to the stand-in, and lay what was committed into a folder, as a clone has it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(VERIFY, "_check_view", lambda *found: None)

    def commit(pack: Path, card: bytes | None = None) -> Path:
        with serving() as server, pointed_at(server, tmp_path / "hf", monkeypatch):
            if card is not None:
                hub.push(pack, "me/demo")
                server.repositories["me/demo"].commit("main", {"README.md": card}, "mine")
            hub.push(pack, "me/demo")
            found = server.repositories["me/demo"]
        for name, data in found.commits[found.branches["main"]].items():
            (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "clone" / name).write_bytes(data)
        return tmp_path / "clone"

    return commit


def load(folder: Path):
    return datasets.load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))


def check_images(found, pack: dsetpack.Pack) -> None:
    images, labels = pack.decode(range(len(pack)))
    raw = pack.space.invert(images).clamp(0, 1).permute(0, 2, 3, 1).squeeze(-1).numpy()
    assert np.array_equal(found["label"], labels.numpy())
    shown = np.stack([np.asarray(picture) for picture in found["image"]])
    assert np.abs(shown / 255 - raw).max() <= 0.501 / 255


def test_load_dataset_reads_the_preview(committed):
    shutil.copy(KFS, "demo.dpk")
    found = load(committed(Path("demo.dpk")))
    assert set(found) == {"train"}
    assert found["train"].features["label"].names == list(dsetpack.open("demo.dpk").card.classes)
    check_images(found["train"], dsetpack.open("demo.dpk"))


@pytest.mark.parametrize("name", ["kind-haba", "parts-shared-bank", "kind-generator"])
def test_load_dataset_reads_the_preview_of_every_kind(committed, name):
    shutil.copy(GOLDEN / "v1.0" / f"{name}.dpk", "demo.dpk")
    check_images(load(committed(Path("demo.dpk")))["train"], dsetpack.open("demo.dpk"))


def test_soft_labels_stay_soft(committed):
    images = np.random.default_rng(0).random((6, 3, 4, 4), dtype=np.float32)
    labels = np.random.default_rng(1).dirichlet(np.ones(3), 6).astype(np.float32)
    dsetpack.Pack.from_arrays(images, labels, title="soft").save("soft.dpk")
    check_images(load(committed(Path("soft.dpk")))["train"], dsetpack.open("soft.dpk"))


def test_beside_a_card_of_their_own_too(committed):
    shutil.copy(KFS, "demo.dpk")
    folder = committed(Path("demo.dpk"), b"---\nlicense: mit\n---\nWritten by hand.\n")
    assert b"Written by hand" in (folder / "README.md").read_bytes()
    assert load(folder)["train"].num_rows == 280


def test_without_a_preview_it_says_that_there_are_no_data(committed):
    images = np.random.default_rng(0).random((6, 2, 4, 4), dtype=np.float32)
    dsetpack.Pack.from_arrays(images, np.arange(6) % 3, title="two channels").save("two.dpk")
    with pytest.warns(Notice):
        folder = committed(Path("two.dpk"))
    with pytest.raises(datasets.exceptions.DataFilesNotFoundError, match="No .supported. data files found"):
        load(folder)
