"""The base of every manifest model: immutable, strict, and explicit about keys it does not know."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

_LONGEST = 600
"""The most characters in a message: the text of a file may be megabytes of nonsense."""


class Model(BaseModel):
    """A frozen pydantic model that refuses unknown keys.

    The one exception is the format's way to grow within a major version (SPEC.md, "Unknown keys"): an unknown key
    whose value is an object with ``"must_understand": false`` is dropped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: _tuples(v) for k, v in data.items() if k in cls.model_fields or not _ignorable(v)}


def _tuples(value: Any) -> Any:
    """Turn lists into tuples: JSON has no tuples, and strict validation does not accept lists for them."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _ignorable(value: Any) -> bool:
    return isinstance(value, dict) and value.get("must_understand") is False


def problems(error: ValidationError) -> str:
    """A validation error as one printable line: where and what is wrong, for each of the first four problems."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in found[:4]]
    more = f" (and {len(found) - 4} more)" if len(found) > 4 else ""
    return printable("; ".join(lines)) + more


def printable(text: str) -> str:
    """Text that may come from a file, shortened and without characters that a terminal would obey."""
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in short)
