"""Selections of real images that the papers compare with: random, herding, k-center, forgetting.

DiM (table 2), HaBa (tables 1 and 7) and KFS (table 1) report them as DC and DSA (Zhao et al. 2021) introduced them.
DC's authors describe herding and k-center in VICO-UoE/DatasetCondensation #15 and #21; this code does the same. All
rules pick class by class.

- ``random``: without replacement.
- ``herding`` (Welling 2009): each pick brings the mean of the picks closest to the mean of the class; no image twice.
- ``k-center`` (Sener & Savarese 2018, the greedy form): first the image nearest to the class's mean, as DC's authors
  do (the paper starts from labelled images), then always the one farthest from all picks.
- ``forgetting`` (Toneva et al. 2019): the images that change most often from right to wrong while a network trains on
  all real images, judged each time an image comes up in a batch. Images that were never right count as forgotten
  infinitely often, as in the paper. Among equally forgotten ones the earlier in the data are taken (inferred).

Herding and k-center measure Euclidean distances between penultimate features of a network trained on the real images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.formats.model import Model
from dsetpack.formats.words import plural
from dsetpack.spaces import Space
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Group, Schedule, Terms, Trainable, optimise
from dsetpack.trainers.networks import network
from dsetpack.trainers.seeds import derive, generator

Rule = Literal["random", "herding", "k-center", "forgetting"]
PHASE = "select"
"""The name of the network's training, for ``Context.run``."""
BATCH = 1000
"""The number of images embedded at a time."""
WIDE = 2**26
"""Up to this many values are widened to float64 once, in 512 MiB; more of them ``ROWS`` rows at a time, per pick."""
ROWS = 4096


class SelectionSettings(Model):
    """Settings of the network for herding, k-center and forgetting, trained on all real images in the context's space.

    It trains by SGD and cross-entropy, without augmentation or weight decay; the learning rate falls to a tenth after
    half of the steps. The papers that report these selections do not describe the network: all settings are inferred.

    Attributes:
        network, width: see ``dsetpack.trainers.networks.network``; width None for the papers' widths.
        epochs: the number of passes over the real images.
        steps: the number of optimiser steps, instead of ``epochs``.
        batch: images per step; the last batch of an epoch may be smaller.
        lr, momentum: SGD's learning rate and momentum.
    """

    network: str = "convnet3"
    width: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] = 50
    steps: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=1)] = 256
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9

    def schedule(self, images: int) -> Schedule:
        """The schedule of the training on this number of images."""
        steps = self.steps or self.epochs * math.ceil(images / self.batch)
        return Schedule(steps=steps, optimizer="sgd", momentum=self.momentum, milestones=(0.5,), gamma=0.1)


def select(rule: Rule, context: Context, count: int, settings: SelectionSettings | None = None) -> Tensor:
    """Pick real images. If the rule needs a network, train it first, as the context's phase ``select``.

    Args:
        rule: how to pick.
        context: the real images, the pixel space that the network sees, and the seed.
        count: the number of images of each class.
        settings: the network's settings.

    Returns:
        indices into ``context.data``, int64 [classes · count], class by class, within a class in the order of
        selection.

    Raises:
        FormatError: if a class has fewer images, or ``forgetting`` trains for fewer steps than two epochs.
    """
    data = context.data
    if rule == "random":
        return data.draw(count, derive(context.seed, "random images"))
    members = [data.of_class(label) for label in range(context.classes)]
    for label, found in enumerate(members):
        if len(found) < count:
            raise FormatError(
                f"{data.name} has {plural(len(found), 'image')} of class {data.classes[label]!r}; {count} to be picked "
                f"by {rule}"
            )
    pick = _picker(rule, _trained(rule, context, settings or SelectionSettings()))
    return torch.cat([found[pick(found, count)] for found in members])


def real_images(
    rule: Rule, context: Context, count: int, settings: SelectionSettings | None = None
) -> tuple[Tensor, Tensor]:
    """The picks of ``select``: images float32 [classes · count, C, H, W] in the context's space, and labels int64."""
    index = select(rule, context, count, settings)
    with torch.no_grad():
        return context.space.apply(context.data.raw(index)), context.data.labels[index]


