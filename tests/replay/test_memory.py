"""``ReplayMemory``: what it keeps, what it refuses, and that failures change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dsetpack
from dsetpack import FormatError, Normalized, NormalizedSpace, Pack, Part
from dsetpack.formats.notices import Notice
from dsetpack.replay import ReplayMemory
from tests.support.paths import KFS
from tests.support.replay_packs import SHAPE, arrays, generator, haba, kfs, many, memory_of, soft, state


@pytest.fixture(scope="module")
def stages():
    pack = dsetpack.open(KFS)
    return [pack.select(classes=[2 * n, 2 * n + 1]) for n in range(5)]


def test_stages_of_one_bank_share_it_and_rehearse_all_classes(stages):
    memory = memory_of(stages, encoding="exact")
    assert memory.tasks == tuple(f"task {n}" for n in range(5))
    assert len({id(part.decoder) for part in memory.pack.parts}) == 1
    assert [part.stage for part in memory.pack.parts] == [0, 1, 2, 3, 4]
    whole = dsetpack.open(KFS)
    assert len(memory) == len(whole)
    assert sorted(memory.targets.tolist()) == sorted(whole.labels.tolist())
    assert memory.task_of.tolist() == [label // 2 for label in memory.targets.tolist()]
    assert memory.counts()["task 1"] == {"Pullover": 7, "Dress": 7}
    seen = torch.cat([y for _, y in memory.loader(64, seed=0)])
    assert torch.equal(seen.sort().values, whole.labels.sort().values)
    x, _ = memory.pack.decode(range(28))
    assert torch.equal(x, stages[0].decode(range(28))[0])


def test_it_holds_what_its_file_will_hold(stages):
    memory = memory_of(stages[:1], encoding="int8")
    file = dsetpack.open(stages[0].to_bytes("int8"))
    assert torch.equal(memory.pack.parts[0].sources, file.parts[0].sources)
    assert not torch.equal(memory.pack.parts[0].sources, stages[0].parts[0].sources)


def test_pixels_come_back_exactly_also_at_int8():
    memory = ReplayMemory(classes=4)
    x, y = arrays([0, 1], 3)
    memory.add_arrays(x, y)
    decoded, labels = memory.pack.decode(range(6))
    assert torch.equal((decoded * 255).round().to(torch.uint8), torch.from_numpy(x))
    assert labels.tolist() == y.tolist()


def test_targets_and_counts_decode_nothing(stages, monkeypatch):
    memory = memory_of(stages)
    monkeypatch.setattr(Part, "decode", lambda *_: pytest.fail("decoded"))
    assert len(memory.targets) == len(memory.task_of) == len(memory)
    assert memory.counts()


def test_extend_adds_codes_to_the_decoders_that_are_there(stages):
    memory = memory_of(stages[:1], encoding="exact")
    bank, before = memory.pack.parts[0].decoder, memory.bytes
    codes = stages[1].parts[0].sources
    memory.extend(codes.numpy(), stages[1].parts[0].labels.numpy(), task="codes")
    assert memory.pack.parts[1].decoder is bank
    assert torch.equal(memory.pack.parts[1].sources, codes)
    floats = 4 * codes.numel()
    assert memory.bytes - before < floats + 2000  # no second bank, which has 4 × 672 floats
    x, y = memory.pack.select(parts=1).decode(range(8))
    assert torch.equal(x, stages[1].decode(range(8))[0])
    assert torch.equal(y, stages[1].decode(range(8))[1])


def test_labels_come_in_every_form(stages):
    """A task has some of the memory's classes, and its labels are read as those of packs are."""
    x, y = arrays([1, 3], 2)
    names = ("ant", "bee", "cat", "dog")
    one_hot = np.eye(4, dtype=np.int64)[y]
    for labels in (y.astype(np.float64), one_hot, torch.tensor(one_hot), [names[n] for n in y]):
        memory = ReplayMemory("50 kB", classes=names)
        memory.add_arrays(x, labels)
        assert memory.targets.tolist() == y.tolist()
    with pytest.raises(FormatError, match="have no 'ox'"):
        memory.add_arrays(x, ["ox", "ant", "ant", "bee"])
    with pytest.raises(FormatError, match=r"labels 1\.\.4 for 4 classes: class numbers start at 0"):
        memory.add_arrays(x, [1, 2, 3, 4])
    memory = memory_of(stages[:1], encoding="exact")
    codes = stages[1].parts[0]
    memory.extend(codes.sources, codes.labels.float(), task="codes")
    assert torch.equal(memory.pack.parts[1].labels, codes.labels)


