"""``dsetpack distill``: from real images to a pack."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from dsetpack.cli.options import Names, Sections, data_options, device_option, encoding_option, settings_option
from dsetpack.cli.outputs import SHIPPED, data_root, force_option, out_option
from dsetpack.formats.words import plural


@click.command(
    "distill",
    cls=Sections,
    sections={
        "What to distill": ("data", "root", "axes", "drop_alpha"),
        "How": ("method", "preset", "recipe", "ipc", "stages", "augment", "settings"),
        "Running": ("seed", "device", "resume", "cache", "tensorboard"),
        "Output": ("out", "encoding", "force"),
    },
)
@click.option(
    "--method", metavar="NAME", help="How to distill: kfs, haba, dim, isa, ...; 'dsetpack recipes' lists all."
)
@click.option(
    "--preset",
    default="cpu",
    show_default=True,
    type=Names(["cpu", "paper"]),
    help="Minutes on a CPU, or the paper's settings, for a GPU.",
)
@click.option("--recipe", metavar="NAME", help="A recipe by name, or a .toml file, instead of --method and --preset.")
@data_options(required=False)
@click.option(
    "--ipc", type=click.IntRange(1), metavar="N", help="The budget: the floats of this many images per class."
)
@click.option(
    "--stages", metavar="STAGES", help="Distill in stages, by classes ('0,1;2,3') or as stages x classes ('5x2')."
)
@click.option("--augment", type=Names(["dsa", "none"]), help="The Siamese augmentation while matching.")
@out_option("The .dpk to write.", required=True)
@encoding_option
@force_option
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), metavar="N", help="The seed of everything random."
)
@device_option
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in OUT.run.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to keep real means, experts and generators; by default $DSETPACK_CACHE or ~/.cache/dsetpack.",
)
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
    force: bool,
    seed: int,
    device: str,
    resume: bool,
    cache: Path | None,
    tensorboard: bool,
    settings: dict[str, Any],
    **how: Any,
) -> None:
    """Distill a data set into a pack.

    A method or a recipe says how; the training images of the data are used. Ctrl-C saves a checkpoint; --resume
    continues from it to the very same pack. 'torchrun --nproc-per-node N -m dsetpack distill ...' divides the work
    between N processes. With --stages, each stage sees only the images of its own classes and becomes a part of the
    pack; with kfs, later stages keep the decoders of the first.
    """
    if recipe is not None and method is not None:
        raise click.UsageError("--recipe names a method already: leave out --method")
    if recipe is not None and _given("preset"):
        raise click.UsageError(
            f"--recipe {recipe} is a whole recipe, which --preset {preset} would not change: leave out one of them"
        )
    from dsetpack.formats.errors import FormatError
    from dsetpack.formats.outputs import PACK, check_apart, check_output
    from dsetpack.loading.device import device_name, usable
    from dsetpack.recipes.tables import recipe_files
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
    reads: list[Path | str] = [*recipe_files(name), chosen, SHIPPED]
    check_output(out, PACK, reads, force=force, keep=data_root(root))
    check_apart(f"{out}.run", reads)
    if cache is not None:
        check_apart(cache, reads)
    usable(device)
    make = distill if stages is None else partial(distill_stages, stages=parse_stages(stages))
    with parallel.joined(device_name(device)) as where:
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
            made = f"{plural(len(pack), 'image')} from {plural(floats or 0, 'float')}"
            click.echo(f"{out}: {pack.card.title}; {made} in {size:,} bytes ({encoding})")


def _given(option: str) -> bool:
    """Whether an option is on the command line, and not only at its default."""
    return click.get_current_context().get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE


def _method(method: str, preset: str) -> str:
    """The name of a method's recipe for a preset."""
    from dsetpack.formats.by_name import closest, spelled
    from dsetpack.formats.errors import FormatError
    from dsetpack.recipes.tables import method_names

    name = spelled(method_names(), method if preset == "paper" else f"{method}-{preset}")
    if name is None:
        methods = sorted({known.removesuffix("-cpu") for known in method_names()})
        raise FormatError(
            f"no method {method!r} with preset {preset}; nearest is {closest(methods, method)!r}, all are "
            f"{', '.join(methods)}"
        )
    return name
