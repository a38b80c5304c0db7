"""HaBa: bases × hallucinators (Liu et al. 2022, sections 3.1 and 3.3, appendix A).

Each class has bases, which are images of the pixel space. Small networks shared by all classes, the hallucinators, each
turn a basis into an image. All of them learn together from an objective's loss;
``dsetpack.trainers.objectives.adversary`` adds the min-max game.

Where the paper and its release (the authors' code) differ, or neither gives an answer:

- Hallucinators: the paper's have a ReLU and padding, the release's have neither (``form``).
- What one step sees: the paper combines the bases, or a batch of them, with a batch of hallucinators, "random 2 in one
  iteration for simplicity". The release draws one hallucinator per step of the student, the same for all bases, and two
  others for the adversarial terms (``batches``). The paper does not say whether the student keeps its two through all
  steps of an iteration; here each batch draws its own (inferred). Objectives over the whole set (distribution matching)
  see every basis with every hallucinator, which both ways do on average.
- Starts: the release takes random real images of each class for the bases (for single-channel bases, their mean over
  channels), sigma 1, mu 0, and torch's own initial weights for convolutions. The paper says "randomly initialize". With
  shared convolutions (table 11), or none (depth 0, table 9), such hallucinators would start equal, and stay equal with
  objectives over the whole set: equal images get equal gradients, and a cosine of 1 has no gradient. So these get
  ``noise`` (inferred). ``start`` offers another start, which is ours: near the identity. Random hallucinators turn real
  images into noise, which short runs have to unlearn (docs/results.md measures it); the paper runs 15,000 steps.
- Learning rates: "the same" for both; 100 and a momentum of 0.95 are the release's, for trajectory matching. With
  another paper's objective, use that paper's values; the momentum of MTT's own images is 0.5.
- Down-sampled bases (table 3: "4× number of 2× down-sample"): ``factor``. A source then holds factor² small bases.
  It is inferred that they start as real images shrunk one by one; this works as in kind ``upsample``.

Section 3.1 allows smaller bases by its h' and w', and table 3 is the only place that tries them; ``factor`` covers
that. It does not cover a number of small bases per class that is not a multiple of factor², nor sides that do not
divide the image's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import override

from dsetpack.decoders import Decoder, decoder
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.haba import HabaConfig
from dsetpack.formats.words import plural
from dsetpack.pack.part import Part
from dsetpack.spaces import Space
from dsetpack.trainers import selections
from dsetpack.trainers.context import Context
from dsetpack.trainers.loop import Group
from dsetpack.trainers.parameterizations import base
from dsetpack.trainers.parameterizations.base import Budget, Parameterization, Positive
from dsetpack.trainers.parameterizations.images import Init, Momentum, Rate, copied, noise
from dsetpack.trainers.parameterizations.upsample import Resize, tiled
from dsetpack.trainers.seeds import derive

KIND = "haba"
NOISE = 0.1
BLEND = 0.3
"""The share of PyTorch's own initial weights in hallucinators that start near the identity, so that they differ."""
SHIFT = 4.0
"""An offset that lifts all but the rarest values of a normalized space above a ReLU's zero."""


