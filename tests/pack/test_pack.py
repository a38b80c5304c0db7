"""The pack: what it decodes, what it keeps through a file, and what it refuses."""

from __future__ import annotations

import copy
import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

import dsetpack
from dsetpack import Augmentation, Card, DsetpackError, FormatError, Labels, Metric, Pack, Part, Provenance, Recipe
from dsetpack.decoders import decoder
from dsetpack.formats import Reader, encode
from dsetpack.formats.card import NormalizedSpace
from dsetpack.formats.kinds import kind_config
from dsetpack.pack.stored import stored
from dsetpack.spaces import Normalized, Raw, Zca

CLASSES = ("a", "b", "c")
KINDS = {
    "images": {},
    "upsample": {"factor": 2},
    "haba": {"decoders": 3, "channels": 3, "depth": 1},
    "kfs": {"decoders": 4, "channels": (6, 4, 3), "kernel": 2},
}


def make_part(kind, n=9, image=(1, 16, 16), labels=None, bank=None, **extra):
    torch.manual_seed(len(kind) + n)
    config = kind_config(kind)(**KINDS[kind])
    made = bank or decoder(kind, config, image, len(CLASSES)).requires_grad_(False).eval()
    sources = torch.rand(n, *config.source_shape(image))
    labels = torch.arange(n) % len(CLASSES) if labels is None else labels
    return Part(kind, config, made, sources, labels, **extra)


def make_pack(kind="kfs", image=(1, 16, 16), n=9, **card):
    return Pack(Card(title="t", classes=CLASSES, shape=image, **card), [make_part(kind, n, image)])


def reopened(pack, encoding="exact"):
    return dsetpack.open(pack.to_bytes(encoding))


@pytest.mark.parametrize("kind", KINDS)
def test_decode_is_the_decoder_applied_to_each_pair(kind):
    pack = make_pack(kind)
    part = pack.parts[0]
    numbers = [5, 0, len(pack) - 1, 5]
    x, y = pack.decode(numbers)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    for row, number in enumerate(numbers):
        source, slot = divmod(number, part.slots)
        alone = part.decoder(part.sources[source : source + 1], torch.tensor([slot]))
        torch.testing.assert_close(x[row : row + 1], alone, rtol=1e-5, atol=1e-6)
        assert y[row] == part.labels[source] == pack.labels[number]


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


def test_pairs_may_be_list_array_or_tensor():
    pack = make_pack()
    expected = pack.decode([3, 1])[0]
    for numbers in (np.array([3, 1]), torch.tensor([3, 1]), (3, 1)):
        assert torch.equal(pack.decode(numbers)[0], expected)
    for wrong in ([len(pack)], [-1], [[1, 2]]):
        with pytest.raises(IndexError):
            pack.decode(wrong)
    assert pack.decode([])[0].shape == (0, 1, 16, 16)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, torch.uint8, torch.int16])
def test_pair_numbers_are_no_mask_however_narrow(dtype):
    images = torch.rand(4, 1, 4, 4)
    pack = Pack.from_arrays(images, [0, 1, 0, 1]).materialize()
    numbers = np.array([1, 1, 0], dtype) if isinstance(dtype, type) else torch.tensor([1, 1, 0], dtype=dtype)
    assert torch.equal(pack.decode(numbers)[0], images[[1, 1, 0]])


def test_decode_is_differentiable_in_sources_and_bank():
    pack = reopened(make_pack())
    part = pack.parts[0]
    assert not pack.decode([0, 1])[0].requires_grad
    part.sources.requires_grad_()
    part.decoder.requires_grad_()
    pack.decode([0, 1])[0].sum().backward()
    assert part.sources.grad[0].abs().sum() > 0
    assert part.sources.grad[1:].abs().sum() == 0
    assert all(p.grad is not None for p in part.decoder.parameters())


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


