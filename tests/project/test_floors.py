"""Imports go down only: one floor per wing, and wings of one floor never import each other.

Imports inside functions and under ``TYPE_CHECKING`` count like all others. ``docs/house.md`` shows the house.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FLOORS = {
    "version": 0, "data": 0,
    "formats": 1,
    "order": 2, "decoders": 2, "spaces": 2, "cards": 2, "native": 2,
    "loading": 3,
    "training": 4,
    "pack": 5,
    "": 6, "replay": 6, "unpack": 6, "diff": 6, "hub": 6, "testing": 6,
    "onnx": 7, "convert": 7, "integrations": 7, "preview": 7,
    "trainers": 8,
    "cli": 9, "__main__": 10,
}  # fmt: skip
"""The floor of each wing, a folder or a module of ``dsetpack/``; "" is ``dsetpack/__init__.py`` itself, the face."""

UPWARDS = {("dsetpack.pack.pack", "dsetpack.onnx")}
"""Deliberate exceptions: conveniences of ``Pack`` whose work is done above it, imported when called (``to_onnx``)."""

TORCH_FREE = ("formats", "order", "cards")


def modules() -> dict[str, Path]:
    """Every module of the package and its file."""
    files = sorted((ROOT / "dsetpack").rglob("*.py"))
    return {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def wing(module: str) -> str:
    """The wing of a module of ours."""
    return module.split(".")[1] if "." in module else ""


MODULES = modules()


def imported(module: str) -> Iterator[str]:
    """The modules that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import; write the module's full name"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


IMPORTS = {module: set(imported(module)) for module in MODULES}


def test_every_wing_has_a_floor_and_every_module_was_seen():
    wings = {wing(module) for module in MODULES}
    assert wings <= set(FLOORS), f"no floor for {wings - set(FLOORS)}"
    folders = {path.name for path in (ROOT / "dsetpack").iterdir() if any(path.glob("*.py"))}
    assert folders == {name for name in wings if (ROOT / "dsetpack" / name).is_dir() and name}
    assert len(MODULES) >= 250
    assert sum(target.startswith("dsetpack.") for targets in IMPORTS.values() for target in targets) >= 900


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module):
    mine = FLOORS[wing(module)]
    for target in IMPORTS[module]:
        top, _, _ = target.partition(".")
        assert top not in ("formats", "trainers"), f"{module} imports {target} through a link; write dsetpack.{target}"
        if top != "dsetpack" or wing(target) == wing(module) or (module, target) in UPWARDS:
            continue
        theirs = FLOORS[wing(target)]
        assert theirs < mine, f"{module} (floor {mine}) imports {target} (floor {theirs})"


def test_the_exceptions_are_still_needed():
    assert all(target in IMPORTS[module] for module, target in UPWARDS)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The sets of modules that import each other in a circle (Tarjan's strongly connected components)."""
    numbers, low, stack, found, counter = {}, {}, [], [], count()

    def visit(node):
        numbers[node] = low[node] = next(counter)
        stack.append(node)
        for target in graph[node] & graph.keys():
            if target not in numbers:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], numbers[target])
        if low[node] == numbers[node]:
            at = stack.index(node)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in numbers:
            visit(node)
    return found


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "x"}, "d": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_no_circle_of_modules():
    graph = {module: {t for t in IMPORTS[module] if (module, t) not in UPWARDS} for module in MODULES}
    assert circles(graph) == []


def test_formats_import_no_heavy_library():
    allowed = {"numpy", "pydantic", "typing_extensions", "zstandard", "h5py", "fsspec", "cryptography", "dsetpack"}
    for module in MODULES:
        if wing(module) == "formats":
            for target in IMPORTS[module]:
                top = target.split(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{module} imports {target}"


@pytest.mark.parametrize("folder", TORCH_FREE)
def test_what_only_reads_never_imports_torch(folder):
    mine = [module for module in MODULES if wing(module) == folder]
    assert mine
    for module in mine:
        assert not [target for target in IMPORTS[module] if target.split(".")[0] == "torch"], module
