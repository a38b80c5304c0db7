"""Print every lower bound of pyproject.toml as an exact version: constraints for an environment of the oldest versions.

.ci/lowest.py EXTRA ...        the required dependencies, and those of these extras and of the extras that they name
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENT = re.compile(r"(?P<name>[\w-]+)(\[(?P<extras>[\w,-]+)\])?(>=(?P<bound>[\d.]+))?")


def bounds(requirements: list[str]) -> Iterator[tuple[str, str]]:
    """Names and lower bounds, also those of the package's own extras."""
    for requirement in requirements:
        found = REQUIREMENT.fullmatch(requirement)
        if found is None:
            raise SystemExit(f"pyproject.toml: {requirement!r}: NAME[EXTRAS]>=VERSION expected")
        if found["name"] == PROJECT["name"]:
            for extra in found["extras"].split(","):
                yield from bounds(PROJECT["optional-dependencies"][extra])
        elif found["bound"] is None:
            raise SystemExit(f"pyproject.toml: {requirement!r}: no lower bound")
        else:
            yield found["name"].lower().replace("_", "-"), found["bound"]


def highest(found: Iterator[tuple[str, str]]) -> dict[str, str]:
    """One bound for each name: the highest."""
    ascending = sorted(found, key=lambda one: [int(number) for number in one[1].split(".")])
    return dict(sorted(dict(ascending).items()))  # a dict keeps the last of a name


if __name__ == "__main__":
    wanted = [*PROJECT["dependencies"], *(f"{PROJECT['name']}[{extra}]" for extra in sys.argv[1:])]
    print(*(f"{name}=={bound}" for name, bound in highest(bounds(wanted)).items()), sep="\n")
