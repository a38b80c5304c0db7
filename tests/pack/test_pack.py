"""The pack: what it keeps in a file, how it trains, and what it refuses."""

from __future__ import annotations

import copy
import io
import os
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import dsetpack
from dsetpack import Augmentation, Card, DsetpackError, FormatError, Labels, Pack, Recipe
from dsetpack.formats import Reader
from tests.support.small_packs import CLASSES, KINDS, make_pack, make_part, reopened


@pytest.mark.parametrize("kind", KINDS)
def test_exact_file_gives_the_same_pack_bit_by_bit(kind):
    pack = make_pack(kind)
    again = reopened(pack)
    assert len(again) == len(pack) == len(pack.parts[0]) * pack.parts[0].slots
    assert torch.equal(again.parts[0].sources, pack.parts[0].sources)
    for name, values in pack.parts[0].decoder.state_dict().items():
        assert torch.equal(again.parts[0].decoder.state_dict()[name], values)
    assert torch.equal(again.decode(range(len(pack)))[0], pack.decode(range(len(pack)))[0])
    assert torch.equal(again.labels, pack.labels)
    assert again.to_bytes() == pack.to_bytes()


@pytest.mark.parametrize(("encoding", "bound"), [("f16", 2e-3), ("int8", 0.02), ("int4", 0.3)])
def test_smaller_encodings_stay_close(encoding, bound):
    pack = make_pack("kfs", n=90)
    x, small = pack.decode(range(len(pack)))[0], reopened(pack, encoding).decode(range(len(pack)))[0]
    assert 0 < (x - small).abs().max() < bound
    assert len(pack.to_bytes(encoding)) < len(pack.to_bytes("exact"))


def test_parts_share_a_bank_and_stay_shared_through_a_file():
    first = make_part("kfs", 6, name="one")
    second = make_part("kfs", 3, bank=first.decoder, stage=1, name="two")
    other = make_part("images", 3, stage=2)
    pack = Pack(Card(title="t", classes=CLASSES, shape=(1, 16, 16)), [first, second, other])
    again = reopened(pack)
    assert again.parts[0].decoder is again.parts[1].decoder
    assert [p.stage for p in again.parts] == [0, 1, 2]
    assert [p.name for p in again.parts] == ["one", "two", None]
    order = torch.randperm(len(pack), generator=torch.Generator().manual_seed(0))
    x, y = again.decode(order)
    assert torch.equal(y, pack.labels[order])
    for row in (0, 7, 20):
        torch.testing.assert_close(x[row], pack.decode([int(order[row])])[0][0])
    banks = [name for name in Reader(pack.to_bytes()).manifest.tensors if name.startswith("bank0.")]
    alone = Pack(pack.card, [first])
    assert len(banks) == len(first.decoder.state_dict())
    assert len(pack.to_bytes()) < len(alone.to_bytes()) + len(Pack(pack.card, [second, other]).to_bytes())


def test_training_uses_the_cards_augmentation_another_or_none():
    seen = []

    class Spy(torch.nn.Linear):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x.flatten(1))

    def images(**options):
        seen.clear()
        pack.train(Spy(16, 2), recipe=Recipe(steps=3, batch_size=4), **options)
        return torch.cat(seen)

    pixels = torch.rand(4, 1, 4, 4)
    pack = Pack.from_arrays(pixels, [0, 1, 0, 1], augmentation=Augmentation(ops=("color",)))
    plain = {image.numpy().tobytes() for image in pixels}
    assert {x.numpy().tobytes() for x in images(augmentation=None)} == plain
    assert not plain & {x.numpy().tobytes() for x in images()}
    assert torch.equal(images(), images(augmentation="card"))
    assert torch.equal(images(augmentation=pack.card.augmentation), images())
    assert len(images(augmentation=None, steps=2)) == 8
    calls = []
    pack.train(Spy(16, 2), recipe=Recipe(steps=3), progress=lambda *a: calls.append(a))
    assert calls[-1][:2] == (3, 3)
    with pytest.raises(FormatError, match="augmentation is 'dsa'; expected 'card'"):
        images(augmentation="dsa")


def test_the_samplers_rule_is_the_cards_unless_given():
    pack = make_pack(epoch_rule="paired")
    assert len(pack.sampler(1, rule=None)) == len(pack.sampler(1)) == 9
    assert len(pack.sampler(1, rule="product")) == len(pack)


def test_a_pack_is_a_map_style_dataset():
    pack = reopened(make_pack("kfs"))
    assert isinstance(pack, Dataset)  # type checkers accept DataLoader(pack), too
    images, labels = pack.decode(range(len(pack)))
    for index in (3, np.int64(3), torch.tensor(3), 3 - len(pack)):
        x, y = pack[index]
        assert torch.allclose(x, images[3], atol=1e-6)
        assert (y, type(y)) == (int(labels[3]), int)
    for index in (len(pack), -len(pack) - 1):
        with pytest.raises(IndexError, match=f"the pack has {len(pack)} pairs"):
            pack[index]
    with pytest.raises(TypeError):
        pack["0"]
    assert torch.allclose(torch.stack([x for x, _ in pack]), images, atol=1e-6)
    assert [y for _, y in pack] == labels.tolist()
    for context in ("fork", None) if hasattr(os, "fork") else (None,):
        loader = DataLoader(pack, batch_size=4, num_workers=2 if context else 0, multiprocessing_context=context)
        x, y = (torch.cat(pieces) for pieces in zip(*loader, strict=True))
        assert torch.allclose(x, images, atol=1e-6)
        assert torch.equal(y, labels)
    assert DataLoader(pack, shuffle=True).dataset is pack


