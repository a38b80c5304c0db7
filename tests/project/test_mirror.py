"""Tests lie where their modules lie: ``dsetpack/replay/mix.py`` is tested by ``tests/replay/test_mix.py``.

A leading underscore is left out (``decoders/_conv.py``: ``tests/decoders/test_conv.py``), and an ``__init__.py`` that
defines something is tested under its folder's name (``formats/kinds/``: ``tests/formats/kinds/test_kinds.py``).
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.paths import ROOT

STRICT = ("formats", "files", "order", "decoders", "spaces", "recipes", "pack", "loading", "training", "replay")
"""In these wings every module has tests of its own, except those that ``ABSTRACT`` names."""

ABSTRACT = {
    "formats/encodings/base.py": "abstract classes: their methods are tested with each encoding",
    "formats/kinds/base.py": "an abstract class: its methods are tested with each kind",
}

ELSEWHERE = {
    # The face and the command: the tests of what they offer run them.
    "__init__.py": "project/test_floors.py",
    "__main__.py": "cli/test_cli.py",
    "version.py": "project/test_packaging.py",
    # Cards: the tests of finished cards check facts and texts.
    "cards/facts.py": "cards/test_markdown.py",
    "cards/text.py": "cards/test_markdown.py",
    # The command line: options are tested by the commands that have them, small commands with what they call.
    "cli/declared.py": "cli/test_convert.py",
    "cli/demo.py": "cli/test_preview.py",
    "cli/diff.py": "test_diff.py",
    "cli/fitted.py": "cli/test_convert.py",
    "cli/keygen.py": "cli/test_sign.py",
    "cli/options.py": "cli/test_cli.py",
    "cli/pull.py": "test_hub.py",
    "cli/push.py": "test_hub.py",
    # Layouts: each is one case of the same tests; their helpers are tested with the bad files of every layout.
    "convert/__init__.py": "convert/test_layouts.py",
    "convert/_assemble.py": "convert/test_layouts.py",
    "convert/_experiments.py": "convert/test_protocols.py",
    "convert/_files.py": "convert/test_bad_torch_files.py",
    "convert/_matrix.py": "convert/test_bad_files.py",
    "convert/_published.py": "convert/test_layouts.py",
    "convert/_steps.py": "convert/test_layouts.py",
    "convert/base.py": "convert/test_layouts.py",
    "convert/cifar.py": "convert/test_plain_files.py",
    "convert/ddranking.py": "convert/test_layouts.py",
    "convert/folder.py": "convert/test_bad_files.py",
    "convert/frepo.py": "convert/test_layouts.py",
    "convert/haba.py": "convert/test_layouts.py",
    "convert/idc.py": "convert/test_layouts.py",
    "convert/npy.py": "convert/test_plain_files.py",
    "convert/npz.py": "convert/test_bad_files.py",
    "convert/safetensors.py": "convert/test_bad_files.py",
    "convert/tensors.py": "convert/test_layouts.py",
    # Graphs: a piece is right if the model decodes as the pack does.
    "onnx/__init__.py": "onnx/test_files.py",
    "onnx/build.py": "onnx/test_exporter.py",
    "onnx/exportable.py": "onnx/test_exporter.py",
    "onnx/graph.py": "onnx/test_exporter.py",
    "onnx/kinds/__init__.py": "onnx/test_exporter.py",
    "onnx/kinds/_conv.py": "onnx/test_exporter.py",
    "onnx/kinds/_pairwise.py": "onnx/test_exporter.py",
    "onnx/kinds/base.py": "onnx/test_exporter.py",
    "onnx/kinds/generator.py": "onnx/test_exporter.py",
    "onnx/kinds/haba.py": "onnx/test_exporter.py",
    "onnx/kinds/images.py": "onnx/test_exporter.py",
    "onnx/kinds/kfs.py": "onnx/test_exporter.py",
    "onnx/kinds/upsample.py": "onnx/test_exporter.py",
    "onnx/routing.py": "onnx/test_exporter.py",
    "onnx/spaces.py": "onnx/test_exporter.py",
    "onnx/tensors.py": "onnx/test_files.py",
    # Pieces of a page or picture: the tests of the whole check them.
    "preview/bytes_bar.py": "preview/test_page.py",
    "preview/card.py": "preview/test_page.py",
    "preview/escape.py": "preview/test_page.py",
    "preview/gallery.py": "preview/test_page.py",
    "preview/pictures.py": "preview/test_page.py",
    "preview/pixels.py": "preview/test_page.py",
    # Trainers: runs test the pieces of a run; one table tests all networks.
    "trainers/card.py": "trainers/test_distill.py",
    "trainers/context.py": "trainers/test_selections.py",
    "trainers/data/corruptions/base.py": "trainers/data/test_corrupt.py",
    "trainers/data/mosaics.py": "trainers/data/test_cifar.py",
    "trainers/data/reader.py": "trainers/data/test_data.py",
    "trainers/data/registry.py": "trainers/data/test_data.py",
    "trainers/demo.py": "cli/test_preview.py",
    "trainers/job.py": "trainers/test_matches.py",
    "trainers/measured.py": "trainers/test_scoring.py",
    "trainers/networks/alexnet.py": "trainers/networks/test_networks.py",
    "trainers/networks/base.py": "trainers/networks/test_networks.py",
    "trainers/networks/convnet.py": "trainers/networks/test_networks.py",
    "trainers/networks/frepo.py": "trainers/networks/test_networks.py",
    "trainers/networks/resnet.py": "trainers/networks/test_networks.py",
    "trainers/networks/vgg.py": "trainers/networks/test_networks.py",
    "trainers/networks/vision.py": "trainers/networks/test_networks.py",
    "trainers/objectives/__init__.py": "trainers/test_bad_input.py",
    "trainers/objectives/base.py": "trainers/objectives/test_dc.py",
    "trainers/parameterizations/__init__.py": "trainers/test_bad_input.py",
    "trainers/parameterizations/base.py": "trainers/parameterizations/test_kfs.py",
    "trainers/seeds.py": "trainers/test_matches.py",
    "trainers/signals.py": "trainers/test_resume.py",
    # Forms of unpacking: each is one case of the same tests.
    "unpack/base.py": "unpack/test_unpack.py",
    "unpack/hf.py": "unpack/test_unpack.py",
    "unpack/png.py": "unpack/test_unpack.py",
    "unpack/safetensors.py": "unpack/test_unpack.py",
}
"""Modules of the other wings that have no tests of their own, and the tests that run them."""

UNTESTED = {"make_sample.py": "it made the sample that is shipped, once, from data that the tests do not have"}
"""Files that no test runs, wherever they lie, and why."""


def expected(module: str) -> str | None:
    """The test file of a module's path; None for an ``__init__.py`` that defines nothing."""
    path = Path(module)
    if path.name != "__init__.py":
        return str(path.parent / f"test_{path.stem.lstrip('_')}.py")
    body = ast.parse((ROOT / "dsetpack" / path).read_text(encoding="utf-8")).body
    if not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in body):
        return None
    return str(path.parent / f"test_{path.parent.name or 'dsetpack'}.py")


