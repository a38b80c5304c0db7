"""KFS: latent codes × small shared decoders (Lee et al. 2022, section 3.1 and appendix A).

One decoder is pre-trained as half of an autoencoder on the real images and copied to fill the bank; codes start as
encodings of real images; then codes and decoders learn together.

Inferred, because the paper does not say:

- The encoder has 3×3 convolutions of stride 2 with ReLU, and a 1×1 convolution to the code, whose channels are
  standardised (batch norm without parameters), so that codes start with unit variance and the learning rate of 0.1
  means the same for all data.
- Codes start from random real images of their class.
- Copies get noise. Exact copies would stay equal forever: the loss sees the mean over all pairs, so equal decoders get
  equal gradients, and a bank of D would act as one. The noise is Gaussian, ``noise`` times the standard deviation of
  each weight tensor; biases are copied exactly.

A continual learner learns the decoders in its first stage and keeps them; each later stage learns codes for its own
classes (appendix A). It is inferred how those codes start: as encodings of the stage's own images, too. Their encoder
is trained on these images for as many steps as the autoencoder, so that the kept decoders reproduce them (the loss is
the mean over all decoders). So, besides its images, a stage needs only what a pack holds, and can be added to a pack at
any time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.decoders import Decoder, decoder
from dsetpack.decoders.base import take
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.kfs import KfsConfig
from dsetpack.pack.part import Part
from dsetpack.spaces import Raw, Space
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Group, Schedule, Terms, Trainable, optimise
from dsetpack.trainers.parameterizations import base
from dsetpack.trainers.parameterizations.base import Budget, Parameterization, Positive
from dsetpack.trainers.seeds import derive, generator

KIND = "kfs"
BATCH = 512
Rate = Annotated[float, Field(gt=0)]
CHANNELS: dict[tuple[int, bool], tuple[int, ...]] = {
    (2, True): (8, 6, 4),
    (2, False): (12, 9, 6),
    (4, True): (2, 4),
    (4, False): (4, 6),
}
"""Default channels by kernel and by whether images are grey. (12, 9, 6) is section 3.1's; the others are inferred."""


class KfsSettings(base.ParameterizationSettings):
    """Settings of codes and a bank of decoders, pre-trained as an autoencoder (appendix A).

    ``sources`` is the number of codes per class. The paper's tables 6 and 9 (code shapes, numbers of codes and
    decoders, channels) are not in its text: ``decoders`` and ``channels`` are inferred, as are ``encoder_width`` and
    ``noise``.

    Attributes:
        decoders, channels, kernel: the bank; see the kind ``kfs``. ``channels`` None stands for ``CHANNELS``.
        pretrain, pretrain_batch, pretrain_lr: the autoencoder's training.
        encoder_width: the encoder's channels.
        noise: the noise that tells the copies of the decoder apart, relative to each weight tensor's standard
            deviation.
        lr_codes, lr_decoders: the learning rates of the joint training.
    """

    name: Literal["kfs"] = "kfs"
    decoders: Positive = 8
    channels: tuple[Positive, ...] | None = None
    kernel: Literal[2, 4] = 2
    pretrain: Schedule = Schedule(steps=2000)
    pretrain_batch: Positive = 256
    pretrain_lr: Rate = 0.01
    encoder_width: Positive = 32
    noise: Annotated[float, Field(ge=0)] = 0.1
    lr_codes: Rate = 0.1
    lr_decoders: Rate = 0.01

    @override
    def config(self, image: tuple[int, int, int]) -> KfsConfig:
        channels = self.channels or CHANNELS[self.kernel, image[0] == 1]
        return KfsConfig(decoders=self.decoders, channels=channels, kernel=self.kernel)

    @override
    def build(self, context: Context) -> Kfs:
        data = context.data
        config = self.config(data.shape)
        codes = self.budget(data.shape, context.classes, context.ipc).sources
        return start(
            self._autoencoder(context, config),
            config,
            context.space,
            codes=codes,
            noise=self.noise,
            seed=context.seed,
            lr_codes=self.lr_codes,
            lr_decoders=self.lr_decoders,
        )

    def budget_later(self, image: tuple[int, int, int], classes: int, ipc: int) -> Budget:
        """``budget`` of a later stage: only its codes count, since the first stage has paid for the decoders."""
        return self.budget_for(image, classes, ipc, 0)

    def build_later(self, context: Context, bank: Decoder) -> Kfs:
        """Build the set of a later stage: codes to learn, on decoders that stay as they are.

        Args:
            context: the stage's context, with its own images and classes.
            bank: the decoders of the first stage, which fit this configuration; they are copied.
        """
        data = context.data
        codes = self.budget_later(data.shape, context.classes, context.ipc).sources
        kept = copy.deepcopy(bank).to(context.device).requires_grad_(False)
        encoder = self._autoencoder(context, self.config(data.shape), kept)
        index = data.draw(codes, derive(context.seed, "codes"))
        return Kfs(encoder.encode(index), data.labels[index], kept, context.space, lr_codes=self.lr_codes, frozen=True)

    def _autoencoder(self, context: Context, config: KfsConfig, bank: Decoder | None = None) -> Autoencoder:
        made = Autoencoder(
            config,
            context.data,
            batch=self.pretrain_batch,
            lr=self.pretrain_lr,
            width=self.encoder_width,
            seed=context.seed,
            bank=bank,
        )
        optimise(made, self.pretrain, seed=derive(context.seed, "pretrain"), run=context.run("pretrain"))
        return made


