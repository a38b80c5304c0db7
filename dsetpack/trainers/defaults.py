"""The defaults of all settings of recipes as JSON, so that recipes can be shown in full without torch.

``python -m dsetpack.trainers.defaults`` writes them into ``dsetpack/recipes/settings.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from pydantic_core import PydanticUndefined, to_jsonable_python

from dsetpack.formats.model import Model
from dsetpack.recipes.full import DEFAULTS
from dsetpack.trainers import objectives, parameterizations
from dsetpack.trainers.recipe import DistillRecipe


def settings_text() -> str:
    """The content of ``dsetpack/recipes/settings.json``; ``dsetpack.recipes.full`` reads it."""
    kinds = {"parameterization": parameterizations.known(), "objective": objectives.known()}
    return json.dumps(_node(DistillRecipe, kinds), indent=1) + "\n"


def _node(kind: type[Model], kinds: Mapping[str, Mapping[str, type[Model]]] | None = None) -> dict[str, Any]:
    fields = {
        key: None if (value := field.get_default(call_default_factory=True)) is PydanticUndefined else value
        for key, field in kind.model_fields.items()
    }
    return {
        "defaults": to_jsonable_python(fields),
        "inside": {key: _node(inner) for key in fields if (inner := _table(kind, key)) and key not in (kinds or {})},
        "kinds": {key: {name: _node(one) for name, one in of.items()} for key, of in (kinds or {}).items()},
    }


def _table(kind: type[Model], key: str) -> type[Model] | None:
    """The model of a field that is a table, or may be one."""
    annotation = kind.model_fields[key].annotation
    models = (one for one in (annotation, *get_args(annotation)) if isinstance(one, type) and issubclass(one, Model))
    return next(models, None)


if __name__ == "__main__":
    DEFAULTS.write_text(settings_text(), encoding="utf-8")
