"""Packs opened from files: what is read when, and what a file cannot hold."""

from __future__ import annotations

import threading

import pytest
import torch

import dsetpack
from dsetpack import DsetpackError, FormatError, Pack
from dsetpack.formats import Reader
from dsetpack.pack import opened
from tests.support.paths import KFS
from tests.support.small_packs import generator_pack


def test_labels_and_images_are_read_by_two_threads_at_once(monkeypatch, tmp_path):
    wanted = torch.arange(4) % 2
    Pack.from_arrays(torch.rand(4, 1, 5, 5), wanted).save(tmp_path / "a.dpk")
    opened, found, real = dsetpack.open(tmp_path / "a.dpk"), [], Reader.role
    begun, loaded = threading.Event(), threading.Event()

    def slow(reader, number, role):
        if threading.current_thread() is labels:
            begun.set()
            loaded.wait(0.5)  # meanwhile the other thread reads all and closes the file
        return real(reader, number, role)

    monkeypatch.setattr(Reader, "role", slow)
    labels = threading.Thread(target=lambda: found.append(opened.labels))
    images = threading.Thread(target=lambda: (opened.decode([0]), loaded.set()))
    labels.start()
    begun.wait()
    images.start()
    labels.join()
    images.join()
    assert torch.equal(found[0], wanted)
    assert torch.equal(opened.labels, wanted)


def test_nothing_is_kept_of_the_file_once_all_is_read():
    opened = dsetpack.open(Pack.from_arrays(torch.rand(4, 1, 5, 5), [0, 1, 0, 1]).to_bytes())
    opened.decode([0])
    assert not any(isinstance(value, Reader) for value in vars(opened).values())


def test_opening_a_generator_makes_no_labels(monkeypatch):
    data = generator_pack(2, per_class=2).to_bytes()
    monkeypatch.setattr(opened, "drawn_labels", None)  # any use would fail
    assert len(dsetpack.open(data)) == 6
    assert len(dsetpack.open(data, per_class=10**12)) == 3 * 10**12


def test_a_generators_number_of_images_is_positive():
    with pytest.raises(FormatError, match="per_class: .*greater than or equal to 1"):
        dsetpack.open(generator_pack(4).to_bytes(), per_class=0)


def test_a_number_of_images_is_only_for_generators():
    words = "per_class: it is for packs with a generator, and this one has none"
    for data, name in ((KFS, KFS.name), (Pack.from_arrays(torch.rand(4, 1, 5, 5), [0, 1, 0, 1]).to_bytes(), "bytes")):
        with pytest.raises(FormatError, match=f"{name}.*: {words}"):
            dsetpack.open(data, per_class=3)


@pytest.mark.parametrize("device", ["processor", "cuda:99", "cpu:x"])
def test_a_device_that_cannot_be_used_is_named_before_the_file_is_read(device):
    with pytest.raises(DsetpackError, match=rf"^device '{device}' cannot be used here \(.+\); use 'cpu'$"):
        dsetpack.open("no such file", device=device)
    pack = dsetpack.open(generator_pack(1, per_class=1).to_bytes(), device="cpu")
    assert pack.device == torch.device("cpu")
    with pytest.raises(DsetpackError, match=rf"device '{device}' cannot be used here"):
        pack.loader(2, device=device)
