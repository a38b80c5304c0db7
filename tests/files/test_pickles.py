"""Pickles of arrays: Python 2's and Python 3's are read; attacks and damaged ones are refused, and nothing runs."""

import os
import pickle
import re
import struct
import subprocess
import sys

import numpy as np
import pytest

from dsetpack.files.pickles import read_pickle
from dsetpack.formats.errors import DsetpackError, FormatError, LimitError
from dsetpack.formats.limits import Limits
from tests.support.cifar_files import python2

X = np.random.default_rng(0).integers(0, 256, (300, 7), dtype=np.uint8)
REBUILD = np.zeros(1).__reduce__()[0]  # numpy's _reconstruct
LABELS = [n % 10 for n in range(300)]


def read(tmp_path, content, names=("data",), limits=None):
    path = tmp_path / "batch"
    path.write_bytes(content)
    return read_pickle(path, names, limits or Limits())


def refused(tmp_path, content, *words):
    with pytest.raises(FormatError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'batch'}: ")
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_what_python_2_wrote(tmp_path):
    content = python2({"data": X, "labels": LABELS, "filenames": [f"{n}.png" for n in range(300)]})
    known = pickle.loads(content, encoding="bytes")  # the test's own file is what Python takes it for
    assert np.array_equal(known[b"data"], X)
    found = read(tmp_path, content, ("data", "labels", "filenames"))
    assert np.array_equal(found["data"], X)
    assert found["data"].dtype == np.uint8
    assert (found["labels"], found["filenames"][299]) == (LABELS, "299.png")


@pytest.mark.parametrize(
    ("protocol", "core"),
    [*((n, None) for n in range(6)), *((n, core) for n in range(4) for core in (b"numpy.core", b"numpy._core"))],
)
def test_every_protocol_of_python_3(tmp_path, protocol, core):
    held = {
        b"data": X,
        "turned": np.asfortranarray(X),
        "wide": np.arange(6, dtype=">i4").reshape(2, 3),
        "floats": np.linspace(0, 1, 5, dtype=np.float32),
        "names": [b"a", "ü", ("x", 1, None, True, 2.5, -3, 1 << 70)],
        "inner": {"empty": [], "nothing": (), "small": b""},
    }
    content = pickle.dumps(held, protocol)
    if core is not None:
        content = re.sub(rb"numpy\._?core", core, content)
        assert core + b".multiarray" in content
    found = read(tmp_path, content, ("data", "turned", "wide", "floats", "names", "inner"))
    for key in ("turned", "wide", "floats"):
        assert np.array_equal(found[key], held[key])
        assert found[key].dtype == held[key].dtype
    assert np.array_equal(found["data"], X)
    assert found["names"] == held["names"]
    assert found["inner"] == held["inner"]


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("attack", "name"),
    [
        (lambda ran: Calls(os.system, f"touch {ran}"), f"{os.name}.system"),
        (lambda ran: Calls(eval, f"open({str(ran)!r}, 'w')"), ".eval"),
        (lambda _: Calls(getattr, "text", "upper"), ".getattr"),
        (lambda ran: Calls(subprocess.run, ["touch", str(ran)]), ".run"),
        (lambda ran: Calls(open, str(ran), "w"), "open"),
        (lambda _: Calls(np.zeros, 1 << 50), "numpy.zeros"),
        (lambda _: Calls(bytearray, 1 << 50), ".bytearray"),
        (lambda _: Calls(sys.exit), "sys.exit"),
    ],
    ids=["system", "eval", "getattr", "run", "open", "zeros", "bytearray", "exit"],
)
def test_what_names_code_is_refused_and_not_run(tmp_path, protocol, attack, name):
    ran = tmp_path / "ran"
    for held in (attack(ran), {"data": attack(ran)}, {"data": X, "labels": [attack(ran)]}):
        refused(tmp_path, pickle.dumps(held, protocol), "names code", name, "would run")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (b"\x80\x02cnumpy\nload\nU\x01x\x85R.", ["names code (numpy.load)"]),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(K\x00tR.", ["_Array; a dict"]),
        (b"\x80\x02cnumpy\nndarray\nJ\x00\x00\x00\x40\x85\x85R.", ["not a sound pickle", "no function"]),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", ["NEWOBJ"]),
        (b"(inumpy\nndarray\n.", ["INST"]),
        (b"(cnumpy\nndarray\no.", ["OBJ"]),
        (b"\x80\x02\x82\x01.", ["EXT1"]),
        (b"Pname\n.", ["PERSID"]),
        (b"\x80\x02}U\x01aQ.", ["BINPERSID"]),
        (b"\x80\x04\x8f.", ["EMPTY_SET"]),
        (b"\x80\x02cnumpy\ndtype\n}b.", ["another kind"]),
        (b"\x80\x02}}b.", ["another kind"]),
        (b"\x80\x02U\x01a)R.", ["no function"]),
        (b"\x80\x02cnumpy\ndtype\nU\x02u1R.", ["no function"]),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", ["names code (posix.system)"]),
        (b"\x80\x04\x8c\x02os\x8c\x0bpath.system\x93.", ["names code (os.path.system)"]),
        (b"\x80\x04K\x01K\x02\x93.", ["not a sound pickle"]),
        (b"\x80\x02}]U\x01as.", ["a key that is no text"]),
        (b"\x80\x02}(U\x01au.", ["a key that is no text"]),
        (b"\x80\x02}U\x01aa.", ["another kind"]),
        (b"\x80\x02(}u.", ["damaged"]),
        (b"\x80\x02.", ["values are missing"]),
        (b"\x80\x02h\x09.", ["damaged"]),
        (b"\x80\x02]q\x01.", ["a pickle of list; a dict expected"]),
        (b"", ["damaged or cut off"]),
        (b"\xff\xfe no pickle", ["damaged or cut off"]),
        (b"I" + b"9" * 6000 + b"\n.", ["damaged or cut off"]),
    ],
)
def test_programs_that_make_no_plain_values(tmp_path, program, words):
    refused(tmp_path, program, *words)


