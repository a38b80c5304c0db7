#!/usr/bin/env bash
# accelerate: under torchrun without a GPU, each process takes itself for the only one and trains a model of its own.
#
# Expected: under torchrun --nproc-per-node=2, Accelerator() counts 2 processes, with or without a GPU, and prepare
#     wraps the model so that gradients are averaged; or it says that it will not.
# Happens: it initialises torch.distributed with 2 processes, yet num_processes is 1 and distributed_type is NO in both,
#     and prepare returns the bare model: two trainings that know nothing of each other, both as the main process, and
#     no warning. Accelerator(cpu=True) counts 2 and wraps. Code that asks torch.distributed for its rank, as samplers
#     do, sees 2 all the same: then each of the two models is trained on half of the data.
# Versions: accelerate 1.15.0 with torch 2.13.0.
# Source: measured here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet accelerate==1.15.0 torch==2.13.0 numpy==2.4.6
venv/bin/python - << 'EOF'
import os
import subprocess
import sys

import accelerate
import torch

print("accelerate", accelerate.__version__, "torch", torch.__version__)
worker = """
import sys
import torch
from accelerate import Accelerator
made = Accelerator(**eval(sys.argv[1]))
model = made.prepare(torch.nn.Linear(2, 2))
print(torch.distributed.get_world_size(), made.num_processes, made.is_main_process, type(model).__name__)
"""
with open("worker.py", "w") as file:
    file.write(worker)
alone = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


def shown(options):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "worker.py", options]
    done = subprocess.run(command, env=alone, capture_output=True, text=True, check=True)
    lines = sorted(done.stdout.split("\n"))[1:]
    for line in lines:
        print(f"Accelerator(**{options}): world size, num_processes, is_main_process, model: {line}")
    return lines


bare, told = shown("{}"), shown("{'cpu': True}")
if told != ["2 2 False DistributedDataParallel", "2 2 True DistributedDataParallel"]:
    sys.exit("changed: cpu=True")
if bare != ["2 1 True Linear", "2 1 True Linear"]:
    sys.exit("changed: Accelerator() knows of both processes")
EOF
