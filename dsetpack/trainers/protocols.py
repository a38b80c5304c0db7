"""How a pack is measured, decided before anything is trained: the named protocols, and the plan of a measurement.

``own`` is the recipe and the augmentation in the pack's card. ``common`` is one protocol for all packs, so that a gain
in accuracy comes from the pack and not from its recipe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import torch
from torch import nn
from typing_extensions import Unpack

from dsetpack.formats.by_name import spelled
from dsetpack.formats.card import Augmentation, Card, Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural
from dsetpack.recipes.training import DSA, NO_FLIP
from dsetpack.trainers.custom import custom_network, is_custom
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.networks import Network, network, network_names
from dsetpack.trainers.seeds import derive
from dsetpack.training.augment import augmentation_of

Protocol = Literal["own", "common"]
Predictor = Literal["network", "krr"]
PROTOCOLS: tuple[Protocol, ...] = ("own", "common")
NAMES: dict[Predictor, str] = {"network": "accuracy", "krr": "krr accuracy"}
"""The name of a card's metric for each predictor."""

COMMON = Recipe(
    optimizer="sgd",
    lr=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    batch_size=256,
    steps=2000,
    milestones=(0.5,),
    gamma=0.1,
    loss="cross_entropy",
    arch="convnet3",
    width=128,
)
"""The protocol ``common``. It never changes: another protocol would have another name.

Optimiser, learning rate, decay, batch and network are those of DC, DSA, DM, DC-BENCH and DD-Ranking (there for hard
labels), which agree on them. They train for 1000 epochs; that gives a larger set more steps, which would favour rules
that make many images from few sources. So here every pack gets the same 2000 steps: 1000 epochs of up to 512 images,
as those protocols give to 50 images of each of 10 classes. A pack's learned learning rate, epochs, warm-up and CutMix
are not used; the order of its images (its epoch rule) is, because it is part of the pack.

Soft labels are used as they are stored. FRePo's centred ones are targets of a regression, not probabilities, and are
trained by ``COMMON_REGRESSION``.
"""
COMMON_REGRESSION = COMMON.model_copy(update={"loss": "mse", "lr": 0.001})
"""``common`` for centred labels: half the squared error, at a tenth of the learning rate.

Its curvature is the squared length of the features, about 600 for this network's 2048 features, so SGD with momentum
0.9 diverges at rates of about 0.006 and above: at 0.01 the loss rose a hundredfold before it fell.
"""
COMMON_AUGMENTATION = Augmentation(ops=DSA)
"""DSA as in the evaluations of DSA, DM, DC-BENCH and DD-Ranking; as there, without flip for MNIST and SVHN."""


class Choices(TypedDict, total=False):
    """The choices of a measurement.

    Attributes:
        seeds: how many seeds (0, 1, ...) or which ones, for initial weights, order and augmentation. 5 by default.
        protocol: where all other values come from: ``own`` (the default) or ``common``.
        recipe, augmentation: used instead of the protocol's; ``augmentation`` None means no augmentation, ``"card"``
            the protocol's.
        arch: another network: a name of ``network_names()``, or ``module:callable``, see ``custom_network``.
        width: the network's width. By default the recipe's for the recipe's network, and the papers' for others.
        predictor: ``network``, or ``krr``: kernel ridge regression on the trained network's features, which FRePo and
            ISA also report; see ``predictors.ridge_predictor``.
        readings: how often to test while training, evenly spaced, including the end. More than one reading changes
            only the note, which then also gives the best of them, chosen on the test images.
        batched: whether to train the networks of all seeds in one pass: True if possible, False never, None if it is
            possible and faster. See ``batched.worthwhile``.
    """

    seeds: int | Sequence[int]
    protocol: Protocol
    recipe: Recipe | None
    augmentation: Augmentation | Literal["card"] | None
    arch: str | None
    width: int | None
    predictor: Predictor
    readings: int
    batched: bool | None


@dataclass(frozen=True)
class Evaluation:
    """The plan of one measurement of a pack, with all choices made.

    Attributes:
        recipe, augmentation: how each network trains; ``recipe`` has its network and width.
        seeds: the seeds, one per network.
        image, classes: the shape of images and the number of classes.
        changes: what differs from the protocol, as plain JSON values; empty if nothing does.
        protocol, predictor, readings, batched: see ``Choices``.
    """

    recipe: Recipe
    augmentation: Augmentation | None
    seeds: tuple[int, ...]
    image: tuple[int, int, int]
    classes: int
    protocol: Protocol = "own"
    changes: Mapping[str, Any] = field(default_factory=dict)
    predictor: Predictor = "network"
    readings: int = 1
    batched: bool | None = None

    @property
    def label(self) -> str:
        """The protocol in a card's metric: ``own``, ``common``, or ``changed``."""
        return "changed" if self.changes else self.protocol

    def network(self, seed: int) -> nn.Module:
        """Build the network of a seed, before training."""
        build = custom_network if is_custom(self.recipe.arch) else network
        return build(self.recipe.arch, self.image, self.classes, self.recipe.width, seed=derive(seed, "weights"))

    def note(self, best: Mapping[str, Any] | None = None) -> str | None:
        """The note in a card's metric, as JSON: changes, their base if it is not ``own``, the best reading; or None."""
        base = {"base": self.protocol} if self.changes and self.protocol != "own" else {}
        found = {**base, **self.changes, **({} if best is None else {"best_of": best})}
        return json.dumps(found) if found else None


