"""``Part``: sources, labels and the decoders that each class may use."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dsetpack import Card, FormatError, Pack
from dsetpack.pack.part import drawn_labels
from tests.support.small_packs import CLASSES, make_part, reopened


def test_class_decoders_choose_from_the_class_list():
    lists = ((0, 1), (2, 3), (3, 0))
    part = make_part("kfs", class_decoders=lists)
    pack = reopened(Pack(Card(title="t", classes=CLASSES, shape=(1, 16, 16)), [part]))
    assert len(pack) == 18
    x, y = pack.decode(range(18))
    for number in range(18):
        source, slot = divmod(number, 2)
        index = torch.tensor([lists[int(y[number])][slot]])
        torch.testing.assert_close(x[number], part.decoder(part.sources[source][None], index)[0])


def test_parts_of_some_sources_and_classes():
    part = make_part("kfs", 9, stage=2, name="train", class_decoders=((0, 1), (2, 3), (3, 0)))
    some = part.take(torch.tensor([7, 0]))
    assert torch.equal(some.sources, part.sources[[7, 0]])
    assert some.labels.tolist() == [1, 0]
    assert (some.stage, some.name, some.slots, some.decoder) == (2, "train", 2, part.decoder)
    assert part.by_class([2, 0]).labels.tolist() == [0, 2, 0, 2, 0, 2]
    assert len(part.take(part.labels == 9)) == 0
    assert repr(some) == "Part(kfs 2 × 2, hard labels, stage 2, 'train')"
    soft = replace(part, labels=torch.eye(3)[part.labels] * 0.5, class_decoders=None)
    assert torch.equal(soft.by_class([1]).labels, soft.labels[[1, 4, 7]])


def test_sources_labels_and_decoders_of_a_part_agree():
    part = make_part("kfs", 9)
    assert (len(part), part.slots) == (9, 4)
    with pytest.raises(FormatError, match="9 sources and 8 labels; one label per source expected"):
        replace(part, labels=part.labels[:8])
    with pytest.raises(FormatError, match="class_decoders needs hard labels"):
        replace(part, labels=torch.rand(9, 3), class_decoders=((0,), (1,), (2,)))


def test_slots_are_decoders_of_the_labels_class():
    part = make_part("kfs", 3, class_decoders=((0, 1), (2, 3), (3, 0)))
    slots = torch.tensor([1, 0, 1])
    x = part.decode(part.sources, slots, part.labels)
    assert torch.equal(x, part.decoder(part.sources, torch.tensor([1, 2, 0])))
    again = part.decode(part.sources, slots, part.labels, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(again, x)


def test_a_generators_labels_are_each_class_in_turn():
    card = Card(title="t", classes=CLASSES, shape=(1, 16, 16))
    assert drawn_labels(card, 2).tolist() == [0, 0, 1, 1, 2, 2]
