"""``at``: where an error happened, said once, in one readable line."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from dsetpack.formats.errors import DsetpackError, FormatError, IntegrityError, LimitError, VersionError, at
from dsetpack.formats.model import Model

CLASSES = (DsetpackError, FormatError, IntegrityError, LimitError, VersionError)


class Settings(Model):
    """A model with a field that can be wrong."""

    bits: int
    name: str = "x"


def inside(error, *places):
    """The error that comes out when one is raised inside nested places."""
    with pytest.raises(type(error)) as caught:
        raise_at(error, places)
    return caught.value


def raise_at(error, places):
    if not places:
        raise error
    with at(places[0]):
        raise_at(error, places[1:])


@pytest.mark.parametrize("kind", CLASSES)
def test_places_come_before_the_message_from_the_outermost_in(kind):
    found = inside(kind("3 found, 2 expected"), "file", "part 0", "labels")
    assert type(found) is kind
    assert str(found) == "file: part 0: labels: 3 found, 2 expected"


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_with_places_pickles(kind):
    found = inside(kind("3 found"), "file", "part 0")
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is kind
    assert str(again) == str(found) == "file: part 0: 3 found"


def test_which_errors_are_value_errors():
    assert {kind for kind in CLASSES if issubclass(kind, ValueError)} == {FormatError, LimitError}
    assert all(issubclass(kind, DsetpackError) for kind in CLASSES)


def test_a_model_that_does_not_fit_is_a_format_error_of_one_line():
    with pytest.raises(FormatError) as caught, at("file"), at("card"):
        Settings.model_validate({"bits": "eight\n", "colour": 3})
    message = str(caught.value)
    assert type(caught.value) is FormatError
    assert message.startswith("file: card: bits: ")
    assert "; colour: Extra inputs" in message
    assert message.isprintable()
    assert "pydantic.dev" not in message


def test_only_the_first_four_of_many_problems_are_told():
    with pytest.raises(FormatError, match=r"^card: .*\(and 7 more\)$") as caught, at("card"):
        Settings.model_validate({"bits": 1} | {f"field{n}": n for n in range(11)})
    assert str(caught.value).count("Extra inputs") == 4


@pytest.mark.parametrize(
    "error",
    [ValueError("plain"), OSError(2, "No such file", "x.dpk"), KeyError("name"), TypeError("t"), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_others_pass_as_they_are(error):
    before = (error.args, str(error))
    found = inside(error, "file", "part 0")
    assert found is error
    assert (found.args, str(found)) == before


def test_without_an_error_nothing_happens():
    with at("file"):
        done = True
    assert done


@pytest.mark.parametrize("kind", CLASSES)
def test_the_error_inside_stays_as_it_was_and_its_cause_is_kept(kind):
    """One error is shown, not a chain of places; its cause, such as a system error, is kept."""
    error, why = kind("3 found"), OSError("disk")
    error.__cause__ = why
    found = inside(error, "file")
    assert found is not error
    assert found.__cause__ is why
    assert str(error) == "3 found"
    assert inside(kind("3 found"), "file").__cause__ is None


def test_an_error_that_is_raised_twice_has_its_place_once_each_time():
    """``Future.result`` raises the same object at each call."""

    def fail():
        with at("labels"):
            raise IntegrityError("digest")

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(fail)
        for place in ("first", "second"):
            with pytest.raises(IntegrityError) as caught, at(place):
                future.result()
            assert str(caught.value) == f"{place}: labels: digest"


@pytest.mark.parametrize("places", [("file",), ("file", "part 0", "labels")], ids=["one place", "three places"])
@pytest.mark.parametrize("kind", CLASSES)
def test_a_long_message_is_cut_after_its_places_and_its_beginning(kind, places):
    found = str(inside(kind("too many names: " + "name " * 1000), *places))
    assert found.startswith(": ".join(places) + ": too many names: name name ")
    assert len(found) < 1000
    assert found.rstrip("… ").endswith(("name", "nam", "na", "n"))
    assert "…" in found


def test_characters_that_a_terminal_would_obey_are_escaped():
    found = str(inside(FormatError("name '\x1b[2Jé\u202e\n' found\x00"), "file", "card"))
    assert found == "file: card: name '\\x1b[2Jé\\u202e\\n' found\\x00"
    assert found.isprintable()
