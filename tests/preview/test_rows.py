"""The choice of rows, and the sizes of pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dsetpack.preview.rows import by_class, fitted, hard, spread

LABELS = np.array([2, 0, 2, 5, 0, 2])


def test_by_class_has_every_source_once_in_order():
    assert [ids.tolist() for ids in by_class(LABELS)] == [[1, 4], [0, 2, 5], [3]]
    assert [ids.tolist() for ids in by_class(LABELS, 2)] == [[1, 4], [0, 2], [3]]


def test_spread_takes_from_all_classes_alike():
    assert spread(LABELS, 3).tolist() == [1, 0, 3]
    assert spread(LABELS, 5).tolist() == [1, 4, 0, 2, 3]
    assert spread(LABELS, 99).tolist() == [1, 4, 0, 2, 5, 3]


def test_the_class_of_a_soft_label_is_its_largest_entry():
    assert hard(torch.tensor([[0.2, 0.8], [0.6, 0.4]])).tolist() == [1, 0]
    assert hard(torch.tensor([3, 1])).tolist() == [3, 1]


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((28, 28), 32, (28, 28)),
        ((224, 224), 112, (112, 112)),
        ((256, 32), 128, (256, 32)),
        ((400, 100), 100, (200, 50)),
        ((4096, 1), 32, (128, 1)),
        ((1, 4096), 32, (1, 128)),
    ],
)
def test_large_images_are_shrunk_by_area_and_long_ones_by_length(size, side, expected):
    assert fitted(*size, side) == expected
