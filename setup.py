"""Refuses to build from half a checkout; everything else about the package is in ``pyproject.toml``."""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
FOLDERS = (
    "cards", "cli", "convert", "data", "decoders", "formats", "integrations", "loading", "onnx", "order", "pack",
    "preview", "replay", "spaces", "trainers", "training", "unpack",
)  # fmt: skip
"""Every folder of ``dsetpack/``. Without this list, setuptools builds what it finds, and says nothing of the rest."""

missing = [f"dsetpack/{name}" for name in FOLDERS if not any((ROOT / "dsetpack" / name).glob("*.*"))]
if missing:
    raise SystemExit(f"dsetpack cannot be built: no code in {', '.join(missing)}; get a whole checkout, or the wheel")

setup()
