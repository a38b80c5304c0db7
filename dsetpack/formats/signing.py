"""Signing: the same file with a signature in its header."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from dsetpack.formats.atomic import check_writable, write_atomically
from dsetpack.formats.header import SIZE
from dsetpack.formats.keys import key_id, private_key, spell_id
from dsetpack.formats.reader import Reader
from dsetpack.formats.signature import message
from dsetpack.formats.verify import check_contents


def sign(path: str | os.PathLike[str], key: str | os.PathLike[str]) -> str:
    """Sign a pack file, in place and in one step. Only its header changes: every digest stays the same.

    The whole file is checked first. A signature that is there already is replaced; a file holds one.

    Args:
        path: the pack file, a local path.
        key: an Ed25519 private key, a PEM file.

    Returns:
        the key's id, ``sha256:...``.

    Raises:
        FormatError: the key is something else; or the file is no sound pack, as with its other errors.
        DsetpackError: ``cryptography`` is missing, or ``path`` is a URL. OSError: a file cannot be read or written.
    """
    secret = private_key(key)
    check_writable(path)
    data = Path(path).read_bytes()  # what is checked is what is signed, whatever happens to the file meanwhile
    with Reader(data, name=os.fspath(path)) as reader:
        check_contents(reader, reader.manifest)
        header = reader.header
    identity = key_id(secret.public_key().public_bytes_raw())
    signed = dataclasses.replace(header, key_id=identity, signature=secret.sign(message(header.digest)))
    write_atomically(path, signed.pack() + data[SIZE:])
    return spell_id(identity)