def array(shape=(2, 3), letters="u1", order="|", content=bytes(6)):
    """A pickle of ``{"data": array}`` whose parts may lie."""

    class Dtype:
        def __reduce__(self):
            return np.dtype, (letters, False, True), (3, order, None, None, None, -1, -1, 0)

    class Array:
        def __reduce__(self):
            return REBUILD, (np.ndarray, (0,), b"b"), (1, shape, Dtype(), False, content)

    return pickle.dumps({"data": Array()}, 3)


def test_arrays_that_lie(tmp_path):
    assert read(tmp_path, array())["data"].shape == (2, 3)
    assert read(tmp_path, array((), "f4", "<", bytes(4)))["data"].shape == ()
    assert read(tmp_path, array((0, 1 << 60), content=b""))["data"].size == 0
    refused(tmp_path, array((1 << 30, 1 << 30)), "uint8 [1073741824, 1073741824] that holds 6 bytes")
    refused(tmp_path, array((-2, -3)), "without shape")
    refused(tmp_path, array((2.0, 3)), "without shape")
    refused(tmp_path, array([2, 3]), "without shape")
    refused(tmp_path, array(content=None), "that holds NoneType")
    refused(tmp_path, array(content=bytes(5)), "that holds 5 bytes", "cut off")
    refused(tmp_path, array(letters="O8", content=[None] * 6), "an array of dtype O8; plain numbers expected")
    refused(tmp_path, array(letters="V6", content=bytes(36)), "dtype V6")
    refused(tmp_path, array(letters="u1,u1", content=bytes(12)), "dtype u1,u1")
    refused(tmp_path, array(letters=("u1", (1 << 40,))), "dtype tuple")
    refused(tmp_path, array(order="x"), "byte order")
    refused(tmp_path, array(order=[[]]), "byte order")
    refused(tmp_path, pickle.dumps({"data": np.array([{}, X], dtype=object)}, 2), "dtype O8")


def test_nothing_is_allocated_for_what_is_not_there(tmp_path):
    """Each of these makes Python's own unpickler ask for gigabytes, or hang, before it finds that they are nonsense."""
    refused(tmp_path, b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.", "cut off")
    refused(tmp_path, b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.", "cut off")
    refused(tmp_path, b"\x80\x02}r\xff\xff\xff\x7f.", "no entry 'data'; it holds nothing")
    doubled = b"\x80\x02)" + b"".join(b"q%c(h%ch%ct" % (n, n, n) for n in range(100))  # a tuple of 2 to the 100 places
    refused(tmp_path, doubled + b"q\xff}h\xffK\x01s.", "a key that is no text")
    deep = b"\x80\x02}U\x04data" + b"]" * 100_000 + b"a" * 99_999 + b"s."
    assert len(read(tmp_path, deep)["data"]) == 1
    with pytest.raises(LimitError, match="4 bytes; at most 3 are read"):
        read(tmp_path, b"\x80\x02}.", limits=Limits(total=3))
    with pytest.raises(LimitError, match=r"batch: 2,\d+ bytes"):
        read(tmp_path, python2({"data": X}), limits=Limits(total=2000))
    with pytest.raises(FormatError, match="gone: no such file"):
        read_pickle(tmp_path / "gone", ("data",), Limits())


def test_damaged_pickles_give_a_dict_or_one_clear_error(tmp_path):
    rng = np.random.default_rng(0)
    wholes = [python2({"data": X[:20], "labels": LABELS[:20]}), pickle.dumps({"data": X[:20], "labels": LABELS[:20]})]
    for whole in wholes:
        for _ in range(150):
            damaged = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.3 else whole)
            for place in rng.integers(0, max(len(damaged), 1), rng.integers(0, 4)):
                damaged[place : place + 1] = rng.integers(0, 256, 1, dtype=np.uint8).tobytes()
            try:
                found = read(tmp_path, bytes(damaged), ("data", "labels"))
            except DsetpackError as error:
                assert "\n" not in str(error)  # noqa: PT017 - most are refused, and the others must be dicts
                continue
            assert found.keys() == {"data", "labels"}
