"""Golden cards: a Markdown card and Croissant metadata for every decoder kind and all else that cards must show.

python -m tests.support.make_cards        rewrites tests/golden/cards/; look at the difference before you commit it
"""

from __future__ import annotations

import datetime

from dsetpack import cards
from dsetpack.cards.croissant import dumps
from tests.support.paths import GOLDEN, KFS

FOLDER = GOLDEN / "cards"
PACKS = {
    "fashion-kfs": KFS,
    **{
        name: GOLDEN / "v1.0" / f"{name}.dpk"
        for name in (
            "kind-generator", "kind-haba", "kind-images", "kind-kfs", "kind-upsample", "labels-soft",
            "parts-shared-bank", "space-zca",
        )
    },
}  # fmt: skip
DAY = datetime.date(2026, 11, 21)


def rendered(name: str) -> dict[str, str]:
    """File names and texts of a pack's two descriptions."""
    found = cards.facts(PACKS[name])
    return {f"{name}.md": cards.markdown(found), f"{name}.json": dumps(cards.croissant(found, published=DAY))}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in PACKS:
        for file, content in rendered(name).items():
            (FOLDER / file).write_text(content, encoding="utf-8")
