"""Python in a process of its own, which imports what the tests import."""

import os
import subprocess
import sys

from tests.support.paths import ROOT


def environment(**more: str) -> dict[str, str]:
    """The variables of this process, and where the package, the tests and the benchmarks lie."""
    return os.environ | {"PYTHONPATH": str(ROOT)} | more


def python(code: str, *arguments: object, **more: str) -> str:
    """What a program prints; one that fails shows its errors."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment(**more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
