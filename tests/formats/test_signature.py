"""Signatures and pinned digests: what is signed, who may have signed it, and every way it can be wrong."""

import hashlib
import io
import os
import re
import stat
import struct
import subprocess
import sys
import zlib

import fsspec
import pytest

import dsetpack
from dsetpack import formats
from dsetpack.formats import DsetpackError, FormatError, IntegrityError, Reader, keys, seal
from dsetpack.formats.signature import CONTEXT, message, signer
from dsetpack.formats.signing import sign
from tests.support import spec_ed25519 as oracle
from tests.support.format_packs import card, images

pytest.importorskip("cryptography", reason="signatures need dsetpack[sign]")
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.paths import GOLDEN, SPEC

SIGNED = GOLDEN / "v1.0" / "signed.dpk"
TEXT = SPEC.read_text(encoding="utf-8")
VECTORS = [  # RFC 8032, section 7.1: secret key, public key, message, signature
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
]
PUBLIC = bytes.fromhex(VECTORS[0][1])


def pem(key):
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())


def public_pem(key):
    return key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


def rfc_key(number=0):
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS[number][0]))


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


def with_fields(data, key_id=None, signature=None):
    """The file with other bytes in its header, and a right checksum."""
    body = data[:80] + (key_id or data[80:112]) + (signature or data[112:176]) + data[176:252]
    return body + struct.pack("<I", zlib.crc32(body)) + data[256:]


def test_the_oracle_and_the_library_know_the_vectors_of_the_rfc():
    for number, (secret, public, text, signature) in enumerate(VECTORS):
        text, signature = bytes.fromhex(text), bytes.fromhex(signature)
        assert rfc_key(number).public_key().public_bytes_raw().hex() == public, secret
        assert rfc_key(number).sign(text) == signature
        assert oracle.verify(bytes.fromhex(public), signature, text)
        assert not oracle.verify(bytes.fromhex(public), signature, text + b"x")


def test_the_golden_file_is_signed_as_the_specification_says():
    """Without ``cryptography``, and without a line of ours: only the bytes, SHA-256 and the oracle."""
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


def test_signing_changes_the_header_alone(pack, key):
    before = pack.read_bytes()
    digests = Reader(pack).digest, Reader(pack).manifest.content_digest
    identity = sign(pack, key)
    after = pack.read_bytes()
    assert identity == "sha256:" + hashlib.sha256(PUBLIC).hexdigest()
    assert after[:80] == before[:80]
    assert after[256:] == before[256:]
    assert after[176:252] == before[176:252]
    assert oracle.verify(PUBLIC, after[112:176], b"dsetpack manifest signature v1\0" + after[48:80])
    assert (Reader(pack).digest, Reader(pack).manifest.content_digest) == digests
    formats.verify(pack, trusted_keys=[PUBLIC], digest=digests[0])
    sign(pack, key)
    assert pack.read_bytes() == after  # Ed25519 is deterministic
    unsigned = with_fields(SIGNED.read_bytes(), bytes(32), bytes(64))
    pack.write_bytes(unsigned)
    sign(pack, key)
    assert pack.read_bytes() == SIGNED.read_bytes()


def test_a_second_signature_replaces_the_first(pack, key, tmp_path):
    other = tmp_path / "other"
    public = keys.new_key(other)
    sign(pack, key)
    sign(pack, other)
    dsetpack.open(pack, trusted_keys=[PUBLIC, public])
    with pytest.raises(IntegrityError, match="not trusted"):
        dsetpack.open(pack, trusted_keys=[PUBLIC])


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
        (  # S + L is the same number modulo L, and must not pass for another signature
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
    formats.verify(data, hdf5=False)  # the file is sound; it is not theirs
    path = tmp_path / "attack.dpk"
    path.write_bytes(data)
    for where in (path, data, io.BytesIO(data)):
        for opener in (Reader, dsetpack.open, formats.verify):
            with pytest.raises(IntegrityError, match=words):
                opener(where, trusted_keys=[PUBLIC])


def test_one_signed_byte_changed_is_noticed():
    """The signature holds, but for other bytes."""
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
    """A manifest that is nonsense: the error is about who made it."""
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


def test_a_new_card_is_not_signed(pack, key):
    sign(pack, key)
    seal.recard(pack, card(title="changed"), pack)
    with Reader(pack) as reader:
        assert signer(reader.header) is None
        assert not any(reader.header.signature)
    with pytest.raises(IntegrityError, match="it is not signed"):
        Reader(pack, trusted_keys=[PUBLIC])


def test_a_damaged_file_is_not_signed(pack, key):
    damaged = bytearray(pack.read_bytes())
    damaged[-1] ^= 1
    pack.write_bytes(damaged)
    with pytest.raises(IntegrityError, match=re.escape(str(pack))):
        sign(pack, key)
    assert pack.read_bytes() == damaged
    pack.write_bytes(b"no pack")
    with pytest.raises(FormatError, match="not a .dpk"):
        sign(pack, key)
    with pytest.raises(FileNotFoundError):
        sign(pack.with_name("none.dpk"), key)


def private_keys(folder):
    """Files that are no plain Ed25519 private key, and what the error says."""
    ed = rfc_key()
    password = form.BestAvailableEncryption(b"x")
    yield "rsa", pem(rsa.generate_private_key(65537, 2048)), "a key of type RSA found; an Ed25519 key expected"
    yield "ec", pem(ec.generate_private_key(ec.SECP256R1())), "a key of type E"
    yield "x25519", pem(x25519.X25519PrivateKey.generate()), "a key of type X25519 found"
    yield "ed448", pem(ed448.Ed448PrivateKey.generate()), "a key of type Ed448 found"
    yield "encrypted", ed.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, password), "it is encrypted"
    yield "public", public_pem(ed), "a public key found; the private one signs"
    yield "digits", PUBLIC.hex().encode(), "a public key found"
    yield (
        "openssh",
        ed.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()),
        "a private key as PEM",
    )
    yield (
        "der",
        ed.private_bytes(form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption()),
        "a private key as PEM",
    )
    yield "cut", pem(ed)[:60], "a private key as PEM"
    yield "empty", b"", "b'' found; a private key as PEM"
    yield "noise", b"\x1b[31m" + os.urandom(5000), "a private key as PEM"
    yield "pack", (folder / "x.dpk").read_bytes(), "a private key as PEM"


