"""Between packs and files: what is read when, and what a file cannot hold."""

from __future__ import annotations

import threading

import pytest
import torch

import dsetpack
from dsetpack import Card, DsetpackError, FormatError, Pack, Part
from dsetpack.decoders import decoder
from dsetpack.formats import Reader
from dsetpack.formats.kinds import kind_config
from dsetpack.pack import opened


def generator_pack(images: int, **card: int) -> Pack:
    """A generator of so many images of each of three classes."""
    config = kind_config("generator")(width=2, noise=5)
    made = Card.model_validate({"title": "g", "classes": ("a", "b", "c"), "shape": (1, 8, 8), **card})
    labels = torch.arange(3).repeat_interleave(images)
    return Pack(made, [Part("generator", config, decoder("generator", config, made.shape, 3), None, labels)])


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


def test_a_generators_file_holds_all_classes_alike():
    pack = generator_pack(2, per_class=2)
    with pytest.raises(FormatError, match=r"part 0: 2 labels found; .* here 2 × 3: save the whole pack"):
        pack.select(classes=[1]).to_bytes()
    for odd in (generator_pack(2, per_class=3), generator_pack(1).select(classes=[0])):
        with pytest.raises(FormatError, match="a generator's file can only say 'per_class'"):
            odd.to_bytes()
    assert len(dsetpack.open(pack.select(classes=[2, 0, 1]).to_bytes())) == 6
    assert len(dsetpack.open(generator_pack(4).to_bytes(), per_class=4)) == 12


def test_a_generators_number_of_images_is_positive():
    with pytest.raises(FormatError, match="per_class: .*greater than or equal to 1"):
        dsetpack.open(generator_pack(4).to_bytes(), per_class=0)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:x"])
def test_a_device_that_cannot_be_used_is_named_before_the_file_is_read(device):
    with pytest.raises(DsetpackError, match=rf"^device '{device}' cannot be used here \(.+\); use 'cpu'$"):
        dsetpack.open("no such file", device=device)
    pack = dsetpack.open(generator_pack(1, per_class=1).to_bytes(), device="cpu")
    assert pack.device == torch.device("cpu")
    with pytest.raises(DsetpackError, match=rf"device '{device}' cannot be used here"):
        pack.loader(2, device=device)