def test_equal_decoders_are_shared_also_where_they_come_from_files(stages):
    for encoding in ("exact", "int8"):
        memory = memory_of([dsetpack.open(stage.to_bytes()) for stage in stages], encoding=encoding)
        assert len({id(part.decoder) for part in memory.pack.parts}) == 1
        again = ReplayMemory.open(memory.pack.to_bytes(encoding))
        again.add(dsetpack.open(stages[0].to_bytes()), task="more")
        assert len({id(part.decoder) for part in again.pack.parts}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["exact", "f16", "int8", "int4"])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_decoders_are_known_again_after_each_save(encoding, scale, tmp_path):
    """Scales are rounded again each time they are encoded, and each bank is found again as itself."""
    packs = [haba([0, 0, 1], seed=seed) for seed in range(8)]
    for pack in packs:
        for values in pack.parts[0].decoder.state_dict().values():
            values.mul_(scale).pow_(3)
    memory = memory_of(packs, encoding=encoding)
    assert len({id(part.decoder) for part in memory.pack.parts}) == 8
    for turn in range(3):
        memory.save(tmp_path / "x.dpk")
        if turn == 1:
            memory = ReplayMemory.open(tmp_path / "x.dpk")
        for number, pack in enumerate(packs):
            memory.add(pack, task=f"{turn} {number}")
            assert memory.pack.parts[-1].decoder is memory.pack.parts[number].decoder
    assert len({id(part.decoder) for part in memory.pack.parts}) == 8


@pytest.mark.parametrize("encoding", ["int8", "int4"])
@pytest.mark.parametrize("change", ["another small decoder", "a narrow range"])
def test_decoders_that_differ_by_less_than_the_largest_value_are_two(encoding, change):
    """Each decoder has its own scales: what is little next to another decoder is much for this one."""
    first, second = haba([0, 1], seed=1), haba([2, 3], seed=1)
    for pack, sign in ((first, 1), (second, -1)):
        for values in pack.parts[0].decoder.state_dict().values():
            if change == "a narrow range":
                values.copy_(5 + 1e-2 * sign * values)
            else:
                values[1].mul_(sign * 1e-5)
    memory = memory_of([first, second], encoding=encoding)
    assert len({id(part.decoder) for part in memory.pack.parts}) == 2


def test_codes_are_added_to_the_decoders_of_a_file(stages, tmp_path):
    memory = memory_of(stages[:2], encoding="int4")
    memory.save(tmp_path / "x.dpk")
    memory = ReplayMemory.open(tmp_path / "x.dpk")
    memory.add(stages[2])
    memory.extend(stages[3].parts[0].sources, stages[3].parts[0].labels)
    assert len({id(part.decoder) for part in memory.pack.parts}) == 1


def test_other_decoders_are_kept_beside():
    memory = memory_of([haba([0, 0, 1]), haba([2, 3], seed=1)])
    assert len({id(part.decoder) for part in memory.pack.parts}) == 2
    with pytest.raises(FormatError, match="2 banks"):
        memory.extend(torch.zeros(1, *SHAPE), [1])


def test_images_join_decoders_and_take_their_rule():
    first = Pack.from_arrays(*arrays([0, 1], 2), classes=4)
    memory = memory_of([first, haba([2, 3])])
    assert memory.pack.card.epoch_rule == "paired"
    memory = memory_of([haba([2, 3]), first])
    assert memory.pack.card.epoch_rule == "paired"
    with pytest.raises(FormatError, match="epochs are product, the memory's paired"):
        memory.add(kfs([0, 1]), task="other")


def may_hold_nan():
    x, y = arrays([2, 3], 2)
    x = torch.from_numpy(x) / 255
    x[-1, 0, 3] = torch.nan
    return Pack.from_arrays(x, y, classes=4, finite=False)


