"""Displays for tests: one that keeps what began."""

from __future__ import annotations

from typing_extensions import override

from dsetpack.formats.progress import Display, Work


class Recorder(Display):
    """Keeps the titles of all work, and of each the last state."""

    def __init__(self, title: str = "") -> None:
        super().__init__()
        self.title = title
        self.seen: list[Work] = []

    @override
    def begin(self, title: str, total: int | None, done: int = 0) -> Work:
        work = super().begin(title, total, done)
        self.seen.append(work)
        return work

    @property
    def titles(self) -> set[str]:
        """The titles of all work that began."""
        return {work.title for work in self.seen}
