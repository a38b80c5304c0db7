"""Sealing: join a manifest and an HDF5 part into one file, or give a file another card."""

from __future__ import annotations

import hashlib
import os

from dsetpack.formats import hdf5_patch, index
from dsetpack.formats import header as headers
from dsetpack.formats import manifest as manifests
from dsetpack.formats.atomic import write_atomically
from dsetpack.formats.card import Card
from dsetpack.formats.errors import IntegrityError, LimitError, at
from dsetpack.formats.header import Header
from dsetpack.formats.layout import Layout, known, laid_out_again
from dsetpack.formats.limits import Limits
from dsetpack.formats.manifest import Manifest
from dsetpack.formats.reader import Reader
from dsetpack.formats.source import Readable
from dsetpack.formats.verify import check_contents


def seal(manifest: Manifest, image: bytes) -> bytes:
    """The bytes of a file: header, manifest, zeros, and the HDF5 part.

    Args:
        manifest: the manifest; its ``rest`` is computed here.
        image: the HDF5 part, counted from the end of the user block.

    Raises:
        DsetpackError: if a reader would refuse the result.
    """
    # A circle: the superblock holds the user block's size, the manifest the superblock's digest, and the user block the
    # manifest.
    user_block, needed = 0, headers.MIN_USER_BLOCK
    while needed > user_block:
        user_block = needed
        data = hdf5_patch.behind(image, user_block)
        plain = manifest.model_copy(update={"rest": _rest_digest(data, manifest)}).dump()
        frame = manifests.compress(plain)
        needed = headers.user_block_size(len(frame))
    header = Header(user_block, user_block + len(data), len(frame), len(plain), hashlib.sha256(frame).digest())
    _check_readable(plain, header)
    return (header.pack() + frame).ljust(user_block, b"\0") + data


def recard(
    where: Readable,
    card: Card,
    path: str | os.PathLike[str],
    *,
    expect: str | None = None,
    layout: Layout | None = None,
) -> int:
    """Write a copy of a pack file with another card; stored tensors, and so the ``content_digest``, stay the same.

    The copy is not signed, unless nothing has changed: a signature holds only for the digest, and so the card, that it
    was made for.

    Args:
        where: the pack to copy; every byte of it is checked, and every value against the new card.
        card: the new card; it must fit the existing parts and tensors.
        path: the new file, which may be the old one.
        expect: the ``digest`` of the pack that the card was made for; None accepts any pack.
        layout: the copy's layout, ``plain`` or ``open``, as for ``write``; None leaves the HDF5 part as it is.

    Returns:
        the new file's size in bytes.

    Raises:
        DsetpackError: if the old file is damaged, if the card does not fit it, or if there is no such layout.
        IntegrityError: if it has another digest than expected.
        OSError: if the new file cannot be written.
    """
    with Reader(where) as reader:
        if expect not in (None, reader.digest):
            raise IntegrityError(
                f"{reader.name}: it was replaced by another file: digest {reader.digest} found, {expect} expected"
            )
        manifest = reader.manifest.model_copy(update={"card": card})
        whole = b"".join(reader.blocks())
        image = whole[reader.header.user_block :]
        if layout is not None:
            manifest, image = laid_out_again(manifest, image, known(layout))
        with at(f"{reader.name} under the new card"):
            data = seal(manifest, image)
        if data[headers.SIZE :] == whole[headers.SIZE :]:
            data = whole  # nothing has changed, so a signature holds
        check_contents(reader, manifest)
    Reader(data, verify="all").close()  # another program may have laid out its HDF5 part differently
    write_atomically(path, data)
    return len(data)


def _check_readable(plain: bytes, header: Header) -> None:
    """Check that a reader can read what is written: the stored manifest passes all of a reader's checks."""
    limits = Limits(total=2**62)
    if len(plain) > limits.manifest:
        raise LimitError(f"a manifest of {len(plain)} bytes; readers accept {limits.manifest}")
    index.check(manifests.parse(plain, limits), header, limits)


def _rest_digest(data: bytes, manifest: Manifest) -> str:
    """SHA-256 of the bytes after the user block that no chunk covers; ``data`` starts at the user block's end."""
    digest, end = hashlib.sha256(), 0
    for chunk in sorted((c for d in manifest.datasets.values() for c in d.chunks), key=lambda c: c.offset):
        digest.update(data[end : chunk.offset])
        end = chunk.offset + chunk.length
    digest.update(data[end:])
    return digest.hexdigest()
