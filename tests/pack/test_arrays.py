"""Packs from arrays."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import dsetpack
from dsetpack import Pack
from dsetpack.formats import Reader
from dsetpack.formats.card import NormalizedSpace
from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice
from dsetpack.spaces import Normalized, Raw
from tests.support.small_packs import CLASSES, reopened


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


SPACE = Normalized(NormalizedSpace(mean=(0.5,), std=(0.1,)))


def test_learned_images_may_leave_the_unit_interval_if_their_space_is_declared():
    images = torch.tensor([-25.8, 35.5]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    with pytest.raises(FormatError, match=r"from -25.8 to 35.5, and raw pixels are in \[0, 1\]; .* space=Raw\(\)"):
        Pack.from_arrays(images, [0, 1])
    with pytest.warns(Notice, match="from -25.8 to 35.5 are kept as raw"):
        pack = Pack.from_arrays(images, [0, 1], space=Raw())
    assert torch.equal(reopened(pack).decode([0, 1])[0], images)
    with pytest.warns(Notice, match=r"as raw pixels from -2.08 to 4.05"):
        assert Pack.from_arrays(images, [0, 1], space=SPACE).space is SPACE
    slightly = torch.tensor([-0.4, 1.4]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(Pack.from_arrays(slightly, [0, 1]).decode([0, 1])[0], slightly)
    holes = images * float("nan")
    assert Pack.from_arrays(holes, [0, 1], finite=False).decode([0])[0].isnan().all()


def test_eight_bit_pixels_are_raw_in_every_space():
    images = np.random.default_rng(0).integers(0, 256, (4, 1, 5, 5), dtype=np.uint8)
    for given in (images, torch.from_numpy(images)):
        with pytest.raises(FormatError, match=r"uint8 images are raw pixels, not normalized .* space.apply\(torch"):
            Pack.from_arrays(given, [0, 1, 0, 1], space=SPACE)
        assert Pack.from_arrays(given, [0, 1, 0, 1], space=Raw()).card.space.kind == "raw"
    pack = Pack.from_arrays(SPACE.apply(torch.as_tensor(images) / 255), [0, 1, 0, 1], space=SPACE)
    assert torch.allclose(pack.space.invert(pack.decode(range(4))[0]), torch.as_tensor(images) / 255)
    for floats in (images.astype(float), images.astype(float)[:, :, 1:] / 3):
        with pytest.raises(FormatError, match="look like pixels in 0..255; divide them by 255, then map"):
            Pack.from_arrays(floats, [0, 1, 0, 1], space=SPACE)


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_may_be_last(as_given, channels):
    last = np.random.default_rng(0).integers(0, 256, (10, 32, 30, channels), dtype=np.uint8)
    with pytest.warns(Notice, match=rf"read as NHWC: {channels} channel"):
        pack = Pack.from_arrays(as_given(last), np.arange(10))
    assert pack.card.shape == (channels, 32, 30)
    first = np.ascontiguousarray(last.transpose(0, 3, 1, 2))
    assert torch.equal(pack.decode(range(10))[0], Pack.from_arrays(first, np.arange(10)).decode(range(10))[0])
    assert pack.to_bytes() == Pack.from_arrays(first, np.arange(10)).to_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Pack.from_arrays(as_given(last), np.arange(10), axes="NHWC").card.shape == (channels, 32, 30)
        assert Pack.from_arrays(as_given(last), np.arange(10), axes="NCHW").card.shape == (32, 30, channels)


def test_soft_labels_keep_their_values():
    labels = torch.rand(12, 3)
    pack = Pack.from_arrays(torch.rand(12, 1, 8, 8), labels, classes=CLASSES)
    assert pack.card.labels.kind == "soft"
    again = reopened(pack)
    assert torch.equal(again.decode([3, 2])[1], labels[[3, 2]])
    assert torch.equal(again.labels, labels)


ONE_HOT = np.eye(3, dtype=np.int64)[[2, 0, 2, 1]]


@pytest.mark.parametrize(
    "labels",
    [
        [2.0, 0.0, 2.0, 1.0],
        ONE_HOT,
        ONE_HOT.astype(bool),
        torch.tensor(ONE_HOT),
        torch.tensor([2, 0, 2, 1]).bfloat16(),
        torch.tensor([2, 0, 2, 1]).half()[:, None],
    ],
)
def test_hard_labels_in_other_forms(labels):
    pack = Pack.from_arrays(np.zeros((4, 8, 8), np.uint8), labels)
    assert (pack.card.labels.kind, pack.labels.tolist(), len(pack.card.classes)) == ("hard", [2, 0, 2, 1], 3)


def test_one_hot_columns_count_the_classes():
    assert Pack.from_arrays(np.zeros((2, 8, 8)), [[1, 0, 0], [0, 1, 0]]).card.classes == ("0", "1", "2")


def test_names_are_sorted_or_placed_among_the_declared():
    images = np.zeros((3, 8, 8), np.uint8)
    for labels in (["dog", "cat", "dog"], np.array(["dog", "cat", "dog"], object)):
        pack = Pack.from_arrays(images, labels)
        assert (pack.card.classes, pack.labels.tolist()) == (("cat", "dog"), [1, 0, 1])
        pack = Pack.from_arrays(images, labels, classes=["dog", "emu", "cat"])
        assert (pack.card.classes, pack.labels.tolist()) == (("dog", "emu", "cat"), [0, 2, 0])
        assert Pack.from_arrays(images, labels, classes=2).card.classes == ("cat", "dog")


def test_declared_classes_may_be_without_images():
    assert Pack.from_arrays(np.zeros((2, 8, 8)), [3, 5], classes=10).labels.tolist() == [3, 5]


def test_soft_labels_of_narrow_types():
    soft = torch.tensor([[0.3, 0.7], [0.1, 0.9]])
    for dtype in (torch.bfloat16, torch.float16):
        pack = Pack.from_arrays(np.zeros((2, 8, 8)), soft.to(dtype))
        assert torch.equal(pack.labels, soft.to(dtype).float())


def test_class_numbers_that_a_type_rounds_are_refused():
    with pytest.raises(FormatError, match="class number 264 in a type that is exact up to 256"):
        Pack.from_arrays(np.zeros((1, 8, 8)), torch.tensor([263.0]).bfloat16(), classes=1000)
