"""A replay buffer in a budget of bytes from a folder with one sub-folder of images per class.

    python replay_buffer.py photos 200kB memory.dpk

A learner sees two classes at a time; after each task the memory keeps what fits into the budget.
"""

import sys

import torch

from dsetpack.replay import ReplayMemory
from dsetpack.trainers.data import load

folder, budget, out = sys.argv[1:]
data = load(folder)
print(data)

memory = ReplayMemory(budget, classes=data.classes)
for first in range(0, len(data.classes), 2):
    task = torch.cat([data.of_class(label) for label in range(first, min(first + 2, len(data.classes)))])
    memory.add_arrays(data.images[task], data.labels[task], task=", ".join(data.classes[first : first + 2]))
    print(memory)

memory.save(out)
images, labels = next(iter(ReplayMemory.open(out).loader(batch_size=64, seed=0)))
print(f"{out}: a batch to rehearse, {list(images.shape)}, labels of {len(labels.unique())} classes")
