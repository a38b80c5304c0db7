"""``verify``: check every byte against the index, every value against the card, and the HDF5 view against the index."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from dsetpack.formats.errors import DsetpackError, IntegrityError, at
from dsetpack.formats.hdf5 import NO_LIBRARY
from dsetpack.formats.keys import TrustedKey
from dsetpack.formats.limits import Limits
from dsetpack.formats.manifest import Manifest
from dsetpack.formats.parts import check_values, roles_of
from dsetpack.formats.progress import steps
from dsetpack.formats.reader import Reader
from dsetpack.formats.signature import signer
from dsetpack.formats.source import Readable

VIEW_SECONDS = 60
VIEW_BYTES = 2 << 30


def verify(
    where: Readable,
    *,
    hdf5: bool = True,
    limits: Limits | None = None,
    digest: str | None = None,
    trusted_keys: Iterable[TrustedKey] | None = None,
) -> str | None:
    """Check a whole pack file.

    First every byte is compared with its digest, then every tensor's values with the card. Last, a separate process
    with bounded time and memory checks that HDF5 tools see the same tensors at the same places.

    Args:
        where: path, bytes, binary file object or fsspec URL.
        hdf5: False skips the HDF5 view (and needs no h5py).
        limits: what the file may declare.
        digest: the file must have this ``digest``.
        trusted_keys: one of these public keys must have signed it.

    Returns:
        the id, ``sha256:...``, of the key that the file says it is signed with; None if it is not signed. The signature
        itself is only checked against ``trusted_keys``.

    Raises:
        DsetpackError: if there is a problem; the message names the file and the field of the first one.
        OSError: if the file cannot be read.

    Examples:
        >>> dsetpack.verify("fashion-kfs.dpk", hdf5=False)  # no error: the file is sound
        >>> cut_short = open("fashion-kfs.dpk", "rb").read()[:-1]
        >>> dsetpack.verify(cut_short)
        Traceback (most recent call last):
        dsetpack.formats.errors.IntegrityError: <bytes>: 10724 bytes found, 10725 expected: 1 are missing
    """
    limits = limits or Limits()
    with Reader(where, limits=limits, digest=digest, trusted_keys=trusted_keys) as reader:
        signed_by = signer(reader.header)
        if not hdf5:
            check_contents(reader, reader.manifest)
            return signed_by
        # From here on use a copy, which nobody can change between the check of its digests and that of its HDF5 view.
        with tempfile.TemporaryDirectory(prefix="dsetpack-verify-") as folder:
            copy = Path(folder) / "copy.dpk"
            with copy.open("xb") as file:
                file.writelines(reader.blocks())
            with Reader(copy, limits=limits, name=reader.name, digest=reader.digest) as same:
                check_contents(same, same.manifest)
            with at(reader.name), steps("verify the HDF5 view"):
                _check_view(copy, limits)
        return signed_by


def check_contents(reader: Reader, manifest: Manifest) -> None:
    """Check every byte, and the values of every tensor against a manifest with the same tensors.

    Each tensor is decoded once, even if several parts name it.

    Raises:
        DsetpackError: if there is a problem; the message tells the first one.
    """
    reader.check_all()
    roles = roles_of(manifest)
    with steps("verify values", len(manifest.tensors)) as work:
        for name in manifest.tensors:
            values = reader.decoded(name)
            for role, place in roles.get(name, {}).items():
                with at(f"{reader.name}: {place}"):
                    check_values(role, values, manifest.card)
            work.advance()


def _check_view(copy: Path, limits: Limits) -> None:
    arguments = [str(copy), str(VIEW_SECONDS), str(VIEW_BYTES), json.dumps(dataclasses.asdict(limits))]
    try:
        done = subprocess.run(  # noqa: S603  (our own module, no shell)
            [sys.executable, "-P", "-m", "dsetpack.formats.hdf5_view", *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=2 * VIEW_SECONDS,
            check=False,
            env=_environment(),
        )
    except subprocess.TimeoutExpired:
        raise IntegrityError(f"reading it as HDF5 took over {2 * VIEW_SECONDS} seconds") from None
    if done.returncode == 0:
        return
    if done.returncode == 1 and done.stdout:
        raise IntegrityError(f"HDF5 view: {done.stdout.strip()}")
    if done.returncode == NO_LIBRARY:
        raise DsetpackError("checking the HDF5 view needs h5py; install it or pass hdf5=False")
    last = done.stderr.strip().splitlines()[-1:] or ["no message"]
    raise IntegrityError(f"HDF5 view: it cannot be read (status {done.returncode}): {last[0]}")


def _environment() -> dict[str, str]:
    """An environment in which the child finds our modules, loads no HDF5 plugins and starts no idle threads."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path),
        "HDF5_PLUGIN_PRELOAD": "::",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
