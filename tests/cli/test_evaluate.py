"""``dsetpack eval``: what it prints, records and refuses."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

import dsetpack
from dsetpack import Augmentation, Recipe, Zca
from dsetpack.trainers.data import load
from tests.support.command_line import run
from tests.support.eval_files import EVAL, RECIPE
from tests.support.preview_packs import generator


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A pack, and the data that it is tested on, in the current folder."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 2
    x = torch.randint(0, 215, (60, 16, 16), generator=g)
    x[y == 0, ::4] += 40
    x[y == 1, :, ::4] += 40
    x = x.to(torch.uint8)
    np.savez(tmp_path / "mine.npz", x_train=x[:16], y_train=y[:16], x_test=x[16:], y_test=y[16:])
    np.savez(tmp_path / "other.npz", x_train=x[:16], y_train=y[:16], x_test=x[20:], y_test=y[20:])
    card = {"recipe": RECIPE, "augmentation": Augmentation(ops=("flip",)), "classes": ["0", "1"]}
    dsetpack.Pack.from_arrays(x[:16, None], y[:16], **card).save(tmp_path / "x.dpk")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_several_networks_make_a_table(files):
    printed = run(
        *EVAL, "--seeds", 2, "--arch", "convnet3,resnet10", "--arch", "alexnet", "--width", 2, "--record", "y.dpk"
    )
    lines = printed.splitlines()
    assert lines[0] == "x.dpk: 44 test images, 2 seeds, after the last step"
    assert lines[1].split() == ["network", "width", "accuracy", "test", "images", "protocol"]
    metrics = dsetpack.open("y.dpk").card.metrics
    assert [(m.arch, m.width, m.seeds, m.protocol) for m in metrics] == [
        (arch, 2, 2, "changed") for arch in ("convnet3", "resnet10", "alexnet")
    ]
    for line, metric in zip(lines[2:5], metrics, strict=True):
        shown = [metric.arch, "2", f"{metric.value:.2%}", "±", f"{metric.std:.2%}", metric.test_data, "changed"]
        assert line.split() == shown
    assert len({line.index("mine") for line in lines[2:5]}) == 1
    assert lines[5].endswith("the results in its card")


def test_the_best_is_beside_the_last_and_named_so(files):
    plain = run(*EVAL, "--seeds", 2)
    printed = run(*EVAL, "--seeds", 2, "--best-of", 4, "--record", "y.dpk")
    assert printed.startswith(plain)
    (metric,) = dsetpack.open("y.dpk").card.metrics
    best = json.loads(metric.note)["best_of"]
    assert f"best of 4 readings, chosen on the test images: {best['value']:.2%}" in printed
    assert metric.protocol == "own"
    assert f"x.dpk: {metric.value:.2%}" in plain
    table = run(*EVAL, "--seeds", 1, "--best-of", 2, "--arch", "convnet3,convnet4")
    assert "best of 2" in table.splitlines()[1]
    assert "the last one counts" in table


def test_the_common_protocol_on_the_command_line(files):
    quick = ("--seeds", 1, "--set", "steps=2", "--width", 4)
    run(*EVAL, "--protocol", "common", *quick, "--record", "y.dpk")
    (metric,) = dsetpack.open("y.dpk").card.metrics
    assert metric.protocol == "changed"
    assert json.loads(metric.note) == {"base": "common", "steps": 2, "width": 4}  # the rest is common's, not the card's
    bare = dsetpack.open("x.dpk").replace_card(recipe=None)
    bare.save("bare.dpk")
    printed = run("eval", "bare.dpk", "--data", "mine.npz", "--protocol", "common", *quick)
    assert "1 seed, changed protocol" in printed
    assert "or use the protocol 'common'" in run("eval", "bare.dpk", "--data", "mine.npz", expect=1)


def test_a_network_of_ones_own_lies_where_the_user_is(files, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (files / "cli_nets.py").write_text(
        "from torch import nn\n"
        "def linear(image, classes):\n"
        "    c, h, w = image\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, classes))\n"
    )
    printed = run(*EVAL, "--seeds", 1, "--arch", "cli_nets:linear")
    assert "cli_nets:linear, 1 seed, changed protocol" in printed
    assert "'cli_nets' has no 'square'" in run(*EVAL, "--arch", "cli_nets:square", expect=1)


def test_corrupted_test_images(files):
    printed = run(*EVAL, "--seeds", 1, "--corrupt", "gaussian_noise:5,contrast:1", "--record", "y.dpk")
    metrics = dsetpack.open("y.dpk").card.metrics
    assert [m.test_data.partition(":")[2] for m in metrics] == ["", "gaussian_noise:5", "contrast:1"]
    assert len({m.test_digest for m in metrics}) == 3
    assert {m.protocol for m in metrics} == {"own"}
    assert all(m.test_data in printed for m in metrics)
    assert metrics[0].test_digest == dsetpack.trainers.data.load("mine.npz", split="test").digest
    assert run(*EVAL, "--seeds", 1, "--corrupt", "contrast").count("mine:contrast:") == 5
    assert "level '6'; expected 1 to 5" in run(*EVAL, "--corrupt", "contrast:6", expect=1)
    assert "no corruption 'gausian_noise'" in run(*EVAL, "--corrupt", "gausian_noise:2", expect=1)


def test_the_kernel_ridge_predictor_on_the_command_line(files):
    printed = run(*EVAL, "--seeds", 1, "--predictor", "krr", "--record", "y.dpk")
    (metric,) = dsetpack.open("y.dpk").card.metrics
    assert metric.name == "krr accuracy"
    assert f"x.dpk: krr accuracy {metric.value:.2%}" in printed
    assert "krr accuracy" in run("info", "y.dpk")
    table = run(*EVAL, "--seeds", 1, "--predictor", "krr", "--arch", "convnet3,resnet10").splitlines()
    assert "krr accuracy" in table[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch", "convnet3,vgg11"], "vgg11 halves images 5 times: 16×16 (height × width) is too small"),
        (["--arch", "convnet9"], "no network 'convnet9'"),
        (["--arch", "nowhere_nets:net"], "cannot import 'nowhere_nets'"),
    ],
)
def test_no_network_trains_before_all_are_known_to_fit(files, arguments, message, monkeypatch):
    monkeypatch.setattr("dsetpack.trainers.evaluate.train", None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert message in run(*EVAL, *arguments, expect=1)


def test_eval_can_record_onto_the_file_itself_and_looks_first_where_it_may_write(tmp_path):
    path = tmp_path / "tiny.dpk"
    sample = load("fashion-sample", split="train")
    chosen = sample.take(sample.draw(1, seed=0))
    recipe = Recipe(steps=2, batch_size=4, width=4)
    dsetpack.Pack.from_arrays(chosen.images, chosen.labels, classes=chosen.classes, recipe=recipe).save(path)
    evaluate = ("eval", path, "--data", "fashion-sample", "--seeds", "1")
    for where, message in (
        (tmp_path, "directory"),
        (tmp_path / "none" / "x.dpk", "folder"),
        ("s3://a/b", "local path"),
    ):
        assert message in run(*evaluate, "--set", "steps=100000000", "--record", where, expect=1)
    run(*evaluate, "--record", path)
    run(*evaluate, "--record", path, "--no-augment", "--width", "5")
    metrics = dsetpack.open(path).card.metrics
    assert [(m.protocol, m.width) for m in metrics] == [("own", 4), ("changed", 5)]


def test_eval_refits_the_zca_of_a_pack_that_keeps_only_how(tmp_path):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 256, (60, 8, 8), dtype=torch.uint8, generator=g), torch.arange(60) % 2
    other = x.flip(0)
    for name, train in (("mine", x), ("others", other)):
        np.savez(tmp_path / f"{name}.npz", x_train=train, y_train=y, x_test=x[:20], y_test=y[:20])
    space = Zca.fit(x[:, None], storage="refit")
    images = space.apply(x[:4, None].float() / 255)
    pack = dsetpack.Pack.from_arrays(images, y[:4], space=space, recipe=Recipe(steps=2, batch_size=4, width=4))
    path, recorded = tmp_path / "white.dpk", tmp_path / "recorded.dpk"
    pack.save(path)
    printed = run("eval", path, "--data", tmp_path / "mine.npz", "--seeds", "1", "--record", recorded)
    assert "20 test images" in printed
    assert dsetpack.open(recorded).card.space == pack.card.space
    assert dsetpack.open(recorded).card.metrics[0].protocol == "own"
    assert "same raw training images" in run("eval", path, "--data", tmp_path / "others.npz", expect=1)


def test_a_generator_is_measured_with_a_number_of_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8), np.arange(12) % 3
    np.savez("mine.npz", x_train=x, y_train=y, x_test=x, y_test=y, classes=np.array(["a", "b", "c"]))
    for name, number in (("open.dpk", None), ("four.dpk", 4)):
        dsetpack.open(generator(number), per_class=number or 1).replace_card(
            recipe=Recipe(steps=1, batch_size=4, width=2), per_class=number
        ).save(name)
    line = ("--data", "mine.npz", "--seeds", "1")
    assert "pass per_class= (--per-class)" in run("eval", "open.dpk", *line, expect=1)
    run("eval", "open.dpk", *line, "--per-class", "2", "-o", "measured.dpk")
    assert dsetpack.open("measured.dpk").card.per_class == 2  # what the result is for
    assert "12 test images" in run("eval", "four.dpk", *line, "--per-class", "2")
    refused = run("eval", "four.dpk", *line, "--per-class", "2", "-o", "other.dpk", expect=1)
    assert "its card says 4 images per class, and the results would be for 2" in refused
    run("eval", "four.dpk", *line, "--per-class", "4", "-o", "other.dpk")
    assert dsetpack.open("other.dpk").card.per_class == 4
