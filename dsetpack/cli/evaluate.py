"""``dsetpack eval``: networks trained on a pack, tested on real images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsetpack.cli.options import data_options, settings_option

if TYPE_CHECKING:
    from dsetpack.formats.card import Recipe
    from dsetpack.pack import Pack


@click.command("eval")
@click.argument("file")
@data_options()
@click.option("--arch", help="Such as convnet3, resnet18, vgg11 or alexnet; by default the card's.")
@click.option("--width", type=click.IntRange(1), help="Width of the network; by default the card's, else the paper's.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), help="Networks to train.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda, cuda:1, ...")
@click.option("--augment/--no-augment", default=True, help="Use the card's augmentation, or none.")
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="NEW",
    help="Write FILE with the result in its card to NEW, which may be FILE itself.",
)
@settings_option("Change the card's recipe, such as steps=1000 or lr=0.02; may be repeated.")
def command(
    file: str,
    data: str,
    root: Path | None,
    arch: str | None,
    width: int | None,
    seeds: int,
    device: str,
    augment: bool,
    record: Path | None,
    settings: dict[str, Any],
) -> None:
    """Train networks on FILE by its card's recipe and test them on the data's test images.

    The network after the last step counts; the mean and the standard deviation over seeds are printed.
    """
    import dsetpack
    from dsetpack.device import usable
    from dsetpack.formats.atomic import check_writable
    from dsetpack.formats.seal import recard
    from dsetpack.trainers.data import load
    from dsetpack.trainers.evaluate import evaluate

    target = usable(device)
    if record is not None:
        check_writable(record)
    pack, test = dsetpack.open(file), load(data, root, "test")
    changed, digest = _recipe(pack, settings), pack.digest
    pack = _with_its_space(pack, data, root)
    metric = evaluate(
        pack,
        test,
        seeds=seeds,
        arch=arch,
        width=width,
        recipe=changed,
        augmentation="card" if augment else None,
        device=target,
    )
    spread = "" if metric.std is None else f" ± {metric.std:.2%}"
    shown = f"{metric.arch} {metric.width or ''}".strip()
    click.echo(f"{file}: {metric.value:.2%}{spread} on {len(test)} test images of {test.name}; {shown}, {seeds} seeds")
    if record is not None:
        card = pack.card.replace(metrics=(*pack.card.metrics, metric))
        click.echo(f"{record}: {recard(file, card, record, expect=digest):,} bytes, the result in its card")


def _recipe(pack: Pack, changes: dict[str, Any]) -> Recipe | None:
    """The card's recipe with some fields changed; None for the card's own."""
    from dsetpack.checked import checked
    from dsetpack.formats.card import Recipe
    from dsetpack.formats.errors import FormatError
    from dsetpack.trainers.recipe import nearest

    if not changes:
        return None
    known = tuple(Recipe.model_fields)
    if unknown := [key for key in changes if key not in known]:
        raise FormatError(f"--set: no setting {unknown[0]!r}; nearest is {nearest(unknown[0], known)!r}")
    fields = pack.card.recipe.model_dump(exclude_defaults=True) if pack.card.recipe else {}
    if "epochs" in changes or "steps" in changes:
        fields.pop("epochs", None), fields.pop("steps", None)
    with checked("--set"):
        return Recipe.model_validate({**fields, **changes})


def _with_its_space(pack: Pack, data: str, root: Path | None) -> Pack:
    """The pack with its ZCA fitted again on the data's training images, where the file keeps only how to do that."""
    from dsetpack.spaces import Zca
    from dsetpack.trainers.data import load

    if not isinstance(pack.space, Zca) or pack.space.ready:
        return pack
    return pack.with_space(Zca.refit(pack.space.model, load(data, root, "train").images))