def test_keys_of_a_wrong_type_do_not_sign(pack, tmp_path):
    before = pack.read_bytes()
    for name, data, words in private_keys(tmp_path):
        path = tmp_path / f"{name}.key"
        path.write_bytes(data)
        with pytest.raises(FormatError, match=words) as caught:
            sign(pack, path)
        assert str(caught.value).startswith(f"key {path}")
        assert str(caught.value).isprintable()
    with pytest.raises(FileNotFoundError):
        sign(pack, tmp_path / "none.key")
    assert pack.read_bytes() == before


def test_keys_of_a_wrong_type_are_not_trusted(pack, key, tmp_path):
    sign(pack, key)
    files = {
        "rsa": (public_pem(rsa.generate_private_key(65537, 2048)), "a key of type RSA found"),
        "private": (key.read_bytes(), "a private key found; give the public one"),
        "short": (b"ab" * 31, "a public key as PEM or as 64 hexadecimal digits expected"),
        "empty": (b"", "a public key as PEM"),
        "weak": (b"00" * 32, "it protects nothing"),
    }
    for name, (data, words) in files.items():
        path = tmp_path / f"{name}.pub"
        path.write_bytes(data)
        with pytest.raises(FormatError, match=words):
            Reader(pack, trusted_keys=[path])
    for found, words in (
        (b"short", "5 bytes found"),
        (signer(Reader(pack).header), "this is a key's id"),
        (bytes(32), "it protects nothing"),
        (None, "NoneType found; bytes, hexadecimal digits or a path expected"),
    ):
        with pytest.raises(FormatError, match=words):
            Reader(pack, trusted_keys=[found])
    with pytest.raises(IntegrityError, match="was given as a public key is this key's id"):
        Reader(pack, trusted_keys=[Reader(pack).header.key_id])
    with pytest.raises(FormatError, match="a list of keys expected"):
        Reader(pack, trusted_keys=PUBLIC.hex())
    with pytest.raises(FileNotFoundError):
        Reader(pack, trusted_keys=[tmp_path / "none.pub"])


def test_every_point_of_small_order_is_refused():
    """The eight of them, found on the curve, and their other spellings; none of them is a key of a signer."""
    point = next(  # L·Q has order 8 for some Q
        p for y in range(2, 100) for p in [torsion(y)] if p is not None and oracle.times(4, p) != oracle.ZERO
    )
    points = {oracle.times(n, point) for n in range(8)}
    assert len(points) == 8
    spelled = {y + more for _, y in points for more in (0, oracle.P) if y + more < 2**255}
    assert {n.to_bytes(32, "little") for n in spelled} == set(keys._WEAK)
    for number in spelled:
        for sign_bit in (0, 1 << 255):
            with pytest.raises(FormatError, match="protects nothing"):
                keys.trusted([(number | sign_bit).to_bytes(32, "little")])


def torsion(y):
    try:
        return oracle.times(oracle.L, oracle.decode(y.to_bytes(32, "little")))
    except ValueError:
        return None


def test_new_keys(tmp_path, pack):
    path = tmp_path / "release.key"
    public = keys.new_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 or os.name != "posix"
    sign(pack, path)
    dsetpack.open(pack, trusted_keys=[tmp_path / "release.key.pub"])
    dsetpack.open(pack, trusted_keys=[public])
    assert keys.new_key(tmp_path / "second.key") != public
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="never overwritten"):
        keys.new_key(path)
    assert path.read_bytes() == before
    path.unlink()
    with pytest.raises(FileExistsError):  # the public half is there
        keys.new_key(path)
    assert not path.exists()
    with pytest.raises(OSError, match="too long"):  # with .pub only: the private half goes with it
        keys.new_key(tmp_path / ("k" * 252))
    assert not list(tmp_path.glob("kk*"))


def test_without_the_library_the_error_names_the_extra(pack):
    code = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'cryptography': raise ImportError(f'{name} is blocked')\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from dsetpack.formats import DsetpackError, Reader, keys\n"
        "from dsetpack.formats.signing import sign\n"
        "path = sys.argv[1]\n"
        "digest = Reader(path).digest\n"
        "Reader(path, digest=digest)\n"
        "opened = lambda: Reader(path, trusted_keys=['ab' * 32])\n"
        "for action in (opened, lambda: sign(path, path), lambda: keys.new_key('k')):\n"
        "    try: action()\n"
        "    except DsetpackError as error: assert \"install 'dsetpack[sign]'\" in str(error), error\n"
        "    else: raise AssertionError\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(pack)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
