"""The log and the lines of progress."""

import csv

import pytest

from dsetpack.trainers.loop import Run, optimise
from tests.support.toy_loop import SCHEDULE, Toy


def test_terms_are_logged_and_summed(tmp_path):
    last = optimise(Toy(), SCHEDULE, seed=0, run=Run(tmp_path))
    assert last["loss"] == pytest.approx(last["pull"] + last["size"])
    rows = list(csv.DictReader((tmp_path / "distill.csv").open()))
    assert list(rows[0]) == ["step", "seconds", "loss", "pull", "size"]
    assert float(rows[-1]["pull"]) == last["pull"]


def test_tensorboard_if_installed(tmp_path):
    pytest.importorskip("tensorboard")
    optimise(Toy(), SCHEDULE, seed=0, run=Run(tmp_path, tensorboard=True))
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_progress_lines_where_there_is_no_terminal(capsys):
    optimise(Toy(), SCHEDULE, seed=0, run=Run(show=True))
    assert "distill: 6/6 loss" in capsys.readouterr().err
    optimise(Toy(), SCHEDULE, seed=0, run=Run(show=False))
    optimise(Toy(), SCHEDULE, seed=0)
    assert capsys.readouterr().err == ""