class Kfs(Parameterization):
    """Codes and a bank of decoders.

    Args:
        codes: float32 [N, *source shape].
        labels: int64 [N].
        bank: the decoders.
        space: the pixel space that ``images`` come in.
        lr_codes, lr_decoders: Adam's learning rates (KFS: 0.1 and 0.01).
        frozen: whether the decoders stay as they are, so that only codes are learned.
    """

    def __init__(
        self,
        codes: Tensor,
        labels: Tensor,
        bank: Decoder,
        space: Space,
        *,
        lr_codes: float = 0.1,
        lr_decoders: float = 0.01,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.codes = nn.Parameter(codes.detach().clone())
        self.bank = bank
        self.frozen = frozen
        self.space = space
        self.register_buffer("code_labels", labels, persistent=False)
        self.register_buffer("labels", labels.repeat_interleave(bank.bank_size), persistent=False)
        self._rates = {"codes": lr_codes, "decoders": lr_decoders}

    @override
    def images(self, pair_ids: Tensor | None = None) -> Tensor:
        if pair_ids is None:
            raw = self.bank.product(self.codes).flatten(0, 1)
        else:
            size = self.bank.bank_size
            source_ids, decoder_ids = pair_ids // size, pair_ids % size
            raw = self.bank(take(self.codes, source_ids), decoder_ids)
        return raw if isinstance(self.space, Raw) else self.space.apply(raw)

    @override
    def groups(self) -> Sequence[Group]:
        codes = Group(name="codes", params=[self.codes], lr=self._rates["codes"])
        if self.frozen:
            return [codes]
        return [codes, Group(name="decoders", params=list(self.bank.parameters()), lr=self._rates["decoders"])]

    @override
    def parts(self) -> list[Part]:
        config = self.bank.config
        bank = decoder(KIND, config, self.bank.image, self.bank.classes)
        bank.load_state_dict({key: value.detach().cpu() for key, value in self.bank.state_dict().items()})
        labels: Tensor = self.get_buffer("code_labels")
        return [Part(KIND, config, bank.requires_grad_(False), self.codes.detach().cpu().clone(), labels.cpu())]


class Encoder(nn.Module):
    """A network from raw images to codes of unit variance. It halves as often as the decoder doubles (inferred)."""

    def __init__(self, config: KfsConfig, image: tuple[int, int, int], width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = image[0]
        for _ in config.channels:
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.ReLU()]
            channels = width
        # no bias: the norm would undo it, so its gradient would be rounding errors alone, which Adam scales up
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, config.channels[0], 1, bias=False))
        self.norm = nn.BatchNorm2d(config.channels[0], affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images [B, C, H, W] as codes [B, channels, ceil(H / scale), ceil(W / scale)]."""
        codes: Tensor = self.norm(self.body(x))
        return codes


class Autoencoder(Trainable):
    """An encoder and one decoder, trained to reproduce random batches of real images (appendix A: 2000 steps of 256).

    Args:
        config: the bank's configuration; one decoder of this kind is trained.
        data: the real images.
        batch, lr, width: the batch size, the learning rate, and the encoder's channels.
        seed: the seed of the weights.
        bank: decoders without gradients, on the data's device: all of them decode, and only the encoder is trained.
    """

    repeatable = False

    def __init__(
        self,
        config: KfsConfig,
        data: ImageData,
        *,
        batch: int,
        lr: float,
        width: int,
        seed: int,
        bank: Decoder | None = None,
    ) -> None:
        self.data, self._batch, self._lr = data, batch, lr
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive(seed, "autoencoder"))
            single = config.model_copy(update={"decoders": 1})
            self.decoder = bank or decoder(KIND, single, data.shape, len(data.classes)).to(data.images.device)
            self.encoder = Encoder(config, data.shape, width).to(data.images.device)

    @override
    def groups(self) -> Sequence[Group]:
        params = [p for p in (*self.encoder.parameters(), *self.decoder.parameters()) if p.requires_grad]
        return [Group(name="autoencoder", params=params, lr=self._lr)]

    @override
    def backward(self, step: int, generator: torch.Generator) -> Terms:
        chosen = torch.randint(len(self.data), (self._batch,), generator=generator)
        images = self.data.raw(chosen.to(self.data.images.device))
        decoded = self.decoder.product(self.encoder(images))
        loss = F.mse_loss(decoded, images[:, None].expand_as(decoded))
        torch.autograd.backward(loss)
        return {"reconstruction": loss.detach()}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"encoder": self.encoder.state_dict(), "decoder": self.decoder.state_dict()}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.encoder.load_state_dict(state["encoder"])
        self.decoder.load_state_dict(state["decoder"])

    def encode(self, index: Tensor) -> Tensor:
        """Encode some of the real images, without gradients, standardised by the norm's running statistics."""
        self.encoder.eval()
        with torch.no_grad():
            codes = torch.cat([self.encoder(self.data.raw(part)) for part in torch.split(index, BATCH)])
        self.encoder.train()
        return codes.to(next(self.encoder.parameters()))  # products may be in bfloat16, learned values are not


def start(
    autoencoder: Autoencoder, config: KfsConfig, space: Space, *, codes: int, noise: float, seed: int, **rates: Any
) -> Kfs:
    """Make codes and a bank from the pre-trained autoencoder.

    Args:
        autoencoder: the pre-trained autoencoder.
        config: the bank's configuration.
        space: the pixel space to match in.
        codes: the number of codes per class.
        noise: the noise that tells the copies apart, relative to each weight tensor's standard deviation; see the
            module's docstring.
        seed: the seed of the choice of images to encode, and of the noise.
        **rates: ``lr_codes`` and ``lr_decoders``.
    """
    data = autoencoder.data
    index = data.draw(codes, derive(seed, "codes"))
    bank = copies(autoencoder.decoder, config, noise, seed).to(data.images.device)
    return Kfs(autoencoder.encode(index), data.labels[index], bank, space, **rates)


def copies(single: Decoder, config: KfsConfig, noise: float, seed: int) -> Decoder:
    """Make a bank of ``config.decoders`` copies of one decoder, told apart by noise on the weights.

    Raises:
        FormatError: if there are several copies but no noise: they would never differ.
    """
    if config.decoders > 1 and not noise > 0:
        raise FormatError(f"{config.decoders} equal decoders would stay equal: noise is {noise}, expected above 0")
    bank = decoder(KIND, config, single.image, single.classes)
    drawn = generator(seed, "noise")
    state = {}
    for key, value in single.state_dict().items():
        many = value.cpu().expand(config.decoders, *value.shape[1:])
        scale = noise * value.std().item() if key.endswith("weight") and config.decoders > 1 else 0.0
        state[key] = many + scale * torch.randn(many.shape, generator=drawn)
    bank.load_state_dict(state)
    return bank


SETTINGS = KfsSettings
