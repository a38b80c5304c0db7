"""What all plain steps of distillation share: the real images, the synthetic set, and the interface of a step.

Steps are written as in the papers' pseudo-code, with everything spelled out: one module per decoder and a loop over
them, a loop over classes, the gradient of one loss that sums everything up, the whole unrolled graph of a student, and
a separate pass for each side and each player. Nothing is computed in advance, kept, fused or recomputed.

Plain steps share with dsetpack the networks (and DiM's generator and critic), DSA, the seeds, and the order of random
draws. Both sides thus see the same networks, images and augmentations, so their gradients can be compared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dsetpack.trainers.networks import Network

SEEDS = 2**62
"""Seeds of augmentations and networks are drawn below this."""
Build = Callable[[int], Network]
"""Makes a freshly initialised network from its number."""


def number_below(count: int, drawn: torch.Generator) -> int:
    """Draw an integer from 0 to ``count - 1``."""
    return int(torch.randint(count, (1,), generator=drawn))


class Real:
    """All real images as floats on the device, as the released code of the papers keeps them.

    Args:
        images: float [N, C, H, W], in the pixel space.
        labels: int64 [N].
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        self.of_class = [torch.nonzero(labels.cpu() == c)[:, 0] for c in range(int(labels.max()) + 1)]

    def batch(self, size: int, drawn: torch.Generator, label: int | None = None) -> tuple[Tensor, Tensor]:
        """Draw images without replacement, from one class or from all."""
        index = torch.arange(len(self.labels)) if label is None else self.of_class[label]
        chosen = index[torch.randperm(len(index), generator=drawn)[:size]].to(self.images.device)
        return self.images[chosen], self.labels[chosen]


class Synthetic:
    """Sources with labels, and one module per decoder.

    Args:
        sources: float [N, ...]; copied.
        labels: int64 [N].
        decoders: modules that turn sources into images; for plain images, one identity.
        finish: maps the output of decoders into the pixel space.
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
        """Decode the sources of one class by every decoder."""
        sources = self.sources[self.labels == label]
        return torch.cat([self.finish(decoder(sources)) for decoder in self.decoders])

    def bank(self) -> list[nn.Parameter]:
        """The parameters of all decoders."""
        return [p for decoder in self.decoders for p in decoder.parameters()]

    def bank_gradient(self) -> Tensor:
        """The gradient of all decoders in the order of a stacked bank: by tensor first, then by decoder."""
        each = zip(*(decoder.parameters() for decoder in self.decoders), strict=True)
        return torch.cat([flat_gradient(same) for same in each])


def flat_gradient(parameters: Sequence[Tensor]) -> Tensor:
    """All gradients as one vector, with zeros for parameters that the step did not use."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])


class Peer(ABC):
    """One method on one synthetic set: the peer that dsetpack is compared with.

    Attributes:
        optimizer: updates the set, and what is learned with it by the same loss.
    """

    optimizer: torch.optim.Optimizer

    def step(self, number: int, drawn: torch.Generator) -> None:
        """Take step ``number``; all random draws come from ``drawn``, a generator on the CPU."""
        # As in the torch of HaBa's release, gradients become zeros, not None: momentum then also moves hallucinators
        # that a step does not use.
        self.optimizer.zero_grad(set_to_none=False)
        self.backward(number, drawn)
        self.optimizer.step()
        self.after(drawn)

    @abstractmethod
    def backward(self, number: int, drawn: torch.Generator) -> None:
        """Compute the gradients of a step."""

    def after(self, drawn: torch.Generator) -> None:  # noqa: ARG002
        """Do what follows the update of the set."""
        return

    @abstractmethod
    def gradients(self) -> dict[str, Tensor]:
        """The last gradients: one vector per parameter group of dsetpack."""
