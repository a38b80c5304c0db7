"""Every attack file raises its own error; tests/support/attacks/attack_builder.py shows how each is made."""

import json
import re

import pytest

from dsetpack import formats
from dsetpack.formats import DsetpackError, Limits, Reader
from dsetpack.formats.hdf5_view import difference
from dsetpack.formats.seal import recard
from tests.support.attacks import attack_builder
from tests.support.paths import ATTACKS as FOLDER
from tests.support.processes import python

ATTACKS = json.loads((FOLDER / "attacks.json").read_text())
LINKS = ("view-external-link", "view-external-storage", "view-virtual", "view-broken")

BUILD = """
import json
from tests.support.attacks import attack_builder
from tests.support.paths import ATTACKS
files = ATTACKS / "files"
made = attack_builder.attacks()
print(json.dumps([attack.name for attack in made if (files / f"{attack.name}.dpk").read_bytes() != attack.data]))
"""
"""Prints the names of the files that would be built differently now."""


def path(attack):
    return FOLDER / "files" / f"{attack['name']}.dpk"


def refused(attack, action):
    with pytest.raises(DsetpackError) as caught:
        action()
    assert type(caught.value).__name__ == attack["error"]
    message = str(caught.value)
    assert re.search(attack["match"], message)
    assert message.startswith(str(path(attack)))
    assert len(message) < 1500
    assert message.isprintable()


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a["stage"] == "open"], ids=lambda a: a["name"])
def test_refused_when_opened(attack):
    refused(attack, lambda: Reader(path(attack)))
    refused(attack, lambda: formats.verify(path(attack)))


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a["stage"] == "read"], ids=lambda a: a["name"])
def test_refused_when_read(attack):
    with Reader(path(attack)) as reader:
        if attack["name"] != "rest-digest":
            refused(attack, lambda: [reader.role(0, role) for role in ("sources", "labels")])
    refused(attack, lambda: formats.verify(path(attack), hdf5=False))


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a["stage"] == "view"], ids=lambda a: a["name"])
def test_refused_by_the_view(attack):
    formats.verify(path(attack), hdf5=False)
    found = difference(str(path(attack)), Limits())
    assert re.search(attack["match"], found)
    assert found.isprintable()


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a["name"] in LINKS], ids=lambda a: a["name"])
def test_refused_by_verify(attack):
    refused(attack, lambda: formats.verify(path(attack)))


def test_the_files_are_those_of_the_list():
    assert {f"{a['name']}.dpk" for a in ATTACKS} == {p.name for p in (FOLDER / "files").iterdir()}
    assert sum(p.stat().st_size for p in (FOLDER / "files").iterdir()) < 1 << 20


@pytest.mark.slow
def test_built_again_they_are_the_same():
    """The same versions of zstd and HDF5 give the same bytes; all versions give the same list."""
    if attack_builder.versions() == json.loads((FOLDER / "versions.json").read_text()):
        # in its own process: once hdf5plugin is imported, HDF5 writes its filter's name into every file
        assert json.loads(python(BUILD)) == []
    assert [attack.expectation() for attack in attack_builder.attacks()] == ATTACKS


@pytest.mark.parametrize(
    "name",
    [
        "manifest-bomb",
        "manifest-bomb-lies",
        "frame-lies",
        "total",
        "parts-share-all",
        "prepared-upsample",
        "prepared-kfs",
    ],
)
def test_bombs_take_no_memory(name):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DsetpackError):
        formats.verify(FOLDER / "files" / f"{name}.dpk", hdf5=False)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # kilobytes


@pytest.mark.parametrize("name", [a["name"] for a in ATTACKS if "promises finite" in a["match"]])
def test_tensors_are_checked_as_roles_are(name):
    with Reader(FOLDER / "files" / f"{name}.dpk") as reader:
        roles = {**reader.manifest.parts[0].tensors, "mean": "mean", "matrix": "matrix"}
        with pytest.raises(DsetpackError, match="the card promises finite values"):
            [reader.tensor(tensor) for tensor in roles.values() if tensor in reader.manifest.tensors]


def test_a_new_card_never_breaks_the_file(tmp_path):
    """The part behind the user block is not HDF5, and readers need not notice that."""
    made = attack_builder.honest()
    made.digest_all()
    places = [made.manifest["datasets"][name]["chunks"][0] for name in ("sources", "labels")]
    chunks = [made.tail[place["offset"] : place["offset"] + place["length"]] for place in places]
    for place, at in zip(places, (0, len(chunks[0])), strict=True):
        place["offset"] = at
    made.tail = b"".join(chunks)
    path = tmp_path / "x.dpk"
    path.write_bytes(made.file(superblock=False))
    before, old = path.read_bytes(), Reader(path, verify="all")
    with pytest.raises(formats.IntegrityError, match="chunk 0: digest"):
        recard(path, old.manifest.card.replace(title="new"), path)
    assert path.read_bytes() == before
