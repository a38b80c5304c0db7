"""``kfs``: latent codes and small decoders (KFS, Lee et al. 2022, appendix tables 4, 5, 7 and 8)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from dsetpack.formats.kinds.base import KindConfig, TensorShapes


class KfsConfig(KindConfig):
    """A source is a code [channels[0], h, w]; a decoder is a chain of transposed convolutions of stride 2.

    There is no activation between the layers. A sigmoid ends the chain, so images are raw, in [0, 1]. Three layers
    ("Low-R") enlarge a code 8 times, two ("High-R") 4 times. An image whose sides are not multiples of that is the
    centre of the next larger one: of p surplus rows, p // 2 are cut at the top and the rest at the bottom; columns
    likewise.

    Tensors: ``layers.i.weight`` [D, in, out, kernel, kernel] and ``layers.i.bias`` [D, out].

    Attributes:
        decoders: D, the number of decoders.
        channels: channels of the code and after each layer but the last, such as (12, 9, 6): 3 entries for Low-R, 2
            for High-R (the paper's ``Cs`` in reverse). The last layer yields the image's channels.
        kernel: 2 without padding, or 4 with padding 1 (the paper's ImageNet decoders).
    """

    yields: ClassVar[Literal["space", "raw"]] = "raw"

    decoders: Annotated[int, Field(ge=1, lt=2**63)]
    channels: Annotated[tuple[Annotated[int, Field(ge=1, lt=2**63)], ...], Field(min_length=2, max_length=3)]
    kernel: Literal[2, 4] = 2

    @override
    def bank_size(self) -> int:
        return self.decoders

    def scale(self) -> int:
        """How many times longer the sides of an image are than those of its code: 8 (Low-R) or 4 (High-R)."""
        return int(2 ** len(self.channels))

    @override
    def source_shape(self, image: tuple[int, int, int]) -> tuple[int, ...]:
        return self.channels[0], -(-image[1] // self.scale()), -(-image[2] // self.scale())

    @override
    def prepared_floats(self, image: tuple[int, int, int]) -> int:
        block = image[0] * self.scale() ** 2  # one code pixel becomes a block, by an affine map of its channels
        return self.decoders * (self.channels[0] + 1) * block if self.kernel == 2 else 0

    @override
    def bank_shapes(self, image: tuple[int, int, int], classes: int) -> TensorShapes:
        shapes: TensorShapes = {}
        width = (*self.channels, image[0])
        for i in range(len(self.channels)):
            shapes[f"layers.{i}.weight"] = (self.decoders, width[i], width[i + 1], self.kernel, self.kernel)
            shapes[f"layers.{i}.bias"] = (self.decoders, width[i + 1])
        return shapes


CONFIG = KfsConfig
