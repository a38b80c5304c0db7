"""Folders of image files: classes, their order, splits."""

import pytest

from dsetpack.files.folders import has_images, image_files, read_folder
from dsetpack.formats.errors import FormatError


def fill(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_numbered_folders_are_in_the_order_of_their_numbers(tmp_path):
    fill(tmp_path, *(f"{n}/a.png" for n in range(12)))
    found = read_folder(tmp_path)
    assert found.classes == tuple(map(str, range(12)))
    assert [file.parent.name for file in found.files] == [found.classes[label] for label in found.labels]
    assert found.split is None


def test_files_are_sorted_by_name_and_others_are_left_out(tmp_path):
    fill(tmp_path, "cat/10.png", "cat/9.PNG", "cat/deep/x.jpg", "cat/notes.txt", ".hidden/a.png", "above.png")
    assert [file.name for file in read_folder(tmp_path).files] == ["10.png", "9.PNG", "x.jpg"]
    assert image_files(tmp_path / "nowhere") == []
    assert has_images(tmp_path)
    assert not has_images(tmp_path / "cat" / "deep")


def test_all_splits_have_the_classes_of_train(tmp_path):
    fill(tmp_path, "train/ant/a.png", "train/bee/a.png", "train/cat/a.png", "test/cat/b.png", "test/ant/b.png")
    test = read_folder(tmp_path, "test")
    assert (test.classes, test.labels.tolist(), test.split) == (("ant", "bee", "cat"), [0, 2], "test")
    fill(tmp_path, "test/dog/a.png")
    with pytest.raises(FormatError, match=r"dog: .*train has no such class"):
        read_folder(tmp_path, "test")


def test_a_folder_without_splits_is_its_own_train(tmp_path):
    fill(tmp_path, "cat/a.png")
    assert read_folder(tmp_path, "train").split is None
    with pytest.raises(FormatError, match="needs the folders 'train' and 'test'"):
        read_folder(tmp_path, "test")


def test_splits_without_classes_are_refused(tmp_path):
    fill(tmp_path, "train/a.png", "test/a.png")
    with pytest.raises(FormatError, match="train: no image files in its 0 sub-folders"):
        read_folder(tmp_path, "train")
