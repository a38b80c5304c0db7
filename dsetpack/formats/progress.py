"""Signs of life: what long work is doing, how far it is, and how long it will still take.

Code that takes long says so: ``with steps("save", 8) as work: ...; work.update(3)``. Whoever wants to see that passes a
display to ``shown``; otherwise it is silent. A display only looks now and then, from a thread of its own: work that is
stuck in one long step shows, too, and saying how far it is costs next to nothing.

``Lines`` is the display without a terminal; ``dsetpack.trainers.progress`` has the one with bars.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from typing_extensions import override

FIRST, EVERY = 5.0, 30.0
"""Seconds before the first line, and between two lines."""
LOOK = 0.2
"""Seconds between two looks of a display."""


class Work:
    """Work that takes long.

    Attributes:
        title: what it is.
        total: the number of steps; None if it is not known.
        first: the number of steps that were done before it began.
        done: the number of steps done.
        unit: what a step is, if it is not obvious.
        note: a few words on the result so far.
        ahead: for how many of its steps the work inside it is, such as several networks that train at once.
        began: the time when it began.
    """

    def __init__(self, title: str, total: int | None, done: int = 0, began: float = 0.0) -> None:
        self.title, self.total, self.first, self.done, self.began = title, total, done, done, began
        self.unit, self.note, self.ahead = "", "", 1

    @property
    def far(self) -> str:
        """How far it is; empty if the number of steps is not known."""
        return "" if self.total is None else f"{self.done}/{self.total} {self.unit}".rstrip()

    def update(self, done: int, note: str = "") -> None:
        """Say that ``done`` of the steps are done."""
        self.done, self.note = done, note

    def advance(self, steps: int = 1) -> None:
        """Say that so many more steps are done."""
        self.done += steps


class Display:
    """Knows the work that has begun, each inside the one before; shows nothing itself.

    Args:
        clock: the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.process = os.getpid()
        self.lock = threading.RLock()
        self.works: list[Work] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, title: str, total: int | None, done: int = 0) -> Work:
        """Begin work inside the present one."""
        work = Work(title, total, done, self.clock())
        with self.lock:
            self.works.append(work)
        return work

    def end(self, work: Work) -> None:
        """End this work and all that is inside it."""
        with self.lock:
            if work in self.works:
                del self.works[self.works.index(work) :]

    def look(self) -> None:
        """Show what there is to be shown now."""

    def __enter__(self) -> Self:
        self._stop.clear()
        self._thread = threading.Thread(target=self._watch, name="dsetpack progress", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK):
            with self.lock:
                self.look()


class Lines(Display):
    """Prints a line when one is due, at first and then every ``EVERY`` seconds, and at the end of work that it showed.

    Args:
        title: what is at work if nothing says so itself.
        first: seconds before the first line is due; by default ``FIRST``.
        clock: the time in seconds.
    """

    def __init__(self, title: str, first: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._idle = Work(title, None, 0, clock())
        self._due = self._idle.began + (FIRST if first is None else first)
        self._shown: tuple[Work, int] | None = None

    @override
    def end(self, work: Work) -> None:
        with self.lock:
            ended = work is next(iter(visible(self.works)), None) and work.done == work.total
            new = self.clock() >= self._due if self._shown is None else self._shown[0] is work
            if ended and new and self._shown != (work, work.done):
                self._print([work])
            super().end(work)

    @override
    def look(self) -> None:
        if self.clock() >= self._due:
            self._print(visible(self.works) or [self._idle])

    def _print(self, works: Sequence[Work]) -> None:
        now = self.clock()
        self._due, self._shown = now + EVERY, (works[0], works[0].done)
        with suppress(OSError, ValueError):  # nobody reads it any more
            print(line(works, now), file=sys.stderr, flush=True)


class _Silence(Display):
    """No display, and none that work inside could choose for itself."""

    @override
    def begin(self, title: str, total: int | None, done: int = 0) -> Work:
        return Work(title, total, done)

    @override
    def end(self, work: Work) -> None:
        pass


_SILENCE = _Silence()
_display: ContextVar[Display | None] = ContextVar("display", default=None)


def display() -> Display | None:
    """The display that shows work here; None if nobody chose one."""
    return _display.get()


@contextmanager
def shown(by: Display | None) -> Iterator[None]:
    """Show the work inside by a display; None shows nothing."""
    with nullcontext(_SILENCE) if by is None else by as chosen:
        before = _display.set(chosen)
        try:
            yield
        finally:
            _display.reset(before)


@contextmanager
def steps(title: str, total: int | None = None, done: int = 0) -> Iterator[Work]:
    """Do long work, which is shown if somebody wants to see it.

    Args:
        title: what it is, in one or two words.
        total: the number of steps; None if it is not known.
        done: the number of steps that were done before.
    """
    here = _display.get()
    if here is None or here.process != os.getpid():  # a process that was forked has no thread that looks
        here = _SILENCE
    work = here.begin(title, total, done)
    try:
        yield work
    finally:
        here.end(work)


def visible(works: Sequence[Work]) -> list[Work]:
    """The work that is worth showing: not that of one step or of unknown length if there is other work inside it."""
    return [work for work in works if work is works[-1] or work.total not in (None, 1)]


def line(works: Sequence[Work], now: float) -> str:
    """Work and what is inside it, in one line, with the time that is left for the outermost."""
    return f"{', '.join(map(_state, works))} ({_times(works, now)})"


def share(works: Sequence[Work]) -> float:
    """The share of the outermost work that is done, in [0, 1]; work inside counts as part of its next step."""
    inside = 0.0
    for work in reversed(works):
        if work.total:
            inside = min(1.0, (work.done + work.ahead * inside) / work.total)
    return inside


def _state(work: Work) -> str:
    return " ".join(filter(None, (f"{work.title}:" if work.far else work.title, work.far, work.note)))


def _times(works: Sequence[Work], now: float) -> str:
    outer, done = works[0], share(works)
    first = outer.first / outer.total if outer.total else 0.0
    taken = now - outer.began
    if done >= 1:
        return _spell(taken)
    if outer.total is None or done <= first:
        return f"{_spell(taken)} so far"
    return f"{_spell(taken * (1 - done) / (done - first))} left"


def _spell(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
