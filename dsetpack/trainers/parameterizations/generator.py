"""A conditional generator instead of images (DiM, Wang et al. 2023, section 3.3): label and noise make an image.

The set has no images of its own: an objective draws new ones each step, and a pack draws new ones each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import override

from dsetpack.decoders import Decoder, decoder
from dsetpack.formats.kinds.generator import GeneratorConfig
from dsetpack.order import philox
from dsetpack.pack.part import Part
from dsetpack.spaces import Raw, Space
from dsetpack.trainers.context import Context
from dsetpack.trainers.loop import Group
from dsetpack.trainers.parameterizations import base
from dsetpack.trainers.parameterizations.base import Budget, Parameterization, Positive
from dsetpack.trainers.seeds import derive

KIND = "generator"


class GeneratorSettings(base.ParameterizationSettings):
    """Settings of DiM's generator. Its size does not depend on the budget, and far exceeds a usual one.

    At 3×32×32 and the paper's width it learns 3,559,363 numbers and keeps 9,016 running statistics: as many floats as
    116 images per class with 10 classes. DiM compares by the number of images drawn instead ("INPC": ``per_class``); so
    ``budget`` states the cost and refuses nothing.

    Attributes:
        width: channels of every hidden layer (released code; the paper's figure names 194 and 196).
        noise: K, the length of the noise; its first entries are overwritten by the label's one-hot, as released. The
            paper (Eq. 4) concatenates the label instead.
        per_class: images per class and epoch (INPC); None for the budget's images per class.
        lr: the learning rate under an objective, from the release's matching; the paper states 1e-4, for the GAN.
    """

    every_budget: ClassVar[bool] = True

    name: Literal["generator"] = "generator"
    width: Positive = 196
    noise: Positive = 100
    per_class: Positive | None = None
    lr: Annotated[float, Field(gt=0)] = 5e-6

    @model_validator(mode="after")
    def _no_sources(self) -> GeneratorSettings:
        if self.sources is not None:
            raise ValueError("'sources': a generator stores none; 'per_class' says how many images it draws")
        return self

    @override
    def config(self, image: tuple[int, int, int]) -> GeneratorConfig:
        return GeneratorConfig(width=self.width, noise=self.noise)

    @override
    def budget(self, image: tuple[int, int, int], classes: int, ipc: int) -> Budget:
        """What the generator costs, running statistics included; no budget is too small."""
        shapes = self.config(image).bank_shapes(image, classes)
        return Budget(
            allowed=ipc * math.prod(image) * classes,
            sources=0,
            source_floats=0,
            decoder_floats=sum(math.prod(shape) for shape in shapes.values()),
        )

    @override
    def build(self, context: Context) -> Generator:
        image = context.data.shape
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive(context.seed, KIND))
            bank = decoder(KIND, self.config(image), image, context.classes)
        per_class = self.per_class or context.ipc
        return Generator(bank, context.space, per_class=per_class, lr=self.lr).to(context.device)


class Generator(Parameterization):
    """A generator that learns. It begins in training mode, where it normalises by batch statistics.

    Args:
        bank: a decoder of kind ``generator``.
        space: the pixel space that images come in.
        per_class: images per class and epoch; pairs are numbered class by class.
        lr: the learning rate of ``groups``.
    """

    per_class: int

    def __init__(self, bank: Decoder, space: Space, *, per_class: int, lr: float = 5e-6) -> None:
        super().__init__()
        self.bank, self.space, self.per_class, self._lr = bank, space, per_class, lr
        self.register_buffer("labels", torch.arange(bank.classes).repeat_interleave(per_class), persistent=False)
        self.train()

    @property
    def config(self) -> GeneratorConfig:
        """The generator's configuration."""
        return cast(GeneratorConfig, self.bank.config)

    @property
    def learned(self) -> list[torch.nn.Parameter]:
        """The generator's parameters."""
        return list(self.bank.parameters())

    def raw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Draw images as ``draw`` does, but with values in [0, 1], not yet in the pixel space."""
        noise = torch.randn(len(labels), *self.bank.source_shape, generator=generator)
        return self._decode(noise, labels)

    def draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Draw fresh differentiable images [B, C, H, W] in ``space``.

        In training mode they share the batch's statistics, which move the running ones; B must then be at least 2.

        Args:
            labels: int64 [B], on the set's device.
            generator: the noise's generator, on the CPU.
        """
        return self.in_space(self.raw(labels, generator))

    @override
    def images(self, pair_ids: Tensor | None = None) -> Tensor:
        """The images that a pack decodes for these pairs with its default noise (seed 0, epoch 0).

        They use running statistics in any mode: a preview neither depends on its batch nor changes anything.
        """
        if pair_ids is None:
            pair_ids = torch.arange(len(self.labels), device=self.device)
        noise = torch.from_numpy(philox.noise(0, 0, pair_ids.cpu().numpy(), self.bank.source_shape[0]))
        was_training = self.bank.training
        self.bank.eval()
        images = self._decode(noise, self.labels[pair_ids])
        self.bank.train(was_training)
        return self.in_space(images)

    def _decode(self, noise: Tensor, labels: Tensor) -> Tensor:
        sources = self.bank.condition(noise.to(next(self.bank.parameters())), labels)
        return self.bank.unchecked_one(sources, 0)

    def in_space(self, raw: Tensor) -> Tensor:
        """Map images with values in [0, 1] into ``space``."""
        return raw if isinstance(self.space, Raw) else self.space.apply(raw)

    @override
    def groups(self) -> Sequence[Group]:
        return [Group(name=KIND, params=self.learned, lr=self._lr)]

    @override
    def parts(self) -> list[Part]:
        bank = decoder(KIND, self.config, self.bank.image, self.bank.classes)
        bank.load_state_dict({key: value.detach().cpu() for key, value in self.bank.state_dict().items()})
        return [Part(KIND, self.config, bank.requires_grad_(False), None, self.labels.cpu().clone())]

    @override
    def floats(self) -> int:
        """The number of floats stored, with the running statistics, since nothing can be decoded without them."""
        return sum(value.numel() for value in self.bank.state_dict().values())


SETTINGS = GeneratorSettings
