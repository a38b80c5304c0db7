"""Steps of distillation as one would write them from the papers' pseudo-code: the peers of ``objectives.py``.

Everything is spelled out: one module for each decoder and a loop over them, a loop over classes, the gradient of one
loss that has been added up, the whole unrolled graph of a student, a pass of its own for each side and each player.
Nothing is computed before, kept, fused or computed again.

Shared with dsetpack: networks (and DiM's generator and critic), DSA, seeds, and the order of random draws: both see the
same networks, images and augmentations, so that their gradients can be compared. Decoders are those of ``_plain.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.trainers.networks import Network
from dsetpack.trainers.seeds import derive, generator
from dsetpack.training.augment import Dsa

SEEDS = 2**62
BATCH = 1000
"""Real images that go through a network at a time where all of them do."""
Build = Callable[[int], Network]
"""From the number of a network to a freshly initialised one."""


def number_below(count: int, drawn: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=drawn))


class Real:
    """All real images as floats on the device, as the released codes keep them.

    Args:
        images: float [N, C, H, W], in the pixel space.
        labels: int64 [N].
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        self.of_class = [torch.nonzero(labels.cpu() == c)[:, 0] for c in range(int(labels.max()) + 1)]

    def batch(self, size: int, drawn: torch.Generator, label: int | None = None) -> tuple[Tensor, Tensor]:
        index = torch.arange(len(self.labels)) if label is None else self.of_class[label]
        chosen = index[torch.randperm(len(index), generator=drawn)[:size]].to(self.images.device)
        return self.images[chosen], self.labels[chosen]


