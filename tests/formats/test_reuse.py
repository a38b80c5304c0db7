"""Files that are written one after another: what is the same is computed once, and the bytes are the same."""

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats.encodings.zstd import ZstdFrame
from dsetpack.formats.reuse import Reuse
from tests.support.format_packs import PRESETS, part_of


@pytest.fixture
def compressed(monkeypatch):
    """The plain chunks that were compressed."""
    found, encode = [], ZstdFrame.encode
    monkeypatch.setattr(ZstdFrame, "encode", lambda codec, data: (found.append(data), encode(codec, data))[1])
    return found


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_bytes_with_less_work(preset, compressed):
    card, part, tensors = part_of("kfs")
    expected = formats.encode(card, [part], tensors, preset)
    reuse = Reuse()
    assert formats.encode(card, [part], tensors, preset, reuse) == expected
    compressed.clear()
    again = Reuse(reuse)
    assert formats.encode(card, [part], tensors, preset, again) == expected
    assert not compressed
    other = {**tensors, "labels": (tensors["labels"] + 1) % 3}
    assert formats.encode(card, [part], other, preset, Reuse(again)) == formats.encode(card, [part], other, preset)
    compressed.clear()
    formats.encode(card.replace(title="another"), [part], tensors, preset, Reuse(again))
    assert not compressed


def test_values_dtypes_shapes_and_settings_tell_arrays_apart():
    reuse, zeros = Reuse(), np.zeros((2, 3), np.float32)
    cases = [
        ([zeros], 1), ([zeros], 2), ([zeros.reshape(3, 2)], 1), ([zeros.view(np.int32)], 1), ([zeros + 1], 1),
        ([zeros[:1], zeros[1:]], 1),
    ]  # fmt: skip
    made = [reuse.once(arrays, settings, object) for arrays, settings in cases]
    assert len(set(made)) == len(cases)
    assert [reuse.once(arrays, settings, object) for arrays, settings in cases] == made


def test_only_the_last_file_is_remembered():
    arrays, first = [np.zeros(3)], Reuse()
    made = first.once(arrays, None, object)
    second = Reuse(first)
    second.forget()
    assert second.once(arrays, None, object) is not made
    third = Reuse(Reuse(first), second)
    assert third.once(arrays, None, object) is not None
    assert Reuse(Reuse(first)).once(arrays, None, object) is made
