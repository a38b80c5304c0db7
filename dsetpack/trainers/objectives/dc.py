"""Gradient matching: DC (Zhao, Mopuri & Bilen 2021); with augmentation, DSA (Zhao & Bilen 2021); IDC by options.

A network trained on the synthetic set should take the steps that it would take on real images. So the loss is

    L = Σ_c Σ_l d(∇_l CE(synthetic images of c), ∇_l CE(real images of c))                          (Eq. 9 of DC)
    d(A, B) = Σ_i 1 - A_i · B_i / (‖A_i‖ ‖B_i‖)                                                     (Eq. 10)

over classes c and the weights of each layer l; row i holds all weights of output i ([out, in·h·w] of a convolution). A
network is drawn. ``outer`` times, the set takes one step down L, and then the network trains on the set as it now is.
Then a new network is drawn. One step of the loop is one step of the set: networks × outer steps in all, with 1000
networks in DC.

Where release and paper differ, or the paper leaves something open, this code follows the release:

- Parameters of one dimension (biases, scales and shifts of norms) are left out of the distance. As one row each they
  would count as much as a whole output; as rows of one number each, only their sign would enter the cosine.
- 1e-6 is added to Eq. 10's denominator: an output that is dead on one side costs 1.
- After the last of the ``outer`` steps the network does not train, because it is not used again.
- With augmentation, the network trains on augmented images, each with its own draw. Matching draws once for each class
  and step, and real and synthetic images share that draw.
- While gradients are matched, batch norm (if the network has it) normalises by statistics of real images, 16 of each
  class: statistics of a few synthetic images would be useless. The release moves its running statistics a tenth of the
  way towards those of the real images; here they are those of the real images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, JsonValue
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override

from dsetpack.trainers import parallel
from dsetpack.trainers.context import Context
from dsetpack.trainers.loop import Terms
from dsetpack.trainers.networks import network
from dsetpack.trainers.objectives import base
from dsetpack.trainers.objectives.base import Objective
from dsetpack.trainers.parameterizations.base import Parameterization, Positive
from dsetpack.trainers.seeds import derive

LOOPS: dict[int, tuple[int, int]] = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""Outer and inner loops by images per class, from DC's release."""
REAL_LOOPS = 100, 8
"""IDC's loops: 100 steps per network; 8 is the smallest number of batches of 64 that covers its 500 real images."""
NORM_IMAGES = 16
"""The number of real images of each class from which batch norm gets its statistics."""
EPSILON = 1e-6

IDC: dict[str, JsonValue] = {
    "distance": "mse",
    "linear": False,
    "real_batch": 64,
    "synthetic_batch": 128,
    "train_on": "real",
    "network_batch": 64,
    "network_momentum": 0.9,
    "network_decay": 5e-4,
}
"""Settings of IDC's release on SVHN. On CIFAR-10 ``inner`` is 32 (2000 images); on grey images ``distance`` is ``l1``.

Not covered: the release's networks train with CutMix and without cutout, and its set takes a step after each class,
not after all of them.
"""


