"""Signatures and pinned digests: what is signed, who may have signed it, and every way it can be wrong."""

import hashlib
import io
import os

import fsspec
import pytest

import dsetpack
from dsetpack import formats
from dsetpack.formats import DsetpackError, FormatError, IntegrityError, Reader
from dsetpack.formats.signature import CONTEXT, message, signer
from dsetpack.formats.signing import sign
from tests.support import spec_ed25519 as oracle
from tests.support.format_packs import images
from tests.support.paths import SPEC
from tests.support.signatures import PUBLIC, SIGNED, VECTORS, pem, rfc_key, with_fields

pytest.importorskip("cryptography", reason="signatures need dsetpack[sign]")
TEXT = SPEC.read_text(encoding="utf-8")


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "rfc.pem"
    path.write_bytes(pem(rfc_key()))
    return path


@pytest.fixture
def pack(tmp_path):
    path = tmp_path / "x.dpk"
    path.write_bytes(images(encoding="int8"))
    return path


def test_the_oracle_and_the_library_know_the_vectors_of_the_rfc():
    for number, (secret, public, text, signature) in enumerate(VECTORS):
        text, signature = bytes.fromhex(text), bytes.fromhex(signature)
        assert rfc_key(number).public_key().public_bytes_raw().hex() == public, secret
        assert rfc_key(number).sign(text) == signature
        assert oracle.verify(bytes.fromhex(public), signature, text)
        assert not oracle.verify(bytes.fromhex(public), signature, text + b"x")


def test_the_golden_file_is_signed_as_the_specification_says():
    """Verified without ``cryptography`` and without our code: only with the bytes, SHA-256 and the oracle."""
    data = SIGNED.read_bytes()
    assert SIGNED.with_suffix(".pub").read_text().strip() == PUBLIC.hex()
    signed = b"dsetpack manifest signature v1\0" + data[48:80]
    assert len(signed) == 63
    assert data[80:112] == hashlib.sha256(PUBLIC).digest()
    assert oracle.verify(PUBLIC, data[112:176], signed)
    assert not oracle.verify(PUBLIC, data[112:176], data[48:80])
    for field in (data[48:80], data[80:112], data[112:144], data[144:176], PUBLIC):
        assert f"`{field.hex()}`" in TEXT
    assert message(data[48:80]) == signed
    assert CONTEXT[:30].decode() in TEXT


def test_the_golden_file_passes_for_its_key():
    for trusted in (
        PUBLIC,
        PUBLIC.hex(),
        PUBLIC.hex().upper(),
        SIGNED.with_suffix(".pub"),
        str(SIGNED.with_suffix(".pub")),
    ):
        with Reader(SIGNED, trusted_keys=[trusted]) as reader:
            assert signer(reader.header) == "sha256:" + hashlib.sha256(PUBLIC).hexdigest()
    formats.verify(SIGNED, trusted_keys=[PUBLIC])


def test_a_signature_is_not_asked_for_by_default(pack, key):
    for data in (SIGNED.read_bytes(), with_fields(SIGNED.read_bytes(), bytes(range(32)), b"x" * 64)):
        formats.verify(data, hdf5=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda data: with_fields(data, signature=data[112:150] + bytes([data[150] ^ 1]) + data[151:176]),
            "is wrong: key",
        ),
        (lambda data: with_fields(data, signature=data[112:175] + bytes([data[175] ^ 0x80])), "is wrong: key"),
        (lambda data: with_fields(data, key_id=data[80:111] + bytes([data[111] ^ 1])), "which is not trusted"),
        (lambda data: with_fields(data, signature=b"\0" * 64), "is wrong: key"),
        (lambda data: with_fields(data, key_id=b"\0" * 32), "which is not trusted"),
        (lambda data: with_fields(data, b"\0" * 32, b"\0" * 64), "it is not signed"),
        (lambda data: with_fields(images(), data[80:112], data[112:176]), "is wrong: key"),
        (lambda data: with_fields(data, signature=rfc_key().sign(data[48:80])), "is wrong: key"),
        (lambda data: with_fields(data, signature=rfc_key(1).sign(message(data[48:80]))), "is wrong: key"),
        (
            lambda data: with_fields(
                data, hashlib.sha256(bytes.fromhex(VECTORS[1][1])).digest(), rfc_key(1).sign(message(data[48:80]))
            ),
            "which is not trusted",
        ),
        (  # S + L is the same number modulo L, and must not be accepted as another signature
            lambda data: with_fields(
                data,
                signature=data[112:144] + (int.from_bytes(data[144:176], "little") + oracle.L).to_bytes(32, "little"),
            ),
            "is wrong: key",
        ),
    ],
    ids=[
        "signature flipped",
        "last bit flipped",
        "key id flipped",
        "signature zero",
        "key id zero",
        "unsigned",
        "signature of another file",
        "signed without the context",
        "signed by another key under this id",
        "signed by a foreign key",
        "malleable",
    ],
)
def test_attacks_are_refused_where_a_signature_is_asked_for(change, words, tmp_path):
    data = change(SIGNED.read_bytes())
    formats.verify(data, hdf5=False)  # the file is sound, but not signed by the trusted key
    path = tmp_path / "attack.dpk"
    path.write_bytes(data)
    for where in (path, data, io.BytesIO(data)):
        for opener in (Reader, dsetpack.open, formats.verify):
            with pytest.raises(IntegrityError, match=words):
                opener(where, trusted_keys=[PUBLIC])