class HabaSettings(base.ParameterizationSettings):
    """Settings of bases and hallucinators; ``sources`` is the number of bases per class ("BPC").

    See the module's docstring. The paper equates BPC = IPC - 1 with IPC "to make the comparisons as fair as possible",
    and BPC 1 with IPC 1. Counted in floats, 5 hallucinators of 6312 exceed one image of each of 10 classes of 3×32×32
    by 840: such a recipe needs ``over_parameterisation`` (0.003 at IPC 10; 1.03 at IPC 1, where the paper's own ratio
    is 0.04% against 0.02%).

    Attributes:
        hallucinators: the number of hallucinators (5 in the paper); with ``class_wise``, the number for each class.
        depth, channels, source_channels, form, shared, factor: see the kind ``haba``. ``source_channels`` 1 makes
            single-channel bases; ``factor`` 2 is the row "IDC & HaBa" of table 3.
        class_wise: whether each class has hallucinators of its own (table 5, "w/o Share"). With ``shared`` as well, all
            of them share one encoder and decoder.
        init: what bases start from: ``noise`` (standard normal in the space) or real images, see
            ``dsetpack.trainers.selections``.
        resize: how real images are shrunk to small bases.
        start: what hallucinators start from: ``random``, as in PyTorch, or ``identity``, which nearly returns the basis
            (inferred; only with form ``paper`` and up to depth 1).
        noise: the standard deviation of the normal noise that is added to sigma and mu at the start; None for 0.1 if
            hallucinators have no convolutions of their own, and for 0 otherwise.
        batches: what one batch of a student holds: each basis with two random hallucinators (``paper``), or with one
            (``released``).
        lr_bases, lr_hallucinators: the learning rates.
        momentum: SGD's momentum for both; None for the schedule's.
        selection: the network that picks real images.
    """

    name: Literal["haba"] = "haba"
    hallucinators: Positive = 5
    depth: Annotated[int, Field(ge=0, le=3)] = 1
    channels: Positive | None = None
    source_channels: Positive | None = None
    factor: Positive = 1
    form: Literal["paper", "released"] = "paper"
    shared: bool = False
    class_wise: bool = False
    init: Init = "random"
    resize: Resize = "nearest"
    start: Literal["random", "identity"] = "random"
    noise: Annotated[float, Field(ge=0)] | None = None
    batches: Literal["paper", "released"] = "paper"
    lr_bases: Rate = 100.0
    lr_hallucinators: Rate = 100.0
    momentum: Momentum | None = 0.95
    selection: selections.SelectionSettings = selections.SelectionSettings()

    @model_validator(mode="after")
    def _can_start(self) -> Self:
        if self.start == "identity" and (self.form != "paper" or self.depth > 1):
            raise ValueError(
                f"start = 'identity' needs form = 'paper' and a depth of at most 1; here '{self.form}' and {self.depth}"
            )
        return self

    @override
    def config(self, image: tuple[int, int, int]) -> HabaConfig:
        """The configuration with the hallucinators of one class if they are class-wise (``whole`` has all of them)."""
        return HabaConfig(
            decoders=self.hallucinators,
            depth=self.depth,
            channels=self.channels,
            source_channels=self.source_channels,
            form=self.form,
            shared=self.shared,
            factor=self.factor,
        )

    def whole(self, image: tuple[int, int, int], classes: int) -> HabaConfig:
        """The part's configuration, with the hallucinators of all classes."""
        return self._counted(classes).config(image)

    @override
    def budget(self, image: tuple[int, int, int], classes: int, ipc: int) -> Budget:
        return super(HabaSettings, self._counted(classes)).budget(image, classes, ipc)

    @override
    def build(self, context: Context) -> Haba:
        image, classes = context.data.shape, context.classes
        config = self.whole(image, classes)
        bases, labels = self._start(context, config)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive(context.seed, "hallucinators"))
            bank = decoder(KIND, config, image, classes)
            alike = self.shared or self.depth == 0
            scale = (NOISE if alike else 0.0) if self.noise is None else self.noise
            with torch.no_grad():
                for name in ("sigma", "mu"):
                    affine = bank.get_parameter(name)
                    affine.add_(scale * torch.randn_like(affine))
                if self.start == "identity" and self.depth:
                    to_identity(bank)
        return Haba(bases, labels, bank.to(context.device), context.space, self)

    def _counted(self, classes: int) -> HabaSettings:
        """These settings with ``hallucinators`` counted over the whole set."""
        return self.model_copy(update={"hallucinators": self.hallucinators * classes}) if self.class_wise else self

    def _start(self, context: Context, config: HabaConfig) -> tuple[Tensor, Tensor]:
        """Choose the bases to start from, float32 [N, c', H, W], and their labels, class by class."""
        count = self.budget(context.data.shape, context.classes, context.ipc).sources
        channels = config.source_shape(context.data.shape)[0]
        if self.init == "noise":
            drawn, labels = noise(context, count)
            return drawn[:, :channels], labels
        images, labels = selections.real_images(self.init, context, count * self.factor**2, self.selection)
        if channels < images.shape[1]:
            images = images.mean(1, keepdim=True)
        patches = config.patches()
        return images if patches is None else tiled(images, patches, self.resize), labels[:: self.factor**2]


def to_identity(bank: Decoder) -> None:
    """Change freshly initialised hallucinators of depth 1 in place so that they nearly return the basis.

    Each convolution becomes Dirac's plus a share of what it was. The encoder's bias lifts values above the ReLU's zero,
    and mu takes that back. A colour without a hidden channel of its own is made from another colour's.
    """
    for name in ("encoder", "decoder"):
        weight = bank.get_parameter(f"{name}.0.weight").mul_(BLEND)
        bank.get_parameter(f"{name}.0.bias").mul_(BLEND)
        outputs, inputs = weight.shape[1:3]
        for output in range(outputs):
            weight[:, output, output % inputs, 1, 1] += 1
    bank.get_parameter("encoder.0.bias").add_(SHIFT)
    bank.get_parameter("mu").sub_(SHIFT * bank.get_parameter("sigma"))


