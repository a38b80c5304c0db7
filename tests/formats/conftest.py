"""Helpers beside these tests import by name; hypothesis runs the same examples each time."""

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "attacks"):
    sys.path.insert(0, str(folder))

settings.register_profile(
    "formats", deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("formats")
