"""Progress on a terminal, elsewhere, and around other work."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import torch

from dsetpack.formats.card import Recipe
from dsetpack.formats.progress import Display, Lines, shown, steps
from dsetpack.pack.pack import Pack
from dsetpack.trainers import progress
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.evaluate import evaluate
from dsetpack.trainers.progress import Bars, meter
from tests.support.displays import Recorder
from tests.support.processes import environment

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

WORK = """
import time
from dsetpack.formats.progress import steps
from dsetpack.trainers import progress
progress.DELAY = 0.1
with progress.meter("match", 20) as work:
    for step in range(20):
        with steps("training", 5) as inside:
            for _ in range(5):
                time.sleep(0.01)
                inside.advance()
        work.update(step + 1, "loss 0.25")
print("done")
"""
QUICK = "from dsetpack.trainers.progress import meter\nwith meter('match', 2) as work: work.update(2)\nprint('done')"


def on_a_terminal(code: str) -> tuple[str, str]:
    """Run a program whose standard error is a terminal; what it prints there, and on standard output."""
    ours, theirs = pty.openpty()
    variables = environment(TERM="xterm", COLUMNS="120", NO_COLOR="1")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=variables)
    os.close(theirs)
    printed = b""
    try:
        while part := os.read(ours, 4096):
            printed += part
    except OSError:  # the other side is closed
        pass
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0, printed.decode()
    return printed.decode(), out.decode()


def test_a_bar_on_a_terminal():
    printed, out = on_a_terminal(WORK)
    last = printed.splitlines()[-1] if printed.splitlines()[-1].strip("\x1b[?25h ") else printed.splitlines()[-2]
    assert "match" in last
    assert "━" in last
    assert "20/20 loss 0.25" in last
    assert "training" in printed
    assert "training" not in last
    assert out == "done\n"


def test_no_bar_for_quick_work():
    assert on_a_terminal(QUICK) == ("", "done\n")


def test_silent_without_a_terminal_unless_asked_for(capfd, monkeypatch):
    monkeypatch.setattr("dsetpack.formats.progress.LOOK", 0.01)
    for show in (None, False):
        with meter("match", 2, show) as work:
            time.sleep(0.05)
            work.update(2)
    assert capfd.readouterr().err == ""
    with meter("match", 2, show=True) as work:
        work.update(2, "loss 1")
    assert capfd.readouterr().err == "match: 2/2 loss 1 (0 s)\n"


def test_what_is_not_to_be_shown_hides_what_is_inside():
    outer = Recorder()
    with shown(outer), meter("a", 1), meter("b", 1, show=False), steps("c"), meter("d", 1):
        pass
    assert outer.titles == {"a"}


def test_networks_that_train_at_once_are_one_step_ahead_for_each(monkeypatch):
    """The meter of an evaluation knows how far the training inside it is."""
    outer, ahead = Recorder(), set()
    look = Display.begin

    def begin(self, title, total, done=0):
        ahead.update(work.ahead for work in self.works if work.title == "evaluate")
        return look(self, title, total, done)

    monkeypatch.setattr(Display, "begin", begin)
    x, y = torch.rand(20, 1, 16, 16), torch.arange(20) % 2
    real = ImageData(x, y, ("0", "1"), "mine")
    pack = Pack.from_arrays(x, y, recipe=Recipe(steps=3, width=4, batch_size=8))
    with shown(outer):
        evaluate(pack, real, seeds=3, batched=True)
    assert outer.titles == {"evaluate", "training"}
    assert ahead == {3}
    assert [(work.done, work.total) for work in outer.seen] == [(3, 3), (3, 3)]


def test_lines_without_a_terminal_and_bars_on_one(monkeypatch):
    monkeypatch.setattr(progress, "_terminal", lambda: False)
    assert type(progress.display("x")) is Lines
    monkeypatch.setattr(progress, "_terminal", lambda: True)
    assert type(progress.display("x")) is Bars
