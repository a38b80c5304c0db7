"""``generator``: a conditional generator (DiM, Wang et al. 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from dsetpack.decoders.base import Decoder, take
from dsetpack.formats.kinds.generator import GeneratorConfig, Layer


class Norm(nn.Module):
    """Batch norm over dimension 1 without PyTorch's batch counter, which nothing reads: its whole state is in the pack.

    In training mode it uses the batch's statistics and moves the running ones a tenth of the way to them; otherwise it
    uses the running ones.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, width, ...]."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, momentum=0.1, eps=1e-5
        )


class Block(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, layer: Layer, width: int) -> None:
        super().__init__()
        self.conv: nn.Module
        if layer == "conv":
            self.conv = nn.Conv2d(width, width, 3, padding=1)
        else:
            self.conv = nn.ConvTranspose2d(width, width, 4 if layer == "up4" else 3, stride=2, padding=1)
        self.norm = Norm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, h, w] to the same size, or to sides of 2h - 1 ("up3") or 2h ("up4")."""
        return F.relu(self.norm(self.conv(x)), inplace=True)


class GeneratorDecoder(Decoder):
    """Noise [noise] that begins with the label's one-hot makes a raw image [C, H, W] in [0, 1]. K is 1.

    It starts in evaluation mode and so decodes with its running statistics: an image does not depend on the batch in
    which it is decoded. Only its own training calls ``train()``.
    """

    config: GeneratorConfig

    def __init__(self, config: GeneratorConfig, image: tuple[int, int, int], classes: int) -> None:
        super().__init__(config, image, classes)
        self.fc = nn.Linear(config.noise, 16 * config.width)
        self.fc_norm = Norm(16 * config.width)
        self.blocks = nn.ModuleList(Block(layer, config.width) for layer in config.layers(image))
        self.out = nn.Conv2d(config.width, image[0], 3, padding=1)
        self.eval()

    @override
    def unchecked_one(self, sources: Tensor, decoder_id: int) -> Tensor:
        x = F.relu(self.fc_norm(self.fc(sources)), inplace=True)
        x = torch.unflatten(x, 1, (self.config.width, 4, 4))
        for block in self.blocks:
            x = block(x)
        return (torch.tanh(self.out(x)) + 1) / 2

    @override
    def unchecked_pairs(self, sources: Tensor, decoder_ids: Tensor, source_ids: Tensor | None) -> Tensor:
        return self.unchecked_one(take(sources, source_ids), 0)

    @override
    def condition(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Overwrite the first ``classes`` entries of noise [B, noise] with the one-hot of labels, int64 [B].

        The released DiM conditions its generator this way. The result is a new tensor.
        """
        return torch.cat([F.one_hot(labels, self.classes).to(noise), noise[:, self.classes :]], 1)


DECODER = GeneratorDecoder
