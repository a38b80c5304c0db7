#!/usr/bin/env bash
# netCDF4: a float16 data set of an HDF5 file appears as a variable of strings.
#
# Expected: float16, which netCDF has not, is widened to float32 (it once was), or opening it is an error.
# Happens: the variable is listed with the type str, and nothing warns. Its shape is right, its values are not to be had:
#     reading them takes the numbers for addresses, so the script does not.
# Versions: netCDF4 1.7.3, 1.7.4 and 1.7.5.1 (netCDF-C 4.9.3 and 4.10.1); 1.7.2 (4.9.4-development) gave float32.
# Source: measured here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet h5py==3.16.0 netcdf4==1.7.4 numpy==2.4.6
venv/bin/python - << 'EOF'
import sys

import h5py
import netCDF4
import numpy as np

print("netCDF4", netCDF4.__version__, "netCDF-C version", netCDF4.__netcdf4libversion__, "h5py", h5py.__version__)
with h5py.File("numbers.h5", "w") as file:
    for name in ("float16", "float32", "float64"):
        file[name] = np.arange(4, dtype=name)
with netCDF4.Dataset("numbers.h5") as file:
    types = {name: variable.dtype for name, variable in file.variables.items()}
print({name: str(kind) for name, kind in types.items()})
if types != {"float16": str, "float32": np.dtype("float32"), "float64": np.dtype("float64")}:
    sys.exit("changed: float16 has another type")
EOF
