"""``verify``: every byte against the index, every value against the card, and the HDF5 view against the index."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from dsetpack.formats.errors import DsetpackError, IntegrityError
from dsetpack.formats.limits import Limits
from dsetpack.formats.reader import Reader
from dsetpack.formats.source import Readable

VIEW_SECONDS = 60
VIEW_BYTES = 2 << 30


def verify(where: Readable, *, hdf5: bool = True, limits: Limits | None = None) -> None:
    """Check a whole pack file.

    First every byte against its digest, then every tensor's values against the card, and last, in a process of its
    own with bounded time and memory, that HDF5 tools see the same tensors at the same places.

    Args:
        where: path, bytes, binary file object or fsspec URL.
        hdf5: False skips the HDF5 view (and needs no h5py).
        limits: what the file may declare.

    Raises:
        DsetpackError: the first problem found, naming the file and the field. OSError: the file cannot be read.
    """
    with Reader(where, verify="all", limits=limits) as reader:
        for number in range(len(reader.manifest.parts)):
            reader.part(number)
        if hdf5:
            _verify_view(reader)


def _verify_view(reader: Reader) -> None:
    """Compare the HDF5 view of the bytes just checked, from a copy that nobody else can change meanwhile."""
    with tempfile.TemporaryDirectory(prefix="dsetpack-verify-") as folder:
        copy = Path(folder) / "copy.dpk"
        copy.write_bytes(reader.read_all())
        command = [sys.executable, "-m", "dsetpack.formats.hdf5_view", str(copy), str(VIEW_SECONDS), str(VIEW_BYTES)]
        try:
            done = subprocess.run(  # noqa: S603  (our own module, no shell)
                command, capture_output=True, text=True, timeout=2 * VIEW_SECONDS, check=False, cwd=folder
            )
        except subprocess.TimeoutExpired:
            raise IntegrityError(f"{reader.name}: reading it as HDF5 took over {2 * VIEW_SECONDS} seconds") from None
    if done.returncode == 0:
        return
    if done.returncode == 1 and done.stdout:
        raise IntegrityError(f"{reader.name}: HDF5 view: {done.stdout.strip()}")
    if "No module named 'h5py'" in done.stderr:
        raise DsetpackError(f"{reader.name}: checking the HDF5 view needs h5py; install it or pass hdf5=False")
    last = done.stderr.strip().splitlines()[-1:] or ["no message"]
    raise IntegrityError(f"{reader.name}: HDF5 view: it cannot be read (status {done.returncode}): {last[0]}")
