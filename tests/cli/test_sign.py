"""``dsetpack keygen``, ``sign``, ``verify --trusted`` and what ``info`` and ``eval`` say of signatures."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import torch

import dsetpack
from dsetpack.formats import Reader
from dsetpack.formats.signature import signer
from tests.support.command_line import run

pytest.importorskip("cryptography", reason="signatures need dsetpack[sign]")


@pytest.fixture
def pack(tmp_path):
    path = tmp_path / "x.dpk"
    dsetpack.Pack.from_arrays(torch.rand(4, 1, 28, 28), [0, 1, 2, 3], classes=10).save(path)
    return path


def test_sign_and_verify(pack, tmp_path):
    key, other = tmp_path / "release.key", tmp_path / "other.key"
    made = run("keygen", key)
    assert "whoever has it signs as you" in made
    public = made.split("the public key, ")[1].split()[0]
    identity = made.split("key id: ")[1].strip()
    run("keygen", other)
    digest = Reader(pack).digest
    assert run("verify", pack) == f"{pack}: sound, not signed\n"
    assert run("sign", pack, "--key", key) == f"{pack}: {digest} signed by key {identity}\n"
    assert f"sound, signed by the trusted key {identity}\n" in run(
        "verify", pack, "--trusted", f"{key}.pub", "--trusted", f"{other}.pub"
    )
    assert "sound" in run("verify", pack, "--trusted", public, "--digest", digest)
    unknown = f"{pack}: sound, signed by key {identity}, which is not known here: --trusted KEY checks the signature\n"
    assert run("verify", pack) == unknown
    assert "which is not trusted" in run("verify", pack, "--trusted", f"{other}.pub", expect=1)
    assert "another file: digest" in run("verify", pack, "--digest", "sha256:" + "0" * 64, expect=1)
    assert f"the signature of key {identity} was replaced" in run("sign", pack, "--key", other)
    assert "was replaced" not in run("sign", pack, "--key", other)


def test_info_does_not_claim_more_than_it_knows(pack, tmp_path):
    assert "signed by" not in run("info", pack)
    assert json.loads(run("info", pack, "--json"))["signed_by"] is None
    run("keygen", tmp_path / "k")
    identity = run("sign", pack, "--key", tmp_path / "k").split("signed by key ")[1].strip()
    line = next(line for line in run("info", pack).splitlines() if line.startswith("signed by"))
    assert identity in line
    assert "not checked" in line
    assert json.loads(run("info", pack, "--json"))["signed_by"] == identity


def test_mistakes(pack, tmp_path):
    key = tmp_path / "k"
    run("keygen", key)
    before = pack.read_bytes()
    assert "never overwritten" in run("keygen", key, expect=1)
    assert "No such file" in run("keygen", tmp_path / "none" / "k", expect=1)
    assert "a public key found" in run("sign", pack, "--key", f"{key}.pub", expect=1)
    assert "No such file" in run("sign", pack, "--key", tmp_path / "none", expect=1)
    assert "No such file" in run("sign", tmp_path / "none.dpk", "--key", key, expect=1)
    assert "not signed" in run("verify", pack, "--trusted", f"{key}.pub", expect=1)
    assert "a private key found" in run("verify", pack, "--trusted", key, expect=1)
    assert pack.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k", "k.pub", "x.dpk"]


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not here")
def test_keys_of_openssl(pack, tmp_path):
    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    made = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this openssl knows no Ed25519")
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    run("sign", pack, "--key", key)
    assert "trusted" in run("verify", pack, "--trusted", public)


def test_a_recorded_result_is_not_signed(pack, tmp_path):
    run("keygen", tmp_path / "k")
    signed, new = tmp_path / "signed.dpk", tmp_path / "new.dpk"
    dsetpack.open(pack).replace_card(recipe=dsetpack.Recipe(steps=1, batch_size=4)).save(signed)
    run("sign", signed, "--key", tmp_path / "k")
    run("eval", signed, "--data", "fashion-sample", "--seeds", "1", "--width", "2", "--record", new)
    assert signer(Reader(new).header) is None
    dsetpack.verify(signed, trusted_keys=[tmp_path / "k.pub"])
