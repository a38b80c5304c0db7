"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from dsetpack.formats.words import plural


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "image", "2 images"),
        (1000, "image", "1,000 images"),
        (1, "class", "1 class"),
        (10, "class", "10 classes"),
        (3, "entry", "3 entries"),
        (2, "key", "2 keys"),
        (2, "batch", "2 batches"),
        (1, "test image", "1 test image"),
        (2, "random real image", "2 random real images"),
    ],
)
def test_plural(number, noun, said):
    assert plural(number, noun) == said
