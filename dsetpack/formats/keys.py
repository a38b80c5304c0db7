"""Ed25519 keys: make them, read them from files, name them by their ids. ``cryptography`` is imported when used."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.extras import need
from dsetpack.formats.words import plural

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TrustedKey = str | bytes | os.PathLike[str]
"""A public key: its 32 bytes, the same as 64 hexadecimal digits, or the path of a file with these digits or PEM."""
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_LARGEST = 1 << 16
"""The most bytes of a key file; a larger file is something else, given by mistake."""
_WEAK = frozenset(
    bytes.fromhex(y)
    for y in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
"""The y of every point of small order: anyone can make signatures for such a "key". All zeros is one of them."""


def key_id(public: bytes) -> bytes:
    """The id of a public key (32 bytes): its SHA-256, 32 bytes."""
    return hashlib.sha256(public).digest()


def spell_id(identity: bytes) -> str:
    """A key's id as people see it: ``sha256:...``, which does not look like a public key."""
    return f"sha256:{identity.hex()}"


def new_key(path: str | os.PathLike[str]) -> bytes:
    """Make a key pair: ``path``, the private key as PEM (PKCS #8), readable only by its owner, and ``path.pub``.

    Returns:
        the public key, 32 bytes.

    Raises:
        FileExistsError: if one of the files exists already; it stays as it is.
        OSError: if they cannot be written.
        DsetpackError: if ``cryptography`` is missing.
    """
    need("cryptography", "sign")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = Path(path), Path(f"{os.fspath(path)}.pub")
    for file in (private, public):
        if os.path.lexists(file):
            raise FileExistsError(errno.EEXIST, "exists already; a key is never overwritten", str(file))
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public_pem = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    _create((private, pem, 0o600), (public, public_pem, 0o644))
    return key.public_key().public_bytes_raw()


def _create(*files: tuple[Path, bytes, int]) -> None:
    """Create all these files with their contents and permissions, or none."""
    made = []
    try:
        for path, data, mode in files:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            made.append(path)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
    except BaseException:
        for path in made:
            path.unlink()
        raise


def private_key(path: str | os.PathLike[str]) -> Ed25519PrivateKey:
    """Read a private key: PEM (PKCS #8), Ed25519, not encrypted.

    Raises:
        FormatError: if it is something else; the message says what.
        OSError: if the file cannot be read.
        DsetpackError: if ``cryptography`` is missing.
    """
    need("cryptography", "sign")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    with at(f"key {os.fspath(path)}"):
        data = _read(path)
        if b"PUBLIC KEY" in data or _HEX.fullmatch(data.decode("latin-1").strip()):
            raise FormatError("a public key found; the private one signs")
        if b"ENCRYPTED" in data:
            raise FormatError("it is encrypted; pipe it in: openssl pkey -in KEY | dsetpack sign … --key /dev/stdin")
        key = _load(load_pem_private_key, data, "a private key as PEM (PKCS #8)", password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise FormatError(f"{_type(key)} found; an Ed25519 key expected, as dsetpack keygen makes one")
    return key


def trusted(keys: Iterable[TrustedKey]) -> dict[bytes, bytes]:
    """Public keys (32 bytes each) by their ids.

    Raises:
        FormatError: if ``keys`` is empty or is not a list of Ed25519 public keys.
        OSError: if a file cannot be read.
        DsetpackError: if ``cryptography`` is missing.
    """
    if isinstance(keys, str | bytes | os.PathLike):
        raise FormatError("trusted_keys: one key found; a list of keys expected: [key]")
    need("cryptography", "sign")
    found = [_public_key(key) for key in keys]
    if not found:
        raise FormatError("trusted_keys: the list is empty, so no file could pass; None asks for no signature")
    return {key_id(key): key for key in found}


def _public_key(key: object) -> bytes:
    with at(f"trusted key {os.fspath(key)}" if isinstance(key, str | os.PathLike) else "trusted key"):
        raw = _bytes(key)
        if len(raw) != 32:
            raise FormatError(f"{plural(len(raw), 'byte')} found; an Ed25519 public key has 32")
        if raw[:31] + bytes([raw[31] & 0x7F]) in _WEAK:
            raise FormatError("it protects nothing: anyone can make signatures that fit it")
    return raw


def _bytes(key: object) -> bytes:
    if isinstance(key, bytes):
        return key
    if isinstance(key, str) and key.startswith("sha256:"):
        raise FormatError("this is a key's id; give the public key itself")
    if isinstance(key, str) and _HEX.fullmatch(key):
        return bytes.fromhex(key)
    if isinstance(key, str | os.PathLike):
        return _public_file(key)
    raise FormatError(f"{type(key).__name__} found; bytes, hexadecimal digits or a path expected")


def _public_file(path: str | os.PathLike[str]) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path)
    text = data.decode("latin-1").strip()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    if "PRIVATE KEY" in text:
        raise FormatError("a private key found; give the public one: openssl pkey -in KEY -pubout -out KEY.pub")
    key = _load(load_pem_public_key, data, "a public key as PEM or as 64 hexadecimal digits")
    if not isinstance(key, Ed25519PublicKey):
        raise FormatError(f"{_type(key)} found; an Ed25519 key expected")
    return key.public_bytes_raw()


def _read(path: str | os.PathLike[str]) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(_LARGEST)


def _load(load: Any, data: bytes, expected: str, **options: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return load(data, **options)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their messages speak of the library, not of the file
        raise FormatError(f"{data[:32]!r} found; {expected} expected") from None


def _type(key: object) -> str:
    name = type(key).__name__.lstrip("_").removesuffix("PrivateKey").removesuffix("PublicKey")
    return f"a key of type {name}"