def test_one_signed_byte_changed_is_noticed():
    """The signature is valid, but for other bytes."""
    data = SIGNED.read_bytes()
    user_block = Reader(data).header.user_block
    stored = Reader(data).header.manifest_stored
    for at in (300, 256 + stored - 1, 256 + stored, user_block - 1, user_block, user_block + 700, len(data) - 1):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(DsetpackError):
            Reader(changed, verify="all", trusted_keys=[PUBLIC])


def test_of_several_keys_one_is_enough_and_an_empty_list_is_refused(pack, key):
    sign(pack, key)
    assert len(dsetpack.open(pack, trusted_keys=(k for k in (bytes.fromhex(VECTORS[1][1]), PUBLIC.hex())))) == 7
    for opener in (Reader, dsetpack.open, formats.verify):
        with pytest.raises(FormatError, match="the list is empty"):
            opener(pack, trusted_keys=[])


def test_trust_is_checked_before_the_manifest_is_parsed():
    """The manifest is nonsense, but the error is about who made it."""
    data = bytearray(SIGNED.read_bytes())
    data[256:300] = os.urandom(44)
    digest = hashlib.sha256(data[256 : 256 + Reader(SIGNED).header.manifest_stored]).digest()
    data[48:80] = digest
    forged = with_fields(bytes(data))
    with pytest.raises(IntegrityError, match="its signature is wrong"):
        Reader(forged, trusted_keys=[PUBLIC])
    with pytest.raises(IntegrityError, match="another file: digest"):
        Reader(forged, digest=Reader(SIGNED).digest)
    with pytest.raises(FormatError, match="manifest"):
        Reader(forged)


def test_a_pinned_digest_opens_this_file_only(pack):
    digest, data = Reader(pack).digest, pack.read_bytes()
    with fsspec.open("memory://pinned/x.dpk", "wb") as file:
        file.write(data)
    other = "sha256:" + "0" * 64
    for where in (pack, str(pack), data, io.BytesIO(data), "memory://pinned/x.dpk", f"file://{pack}"):
        assert dsetpack.open(where, digest=digest).digest == digest
        for opener in (Reader, dsetpack.open, formats.verify):
            with pytest.raises(IntegrityError, match=f"another file: digest {digest} found, {other} expected"):
                opener(where, digest=other)


@pytest.mark.parametrize(
    "digest", ["", "0" * 64, "sha256:" + "0" * 63, "sha256:" + "A" * 64, "sha512:" + "0" * 64, "sha256:\n"]
)
def test_a_digest_is_spelled_in_one_way(digest, pack):
    with pytest.raises(FormatError, match="'sha256:' and 64 hexadecimal digits"):
        Reader(pack, digest=digest)


def test_signatures_work_over_urls(pack, key):
    sign(pack, key)
    with fsspec.open("memory://signed/x.dpk", "wb") as file:
        file.write(pack.read_bytes())
    assert len(dsetpack.open("memory://signed/x.dpk", trusted_keys=[PUBLIC])) == 7
    with pytest.raises(DsetpackError, match="files are written to local paths"):
        sign("memory://signed/x.dpk", key)
