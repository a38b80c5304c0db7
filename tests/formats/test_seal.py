"""A new card leaves the content as it is, and the stored values must fit it."""

import hashlib

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import Reader, seal
from dsetpack.formats.card import Metric
from tests.support.format_packs import card, images


def test_a_new_card_keeps_the_content(tmp_path):
    old, new = tmp_path / "old.dpk", tmp_path / "new.dpk"
    old.write_bytes(images(encoding="int8"))
    notes = [hashlib.sha256(bytes([n])).hexdigest() for n in range(40)]
    metrics = tuple(Metric(value=0.5, arch="convnet3", test_data="x", note=note) for note in notes)
    for path, changes in ((new, {"metrics": metrics}), (old, {"title": "in place"})):
        before = Reader(old)
        size = seal.recard(old, before.manifest.card.replace(**changes), path)
        formats.verify(path)
        with Reader(path) as reader:
            assert size == path.stat().st_size
            assert reader.manifest.content_digest == before.manifest.content_digest
            assert reader.digest != before.digest
            assert reader.manifest.card == before.manifest.card.replace(**changes)
    assert Reader(new).header.user_block > Reader(old).header.user_block
    with pytest.raises(formats.FormatError, match="the decoder needs"):
        seal.recard(old, card(shape=(1, 3, 3)), new)
    damaged = bytearray(old.read_bytes())
    damaged[-1] ^= 1
    with pytest.raises(formats.IntegrityError):
        seal.recard(bytes(damaged), card(), new)


def test_a_new_card_must_fit_the_values_that_are_there(tmp_path):
    old, new = tmp_path / "old.dpk", tmp_path / "new.dpk"
    values = np.zeros((3, 1, 6, 5), np.float32)
    values[1] = np.nan
    old.write_bytes(images(values, finite=False))
    for changes, message in (
        ({"classes": ("a", "b")}, "part 0: labels: label 2 of source 2; the card has 2 classes"),
        ({"finite": True}, "part 0: sources: nan at element 30; the card promises finite values"),
    ):
        with pytest.raises(formats.FormatError, match=message):
            seal.recard(old, Reader(old).manifest.card.replace(**changes), new)
    assert not new.exists()


def test_a_new_card_is_for_the_file_that_was_expected(tmp_path):
    path = tmp_path / "x.dpk"
    path.write_bytes(images())
    digest = Reader(path).digest
    path.write_bytes(images(title="replaced meanwhile"))
    before = path.read_bytes()
    with pytest.raises(formats.IntegrityError, match=f"it was replaced by another file: .* {digest} expected"):
        seal.recard(path, card(title="new"), path, expect=digest)
    assert path.read_bytes() == before
    seal.recard(path, card(title="new"), path, expect=Reader(path).digest)
    assert Reader(path).manifest.card.title == "new"
