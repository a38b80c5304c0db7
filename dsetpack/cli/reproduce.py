"""``dsetpack reproduce``: a check that a pack reaches the accuracy in its card."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsetpack.cli.fitted import fitted
from dsetpack.cli.options import data_options, device_option, per_class_option
from dsetpack.formats.words import plural

if TYPE_CHECKING:
    from dsetpack.formats.card import Metric


@click.command("reproduce")
@click.argument("file")
@data_options()
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), metavar="N", help="Networks to train.")
@device_option
@per_class_option
def command(
    file: str, data: str, root: Path | None, seeds: int, device: str, per_class: int | None, **how: Any
) -> None:
    """Check that FILE reaches the accuracy in its card.

    FILE (a path or URL) is measured again by the recipe in its card, on the real test data that the card pins. The
    command prints the card's value, the new value, and their difference in standard errors. The exit status is 1 if
    they are more than three standard errors apart.
    """
    import dsetpack
    from dsetpack.loading.device import usable
    from dsetpack.trainers.data import load
    from dsetpack.trainers.reproduce import LIMIT, reproduce, settle

    target = usable(device)
    pack, test = dsetpack.open(file, per_class=per_class), load(data, root, "test", **how)
    settle(pack.card, test, seeds)  # before the training images are read
    found = reproduce(fitted(pack, data, root, **how), test, seeds=seeds, device=target)
    click.echo(f"card:       {_shown(found.card)}")
    click.echo(f"here:       {_shown(found.new)}")
    click.echo(f"difference: {100 * found.difference:+.2f} points, {found.errors:+.1f} standard errors")
    if None in (found.card.std, found.new.std):
        click.echo("one of the two has no standard deviation; it is taken to have the other's")
    if not found.holds:
        click.echo(f"not reproduced: more than {LIMIT:g} standard errors apart")
        sys.exit(1)
    click.echo(f"reproduced: within {LIMIT:g} standard errors")


def _shown(metric: Metric) -> str:
    spread = "" if metric.std is None else f" ± {metric.std:.2%}"
    kind = "" if metric.name == "accuracy" else f"{metric.name} "
    width = "" if metric.width is None else f" of width {metric.width}"
    return (
        f"{kind}{metric.value:.2%}{spread} ({metric.arch}{width} on {metric.test_data}, {plural(metric.seeds, 'seed')})"
    )
