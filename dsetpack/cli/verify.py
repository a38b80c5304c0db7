"""``dsetpack verify``: every byte, every value, and the HDF5 view."""

from __future__ import annotations

import click

from dsetpack.formats import verify


@click.command("verify")
@click.argument("file")
@click.option("--no-hdf5", is_flag=True, help="Skip the HDF5 view (needs no h5py).")
def command(file: str, no_hdf5: bool) -> None:
    """Check the whole of FILE (a path or URL). Exit status 0 if sound, 1 if not."""
    verify(file, hdf5=not no_hdf5)
    click.echo(f"{file}: sound")
