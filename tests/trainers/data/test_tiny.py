"""Tiny ImageNet: the published folders and damaged ones."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import load


def jpeg(value: int, mode: str = "RGB", side: int = 64) -> bytes:
    held = io.BytesIO()
    Image.new(mode, (side, side), value if mode == "L" else (value, 0, 255)).save(held, "JPEG", quality=95)
    return held.getvalue()


def write_tiny(folder: Path) -> None:
    """Write two classes that ``wnids.txt`` does not sort, with two training images each, and three images of val."""
    (folder / "val" / "images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("n02\nn01\n")
    (folder / "words.txt").write_text("n00\tentity\nn01\tgoldfish, Carassius auratus\nn02\tEgyptian cat\n")
    for number, wnid in enumerate(("n02", "n01")):
        place = folder / "train" / wnid / "images"
        place.mkdir(parents=True)
        (place / f"{wnid}_0.JPEG").write_bytes(jpeg(100 * number + 10))
        (place / f"{wnid}_1.JPEG").write_bytes(jpeg(100 * number + 50, "L"))
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t62\t63\t63\n")
    for number in range(3):
        (folder / "val" / "images" / f"val_{number}.JPEG").write_bytes(jpeg(60 * number))
    lines = ("val_0.JPEG\tn01\t0\t32\t44\t62", "val_2.JPEG\tn02\t52\t55\t57\t59", "val_1.JPEG\tn01\t4\t0\t60\t55")
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    (folder / "test" / "images").mkdir(parents=True)
    (folder / "test" / "images" / "test_0.JPEG").write_bytes(jpeg(0))


@pytest.mark.parametrize("place", ["", "tiny-imagenet-200", "tiny-imagenet", "tiny-imagenet/tiny-imagenet-200"])
def test_tiny_imagenet(tmp_path, place):
    write_tiny(tmp_path / place)
    for train in (load("tiny-imagenet", tmp_path), load(tmp_path / place)):
        assert train.shape == (3, 64, 64)
        assert train.classes == ("Egyptian cat", "goldfish, Carassius auratus")
        assert train.labels.tolist() == [0, 0, 1, 1]
        red = train.images[:, 0].float().mean((1, 2))
        assert np.allclose(red, [10, 50, 110, 150], atol=3)  # JPEG is not exact
        assert (train.images[1, 0] == train.images[1, 2]).all()  # grey files become colour
    test = load("tiny-imagenet", tmp_path, "test")
    assert test.labels.tolist() == [1, 0, 1]
    assert np.allclose(test.images[:, 0].float().mean((1, 2)), [0, 120, 60], atol=3)  # the annotations' order


def test_tiny_imagenet_from_npz(tmp_path):
    x = np.zeros((2, 3, 64, 64), np.uint8)
    classes = np.array(["cat", "goldfish"])
    np.savez(tmp_path / "tiny-imagenet.npz", x_train=x, y_train=[0, 1], x_test=x, y_test=[1, 1], classes=classes)
    found = load("tiny-imagenet", tmp_path, "test")
    assert (found.name, found.classes, found.labels.tolist()) == ("tiny-imagenet", ("cat", "goldfish"), [1, 1])


def test_damaged_tiny_imagenet(tmp_path, monkeypatch):
    monkeypatch.delenv("DSETPACK_DATA", raising=False)
    with pytest.raises(FormatError, match=r"tiny-imagenet needs its files: .*tiny-imagenet-200/"):
        load("tiny-imagenet")
    with pytest.raises(FormatError, match=r"neither .*tiny-imagenet.npz nor wnids.txt in .*tiny-imagenet-200"):
        load("tiny-imagenet", tmp_path)
    write_tiny(tmp_path)
    val, first = tmp_path / "val" / "val_annotations.txt", tmp_path / "train" / "n02" / "images" / "n02_0.JPEG"
    for line, message in (
        (
            "val_0.JPEG\tn03\t0\t0\t1\t1",
            r"val_annotations.txt: line 1 gives 'val_0.JPEG' the class 'n03', which is not in",
        ),
        ("val_0.JPEG", r"line 1 gives 'val_0.JPEG' the class ''"),
        ("../images/val_0.JPEG\tn01", r"line 1 names '../images/val_0.JPEG'; expected a file in val/images"),
        ("val_9.JPEG\tn01\t0", r"val_9.JPEG: no such file"),
        ("\n", r"val_annotations.txt: an empty file"),
    ):
        val.write_text(line)
        with pytest.raises(FormatError, match=message):
            load("tiny-imagenet", tmp_path, "test")
    val.unlink()
    with pytest.raises(FormatError, match=r"val_annotations.txt: no such file; tiny-imagenet-200/ has one"):
        load("tiny-imagenet", tmp_path, "test")
    for content, message in (
        (jpeg(0, side=32), r"n02_1.JPEG is 64×64 and .*n02_0.JPEG is 32×32"),
        (jpeg(0)[:300], r"n02_0.JPEG: not a sound image file"),
        (b"text", r"n02_0.JPEG: not a sound image file"),
    ):
        first.write_bytes(content)
        with pytest.raises(FormatError, match=message):
            load("tiny-imagenet", tmp_path)
    first.write_bytes(jpeg(0))
    (tmp_path / "wnids.txt").write_text("n02\nn01\nn07\n")
    with pytest.raises(FormatError, match=r"n07.images: no image files there, and wnids.txt names the class n07"):
        load("tiny-imagenet", tmp_path)
    (tmp_path / "words.txt").unlink()
    with pytest.raises(FormatError, match=r"words.txt: no such file"):
        load("tiny-imagenet", tmp_path)
