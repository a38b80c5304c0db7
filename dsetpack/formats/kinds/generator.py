"""``generator``: a conditional generator instead of stored images (DiM, Wang et al. 2023)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.base import KindConfig, TensorShapes
from dsetpack.formats.words import plural

NORM = ("weight", "bias", "running_mean", "running_var")
Layer = Literal["up3", "up4", "conv"]


class GeneratorConfig(KindConfig):
    """A source is noise [noise] whose first ``classes`` entries are the label's one-hot; only weights are stored.

    A linear layer makes [width, 4, 4], and ``layers`` follow, all with ``width`` channels. After each of these comes a
    batch norm and a ReLU. A last 3×3 convolution makes the image's channels, and (tanh + 1) / 2 makes raw values in
    [0, 1].

    The paper's 32×32 generator is: up, 3 convolutions, up, convolution, up. For other sizes we chose that 3
    convolutions follow the first enlargement, and 1 follows every later one but the last. Sides are 4·2^k (k >= 1) or,
    with a first kernel of 3 that takes 4 to 7 (as the authors do for 28), 7·2^k (k >= 0).

    Tensors: ``fc.weight`` [16·width, noise] and ``fc.bias``; ``blocks.i.conv.weight``, [in, out, k, k] with k 4 or 3
    for the transposed convolutions (stride 2, padding 1) and [out, in, 3, 3] for the others; ``blocks.i.conv.bias``;
    ``out.weight`` [C, width, 3, 3] and ``out.bias``; and for each norm (``fc_norm``, ``blocks.i.norm``) ``weight``,
    ``bias``, ``running_mean``, ``running_var``. The bank holds one generator and has no leading decoder dimension.

    Attributes:
        width: channels of every hidden layer; 196 in the released code.
        noise: length of the noise vector.
    """

    yields: ClassVar[Literal["space", "raw"]] = "raw"
    has_sources: ClassVar[bool] = False

    width: Annotated[int, Field(ge=1, lt=2**63)] = 196
    noise: Annotated[int, Field(ge=1, lt=2**63)] = 100

    @override
    def bank_size(self) -> int:
        return 1

    @override
    def source_shape(self, image: tuple[int, int, int]) -> tuple[int, ...]:
        return (self.noise,)

    def layers(self, image: tuple[int, int, int]) -> tuple[Layer, ...]:
        """The hidden layers after the linear one: ``up4`` and ``up3`` (kernel 4 and 3) enlarge, ``conv`` does not.

        Raises:
            FormatError: if no such chain ends at this size.
        """
        side = image[1]
        start = 7 if side % 7 == 0 else 8
        doublings = (side // start).bit_length() - 1
        if image[1] != image[2] or side < start or start << doublings != side:
            raise FormatError(
                f"generator: image size {image[1]}×{image[2]}, expected a square with sides 4·2^k (8, 16, 32, ...) or "
                "7·2^k (7, 14, 28, ...)"
            )
        later: tuple[Layer, ...] = ("conv", "up4") * (doublings - 1)
        first: Layer = "up3" if start == 7 else "up4"
        return (first, "conv", "conv", "conv", *(("up4", *later) if doublings else ()))

    @override
    def bank_shapes(self, image: tuple[int, int, int], classes: int) -> TensorShapes:
        if self.noise <= classes:
            raise FormatError(
                f"generator: {plural(self.noise, 'noise entry')} for {plural(classes, 'class')}; expected more than "
                f"{classes}, since the label takes the first ones"
            )
        hidden, width = 16 * self.width, self.width
        shapes: TensorShapes = {"fc.weight": (hidden, self.noise), "fc.bias": (hidden,)}
        shapes |= {f"fc_norm.{part}": (hidden,) for part in NORM}
        for i, layer in enumerate(self.layers(image)):
            kernel = 4 if layer == "up4" else 3
            shapes[f"blocks.{i}.conv.weight"] = (width, width, kernel, kernel)
            shapes[f"blocks.{i}.conv.bias"] = (width,)
            shapes |= {f"blocks.{i}.norm.{part}": (width,) for part in NORM}
        return shapes | {"out.weight": (image[0], width, 3, 3), "out.bias": (image[0],)}


CONFIG = GeneratorConfig