def herding(features: Tensor, count: int) -> Tensor:
    """Pick by greedy herding: pick t brings the mean of the first t picks closest to the mean of all features.

    With the mean m of all features and the sum s of the picks so far, that is the x nearest to (t·m - s), which takes
    one product of the features with a vector per pick. It is computed in float64; of equally near ones the first is
    picked.

    Args:
        features: float [N, F].
        count: how many of the N to pick, all different.

    Returns:
        int64 [count] in order of selection, on the features' device.

    Raises:
        FormatError: if features are not as described, or ``count`` is not in 1..N.
    """
    features = _checked(features, count)
    mean, squares = _mean(features), _squares(features)
    total, chosen = torch.zeros_like(mean), list[Tensor]()
    for pick in range(1, count + 1):
        best = (squares - 2 * _products(features, pick * mean - total)).argmin()
        squares[best] = math.inf  # never again
        total += features[best].double()
        chosen.append(best)
    return torch.stack(chosen)


def k_center(features: Tensor, count: int) -> Tensor:
    """Pick by greedy k-center: the nearest to the mean, then always the farthest from all picks so far.

    Distances to the nearest pick are kept and updated by one product of the features with a vector per pick. They are
    computed in float64; of equally far ones the first is picked. Arguments, result and errors are those of ``herding``.
    """
    features = _checked(features, count)
    squares = _squares(features)
    best = (squares - 2 * _products(features, _mean(features))).argmin()
    distance = torch.full_like(squares, math.inf)
    chosen = [best]
    while len(chosen) < count:
        centre = squares[best] + squares - 2 * _products(features, features[best].double())
        distance = torch.minimum(distance, centre)
        distance[best] = -math.inf  # never again, even among copies
        best = distance.argmax()
        chosen.append(best)
    return torch.stack(chosen)


def most_forgotten(counts: Tensor, count: int) -> Tensor:
    """The indices of the ``count`` largest of ``counts`` [N], int64 [count], largest first, of equal ones the first."""
    if not 1 <= count <= len(counts):
        raise FormatError(f"{count} of {plural(len(counts), 'image')} to be picked; expected 1 to {len(counts)}")
    return torch.argsort(counts, descending=True, stable=True)[:count]


class Forgetting:
    """Counts how often each example was forgotten: right the last time it came up, wrong now (Toneva et al. 2019).

    Args:
        examples: the number of examples.
        device: where the counts are kept.
    """

    def __init__(self, examples: int, device: torch.device | str = "cpu") -> None:
        self._events = torch.zeros(examples, dtype=torch.int64, device=device)
        self._right = torch.zeros(examples, dtype=torch.bool, device=device)
        self._learned = torch.zeros(examples, dtype=torch.bool, device=device)

    def update(self, index: Tensor, correct: Tensor) -> None:
        """Record that examples ``index`` (int64 [B], all different) were classified; ``correct`` is bool [B]."""
        self._events[index] += self._right[index] & ~correct
        self._right[index] = correct
        self._learned[index] |= correct

    def counts(self) -> Tensor:
        """The numbers of forgetting events, float64 [examples]; infinite for examples that were never right."""
        return self._events.double().masked_fill(~self._learned, math.inf)

    def state_dict(self) -> dict[str, Tensor]:
        """All counts and flags."""
        return {"events": self._events, "right": self._right, "learned": self._learned}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])


