"""Folders of images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice
from dsetpack.trainers.data import load


def write_images(root: Path, mode: str, size: tuple[int, int] = (6, 5)) -> dict[str, np.ndarray]:
    made = {}
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
        made[name] = np.full(shape, 40 * number + 7, np.uint8)
        Image.fromarray(made[name]).save(root / name / "a.png")
    return made


def test_images_of_more_than_8_bits_are_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.fromarray(np.array([[0, 400], [8000, 62640]], np.uint16)).save(tmp_path / "cat" / "a.png")
    with pytest.raises(FormatError, match=r"a.png: pixels of mode I(;16)? found; 8 bits per channel expected"):
        load(tmp_path)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_folder(tmp_path, mode, channels):
    write_images(tmp_path / "train", mode)
    write_images(tmp_path / "test", mode)
    for split in ("train", "test"):
        data = load(tmp_path, split=split)
        assert data.shape == (channels, 5, 6)
        assert data.classes == ("cat", "dog")
        assert data.images[:, 0, 0, 0].tolist() == [7, 47]


def test_bad_folders(tmp_path):
    write_images(tmp_path, "L")
    with pytest.raises(FormatError, match="needs the folders 'train' and 'test'"):
        load(tmp_path, split="test")
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "dog" / "b.png")
    with pytest.raises(FormatError, match=r"b.png is 3×4 and .*a.png is 5×6"):
        load(tmp_path)
    (tmp_path / "dog" / "b.png").write_bytes(b"no image")
    with pytest.raises(FormatError, match=r"b.png: not a sound image file"):
        load(tmp_path)
    (tmp_path / "other" / "empty").mkdir(parents=True)
    with pytest.raises(FormatError, match="no image files in its 1 sub-folder;"):
        load(tmp_path / "other")


def test_twelve_numbered_folders_have_their_own_numbers(tmp_path):
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / str(number) / "a.png")
    data = load(tmp_path)
    assert data.classes == tuple(map(str, range(12)))
    assert data.images[:, 0, 0, 0].tolist() == data.labels.tolist() == list(range(12))


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Test"])
def test_a_test_split_without_a_class_keeps_the_numbers_of_train(tmp_path, name):
    write_images(tmp_path / "train", "L")
    (tmp_path / name / "dog").mkdir(parents=True)
    Image.fromarray(np.full((5, 6), 9, np.uint8)).save(tmp_path / name / "dog" / "b.png")
    data = load(tmp_path, split="test")
    assert (data.classes, data.labels.tolist()) == (("cat", "dog"), [1])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_when_said_or_when_it_says_nothing(tmp_path, mode):
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 255, (2, 5, 6, channels), dtype=np.uint8)
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels[number], mode).save(tmp_path / name / "a.png")
    with pytest.raises(FormatError, match=rf"a\.png: transparent pixels \(mode {mode}\); pass drop_alpha=True"):
        load(tmp_path)
    expected = pixels[..., :-1].transpose(0, 3, 1, 2)
    assert np.array_equal(load(tmp_path, drop_alpha=True).images.numpy(), expected)
    pixels[..., -1] = 255
    for number, name in enumerate(("cat", "dog")):
        Image.fromarray(pixels[number], mode).save(tmp_path / name / "a.png")
    with pytest.warns(Notice, match="opaque everywhere: 2"):
        assert np.array_equal(load(tmp_path).images.numpy(), expected)
