#!/usr/bin/env bash
# torch: on the CPU, seeds that are equal in their lowest 32 bits give the same random numbers.
#
# Expected: different seeds of the documented range, -2**63 to 2**64 - 1, give different streams, as they do in numpy's
#     default_rng, or seeds that cannot be told apart are refused.
# Happens: the Mersenne Twister behind torch.manual_seed and torch.Generator takes the lowest 32 bits and drops the rest
#     without a word, though initial_seed() returns all 64. So seed * 2**32 + epoch shuffles by the epoch alone: every
#     seed gives the same order.
# Versions: torch 2.13.0 on the CPU.
# Source: measured here; https://github.com/pytorch/pytorch/issues/87509 is about the same documentation.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
venv/bin/python - << 'EOF'
import sys

import numpy as np
import torch

print("torch", torch.__version__, "numpy", np.__version__)
epoch = 3
generators = [torch.Generator().manual_seed(seed * 2**32 + epoch) for seed in range(5)]
orders = [tuple(torch.randperm(1000, generator=generator).tolist()) for generator in generators]
print("initial seeds", [generator.initial_seed() for generator in generators])
print("different orders of 1000 among 5 seeds:", len(set(orders)))
numpys = {tuple(np.random.default_rng(seed * 2**32 + epoch).permutation(1000)) for seed in range(5)}
print("numpy's default_rng:", len(numpys))
if len(set(orders)) != 1:
    sys.exit("changed: the upper 32 bits of a seed count")
if len({generator.initial_seed() for generator in generators}) != 5:
    sys.exit("changed: initial_seed() no longer tells the seeds apart")
if len(numpys) != 5:
    sys.exit("changed: numpy no longer tells the seeds apart")
EOF
