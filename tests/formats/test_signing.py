"""What signing changes in a file, and what it does not sign."""

import hashlib
import re

import pytest

import dsetpack
from dsetpack import formats
from dsetpack.formats import FormatError, IntegrityError, Reader, keys, seal
from dsetpack.formats.signature import signer
from dsetpack.formats.signing import sign
from tests.support import spec_ed25519 as oracle
from tests.support.format_packs import card, images
from tests.support.signatures import PUBLIC, SIGNED, pem, rfc_key, with_fields

pytest.importorskip("cryptography", reason="signatures need dsetpack[sign]")


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