class FeatureNetwork(Trainable):
    """A network that trains on all real images, and what it forgets meanwhile.

    Args:
        settings: the network and its learning rate.
        data: the real images.
        space: the pixel space that the network sees them in.
        seed: the seed of the weights and of the images' order, which is a new permutation each epoch.
    """

    repeatable = False

    def __init__(self, settings: SelectionSettings, data: ImageData, space: Space, seed: int) -> None:
        self.data, self._space, self._settings, self._seed = data, space, settings, seed
        made = network(
            settings.network, data.shape, len(data.classes), settings.width, seed=derive(seed, PHASE, "network")
        )
        self.net = made.to(data.images.device)
        self.forgetting = Forgetting(len(data), data.images.device)
        self._order: tuple[int, Tensor] | None = None

    @override
    def groups(self) -> Sequence[Group]:
        return [Group(name="network", params=list(self.net.parameters()), lr=self._settings.lr)]

    @override
    def backward(self, step: int, generator: torch.Generator) -> Terms:
        index = self.batch(step)
        labels = self.data.labels[index]
        logits = self.net.train()(self._space.apply(self.data.raw(index)))
        self.forgetting.update(index, logits.detach().argmax(1) == labels)
        loss = F.cross_entropy(logits, labels)
        torch.autograd.backward(loss)
        return {"cross_entropy": loss.detach()}

    def batch(self, step: int) -> Tensor:
        """The indices of a step's images, int64 on the data's device; every image comes once per epoch."""
        size = self._settings.batch
        epoch, part = divmod(step, math.ceil(len(self.data) / size))
        if self._order is None or self._order[0] != epoch:
            drawn = torch.randperm(len(self.data), generator=generator(self._seed, PHASE, "order", epoch))
            self._order = epoch, drawn.to(self.data.images.device)
        return self._order[1][part * size : (part + 1) * size]

    def features(self, index: Tensor) -> Tensor:
        """Penultimate features float32 [n, F] of some images, in evaluation mode."""
        self.net.eval()
        with torch.no_grad():
            parts = torch.split(index, BATCH)
            return torch.cat([self.net.embed(self._space.apply(self.data.raw(part))) for part in parts])

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"network": self.net.state_dict(), "forgetting": self.forgetting.state_dict()}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["network"])
        self.forgetting.load_state_dict(state["forgetting"])


def _trained(rule: Rule, context: Context, settings: SelectionSettings) -> FeatureNetwork:
    data = context.data
    schedule = settings.schedule(len(data))
    epoch = math.ceil(len(data) / settings.batch)
    if rule == "forgetting" and schedule.steps < 2 * epoch:
        raise FormatError(
            f"forgetting needs every image at least twice: {plural(schedule.steps, 'step')} of "
            f"{plural(settings.batch, 'image')}, at least {2 * epoch} expected for {plural(len(data), 'image')}"
        )
    work = FeatureNetwork(settings, data, context.space, context.seed)
    optimise(work, schedule, seed=derive(context.seed, PHASE), run=context.run(PHASE))
    return work


def _picker(rule: Rule, work: FeatureNetwork) -> Callable[[Tensor, int], Tensor]:
    """A function from the indices of a class's images (int64) and a count to places among these images."""
    if rule == "forgetting":
        counts = work.forgetting.counts()
        return lambda members, count: most_forgotten(counts[members], count)
    by_features = herding if rule == "herding" else k_center
    return lambda members, count: by_features(work.features(members), count)


def _checked(features: Tensor, count: int) -> Tensor:
    """The features, in float64 if they are few enough."""
    if features.ndim != 2 or not features.is_floating_point() or not len(features):
        raise FormatError(f"features are {features.dtype} {list(features.shape)}; expected floats [N, F] with N >= 1")
    if not 1 <= count <= len(features):
        raise FormatError(f"{count} of {plural(len(features), 'image')} to be picked; expected 1 to {len(features)}")
    return features.double() if features.numel() <= WIDE else features


def _mean(features: Tensor) -> Tensor:
    return torch.stack([part.double().sum(0) for part in torch.split(features, ROWS)]).sum(0) / len(features)


def _squares(features: Tensor) -> Tensor:
    return torch.cat([part.double().square().sum(1) for part in torch.split(features, ROWS)])


def _products(features: Tensor, vector: Tensor) -> Tensor:
    """Features [N, F] times a float64 vector [F], in float64, without a widened copy of all of them."""
    return torch.cat([part.double() @ vector for part in torch.split(features, ROWS)])
