"""What the benchmark of engines records, compares and shows; and that its packs and its runner are right."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.cases import engine_packs, engines
from benchmarks.cases.engine_outcomes import counts, outcome, worse
from benchmarks.common import RESULTS
from benchmarks.measure import engines as command
from benchmarks.tables import engines as tables
from dsetpack.formats.kinds import kind_names


def cells(*outcomes, model="m; int8; fast"):
    """Cells of one model, for batches 1, 2 and so on; the last one for numbers that do not exist."""
    names = [*map(str, range(1, len(outcomes))), "outside"]
    return {model: {name: {"outcome": kind} for name, kind in zip(names, outcomes, strict=True)}}


def test_an_answer_becomes_an_outcome():
    assert outcome({"message": "no"}) == {"outcome": "refused", "message": "no"}
    assert outcome({"error": 9e-6, "anew": False}) == {"outcome": "right", "error": 9e-6}
    assert outcome({"error": 0.0, "anew": True})["outcome"] == "right anew"
    assert outcome({"error": 1.1e-5, "anew": False})["outcome"] == "wrong"
    found = outcome({"error": None, "anew": False, "message": "labels differ"})
    assert found == {"outcome": "wrong", "error": None, "message": "labels differ"}


def test_worse_cells_are_named_and_better_ones_are_not():
    old = cells("right", "refused", "crashed", "refused")
    assert not list(worse(old, cells("right", "right anew", "refused", "refused")))
    assert list(worse(old, cells("right anew", "wrong", "slow", "right"))) == [
        "m; int8; fast; 1: right -> right anew",
        "m; int8; fast; 2: refused -> wrong",
        "m; int8; fast; 3: crashed -> slow",
        "m; int8; fast; outside: refused -> right",
    ]
    assert list(worse(cells("right", "right"), {})) == [
        "m; int8; fast; 1: right -> not measured",
        "m; int8; fast; outside: right -> not measured",
    ]
    assert not list(worse({}, old))


def test_counts_leave_out_numbers_that_do_not_exist():
    assert counts(cells("wrong", "right", "wrong", "crashed")) == "1 right, 2 wrong"


def test_an_engine_is_compared_with_torch():
    image = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 3, 2, 2)
    batch = {"index": np.array([0]), "image": image, "label": np.array([2])}
    assert engines.difference([image + np.float32(0.02), batch["label"]], batch)["error"] == pytest.approx(
        0.01, rel=1e-4
    )
    assert engines.difference([image, np.array([1])], batch) == {"error": None, "message": "labels differ"}
    assert engines.difference([image * np.nan, batch["label"]], batch) == {"error": None}
    assert engines.difference([image[0], batch["label"]], batch)["message"] == "image of shape [3, 2, 2]"


def test_a_model_is_loaded_anew_where_another_size_fails():
    image, label = np.zeros((2, 1, 1, 1), np.float32), np.zeros(2, np.int64)
    loaded = []

    def load(path):
        loaded.append(path)
        sizes = set()

        def run(feed):
            sizes.add(len(feed["index"]))
            if len(sizes) > 1:
                raise ValueError("another size\nsecond line")
            if 3 in sizes:
                raise ValueError("in /some/folder/file.py: three")
            return [image[: len(feed["index"])], label[: len(feed["index"])]]

        return run

    def batch(size):
        return {"index": np.arange(size), "image": np.zeros((size, 1, 1, 1)), "label": np.zeros(size)}

    found = list(engines.answers(engines.Engine("x", (), load), Path("m"), {str(n): batch(n) for n in (1, 2, 3)}))
    assert found == [
        {"batch": "1", "error": 0.0, "anew": False},
        {"batch": "2", "error": 0.0, "anew": True},
        {"batch": "3", "message": "in file.py: three"},
    ]
    assert len(loaded) == 3


@pytest.fixture
def one_engine(tmp_path, monkeypatch):
    """The command with one model and an engine that needs no environment; returns a function that runs it."""
    given = {"found": cells("right", "refused")}
    monkeypatch.setattr(command, "python_of", lambda engine, folder: Path("python"))
    monkeypatch.setattr(command, "measured_engine", lambda *_: given["found"])
    monkeypatch.setattr(command.render, "write", lambda: None)

    def run(found, *options):
        given["found"] = found
        results = ["--only", "openvino", "--folder", str(tmp_path), "--results", str(tmp_path)]
        return CliRunner().invoke(command.main, [*results, *options])

    return run


def test_a_cell_that_got_worse_ends_the_command_and_keeps_the_record(one_engine, tmp_path):
    assert one_engine(cells("right", "refused")).exit_code == 0
    record = (tmp_path / "openvino.json").read_bytes()
    lost = one_engine(cells("wrong", "refused"))
    assert (lost.exit_code, "worse: m; int8; fast; 1: right -> wrong" in lost.output) == (1, True)
    assert (tmp_path / "openvino.json").read_bytes() == record
    assert one_engine(cells("wrong", "refused"), "--accept").exit_code == 0
    assert json.loads((tmp_path / "openvino.json").read_text())["cells"] == cells("wrong", "refused")


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_a_model_goes_through_a_process_of_its_own_once(tmp_path, monkeypatch):
    import sys

    model = command.Model("kfs, lists", "int4", "portable")
    found = command.cells_of("onnxruntime", model, Path(sys.executable), tmp_path)
    assert {batch: cell["outcome"] for batch, cell in found.items()} == dict.fromkeys(
        ("1", "2", "7", "300"), "right"
    ) | {"outside": "right"}
    monkeypatch.setattr(command, "measured", None)  # what is in the folder is not measured again
    assert command.cells_of("onnxruntime", model, Path(sys.executable), tmp_path) == found


def test_every_kind_is_among_the_packs_and_images_vary():
    assert {case.kind for case in engine_packs.CASES.values()} == set(kind_names())
    for name in engine_packs.CASES:
        made = dict(engine_packs.batches(engine_packs.pack(name)))
        assert [len(batch["index"]) for batch in made.values()] == [1, 2, 7, 300, 4]
        assert all(np.isfinite(batch["image"]).all() and np.ptp(batch["image"]) > 0.1 for batch in made.values())


def test_the_table_says_what_is_recorded(monkeypatch):
    (name, *_) = [name for name, case in engine_packs.CASES.items() if case.group == engine_packs.PLAIN]
    fast, portable = (f"{name}; int8; {form}" for form in ("fast", "portable"))
    found = cells("right", "wrong", "refused", model=fast) | cells("right", "right", "right anew", model=portable)
    where = {"date": "2026-12-01T10:00:00", "machine": "M", "cores": 2, "commit": "c"}
    row = {"engine": "openvino", "environment": where, "packages": ["numpy==1", "onnx==2", "openvino==3"]}
    monkeypatch.setattr(tables, "rows_of", lambda _: [row | {"cells": found}])
    lines = tables.engines().splitlines()
    assert lines[2].startswith("| OpenVINO, float32 (`openvino==3`) | fast | 1 right, 1 wrong |")
    assert lines[2].endswith("| refused |")
    assert lines[3].startswith("| OpenVINO, float32 (`openvino==3`) | portable | right |")
    assert lines[3].endswith("| nearest pair |")
    assert lines[-1] == "M, 2 cores; 2026-12-01, commit c."


def test_records_are_of_the_pinned_engines_and_of_all_models():
    recorded = {path.stem: json.loads(path.read_text()) for path in (RESULTS / "engines-cpu").glob("*.json")}
    assert set(recorded) <= set(engines.ENGINES)
    for name, row in recorded.items():
        assert tuple(row["packages"]) == engines.ENGINES[name].requirements
        assert list(row["cells"]) == [model.name for model in command.models()]
