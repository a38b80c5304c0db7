"""Arrays of ``.npz`` files and of folders of ``.npy`` files: what is read, and what is refused before it is."""

import struct
import zipfile

import numpy as np
import pytest

from dsetpack.files.arrays import Header, headers, load_arrays, load_npy, names_in
from dsetpack.formats.errors import FormatError, LimitError
from dsetpack.formats.limits import Limits

HELD = {"x": np.arange(12, dtype=np.uint8).reshape(2, 6), "y": np.arange(2), "classes": np.array(["a", "b"])}
OBJECTS = np.array([{}, 1], dtype=object)


@pytest.fixture(params=["npz", "folder"])
def write(request, tmp_path):
    """Writes arrays as one set of either sort, and returns its path."""

    def written(**arrays):
        path = tmp_path / ("set.npz" if request.param == "npz" else "set")
        if path.suffix:
            np.savez(path, **arrays)
            return path
        path.mkdir(exist_ok=True)
        for name, values in arrays.items():
            np.save(path / f"{name}.npy", values)
        return path

    return written


def test_a_set_of_arrays(write):
    path = write(**HELD)
    assert names_in(path, Limits()) == ("classes", "x", "y")
    assert headers(path, ["x", "classes"], Limits()) == {
        "x": Header((2, 6), np.dtype("u1")),
        "classes": Header((2,), np.dtype("<U1")),
    }
    found = load_arrays(path, ["x", "classes"], Limits())
    assert found.keys() == {"x", "classes"}
    assert all(np.array_equal(found[name], HELD[name]) for name in found)
    with pytest.raises(FormatError, match=r"no array 'z'; it holds classes, x, y"):
        load_arrays(path, ["x", "z"], Limits())


def test_orders_of_bytes_and_axes(write):
    path = write(turned=np.asfortranarray(HELD["x"]), other=HELD["y"].astype(">i4"), single=np.array(3))
    found = load_arrays(path, ["turned", "other", "single"], Limits())
    assert np.array_equal(found["turned"], HELD["x"])
    assert np.array_equal(found["other"], HELD["y"])
    assert found["single"] == 3


def test_objects_are_refused_but_only_where_they_are_wanted(write):
    path = write(**HELD, notes=OBJECTS, records=np.zeros(2, [("a", "f4")]), raw=np.array([b"a"]))
    assert np.array_equal(load_arrays(path, ["y"], Limits())["y"], HELD["y"])
    for name, what in (
        ("notes", r"an object array, .*: save plain numbers, such as np\.save"),
        ("records", "expected"),
        ("raw", "numbers expected"),
    ):
        with pytest.raises(FormatError, match=rf"{name}.*: .*{what}"):
            load_arrays(path, [name], Limits())


def test_limits(write):
    path = write(**HELD)
    with pytest.raises(LimitError, match="at most 100 are read"):
        load_arrays(path, ["x"], Limits(total=100))


def test_a_folder_of_no_arrays(tmp_path):
    (tmp_path / "x.npy").mkdir()
    (tmp_path / "y.txt").write_text("y")
    assert names_in(tmp_path, Limits()) == ()
    with pytest.raises(FormatError, match=r"no array 'x'; it holds nothing"):
        load_arrays(tmp_path, ["x"], Limits())


def npy(shape, dtype="<f4", data=b""):
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a sound .npy file"),
        (b"no array", "not a sound .npy file"),
        (npy((1 << 40, 1 << 20), data=bytes(8)), "declares 4,611,686,018,427,387,904 bytes and holds 8"),
        (npy((2,), data=bytes(7)), "declares 8 bytes and holds 7: damaged or cut off"),
        (npy((2,), data=bytes(9)), "declares 8 bytes and holds 9"),
        (npy((-2,), data=bytes(8)), "declares -8 bytes"),
        (npy((2,), "|O", bytes(16)), "an object array"),
        (npy((1,), "<c8", bytes(8)), "complex64; numbers expected"),
        (npy((2,), "nonsense", bytes(8)), "a damaged header"),
        (npy((2,)).replace(b"\x01\x00", b"\x09\x00", 1), "not a sound .npy file|the .npy version"),
    ],
)
def test_npy_files_that_are_none(tmp_path, content, words):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    for read in (lambda: load_npy(path, Limits()), lambda: load_arrays(tmp_path, ["x"], Limits())):
        with pytest.raises(FormatError, match=words) as caught:
            read()
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    with pytest.raises(FormatError, match="gone.npy: no such file"):
        load_npy(tmp_path / "gone.npy", Limits())


def test_a_member_that_hides_behind_another(tmp_path):
    """The array that is read is the one whose header was checked."""
    path = tmp_path / "x.npz"
    for order in (("x", "x.npy"), ("x.npy", "x")):
        content = {"x": npy((1 << 40,)), "x.npy": npy((1,), data=bytes(4))}
        with zipfile.ZipFile(path, "w") as archive:
            for name in order:
                archive.writestr(name, content[name])
        assert load_arrays(path, ["x"], Limits())["x"].tolist() == [0]
