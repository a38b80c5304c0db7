#!/usr/bin/env bash
# datasets: an image folder with a class called "train" loads that class alone, and without labels.
#
# Expected: load_dataset("imagefolder", data_dir=...) on folders named by class gives every image with its label; "train"
#     is a class of COCO and Pascal VOC, "train_station" one of SUN397.
# Happens: names of folders are searched for words that mean a split ("train", "test", "dev", "eval", "valid", also as
#     part of a longer name, as in "train_station"). If a class has such a word, its folder becomes that split, the
#     folders of all other classes are left out, and the label column is dropped. Nothing warns.
# Versions: datasets 5.2.0.
# Source: measured here; https://huggingface.co/docs/datasets/repository_structure describes the words for splits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet datasets==5.2.0 numpy==2.4.6 pillow==13.0.0
venv/bin/python - << 'EOF'
import os
import sys
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=str(Path("cache").resolve()), HF_DATASETS_DISABLE_PROGRESS_BARS="1")

import datasets
import numpy as np
import PIL
from PIL import Image

print("datasets", datasets.__version__, "numpy", np.__version__, "pillow", PIL.__version__)


def loaded(*classes):
    folder = Path("-".join(classes))
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for copy in range(3):
            Image.fromarray(np.full((8, 8, 3), 10 * number + copy, np.uint8)).save(folder / name / f"{copy}.png")
    found = datasets.load_dataset("imagefolder", data_dir=str(folder))
    return {split: (table.num_rows, "label" in table.features) for split, table in found.items()}


usual = ("boat", "bus", "car")
seen = {classes: loaded(*classes) for classes in (usual, ("boat", "bus", "train"), ("bus_stop", "train_station"))}
for classes, found in seen.items():
    print(f"{', '.join(classes)}: images and labels {found}")
if seen.pop(usual) != {"train": (9, True)}:
    sys.exit("changed: other classes do not load whole either")
if any(found != {"train": (3, False)} for found in seen.values()):
    sys.exit("changed: the class does not become a split")
EOF
