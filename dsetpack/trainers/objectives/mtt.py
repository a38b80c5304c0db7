"""Trajectory matching (MTT, Cazenavette et al. 2022): training on the synthetic set should end where experts went.

An expert is a network trained on the real data. A student starts from its parameters θ_t, takes N steps of gradient
descent on synthetic images with a learned rate α, and is compared with the expert M epochs later (Eq. 2):

    L = ‖θ̂_{t+N} - θ_{t+M}‖² / ‖θ_t - θ_{t+M}‖²

The gradient of L with respect to pixels and α goes through all N steps and is of second order. It is computed by
reverse accumulation over the steps. With θ̂_{i+1} = θ̂_i - α·s(θ̂_i, x_i), where s is the gradient of the student's
loss, and g_{i+1} = dL/dθ̂_{i+1},

    dL/dα += -⟨g_{i+1}, s⟩      dL/dx_i = -α (∂s/∂x_i)ᵀ g_{i+1}      g_i = g_{i+1} - α (∂s/∂θ̂_i)ᵀ g_{i+1}

so one step's graph at a time is enough: all θ̂_i are kept, and s is computed again on the way back. That is exact. If
batches are small, the graphs of the last steps are kept instead, as far as ``graph_images`` allows: this is faster, and
equal up to rounding.

Every image that the steps use is decoded once; the gradients of its uses are added up and go through the decoder in
one more pass, ``DECODE`` images at a time.

For ISA on MTT (its appendix F has figures but no equations), the experts learn crucial samples only: ``experts.drop``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.formats.card import Recipe
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.formats.words import plural
from dsetpack.trainers.context import Context
from dsetpack.trainers.experts import Experts, ExpertSettings
from dsetpack.trainers.loop import Group, Terms
from dsetpack.trainers.objectives import base
from dsetpack.trainers.objectives.base import Objective
from dsetpack.trainers.objectives.means import NetworkPool
from dsetpack.trainers.parameterizations.base import Parameterization, Positive
from dsetpack.trainers.seeds import derive
from dsetpack.training.augment import Dsa

DECODE = 1024
"""The number of images that go through a decoder at a time."""

Rate = Annotated[float, Field(gt=0)]


class MttSettings(base.ObjectiveSettings):
    """Settings of trajectory matching. The defaults are shared by MTT and HaBa for CIFAR-10 with 10 images per class.

    The student's inputs are augmented by DSA with parameters of their own for each image, not siamese, because a step
    has no real side.

    Differences from the releases: they go through the set batch by batch in a new order, here each step draws its
    batch independently, as in the paper's Algorithm 1 (the same if the batch is the whole set); and they read expert
    files in a shuffled order, here each step draws an expert.

    Attributes:
        network, width: the network of experts and students; width None for the papers' widths.
        syn_steps: N, the student's steps.
        experts: how experts are trained.
        expert_epochs: M, how many epochs ahead the target is.
        max_start: the start t is drawn from 0 ... max_start - 1; max_start - 1 + M must have been recorded.
        lr: α at the start.
        lr_lr: the rate at which α learns.
        lr_momentum: α's momentum if the schedule's optimiser is SGD. HaBa's release has 0.9.
        lr_min: α never falls below it. HaBa's release has this bound; MTT's has none, and users saw α turn negative.
        syn_batch: images per step of the student; None for all (in HaBa: all bases, by one hallucinator).
        graph_images: how many images' graphs may stay in memory besides those of the current step. A step whose graph
            is kept takes about a quarter less time (measured on a CPU); an image costs 0.8 MB with a ConvNet-3 of
            width 32 on 28×28, in proportion to the width. 0 takes the least memory. Results are equal up to rounding.
    """

    refuses: ClassVar[Mapping[str, str]] = {
        "generator": "a student's steps need images that come again for gradients to add up, and a generator draws "
        "new ones each time: match its logits instead"
    }

    name: Literal["mtt"] = "mtt"
    network: str = "convnet3"
    width: Positive | None = None
    syn_steps: Positive = 30
    experts: ExpertSettings = ExpertSettings()
    expert_epochs: Positive = 2
    max_start: Annotated[Positive, Field(validate_default=True)] = 20
    lr: Rate = 0.001
    lr_lr: Annotated[float, Field(ge=0)] = 1e-5
    lr_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    lr_min: Rate = 0.001
    syn_batch: Positive | None = None
    graph_images: Annotated[int, Field(ge=0)] = 512

    @field_validator("max_start")
    @classmethod
    def _recorded(cls, value: int, info: ValidationInfo) -> int:
        experts, ahead = info.data.get("experts"), info.data.get("expert_epochs")
        if experts is not None and ahead is not None and value - 1 + ahead > experts.epochs:
            raise FormatError(
                f"starts up to epoch {value - 1} and targets {plural(ahead, 'epoch')} later need epoch "
                f"{value - 1 + ahead}; experts are recorded up to epoch {experts.epochs}: lower max_start or "
                "expert_epochs, or raise experts.epochs"
            )
        return value

    @override
    def build(self, context: Context, synthetic: Parameterization) -> TrajectoryMatching:
        if synthetic.targets(torch.zeros(1, dtype=torch.int64, device=synthetic.device)) is not None:
            raise FormatError("mtt trains students with cross-entropy on hard labels; this set learns its labels")
        seed = context.seed if self.experts.seed is None else self.experts.seed
        pool = NetworkPool(
            self.network,
            self.width,
            self.experts.count,
            derive(seed, "experts"),
            context.data.shape,
            context.classes,
        )
        experts = Experts(self.experts, pool, context)
        experts.prepare(context.run("experts").show)
        return TrajectoryMatching(self, experts, Student(pool.build(0, context.device)), context.augment)


class Student:
    """A network as a function of one vector of all its parameters.

    Args:
        net: the network; its own parameters are not used.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net.requires_grad_(False)
        self._shapes = {name: p.shape for name, p in net.named_parameters()}
        self._sizes = [shape.numel() for shape in self._shapes.values()]

    def loss(self, theta: Tensor, x: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, a scalar, of parameters [P] on images [B, C, H, W] with labels int64 [B]."""
        # split has one backward for all parameters; slices would add up one vector [P] per parameter
        parts = torch.split(theta, self._sizes)
        parameters = {n: part.view(s) for (n, s), part in zip(self._shapes.items(), parts, strict=True)}
        return F.cross_entropy(functional_call(self.net, parameters, (x,)), labels)


@dataclass(frozen=True, eq=False)
class _Batch:
    """What a step of the student sees. All draws are made, so that the step can be computed again.

    Attributes:
        positions: where its images are among the decoded ones, int64 [B].
        seed: the augmentation's seed.
    """

    positions: Tensor
    labels: Tensor
    seed: int


@dataclass(frozen=True, eq=False)
class _Slope:
    """The gradient of the student's loss at one step, and what it depends on."""

    theta: Tensor
    x: Tensor
    value: Tensor


class TrajectoryMatching(Objective):
    """Match experts' trajectories, and learn α.

    Args:
        settings: the method's settings.
        experts: returns the parameters [P] for the numbers of an expert and an epoch.
        student: the same network as the experts'.
        augment: the augmentation of the student's inputs.

    Attributes:
        alpha: α; float64, because its steps are small compared to it.
    """

    def __init__(
        self, settings: MttSettings, experts: Callable[[int, int], Tensor], student: Student, augment: Dsa | None = None
    ) -> None:
        self.settings, self.experts, self.student, self.augment = settings, experts, student, augment
        device = next(student.net.parameters()).device
        self.alpha = nn.Parameter(torch.tensor(settings.lr, dtype=torch.float64, device=device))

    @override
    def groups(self) -> Sequence[Group]:
        momentum = self.settings.lr_momentum
        return [Group(name="alpha", params=[self.alpha], lr=self.settings.lr_lr, momentum=momentum)]

    @override
    def backward(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> Terms:
        start, target, distance = self._segment(generator)
        images, batches = self._batches(synthetic, generator)
        alpha = self.alpha.detach()

        passed: list[Tensor | _Slope] = []
        keep = self._first_kept(batches)
        theta = start
        for number, batch in enumerate(batches):
            slope = self._slope(theta, images, batch, graph=number >= keep)
            passed.append(slope if number >= keep else theta)
            theta = theta - alpha * slope.value.detach()

        pull, turn = 2 * (theta - target) / distance, torch.zeros_like(alpha)
        for batch in reversed(batches):
            found = passed.pop()
            slope = found if isinstance(found, _Slope) else self._slope(found, images, batch, graph=True)
            turn = turn - torch.dot(pull, slope.value.detach())
            along, pixels = torch.autograd.grad(slope.value, (slope.theta, slope.x), -alpha * pull)
            pull = pull + along
            images.add(batch.positions, pixels)
        images.backward()
        torch.autograd.backward(self.alpha, turn)
        return {"trajectory": (theta - target).square().sum() / distance}

    @override
    def after(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> None:
        with torch.no_grad():
            self.alpha.clamp_(min=self.settings.lr_min)

    @override
    def evaluation(self, recipe: Recipe) -> Recipe:
        return recipe.model_copy(update={"lr": self.alpha.item()})

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"alpha": self.alpha.detach().clone()}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])

    def _segment(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a random expert's start and target [P]; return them and their squared distance."""
        number = _draw(self.settings.experts.count, generator)
        epoch = _draw(self.settings.max_start, generator)
        later = epoch + self.settings.expert_epochs
        start, target = self.experts(number, epoch), self.experts(number, later)
        distance = (start - target).square().sum()
        if not bool(distance > 0):
            raise DsetpackError(
                f"expert {number} is the same after {epoch} and {later} epochs: there is nothing to match. "
                "Raise experts.lr, or store experts with precision f32"
            )
        return start, target, distance

    def _batches(self, synthetic: Parameterization, generator: torch.Generator) -> tuple[_Images, list[_Batch]]:
        drawn = [
            (synthetic.batch(generator, self.settings.syn_batch), _draw(2**62, generator))
            for _ in range(self.settings.syn_steps)
        ]
        pair_ids, positions = torch.unique(torch.cat([own for own, _ in drawn]), return_inverse=True)
        parts = torch.split(positions, [len(own) for own, _ in drawn])
        batches = [_Batch(part, synthetic.labels[own], seed) for part, (own, seed) in zip(parts, drawn, strict=True)]
        return _Images(synthetic, pair_ids), batches

    def _first_kept(self, batches: Sequence[_Batch]) -> int:
        """The index of the first step whose graph stays in memory."""
        first, room = len(batches), self.settings.graph_images
        while first and len(batches[first - 1].positions) <= room:
            first -= 1
            room -= len(batches[first].positions)
        return first

    def _slope(self, theta: Tensor, images: _Images, batch: _Batch, *, graph: bool) -> _Slope:
        theta = theta.detach().requires_grad_()
        x = images.values[batch.positions].requires_grad_(graph)
        seen = x if self.augment is None else self.augment(x, batch.seed)
        (value,) = torch.autograd.grad(self.student.loss(theta, seen, batch.labels), theta, create_graph=graph)
        return _Slope(theta, x, value)


class _Images:
    """The images of some pairs, decoded once, and the gradients of all their uses."""

    def __init__(self, synthetic: Parameterization, pair_ids: Tensor) -> None:
        self._synthetic = synthetic
        whole = len(pair_ids) == len(synthetic.labels) <= DECODE
        self._parts: list[Tensor | None] = [None] if whole else [*torch.split(pair_ids, DECODE)]
        with torch.no_grad():
            self.values = torch.cat([synthetic.images(part) for part in self._parts])
        self._gradient = torch.zeros_like(self.values)

    def add(self, positions: Tensor, gradient: Tensor) -> None:
        """Add the gradient of one use."""
        self._gradient.index_add_(0, positions, gradient)

    def backward(self) -> None:
        """Pass the gradients through the decoder to the parameters of the set."""
        for part, gradient in zip(self._parts, torch.split(self._gradient, DECODE), strict=True):
            torch.autograd.backward(self._synthetic.images(part), gradient)


def _draw(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (1,), generator=generator))


SETTINGS = MttSettings
