"""Progress of long work: bars on a terminal, an occasional line elsewhere, or nothing if it is not wanted."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING

from typing_extensions import override

from dsetpack.formats import progress
from dsetpack.formats.progress import FIRST, Display, Lines, Work, share, shown, steps, visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

DELAY = 0.5
"""Work that takes fewer seconds gets no bar."""


@contextmanager
def meter(title: str, total: int, show: bool | None = None, done: int = 0) -> Iterator[Work]:
    """Show long work, and say how far it is by ``work.update(step, "loss 0.3")``.

    Args:
        title: what it is.
        total: the number of steps.
        show: False: nothing, nor what is inside; True: bars or lines; None: as what is around it, and if that shows
            nothing, bars on a terminal.
        done: the number of steps that were done before.
    """
    with _chosen(title, show), steps(title, total, done) as work:
        yield work


def display(title: str) -> Display:
    """Bars if standard error is a terminal, otherwise lines; ``title`` is what is at work if nothing says so itself."""
    return Bars(title) if _terminal() else Lines(title)


def _chosen(title: str, show: bool | None) -> AbstractContextManager[None]:
    if show is False:
        return shown(None)
    if progress.display() is not None or not (show or _terminal()):
        return nullcontext()
    return shown(Bars(title) if _terminal() else Lines(title, first=0))


def _terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


class Bars(Display):
    """Shows a bar for each work on the terminal; what is inside other work goes when it ends.

    Args:
        title: what is at work if nothing says so itself for ``FIRST`` seconds.
        clock: the time in seconds.
    """

    def __init__(self, title: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._idle = Work(title, None, 0, clock())
        self._bars: Progress | None = None
        self._tasks: dict[Work, TaskID] = {}

    @override
    def begin(self, title: str, total: int | None, done: int = 0) -> Work:
        with self.lock:
            if not self.works:
                self._close()  # the bar of a title alone
            return super().begin(title, total, done)

    @override
    def end(self, work: Work) -> None:
        with self.lock:
            self._draw(self.works)
            super().end(work)
            if not self.works:
                self._close()
                self._idle.began = self.clock()

    @override
    def look(self) -> None:
        works = self.works or [self._idle]
        if self._bars is not None or self.clock() - works[0].began >= (DELAY if self.works else FIRST):
            self._open()
            self._draw(works)

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._close()

    def _open(self) -> None:
        if self._bars is None:
            self._bars = _bars(transient=not self.works)
            self._bars.start()

    def _draw(self, works: Sequence[Work]) -> None:
        if self._bars is None:
            return
        works = visible(works)
        for work in self._tasks.keys() - set(works):
            self._bars.remove_task(self._tasks.pop(work))
        for number, work in enumerate(works):
            if work not in self._tasks:
                self._tasks[work] = self._bars.add_task(work.title, total=work.total, far=work.far, note="")
            done = share(works[number:]) * (work.total or 0)
            self._bars.update(self._tasks[work], total=work.total, completed=done, far=work.far, note=work.note)
        self._bars.refresh()

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._tasks = None, {}


def _bars(*, transient: bool) -> Progress:
    """Bars that are drawn when they are told to; output that does not go to the terminal stays as it is."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[far]}"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=transient,
        redirect_stdout=sys.stdout.isatty(),
    )
