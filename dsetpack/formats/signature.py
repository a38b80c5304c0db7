"""What a signature signs, and how a file's signature is checked: Ed25519 over the digest (SPEC.md, section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping

from dsetpack.formats.errors import IntegrityError
from dsetpack.formats.header import Header
from dsetpack.formats.keys import spell_id

CONTEXT = b"dsetpack manifest signature v1\0"
"""It precedes the digest, so that a signature by the same key for another purpose does not pass for one of ours."""


def message(digest: bytes) -> bytes:
    """The bytes that are signed: 31 of context, then the 32 bytes of the file's digest."""
    return CONTEXT + digest


def signer(header: Header) -> str | None:
    """The id, ``sha256:...``, of the key that a file claims to be signed with, unchecked; None if it is unsigned."""
    return spell_id(header.key_id) if any(header.key_id) or any(header.signature) else None


def check(header: Header, trusted: Mapping[bytes, bytes]) -> None:
    """Check that one of the trusted keys signed a file.

    Args:
        header: the file's header.
        trusted: public keys by id, as ``keys.trusted`` gives them.

    Raises:
        IntegrityError: if the file is not signed, is signed by another key, or has a wrong signature.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    found, wanted = signer(header), ", ".join(map(spell_id, trusted))
    if found is None:
        raise IntegrityError(f"it is not signed; a signature by key {wanted} is required")
    if header.key_id not in trusted:
        hint = "; what was given as a public key is this key's id" if header.key_id in trusted.values() else ""
        raise IntegrityError(f"it says that key {found} signed it, which is not trusted; trusted: {wanted}{hint}")
    try:
        public = Ed25519PublicKey.from_public_bytes(trusted[header.key_id])
        public.verify(header.signature, message(header.digest))
    except InvalidSignature:
        raise IntegrityError(
            f"its signature is wrong: key {found} did not sign the digest {spell_id(header.digest)}"
        ) from None
