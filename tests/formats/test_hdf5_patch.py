"""The changes to a finished HDF5 file: checksums and the user block."""

import io
import struct

import h5py

from dsetpack.formats import hdf5_patch
from tests.support.format_packs import images


def test_the_user_block_is_hdf5s():
    data = images()
    with h5py.File(io.BytesIO(data)) as file:
        assert file.userblock_size == struct.unpack_from("<Q", data, 16)[0] == 1024


def test_lookup3_against_its_published_value():
    """Two values of Bob Jenkins' own check (lookup3.c, driver5), and the superblock of a file that h5py wrote."""
    assert hdf5_patch.lookup3(b"") == 0xDEADBEEF
    assert hdf5_patch.lookup3(b"Four score and seven years ago") == 0x17770551
    for libver in ("v108", "v110"):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver=(libver, libver)):
            pass
        superblock = buffer.getvalue()[:48]
        assert struct.unpack("<I", superblock[44:])[0] == hdf5_patch.lookup3(superblock[:44])