class DcSettings(base.ObjectiveSettings):
    """Settings of gradient matching: DC by default, DSA if the context augments, IDC with the settings ``IDC``.

    The set's own rates come from the parameterization and the schedule: SGD at 0.1 with momentum 0.5 in DC and DSA,
    at 0.005 · ipc / 10 with momentum 0.5 in IDC (mse).

    Attributes:
        network, width: the networks to match, freshly initialised; width None for the papers' widths.
        distance: ``cosine`` is Eq. 10; ``mse`` and ``l1`` are sums of squared and of absolute differences over all
            weights (IDC).
        linear: whether to match the weights of linear layers, too. IDC's release does not.
        real_batch: real images of a class in each step; all of them if there are fewer.
        synthetic_batch: pairs of a class in each step; None for all. A random part of them biases the gradient; IDC
            takes at most 128.
        outer: steps of the set with each network; None for the release's number (``LOOPS``; for budgets in between,
            the next smaller one's: inferred), or for IDC's 100 if networks train on real images.
        inner: how long the network trains between those steps: epochs over the set, or batches of real images; None
            for the number that goes with the default of ``outer``.
        train_on: what the networks train on. IDC takes real images: from the set they would soon learn nothing more.
        network_batch, network_lr, network_momentum, network_decay: the networks' training by SGD.
    """

    refuses: ClassVar[Mapping[str, str]] = {
        "generator": "gradient matching compares each class's real images with a fixed set of synthetic ones and "
        "trains networks on that set, and a generator draws new images each time: match its logits instead"
    }

    name: Literal["dc"] = "dc"
    network: str = "convnet3"
    width: Positive | None = None
    distance: Literal["cosine", "mse", "l1"] = "cosine"
    linear: bool = True
    real_batch: Positive = 256
    synthetic_batch: Positive | None = None
    outer: Positive | None = None
    inner: Annotated[int, Field(ge=0)] | None = None
    train_on: Literal["synthetic", "real"] = "synthetic"
    network_batch: Positive = 256
    network_lr: Annotated[float, Field(gt=0)] = 0.01
    network_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    network_decay: Annotated[float, Field(ge=0)] = 0.0

    def loops(self, ipc: int) -> tuple[int, int]:
        """The numbers of outer and inner loops for a budget of ``ipc`` images per class."""
        outer, inner = REAL_LOOPS if self.train_on == "real" else LOOPS[max(n for n in LOOPS if n <= ipc)]
        return self.outer or outer, inner if self.inner is None else self.inner

    @override
    def build(self, context: Context, synthetic: Parameterization) -> GradientMatching:
        return GradientMatching(self, context, synthetic)


