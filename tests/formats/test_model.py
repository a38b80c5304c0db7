"""The base of the manifest's models: frozen, strict, and open only to what may be ignored."""

import pytest
from pydantic import ValidationError

from dsetpack.formats.model import Model, printable, problems


class Inner(Model):
    sizes: tuple[int, ...] = ()


class Outer(Model):
    inner: Inner
    number: float = 0.0


def test_an_unknown_key_is_refused_unless_it_may_be_ignored():
    with pytest.raises(ValidationError, match="Extra inputs"):
        Outer.model_validate({"inner": {}, "new": 1})
    ignorable = {"must_understand": False, "anything": [1]}
    assert Outer.model_validate({"inner": {"new": ignorable}, "new": ignorable}) == Outer(inner=Inner())
    for other in ({"must_understand": True}, {"must_understand": 0}, {}, [False]):
        with pytest.raises(ValidationError, match="Extra inputs"):
            Outer.model_validate({"inner": {}, "new": other})


def test_a_known_key_is_never_ignored():
    with pytest.raises(ValidationError, match="number"):
        Outer.model_validate({"inner": {}, "number": {"must_understand": False}})


def test_models_are_frozen_and_finite_and_take_lists_for_tuples():
    made = Outer.model_validate({"inner": {"sizes": [1, 2]}}, strict=True)
    assert made.inner.sizes == (1, 2)
    with pytest.raises(ValidationError, match="frozen"):
        made.number = 1.0
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValidationError, match="finite"):
            Outer.model_validate({"inner": {}, "number": number})


def test_problems_are_one_line_with_places():
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"sizes": [1, "two"]}, "number": "\n"})
    assert problems(caught.value).startswith("inner.sizes.1: ")
    assert "; number: " in problems(caught.value)
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(3)
    assert problems(caught.value).startswith("value: ")


def test_printable_text_is_short_and_harmless():
    assert printable("plain é 漢") == "plain é 漢"
    assert printable("a\x1b[2J\nb\u202e") == "a\\x1b[2J\\nb\\u202e"
    assert len(printable("x" * 10**6)) < 1000
    assert printable("x" * 10**6).startswith("xxx")
