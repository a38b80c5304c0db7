"""Environments of other people's programs: one for each set of pinned packages, kept in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from benchmarks.common import short_hash


def python_of(requirements: tuple[str, ...], folder: Path) -> Path:
    """The Python of an environment with these packages, which is made if it is not there."""
    place = folder / short_hash([sys.version, *requirements])
    python, done = place / "bin" / "python", place / "complete"
    if not done.exists():
        click.echo(f"installing {', '.join(requirements)}", err=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        done.touch()
    return python
