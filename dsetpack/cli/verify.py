"""``dsetpack verify``: a check of every byte, every value and the HDF5 view, and of the signature on request."""

from __future__ import annotations

import click

from dsetpack.formats import verify


@click.command("verify")
@click.argument("file")
@click.option("--no-hdf5", is_flag=True, help="Skip the HDF5 view (then h5py is not needed).")
@click.option("--digest", metavar="sha256:...", help="The digest that FILE must have.")
@click.option(
    "--trusted",
    multiple=True,
    metavar="KEY",
    help="A public key that must have signed FILE: a file (PEM) or 64 hexadecimal digits. If there are several, one of "
    "them must have signed it.",
)
def command(file: str, no_hdf5: bool, digest: str | None, trusted: tuple[str, ...]) -> None:
    """Check every byte of FILE.

    FILE is a path or URL. The exit status is 0 if it is sound, otherwise 1. The command also says who signed FILE;
    only --trusted checks that.
    """
    key = verify(file, hdf5=not no_hdf5, digest=digest, trusted_keys=trusted or None)
    click.echo(f"{file}: sound, {_signed(key, trusted=bool(trusted))}")


def _signed(key: str | None, *, trusted: bool) -> str:
    if key is None:
        return "not signed"
    if trusted:
        return f"signed by the trusted key {key}"
    return f"signed by key {key}, which is not known here: --trusted KEY checks the signature"