MODULES = sorted(str(file.relative_to(ROOT / "dsetpack")) for file in (ROOT / "dsetpack").rglob("*.py"))
MISSING = {
    module for module in MODULES if (test := expected(module)) is not None and not (ROOT / "tests" / test).is_file()
}


def test_modules_were_seen():
    assert len(MODULES) > 250
    assert expected("decoders/_conv.py") == "decoders/test_conv.py"
    assert expected("formats/kinds/__init__.py") == "formats/kinds/test_kinds.py"
    assert expected("loading/__init__.py") is None
    assert expected("hub.py") == "test_hub.py"
    assert len(MODULES) - len(MISSING) > 100


@pytest.mark.parametrize("wing", STRICT)
def test_every_module_has_tests_of_its_path(wing):
    mine = {module for module in MODULES if module.startswith(f"{wing}/")}
    assert len(mine) >= 4
    assert mine & MISSING == mine & set(ABSTRACT)


def test_other_modules_without_tests_of_their_path_are_known():
    others = {module for module in MISSING if not module.startswith(tuple(f"{wing}/" for wing in STRICT))}
    assert {module for module in others if Path(module).name not in UNTESTED} == set(ELSEWHERE)
    assert {Path(module).name for module in others} >= set(UNTESTED)


def test_the_tests_elsewhere_are_there():
    for test in ELSEWHERE.values():
        text = (ROOT / "tests" / test).read_text(encoding="utf-8")
        assert "def test_" in text, test
