"""``dsetpack diff``: comparison of two packs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dsetpack.formats.errors import DsetpackError
from dsetpack.formats.model import printable
from dsetpack.formats.words import plural

if TYPE_CHECKING:
    from dsetpack.diff import Change, Difference, Images, TensorChange

TROUBLE = 2


@click.command("diff")
@click.argument("a")
@click.argument("b")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def command(a: str, b: str, as_json: bool) -> None:
    """Compare the packs A and B.

    A and B are paths or URLs; card, parts, tensors and decoded images are compared. The exit status is 0 if they are
    the same, 1 if they differ, and 2 if one cannot be read. The compression of tensors does not count.
    """
    from dsetpack.cli import message
    from dsetpack.diff import diff

    try:
        found = diff(a, b)
    except (DsetpackError, OSError) as error:
        click.echo(f"error: {message(error)}", err=True)
        sys.exit(TROUBLE)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else "\n".join(_lines(found)))
    sys.exit(0 if found.same else 1)


def _lines(found: Difference) -> Iterator[str]:
    for sign, side in (("---", found.a), ("+++", found.b)):
        yield f"{sign} {printable(side['file'])}  {side['digest']}"
    yield from (_change("card.", change) for change in found.card)
    yield from (_change("parts", change) for change in found.parts)
    yield from (_tensor(change) for change in found.tensors)
    yield _images(found.images)
    if found.same:
        stored = found.a["content_digest"] == found.b["content_digest"]
        yield "the same" if stored else "the same, compressed in another way"


def _change(where: str, change: Change) -> str:
    return printable(f"{where}{change.field}: {_word(change.a)} → {_word(change.b)}")


def _word(value: Any) -> str:
    from dsetpack.diff import Missing

    return "missing" if value is Missing.MISSING else json.dumps(value, ensure_ascii=False)


def _tensor(change: TensorChange) -> str:
    if change.a is None or change.b is None:
        return f"tensor {change.name}: only in {'B' if change.a is None else 'A'}"
    told = [
        f"{key} {_shown(key, change.a[key])} → {_shown(key, change.b[key])}"
        for key in ("dtype", "shape", "encodings")
        if change.a[key] != change.b[key]
    ]
    if change.differing is not None:
        largest = "not finite" if change.max_abs is None else f"{change.max_abs:.6g}"
        told.append(
            f"{_differ(change.differing, 'value')}, by at most {largest}" if change.differing else "same values"
        )
    return printable(f"tensor {change.name}: {'; '.join(told)}")


def _differ(number: int, noun: str) -> str:
    return f"{plural(number, noun)} {'differs' if number == 1 else 'differ'}"


def _shown(key: str, value: Any) -> str:
    if key != "encodings":
        return str(value)
    return " + ".join(f"{step['name']} {_word(step['configuration'])}" for step in value) or "none"


def _images(images: Images) -> str:
    if images.reason:
        return printable(f"images: not compared: {images.reason}")
    largest, mean = ("not finite" if v is None else f"{v:.6g}" for v in (images.max_abs, images.mean_abs))
    return (
        f"images: {_differ(images.pairs, 'pair')} by at most {largest}, {mean} in the mean; "
        f"{plural(images.labels_changed or 0, 'label')} changed"
    )
