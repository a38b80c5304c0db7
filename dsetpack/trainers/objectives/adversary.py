"""HaBa's min-max game on top of any objective (Liu et al. 2022, section 3.2 and algorithm 1).

A network F, the adversary, sees hallucinations of the same bases by two different random hallucinators. Let f be F's
features before its last layer:

- The set learns from the objective's loss + ``weight_cos`` · L_cos (Eq. 6): hallucinations of a basis should differ.
- F learns from ``weight_contrast`` · L_con + ``weight_ce`` · cross-entropy (Eq. 4): they should agree, and show their
  class.

Both gradients come from the same F and the same images, those that line 7 of algorithm 1 composes. So one simultaneous
step is the same as the algorithm's alternating update.

The release (the authors' code) differs from the paper:

- Its term for the set is the mean of (cos + 1) / 2. For two hallucinators that is Eq. 5 + 1/2: the same gradient.
- It gives F a third term, ``weight_cos`` times the mean of (1 - cos) / 2, which is the set's own term reversed.
- Its contrastive loss is SupCon's (Khosla et al. 2020): both views of a basis and all others of its class are
  positives, and the denominator holds all views of all bases. Eq. 3, in the supervised form that the text describes,
  compares each hallucination only with those by the other hallucinator.

``form`` chooses between them. Inferred: the temperature 0.07 is the release's (the paper gives none), and the features
in L_con have unit length, as in the release and in SupCon, while Eq. 3 writes plain inner products (``unit_features``
false). At that temperature plain inner products of 2048 features are in the thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.formats.card import Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.formats.model import Model
from dsetpack.trainers import parallel
from dsetpack.trainers.context import Context
from dsetpack.trainers.loop import Group, Terms
from dsetpack.trainers.networks import Network, network
from dsetpack.trainers.objectives.base import Objective
from dsetpack.trainers.parameterizations.base import Parameterization, Positive
from dsetpack.trainers.parameterizations.haba import Haba
from dsetpack.trainers.seeds import derive

Form = Literal["paper", "released"]
Weight = Annotated[float, Field(ge=0)]


class AdversarySettings(Model):
    """Settings of the adversary, with the paper's values (section 4.1, table 13); see the module's docstring.

    Attributes:
        form: ``paper`` or ``released``.
        weight_cos, weight_contrast, weight_ce: λ_cos, λ_con and λ_task.
        temperature: τ (the release's value).
        supervised: whether hallucinations of all bases of a class are positives, not only those of the same basis.
        unit_features: whether L_con compares features of unit length.
        lr, momentum: the adversary's learning rate and momentum; the momentum is the release's, for SGD.
        network, width: the adversary's network; "the same architecture as that for computing L_DD".
        bases: the number of bases per step, drawn at random; None for all. The paper takes 300 on CIFAR-100 when there
            are more than 1000 bases.
    """

    form: Form = "paper"
    weight_cos: Weight = 0.1
    weight_contrast: Weight = 0.1
    weight_ce: Weight = 1.0
    temperature: Annotated[float, Field(gt=0)] = 0.07
    supervised: bool = True
    unit_features: bool = True
    lr: Annotated[float, Field(gt=0)] = 0.001
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    network: str = "convnet3"
    width: Positive | None = 128
    bases: Positive | None = None

    def build(self, context: Context) -> Network:
        """Build the adversary with its random initial weights."""
        seed = derive(context.seed, "adversary")
        built = network(self.network, context.data.shape, context.classes, self.width, seed=seed)
        return built.to(context.device)


class Adversarial(Objective):
    """Another objective with the game around it.

    Its terms are those of the inner objective; ``cosine``, which Eq. 6 adds to them; and ``adversary``, Eq. 4 (so the
    sum that the loop logs is not what the set minimises).

    Args:
        inner: the inner objective (L_DD).
        settings: the game's settings.
        context: the data's shape, the seed and the device.
        synthetic: the set; it is only checked here, so that an unfit one fails early.
        net: the adversary; None to build one.

    Raises:
        FormatError: if the set is not a HaBa set with at least two hallucinators.
    """

    def __init__(
        self,
        inner: Objective,
        settings: AdversarySettings,
        context: Context,
        synthetic: Parameterization,
        net: Network | None = None,
    ) -> None:
        hallucinated(synthetic)
        self.inner, self.settings = inner, settings
        self.sharded, self.repeatable = inner.sharded, inner.repeatable
        self.net = settings.build(context) if net is None else net

    @override
    def backward(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> Terms:
        terms = self.inner.backward(synthetic, step, generator)
        haba = hallucinated(synthetic)
        first, second = haba.two(generator, self.settings.bases)
        if self.sharded and parallel.rank():  # all processes would add the same gradients, so only one does
            nothing = torch.zeros((), device=haba.device)
            return {**terms, "cosine": nothing, "adversary": nothing}
        return {**terms, **self._game(haba, torch.cat([first, second]), haba.labels[first])}

    def _game(self, haba: Haba, pair_ids: Tensor, labels: Tensor) -> Terms:
        """Add both players' gradients, each to its own parameters only.

        Args:
            haba: the set.
            pair_ids: int64 [2·B], all bases with one hallucinator, then with the other.
            labels: int64 [B].
        """
        options = self.settings
        images = haba.images(pair_ids)
        seen = images.detach().requires_grad_()
        embedded = self.net.embed(seen)
        views = torch.unflatten(embedded, 0, (2, -1))

        shared = options.weight_cos * cosine_term(views, options.form)
        (pull,) = torch.autograd.grad(shared, seen, retain_graph=True)
        own = [p for p in haba.parameters() if p.requires_grad]
        _add(own, torch.autograd.grad(images, own, pull, allow_unused=True))

        loss = options.weight_ce * F.cross_entropy(self.net.head(embedded), labels.repeat(2))
        of_class = labels if options.supervised else None
        compared = F.normalize(views, dim=-1) if options.unit_features else views
        contrast = contrastive_loss(compared, of_class, options.temperature, options.form)
        loss = loss + options.weight_contrast * contrast
        if options.form == "released":
            loss = loss + options.weight_cos * (1 - cosine_term(views, "released"))
        weights = list(self.net.parameters())
        _add(weights, torch.autograd.grad(loss, weights, allow_unused=True))
        return {"cosine": shared.detach(), "adversary": loss.detach()}

    @override
    def after(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> None:
        self.inner.after(synthetic, step, generator)

    @override
    def groups(self) -> Sequence[Group]:
        options, params = self.settings, list(self.net.parameters())
        group = Group(name="adversary", params=params, lr=options.lr, momentum=options.momentum)
        return [*self.inner.groups(), group]

    @override
    def evaluation(self, recipe: Recipe) -> Recipe:
        return self.inner.evaluation(recipe)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"inner": self.inner.state_dict(), "adversary": self.net.state_dict()}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.inner.load_state_dict(state["inner"])
        self.net.load_state_dict(state["adversary"])


def hallucinated(synthetic: Parameterization) -> Haba:
    """Return the set if the game can be played on it.

    Raises:
        FormatError: if the set is not a HaBa set, or has fewer than two hallucinators.
    """
    if not isinstance(synthetic, Haba):
        found = type(synthetic).__name__
        raise FormatError(
            f"the adversary compares two hallucinations of a basis, and a set of type {found} has none: take the "
            "parameterization 'haba', or leave the adversary out"
        )
    if synthetic.hallucinators < 2:
        raise FormatError(
            "the adversary compares the images of two different hallucinators, and there is 1: take hallucinators = 2 "
            "or more, or leave the adversary out"
        )
    return synthetic


def cosine_term(features: Tensor, form: Form = "paper") -> Tensor:
    """How alike hallucinations of the same basis are: Eq. 5, a scalar.

        1/|H|² · 1/|B| · Σ_{j≠k} Σ_i cos(f_ij, f_ik)

    Args:
        features: float [|H|, |B|, n], the features of each basis with each hallucinator; at least two hallucinators.
        form: ``paper`` for the sum above; ``released`` for the mean of (cos + 1) / 2 over all i and j ≠ k. For two
            hallucinators they differ by the constant 1/2.
    """
    unit = F.normalize(features, dim=-1)
    alike = torch.einsum("jin,kin->jk", unit, unit) / features.shape[1]
    several = len(features)
    total = alike.sum() - alike.diagonal().sum()
    return total / several**2 if form == "paper" else (total / (several * (several - 1)) + 1) / 2


def contrastive_loss(
    features: Tensor, labels: Tensor | None = None, temperature: float = 0.07, form: Form = "paper"
) -> Tensor:
    """How poorly the features show which hallucinations belong together: Eq. 3, a scalar.

        -1/|H|² · 1/|B| · Σ_{j≠k} Σ_i 1/|P(i)| · Σ_{p∈P(i)} log( exp(f_ij·f_pk / τ) / Σ_u exp(f_ij·f_uk / τ) )

    Without labels, P(i) is i alone, which is Eq. 3; with labels (its supervised form), P(i) is all bases of i's class.
    Form ``released`` is SupCon's loss: each hallucination (i, j) is compared with all others, of any basis and
    hallucinator; its positives are those of the same basis or class; the loss is the mean over all (i, j).

    Args:
        features: float [|H|, |B|, n]; their inner products are compared as they are.
        labels: int64 [|B|], or None.
        temperature: τ > 0.
        form: ``paper`` or ``released``.
    """
    several, bases = features.shape[:2]
    same = torch.eye(bases, device=features.device) if labels is None else (labels[:, None] == labels).float()
    same = same.to(features)
    if form == "released":
        flat = features.flatten(0, 1)
        itself = torch.eye(len(flat), dtype=torch.bool, device=features.device)
        among = (flat @ flat.T / temperature).masked_fill(itself, -torch.inf).log_softmax(1)
        positive = same.repeat(several, several).masked_fill(itself, 0)
        each = (among.masked_fill(itself, 0) * positive).sum(1) / positive.sum(1)
        return -each.mean()
    among = (torch.einsum("jin,kun->jkiu", features, features) / temperature).log_softmax(3)
    each = (among * same).sum(3) / same.sum(1)
    between = each.sum(2)
    return -(between.sum() - between.diagonal().sum()) / (several**2 * bases)


def _add(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Add gradients to those that the parameters already have."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
