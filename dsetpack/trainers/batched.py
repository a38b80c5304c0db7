"""Training of several networks of one shape in one pass: their weights are stacked, their steps taken together.

Each network keeps its own weights, order, augmentation and CutMix, by its own seed, and its own loss; only the
arithmetic is shared (``torch.func``). So each network ends up as if it had been trained alone, up to rounding.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.formats.progress import steps
from dsetpack.loading.device import usable
from dsetpack.trainers.networks import Network
from dsetpack.training.cutmix import Mix
from dsetpack.training.train import (
    After,
    Loadable,
    Progress,
    Report,
    Watch,
    check_labels,
    check_weights,
    descend,
    learning_rates,
    length,
    loss_of,
    optimizer_for,
    prepared,
)

AT_ONCE = 10
"""The largest number of networks in one pass: their activations are in memory together."""
_TRIALS = 3
_PURE: frozenset[type[nn.Module]] = frozenset(
    {
        Network,
        nn.Sequential,
        nn.Conv2d,
        nn.Linear,
        nn.GroupNorm,
        nn.ReLU,
        nn.AvgPool2d,
        nn.MaxPool2d,
        nn.AdaptiveAvgPool2d,
        nn.Flatten,
        nn.Identity,
    }
)
"""Modules that keep no state and draw no numbers, unlike batch norm (running statistics) and dropout (draws)."""


def batchable(models: Sequence[nn.Module]) -> bool:
    """Whether ``train_together`` can train these models: all alike, of modules without state and random draws."""
    shapes = {tuple((name, p.shape, p.dtype) for name, p in model.named_parameters()) for model in models}
    return (
        len(shapes) == len({repr(model) for model in models}) == 1
        and all(type(module) in _PURE for module in models[0].modules())
        and all(p.requires_grad for model in models for p in model.parameters())
        and not any(True for _ in models[0].buffers())
    )


def worthwhile(
    models: Sequence[nn.Module],
    image: Sequence[int],
    classes: int,
    batch: int,
    recipe: Recipe,
    device: torch.device,
) -> bool:
    """Whether one pass is faster than one network after another.

    On a CPU the answer is always no: there one pass was measured to be faster only for networks too small for it to
    matter (ConvNet-3 on one core: 1.4 times as fast with width 8 and batch 10, but 0.9 times from width 16 and 0.5
    times at width 32 and batch 128, because convolutions with a batch of weights are slower there than one after
    another). On other devices both ways are timed with copies of the models, for a few steps on noise.

    Args:
        models: the models, one per seed.
        image, classes, batch: the models map [batch, C, H, W] to [batch, classes], with ``image`` = (C, H, W).
        recipe: the recipe, for its optimiser and loss.
        device: where to train.
    """
    if device.type == "cpu" or len(models) < 2 or not batchable(models):
        return False
    try:
        return faster_together(models, image, classes, batch, recipe, device)
    except torch.OutOfMemoryError:
        return False


def faster_together(
    models: Sequence[nn.Module],
    image: Sequence[int],
    classes: int,
    batch: int,
    recipe: Recipe,
    device: torch.device,
) -> bool:
    """Measure whether a few steps of all models on noise take less time in one pass; see ``worthwhile``."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(models), batch, *image, generator=generator).to(device)
    y = torch.full((len(models), batch, classes), 1 / classes, device=device)
    together, alone = (_seconds(way(models, x, y, recipe), device) for way in (_as_one, _one_by_one))
    return together < alone


def train_together(
    models: Sequence[nn.Module],
    pack_like: Loadable,
    *,
    recipe: Recipe,
    augmentation: Augmentation | None,
    seeds: Sequence[int],
    device: torch.device | str,
    progress: Progress | None = None,
    after: After | None = None,
) -> Report:
    """Train models in place, each as ``dsetpack.training.train.train`` does with its seed.

    Args:
        models: models that are ``batchable``; see ``train`` for their interface. When ``after`` is called, they have
            the weights of that step.
        pack_like, recipe, augmentation, device, progress, after: as for ``train``.
        seeds: one seed per model.

    Returns:
        as ``train``; the loss is the mean over models, too.

    Raises:
        DsetpackError: as ``train``.
        FormatError: as ``train``.
    """
    device = usable(device)
    start = time.perf_counter()
    loaders = [pack_like.loader(batch_size=recipe.batch_size, seed=seed, device=device) for seed in seeds]
    total = length(loaders[0], recipe)
    with ExitStack() as stack:
        every = [
            stack.enter_context(closing(prepared(loader, recipe, augmentation, seed, device)))
            for loader, seed in zip(loaders, seeds, strict=True)
        ]
        parameters, forward = stack.enter_context(_stacked(models, device))
        watch = Watch(recipe, total, progress)
        work = stack.enter_context(steps("training", total))
        optimizer = optimizer_for(list(parameters.values()), recipe)
        for step, rate in enumerate(learning_rates(recipe, total)):
            x, y, mixes = _together([next(batches) for batches in every])
            logits = forward(x)
            if not step:
                for own in zip(y, logits, strict=True):
                    check_labels(*own, recipe.loss)
            losses = _losses(logits, _labels(y, mixes, logits.shape[2], recipe), recipe)
            descend(optimizer, rate, losses.sum())  # the gradient of a network's loss does not reach the others
            watch.add(losses)
            work.advance()
            if after is not None:
                after(step + 1, total)
        for model in models:
            check_weights(model, total)
    return Report(loss=watch.mean, steps=total, seconds=time.perf_counter() - start)