class Synthetic:
    """Sources of known classes, and one module for each decoder.

    Args:
        sources: float [N, ...]; copied.
        labels: int64 [N].
        decoders: each from sources to images; the identity for plain images.
        finish: from what decoders yield to the pixel space.
    """

    def __init__(
        self,
        sources: Tensor,
        labels: Tensor,
        decoders: Sequence[nn.Module],
        finish: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        self.sources = nn.Parameter(sources.detach().clone())
        self.labels, self.decoders, self.finish = labels, decoders, finish

    def of_class(self, label: int) -> Tensor:
        sources = self.sources[self.labels == label]
        return torch.cat([self.finish(decoder(sources)) for decoder in self.decoders])

    def bank(self) -> list[nn.Parameter]:
        return [p for decoder in self.decoders for p in decoder.parameters()]

    def bank_gradient(self) -> Tensor:
        """In the order of a stacked bank: tensor by tensor, decoder by decoder."""
        each = zip(*(decoder.parameters() for decoder in self.decoders), strict=True)
        return torch.cat([flat_gradient(same) for same in each])


def flat_gradient(parameters: Sequence[Tensor]) -> Tensor:
    """One vector; zeros for what a step did not use."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])


class Peer(ABC):
    """One method on one set.

    Attributes:
        optimizer: of the set, and of what is learned along by the same loss.
    """

    optimizer: torch.optim.Optimizer

    def step(self, number: int, drawn: torch.Generator) -> None:
        """Step ``number`` with all draws from ``drawn``, a generator on the CPU."""
        # zeros, as torch had it when HaBa was released: momentum also moves hallucinators that a step does not use
        self.optimizer.zero_grad(set_to_none=False)
        self.backward(number, drawn)
        self.optimizer.step()
        self.after(drawn)

    @abstractmethod
    def backward(self, number: int, drawn: torch.Generator) -> None:
        """The gradients of a step."""

    def after(self, drawn: torch.Generator) -> None:  # noqa: ARG002
        """What follows the step of the set."""
        return

    @abstractmethod
    def gradients(self) -> dict[str, Tensor]:
        """The last gradients as one vector for each of dsetpack's groups of parameters."""


class Matching(Peer):
    """What distribution and gradient matching have in common: a set, its gradients, and the real images.

    Args:
        synthetic: the set.
        optimizer: of its sources and decoders.
        names: of dsetpack's groups: sources, and decoders where they are learned.
        real: real images.
        build: network 0, 1, ...
        augment: the same draw for both sides; or None.
    """

    def __init__(
        self,
        synthetic: Synthetic,
        optimizer: torch.optim.Optimizer,
        names: Sequence[str],
        real: Real,
        build: Build,
        augment: Dsa | None,
    ) -> None:
        self.synthetic, self.optimizer, self.names = synthetic, optimizer, names
        self.real, self.build, self.augment = real, build, augment

    def siamese(self, x: Tensor, seed: int) -> Tensor:
        return x if self.augment is None else self.augment(x, seed, siamese=True)

    @override
    def gradients(self) -> dict[str, Tensor]:
        found = [flat_gradient([self.synthetic.sources])]
        if self.synthetic.bank():
            found.append(self.synthetic.bank_gradient())
        return dict(zip(self.names, found, strict=True))


class DistributionMatching(Matching):
    """Eq. 1 of KFS: class by class, decoder by decoder; the sum over classes goes backward once."""

    def using(self, batch: int | None, seed: int, networks: int) -> DistributionMatching:
        """With so many real images of each class a step, or with None all of them, embedded anew each step.

        ``seed`` is that of the draws of real images and augmentations, ``networks`` how many different ones there are.
        """
        self.batch, self.seed, self.networks = batch, seed, networks
        return self

    @override
    def backward(self, number: int, drawn: torch.Generator) -> None:
        net = self.build(number % self.networks).requires_grad_(False)
        draw_real, same = generator(self.seed, "real", number), derive(self.seed, "siamese", number % self.networks)
        classes = len(self.real.of_class)
        loss = torch.zeros((), device=self.synthetic.sources.device)
        for label in range(classes):
            with torch.no_grad():
                real = self._real(net, label, draw_real, same)
            synthetic = net.embed(self.siamese(self.synthetic.of_class(label), same)).mean(0)
            loss = loss + 0.5 * ((real - synthetic) ** 2).sum() / classes
        loss.backward()

    def _real(self, net: Network, label: int, drawn: torch.Generator, same: int) -> Tensor:
        if self.batch is not None:
            return net.embed(self.siamese(self.real.batch(self.batch, drawn, label)[0], same)).mean(0)
        index = self.real.of_class[label].to(self.real.images.device)
        parts = (self.siamese(self.real.images[part], same) for part in index.split(BATCH))
        return torch.cat([net.embed(x) for x in parts]).mean(0)


@dataclass(frozen=True)
class DcOptions:
    """What DC and IDC differ in.

    Attributes:
        real_batch: of each class.
        outer, inner: steps with a network, and its training between them: epochs over the set, or real batches.
        idc: squared distance over convolutions alone, networks learn real images, and each class goes backward by
            itself, as in IDC's release; otherwise rows' cosines, networks learn the set, one backward of the sum.
        batch, lr, momentum, decay: of the network's training.
    """

    real_batch: int
    outer: int
    inner: int
    idc: bool = False
    batch: int = 256
    lr: float = 0.01
    momentum: float = 0.0
    decay: float = 0.0


class GradientMatching(Matching):
    """DC (its Algorithm 1) and IDC. As in their releases, ``backward`` reaches the networks' weights, too."""

    def using(self, options: DcOptions) -> GradientMatching:
        self.options = options
        return self

    @override
    def backward(self, number: int, drawn: torch.Generator) -> None:
        o = self.options
        self.last = (number + 1) % o.outer == 0
        if number % o.outer == 0:
            self.net = self.build(number // o.outer)
            self.trainer = torch.optim.SGD(self.net.parameters(), o.lr, o.momentum, weight_decay=o.decay)
        seeds = torch.randint(SEEDS, (len(self.real.of_class),), generator=drawn).tolist()
        loss = torch.zeros((), device=self.synthetic.sources.device)
        for label, seed in enumerate(seeds):
            own = self._class_loss(label, torch.Generator().manual_seed(seed))
            if o.idc:
                own.backward()
            else:
                loss = loss + own
        if not o.idc:
            loss.backward()

    def _class_loss(self, label: int, drawn: torch.Generator) -> Tensor:
        seed = 0 if self.augment is None else number_below(SEEDS, drawn)
        real, labels = self.real.batch(self.options.real_batch, drawn, label)
        wanted = [g.detach() for g in self._gradient(self.siamese(real, seed), labels, False)]
        images = self.synthetic.of_class(label)
        targets = torch.full((len(images),), label, device=images.device)
        found = self._gradient(self.siamese(images, seed), targets, True)
        loss = torch.zeros((), device=images.device)
        for a, b in zip(found, wanted, strict=True):
            if self.options.idc and a.ndim == 4:
                loss = loss + ((a - b) ** 2).sum()
            elif not self.options.idc and a.ndim > 1:
                a, b = a.flatten(1), b.flatten(1)
                loss = loss + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
        return loss

    def _gradient(self, x: Tensor, labels: Tensor, graph: bool) -> tuple[Tensor, ...]:
        loss = F.cross_entropy(self.net(x), labels)
        return torch.autograd.grad(loss, list(self.net.parameters()), create_graph=graph)

    @override
    def after(self, drawn: torch.Generator) -> None:
        if self.last:
            return
        o = self.options
        if o.idc:
            for _ in range(o.inner):
                self._train(*self.real.batch(o.batch, drawn), drawn)
            return
        with torch.no_grad():
            images = torch.cat([self.synthetic.of_class(c) for c in range(len(self.real.of_class))])
        labels = self.synthetic.labels.sort().values.repeat_interleave(len(self.synthetic.decoders))
        for _ in range(o.inner):
            order = torch.randperm(len(images), generator=drawn).to(images.device)
            for part in order.split(o.batch):
                self._train(images[part], labels[part], drawn)

    def _train(self, x: Tensor, labels: Tensor, drawn: torch.Generator) -> None:
        x = x if self.augment is None else self.augment(x, drawn)
        loss = F.cross_entropy(self.net(x), labels)
        self.trainer.zero_grad()
        loss.backward()
        self.trainer.step()


class TrajectoryMatching(Peer):
    """MTT's Algorithm 1: all steps of the student in one graph, which keeps all of it.

    Args:
        student: the network; its own parameters are not used.
        trajectories: for each expert its parameters [P] after 0, 1, ... epochs, in memory.
        steps, ahead, starts: the student's steps, the target's distance in epochs, the number of starts.
        augment: of the student's inputs.
        alpha: the student's learning rate at the start.
        synthetic: the images, or bases and hallucinators, of which each step takes two at random.
        optimizer: from the groups [sources, decoders, alpha] that are there to the optimiser.
    """

    def __init__(
        self,
        student: Network,
        trajectories: Sequence[Sequence[Tensor]],
        steps: int,
        ahead: int,
        starts: int,
        augment: Dsa,
        alpha: float,
        synthetic: Synthetic,
        optimizer: Callable[[list[list[nn.Parameter]]], torch.optim.Optimizer],
    ) -> None:
        self.student, self.trajectories, self.steps = student, trajectories, steps
        self.ahead, self.starts, self.augment, self.synthetic = ahead, starts, augment, synthetic
        self.alpha = nn.Parameter(torch.tensor(alpha, device=synthetic.sources.device))
        groups = [[synthetic.sources], synthetic.bank(), [self.alpha]]
        self.optimizer = optimizer([group for group in groups if group])
        self.shapes = {name: p.shape for name, p in student.named_parameters()}

    @override
    def backward(self, number: int, drawn: torch.Generator) -> None:
        self.loss(drawn).backward()

    def loss(self, drawn: torch.Generator) -> Tensor:
        expert = self.trajectories[number_below(len(self.trajectories), drawn)]
        epoch = number_below(self.starts, drawn)
        start, target = expert[epoch], expert[epoch + self.ahead]
        theta = start.clone().requires_grad_()
        for _ in range(self.steps):
            x, labels = self._batch(drawn)
            x = self.augment(x, number_below(SEEDS, drawn))
            parts = theta.split([shape.numel() for shape in self.shapes.values()])
            weights = {name: p.view(shape) for (name, shape), p in zip(self.shapes.items(), parts, strict=True)}
            own = F.cross_entropy(functional_call(self.student, weights, (x,)), labels)
            (gradient,) = torch.autograd.grad(own, theta, create_graph=True)
            theta = theta - self.alpha * gradient
        return ((theta - target) ** 2).sum() / ((start - target) ** 2).sum()

    def _batch(self, drawn: torch.Generator) -> tuple[Tensor, Tensor]:
        s = self.synthetic
        if len(s.decoders) == 1:
            return s.decoders[0](s.sources), s.labels
        chosen = torch.randperm(len(s.decoders), generator=drawn)[:2].tolist()
        images = torch.stack([s.decoders[k](s.sources) for k in chosen], 1)
        return images.flatten(0, 1), s.labels.repeat_interleave(2)

    @override
    def after(self, drawn: torch.Generator) -> None:
        with torch.no_grad():
            self.alpha.clamp_(min=0.001)

    @override
    def gradients(self) -> dict[str, Tensor]:
        s, alpha = self.synthetic, flat_gradient([self.alpha])
        if len(s.decoders) == 1:
            return {"images": flat_gradient([s.sources]), "alpha": alpha}
        return {"bases": flat_gradient([s.sources]), "hallucinators": s.bank_gradient(), "alpha": alpha}


class HabaGame(TrajectoryMatching):
    """HaBa's Algorithm 1 on MTT: the cosine term joins the set's loss; the adversary has a pass of its own."""

    def play(self, adversary: Network, lr: float, momentum: float) -> HabaGame:
        """With this adversary."""
        self.adversary = adversary
        self.rival = torch.optim.SGD(adversary.parameters(), lr, momentum)
        return self

    @override
    def backward(self, number: int, drawn: torch.Generator) -> None:
        s, loss = self.synthetic, self.loss(drawn)
        chosen = torch.randperm(len(s.decoders), generator=drawn)[:2].tolist()
        views = [s.decoders[k](s.sources) for k in chosen]
        features = [self.adversary.embed(x) for x in views]
        cosines = [F.cosine_similarity(a, b).mean() for a, b in permutations(features, 2)]
        (loss + 0.1 * torch.stack(cosines).sum() / len(views) ** 2).backward()

        self.rival.zero_grad()
        self._adversary_loss([x.detach() for x in views], s.labels).backward()

    @override
    def after(self, drawn: torch.Generator) -> None:
        super().after(drawn)
        self.rival.step()

    def _adversary_loss(self, views: list[Tensor], labels: Tensor) -> Tensor:
        """Eq. 4: the classes of all hallucinations, and Eq. 3 with the positives of a class."""
        features = [self.adversary.embed(x) for x in views]
        loss = torch.stack([F.cross_entropy(self.adversary.head(f), labels) for f in features]).mean()
        unit = [F.normalize(f) for f in features]
        same = (labels[:, None] == labels).float()
        contrast = torch.zeros((), device=labels.device)
        for a, b in permutations(unit, 2):
            among = (a @ b.T / 0.07).log_softmax(1)
            contrast = contrast - ((among * same).sum(1) / same.sum(1)).mean()
        return loss + 0.1 * contrast / len(views) ** 2

    @override
    def gradients(self) -> dict[str, Tensor]:
        return super().gradients() | {"adversary": flat_gradient(list(self.adversary.parameters()))}
