"""Distribution matching and gradient matching as one would write them from the papers; see ``peer.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from benchmarks.cases.plain.peer import SEEDS, Build, Peer, Real, Synthetic, flat_gradient, number_below
from dsetpack.trainers.networks import Network
from dsetpack.trainers.seeds import derive, generator
from dsetpack.training.augment import Dsa

BATCH = 1000
"""If all real images are embedded, this many go through the network at a time."""


class Matching(Peer):
    """What distribution matching and gradient matching share: a set, its gradients, and the real images.

    Args:
        synthetic: the set.
        optimizer: updates the sources and decoders of the set.
        names: the names of dsetpack's parameter groups: sources, and decoders if they are learned.
        real: the real images.
        build: makes network 0, 1, ...
        augment: augments real and synthetic images by the same draw; None for no augmentation.
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
        """Augment all images alike."""
        return x if self.augment is None else self.augment(x, seed, siamese=True)

    @override
    def gradients(self) -> dict[str, Tensor]:
        found = [flat_gradient([self.synthetic.sources])]
        if self.synthetic.bank():
            found.append(self.synthetic.bank_gradient())
        return dict(zip(self.names, found, strict=True))


class DistributionMatching(Matching):
    """Eq. 1 of KFS: loops over classes and decoders, and one backward pass of the sum over classes."""

    def using(self, batch: int | None, seed: int, networks: int) -> DistributionMatching:
        """Set the options.

        Args:
            batch: real images per class in a step; None for all, which are then embedded again in each step.
            seed: for the draws of real images and augmentations.
            networks: the number of different networks.
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
    """Options of gradient matching, in which DC and IDC differ.

    Attributes:
        real_batch: real images per class in a step.
        outer: steps that use the same network.
        inner: how long the network is trained between two steps: in epochs over the set (DC) or in real batches (IDC).
        idc: if true, as in IDC's release, the distance is squared and covers convolutions only, networks learn real
            images, and each class has its own backward pass. Otherwise the distance is that of cosines of rows,
            networks learn the set, and there is one backward pass of the sum.
        batch, lr, momentum, decay: settings of the network's training.
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
    """DC (its Algorithm 1) and IDC. As in their releases, ``backward`` also reaches the weights of the networks."""

    def using(self, options: DcOptions) -> GradientMatching:
        """Set the options."""
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
