"""Imports go down only: one floor per wing, and wings of one floor never import each other.

Imports inside functions and under ``TYPE_CHECKING`` count like all others. ``docs/house.md`` shows the house.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import pytest

import dsetpack
from dsetpack import cli
from tests.support.paths import ROOT

FLOORS = {
    "version": 0, "data": 0, "torch_settings": 0,
    "formats": 1,
    "files": 2, "order": 2, "decoders": 2, "spaces": 2, "cards": 2, "recipes": 2, "native": 2,
    "loading": 3,
    "training": 4,
    "pack": 5,
    "": 6, "replay": 6, "unpack": 6, "diff": 6, "testing": 6,
    "onnx": 7, "convert": 7, "integrations": 7, "preview": 7, "hub": 7,
    "trainers": 8,
    "cli": 9, "__main__": 10,
}  # fmt: skip
"""The floor of each wing, a folder or a module of ``dsetpack/``; "" is ``dsetpack/__init__.py`` itself, the face."""

FUTURE = {"native", "testing"}
"""Wings that have a floor and no module yet."""

COUNTS = {
    "version": 1, "torch_settings": 1,
    "formats": 47,
    "files": 11, "order": 8, "decoders": 8, "spaces": 7, "cards": 7, "recipes": 4,
    "loading": 7,
    "training": 4,
    "pack": 9,
    "": 1, "replay": 10, "unpack": 5, "diff": 1, "hub": 1,
    "onnx": 20, "convert": 21, "integrations": 3, "preview": 11,
    "trainers": 84,
    "cli": 26, "__main__": 1,
}  # fmt: skip
"""The number of modules of each wing. If you add or remove a file, change its wing's number here."""

UPWARDS = {("dsetpack.pack.pack", "dsetpack.onnx")}
"""Deliberate exceptions: conveniences of ``Pack`` whose work is done above it, imported when called (``to_onnx``)."""

DYNAMIC = {
    "dsetpack": "its names are imported when they are first used; the table names modules that it imports for types",
    "dsetpack.cli": "each command's module is imported when the command is called, and may import from here",
    "dsetpack.formats.by_name": "finds what the files of a package define; the circle test knows the packages",
    "dsetpack.formats.extras": "imports optional packages of others, to say which extra installs them",
    "dsetpack.trainers.custom": "imports the module of the user's own network, objective or data",
}
"""The modules that import by a name that they compute, and why."""

TORCH_FREE = ("formats", "files", "order", "cards", "recipes")

WITHOUT = {
    "dsetpack": {"torch"},
    "dsetpack.formats": {"torch", "h5py", "fsspec", "cryptography"},
    "dsetpack.files": {"torch"},
    "dsetpack.order": {"torch"},
    "dsetpack.cards": {"torch"},
    "dsetpack.recipes": {"torch"},
    "dsetpack.hub": {"torch"},
    "dsetpack.cli": {"torch"},
    "dsetpack.cli.info": {"torch"},
    "dsetpack.cli.recipes": {"torch"},
    "dsetpack.cli.verify": {"torch"},
    "dsetpack.onnx": {"torch", "onnx"},
    "dsetpack.onnx.runtime": {"torch", "onnx"},
}
"""What importing a module, or any module of a package that only reads, never imports."""


