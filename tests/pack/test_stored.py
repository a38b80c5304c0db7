"""From a pack in memory to the arrays of its file."""

from __future__ import annotations

import pytest
import torch

import dsetpack
from dsetpack import FormatError
from dsetpack.formats import encode
from dsetpack.pack.stored import to_file
from tests.support.small_packs import generator_pack, reopened
from tests.support.space_cases import whitened


def test_a_generators_file_holds_all_classes_alike():
    pack = generator_pack(2, per_class=2)
    with pytest.raises(FormatError, match=r"part 0: 2 labels found; .* here 2 × 3: save the whole pack"):
        pack.select(classes=[1]).to_bytes()
    for odd in (generator_pack(2, per_class=3), generator_pack(1).select(classes=[0])):
        with pytest.raises(FormatError, match="a generator's file can only say 'per_class'"):
            odd.to_bytes()
    assert len(dsetpack.open(pack.select(classes=[2, 0, 1]).to_bytes())) == 6
    assert len(dsetpack.open(generator_pack(4).to_bytes(), per_class=4)) == 12


@pytest.mark.parametrize("names", [("sources", "labels"), ("labels", "space.mean"), ("space.matrix", "space.mean")])
def test_another_writers_names_of_the_whitening_are_not_ours(names):
    pack, images = whitened("embed")
    card, entries, tensors = to_file(pack.card, pack.parts, pack.space)
    space = dict(zip(names, (tensors.pop("space.mean"), tensors.pop("space.matrix")), strict=True))
    roles = {"sources": "a", "labels": "b"}
    tensors = {roles[role]: tensors[role] for role in roles} | space
    card = card.replace(space=card.space.model_copy(update={"mean": names[0], "matrix": names[1]}))
    theirs = dsetpack.open(encode(card, [entries[0].model_copy(update={"tensors": roles})], tensors))
    again = reopened(theirs)
    assert torch.equal(again.space.apply(images), pack.space.apply(images))
    assert torch.equal(again.decode(range(6))[0], pack.decode(range(6))[0])
