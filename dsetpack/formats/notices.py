"""Notices: one line each, about a decision that was made for the user and could have been another."""

from __future__ import annotations

import warnings


class Notice(UserWarning):
    """Something that was decided for the user; the text says what, and how to decide otherwise.

    ``warnings.filterwarnings("error", category=Notice)`` makes it an error. The command line prints it as one line.
    """


def notice(text: str) -> None:
    """Tell the user what was decided."""
    warnings.warn(text, Notice, stacklevel=3)
