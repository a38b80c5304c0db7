"""Refuses to build from half a checkout; everything else about the package is in ``pyproject.toml``."""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
FOLDERS = (
    "cards", "cli", "convert", "data", "decoders", "formats", "formats/encodings", "formats/kinds", "integrations",
    "labelled", "loading", "onnx", "onnx/kinds", "order", "pack", "preview", "replay", "spaces", "trainers",
    "trainers/data", "trainers/data/corruptions", "trainers/networks", "trainers/objectives",
    "trainers/parameterizations", "trainers/recipes", "trainers/recipes/methods", "training", "unpack",
)  # fmt: skip
"""Every folder of ``dsetpack/``. Without this list, setuptools builds what it finds and does not mention the rest."""

missing = [f"dsetpack/{name}" for name in FOLDERS if not any((ROOT / "dsetpack" / name).glob("*.*"))]
if missing:
    raise SystemExit(f"dsetpack cannot be built: no code in {', '.join(missing)}; get a whole checkout, or the wheel")

setup()
