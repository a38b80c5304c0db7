#!/usr/bin/env bash
# h5py (HDF5): a data set without data has an offset if its file has a user block.
#
# Expected: get_offset() of a contiguous data set without storage is None, as it is in a file without a user block.
# Happens: behind a user block of 1024 bytes it is 1023, inside that block: HDF5 adds the block's size to "undefined",
#     which is -1. Programs that make tables of references ask "is None" (virtualizarr 2.5.1 does), and then read there.
# Versions: h5py 3.11.0 (HDF5 1.14.2), 3.13.0, 3.14.0 and 3.15.1 (1.14.6), 3.16.0 (2.0.0): all that were tried.
# Source: measured here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet h5py==3.16.0
venv/bin/python - << 'EOF'
import sys

import h5py

print("h5py", h5py.__version__, "HDF5", h5py.version.hdf5_version)
found = {}
for block in (0, 512, 1024):
    with h5py.File("empty.h5", "w", userblock_size=block) as file:
        file.create_dataset("x", (4,), "f4")
    with h5py.File("empty.h5") as file:
        found[block] = file["x"].id.get_offset()
        assert file["x"].id.get_storage_size() == 0
print("offset by size of the user block:", found)
if found != {0: None, 512: 511, 1024: 1023}:
    sys.exit("changed: other offsets")
EOF