def test_from_arrays_keeps_eight_bit_pixels_exactly_in_an_eighth_of_the_bytes():
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    pack = Pack.from_arrays(images, np.arange(20) % 5, title="mine")
    data = pack.to_bytes()
    again = dsetpack.open(data)
    assert np.array_equal((again.decode(range(20))[0] * 255).round().byte().numpy(), images)
    assert torch.equal(again.decode(range(20))[0], pack.decode(range(20))[0])
    assert Reader(data).manifest.datasets["sources"].dtype == "uint8"
    assert again.card.classes == tuple("01234")


def test_from_arrays_copies():
    images, soft = np.random.default_rng(0).random((4, 1, 5, 5), np.float32), np.full((4, 3), 0.3, np.float32)
    kept = images.copy()
    for mine, labels in ((images, soft), (torch.from_numpy(images), torch.from_numpy(soft))):
        pack = Pack.from_arrays(mine, labels)
        mine[:] = 0.5
        labels[:] = 7
        assert torch.equal(pack.decode(range(4))[0], torch.from_numpy(kept))
        assert pack.labels.max() < 1
        images[:], soft[:] = kept, 0.3
    for turned in (images[::-1], images.astype(">f4")[::-1], images.transpose(0, 1, 3, 2)):
        pack = Pack.from_arrays(turned, [0, 1, 2, 0])
        assert np.array_equal(reopened(pack).decode(range(4))[0].numpy(), turned)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint64, np.int8, np.bool_])
def test_hard_labels_are_any_integers_in_a_row_or_a_column(dtype):
    labels = np.array([0, 1, 1, 0]).astype(dtype)
    for given in (labels, labels[:, None], labels[::-1][::-1], labels.tolist()):
        pack = Pack.from_arrays(np.zeros((4, 8, 8), np.uint8), given)
        assert pack.card.labels.kind == "hard"
        assert pack.labels.tolist() == [0, 1, 1, 0]
        assert pack.card.classes == ("0", "1")


