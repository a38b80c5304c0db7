"""Selections and merged packs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dsetpack import Card, FormatError, Metric, Pack, Part, Provenance
from dsetpack.formats.card import NormalizedSpace
from dsetpack.pack.combine import floats
from tests.support.small_packs import CLASSES, make_pack, make_part, reopened


def test_select_by_class_and_part():
    first, second = make_part("kfs", 9, name="train"), make_part("images", 6, name="test")
    pack = Pack(Card(title="t", classes=CLASSES, shape=(1, 16, 16)), [first, second])
    chosen = pack.select(classes=[2])
    assert set(chosen.labels.tolist()) == {2}
    assert len(chosen) == 3 * 4 + 2
    assert len(pack.select(parts=["test"])) == len(pack.select(parts=[1])) == 6
    assert torch.equal(pack.select(parts=["test"]).decode([4])[0], pack.decode([36 + 4])[0])
    for same in ("c", 2, ["c"], {2}, np.int64(2), np.array([2]), torch.tensor(2), torch.tensor([2]), range(2, 3)):
        assert torch.equal(pack.select(classes=same).labels, chosen.labels)
    assert len(pack.select(parts="test")) == len(pack.select(parts=1)) == 6
    for wrong, message in (
        ({"classes": [7]}, "no class 7; the pack has 3 classes: a, b, c"),
        ({"classes": 2.0}, "no class 2.0"),
        ({"classes": ["Trouser"]}, "no class 'Trouser'"),
        ({"parts": ["nope"]}, "no part 'nope'; the pack has 2 parts, named test, train"),
        ({"parts": [5]}, "no part 5"),
        ({"classes": []}, "classes is empty"),
        ({"parts": []}, "parts is empty"),
    ):
        with pytest.raises(FormatError, match=message):
            pack.select(**wrong)
    with pytest.raises(FormatError, match=r"nothing is left: no sources of classes \['b'\]"):
        chosen.select(classes=["b"])


MEASURED = {
    "metrics": (Metric(value=0.5, arch="convnet3", test_data="x"),),
    "provenance": Provenance(method="kfs", budget_floats=99),
}


def test_a_selection_has_no_metrics_and_the_budget_of_what_is_left():
    pack = make_pack(**MEASURED)
    card = pack.select(classes=1).card
    assert card.metrics == ()
    bank = sum(values.numel() for values in pack.parts[0].decoder.state_dict().values())
    assert card.provenance == Provenance(method="kfs", budget_floats=3 * pack.parts[0].sources[0].numel() + bank)
    assert make_pack().select(classes=1).card.provenance.budget_floats is None
    assert pack.select(classes=1).select(classes=1).card == card == reopened(pack.select(classes=1)).card


def test_merge_puts_parts_one_after_another_and_numbers_stages():
    whole = make_pack(**MEASURED)
    first, second, third = (whole.select(classes=c) for c in range(3))
    memory = Pack.merge(Pack.merge(first, second), third, title="memory")
    assert [part.stage for part in memory.parts] == [0, 1, 2]
    assert memory.labels.tolist() == sorted(whole.labels.tolist())
    assert torch.equal(memory.decode([0])[0], first.decode([0])[0])
    budget = Provenance(method="kfs", budget_floats=floats(whole.parts))  # the decoders are shared, and count once
    assert memory.card == whole.card.replace(title="memory", metrics=(), provenance=budget)
    bank = sum(values.numel() for values in whole.parts[0].decoder.state_dict().values())
    assert budget.budget_floats == whole.parts[0].sources.numel() + bank
    assert Pack.merge(first, make_pack()).card.provenance.budget_floats is None  # one is not known
    assert Pack.merge(first, second, provenance=Provenance(method="x")).card.provenance == Provenance(method="x")
    again = reopened(memory)
    assert [part.stage for part in again.parts] == [0, 1, 2]
    assert again.parts[0].decoder is again.parts[2].decoder
    assert Pack.merge(whole).card.metrics == ()


def test_parts_that_share_a_bank_are_decoded_by_one_call(monkeypatch):
    """Pairs in any order, and gradients for each part's sources; up to rounding, as other batches round differently."""
    pack = make_pack()
    merged = Pack.merge(pack.select(classes=[0]), make_pack("haba"), pack, pack.select(classes=[1]))
    sources = [part.sources.clone().requires_grad_() for part in merged.parts]
    merged = Pack(merged.card, [replace(p, sources=s) for p, s in zip(merged.parts, sources, strict=True)])
    pairs = torch.randperm(len(merged), generator=torch.Generator().manual_seed(0))[:40]
    one_by_one = [merged.decode([number]) for number in pairs.tolist()]
    calls, decode = [], Part.decode
    monkeypatch.setattr(Part, "decode", lambda part, *given: calls.append(part.decoder) or decode(part, *given))
    x, y = merged.decode(pairs)
    assert len({*map(id, calls)}) == len(calls) == 2
    assert torch.allclose(x, torch.cat([one for one, _ in one_by_one]), atol=1e-6)
    assert torch.equal(y, torch.cat([one for _, one in one_by_one]))
    weights = torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad((x * weights).sum(), sources)
    expected = torch.autograd.grad((torch.cat([one for one, _ in one_by_one]) * weights).sum(), sources)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    kept = merged.materialize()
    assert torch.allclose(kept.decode(pairs)[0], x, atol=1e-6)
    assert torch.equal(kept.decode(pairs)[1], y)
    for some in (merged, kept):
        assert [list(t.shape) for t in some.decode([])] == [[0, *pack.card.shape], [0]]
        with pytest.raises(IndexError, match="pair numbers must be in"):
            some.decode([len(some)])


def test_merge_takes_all_parts_of_one_name():
    pack = Pack(Card(title="t", classes=CLASSES, shape=(1, 16, 16)), [make_part("kfs", name="train")])
    assert len(Pack.merge(pack, pack).select(parts="train")) == 2 * len(pack)


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (lambda: make_pack(image=(1, 20, 20)), "shape"),
        (lambda: make_pack(space=NormalizedSpace(mean=(0.5,), std=(0.25,))), "space"),
        (lambda: make_pack(epoch_rule="paired"), "epoch_rule"),
        (lambda: Pack.from_arrays(np.zeros((3, 16, 16)), [0, 1, 2]), "classes"),
        (lambda: Pack.from_arrays(np.zeros((3, 16, 16)), np.ones((3, 3)), classes=CLASSES), "labels"),
    ],
)
def test_merge_refuses_what_does_not_go_together(other, name):
    with pytest.raises(FormatError, match=f"pack 1 differs in {name}"):
        Pack.merge(make_pack(), other())


def test_merge_follows_what_it_is_told():
    assert Pack.merge(make_pack(), make_pack(epoch_rule="paired"), epoch_rule="paired").card.epoch_rule == "paired"
    with pytest.raises(FormatError, match="at least one"):
        Pack.merge()
    with pytest.raises(FormatError, match="card: licence"):
        Pack.merge(make_pack(), licence="MIT")
