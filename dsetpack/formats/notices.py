"""Notices: one line each, about a decision that was made for the user and could have been another."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

_OURS = f"{Path(__file__).parents[1]}{Path('/')}"


class Notice(UserWarning):
    """Something that was decided for the user; the text says what, and how to decide otherwise.

    ``warnings.filterwarnings("error", category=Notice)`` makes it an error. The command line prints it as one line.
    """


def notice(text: str) -> None:
    """Tell the user what was decided, as a warning at the line of theirs that led to it."""
    warnings.warn(text, Notice, stacklevel=_users_line())


def _users_line() -> int:
    """The distance of ``notice`` from the first caller outside of this package, as ``warnings.warn`` counts."""
    level, frame = 2, sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back
    return level
