"""Progress of long work: a bar on a terminal, an occasional line elsewhere, or nothing if it is not wanted."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY = 30.0
"""Seconds between two lines if standard error is not a terminal."""


class Meter:
    """Shows the progress of work: ``with Meter("distill", steps) as meter: meter.update(step, "loss 0.3")``.

    Args:
        title: the name of the work.
        total: the number of steps.
        show: True, False, or None: only if standard error is a terminal.
    """

    def __init__(self, title: str, total: int, show: bool | None = None) -> None:
        console = Console(stderr=True)
        self._title, self._total = title, total
        self._terminal = console.is_terminal and show is not False
        self._lines = bool(show) and not console.is_terminal
        self._start = self._last = time.monotonic()
        self._first: int | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not self._terminal,
        )
        self._task: TaskID = self._bar.add_task(title, total=total, note="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, done: int, note: str = "") -> None:
        """Show that ``done`` of the steps are done; ``note`` is shown next to the bar."""
        if self._first is None:
            self._first = done
        if self._terminal:
            self._bar.update(self._task, completed=done, note=note)
        elif self._lines and (time.monotonic() - self._last >= LINE_EVERY or done == self._total):
            self._last = time.monotonic()
            words = (f"{self._title}: {done}/{self._total}", note, self._left(done))
            print(*filter(None, words), file=sys.stderr, flush=True)

    def _left(self, done: int) -> str:
        made = done - (self._first or 0)
        if not made or done >= self._total:
            return f"({time.monotonic() - self._start:.0f} s)"
        return f"({(time.monotonic() - self._start) / made * (self._total - done):.0f} s left)"
