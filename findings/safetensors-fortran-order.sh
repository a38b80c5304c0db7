#!/usr/bin/env bash
# safetensors: a transposed numpy array comes back with its values in another order.
#
# Expected: an array reads back as it was saved, or saving refuses it, as safetensors.torch does for a tensor that is
#     not contiguous.
# Happens: save and save_file write the array's memory as it lies, and the shape as if it lay in C order. Transposed,
#     Fortran-ordered (such as the components of scikit-learn's PCA) and strided arrays read back with the right shape
#     and values in the wrong places. Nothing warns. A reversed view would even be read beyond its memory.
# Versions: safetensors 0.8.0, which passes pointers instead of bytes; right in 0.4.5, 0.5.3, 0.6.2 and 0.7.0.
# Source: https://github.com/safetensors/safetensors/issues/825
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 safetensors==0.8.0
venv/bin/python - << 'EOF'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load, load_file, save, save_file

print("safetensors", safetensors.__version__, "numpy", np.__version__)
weights = np.arange(6, dtype=np.float32).reshape(2, 3).T
save_file({"weights": weights}, "weights.safetensors")
from_file, from_bytes = load_file("weights.safetensors")["weights"], load(save({"weights": weights}))["weights"]
print("saved", weights.tolist())
print("read ", from_file.tolist())
copied = load(save({"weights": np.ascontiguousarray(weights)}))["weights"]
as_it_lies = weights.ravel(order="K").reshape(weights.shape)
if not all(np.array_equal(found, as_it_lies) for found in (from_file, from_bytes)):
    sys.exit("changed: the array does not come back in the order of its memory")
if not np.array_equal(copied, weights):
    sys.exit("changed: an array in C order does not come back either")
EOF