def test_a_batch_of_a_pack_is_decoded_by_one_call(monkeypatch):
    pack, calls, decode = make_pack("images"), [], Pack.decode
    monkeypatch.setattr(
        Pack, "decode", lambda self, *args, **named: (calls.append(args), decode(self, *args, **named))[1]
    )
    assert len(list(DataLoader(pack, batch_size=4))) == len(calls) == -(-len(pack) // 4)


def test_a_device_that_is_not_there():
    pack = make_pack(recipe=Recipe(steps=1))
    wrong = f"cuda:{torch.cuda.device_count()}"
    for use in (pack.to, pack.materialize, lambda device: pack.train(torch.nn.Identity(), device=device)):
        for name in (wrong, wrong.replace("cuda", "gpu"), "processor"):
            with pytest.raises(DsetpackError, match=f"device '{name}' cannot be used here"):
                use(name)
    assert pack.to("cpu") is pack


def test_saving_into_no_folder_names_what_was_asked_for(tmp_path):
    with pytest.raises(OSError, match=r"a\.dpk'$"):
        make_pack().save(tmp_path / "none" / "a.dpk")


def test_opening_reads_no_tensor_and_pickling_leaves_the_file(tmp_path):
    path = tmp_path / "a.dpk"
    pack = make_pack()
    assert pack.save(path) == path.stat().st_size
    opened = dsetpack.open(path)
    assert not hasattr(opened, "_parts")
    assert len(opened) == len(pack)
    assert torch.equal(opened.labels, pack.labels)
    assert not hasattr(opened, "_parts")
    sent = pickle.loads(pickle.dumps(opened))
    path.unlink()
    assert torch.equal(sent.decode([3])[0], pack.decode([3])[0])
    assert sent.digest == opened.digest is not None
    assert torch.equal(copy.deepcopy(opened).decode([3])[0], pack.decode([3])[0])


def test_a_pack_with_named_axes_is_the_same_pack(tmp_path):
    path, pack = tmp_path / "a.dpk", make_pack()
    assert pack.save(path, layout="open") == path.stat().st_size
    assert path.read_bytes() == pack.to_bytes(layout="open")
    dsetpack.verify(path)
    opened, plain = dsetpack.open(path), dsetpack.open(pack.to_bytes())
    assert Reader(path).manifest.content_digest == Reader(pack.to_bytes()).manifest.content_digest
    assert torch.equal(opened.decode([3])[0], pack.decode([3])[0])
    assert opened.digest != plain.digest
    assert opened.to_bytes() == pack.to_bytes()
    with pytest.raises(FormatError, match="layout 'hdf5': one of plain, open expected"):
        pack.save(path, layout="hdf5")
    assert path.read_bytes() == pack.to_bytes(layout="open")


def test_open_from_bytes_and_file_object(tmp_path):
    data = make_pack().to_bytes()
    expected = dsetpack.open(data).decode([2])[0]
    assert torch.equal(dsetpack.open(io.BytesIO(data), verify="all").decode([2])[0], expected)
    with pytest.raises(ValueError, match="verify"):
        dsetpack.open(data, verify="some")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pack(Card(title="t", classes=CLASSES, shape=(1, 16, 16)), []), "at least one part"),
        (lambda: make_pack(labels=Labels(kind="soft")), "labels"),
        (lambda: Pack(Card(title="t", classes=("a", "b"), shape=(1, 16, 16)), [make_part("kfs")]), "2 classes"),
        (lambda: Pack(Card(title="t", classes=CLASSES, shape=(1, 32, 32)), [make_part("kfs")]), "sources of shape"),
        (lambda: make_part("kfs", labels=torch.zeros(3, dtype=torch.long)), "9 sources and 3 labels"),
        (lambda: make_pack().train(torch.nn.Identity()), "no recipe"),
        (lambda: make_pack().to_bytes("int9"), "int9"),
        (lambda: make_pack().to_bytes({"nope": "int8"}), "nope"),
        (lambda: Pack.from_arrays(np.zeros((2, 8)), [0, 1]), "shape"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8), np.int64), [0, 1]), "int64"),
        (lambda: Pack.from_arrays(np.zeros((3, 8, 8), np.uint8), [0, 1]), "3 images and 2 labels"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8), np.uint16), [0, 1]), "uint16; .* dividing by the largest"),
        (lambda: Pack.from_arrays(np.zeros((2, 3, 32, 3)), [0, 1]), "can be NCHW .* or NHWC .* axes='NHWC'"),
        (lambda: Pack.from_arrays(np.full((2, 8, 8), 255.0), [0, 1]), "from 255 to 255 look .* divide them by 255"),
        (lambda: Pack.from_arrays(np.full((2, 8, 8), np.nan), [0, 1]), "images hold NaN"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [[np.inf, 0], [0, 1.0]]), "labels hold NaN"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [0.5, 1.0]), r"labels are float64 \[2\] with 0.5"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [[0, 1], [1, 1]]), r"labels are int64 \[2, 2\].*one-hot"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [[[0.0]], [[1.0]]]), r"labels are float64 \[2, 1, 1\]"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [1, 2]), "none is 0; .*labels - 1"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [1, 2], classes=2), "labels 1..2 for 2 classes.*labels - 1"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [0, 2]), "none is 1; .*classes="),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), ["cat", "ox"], classes=["cat", "dog"]), "have no 'ox'"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), np.eye(2, dtype=int), classes=3), "2 columns for 3 classes"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [0, 1], licence="MIT"), "card: licence"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [0, 1], space={"kind": "raw"}), "expected a dsetpack"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(make, message):
    with pytest.raises(FormatError, match=message):
        make()
