"""Keys: their type, their order, and new ones."""

import os
import stat
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519

import dsetpack
from dsetpack.formats import FormatError, IntegrityError, Reader, keys
from dsetpack.formats.signature import signer
from dsetpack.formats.signing import sign
from tests.support import spec_ed25519 as oracle
from tests.support.format_packs import images
from tests.support.signatures import PUBLIC, pem, public_pem, rfc_key

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


def private_keys(folder):
    """Files that are not plain Ed25519 private keys, and what the error says."""
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
    """The eight points, found on the curve, and their other spellings; no signer has such a key."""
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
    with pytest.raises(OSError, match="too long"):  # only with .pub; the private half is not left behind
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
