"""The steps of DiM as one would write them from the paper; see ``peer.py``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from benchmarks.cases.plain.peer import Build, Peer, Real, flat_gradient
from dsetpack.training.augment import Dsa


class Gan(Peer):
    """A step of the critic, then one of the generator.

    Real, generated and mixed images pass through the critic separately. The generator's ``backward`` also reaches the
    weights of the critic, as in usual code.

    Args:
        draw: the generator; maps noise [B, z] to images in [0, 1].
        critic: maps images in [-1, 1] to scores [B] and logits [B, classes].
        real: the real images, in [0, 1].
        noise: z.
        batch: images per side.
        lr, lr_critic: learning rates of the two Adams.
    """

    def __init__(
        self, draw: nn.Module, critic: nn.Module, real: Real, noise: int, batch: int, lr: float, lr_critic: float
    ) -> None:
        self.draw, self.critic, self.real, self.noise, self.batch = draw, critic, real, noise, batch
        self.optimizer = torch.optim.Adam(draw.parameters(), lr, betas=(0.0, 0.9))
        self.opponent = torch.optim.Adam(critic.parameters(), lr_critic, betas=(0.0, 0.9))

    @override
    def backward(self, number: int, drawn: torch.Generator) -> None:
        x, y = self.real_batch(self.batch, drawn)
        self.criticise(x, y, drawn)
        self.deceive(self.fake(y, drawn), y).backward()

    def real_batch(self, size: int, drawn: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw real images with replacement."""
        chosen = torch.randint(len(self.real.labels), (size,), generator=drawn).to(self.real.images.device)
        return self.real.images[chosen], self.real.labels[chosen]

    def fake(self, labels: Tensor, drawn: torch.Generator) -> Tensor:
        """Generate one image per label."""
        classes = len(self.real.of_class)
        noise = torch.randn(len(labels), self.noise, generator=drawn).to(self.real.images)
        noise[:, :classes] = F.one_hot(labels, classes).to(noise)
        images: Tensor = self.draw(noise)
        return images

    def criticise(self, x: Tensor, y: Tensor, drawn: torch.Generator) -> None:
        """Take a step of the critic: WGAN-GP with auxiliary classes."""
        others = torch.randint(len(self.real.of_class), y.shape, generator=drawn).to(y.device)
        with torch.no_grad():
            fake = self.fake(others, drawn)
        x, fake = x * 2 - 1, fake * 2 - 1
        on_real, real_logits = self.critic(x)
        on_fake, fake_logits = self.critic(fake)
        mix = torch.rand(len(x), 1, 1, 1, generator=drawn).to(x)
        points = (mix * x + (1 - mix) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(points)[0].sum(), points, create_graph=True)
        penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        classes = F.cross_entropy(real_logits, y) + F.cross_entropy(fake_logits, others)
        self.opponent.zero_grad()
        (on_fake.mean() - on_real.mean() + 10 * penalty + classes).backward()
        self.opponent.step()

    def deceive(self, fake: Tensor, labels: Tensor) -> Tensor:
        """The loss of the generator."""
        score, logits = self.critic(fake * 2 - 1)
        return F.cross_entropy(logits, labels) - score.mean()

    @override
    def gradients(self) -> dict[str, Tensor]:
        return {"generator": flat_gradient(list(self.draw.parameters()))}


class LogitMatching(Gan):
    """The same, and a network must see generated images like real ones (Eq. 5); it learns the real ones first."""

    def teach(
        self, build: Build, space: Callable[[Tensor], Tensor], augment: Dsa, batches: int, size: int, weight: float
    ) -> LogitMatching:
        """Set the networks; each stays for as many steps as one pass over the real images takes."""
        self.build, self.space, self.augment = build, space, augment
        self.batches, self.size, self.weight = batches, size, weight
        self.stay = max(1, len(self.real.labels) // self.batch)
        return self

    @override
    def backward(self, number: int, drawn: torch.Generator) -> None:
        if number % self.stay == 0:
            self.net = self.build(number // self.stay)
            self.trainer = torch.optim.SGD(self.net.parameters(), 0.01, 0.9, weight_decay=5e-4)
        for _ in range(self.batches):
            x, y = self.real_batch(self.size, drawn)
            loss = F.cross_entropy(self.net(self.augment(self.space(x), drawn)), y)
            self.trainer.zero_grad()
            loss.backward()
            self.trainer.step()
        x, y = self.real_batch(self.batch, drawn)
        self.criticise(x, y, drawn)
        fake = self.fake(y, drawn)
        with torch.no_grad():
            goal = self.net(self.space(x))
        matched = self.weight * F.mse_loss(self.net(self.space(fake)), goal)
        (matched + self.deceive(fake, y)).backward()
