"""The settings of KFS, and the presets that fill them.

``paper`` is the paper's appendix A as far as the text goes; its tables 6 and 9 (code shapes, numbers of codes and
decoders, channels) are not in the text, so these are ours. ``cpu`` narrows networks and shortens the schedule so that
minutes on two cores suffice. ``INFERRED`` lists, for each preset, the settings that no source states.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.kfs import Config
from dsetpack.formats.model import Model
from dsetpack.trainers.loop import Schedule

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Preset = Literal["cpu", "paper"]
PRESETS: tuple[Preset, ...] = ("cpu", "paper")


class KfsSettings(Model):
    """All that a KFS run by distribution matching depends on, besides data, budget and seed.

    Attributes:
        decoders, channels, kernel: the bank; see the kind ``kfs``.
        codes: codes a class; None for as many as fit the budget.
        over_parameterisation: how far codes and decoders may exceed the budget, as a share of it. Papers do (KFS's
            example by 19%) and say so; the default does not.
        pretrain, pretrain_batch, pretrain_lr: the autoencoder's training.
        encoder_width: its encoder's channels.
        noise: what tells the copies of the decoder apart, relative to each weight tensor's standard deviation.
        matching, lr_codes, lr_decoders: the joint training.
        network, width: the networks to match, freshly initialised; width None for the papers'.
        networks: how many different ones; steps beyond that use them again.
        share, chunk: the memory fallback; see ``DistributionMatching``.
        space: the pixel space: matched in, and trained in later.
        recipe, augmentation: how to train on the pack; they go into its card.
    """

    decoders: Positive
    channels: tuple[Positive, ...]
    kernel: Literal[2, 4] = 2
    codes: Positive | None = None
    over_parameterisation: Annotated[float, Field(ge=0)] = 0.0
    pretrain: Schedule
    pretrain_batch: Positive = 256
    pretrain_lr: Rate = 0.01
    encoder_width: Positive = 32
    noise: Annotated[float, Field(ge=0)] = 0.1
    matching: Schedule
    lr_codes: Rate = 0.1
    lr_decoders: Rate = 0.01
    network: str = "convnet3"
    width: Positive | None = None
    networks: Positive
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    chunk: Positive | None = None
    space: Literal["raw", "normalized"] = "normalized"
    recipe: Recipe
    augmentation: Augmentation | None = None

    def config(self) -> Config:
        """The bank's configuration."""
        return Config(decoders=self.decoders, channels=self.channels, kernel=self.kernel)


class Budget(Model):
    """Where the floats go.

    Attributes:
        allowed: ipc · C · H · W · classes.
        codes: codes a class.
        code_floats, decoder_floats: spent on codes and on decoders.
    """

    allowed: int
    codes: int
    code_floats: int
    decoder_floats: int

    @property
    def used(self) -> int:
        """All floats stored."""
        return self.code_floats + self.decoder_floats

    @property
    def over(self) -> float:
        """Over-parameterisation: used / allowed - 1; negative where floats are left."""
        return self.used / self.allowed - 1


def kfs_budget(settings: KfsSettings, image: tuple[int, int, int], classes: int, ipc: int) -> Budget:
    """How many codes a class a budget of ``ipc`` images a class buys, and what that costs.

    Raises:
        FormatError: not even one code a class fits, or the number asked for does not.
    """
    config = settings.config()
    bank = sum(math.prod(shape) for shape in config.bank_shapes(image, classes).values())
    code = math.prod(config.source_shape(image)) * classes
    allowed = ipc * math.prod(image) * classes
    limit = math.floor(allowed * (1 + settings.over_parameterisation) + 1e-6)
    fits = (limit - bank) // code
    codes = settings.codes or max(fits, 1)
    if codes > fits:
        raise FormatError(
            f"{codes} codes a class of {list(config.source_shape(image))} and {settings.decoders} decoders are "
            f"{codes * code + bank} floats; {ipc} images a class are {allowed}"
            + (f" (+{settings.over_parameterisation:.0%}: {limit})" if settings.over_parameterisation else "")
            + ": raise ipc, take fewer codes, decoders or channels, or allow over_parameterisation"
        )
    return Budget(allowed=allowed, codes=codes, code_floats=codes * code, decoder_floats=bank)


