"""The continual benchmark: equal bytes, own images only, and rows that are not run twice."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from benchmarks.cases.continual import SMOKE
from benchmarks.cases.memories import Work, memory_after
from benchmarks.measure import continual
from dsetpack.trainers.data import load


def work(tmp_path):
    data = load("fashion-sample")
    return Work(data, load("fashion-sample", split="test"), SMOKE, tmp_path, torch.device("cpu"))


def test_orders_cover_all_classes_once_and_differ_by_seed(tmp_path):
    own = work(tmp_path)
    orders = [own.order(seed) for seed in range(3)]
    assert all(sorted(label for stage in order for label in stage) == list(range(10)) for order in orders)
    assert all(len(stage) == 2 for order in orders for stage in order)
    assert len({str(order) for order in orders}) == 3
    assert own.order(1) == orders[1]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["kfs", "random", "herding"])
def test_every_method_has_the_same_bytes_and_its_own_classes(tmp_path, method):
    own = work(tmp_path)
    for stage in range(2):
        memory = memory_after(own, method, 1, stage, {})
        budget = own.budget(2 * (stage + 1))
        [path] = (tmp_path / "fashion-sample-smoke").glob(f"{method}-1-*/stage-{stage}.dpk")
        assert 0.8 * budget < path.stat().st_size <= budget == 8 * 784 * 2 * (stage + 1)
        seen = {label for classes in own.order(1)[: stage + 1] for label in classes}
        assert set(memory.targets.tolist()) == seen
    again = memory_after(own, method, 1, 1, log := {})
    assert not log  # taken from the disk
    assert torch.equal(again.targets, memory.targets)
    other = replace(own, scale=replace(own.scale, per_class=9))
    memory_after(other, method, 1, 0, log)
    assert log  # another budget has other memories


def test_rows_are_kept_and_not_run_again(tmp_path, monkeypatch):
    arguments = ["--data", "fashion-sample", "--smoke", "--only", "random", "--net", "convnet3", "--seeds", "1"]
    arguments += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "rows")]
    done = CliRunner().invoke(continual.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    [path] = (tmp_path / "rows").iterdir()
    found = json.loads(path.read_text())
    assert (path.name, found["method"], found["net"], found["seed"]) == (
        "random-convnet3-0.json",
        "random",
        "convnet3",
        0,
    )
    assert [len(stage["classes"]) for stage in found["stages"]] == [2] * 5
    assert all(stage["bytes"] <= stage["budget"] for stage in found["stages"])
    assert "random" in done.output
    monkeypatch.setattr(continual, "row", lambda *_: pytest.fail("run again"))
    assert CliRunner().invoke(continual.main, arguments, catch_exceptions=False).exit_code == 0
    for name, value in {"steps": 7, "settings": {"a": 1}}.items():
        path.write_text(json.dumps({**found, name: value}))
        refused = CliRunner().invoke(continual.main, arguments)
        assert refused.exit_code == 2
        assert f"was measured with {name} {value!r}, here it is" in refused.output


def test_the_plot_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    (tmp_path / "x.json").write_text(
        '{"method": "random", "net": "convnet3", "stages": [{"accuracy": 1, "bytes": 1, "images": 1}]}'
    )
    done = CliRunner().invoke(continual.main, ["--render", "--out", str(tmp_path), "--plot", str(tmp_path / "x.png")])
    assert done.exit_code == 2
    assert "pip install matplotlib" in done.output


def test_nothing_to_show_is_said(tmp_path):
    done = CliRunner().invoke(continual.main, ["--render", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "no rows in" in done.output
