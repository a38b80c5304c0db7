"""Manifests changed at random, with correct digests: a reader soon reads them or raises an error of ours."""

import copy
import json
import random
import time

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import DsetpackError
from dsetpack.formats.card import Augmentation, Metric, Recipe, ZcaSpace
from tests.support.attacks.dpk_draft import Draft, canonical
from tests.support.format_packs import KINDS, part_of
from tests.support.spec_reader import SpecReader

VALUES = [
    None, True, False, 0, 1, 2, 3, 5, -1, 7, 255, 256, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 10**4290,
    0.0, -0.5, 1.0, 1e-320, 1e308, "", "x", "sources", "labels", "sha256:" + "0" * 64, "0" * 64, "uint8", "float64",
    "zstd", "quantize", "cast", "generator", "haba", "kfs", "upsample", "images", "raw", "é\u2028\x1b[2J", "a" * 129,
    [], [0], [1], [[]], [1] * 33, [2**62] * 3, {}, {"must_understand": False}, {"x": 1}, {"name": "zstd"},
]  # fmt: skip


def bases():
    for kind in KINDS:
        for preset in ("exact", "int8"):
            card, part, tensors = part_of(
                kind,
                augmentation=Augmentation(ops=("flip",)),
                recipe=Recipe(steps=3),
                metrics=(Metric(value=0.5, arch="convnet3", test_data="x"),),
                extra={"a": [1, {"b": 2.5}]},
            )
            if kind == "kfs":
                part = part.model_copy(update={"class_decoders": ((0, 1), (1, 2), (2, 0))})
            yield formats.encode(card, [part], tensors, preset)
    space = ZcaSpace(
        variant="kornia",
        epsilon=0.1,
        fitted_on="sha256:" + "0" * 64,
        storage="embed",
        mean="m",
        matrix="x",
        spectrum=(1.0,),
    )
    card, part, tensors = part_of("images", shape=(1, 2, 2), space=space)
    tensors |= {"m": np.zeros(4, np.float32), "x": np.eye(4, dtype=np.float32)}
    tensors["sources"] = np.ones((5, 1, 2, 2), np.float32)
    yield formats.encode(card, [part], tensors)


def drafts():
    for data in bases():
        reader = SpecReader(data)
        yield Draft(reader.manifest, data[reader.user_block :])


def places(value, path=()):
    """Every value inside a JSON value, by path."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutate(manifest, draw):
    """One random change: another value, a copy from elsewhere, a missing or a new member, a number nearby."""
    path = draw.choice([p for p in places(manifest) if p])
    target = manifest
    for key in path[:-1]:
        target = target[key]
    old, kind = target[path[-1]], draw.randrange(7)
    if kind == 0:
        del target[path[-1]]
    elif kind == 1 and isinstance(old, int):
        target[path[-1]] = old + draw.choice([-1, 1, old, 2**62, -old])
    elif kind == 2:
        other = manifest
        for key in draw.choice(list(places(manifest))):
            other = other[key]
        target[path[-1]] = copy.deepcopy(other)
    elif kind == 3 and isinstance(old, dict):
        old[draw.choice(["new", "a/b", "scale", "block", "config", "labels", "sources", ""])] = draw.choice(VALUES)
    elif kind == 4 and isinstance(old, list):
        old.extend(old or [draw.choice(VALUES)])
    elif kind == 5 and isinstance(old, list):
        target[path[-1]] = old[:-1]
    else:
        target[path[-1]] = copy.deepcopy(draw.choice(VALUES))


def accepted(data):
    """Whether a reader accepts the file; if it does not, its error must be fit for a terminal."""
    try:
        touch(data)
    except DsetpackError as error:
        message = str(error)
    else:
        return True
    assert message.isprintable()
    assert len(message) < 2000
    return False


def touch(data):
    """Ask a reader for everything that it offers."""
    with formats.Reader(data) as reader:
        assert reader.manifest.content_digest.startswith("sha256:")
        reader.manifest.dump()
        for name in reader.manifest.tensors:
            reader.manifest.stored_bytes(name)
    formats.verify(data, hdf5=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_random_manifests(seed):
    draw, made = random.Random(seed), list(drafts())
    taken = 0
    for round_ in range(350):
        base = draw.choice(made)
        manifest = copy.deepcopy(base.manifest)
        for _ in range(draw.choice([1, 1, 1, 2, 4])):
            mutate(manifest, draw)
        changed = Draft(manifest, base.tail)
        began = time.perf_counter()
        try:
            data = changed.file(text=None if draw.random() < 0.5 else json.dumps(manifest).encode())
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            data = changed.file(text=canonical(manifest), digests=False)  # chunks are no longer chunks
        taken += accepted(data)
        assert time.perf_counter() - began < 5, (seed, round_)
    assert taken  # changes of titles and the like are accepted


def test_random_bytes_of_a_manifest():
    """The text may also no longer be JSON; its digest is correct."""
    draw, made = random.Random(99), list(drafts())
    for _ in range(600):
        base = draw.choice(made)
        text = bytearray(canonical(base.manifest))
        for _ in range(draw.choice([1, 1, 2, 8])):
            at = draw.randrange(len(text))
            kind = draw.randrange(3)
            if kind == 0:
                text[at] = draw.randrange(256)
            elif kind == 1:
                text[at:at] = draw.choice(
                    [b"[", b"{", b'"', b"\\", b",", b"-", b"0", b"e9", b"null", b"\xc3\xa9", b"\\ud83d"]
                )
            else:
                del text[at : at + draw.choice([1, 2, 30])]
        accepted(base.file(text=bytes(text), digests=False))


def test_random_frames_and_headers():
    """Chunks with one flipped bit and correct digests; headers with a random field."""
    draw, base = random.Random(5), next(drafts())
    for _ in range(200):
        changed = base.copy()
        chunk = draw.choice(changed.chunks())
        data = bytearray(changed.tail[chunk["offset"] : chunk["offset"] + chunk["length"]])
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        changed.tail = changed.tail[: chunk["offset"]] + data + changed.tail[chunk["offset"] + chunk["length"] :]
        accepted(changed.file())
    for _ in range(200):
        lies = {
            draw.choice(["plain", "stored", "user_block", "file_length"]): draw.getrandbits(
                draw.choice([4, 12, 40, 64])
            )
        }
        if "user_block" in lies:
            data = bytearray(base.file())
            data[16:24] = lies["user_block"].to_bytes(8, "little")
        else:
            data = base.file(**lies)
        with pytest.raises(DsetpackError):
            touch(bytes(data))
