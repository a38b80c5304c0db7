"""What the tests of learned pixels share."""

import torch

import dsetpack
from dsetpack.formats.card import Labels
from dsetpack.spaces import Normalized
from dsetpack.trainers import selections
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run, Schedule, Trainable

IMAGE = (3, 8, 10)
SMALL = selections.SelectionSettings(width=4, epochs=3, batch=8)


def noise(per_class: int = 12, classes: int = 2, image=IMAGE) -> ImageData:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (per_class * classes, *image), generator=g, dtype=torch.uint8)
    return ImageData(x, torch.arange(len(x)) % classes, tuple("abcd"[:classes]), "noise")


def context(tmp_path, space=None, ipc=2, data=None) -> Context:
    data = data or noise()
    return Context(data, space or Normalized.fit(data.images), ipc, 5, tmp_path, lambda phase: Run(name=phase))


def pack(made, given: Context) -> dsetpack.Pack:
    soft = made.targets() is not None
    labels = Labels(kind="soft" if soft else "hard", centred=soft)
    card = dsetpack.Card(
        title="x",
        classes=given.data.classes,
        shape=given.data.shape,
        space=given.space.model,
        labels=labels,
        epoch_rule=made.epoch_rule,
    )
    return dsetpack.Pack(card, made.parts(), given.space)


def reopened(made, given: Context, tmp_path) -> dsetpack.Pack:
    """Save and open the pack; check that the content is the same, and the bytes if it is saved again."""
    path = tmp_path / "pack.dpk"
    first = pack(made, given)
    first.save(path)
    found = dsetpack.open(path, verify="all")
    assert found.to_bytes() == path.read_bytes()
    for old, new in zip(first.parts, found.parts, strict=True):
        assert torch.equal(old.sources, new.sources)
        assert torch.equal(old.labels, new.labels)
        assert (old.kind, old.config) == (new.kind, new.config)
    return found


class Pull(Trainable):
    """Pulls images, and learned labels, to constants."""

    def __init__(self, made) -> None:
        self.made = made

    def groups(self):
        return self.made.groups()

    def backward(self, step, generator):
        pairs = self.made.batch(generator, 3)
        loss = (self.made.images(pairs) - 9).square().mean()
        if self.made.targets() is not None:
            loss = loss + (self.made.targets(pairs) - 1).square().sum()
        loss.backward()
        return {"pull": loss.detach()}

    def state_dict(self):
        return self.made.state_dict()

    def load_state_dict(self, state):
        self.made.load_state_dict(state)


SGD = Schedule(steps=3, optimizer="sgd")
