"""``dsetpack edit``: other texts in a card, at once or not at all."""

from __future__ import annotations

import shutil

import h5py
import pytest
import torch

import dsetpack
from dsetpack.formats import Reader
from dsetpack.formats.signature import signer
from tests.support.command_line import run
from tests.support.paths import KFS


@pytest.fixture
def pack(tmp_path):
    return shutil.copy(KFS, tmp_path / "x.dpk")


def test_in_place_with_both_digests(pack):
    before = Reader(pack)
    said = run("edit", pack, "--title", "Coats", "--license", "MIT", "--author", "Ada", "--url", "https://example.org")
    after = Reader(pack)
    assert said == f"{pack}: title, license, author, url changed; digest {after.digest}, before {before.digest}\n"
    assert after.digest != before.digest
    assert after.manifest.content_digest == before.manifest.content_digest
    card = after.manifest.card
    assert (card.title, card.license, card.credit, card.extra["url"]) == ("Coats", "MIT", "Ada", "https://example.org")
    assert card.recipe == before.manifest.card.recipe
    assert run("verify", pack) == f"{pack}: sound, not signed\n"
    assert torch.equal(dsetpack.open(pack).decode([3])[0], dsetpack.open(KFS).decode([3])[0])


def test_a_new_file_leaves_the_old_one(pack, tmp_path):
    run("edit", pack, "--description", "", "--method", "ours", "-o", tmp_path / "new.dpk")
    assert pack.read_bytes() == KFS.read_bytes()
    assert Reader(tmp_path / "new.dpk").manifest.card.provenance.method == "ours"


def test_without_options_it_says_what_can_be_edited(pack):
    said = run("edit", pack)
    card = Reader(pack).manifest.card
    for line in (f"--title        {card.title}", "--url          (none)", f"--method       {card.provenance.method}"):
        assert line in said
    assert pack.read_bytes() == KFS.read_bytes()
    assert "nothing to change" in run("edit", pack, "-o", pack.with_name("y.dpk"), expect=2)


def test_what_is_so_already_is_not_written(pack):
    pytest.importorskip("cryptography", reason="signatures need dsetpack[sign]")
    run("keygen", pack.with_name("key"))
    run("sign", pack, "--key", pack.with_name("key"))
    before = pack.read_bytes()
    assert "says this already" in run("edit", pack, "--license", Reader(pack).manifest.card.license)
    assert pack.read_bytes() == before


def test_axes_get_names_and_lose_them(pack, tmp_path):
    before, named = Reader(pack), tmp_path / "named.dpk"
    said = run("edit", pack, "--layout", "Open", "--title", "Coats", "-o", named)
    after = Reader(named)
    assert said == f"{named}: title, layout changed; digest {after.digest}, before {before.digest}\n"
    assert after.manifest.content_digest == before.manifest.content_digest
    with h5py.File(named) as file:
        assert [axis.values()[0].name for axis in file["sources"].dims] == ["/source", "/channel", "/height", "/width"]
    assert run("verify", named) == f"{named}: sound, not signed\n"
    run("edit", named, "--title", before.manifest.card.title)
    with h5py.File(named) as file:  # other texts leave the names
        assert file["labels"].dims[0].values()[0].name == "/source"
    again = run("edit", named, "--layout", "open")
    assert again == f"{named}: the same as {named}, which is so already; digest {Reader(named).digest}\n"
    run("edit", named, "--layout", "plain")
    assert Reader(named).manifest.content_digest == before.manifest.content_digest
    with h5py.File(named) as file:
        assert set(file) == set(before.manifest.datasets)


def test_a_layout_that_a_file_has_leaves_its_signature(pack):
    pytest.importorskip("cryptography", reason="signatures need dsetpack[sign]")
    run("keygen", pack.with_name("key"))
    run("edit", pack, "--layout", "plain")  # as this version of HDF5 lays it out
    run("sign", pack, "--key", pack.with_name("key"))
    before = pack.read_bytes()
    assert "not signed" not in run("edit", pack, "--layout", "plain")
    assert pack.read_bytes() == before


def test_a_signature_is_dropped_and_that_is_said(pack):
    pytest.importorskip("cryptography", reason="signatures need dsetpack[sign]")
    identity = run("keygen", pack.with_name("key")).split("key id: ")[1].strip()
    run("sign", pack, "--key", pack.with_name("key"))
    said = run("edit", pack, "--title", "Coats")
    assert f"not signed: the signature by key {identity} was for the file as it was" in said
    assert signer(Reader(pack).header) is None


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--title", ""), 1, "title: an empty text"),
        (("--url", "example.org"), 1, "an address that starts with https:// or http:// expected"),
        (("--title", "\udcff"), 1, "surrogates not allowed"),
        (("--layout", "netcdf"), 2, "'netcdf' is not one of 'plain', 'open'"),
        (("--shape", "3,8,8"), 2, "No such option"),
        (("--space", "raw"), 2, "No such option"),
        (("--labels", "soft"), 2, "No such option"),
        (("--title", "x", "-o", "/nonexistent/y.dpk"), 1, "folder does not exist"),
    ],
)
def test_what_cannot_be_leaves_the_file(pack, options, code, message):
    assert message in run("edit", pack, *options, expect=code)
    assert pack.read_bytes() == KFS.read_bytes()
    assert [path.name for path in pack.parent.iterdir()] == ["x.dpk"]


def test_a_damaged_file_is_not_edited(pack):
    data = bytearray(pack.read_bytes())
    data[-1] ^= 1
    pack.write_bytes(data)
    run("edit", pack, "--title", "x", expect=1)
    assert pack.read_bytes() == data
