"""The steps of FRePo and ISA as one would write them from the papers; see ``peer.py``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from benchmarks.cases.plain.peer import SEEDS, Build, Peer, Real, flat_gradient, number_below


class FeatureRegression(Peer):
    """FRePo's algorithm, with both kernels in full and ``linalg.solve`` in double precision.

    Args:
        images: the images of the set before the first step, float [N, C, H, W].
        targets: their learned labels, [N, classes].
        real: the real images.
        build: makes a network from its seed.
        seeds: the seeds of the first networks of the pool.
        updates: the paper's K.
        batch: real images per step.
        online_batch: synthetic images per training step of a network.
        flip: whether mirror images are added to the synthetic ones.
        lr: learning rate of the set's Adam.
        drop: ISA's p, with interpolation up to 1 and ISA's ridge, which is relative to the trace; None for FRePo.
    """

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        real: Real,
        build: Build,
        seeds: list[int],
        updates: int,
        batch: int,
        online_batch: int,
        flip: bool,
        lr: float,
        drop: float | None = None,
    ) -> None:
        self.images, self.targets = (nn.Parameter(x.detach().clone()) for x in (images, targets))
        self.real, self.build, self.updates, self.drop = real, build, updates, drop
        self.batch, self.online_batch, self.flip = batch, online_batch, flip
        self.optimizer = torch.optim.Adam([self.images, self.targets], lr)
        self.pool = [self._member(seed, n * (updates // len(seeds))) for n, seed in enumerate(seeds)]

    def _member(self, seed: int, taken: int) -> list:
        net = self.build(seed).eval()
        return [net, torch.optim.Adam(net.parameters(), 3e-4), taken]

    @override
    def backward(self, number: int, drawn: torch.Generator) -> None:
        self.drawn = number_below(len(self.pool), drawn)
        net = self.pool[self.drawn][0]
        x, y = self.real.batch(self.batch, drawn)
        classes = self.targets.shape[1]
        wanted = F.one_hot(y, classes).double() - 1 / classes
        with torch.no_grad():
            real = net.embed(x).double()
        images, targets = self.images, self.targets
        if self.flip:
            images, targets = torch.cat([images, images.flip(3)]), torch.cat([targets, targets])
        features = net.embed(images).double()
        kernel = features @ features.T
        amount = 1e-6 * kernel.trace() / (len(kernel) if self.drop is None else 1)
        ridge = amount * torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
        weights = torch.linalg.solve(kernel + ridge, targets.double())
        errors = real @ features.T @ weights - wanted
        if self.drop is None:
            loss = 0.5 * (errors**2).sum(1).mean()
        else:
            loss = self._isa(self.drop, errors, real, features, weights, wanted)
        first, second = self.targets.double().topk(2, dim=1).values.unbind(1)
        loss = loss - (first - second).clamp(max=1 / classes).mean()
        loss.backward(inputs=[self.images, self.targets])

    def _isa(
        self, drop: float, errors: Tensor, real: Tensor, features: Tensor, weights: Tensor, wanted: Tensor
    ) -> Tensor:
        """Eq. 7 for all but the easiest samples; the partner of each is the next one."""
        easy = int(drop * len(errors))
        kept = (errors.detach() ** 2).sum(1).argsort(stable=True)[easy:].sort().values
        z, y, a = real[kept], wanted[kept], errors[kept]
        b = (z.roll(-1, 0) - z) @ features.T @ weights - (y.roll(-1, 0) - y)
        return 0.5 * ((a**2).sum(1) + (a * b).sum(1) + (b**2).sum(1) / 3).mean()

    @override
    def after(self, drawn: torch.Generator) -> None:
        net, adam, taken = self.pool[self.drawn]
        if taken > self.updates:
            self.pool[self.drawn] = self._member(number_below(SEEDS, drawn), 0)
            return
        x, y = self.images.detach(), self.targets.detach()
        if self.online_batch < len(x):
            chosen = torch.randperm(len(x), generator=drawn)[: self.online_batch].to(x.device)
            x, y = x[chosen], y[chosen]
        net.train()
        adam.zero_grad()
        (0.5 * ((net(x) - y) ** 2).sum(1).mean()).backward()
        adam.step()
        net.eval()
        self.pool[self.drawn][2] += 1

    @override
    def gradients(self) -> dict[str, Tensor]:
        return {"images": flat_gradient([self.images]), "labels": flat_gradient([self.targets])}