BAD = {
    "other classes": (lambda m: m.add(Pack.from_arrays(*arrays([0, 1], 2), classes=5)), "classes"),
    "other shape": (lambda m: m.add(Pack.from_arrays(np.zeros((1, 8, 8), np.uint8), [0], classes=4)), r"\[1, 8, 8\]"),
    "other labels": (lambda m: m.add(soft(kfs([0, 1]))), "soft labels"),
    "a path": (lambda m: m.add("demo.dpk"), r"pack is a str; a Pack expected, such as dsetpack.open\(path\)"),
    "task twice": (lambda m: m.add(kfs([2, 3]), task="task 0"), "'task 0' is in the memory already"),
    "task twice, codes": (lambda m: m.extend(torch.zeros(1, 2, 3, 3), [1], task="task 0"), "already"),
    "task twice, arrays": (lambda m: m.add_arrays(*arrays([1], 1), task="task 0"), "already"),
    "no name": (lambda m: m.add(kfs([2, 3]), task=""), "task ''"),
    "a generator": (lambda m: m.add(generator()), "draws its images"),
    "label too large": (lambda m: m.add_arrays(*arrays([7], 1)), "labels 7..7 for 4 classes"),
    "codes of another shape": (lambda m: m.extend(torch.zeros(1, 5, 3, 3), [1]), r"\[5, 3, 3\], \[2, 3, 3\] expected"),
    "codes and labels": (lambda m: m.extend(torch.zeros(2, 2, 3, 3), [1]), "2 sources and 1 label;"),
    "codes that are text": (lambda m: m.extend("abc", [1]), "codes of dtype <U3; floats expected"),
    "a pack that may hold NaN": (lambda m: m.add(may_hold_nan()), "finite=False"),
    "no images that can be distilled": (lambda m: m.add_stage(kfs([0])), "data is a Pack; images that a method"),
    "a task that is not there": (lambda m: m.remove("x"), "'x' is not in the memory, which has task 0"),
    "NaN": (lambda m: m.extend(torch.full((1, 2, 3, 3), torch.nan), [1]), "finite"),
    "budget too small for it": (lambda m: m.add(many([2])), "does not hold one source of each class"),
    "smaller budget": (lambda m: m.resize(3000), "does not hold one source of each class"),
    "no budget": (lambda m: m.resize("2 parsecs"), "expected bytes"),
    "few images": (lambda m: m.keep_images(3), "3 images cannot hold"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error_and_nothing_is_lost(case):
    memory = memory_of([kfs([0, 0, 1, 1])], budget=7000, encoding="exact")
    before = state(memory)
    act, message = BAD[case]
    with pytest.raises(FormatError, match=message):
        act(memory)
    after = state(memory)
    assert after[:3] == before[:3]
    assert after[3] is before[3]
    assert all(a is b for a, b in zip(after[4], before[4], strict=True))
    memory.add(kfs([2, 3]), task="good")
    assert memory.tasks == ("task 0", "good")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "int3"}, "int8"),
        ({"balance": "luck"}, "class, task"),
        ({"classes": 0}, "at least one"),
        ({"classes": "abc"}, "a list of names"),
    ],
)
def test_other_arguments(options, message):
    with pytest.raises(FormatError, match=message):
        ReplayMemory(**options)


def test_an_empty_memory():
    memory = ReplayMemory()
    assert (len(memory), memory.bytes, memory.tasks, memory.counts()) == (0, 0, (), {})
    for ask in (lambda: memory.pack, lambda: memory.targets, lambda: memory.loader(2), lambda: memory.save("x.dpk")):
        with pytest.raises(FormatError, match="the memory is empty"):
            ask()
    with pytest.raises(FormatError, match="which classes will there be"):
        memory.add_arrays(*arrays([0], 1))
    memory.resize("1kB")
    with pytest.raises(FormatError, match="a budget of 1,000 bytes"):
        memory.add(kfs([0]))
    assert not memory.tasks