def modules() -> dict[str, Path]:
    """Every module of the package and its file."""
    files = sorted((ROOT / "dsetpack").rglob("*.py"))
    return {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def wing(module: str) -> str:
    """The wing of a module of ours."""
    return module.split(".")[1] if "." in module else ""


MODULES = modules()


TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def imported(module: str, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The modules that some statements of a module import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import; write the module's full name"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: everything except function bodies and code for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import(child)


IMPORTS = {module: set(imported(module, ast.walk(tree))) for module, tree in TREES.items()}
AT_IMPORT = {module: set(imported(module, at_import(tree))) for module, tree in TREES.items()}


def calls(module: str, names: set[str]) -> list[ast.Call]:
    """The calls in a module of functions of these names, plain or as attributes."""
    found = [node for node in ast.walk(TREES[module]) if isinstance(node, ast.Call)]
    return [call for call in found if ast.unparse(call.func).split(".")[-1] in names]


def package_named(module: str, node: ast.expr) -> str:
    """The package that the first argument of ``by_name`` names: ``__name__``, a string, or the name of an import."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    text = ast.unparse(node)
    if text == "__name__":
        return module
    name = text.removesuffix(".__name__")
    found = [target for target in IMPORTS[module] if target.split(".")[-1] == name]
    assert text.endswith(".__name__"), f"{module}: by_name({text}, ...) is not understood here"
    assert len(found) == 1, f"{module}: by_name({text}, ...) is not understood here"
    return found[0]


def found_by_name(module: str) -> set[str]:
    """The modules that a module finds by their names: all files of the package, except helpers."""
    found = set()
    for call in calls(module, {"by_name"}):
        package = package_named(module, call.args[0])
        inside = {m for m in MODULES if m.rpartition(".")[0] == package}
        assert inside, f"{module}: by_name names {package!r}, which is no package of ours"
        found |= {m for m in inside - {module} if (name := m.split(".")[-1]) != "base" and name[0] != "_"}
    return found


def test_every_wing_has_a_floor_and_every_module_was_seen():
    wings = {wing(module) for module in MODULES}
    assert wings <= set(FLOORS), f"no floor for {wings - set(FLOORS)}"
    folders = {path.name for path in (ROOT / "dsetpack").iterdir() if any(path.glob("*.py"))}
    assert folders == {name for name in wings if (ROOT / "dsetpack" / name).is_dir() and name}
    assert set(FLOORS) - wings - {"data"} == FUTURE
    assert Counter(map(wing, MODULES)) == COUNTS
    assert sum(target.startswith("dsetpack.") for targets in IMPORTS.values() for target in targets) >= 1050


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


def test_the_exceptions_are_imported_when_called():
    for module, target in UPWARDS:
        assert target not in AT_IMPORT[module], f"{module} imports {target} when it is imported itself"


def test_imports_by_computed_names_are_known():
    found = {module for module in MODULES if calls(module, {"import_module", "__import__"})}
    assert found == set(DYNAMIC)


def test_names_imported_when_used_are_seen_as_imports():
    where = {module for module, _ in dsetpack._WHERE.values()}
    assert where
    assert where <= IMPORTS["dsetpack"]
    assert {f"dsetpack.cli.{module}" for module in cli._COMMANDS.values()} <= set(MODULES)


def test_packages_searched_by_name_are_seen():
    assert len([module for module in MODULES if calls(module, {"by_name"})]) >= 10
    assert "dsetpack.formats.kinds.haba" in found_by_name("dsetpack.formats.kinds")
    assert "dsetpack.formats.encodings.cast" in found_by_name("dsetpack.formats.schema")
    assert "dsetpack.trainers.data.cifar" in found_by_name("dsetpack.trainers.data.registry")
    assert "dsetpack.convert._files" not in found_by_name("dsetpack.convert")


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
    """Neither through imports nor through what ``by_name`` imports."""
    graph = {m: {t for t in IMPORTS[m] if (m, t) not in UPWARDS} | found_by_name(m) for m in MODULES}
    assert circles(graph) == []


def test_formats_import_no_heavy_library():
    allowed = {"numpy", "pydantic", "typing_extensions", "zstandard", "h5py", "fsspec", "cryptography", "dsetpack"}
    mine = [module for module in MODULES if wing(module) == "formats"]
    assert len(mine) == COUNTS["formats"]
    seen = {(module, target.split(".")[0]) for module in mine for target in IMPORTS[module]}
    assert {top for _, top in seen} >= {"numpy", "pydantic", "zstandard", "dsetpack"}
    for module, top in seen:
        assert top in allowed or top in sys.stdlib_module_names, f"{module} imports {top}"


@pytest.mark.parametrize("folder", TORCH_FREE)
def test_what_only_reads_never_imports_torch(folder):
    mine = [module for module in MODULES if wing(module) == folder]
    assert mine
    for module in mine:
        assert not [target for target in IMPORTS[module] if target.split(".")[0] == "torch"], module


def closure(module: str) -> dict[str, str | None]:
    """All that importing a module imports, ours and others', each with the module of ours that imports it."""
    found: dict[str, str | None] = {module: None}
    pending = [module]
    while pending:
        current = pending.pop()
        parents = {current.rpartition(".")[0]} - {""}
        for target in AT_IMPORT.get(current, set()) | parents:
            if target not in found:
                found[target] = current
                pending.append(target)
    return found


def test_the_closure_is_not_empty():
    found = closure("dsetpack.pack.part")
    assert {"dsetpack", "dsetpack.pack", "dsetpack.formats.kinds.base", "pydantic", "torch"} <= found.keys()
    assert len(closure("dsetpack.formats")) > 50
    assert "dsetpack.onnx" not in closure("dsetpack.pack.pack")


@pytest.mark.parametrize(
    ("module", "forbidden"), [(module, name) for module, names in WITHOUT.items() for name in sorted(names)]
)
def test_importing_what_is_light_imports_no(module, forbidden):
    every = [m for m in MODULES if m == module or (wing(module) in TORCH_FREE and m.startswith(f"{module}."))]
    assert every
    for mine in every:
        found = closure(mine)
        wrong = {target: by for target, by in found.items() if target.split(".")[0] == forbidden}
        assert not wrong, f"importing {mine} imports {wrong}"
