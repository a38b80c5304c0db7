"""How a release trains on its sets, as the shipped recipes say it: by method, data and size.

What a card cannot say is left out: HaBa's release standardises each batch by its own mean and deviation; FRePo's and
IDC's augmentations differ from DSA in details. ``docs/convert.md`` lists these differences.
"""

from __future__ import annotations

from dsetpack.convert.base import Found, Given
from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import notice
from dsetpack.recipes.training import Training, has_training, training_by, training_of

COMMON = "dsa"
"""The method whose recipe a set of no known method takes, if the user gives a learning rate."""


def release_training(found: Found, given: Given, *, images: int, classes: int) -> Training | None:
    """How the release of a set trains on it.

    That is what the recipe says that the user names, or the recipe of the method, the data and the size; if neither a
    recipe nor a method is known, a declared learning rate goes with the recipe that DSA, DM and MTT share.

    Args:
        found: what the files say.
        given: what the user declares.
        images, classes: the size of the set.

    Returns:
        the training, with the recipe's learning rate; None if nothing says how to train.

    Raises:
        FormatError: if the user names a recipe that does not exist, or if the method learns its rate, and the rate is
            neither stored nor declared.
    """
    own = _training(found, given, images, classes)
    if own is not None and own.learned and given.lr is None and found.lr is None:
        raise FormatError(
            "the method learns its learning rate, and the source does not hold it; pass lr= (--lr 0.02; the log of the "
            "run has it), or lr='none' for a pack without a recipe"
        )
    return own


def method_of(found: Found, given: Given, training: Training | None) -> str | None:
    """The method that made a set: declared, said by the files, or that of the recipe that the user names."""
    if given.method is not None:
        return _usual(given.method)
    named = training.method if training is not None and given.recipe is not None else None
    return found.method or named


def _training(found: Found, given: Given, images: int, classes: int) -> Training | None:
    data = given.dataset or found.dataset
    if given.recipe is not None:
        return training_of(given.recipe, data)
    method = _method(found, given)
    if method is None:
        if not isinstance(given.lr, float | int):
            return None
        method = COMMON
        notice(
            f"nothing says which method made the set: the card trains as {COMMON} does; pass method= (--method) or "
            "recipe= (--recipe) for another"
        )
    elif data is None and given.lr != "none":
        notice(
            f"the card trains as {method} does on most data; pass dataset= (--dataset) for the recipe of a data set, "
            "which may differ"
        )
    return training_by(method, data=data, images=images, classes=classes)


def _method(found: Found, given: Given) -> str | None:
    """The method whose recipes to take; None if there are none."""
    if given.method is None:
        return found.protocol
    method = _usual(given.method)
    if has_training(method):
        return method
    other = f"trains as {found.protocol} does" if found.protocol else "has none"
    notice(f"no recipe is shipped for method {method!r}: the card {other}; pass recipe= (--recipe) for another")
    return found.protocol


def _usual(method: str) -> str:
    """The usual spelling of a method: recipes have small letters."""
    return method.lower() if has_training(method.lower()) else method