Forward = Callable[[Tensor], Tensor]


@contextmanager
def _stacked(models: Sequence[nn.Module], device: torch.device) -> Iterator[tuple[dict[str, Tensor], Forward]]:
    """Stack the parameters of all models by name; yield them and the function from images to logits.

    It maps images [S, B, C, H, W] to logits [S, B, classes] by the stacked parameters. Inside, the models' parameters
    are views of the stacked ones: a step on those is a step on all models.
    """
    modes = [model.training for model in models]
    for model in models:
        model.to(device).train()
    parameters, _ = stack_module_state(list(models))
    shape = copy.deepcopy(models[0]).to("meta")
    for number, model in enumerate(models):
        for name, parameter in model.named_parameters():
            parameter.data = parameters[name].data[number]

    def alone(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(shape, weights, (x,))
        return logits

    try:
        yield parameters, lambda x: vmap(alone)(parameters, x)
    finally:
        for model, mode in zip(models, modes, strict=True):
            model.train(mode)
            for parameter in model.parameters():
                parameter.data = parameter.data.clone()  # otherwise each model would keep all models' memory


def _together(
    batches: Sequence[tuple[Tensor, Tensor, Mix | None]],
) -> tuple[Tensor, list[Tensor], list[Mix | None]]:
    images, labels, mixes = zip(*batches, strict=True)
    return torch.stack(images), list(labels), list(mixes)


def _labels(labels: Sequence[Tensor], mixes: Sequence[Mix | None], classes: int, recipe: Recipe) -> Tensor:
    """Mix the labels and stack them: int64 [S, B], or float [S, B, classes] if one network's labels need that."""
    mixed = [y if mix is None else mix.labels(y, classes) for y, mix in zip(labels, mixes, strict=True)]
    if recipe.loss == "mse" or any(y.is_floating_point() for y in mixed):
        mixed = [y if y.is_floating_point() else F.one_hot(y, classes).float() for y in mixed]
    return torch.stack(mixed)


def _losses(logits: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """Each network's loss, [S]."""

    def alone(outputs: Tensor, y: Tensor) -> Tensor:
        return loss_of(outputs, y, recipe.loss)

    losses: Tensor = vmap(alone)(logits, labels)
    return losses


def _as_one(models: Sequence[nn.Module], x: Tensor, y: Tensor, recipe: Recipe) -> Callable[[], None]:
    """A function that takes a few steps of copies of all models, in one pass."""
    copies = copy.deepcopy(list(models))

    def step() -> None:
        with _stacked(copies, x.device) as (parameters, forward):
            optimizer = optimizer_for(list(parameters.values()), recipe)
            for _ in range(_TRIALS):
                descend(optimizer, recipe.lr, _losses(forward(x), y, recipe).sum())

    return step


def _one_by_one(models: Sequence[nn.Module], x: Tensor, y: Tensor, recipe: Recipe) -> Callable[[], None]:
    """A function that takes a few steps of copies of all models, one after another."""
    copies = [model.to(x.device) for model in copy.deepcopy(list(models))]

    def step() -> None:
        for model, images, labels in zip(copies, x, y, strict=True):
            optimizer = optimizer_for(list(model.parameters()), recipe)
            for _ in range(_TRIALS):
                descend(optimizer, recipe.lr, loss_of(model(images), labels, recipe.loss))

    return step


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    """The time of the second call; the first one chooses algorithms and fills caches."""
    taken = 0.0
    for _ in range(2):
        _wait(device)
        start = time.perf_counter()
        step()
        _wait(device)
        taken = time.perf_counter() - start
    return taken


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