def test_learned_images_may_leave_the_unit_interval_a_little():
    images = torch.tensor([-2.0, 3.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    assert torch.equal(Pack.from_arrays(images, [0, 1]).decode([0, 1])[0], images)
    space = Normalized(NormalizedSpace(mean=(0.5,), std=(0.1,)))
    assert Pack.from_arrays(images * 10, [0, 1], space=space).space is space
    holes = images * float("nan")
    assert Pack.from_arrays(holes, [0, 1], finite=False).decode([0])[0].isnan().all()


def test_soft_labels_keep_their_values():
    labels = torch.rand(12, 3)
    pack = Pack.from_arrays(torch.rand(12, 1, 8, 8), labels, classes=CLASSES)
    assert pack.card.labels.kind == "soft"
    again = reopened(pack)
    assert torch.equal(again.decode([3, 2])[1], labels[[3, 2]])
    assert torch.equal(again.labels, labels)


def test_space_is_applied_to_decoders_with_a_fixed_range_only():
    space = Normalized(NormalizedSpace(mean=(0.5,), std=(0.25,)))
    raw, normal = make_pack("kfs"), make_pack("kfs", space=space.model)
    torch.testing.assert_close(normal.decode([1])[0], (raw.decode([1])[0] - 0.5) / 0.25)
    torch.testing.assert_close(
        make_pack("images", space=space.model).decode([1])[0], make_pack("images").decode([1])[0]
    )
    assert isinstance(reopened(normal).space, Normalized)
    assert isinstance(raw.space, Raw)


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
        ({"classes": [7]}, "no class 7; there are 3 classes: a, b, c"),
        ({"classes": 2.0}, "no class 2.0"),
        ({"classes": ["Trouser"]}, "no class 'Trouser'"),
        ({"parts": ["nope"]}, "no part 'nope'; there are 2 parts, named test, train"),
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


def test_a_selection_has_no_metrics_and_no_budget():
    card = make_pack(**MEASURED).select(classes=1).card
    assert card.metrics == ()
    assert card.provenance == Provenance(method="kfs")


def test_merge_puts_parts_one_after_another_and_numbers_stages():
    whole = make_pack(**MEASURED)
    first, second, third = (whole.select(classes=c) for c in range(3))
    memory = Pack.merge(Pack.merge(first, second), third, title="memory")
    assert [part.stage for part in memory.parts] == [0, 1, 2]
    assert memory.labels.tolist() == sorted(whole.labels.tolist())
    assert torch.equal(memory.decode([0])[0], first.decode([0])[0])
    assert memory.card == whole.card.replace(title="memory", metrics=(), provenance=Provenance(method="kfs"))
    again = reopened(memory)
    assert [part.stage for part in again.parts] == [0, 1, 2]
    assert again.parts[0].decoder is again.parts[2].decoder
    assert Pack.merge(whole).card.metrics == ()


def test_parts_that_share_a_bank_are_decoded_by_one_call(monkeypatch):
    """In any order, with gradients for the sources of each part; up to rounding, as other batches round differently."""
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


def whitened(storage):
    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    space = Zca.fit(images, storage=storage)
    return Pack.from_arrays(space.apply(images[:6]), [0, 1] * 3, space=space), images


def test_a_space_to_be_refit_is_given_to_the_pack():
    pack, images = whitened("refit")
    opened = reopened(pack)
    with pytest.raises(DsetpackError, match=r"pack\.with_space\(Zca\.refit\(pack\.card\.space, x\)\)"):
        opened.space.apply(images)
    refit = opened.with_space(Zca.refit(opened.card.space, images))
    torch.testing.assert_close(refit.space.invert(refit.decode(range(6))[0]), images[:6], atol=1e-4, rtol=0)
    assert refit.digest == opened.digest is not None
    assert refit.to_bytes() == pack.to_bytes()
    embedded = refit.with_space(refit.space.stored("embed"))
    assert torch.equal(reopened(embedded).space.apply(images), pack.space.apply(images))
    assert embedded.digest is None
    for other in (Raw(), Zca.fit(images.flip(0))):
        with pytest.raises(FormatError, match="not in the space"):
            opened.with_space(other)


@pytest.mark.parametrize("names", [("sources", "labels"), ("labels", "space.mean"), ("space.matrix", "space.mean")])
def test_another_writers_names_of_the_whitening_are_not_ours(names):
    pack, images = whitened("embed")
    card, entries, tensors = stored(pack.card, pack.parts, pack.space)
    space = dict(zip(names, (tensors.pop("space.mean"), tensors.pop("space.matrix")), strict=True))
    roles = {"sources": "a", "labels": "b"}
    tensors = {roles[role]: tensors[role] for role in roles} | space
    card = card.replace(space=card.space.model_copy(update={"mean": names[0], "matrix": names[1]}))
    theirs = dsetpack.open(encode(card, [entries[0].model_copy(update={"tensors": roles})], tensors))
    again = reopened(theirs)
    assert torch.equal(again.space.apply(images), pack.space.apply(images))
    assert torch.equal(again.decode(range(6))[0], pack.decode(range(6))[0])


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


def test_a_device_that_is_not_there():
    pack = make_pack(recipe=Recipe(steps=1))
    wrong = f"cuda:{torch.cuda.device_count()}"
    for use in (pack.to, pack.materialize, lambda device: pack.train(torch.nn.Identity(), device=device)):
        for name in (wrong, "gpu"):
            with pytest.raises(DsetpackError, match=f"device '{name}' cannot be used here"):
                use(name)
    assert pack.to("cpu") is pack


def test_saving_into_no_folder_names_what_was_asked_for(tmp_path):
    with pytest.raises(OSError, match=r"a\.dpk'$"):
        make_pack().save(tmp_path / "none" / "a.dpk")


def test_card_and_contents_agree():
    part = make_part("images")
    card = Card(title="t", classes=CLASSES, shape=(1, 16, 16))
    normalized = Normalized(NormalizedSpace(mean=(0.5,), std=(0.25,)))
    with pytest.raises(FormatError, match=r"another than Normalized\(mean=\[0\.5\], std=\[0\.25\]\)"):
        Pack(card, [part], normalized)
    with pytest.raises(FormatError, match="expected a dsetpack"):
        Pack(card, [part], "normalized")
    for changes, message in (
        ({"space": normalized.model}, "another than Raw"),
        ({"classes": (*CLASSES, "d")}, r"its decoders make images \[1, 16, 16\] of 3 classes; .* of 4 classes"),
        ({"shape": (1, 32, 32)}, "sources of shape"),
        ({"licence": "MIT"}, "card: licence"),
        ({"title": 5}, "card: title"),
    ):
        with pytest.raises(FormatError, match=message):
            Pack(card, [part]).replace_card(**changes)
    other = make_part("kfs", bank=make_part("kfs", image=(1, 15, 15)).decoder)
    with pytest.raises(FormatError, match=r"its decoders make images \[1, 15, 15\]"):
        Pack(card, [other])


def test_materialize_gives_the_same_images_without_decoding(monkeypatch):
    pack = make_pack()
    kept = reopened(pack).materialize()
    assert kept.table == pack.table
    monkeypatch.setattr(Part, "decode", None)  # any use would fail
    x, y = kept.decode([7, 3])
    monkeypatch.undo()
    torch.testing.assert_close(x, pack.decode([7, 3])[0])
    assert torch.equal(y, pack.decode([7, 3])[1])
    assert kept.to_bytes() == pack.to_bytes()


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


def test_open_from_bytes_and_file_object(tmp_path):
    data = make_pack().to_bytes()
    expected = dsetpack.open(data).decode([2])[0]
    assert torch.equal(dsetpack.open(io.BytesIO(data), verify="all").decode([2])[0], expected)
    with pytest.raises(ValueError, match="verify"):
        dsetpack.open(data, verify="some")


def generator_pack(**card):
    config = kind_config("generator")(width=8)
    card = Card(title="g", classes=CLASSES, shape=(1, 28, 28), **card)
    labels = torch.arange(3).repeat_interleave(card.per_class or 1)
    return Pack(card, [Part("generator", config, decoder("generator", config, card.shape, 3).eval(), None, labels)])


def test_generator_has_the_length_it_is_asked_for_and_fresh_noise_each_epoch():
    data = generator_pack(per_class=2).to_bytes()
    pack = dsetpack.open(data)
    assert len(pack) == 6
    assert pack.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(dsetpack.open(data, per_class=5)) == 15
    x = pack.decode([4, 1], seed=3, epoch=1)[0]
    assert torch.equal(x, pack.decode([4, 1], seed=3, epoch=1)[0])
    torch.testing.assert_close(x[1:], pack.decode([1], seed=3, epoch=1)[0], rtol=1e-5, atol=1e-5)  # rounding of batches
    assert not torch.equal(x, pack.decode([4, 1], seed=3, epoch=2)[0])
    assert not torch.equal(x, pack.decode([4, 1], seed=4, epoch=1)[0])
    with pytest.raises(FormatError, match="per_class"):
        dsetpack.open(generator_pack().to_bytes())


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
        (lambda: Pack.from_arrays(np.zeros((2, 32, 32, 3)), [0, 1]), r"look like \[N, H, W, C\]"),
        (lambda: Pack.from_arrays(np.full((2, 8, 8), 255.0), [0, 1]), "range from 255 to 255"),
        (lambda: Pack.from_arrays(np.full((2, 8, 8), np.nan), [0, 1]), "images hold NaN"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [[np.inf, 0], [0, 1.0]]), "labels hold NaN"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [0.0, 1.0]), r"labels are float64 \[2\]; integers"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [[0, 1], [1, 0]]), r"labels are int64 \[2, 2\]"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [[0.0], [1.0]]), r"labels are float64 \[2, 1\]"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), ["cat", "dog"]), "names of classes as classes="),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [0, 1], licence="MIT"), "card: licence"),
        (lambda: Pack.from_arrays(np.zeros((2, 8, 8)), [0, 1], space={"kind": "raw"}), "expected a dsetpack"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(make, message):
    with pytest.raises(FormatError, match=message):
        make()
