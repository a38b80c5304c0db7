"""Class names: their order, and the places of a source's own names among declared ones."""

import warnings

import pytest

from dsetpack.files.classes import few, in_order, places
from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice


def test_numbers_sort_as_numbers_and_other_names_as_text():
    assert in_order(map(str, range(11, -1, -1))) == [str(n) for n in range(12)]
    assert in_order(["010", "9", "10", "2"]) == ["2", "9", "010", "10"]
    assert in_order(["10", "9", "x"]) == ["10", "9", "x"]
    assert in_order(["²", "1", "10"]) == ["1", "10", "²"]
    assert in_order(["9" * 5000, "10"]) == ["10", "9" * 5000]


@pytest.mark.parametrize(
    ("own", "declared", "names", "found"),
    [
        (("cat", "dog"), ("dog", "cat"), ("dog", "cat"), [1, 0]),
        (("cat", "dog"), ("ant", "dog", "cat"), ("ant", "dog", "cat"), [2, 1]),
        (("cat", "dog"), 2, ("cat", "dog"), [0, 1]),
        (("1", "2"), 2, ("1", "2"), [0, 1]),
        (("0", "2"), 3, ("0", "1", "2"), [0, 2]),
        (("00", "02"), 3, ("0", "1", "2"), [0, 2]),
        (("0", "2"), ("a", "b", "c"), ("a", "b", "c"), [0, 2]),
        (tuple(map(str, range(12))), tuple("abcdefghijkl"), tuple("abcdefghijkl"), list(range(12))),
    ],
)
def test_each_class_keeps_its_images(own, declared, names, found):
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        assert places(own, declared) == (names, found)


def test_numbers_from_one_need_a_word():
    with pytest.raises(FormatError, match=r"classes 1, 2 for a, b: class numbers start at 0; .* labels='one-based'"):
        places(("1", "2"), ("a", "b"))
    assert places(("1", "2"), ("a", "b"), first=1) == (("a", "b"), [0, 1])
    assert places(("2", "3"), ("a", "b", "c"), first=1) == (("a", "b", "c"), [1, 2])


def test_other_names_are_renamed_in_order_and_this_is_said():
    with pytest.warns(Notice, match="classes cat, dog are renamed in their order: Katze, Hund"):
        assert places(("cat", "dog"), ("Katze", "Hund")) == (("Katze", "Hund"), [0, 1])
    with pytest.warns(Notice, match="2019, 2020"):
        assert places(("2019", "2020"), ("old", "new"))[1] == [0, 1]


@pytest.mark.parametrize(
    ("own", "declared", "words"),
    [
        (("cat", "dog", "fish"), ("cat", "dog", "bird"), "have no 'fish'.*any order, or none"),
        (("cat", "dog"), ("dog",), "have no 'cat'"),
        (("cat", "dog"), ("a", "b", "c"), r"2 classes \(cat, dog\), and 3 are declared"),
        (("cat", "dog"), 3, "2 classes .*, and 3 are declared"),
        (("0", "1", "2"), 2, "3 classes .*, and 2 are declared"),
    ],
)
def test_what_cannot_be_placed_is_refused(own, declared, words):
    with pytest.raises(FormatError, match=words):
        places(own, declared)


def test_long_lists_are_short_in_messages():
    assert few(tuple("abcdefgh")) == "a, b, c, d, e, ..."
