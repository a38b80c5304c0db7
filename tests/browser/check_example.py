"""The page in headless Chromium: the pixels of torch on its canvases, and every kind of decoder in onnxruntime-web.

Needs Chromium (``CHROMIUM`` names it, else ``/usr/bin/chromium``), node, and ``npm install`` in ``examples/browser``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import dsetpack
from dsetpack.cli import main
from dsetpack.onnx import export
from dsetpack.order.philox import noise
from tests.support.onnx_packs import CASES, HABA, KFS, LISTS, NORMALIZED, assert_close, mixed, pack_of
from tests.support.paths import KFS as PACK
from tests.support.paths import ROOT

HERE = ROOT / "examples" / "browser"
PACKS = {f"{case}, int8": pack_of(*CASES[case], encoding="int8") for case in CASES} | {
    "exact": pack_of(*KFS),
    "half precision": pack_of(*HABA, encoding="f16"),
    "soft labels": pack_of(*HABA, soft=True),
    "decoders of each class": pack_of(*KFS, class_decoders=LISTS),
    "normalized": pack_of(*HABA, space=NORMALIZED),
    "every kind": mixed("int8"),
}
BATCH = 7
SEED, EPOCH = 5, 2


def exported_into(folder: Path) -> list[dict[str, object]]:
    """Write a model of every pack; return what to decode from each."""
    plan = []
    for number, data in enumerate(PACKS.values()):
        export(data, folder / f"{number}.onnx", space="raw")
        pack = dsetpack.open(data)
        pairs = np.random.default_rng(number).integers(0, len(pack), BATCH)
        sizes = [part.config.source_shape(pack.card.shape)[0] for part in pack.parts if part.sources is None]
        drawn = noise(SEED, EPOCH, pairs, max(sizes)).reshape(-1).tolist() if sizes else None
        plan.append({"file": f"{number}.onnx", "pairs": pairs.tolist(), "noise": drawn})
    return plan


def bad_into(folder: Path) -> list[str]:
    """Write files that the page must refuse."""
    whole = (folder / "pack.onnx").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    files = {
        "short.onnx": whole[:-100],
        "damaged.onnx": bytes(damaged),
        "empty.onnx": b"",
        "foreign.onnx": b"\x08" * 500,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    export(PACK, folder / "bank.onnx", decoder_only=True)
    export(pack_of(*HABA, space=NORMALIZED), folder / "normalized.onnx")
    return [*files, "bank.onnx", "normalized.onnx", "missing.onnx"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What Chromium saw."""
    assert (HERE / "node_modules").exists(), "first: cd examples/browser && npm install"
    folder = tmp_path_factory.mktemp("served")
    for name in ("index.html", "app.js", "pack.js"):
        shutil.copy(HERE / name, folder)
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    done = CliRunner().invoke(main, ["export", str(PACK), str(folder / "pack.onnx"), "--space", "raw"])
    assert done.exit_code == 0, done.output
    plan = {"models": exported_into(folder), "refused": bad_into(folder)}
    plan |= {"upload": str(folder / "0.onnx"), "picture": str(folder / "page.png")}
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            plan["url"] = f"http://127.0.0.1:{server.stdout.readline().split()[5]}/"
            (folder / "plan.json").write_text(json.dumps(plan))
            ran = subprocess.run(
                ["node", HERE / "drive.mjs", folder / "plan.json"], capture_output=True, text=True, timeout=300
            )
        finally:
            server.terminate()
    assert ran.returncode == 0, ran.stderr
    assert (folder / "page.png").stat().st_size > 10_000
    return json.loads(ran.stdout)


def test_the_canvases_show_torchs_pixels(seen):
    pack = dsetpack.open(PACK)
    images, labels = pack.decode(range(48))
    expected = (pack.space.invert(images).clamp(0, 1) * 255).round()[:, 0].numpy()
    assert seen["first"]["title"] == pack.card.title
    assert seen["first"]["facts"].startswith(f"{len(pack)} images of 28×28×1 · 10 classes · {pack.digest[:19]}")
    assert seen["first"]["captions"] == [pack.card.classes[label] for label in labels]
    for found, pixels in zip(seen["first"]["pixels"], expected, strict=True):
        data = np.reshape(found["data"], (28, 28, 4))
        assert (data[..., 3] == 255).all()
        assert (data[..., :3] == data[..., :1]).all()
        assert np.abs(data[..., 0] - pixels).max() <= 1  # a value between two levels may be rounded either way
        assert (data[..., 0] == pixels).mean() > 0.99
    assert np.ptp(expected) > 200  # pictures, not a grey field


def test_the_buttons_turn_pages(seen):
    pack = dsetpack.open(PACK)
    names = [f"pair {n}: {pack.card.classes[y]}" for n, y in enumerate(pack.labels)]
    assert [name for page in seen["pages"] for name in page] == names
    assert seen["previous"] == seen["pages"][-2]
    assert len(seen["random"]) == 48
    assert set(seen["random"]) <= set(names)
    assert seen["random"] != seen["pages"][-2]
    assert seen["uploaded"] == "images"


@pytest.mark.parametrize("number", range(len(PACKS)), ids=list(PACKS))
def test_every_kind_like_torch(seen, number):
    torch.set_num_threads(1)
    pack, found = dsetpack.open([*PACKS.values()][number]), seen["decoded"][number]
    pairs = np.random.default_rng(number).integers(0, len(pack), BATCH)
    images, labels = pack.decode(pairs, seed=SEED, epoch=EPOCH)
    assert (found["length"], found["title"], found["shape"]) == (len(pack), pack.card.title, [*images.shape])
    assert_close(np.reshape(np.float32(found["images"]), images.shape), pack.space.invert(images).numpy())
    assert np.array_equal(np.float32(found["labels"]), labels.numpy())
    assert "out of data bounds" in found["beyond"]


def test_nothing_comes_from_elsewhere_and_nothing_complains(seen):
    assert seen["elsewhere"] == []
    assert seen["complaints"] == []


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("short.onnx", "no dsetpack checksum at the end"),
        ("empty.onnx", "no dsetpack checksum at the end"),
        ("foreign.onnx", "no dsetpack checksum at the end"),
        ("damaged.onnx", "damaged"),
        ("bank.onnx", "export without --decoder-only"),
        ("normalized.onnx", "export it with --space raw"),
        ("missing.onnx", "404"),
    ],
)
def test_bad_files_are_refused(seen, file, message):
    assert message in seen["refused"][file]["alert"]
    assert seen["refused"][file]["alert"].startswith(f"{file}: ")
    assert seen["refused"][file]["images"] == 0
