"""Floor 1: bytes <-> named, checked arrays.

It uses numpy, h5py and zstandard, and cryptography for signatures; never torch.

    write(path, card, parts, tensors, encoding)     arrays -> a .dpk file
    Reader(where)                                   a .dpk file -> header, manifest, and arrays on request
    recard(where, card, path)                       the same file with another card
    verify(where)                                   check every byte, every value and the HDF5 view

``SPEC.md`` beside this file is normative; ``manifest.schema.json`` is generated from the models.
"""

from dsetpack.formats.errors import DsetpackError, FormatError, IntegrityError, LimitError, VersionError
from dsetpack.formats.limits import Limits
from dsetpack.formats.manifest import Manifest, PartEntry
from dsetpack.formats.reader import Reader
from dsetpack.formats.seal import recard
from dsetpack.formats.verify import verify
from dsetpack.formats.writer import encode, write

__all__ = [
    "DsetpackError",
    "FormatError",
    "IntegrityError",
    "LimitError",
    "Limits",
    "Manifest",
    "PartEntry",
    "Reader",
    "VersionError",
    "encode",
    "recard",
    "verify",
    "write",
]