def plan(card: Card, data: str, **choices: Unpack[Choices]) -> Evaluation:
    """Plan how a pack is measured; the network is built once to check that it takes the pack's images.

    Args:
        card: the pack's card.
        data: the name of the test data; in some data sets a mirrored image means something else.
        choices: see ``Choices``.

    Raises:
        FormatError: if the protocol is ``own`` and the card has no recipe; if the protocol, predictor or network is
            unknown; if a choice is out of its range; or if the network does not take the images.
    """
    protocol = choices.get("protocol", "own")
    base, theirs = defaults(card, data, protocol)
    chosen = choices.get("recipe") or base
    if chosen is None:
        raise FormatError(f"{card.title!r} has no recipe in its card; give one, or use the protocol 'common'")
    recipe = _with_network(chosen, choices.get("arch"), choices.get("width"))
    asked = choices.get("augmentation", "card")
    augmentation = theirs if asked == "card" else augmentation_of(card, asked)
    made = Evaluation(
        recipe=recipe,
        augmentation=augmentation,
        seeds=_seeds(choices.get("seeds", 5)),
        image=card.shape,
        classes=len(card.classes),
        protocol=protocol,
        changes=_changes(base, recipe, theirs, augmentation),
        predictor=_one_of(choices.get("predictor", "network"), tuple(NAMES), "predictor"),
        readings=choices.get("readings", 1),
        batched=choices.get("batched"),
    )
    if made.readings < 1:
        raise FormatError(f"readings is {made.readings}; expected at least 1")
    _check_network(made)
    return made


def defaults(card: Card, data: str, protocol: str) -> tuple[Recipe | None, Augmentation | None]:
    """Recipe and augmentation of a protocol for a pack; the recipe of ``own`` is None if the card has none."""
    if _one_of(protocol, PROTOCOLS, "protocol") == "own":
        return card.recipe, card.augmentation
    mirrored = not {data, card.provenance.dataset} & set(NO_FLIP)
    ops = tuple(op for op in COMMON_AUGMENTATION.ops if mirrored or op != "flip")
    recipe = COMMON_REGRESSION if card.labels.centred else COMMON
    return recipe, COMMON_AUGMENTATION.model_copy(update={"ops": ops})


def check_data(card: Card, test: ImageData) -> None:
    """Check that test images have the pack's shape and classes.

    Raises:
        FormatError: if the shape or the number of classes differs, or the same classes are in another order.
    """
    if test.shape != tuple(card.shape):
        raise FormatError(f"{test.name} has images of {list(test.shape)}; the pack makes {list(card.shape)}")
    if len(test.classes) != len(card.classes):
        raise FormatError(f"{test.name} has {plural(len(test.classes), 'class')}; the pack has {len(card.classes)}")
    if set(test.classes) == set(card.classes):
        for number, (theirs, ours) in enumerate(zip(test.classes, card.classes, strict=True)):
            if theirs != ours:
                raise FormatError(
                    f"{test.name} has the pack's classes in another order: {number} is {theirs!r} there and {ours!r} "
                    "in the pack"
                )


def _one_of(value: str, known: tuple[Any, ...], what: str) -> Any:
    if value not in known:
        raise FormatError(f"{what} is {value!r}; expected {' or '.join(map(repr, known))}")
    return value


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    numbers = tuple(range(seeds) if isinstance(seeds, int) else seeds)
    if not numbers:
        raise FormatError(f"seeds is {seeds!r}; expected at least one")
    return numbers


def _with_network(recipe: Recipe, arch: str | None, width: int | None) -> Recipe:
    """The recipe with the chosen network. A name of foreign code is accepted only here, never from a recipe."""
    if arch is None and is_custom(recipe.arch):
        raise FormatError(f"the recipe names the network {recipe.arch!r}; name one of your own by 'arch' (--arch) only")
    name = recipe.arch if arch is None else arch if is_custom(arch) else spelled(network_names(), arch) or arch
    same = name == recipe.arch
    return recipe.model_copy(
        update={"arch": name, "width": width or (recipe.width if same else None)},
    )


def _changes(
    base: Recipe | None, recipe: Recipe, theirs: Augmentation | None, augmentation: Augmentation | None
) -> dict[str, Any]:
    """What differs from the protocol in recipe and augmentation, as plain JSON values."""
    ours, expected = recipe.model_dump(mode="json"), base.model_dump(mode="json") if base else {}
    changes = {name: value for name, value in ours.items() if name not in expected or value != expected[name]}
    if augmentation != theirs:
        changes["augmentation"] = None if augmentation is None else augmentation.model_dump(mode="json")
    return changes


def _check_network(made: Evaluation) -> None:
    """Build the network and test it on two images of zeros."""
    arch, expected = made.recipe.arch, (2, made.classes)
    model = made.network(0).eval()
    if made.predictor == "krr" and not isinstance(model, Network):
        raise FormatError(f"the predictor 'krr' needs features, which {arch} does not offer: take a built-in network")
    try:
        with torch.no_grad():
            logits = model(torch.zeros(2, *made.image))
    except Exception as error:  # a network of the user's may raise anything
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise FormatError(f"{arch} cannot take images of {list(made.image)}: {reason}") from error
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != expected:
        found = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise FormatError(f"{arch} makes {found} of 2 images; expected logits {list(expected)}")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise FormatError(f"{arch} has nothing to train: it has no parameters that need a gradient")
