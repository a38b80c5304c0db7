"""Where things lie in the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKS = ROOT / "examples" / "packs"
KFS = PACKS / "fashion-kfs-ipc1.dpk"
SAMPLE = ROOT / "dsetpack" / "data" / "fashion-sample.dpk"
SPEC = ROOT / "dsetpack" / "formats" / "SPEC.md"
ATTACKS = ROOT / "tests" / "attacks"
GOLDEN = ROOT / "tests" / "golden"
"""Files that were once written: packs of each version of the format, cards, vectors of the order."""
