"""MTT's steps, alone and in HaBa's game, as one would write them from the papers; see ``peer.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from typing_extensions import override

from benchmarks.cases.plain.peer import SEEDS, Peer, Synthetic, flat_gradient, number_below
from dsetpack.trainers.networks import Network
from dsetpack.training.augment import Dsa


class TrajectoryMatching(Peer):
    """MTT's Algorithm 1: all steps of the student are one graph, which is kept whole.

    Args:
        student: the network; its own parameters are not used.
        trajectories: for each expert, its parameters [P] after 0, 1, ... epochs, in memory.
        steps: the number of the student's steps.
        ahead: how many epochs the target lies after the start.
        starts: the start is drawn from this many epochs, beginning with 0.
        augment: augments the student's inputs.
        alpha: the student's learning rate before the first step.
        synthetic: the images, or bases and hallucinators; each step of the student takes two hallucinators at random.
        optimizer: makes the optimiser from the groups sources, decoders (if there are any) and alpha.
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
        """The distance between student and target, relative to the distance between start and target."""
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
    """HaBa's Algorithm 1 on MTT: the cosine term joins the loss of the set, and the adversary has a separate pass."""

    def play(self, adversary: Network, lr: float, momentum: float) -> HabaGame:
        """Set the adversary and its optimiser."""
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
        """Eq. 4: the classes of all hallucinations, plus Eq. 3, in which images of the same class are the positives."""
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
