"""Signing: put a signature into a file's header."""

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

    The whole file is checked first. An existing signature is replaced: a file holds only one.

    Args:
        path: the pack file, a local path.
        key: an Ed25519 private key, a PEM file.

    Returns:
        the key's id, ``sha256:...``.

    Raises:
        FormatError: if the key is something else.
        DsetpackError: if the file is not a sound pack, if ``cryptography`` is missing, or if ``path`` is a URL.
        OSError: if a file cannot be read or written.
    """
    secret = private_key(key)
    check_writable(path)
    data = Path(path).read_bytes()  # what is checked is what is signed, even if the file changes meanwhile
    with Reader(data, name=os.fspath(path)) as reader:
        check_contents(reader, reader.manifest)
        header = reader.header
    identity = key_id(secret.public_key().public_bytes_raw())
    signed = dataclasses.replace(header, key_id=identity, signature=secret.sign(message(header.digest)))
    write_atomically(path, signed.pack() + data[SIZE:])
    return spell_id(identity)
