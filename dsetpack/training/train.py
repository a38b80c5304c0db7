"""Training a network on a pack by the recipe that its card carries."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Protocol, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.formats.progress import steps
from dsetpack.formats.words import plural
from dsetpack.loading.device import moved, usable
from dsetpack.order.checks import check_seed
from dsetpack.training.augment import Dsa
from dsetpack.training.cutmix import Mix, draw_mix

CHECK_EVERY = 25
"""Steps between two checks of the loss: on a GPU, each check waits for the device."""

_EMPTY = "the loader gives no batches: the pack is empty, or drop_last drops all of it"

Progress = Callable[[int, int, float], None]
"""Called with the number of steps done, the number of all steps, and the mean loss since the last call."""
After = Callable[[int, int], None]
"""Called with the number of steps done and the number of all steps."""


class Loadable(Protocol):
    """What ``train`` needs from a pack."""

    def loader(self, *, batch_size: int, seed: int, device: torch.device) -> Iterable[tuple[Tensor, Tensor]]:
        """Batches of images [B, C, H, W] and labels, int64 [B] or float [B, classes]; each iteration is the next epoch.

        The loader needs a length (batches per epoch) if the recipe counts epochs.
        """


class Report(TypedDict):
    """Report on a training run.

    Attributes:
        loss: mean loss of the last steps (at most ``CHECK_EVERY``).
        steps: the number of optimiser steps.
        seconds: wall time.
    """

    loss: float
    steps: int
    seconds: float


def train(
    model: nn.Module,
    pack_like: Loadable,
    *,
    recipe: Recipe,
    augmentation: Augmentation | None,
    seed: int,
    device: torch.device | str,
    steps: int | None = None,
    progress: Progress | None = None,
    after: After | None = None,
) -> Report:
    """Train ``model`` in place on the batches of a pack.

    The order of samples, augmentation, CutMix and dropout depend on ``seed`` alone; the caller's random state is
    restored afterwards. The caller chooses the model's initial weights. Augmentation is DSA with parameters drawn per
    image.

    Args:
        model: maps images [B, C, H, W] to logits [B, classes]. It is moved to ``device``, trained in training mode,
            and put back into its previous mode.
        pack_like: a pack, or any object with such a ``loader``.
        recipe: optimiser, learning rates, CutMix, loss and length. Cross-entropy takes hard labels or probabilities.
            ``mse`` is half the squared error, summed over classes and averaged over the batch (FRePo); hard labels
            become one-hot. ``momentum`` is for SGD; Adam keeps torch's betas.
        augmentation: the augmentation of each batch; None trains on the images as they are.
        seed: 0 <= seed < 2**64.
        device: where to train.
        steps: optimiser steps instead of the recipe's length; milestones keep their shares.
        progress: called every ``CHECK_EVERY`` steps and at the end.
        after: called after every step; it may look at the model, but must not change it or its mode.

    Raises:
        DsetpackError: if the loss is NaN or infinite (the message names the step), if the last step leaves weights
            that are not finite, or if torch cannot use the device.
        FormatError: if ``steps`` or ``seed`` is out of range, if the labels do not fit the loss or the model, if the
            loader has no batches, or if it has no length and the recipe counts epochs.
    """
    if steps is not None and steps < 1:
        raise FormatError(f"steps is {steps}; expected at least 1")
    device, seed = usable(device), check_seed(seed)
    start = time.perf_counter()
    was_training = model.training
    with _own_random_state(device, seed):
        try:
            model.to(device).train()
            loader = pack_like.loader(batch_size=recipe.batch_size, seed=seed, device=device)
            total = steps or length(loader, recipe)
            with closing(prepared(loader, recipe, augmentation, seed, device)) as batches:
                loss = _run(model, batches, recipe, total, progress, after)
        finally:
            model.train(was_training)
    return Report(loss=loss, steps=total, seconds=time.perf_counter() - start)


def learning_rates(recipe: Recipe, total: int) -> Iterator[float]:
    """The learning rate of each step 0 ... total - 1.

    It starts from ``lr``, and each milestone multiplies it by ``gamma`` from step ``round(milestone · total)`` on.
    During the warm-up it is also multiplied by step / warmup. After the warm-up it is multiplied by a half cosine,
    which falls from 1 at the end of the warm-up to ``final`` at step ``total`` (FRePo's evaluation).
    """
    drops = [int(milestone * total + 0.5) for milestone in recipe.milestones]
    for step in range(total):
        rate = recipe.lr * recipe.gamma ** sum(drop <= step for drop in drops)
        yield rate * (step / recipe.warmup if step < recipe.warmup else _fall(recipe, step, total))


def _fall(recipe: Recipe, step: int, total: int) -> float:
    """The half cosine from 1 to ``final`` at a step after the warm-up; always 1 if ``final`` is 1."""
    done = (step - recipe.warmup) / max(1, total - recipe.warmup)
    return recipe.final + (1 - recipe.final) * (1 + math.cos(math.pi * done)) / 2


def length(loader: Iterable[tuple[Tensor, Tensor]], recipe: Recipe) -> int:
    """The number of steps that the recipe trains.

    Raises:
        FormatError: if the recipe counts epochs, and the loader has no length or no batches.
    """
    if recipe.steps is not None:
        return recipe.steps
    try:
        batches = len(loader)  # type: ignore[arg-type]
    except TypeError:
        raise FormatError("the recipe counts epochs, but the loader has no length: give 'steps'") from None
    if not batches:
        raise FormatError(_EMPTY)
    return batches * (recipe.epochs or 0)


def prepared(
    loader: Iterable[tuple[Tensor, Tensor]],
    recipe: Recipe,
    augmentation: Augmentation | None,
    seed: int,
    device: torch.device,
) -> Generator[tuple[Tensor, Tensor, Mix | None], None, None]:
    """Endless batches as a network sees them: augmented and mixed images, labels as stored, and the mix."""
    augment = None if augmentation is None else Dsa(augmentation)
    generator = torch.Generator().manual_seed(seed)
    with closing(_endless(loader)) as batches:
        for images, labels in batches:
            x, y = moved(images, device), moved(labels, device)
            x = x if augment is None else augment(x, generator)
            mix = draw_mix(recipe.cutmix, x, generator)
            yield (x if mix is None else mix.images(x)), y, mix


def _run(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor, Mix | None]],
    recipe: Recipe,
    total: int,
    progress: Progress | None,
    after: After | None,
) -> float:
    optimizer = optimizer_for([p for p in model.parameters() if p.requires_grad], recipe)
    watch = Watch(recipe, total, progress)
    with steps("training", total) as work:
        for step, rate in enumerate(learning_rates(recipe, total)):
            x, y, mix = next(batches)
            logits = model(x)
            if not step:
                check_labels(y, logits, recipe.loss)
            loss = loss_of(logits, y if mix is None else mix.labels(y, logits.shape[1]), recipe.loss)
            descend(optimizer, rate, loss)
            watch.add(loss)
            work.advance()
            if after is not None:
                after(step + 1, total)
    check_weights(model, total)
    return watch.mean


def descend(optimizer: torch.optim.Optimizer, rate: float, loss: Tensor) -> None:
    """Take one optimiser step on a scalar loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


class Watch:
    """A watch on the losses: it checks them every ``CHECK_EVERY`` steps and at the end, and calls ``progress``.

    Attributes:
        mean: the mean of the losses between the last two checks.
    """

    def __init__(self, recipe: Recipe, total: int, progress: Progress | None) -> None:
        self.mean = float("nan")
        self._recipe, self._total, self._progress = recipe, total, progress
        self._pending: list[Tensor] = []
        self._done = 0

    def add(self, loss: Tensor) -> None:
        """Add the loss of the next step: a scalar, or one value for each of several networks.

        Raises:
            DsetpackError: if a loss since the last check is NaN or infinite.
        """
        self._pending.append(loss.detach())
        self._done += 1
        if len(self._pending) == CHECK_EVERY or self._done == self._total:
            self.mean = self._look()
            self._pending.clear()
            if self._progress is not None:
                self._progress(self._done, self._total, self.mean)

    def _look(self) -> float:
        """Check the pending losses, with one synchronisation, and return their mean."""
        values = torch.stack(self._pending).float().cpu().flatten()
        bad = (~values.isfinite()).nonzero().flatten().tolist()
        if bad:
            each = len(values) // len(self._pending)
            step = self._done - len(self._pending) + bad[0] // each
            raise DsetpackError(
                f"the loss became {values[bad[0]]:g} at step {step} (counted from 0) with learning rate "
                f"{self._recipe.lr:g}: lower recipe.lr, or check that the images hold no NaN"
            )
        return float(values.mean())


@contextmanager
def _own_random_state(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's generators for ``device`` (dropout draws from them), and restore them at the end."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # not torch.manual_seed: it would also reseed devices that fork_rng does not restore
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _endless(loader: Iterable[tuple[Tensor, Tensor]]) -> Generator[tuple[Tensor, Tensor], None, None]:
    while True:
        batch = None
        for batch in loader:
            yield batch
        if batch is None:
            raise FormatError(_EMPTY)


def optimizer_for(parameters: list[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser."""
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def loss_of(logits: Tensor, y: Tensor, kind: str) -> Tensor:
    """The recipe's loss, a scalar, for logits [B, classes] and labels, int64 [B] or float [B, classes]."""
    if kind == "cross_entropy":
        return F.cross_entropy(logits, y)
    target = y if y.is_floating_point() else F.one_hot(y, logits.shape[1])
    return (logits - target).square().sum(1).mean() / 2


def check_labels(y: Tensor, logits: Tensor, kind: str) -> None:
    """Check the labels of the first batch, which could otherwise cause a device assertion or train on nonsense.

    Raises:
        FormatError: if the labels do not fit the logits or the loss.
    """
    classes = logits.shape[1]
    if not y.is_floating_point():
        if y.ndim != 1 or int(y.min()) < 0 or int(y.max()) >= classes:
            found = f"{list(y.shape)} with values from {int(y.min())} to {int(y.max())}"
            raise FormatError(
                f"hard labels are {found}; expected [B] from 0 to {classes - 1}: the model has {classes} outputs"
            )
    elif y.shape != logits.shape:
        raise FormatError(f"soft labels are {list(y.shape)} and the model's outputs {list(logits.shape)}")
    elif kind == "cross_entropy" and (y.min() < -0.01 or (y.sum(1) - 1).abs().max() > 0.25):  # room for int4 labels
        found = f"range from {y.min():.3g} to {y.max():.3g}, the first row sums to {y[0].sum():.3g}"
        raise FormatError(
            f"soft labels are not probabilities: they {found}; regression targets (FRePo's) need the loss 'mse'"
        )


def check_weights(model: nn.Module, total: int) -> None:
    """Check that the last of ``total`` steps left finite weights.

    Raises:
        DsetpackError: if a weight is not finite.
    """
    if not all(bool(p.isfinite().all()) for p in model.parameters()):
        raise DsetpackError(f"the last of {plural(total, 'step')} left weights that are not finite: lower recipe.lr")
