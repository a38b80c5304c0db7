"""``dsetpack verify``: every byte, every value, and the HDF5 view; and who signed it, where that is asked."""

from __future__ import annotations

import click

from dsetpack.formats import verify


@click.command("verify")
@click.argument("file")
@click.option("--no-hdf5", is_flag=True, help="Skip the HDF5 view (needs no h5py).")
@click.option("--digest", metavar="sha256:...", help="The digest that FILE must have.")
@click.option(
    "--trusted",
    multiple=True,
    metavar="KEY",
    help="A public key that must have signed FILE: a file (PEM), or 64 hexadecimal digits. Of several, one must have.",
)
def command(file: str, no_hdf5: bool, digest: str | None, trusted: tuple[str, ...]) -> None:
    """Check the whole of FILE (a path or URL). Exit status 0 if sound, 1 if not."""
    verify(file, hdf5=not no_hdf5, digest=digest, trusted_keys=trusted or None)
    click.echo(f"{file}: sound{', signed by a trusted key' if trusted else ''}")
