#!/usr/bin/env bash
# torch: after one documented switch for TF32 is set, reading the other documented one raises.
#
# Expected: reading a setting never fails; allow_tf32 and get_float32_matmul_precision() say what holds now.
# Happens: after torch.backends.cuda.matmul.fp32_precision = "tf32", merely reading
#     torch.backends.cuda.matmul.allow_tf32 or torch.get_float32_matmul_precision() raises RuntimeError, also on a
#     machine without a GPU. So a library that saves and restores the setting fails because of a line that the user
#     wrote in the way that the documentation recommends; what still reads is fp32_precision. Setting an old switch to
#     what agrees makes both readable again.
# Versions: torch 2.13.0.
# Source: measured here; https://docs.pytorch.org/docs/2.13/notes/cuda.html describes both switches.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
venv/bin/python - << 'EOF'
import sys

import torch

print("torch", torch.__version__)
matmul = torch.backends.cuda.matmul
readers = {"allow_tf32": lambda: matmul.allow_tf32, "get_float32_matmul_precision": torch.get_float32_matmul_precision}


def read(name):
    try:
        return readers[name]()
    except RuntimeError as error:
        return error


def shown(moment):
    found = {name: read(name) for name in readers}
    for name, value in found.items():
        print(f"{moment}: {name}: {type(value).__name__}: {str(value).splitlines()[0][:100]}")
    return found


before = shown("at first")
matmul.fp32_precision = "tf32"
after = shown("after fp32_precision = 'tf32'")
torch.set_float32_matmul_precision("high")
mended = shown("after set_float32_matmul_precision('high')")
if any(isinstance(value, Exception) for value in [*before.values(), *mended.values()]):
    sys.exit("changed: it raises at other times")
if not all(isinstance(value, RuntimeError) for value in after.values()):
    sys.exit("changed: the old settings can be read")
EOF
