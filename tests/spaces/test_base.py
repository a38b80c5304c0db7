"""What every space checks, and when two spaces mean the same."""

from __future__ import annotations

import pytest
import torch

from dsetpack.formats.card import NormalizedSpace, RawSpace
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Raw, Zca
from dsetpack.spaces.base import as_space, float_images, same_space
from tests.support.space_cases import pictures


def test_a_space_is_a_space():
    space = Raw()
    assert as_space(space) is space
    for other in ("raw", None, RawSpace(), Raw):
        with pytest.raises(FormatError, match=r"expected a dsetpack\.spaces\.Space, such as Normalized"):
            as_space(other)


@pytest.mark.parametrize("variant", ["kornia", "frepo"])
def test_how_a_whitening_is_stored_does_not_matter(variant):
    x = pictures()
    embedded, refit = Zca.fit(x, variant), Zca.fit(x, variant, storage="refit")
    assert embedded.model != refit.model
    assert same_space(embedded.model, refit.model)
    assert not same_space(embedded.model, Zca.fit(x.flip(0), variant).model)


def test_other_spaces_are_the_same_only_if_they_are_equal():
    one = NormalizedSpace(mean=(0.5,), std=(0.25,))
    assert same_space(one, NormalizedSpace(mean=(0.5,), std=(0.25,)))
    assert not same_space(one, NormalizedSpace(mean=(0.5,), std=(0.5,)))
    assert not same_space(one, RawSpace())
    assert not same_space(RawSpace(), one)


def test_images_are_floats_with_four_axes():
    x = torch.rand(2, 3, 4, 5)
    assert float_images(x) is x
    assert float_images(x.double()).dtype == torch.float64
    assert float_images(x.half()).dtype == torch.float32
    for wrong, message in (
        (x.numpy(), "images are ndarray; a torch tensor is expected"),
        (x[0], r"images have shape \[3, 4, 5\]; expected \[N, C, H, W\]"),
        (x.int(), "images are torch.int32; expected floats"),
    ):
        with pytest.raises(FormatError, match=message):
            float_images(wrong)
