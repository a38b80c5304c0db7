"""The defaults that are shown without torch are those of the classes."""

from dsetpack.recipes.full import DEFAULTS
from dsetpack.trainers.defaults import settings_text


def test_the_file_is_current():
    assert DEFAULTS.read_text(encoding="utf-8") == settings_text(), "run: python -m dsetpack.trainers.defaults"
