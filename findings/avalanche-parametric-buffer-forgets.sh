#!/usr/bin/env bash
# avalanche: a ParametricBuffer with its random selection keeps almost nothing but the latest experience.
#
# Expected: a replay memory that selects "at random" is a random sample of all that was seen, as ReservoirSamplingBuffer
#     is: with 100 places after five experiences of 1000 samples, about 20 of each.
# Happens: each update takes 100 at random of the 100 that are stored and the 1000 that are new, so the old ones are
#     thinned out eleven times, every time: about 91 are of the last experience, 8 of the one before, and the first ones
#     are forgotten, which is what a memory is for. So it is by default (no groups), and with groupby="class" where the
#     same classes come again.
# Versions: avalanche-lib 0.6.0.
# Source: measured here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet avalanche-lib==0.6.0 torch==2.14.1 torchvision==0.29.1
venv/bin/python -W ignore - << 'EOF'
import random
import sys
from collections import Counter
from types import SimpleNamespace

import avalanche
import torch
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.training.storage_policy import ParametricBuffer, ReservoirSamplingBuffer
from torch.utils.data import TensorDataset

print("avalanche version", avalanche.__version__, "torch", torch.__version__)
torch.manual_seed(0)
random.seed(0)
buffers = {
    "ParametricBuffer": ParametricBuffer(max_size=100),
    "ParametricBuffer by class": ParametricBuffer(max_size=100, groupby="class"),
    "ReservoirSamplingBuffer": ReservoirSamplingBuffer(max_size=100),
}
for number in range(5):
    data = TensorDataset(torch.full((1000, 1), float(number)), torch.arange(1000) % 2)
    data.targets = data.tensors[1]
    experience = SimpleNamespace(dataset=as_classification_dataset(data))
    for buffer in buffers.values():
        buffer.post_adapt(SimpleNamespace(), experience)
counts = {name: Counter(int(sample[0]) for sample in buffer.buffer) for name, buffer in buffers.items()}
for name, found in counts.items():
    print(f"{name}: of experiences 0 to 4", [found[number] for number in range(5)])
*parametric, reservoir = counts.values()
if any(found[4] < 80 or found[0] > 2 for found in parametric):
    sys.exit("changed: the buffer remembers more than the latest experience")
if not all(8 <= reservoir[number] <= 35 for number in range(5)):
    sys.exit("changed: ReservoirSamplingBuffer is no random sample of all")
EOF
