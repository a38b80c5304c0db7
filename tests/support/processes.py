"""Python in a separate process, which imports what the tests import."""

import os
import subprocess
import sys

from tests.support.paths import ROOT


def environment(**more: str) -> dict[str, str]:
    """The variables of this process, with the checkout as the import path."""
    return os.environ | {"PYTHONPATH": str(ROOT)} | more


def python(code: str, *arguments: object, **more: str) -> str:
    """Run a program and return what it prints; if it fails, show its errors."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment(**more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
