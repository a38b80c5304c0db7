"""The log of a run: one CSV row per step, and TensorBoard event files on request."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dsetpack.formats.atomic import write_atomically
from dsetpack.formats.errors import DsetpackError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


FLUSH_EVERY = 50
"""The number of rows kept in memory before they are appended."""


class Log:
    """A log in ``<name>.csv``, with the columns ``step``, ``seconds`` and one for each loss term.

    Rows of steps that a resumed run repeats are dropped first. With ``tensorboard``, event files go into the same
    folder.

    Args:
        folder: the log's folder; None keeps nothing.
        name: the file's name without ``.csv``.
        step: the first step that will be written.
        tensorboard: whether to write event files, too.

    Raises:
        DsetpackError: if ``tensorboard`` is set and TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None, name: str, step: int = 0, tensorboard: bool = False) -> None:
        self._path = None if folder is None else folder / f"{name}.csv"
        self._rows: list[dict[str, str]] = []
        self._writer = _tensorboard(folder) if tensorboard and folder is not None else None
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._truncate(self._path, step)

    def write(self, step: int, seconds: float, terms: Mapping[str, float]) -> None:
        """Log one row; it is appended to the file later, together with others."""
        if self._path is not None:
            row = {"step": str(step), "seconds": f"{seconds:.3f}"} | {name: repr(v) for name, v in terms.items()}
            self._rows.append(row)
            if len(self._rows) >= FLUSH_EVERY:
                self.flush()
        if self._writer is not None:
            for name, value in terms.items():
                self._writer.add_scalar(f"loss/{name}", value, step)

    def flush(self) -> None:
        """Append the logged rows to the file."""
        if self._path is None or not self._rows:
            return
        new = not self._path.exists()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self._rows[0]))
            if new:
                writer.writeheader()
            writer.writerows(self._rows)
        self._rows.clear()
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Append the logged rows and close the files."""
        self.flush()
        if self._writer is not None:
            self._writer.close()

    @staticmethod
    def _truncate(path: Path, step: int) -> None:
        if not path.exists():
            return
        lines = path.read_text().splitlines()
        kept = [line for line in lines[1:] if line.partition(",")[0].isdigit() and int(line.partition(",")[0]) < step]
        if step and lines:
            write_atomically(path, ("\n".join([lines[0], *kept]) + "\n").encode())
        else:
            path.unlink()


def _tensorboard(folder: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DsetpackError("TensorBoard is not installed: pip install 'dsetpack[tensorboard]'") from error
    return SummaryWriter(str(folder))