def test_tasks_get_numbers_where_they_have_no_names():
    memory = ReplayMemory(classes=4)
    for task in (None, np.int64(2), None, "x", None):
        memory.add_arrays(*arrays([1], 1), task=task)
    assert memory.tasks == ("0", "2", "3", "x", "4")
    with pytest.raises(FormatError, match="tasks"):
        memory.add_arrays(*arrays([1], 1), task="\ud800")  # a file cannot hold this text
    assert len(memory.tasks) == 5


def test_a_memory_of_values_that_need_not_be_finite(tmp_path):
    memory = ReplayMemory()
    memory.add(may_hold_nan())
    memory.add(may_hold_nan())
    memory.save(tmp_path / "x.dpk")
    assert ReplayMemory.open(tmp_path / "x.dpk").pack.parts[1].sources.isnan().sum() == 12


def test_codes_in_any_memory_layout(stages):
    memory = memory_of(stages[:1], encoding="exact")
    codes = stages[1].parts[0].sources
    memory.extend(codes.numpy()[::-1], stages[1].parts[0].labels.numpy()[::-1])
    assert torch.equal(memory.pack.parts[1].sources, codes.flip(0))


def test_a_removed_task_is_gone_with_the_decoders_that_it_alone_used(tmp_path):
    images = Pack.from_arrays(*arrays([2], 3), classes=4)
    memory = memory_of([haba([0, 1]), haba([2, 3], seed=1), haba([1, 3]), images], encoding="exact")
    memory.remove("task 1")
    expected = memory_of([haba([0, 1]), haba([1, 3]), images], encoding="exact")
    assert memory.tasks == ("task 0", "task 2", "task 3")
    assert [part.stage for part in memory.pack.parts] == [0, 1, 2]
    assert torch.equal(memory.targets, expected.targets)
    assert torch.equal(memory.task_of, expected.task_of)
    assert memory.bytes == expected.bytes
    assert memory.save(tmp_path / "x.dpk") <= memory.budget
    memory = ReplayMemory.open(tmp_path / "x.dpk")
    assert memory.tasks == ("task 0", "task 2", "task 3")
    memory.remove("task 0")
    assert len({id(part.decoder) for part in memory.pack.parts}) == 2  # the other task of this bank still uses it
    memory.remove("task 2")
    memory.remove("task 3")
    assert (len(memory), memory.bytes, memory.tasks) == (0, 0, ())
    with pytest.raises(FormatError, match="the memory is empty"):
        memory.remove("task 3")
    memory.add_arrays(*arrays([3], 1))  # it still knows its classes


def test_arrays_are_read_as_from_arrays_reads_them():
    x, y = np.random.default_rng(0).integers(0, 256, (4, 16, 15, 3), dtype=np.uint8), [0, 1, 2, 3]
    space = Normalized(NormalizedSpace(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)))
    memory = ReplayMemory("200 kB", classes=4, space=space, encoding="exact")
    with pytest.warns(Notice, match="read as NHWC"):
        memory.add_arrays(x, y)
    memory.add_arrays(x, y, axes="NHWC")
    assert memory.pack.card.shape == (3, 16, 15)
    images = memory.pack.space.invert(memory.pack.decode(range(8))[0])
    assert torch.allclose(images, torch.from_numpy(x).permute(0, 3, 1, 2).repeat(2, 1, 1, 1) / 255, atol=1e-6)
    for given, options, message in (
        (x[:, :3, :, :], {}, r"can be NCHW .* or NHWC .*axes='NHWC'"),
        (x, {"space": space, "axes": "NHWC"}, "uint8 images are raw pixels, not normalized"),
        (x.astype(float), {"axes": "NHWC"}, "divide them by 255"),
        (x.astype(float), {"axes": "NHWC", "space": space}, "divide them by 255"),
        (x / 127.5 - 1, {"axes": "NHWC"}, "pass the space"),
    ):
        with pytest.raises(FormatError, match=message):
            memory.add_arrays(given, y, **options)
    assert len(memory) == 8


def test_keep_images_counts_decoded_ones():
    memory = memory_of([kfs([0, 0, 0, 1, 1]), Pack.from_arrays(*arrays([2], 9), classes=4)])
    memory.keep_images(14)
    assert len(memory) <= 14
    assert all(count >= 1 for task in memory.counts().values() for count in task.values())
