#!/usr/bin/env bash
# python: random.Random(s) and random.Random(s + (s - 1) * 2**32) are the same generator, for every s of 32 bits.
#
# Expected: an integer seed "is used directly", says the documentation, so seeds of 64 bits that differ give different
#     generators of 19,937 bits; (seed << 32) + epoch is a safe way to join two numbers.
# Happens: a seed is cut into words of 32 bits, and the reference routine init_by_array adds to each word its position
#     before it is mixed in, going round the words again and again. [s] and [s, s - 1] then add the same numbers, and so
#     do [s, s - 1, s - 2] and so on. Of 100 seeds times 100 epochs, 98 pairs share a stream. numpy's legacy RandomState
#     has the same: [s] and [s, s - 1]. numpy's default_rng has not.
# Versions: Python 3.11.7, 3.12.1 and 3.13.0; numpy 2.4.6.
# Source: measured here; https://docs.python.org/3/library/random.html#random.seed is the documentation.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6
venv/bin/python - << 'EOF'
import platform
import random
import sys

import numpy as np

print("Python version", platform.python_version(), "numpy", np.__version__)
for s in (2, 3, 1000, 2**32 - 1):
    first, second = random.Random(s), random.Random(s + ((s - 1) << 32))
    same = first.getstate() == second.getstate()
    legacy = np.random.RandomState([s]).random_sample() == np.random.RandomState([s, s - 1]).random_sample()
    modern = np.random.default_rng([s]).random() == np.random.default_rng([s, s - 1]).random()
    print(f"{s} and {s + ((s - 1) << 32)}: random {same}, RandomState {legacy}, default_rng {modern}")
    if not (same and legacy) or modern:
        sys.exit("changed: other seeds are the same")
streams = {random.Random((seed << 32) + epoch).random() for seed in range(100) for epoch in range(100)}
print(f"{len(streams):,} streams of 100 seeds x 100 epochs")
if len(streams) != 9902:
    sys.exit("changed: another number of different streams")
EOF
