"""A class-incremental learner that rehearses from a ``ReplayMemory``, on the shipped sample of Fashion-MNIST.

    python examples/continual.py

There are five tasks of two classes. The learner never sees an old image again: each batch of new images is followed by
the same number from a memory of at most 40 kB. At the end, the learner is compared with one without a memory.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from dsetpack import Pack
from dsetpack.replay import ReplayMemory
from dsetpack.trainers.data import load
from dsetpack.trainers.evaluate import accuracy
from dsetpack.trainers.networks import network

STEPS, TASKS = 60, [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
train, test = load("fashion-sample"), load("fashion-sample", split="test")


def learn(memory: ReplayMemory | None) -> float:
    """Learn task after task, and return the accuracy on the test images of all ten classes."""
    model = network("convnet3", train.shape, len(train.classes), 16, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    for classes in TASKS:
        own = train.take(torch.isin(train.labels, torch.tensor(classes)).nonzero()[:, 0])
        new = Pack.from_arrays(own.images, own.labels, classes=own.classes).loader(32, seed=0)
        batches = memory.mix(new, ratio=1.0) if memory and memory.tasks else new
        done = 0
        while done < STEPS:
            for x, y in batches:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                done += 1
        if memory is not None:
            memory.add_arrays(own.images, own.labels, task=" and ".join(own.classes[label] for label in classes))
            print(f"after {memory.tasks[-1]!r}: {memory}")
    return accuracy(model, test, new.pack.space)


if __name__ == "__main__":
    memory = ReplayMemory("40 kB", classes=train.classes)
    found = learn(memory)
    print(f"accuracy on all classes with the memory: {found:.1%}, without: {learn(None):.1%}")
    print(f"saved in {memory.save('memory.dpk'):,} bytes; ReplayMemory.open('memory.dpk') continues from there")
