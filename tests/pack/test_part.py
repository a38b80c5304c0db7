"""``Part``: sources, labels and the decoders that each class may use."""

from __future__ import annotations

import torch

from dsetpack import Card, Pack
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
