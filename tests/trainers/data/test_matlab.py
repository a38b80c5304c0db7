"""Files of MATLAB: what scipy wrote, and damaged ones."""

import contextlib
import struct

import numpy as np
import pytest
import scipy.io

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data.matlab import read_matlab

MATRICES = {
    "bytes": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "b": np.array([[7]], np.uint8),  # small enough for a shared word
    "shorts": np.array([[-3, 2, 400]], np.int16),
    "doubles": np.linspace(-1, 1, 7)[:, None],
    "wholes": np.arange(5.0)[None],  # MATLAB stores such doubles as bytes
    "empty": np.zeros((0, 3)),
}


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_files(tmp_path, compressed):
    path = tmp_path / "x.mat"
    others = {"text": "hello", "cells": np.array([1, "a"], object), "struct": {"a": 1}, "complex": np.array([[1j]])}
    scipy.io.savemat(path, MATRICES | others, do_compression=compressed)
    found = read_matlab(path)
    assert set(found) == set(MATRICES)
    for name, array in MATRICES.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_matlab_narrow_values_and_big_endian(tmp_path):
    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    parts = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 2, 2))
    parts += struct.pack(">HH", 1, 1) + b"y\0\0\0" + struct.pack(">HH", 4, 2) + bytes([1, 2, 3, 4])
    path = tmp_path / "x.mat"
    path.write_bytes(bytes(124) + b"\x01\x00MI" + element(14, parts))
    found = read_matlab(path)["y"]
    assert found.dtype == np.float64
    assert found.tolist() == [[1, 3], [2, 4]]
    path.write_bytes(
        bytes(124) + b"\x01\x00MI" + element(14, parts.replace(struct.pack(">ii", 2, 2), struct.pack(">ii", -2, -2)))
    )
    with pytest.raises(FormatError, match=r"an array of \[-2, -2\] with 4 values"):
        read_matlab(path)


def test_damaged_matlab_files_are_errors_or_arrays(tmp_path):
    path, rng = tmp_path / "x.mat", np.random.default_rng(0)
    for compressed in (False, True):
        scipy.io.savemat(path, MATRICES, do_compression=compressed)
        good = path.read_bytes()
        for _ in range(300):
            bad = bytearray(good)
            for place in rng.integers(0, len(bad), 3):
                bad[place] = rng.integers(0, 256)
            path.write_bytes(bad[: rng.integers(1, len(bad) + 200)])
            with contextlib.suppress(FormatError):  # any other exception fails the test
                read_matlab(path)
