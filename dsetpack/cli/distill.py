"""``dsetpack distill``: from real images to a pack."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from dsetpack.cli.options import data_options, settings_option
from dsetpack.formats.presets import PRESETS as ENCODINGS


@click.command("distill")
@click.option("--method", help="How to distill: kfs, haba, dim, isa, ...; 'dsetpack recipes' lists all.")
@click.option(
    "--preset",
    default="cpu",
    show_default=True,
    type=click.Choice(["cpu", "paper"]),
    help="Minutes on a CPU, or the paper's settings, for a GPU.",
)
@click.option("--recipe", help="A recipe by name, or a .toml file, instead of --method and --preset.")
@data_options(required=False)
@click.option("--ipc", type=click.IntRange(1), help="The budget: the floats of this many images per class.")
@click.option("--stages", help="Distill in stages, by classes ('0,1;2,3') or as stages x classes ('5x2').")
@click.option("--augment", type=click.Choice(["dsa", "none"]), help="The Siamese augmentation while matching.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .dpk to write.")
@click.option("--encoding", default="exact", show_default=True, type=click.Choice(ENCODINGS), help="How to store it.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The seed of everything random.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda, cuda:1, ...")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in OUT.run.")
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Where to keep real means and experts.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard event files beside the CSV log.")
@settings_option("Change a setting of the recipe, such as schedule.steps=1000; may be repeated.")
def command(
    method: str | None,
    preset: str,
    recipe: str | None,
    data: str | None,
    root: Path | None,
    ipc: int | None,
    stages: str | None,
    augment: str | None,
    out: Path,
    encoding: str,
    seed: int,
    device: str,
    resume: bool,
    cache: Path | None,
    tensorboard: bool,
    settings: dict[str, Any],
    **how: Any,
) -> None:
    """Distill the training images of a data set into a pack, by a method or by a recipe.

    Ctrl-C saves a checkpoint; --resume continues from it to the very same pack. 'torchrun --nproc-per-node N -m
    dsetpack distill ...' divides the work between N processes. With --stages, each stage sees only the images of its
    own classes and becomes a part of the pack; with kfs, later stages keep the decoders of the first.
    """
    if recipe is not None and method is not None:
        raise click.UsageError("--recipe names a method already: leave out --method")
    if recipe is not None and _given("preset"):
        raise click.UsageError(
            f"--recipe {recipe} is a whole recipe, which --preset {preset} would not change: leave out one of them"
        )
    from dsetpack.formats.atomic import check_writable
    from dsetpack.formats.errors import FormatError
    from dsetpack.loading.device import usable
    from dsetpack.trainers import parallel
    from dsetpack.trainers.data import load
    from dsetpack.trainers.distill import distill
    from dsetpack.trainers.loop import Run
    from dsetpack.trainers.recipe import load_recipe
    from dsetpack.trainers.stages import distill_stages
    from dsetpack.trainers.staging import parse_stages

    name = recipe or _method(method or "kfs", preset)
    changes = {**settings, **({} if augment is None else {"siamese": augment})}
    chosen = data or load_recipe(name, changes).data
    if chosen is None:
        raise FormatError(f"recipe {name} is for any data: name the data by --data")
    check_writable(out)
    usable(device)
    make = distill if stages is None else partial(distill_stages, stages=parse_stages(stages))
    with parallel.joined(device) as where:
        pack = make(
            load(chosen, root, "train", **how),
            recipe=name,
            ipc=ipc,
            settings=changes,
            seed=seed,
            out=out,
            encoding=encoding,
            resume=resume,
            cache=cache,
            device=where,
            run=Run(tensorboard=tensorboard),
        )
        if not parallel.rank():
            floats, size = pack.card.provenance.budget_floats, out.stat().st_size
            what = f"{pack.card.title}; {len(pack)} images from {floats:,} floats in {size:,} bytes ({encoding})"
            click.echo(f"{out}: {what}")


def _given(option: str) -> bool:
    """Whether an option is on the command line, and not only at its default."""
    return click.get_current_context().get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE


def _method(method: str, preset: str) -> str:
    """The name of a method's recipe for a preset."""
    import difflib

    from dsetpack.formats.errors import FormatError
    from dsetpack.recipes.tables import method_names

    name = method if preset == "paper" else f"{method}-{preset}"
    if name not in method_names():
        methods = sorted({known.removesuffix("-cpu") for known in method_names()})
        near = difflib.get_close_matches(method, methods, 1, 0)[0]
        raise FormatError(
            f"no method {method!r} with preset {preset}; nearest is {near!r}, all are {', '.join(methods)}"
        )
    return name