class Haba(Parameterization):
    """Bases and a bank of hallucinators.

    Pairs are numbered as in the pack: source · slots + slot, where slot = hallucinator · factor² + patch. With
    class-wise hallucinators a slot is a place in the class's own list.

    Args:
        bases: float32 [N, c', H, W] in the space.
        labels: int64 [N].
        bank: ``settings.hallucinators`` hallucinators; with ``class_wise``, this many for each class, class by class.
        space: the pixel space.
        settings: how to draw batches, and the learning rates.

    Attributes:
        hallucinators: the number of hallucinators that each basis can be combined with.

    Raises:
        FormatError: if the bank has another size.
    """

    epoch_rule: ClassVar[Literal["paired", "product"]] = "paired"

    def __init__(self, bases: Tensor, labels: Tensor, bank: Decoder, space: Space, settings: HabaSettings) -> None:
        super().__init__()
        self.hallucinators, self._patches = settings.hallucinators, settings.factor**2
        self._slots = self.hallucinators * self._patches
        expected = self._slots * (bank.classes if settings.class_wise else 1)
        if bank.bank_size != expected:
            raise FormatError(f"a bank of {plural(bank.bank_size, 'decoder')}; the settings ask for {expected}")
        self.bases = nn.Parameter(bases.detach().clone())
        self.bank, self.space, self.settings = bank, space, settings
        self.register_buffer("base_labels", labels, persistent=False)
        self.register_buffer("labels", labels.repeat_interleave(self._slots), persistent=False)

    @override
    def images(self, pair_ids: Tensor | None = None) -> Tensor:
        if pair_ids is None and not self.settings.class_wise:
            return self.bank.product(self.bases).flatten(0, 1)
        if pair_ids is None:
            pair_ids = torch.arange(len(self.labels), device=self.device)
        source_ids, slot_ids = pair_ids // self._slots, pair_ids % self._slots
        decoder_ids = slot_ids
        if self.settings.class_wise:
            labels = self.get_buffer("base_labels")[source_ids.to(self.device)].to(slot_ids.device)
            decoder_ids = slot_ids + self._slots * labels
        images: Tensor = self.bank(self.bases, decoder_ids, source_ids)
        return images

    @override
    def batch(self, generator: torch.Generator, size: int | None = None, label: int | None = None) -> Tensor:
        """Choose bases, each once with every drawn hallucinator: two, or one as released (``settings.batches``).

        Args:
            generator: the generator to draw from, on the CPU.
            size: how many pairs to return; just enough bases are drawn, and surplus pairs are left out. None for all
                bases.
            label: the class to choose from; None for all classes.
        """
        count = 1 if self.settings.batches == "released" else min(2, self.hallucinators)
        hallucinators = torch.randperm(self.hallucinators, generator=generator)[:count]
        bases = self._some_bases(generator, None if size is None else -(-size // count), label)
        pair_ids = (bases[:, None] + self._patches * hallucinators).flatten()
        return pair_ids[:size].to(self.device)

    def two(self, generator: torch.Generator, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Choose the same bases with two different random hallucinators, for the adversarial terms (section 3.2).

        Args:
            generator: the generator to draw from, on the CPU.
            size: how many (small) bases to draw without replacement; None for all, in order.

        Returns:
            pair_ids int64 [n] and [n]; entry i of both belongs to the same basis.

        Raises:
            FormatError: if there is only one hallucinator.
        """
        if self.hallucinators < 2:
            raise FormatError("two different hallucinators are needed, and there is 1; set hallucinators to 2 or more")
        first, second = (self._patches * torch.randperm(self.hallucinators, generator=generator)[:2]).tolist()
        bases = self._some_bases(generator, size, None)
        return (bases + first).to(self.device), (bases + second).to(self.device)

    @override
    def groups(self) -> Sequence[Group]:
        rates = self.settings
        found = [
            Group(name="bases", params=[self.bases], lr=rates.lr_bases),
            Group(name="hallucinators", params=list(self.bank.parameters()), lr=rates.lr_hallucinators),
        ]
        if rates.momentum is not None:
            for group in found:
                group["momentum"] = rates.momentum
        return found

    @override
    def parts(self) -> list[Part]:
        config = self.bank.config
        bank = decoder(KIND, config, self.bank.image, self.bank.classes)
        bank.load_state_dict({key: copied(value) for key, value in self.bank.state_dict().items()})
        labels: Tensor = self.get_buffer("base_labels")
        lists = None
        if self.settings.class_wise:
            firsts = range(0, bank.bank_size, self._slots)
            lists = tuple(tuple(range(first, first + self._slots)) for first in firsts)
        return [Part(KIND, config, bank.requires_grad_(False), copied(self.bases), labels.cpu(), class_decoders=lists)]

    def _some_bases(self, generator: torch.Generator, size: int | None, label: int | None) -> Tensor:
        """(Small) bases as the pair_ids of their pairs with hallucinator 0: int64 on the CPU; in order unless drawn."""
        labels = self.get_buffer("base_labels").cpu()
        source_ids = torch.arange(len(labels)) if label is None else torch.nonzero(labels == label)[:, 0]
        bases = (source_ids[:, None] * self._slots + torch.arange(self._patches)).flatten()
        if size is not None and size < len(bases):
            bases = bases[torch.randperm(len(bases), generator=generator)[:size]]
        return bases


SETTINGS = HabaSettings
