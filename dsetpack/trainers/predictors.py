"""Predictions with a network trained on a pack: by its own logits, or by kernel ridge regression on its features.

FRePo and ISA report the latter as well as the former (Zhou et al. 2022, released ``eval_on_proto_krr``; ISA, Eq. 4,
Tables 6 and 7): a network is trained on the set by the evaluation's recipe, then test images are predicted by

    f(x) f(S)ᵀ (f(S) f(S)ᵀ + λI)⁻¹ Y

where S are all images of the pack, not augmented, Y their labels, centred, and f the trained network's features in
inference mode. λ, and whether S is doubled by its mirror images, are as when the set was learned, if the card's
provenance has these settings. Otherwise λ = 10⁻⁶ tr(K) / N (FRePo's), and S is doubled if images have 3 channels
(FRePo's default).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.model import Model
from dsetpack.pack.pack import Pack
from dsetpack.trainers.krr import RIDGE, KrrPredictor, Scale, centred
from dsetpack.trainers.networks import Network

Predict = Callable[[Tensor], Tensor]
"""A function from images float32 [B, C, H, W] in the pack's space to scores [B, classes]; the largest score wins."""
_AT_ONCE = 500


class Ridge(Model):
    """How a regression objective solves for the labels: the part of its settings that a predictor needs.

    Attributes:
        ridge, ridge_scale: λ; see ``KrrPredictor``.
        flip: whether the regression also sees mirror images; None: only with 3-channel images.
    """

    model_config = ConfigDict(extra="ignore")

    ridge: Annotated[float, Field(gt=0)] = RIDGE
    ridge_scale: Scale = "mean"
    flip: bool | None = None


def ridge_of(card: Card) -> Ridge:
    """The method's settings from the card's provenance, or FRePo's if the card has none.

    Raises:
        FormatError: if the card's settings are not valid.
    """
    objective: Any = card.provenance.settings.get("objective")
    with at("card.provenance.settings.objective"):
        return Ridge.model_validate(objective if isinstance(objective, dict) else {})


def check_support(pack: Pack) -> None:
    """Check that the pack has a fixed set of images, which the regression needs.

    Raises:
        FormatError: if it has a generator.
    """
    if any(part.sources is None for part in pack.parts):
        raise FormatError(
            "the predictor 'krr' needs a fixed set of images; the pack's generator draws new ones each time"
        )


def ridge_predictor(model: nn.Module, pack: Pack) -> Predict:
    """Make a predictor by kernel ridge regression on a trained network's features, with all of a pack as its support.

    Args:
        model: a network of ours, on the pack's device. It should be in inference mode, now and at predictions, because
            it is used in its current mode.
        pack: the images and labels; hard labels become one-hot minus 1 / classes, and probabilities that are not
            centred become centred, minus 1 / classes.

    Raises:
        FormatError: if the network has no features, or the pack has a generator.
    """
    check_support(pack)
    if not isinstance(model, Network):
        raise FormatError(f"the predictor 'krr' needs features; {type(model).__name__} does not offer them")
    ridge, labels = ridge_of(pack.card), _targets(pack)
    flip = pack.card.shape[0] == 3 if ridge.flip is None else ridge.flip
    with torch.no_grad():
        pieces = [pack.decode(list(part))[0] for part in _pieces(len(pack))]
        features = torch.cat([model.embed(x) for x in pieces])
        if flip:
            features = torch.cat([features, *(model.embed(x.flip(3)) for x in pieces)])
            labels = torch.cat([labels, labels])
        solved = KrrPredictor(features, labels, ridge.ridge, ridge.ridge_scale)
    return lambda x: solved(model.embed(x))


def _targets(pack: Pack) -> Tensor:
    labels, classes = pack.labels, len(pack.card.classes)
    if not labels.is_floating_point():
        return centred(labels, classes)
    return labels.double() if pack.card.labels.centred else labels.double() - 1 / classes


def _pieces(count: int) -> list[range]:
    return [range(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]
