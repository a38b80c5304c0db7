"""Signs of life: lines at a sensible pace, the time left, and silence unless somebody wants to see them."""

import multiprocessing
import threading
import time
from itertools import pairwise

import pytest

from dsetpack.formats import progress
from dsetpack.formats.progress import EVERY, FIRST, Display, Lines, Work, line, shown, steps, visible


class Clock:
    """A clock that goes on when it is told to, and a display that looks as often as its thread would."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, display: Display, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + progress.LOOK)
            display.look()


@pytest.fixture(autouse=True)
def as_shipped(no_signs_of_life, monkeypatch):
    monkeypatch.setattr(progress, "FIRST", FIRST)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines(clock):
    return Lines("distill", clock=clock)


def test_the_first_line_comes_within_ten_seconds_and_then_one_every_half_minute(clock, lines, capsys):
    when = []
    with_line = lines.begin("match", 1000)
    for second in range(200):
        with_line.update(second, "loss 0.5")
        clock.pass_by(lines, 1)
        if capsys.readouterr().err:
            when.append(second + 1)
    assert when[0] <= 10
    assert [round(b - a) for a, b in pairwise(when)] == [30] * 6
    assert (FIRST, EVERY) == (5, 30)


def test_a_line_says_what_how_far_and_the_time_left(clock, lines, capsys):
    work = lines.begin("match", 1000)
    clock.now += 4
    work.update(10, "loss 0.5")
    clock.pass_by(lines, 1)
    assert capsys.readouterr().err == "match: 10/1000 loss 0.5 (8 min left)\n"


def test_work_that_is_stuck_in_one_step_or_says_nothing_shows_too(clock, lines, capsys):
    clock.pass_by(lines, 6)
    assert capsys.readouterr().err == "distill (5 s so far)\n"
    lines.begin("eigenvectors for ZCA", None)
    clock.pass_by(lines, 30)
    assert capsys.readouterr().err == "eigenvectors for ZCA (29 s so far)\n"
    lines.begin("match", 10)
    clock.pass_by(lines, 30)
    assert capsys.readouterr().err == "match: 0/10 (29 s so far)\n"


def test_quick_work_prints_nothing(clock, lines, capsys):
    for _ in range(20):
        work = lines.begin("save", 3)
        work.advance(3)
        clock.pass_by(lines, 0.2)
        lines.end(work)
    assert capsys.readouterr().err == ""


def test_the_end_of_work_that_was_shown_is_shown(clock, lines, capsys):
    work = lines.begin("save", 3)
    clock.pass_by(lines, 8)
    work.advance(3)
    lines.end(work)
    assert capsys.readouterr().err.splitlines() == ["save: 0/3 (5 s so far)", "save: 3/3 (8 s)"]
    assert not lines.works


def test_work_that_stops_early_is_not_shown_as_done(clock, lines, capsys):
    work = lines.begin("save", 3)
    clock.pass_by(lines, 8)
    lines.end(work)
    assert capsys.readouterr().err == "save: 0/3 (5 s so far)\n"


def test_work_inside_other_work_counts_as_part_of_its_next_step():
    score, evaluate, training = Work("score", 4, began=0), Work("evaluate", 1), Work("training", 200)
    score.update(1, "77%")
    training.advance(100)
    assert visible([score, evaluate, training]) == [score, training]
    assert line([score, training], 30) == "score: 1/4 77%, training: 100/200 (50 s left)"
    score.ahead = 3  # three networks train at once
    assert line([score, training], 30) == "score: 1/4 77%, training: 100/200 (18 s left)"


def test_resumed_work_reckons_with_the_steps_of_this_time_only():
    work = Work("match", 1000, 900, began=0)
    assert line([work], 5) == "match: 900/1000 (5 s so far)"
    work.update(920)
    assert line([work], 10) == "match: 920/1000 (40 s left)"


@pytest.mark.parametrize(("seconds", "spelled"), [(0.4, "0 s"), (119, "119 s"), (130, "2 min"), (9000, "2.5 h")])
def test_times_are_spelled_in_units_that_fit(seconds, spelled):
    assert line([Work("x", None, began=0)], seconds) == f"x ({spelled} so far)"


def test_a_work_of_bytes_names_its_unit():
    work = Work("download x.dpk", None)
    work.total, work.unit = 45, "MB"
    work.update(12)
    assert work.far == "12/45 MB"


def test_nothing_is_shown_unless_somebody_wants_to_see_it(capfd, monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 0.0)
    with steps("save", 3) as work:
        work.advance()
        time.sleep(3 * progress.LOOK)
    with shown(None), steps("save", 3):
        time.sleep(2 * progress.LOOK)
    assert capfd.readouterr() == ("", "")


def test_a_display_looks_by_itself_and_only_inside_its_block(capfd, monkeypatch):
    monkeypatch.setattr(progress, "LOOK", 0.01)
    before = threading.active_count()
    with shown(Lines("x", first=0)), steps("save", 3):
        time.sleep(0.2)  # one long step
    assert capfd.readouterr().err == "save: 0/3 (0 s so far)\n"
    assert threading.active_count() == before
    assert progress.display() is None


def test_errors_and_interruptions_end_work(lines):
    with pytest.raises(KeyboardInterrupt), shown(lines), steps("outer", 2), steps("inner", 2):
        raise KeyboardInterrupt
    assert not lines.works


def test_a_closed_stream_does_not_stop_the_work(lines, clock, monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Closed())
    lines.begin("save", 3)
    clock.pass_by(lines, 100)


def _in_a_fork(queue):
    with steps("save", 3) as work:
        queue.put(work in progress.display().works)


def test_a_forked_process_is_silent():
    """It has no thread that looks, and the thread of its parent may hold the lock."""
    context = multiprocessing.get_context("fork")
    with shown(Lines("x")):
        progress.display().lock.acquire()
        queue = context.Queue()
        process = context.Process(target=_in_a_fork, args=(queue,))
        process.start()
        progress.display().lock.release()
        assert queue.get(timeout=30) is False
        process.join()
