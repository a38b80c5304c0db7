"""``by_name`` and ``chosen``: what the files of a package define, and errors that name the nearest."""

import importlib
import itertools
import sys

import pytest

from dsetpack.formats.by_name import by_name, chosen, closest, spelled
from dsetpack.formats.errors import DsetpackError, FormatError

NUMBERS = itertools.count()
"""Every package has its own name, because what was found is cached by name."""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make a package of files with these texts, and return its name."""

    def make(**files):
        name = f"found_by_name_{next(NUMBERS)}"
        folder = tmp_path / name
        folder.mkdir()
        for file, text in {"__init__": "", **files}.items():
            (folder / f"{file}.py").write_text(text)
        importlib.invalidate_caches()
        return name

    monkeypatch.syspath_prepend(tmp_path)
    yield make
    for name in [name for name in sys.modules if name.startswith("found_by_name_")]:
        del sys.modules[name]


def test_what_files_define_is_found_by_their_names_and_sorted(package):
    name = package(pear="THING = 3", apple="THING = 'red'", fig="THING = None")
    found = by_name(name, "THING")
    assert list(found.items()) == [("apple", "red"), ("fig", None), ("pear", 3)]
    assert by_name(name, "THING") is found


def test_what_is_found_cannot_be_changed(package):
    found = by_name(package(apple="THING = 1"), "THING")
    with pytest.raises(TypeError):
        found["pear"] = 2


def test_helpers_are_left_out(package):
    name = package(apple="THING = 1", base="class Base: pass", _cut="def cut(): pass", _peel="")
    assert dict(by_name(name, "THING")) == {"apple": 1}


def test_a_file_without_the_constant_is_named(package):
    name = package(apple="THING = 1", plum="THONG = 2")
    with pytest.raises(DsetpackError, match="THING") as caught:
        by_name(name, "THING")
    assert "plum" in str(caught.value)


def test_a_package_without_files_defines_nothing(package):
    assert dict(by_name(package(), "THING")) == {}


KNOWN = {"apple": 1, "fig": 2, "pear": 3}


def test_the_chosen_one():
    assert chosen(KNOWN, "fig", "fruit") == 2
    assert chosen(KNOWN, "Fig", "fruit") == 2


SPELLED = ("cifar10", "cifar100", "fashion-mnist", "k-center-cpu", "resnet18", "NCHW")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CIFAR10", "cifar10"),
        ("CIFAR-10", "cifar10"),
        ("Cifar_100", "cifar100"),
        ("FashionMNIST", "fashion-mnist"),
        ("fashion_mnist", "fashion-mnist"),
        ("KCenter-CPU", "k-center-cpu"),
        ("ResNet18", "resnet18"),
        ("nchw", "NCHW"),
        ("cifar1", None),
        ("", None),
        (None, None),
        (10, None),
    ],
)
def test_case_hyphens_and_underscores_do_not_count(name, meant):
    assert spelled(SPELLED, name) == meant


def test_a_name_that_is_there_as_it_is_comes_first():
    assert spelled(["a-b", "ab", "AB"], "AB") == "AB"
    assert spelled(["a-b", "ab", "AB"], "Ab") == "a-b"


def test_the_closest():
    assert closest(SPELLED, "CFAR10", 0.6) == "cifar10"
    assert closest(SPELLED, "FashionMINST") == "fashion-mnist"
    assert closest(SPELLED, "zzz", 0.6) is None
    assert closest([], "a") is None


@pytest.mark.parametrize(("name", "near"), [("peer", "pear"), ("aple", "apple"), ("figs", "fig")])
def test_an_unknown_name_meets_the_nearest_and_all(name, near):
    with pytest.raises(FormatError, match=f"no fruit '{name}'; nearest is '{near}', all are apple, fig, pear"):
        chosen(KNOWN, name, "fruit")


@pytest.mark.parametrize("name", ["", "Ω", "x" * 10_000])
def test_a_name_that_is_like_none_meets_all(name):
    with pytest.raises(FormatError, match="apple, fig, pear"):
        chosen(KNOWN, name, "fruit")


@pytest.mark.parametrize("name", [None, 3, 2.5, True, b"fig"], ids=repr)
def test_what_is_no_name_meets_all(name):
    with pytest.raises(FormatError, match="fruit .*apple, fig, pear"):
        chosen(KNOWN, name, "fruit")


@pytest.mark.parametrize("name", ["fig", None, 3], ids=repr)
def test_an_empty_registry_is_an_error_of_ours(name):
    with pytest.raises(FormatError, match="fruit"):
        chosen({}, name, "fruit")
