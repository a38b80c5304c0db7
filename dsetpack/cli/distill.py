"""``dsetpack distill``: real images in, a pack out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dsetpack.cli.options import data_options, settings_option
from dsetpack.formats.presets import PRESETS as ENCODINGS


@click.command("distill")
@click.option("--method", default="kfs", show_default=True, help="How to distil.")
@data_options()
@click.option(
    "--ipc", default=1, show_default=True, type=click.IntRange(1), help="Budget: floats of so many images a class."
)
@click.option(
    "--preset", default="cpu", show_default=True, type=click.Choice(["cpu", "paper"]), help="Minutes, or a GPU."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .dpk to write.")
@click.option("--encoding", default="exact", show_default=True, type=click.Choice(ENCODINGS), help="How to store it.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of everything random.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda, cuda:1, ...")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in OUT.run.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard event files beside the CSV log.")
@settings_option("Change a setting of the preset, such as matching.steps=1000; may be repeated.")
def command(
    method: str,
    data: str,
    root: Path | None,
    ipc: int,
    preset: str,
    out: Path,
    encoding: str,
    seed: int,
    device: str,
    resume: bool,
    tensorboard: bool,
    settings: dict[str, Any],
) -> None:
    """Distil the training images of a data set into a pack.

    Ctrl-C saves a checkpoint; --resume goes on from it to the very same pack.
    """
    from dsetpack.trainers.data import load
    from dsetpack.trainers.distill import distill
    from dsetpack.trainers.loop import Run

    images = load(data, root, "train")
    pack = distill(
        images,
        method=method,
        ipc=ipc,
        preset=preset,
        seed=seed,
        out=out,
        encoding=encoding,
        resume=resume,
        device=device,
        settings=settings,
        run=Run(tensorboard=tensorboard),
    )
    floats, size = pack.card.provenance.budget_floats, out.stat().st_size
    click.echo(f"{out}: {pack.card.title}; {len(pack)} images from {floats:,} floats in {size:,} bytes ({encoding})")