class GradientMatching(Objective):
    """Match gradients with one network after the other; several processes share out the classes.

    Args:
        settings: see ``DcSettings``.
        context: the real images, the augmentation and the seed of the networks.
        synthetic: the set; each class that it has pairs of is matched.

    Raises:
        FormatError: if such a class has no real image.
        FormatError: if the network does not exist.
    """

    sharded = True

    def __init__(self, settings: DcSettings, context: Context, synthetic: Parameterization) -> None:
        self.settings, self.context = settings, context
        self.outer, self.inner = settings.loops(context.ipc)
        self.labels = sorted(set(synthetic.labels.tolist()))
        for label in self.labels:
            context.data.of_class(label)
        self._draw(0)

    @override
    def backward(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> Terms:
        if step % self.outer == 0:
            self._draw(step // self.outer)
            self._settle(generator)
        # all draws of a class come from a seed of its own, so they do not depend on how processes share out the classes
        seeds = torch.randint(2**62, (len(self.labels),), generator=generator).tolist()
        loss = torch.zeros((), device=synthetic.device)
        for number in parallel.mine(len(self.labels)):
            loss = loss + self._match(synthetic, self.labels[number], torch.Generator().manual_seed(seeds[number]))
        return {"matching": loss}

    @override
    def after(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> None:
        if (step + 1) % self.outer == 0:
            return  # the next step draws another network
        self.net.train()
        if self.settings.train_on == "synthetic":
            self._train_on(synthetic, generator)
        else:
            for _ in range(self.inner):
                self._train(*self.context.real_batch(self.settings.network_batch, generator), generator)
        self._settle(generator)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"network": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._freeze()

    def _draw(self, number: int) -> None:
        """Draw network ``number``, and make the optimiser that trains it."""
        s, context = self.settings, self.context
        seed = derive(context.seed, "network", number)
        self.net = network(s.network, context.data.shape, context.classes, s.width, seed=seed).to(context.device)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), s.network_lr, s.network_momentum, weight_decay=s.network_decay
        )

    def _match(self, synthetic: Parameterization, label: int, drawn: torch.Generator) -> Tensor:
        """Add the gradient of one class's share of the loss to the set's; return that share, detached."""
        augment = self._siamese(drawn)
        real, hard = self.context.real_batch(self.settings.real_batch, drawn, label)
        wanted = self._gradient(augment(real), hard)
        pair_ids = synthetic.batch(drawn, self.settings.synthetic_batch, label)
        images, soft = synthetic.images(pair_ids), synthetic.targets(pair_ids)
        found = self._gradient(augment(images), synthetic.labels[pair_ids] if soft is None else soft, graph=True)
        loss = matching_loss(found, wanted, self.settings.distance)
        # in two stages: one backward pass down to the set's parameters would give the network's weights gradients, too
        learned = [x for x in (images, soft) if x is not None and x.requires_grad]
        torch.autograd.backward(learned, torch.autograd.grad(loss, learned))
        return loss.detach()

    def _siamese(self, drawn: torch.Generator) -> Callable[[Tensor], Tensor]:
        """Draw one augmentation for both sides."""
        augment = self.context.augment
        if augment is None:
            return lambda x: x
        seed = int(torch.randint(2**62, (1,), generator=drawn))
        return lambda x: augment(x, seed, siamese=True)

    def _gradient(self, x: Tensor, target: Tensor, graph: bool = False) -> tuple[Tensor, ...]:
        """Cross-entropy's gradient with respect to the weights that are matched, differentiable with ``graph``."""
        least = 2 if self.settings.linear else 3
        weights = [p for p in self.net.parameters() if p.ndim >= least]
        return torch.autograd.grad(F.cross_entropy(self.net(x), target), weights, create_graph=graph)

    def _train_on(self, synthetic: Parameterization, generator: torch.Generator) -> None:
        """Train for ``inner`` epochs on the set as it now is, each in a new order."""
        with torch.no_grad():
            images, soft = synthetic.images(), synthetic.targets()
        targets = synthetic.labels if soft is None else soft
        for _ in range(self.inner):
            pair_ids = synthetic.batch(generator)
            order = torch.randperm(len(pair_ids), generator=generator).to(pair_ids.device)
            for part in torch.split(pair_ids[order], self.settings.network_batch):
                self._train(images[part], targets[part], generator)

    def _train(self, x: Tensor, target: Tensor, generator: torch.Generator) -> None:
        if self.context.augment is not None:
            x = self.context.augment(x, generator)
        self.optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(self.net(x), target))
        self.optimizer.step()

    def _settle(self, generator: torch.Generator) -> None:
        """Make the network ready for matching: set its batch norms to the statistics of some real images."""
        if norms := self._freeze():
            for norm in norms:
                norm.train()
                norm.reset_running_stats()
                norm.momentum = None  # running statistics are the mean over the batches seen: just one
            batches = [self.context.real_batch(NORM_IMAGES, generator, label)[0] for label in self.labels]
            with torch.no_grad():
                self.net(torch.cat(batches))
            self._freeze()

    def _freeze(self) -> list[_BatchNorm]:
        """Put the network in training mode, except for its batch norms, and return those."""
        self.net.train()
        return [m.eval() for m in self.net.modules() if isinstance(m, _BatchNorm)]


def matching_loss(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...], distance: str) -> Tensor:
    """The sum over layers of the distance between two gradients of the same weights, a scalar.

    Args:
        found, wanted: a gradient for each layer, of two dimensions or more.
        distance: ``cosine``, ``mse`` or ``l1``.
    """
    layers = [DISTANCES[distance](a, b) for a, b in zip(found, wanted, strict=True)]
    return torch.stack(layers).sum()


def row_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Eq. 10 of DC: the sum over rows (the first dimension) of 1 - the cosine of the two rows."""
    a, b = a.flatten(1), b.flatten(1)
    norms = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    distances: Tensor = 1 - (a * b).sum(1) / (norms + EPSILON)
    return distances.sum()


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": row_cosine,
    "mse": lambda a, b: (a - b).square().sum(),
    "l1": lambda a, b: (a - b).abs().sum(),
}


SETTINGS = DcSettings