def kfs_settings(
    preset: str,
    image: tuple[int, int, int],
    ipc: int,
    changes: Mapping[str, Any] | None = None,
    *,
    flip: bool = True,
) -> KfsSettings:
    """A preset's settings for images of a shape at a budget, with some of them changed.

    Args:
        preset: ``cpu`` or ``paper``.
        image: (C, H, W).
        ipc: images a class that the budget equals.
        changes: by name; inside a nested setting by a dotted one (``matching.steps``).
        flip: whether the augmentation may mirror images.

    Raises:
        FormatError: no such preset or setting (names the nearest), or a value that a setting cannot have.
    """
    if preset not in PRESETS:
        raise FormatError(f"preset {preset!r}; expected one of {', '.join(PRESETS)}")
    dsa = Augmentation(ops=tuple(op for op in OPS if flip or op != "flip"))
    values = (_cpu(image, dsa, ipc) if preset == "cpu" else _paper(image, dsa)).model_dump()
    for key, value in (changes or {}).items():
        _set(values, key, value)
    try:
        return KfsSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FormatError(f"setting {where or preset}: {first['msg']} (found {first.get('input')!r})") from error


_LENGTHS = {"steps": "epochs", "epochs": "steps"}


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        inner = values.get(name)
        if not isinstance(inner, dict):
            raise FormatError(f"no setting {key!r}: {name!r} has no settings inside")
        values = inner
    if last not in values:
        near = difflib.get_close_matches(last, values, 1, 0)[0]
        raise FormatError(f"no setting {key!r}; nearest is {'.'.join([*path, near])!r}")
    values[last] = value
    if last in _LENGTHS and set(_LENGTHS) <= set(values):  # a recipe has one of the two
        values[_LENGTHS[last]] = None


OPS: tuple[Any, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")
NO_FLIP = ("mnist", "svhn")
"""Data sets in which a mirrored image is another thing: DSA leaves the flip out."""
INFERRED: dict[str, tuple[str, ...]] = {
    "paper": ("decoders", "channels", "encoder_width", "noise", "space", "augmentation"),
    "cpu": (
        "decoders", "channels", "kernel", "encoder_width", "noise", "space", "augmentation", "pretrain", "matching",
        "width", "networks", "recipe"
    ),
}  # fmt: skip


def _paper(image: tuple[int, int, int], dsa: Augmentation) -> KfsSettings:
    """Appendix A, with the bank of section 3.1's example: 8 decoders of 738 floats for codes of 12×4×4."""
    return KfsSettings(
        decoders=8,
        channels=(8, 6, 4) if image[0] == 1 else (12, 9, 6),
        pretrain=Schedule(steps=2000),
        matching=Schedule(steps=20_000),
        networks=20_000,
        recipe=Recipe(epochs=200, milestones=(133 / 200, 166 / 200), gamma=0.2),
        augmentation=dsa,
    )


def _cpu(image: tuple[int, int, int], dsa: Augmentation, ipc: int) -> KfsSettings:
    """Narrow networks, few of them, hundreds of steps; small codes under overlapping (kernel 4) decoders.

    These are the settings that ``benchmarks/results/fashion-cpu.json`` was measured with: change both together.
    """
    small = ipc < 5  # larger sets cost more a step, so they get fewer and narrower ones
    drops = (2 / 3, 5 / 6)
    return KfsSettings(
        decoders=4,
        channels=(2, 4) if image[0] == 1 else (4, 6),
        kernel=4,
        pretrain=Schedule(steps=300),
        pretrain_batch=128,
        encoder_width=32 if small else 16,
        matching=Schedule(steps=300 if small else 200, milestones=(0.6, 0.85)),
        networks=20 if small else 15,
        width=32,
        recipe=Recipe(steps=300, batch_size=128, milestones=drops, gamma=0.2, width=32)
        if small
        else Recipe(steps=600, batch_size=64, milestones=drops, gamma=0.2, width=16),
        augmentation=dsa,
    )
