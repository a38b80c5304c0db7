"""Labels in every form that people have."""

import numpy as np
import pytest

from dsetpack.files.labels import absent, count_classes, read_labels, span
from dsetpack.formats.errors import FormatError

NUMBERS = np.array([2, 0, 1, 2])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, ">i4", np.int64, np.float16, np.float32, np.float64])
def test_class_numbers_may_be_of_any_type_and_in_a_column(dtype):
    for labels in (NUMBERS.astype(dtype), NUMBERS.astype(dtype)[:, None]):
        values, classes = read_labels(labels)
        assert (values.tolist(), values.dtype, classes) == ([2, 0, 1, 2], np.int64, None)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
def test_one_hot_integers_are_class_numbers(dtype):
    values, classes = read_labels(np.eye(5)[NUMBERS].astype(dtype))
    assert (values.tolist(), values.dtype, classes) == ([2, 0, 1, 2], np.int64, 5)


@pytest.mark.parametrize("dtype", [np.float16, ">f4", np.float64])
def test_floats_of_several_columns_are_soft(dtype):
    soft = np.array([[0.25, 0.75], [1, 0]]).astype(dtype)
    values, classes = read_labels(soft)
    assert (values.tolist(), values.dtype, classes) == ([[0.25, 0.75], [1, 0]], np.float32, 2)


@pytest.mark.parametrize("dtype", [np.str_, object])
def test_names_are_put_in_order(dtype):
    values, classes = read_labels(np.array(["dog", "cat", "dog"], dtype))
    assert (values.tolist(), classes) == ([1, 0, 1], ("cat", "dog"))
    assert read_labels(np.array(["10", "9"], dtype)).classes == ("9", "10")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0.0, 0.5], r"float64 \[2\] with 0.5, no class number; class numbers \[N\]"),
        ([0.0, np.nan], "with nan, no class number"),
        ([1, -1], "class number -1 found; 0 or more expected"),
        ([[1, 0], [1, 1]], r"int64 \[2, 2\], and row 1 is not one-hot"),
        ([[0, 0], [1, 0]], "row 0 is not one-hot"),
        ([[2, 0], [1, 0]], "row 0 is not one-hot"),
        (np.zeros((2, 1, 2)), r"float64 \[2, 1, 2\]; class numbers"),
        (np.array(3), r"int64 \[\]"),
        (np.array([b"cat"]), r"S3 \[1\]"),
        (np.array([{}, []], object), r"object \[2\]"),
        (np.zeros(2, "V2"), r"\.astype\(np.float32\)"),
        (np.array([2050.0], np.float16), "class number 2050 in a type that is exact up to 2048"),
    ],
)
def test_what_are_no_labels(labels, words):
    with pytest.raises(FormatError, match=words):
        read_labels(np.array(labels))


def test_a_type_that_was_narrower_counts():
    assert read_labels(np.array([256.0]), eps=2**-7).values.tolist() == [256]
    with pytest.raises(FormatError, match="exact up to 256"):
        read_labels(np.array([258.0]), eps=2**-7)


def test_classes_without_images():
    assert absent(NUMBERS, 5) == [3, 4]
    assert absent(np.array([[0.5, 0.5, 0], [1, 0, 0]]), 3) == [2]


def test_class_numbers_say_how_many_classes_there_are_if_they_use_all():
    assert count_classes(np.array([1, 0, 2, 2])) == 3
    assert count_classes(np.array([], np.int64)) == 1
    assert span(NUMBERS) == "labels 0..2"
    with pytest.raises(FormatError, match=r"1..10 and none is 0; .*, or number them from 0: labels - 1"):
        count_classes(np.arange(1, 11))
    for labels, gap in (([0, 1, 3], 2), ([5], 0), ([0, 10**15], 1)):
        with pytest.raises(FormatError, match=f"none is {gap}; if that class has no images, declare .*npz.$"):
            count_classes(np.array(labels))
