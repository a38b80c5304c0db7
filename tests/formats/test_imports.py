"""What the formats floor needs, and what it must never import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from format_packs import images, part_of

from dsetpack import formats

ROOT = Path(__file__).parents[2]
FLOORS = {"dsetpack.formats": 0, "dsetpack": 1, "dsetpack.trainers": 2, "dsetpack.cli": 3, "dsetpack.__main__": 3}
"""From the ground up; ``dsetpack`` is what lies beside the others."""


def floor(module):
    """The floor a module lives on; -1 outside the house."""
    homes = [name for name in FLOORS if module == name or module.startswith(f"{name}.")]
    return FLOORS[max(homes, key=len)] if homes else -1


def modules():
    """Every module of the package: its name and its file. The folders themselves, not the links to them."""
    for folder, prefix in (
        ("formats", "dsetpack.formats"),
        ("trainers", "dsetpack.trainers"),
        ("dsetpack", "dsetpack"),
    ):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if folder == "dsetpack" and parts[0] in ("formats", "trainers"):
                continue
            name = ".".join((prefix, *parts)).removesuffix(".__init__")
            yield name, path


def imported(path, name):
    """Names of all modules that a file imports, anywhere in it but under ``if TYPE_CHECKING``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            skipped |= set(map(id, (inner for part in node.body for inner in ast.walk(part))))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative imports do not survive the links; use absolute ones"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_go_downwards_only():
    seen = 0
    for name, path in modules():
        mine = floor(name)
        for target in imported(path, name):
            if target.split(".")[0] == "dsetpack":
                seen += 1
                assert floor(target) <= mine, f"{name} imports {target}, which is a floor above"
            assert target.split(".")[0] not in ("formats", "trainers"), f"{name} imports {target}: not its full name"
    assert seen > 50


def test_the_walls_hold():
    assert floor("dsetpack.formats.reader") == 0
    assert floor("dsetpack.pack") == floor("dsetpack") == 1
    assert floor("dsetpack.trainers.loop") == 2
    assert floor("dsetpack.cli.info") == 3
    assert floor("numpy") == -1


def test_formats_import_no_heavy_library():
    allowed = {"numpy", "pydantic", "typing_extensions", "zstandard", "h5py", "fsspec", "cryptography", "dsetpack"}
    for name, path in modules():
        if floor(name) == 0:
            for target in imported(path, name):
                top = target.split(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{name} imports {target}"


def run(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_formats_never_import_torch(tmp_path):
    (tmp_path / "x.dpk").write_bytes(images())
    run(
        "import sys, pkgutil, importlib, dsetpack.formats as formats\n"
        "for module in pkgutil.walk_packages(formats.__path__, 'dsetpack.formats.'):\n"
        "    importlib.import_module(module.name)\n"
        "formats.verify(sys.argv[1])\n"
        "assert 'torch' not in sys.modules",
        str(tmp_path / "x.dpk"),
    )


def test_importing_formats_imports_no_library_for_some_uses_only():
    run("import sys, dsetpack.formats; assert not {'h5py', 'fsspec', 'cryptography'} & set(sys.modules)")


BLOCKER = (
    "import sys\n"
    "class Blocker:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.split('.')[0] == 'h5py': raise ImportError(f'{name} is blocked')\n"
    "sys.meta_path.insert(0, Blocker())\n"
    "try: import h5py\n"
    "except ImportError: pass\n"
    "else: raise AssertionError\n"
)


@pytest.mark.parametrize("preset", ["exact", "int8"])
def test_reading_decoding_and_verifying_need_no_h5py(preset, tmp_path):
    card, part, tensors = part_of("kfs")
    path = tmp_path / "x.dpk"
    path.write_bytes(formats.encode(card, [part], tensors, preset))
    found = run(
        BLOCKER + "import dsetpack\n"
        "dsetpack.verify(sys.argv[1], hdf5=False)\n"
        "pack = dsetpack.open(sys.argv[1], verify='all')\n"
        "x, y = pack.decode([0, 3, len(pack) - 1])\n"
        "assert x.shape == (3, 1, 12, 12), x.shape\n"
        "assert 'h5py' not in sys.modules\n"
        "print(len(pack))",
        str(path),
    )
    assert found == "15\n"
