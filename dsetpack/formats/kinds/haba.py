"""``haba``: bases and hallucinators (HaBa, Liu et al. 2022, section 3.1, equation 2)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.base import KindConfig, TensorShapes
from dsetpack.formats.kinds.upsample import UpsampleConfig
from dsetpack.formats.words import plural

FIRST_CHANNELS = 8  # for deep hallucinators; no other choice gives the parameter counts of the paper's table 9


class HabaConfig(KindConfig):
    """A source is a basis [source_channels, H, W]; a decoder is a hallucinator: encode, ``sigma * x + mu``, decode.

    Form ``paper``; all kernels are 3×3 with padding 1 and bias:

    - depth 0: the affine transformation alone, on the image.
    - depth d >= 1: the encoder has d convolutions, each followed by a ReLU; the decoder mirrors it with d convolutions
      and a ReLU after each but the last, because images in a normalised or whitened space have values of both signs.
      Each block after the first doubles the channels and halves the resolution (rounded up). The paper's parameter
      counts imply this, but not how: we chose a stride of 2 in the encoder and a transposed convolution of stride 2
      (its adjoint, so any size is restored exactly) in the decoder.

    Form ``released`` does what the authors' code does, at depth 1 only: a 3×3 convolution without padding, the affine
    transformation at (H-2) × (W-2), a transposed 3×3 convolution, and no ReLU.

    Tensors: ``sigma`` and ``mu`` [D, c, h, w]; ``encoder.i.weight`` [D, out, in, 3, 3]; ``decoder.i.weight``
    [D, in, out, 3, 3] for transposed convolutions (all of the released form, all but the last of the paper's),
    otherwise [D, out, in, 3, 3]; ``*.bias`` [D, out]. Layers are numbered in the order they run. With ``shared`` the
    first dimension of weights and biases is 1.

    With a ``factor`` f above 1 a source holds f×f small bases (down-sampled as in IDC; the paper's table 3). They are
    cut out and enlarged bilinearly to H × W as in kind ``upsample``, padding included, and then hallucinated. A decoder
    is then a hallucinator on a patch, with the number hallucinator · f² + patch. All tensors keep their shapes.

    Attributes:
        decoders: D, the number of hallucinators; 5 in the paper.
        depth: the number of nonlinear blocks, 0 to 3.
        channels: channels of the first block; None means the image's channels at depth 0 and 1, and 8 from depth 2 on.
        source_channels: 1 or the image's channels; None means the latter.
        form: ``paper`` or ``released``.
        shared: whether all hallucinators share one encoder and decoder and differ in ``sigma`` and ``mu`` (table 11).
        factor: small bases per side of a source: 2 in the paper's table 3; 1 means one basis of the image's size.
    """

    yields: ClassVar[Literal["space", "raw"]] = "space"

    decoders: Annotated[int, Field(ge=1, lt=2**63)]
    depth: Annotated[int, Field(ge=0, le=3)] = 1
    channels: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    source_channels: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    form: Literal["paper", "released"] = "paper"
    shared: bool = False
    factor: Annotated[int, Field(ge=1, lt=2**63)] = 1

    @model_validator(mode="after")
    def _released_has_depth_1(self) -> HabaConfig:
        if self.form == "released" and self.depth != 1:
            raise ValueError(f"the released form has depth 1, found depth {self.depth}; use form 'paper'")
        return self

    @override
    def bank_size(self) -> int:
        return self.decoders * self.factor**2

    @override
    def source_shape(self, image: tuple[int, int, int]) -> tuple[int, ...]:
        return (image[0] if self.source_channels is None else self.source_channels, *image[1:])

    def patches(self) -> UpsampleConfig | None:
        """How small bases are cut out and enlarged; None if a source is one basis."""
        return UpsampleConfig(factor=self.factor) if self.factor > 1 else None

    @override
    def prepared_floats(self, image: tuple[int, int, int]) -> int:
        patches = self.patches()
        return patches.prepared_floats(image) if patches else 0

    def widths(self, image: tuple[int, int, int]) -> tuple[int, ...]:
        """The channels after 0, 1, ... ``depth`` encoder blocks: first the source's, last those of ``sigma``."""
        first = self.channels or (FIRST_CHANNELS if self.depth > 1 else image[0])
        return (self.source_shape(image)[0], *(first << i for i in range(self.depth)))

    def feature_shape(self, image: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of ``sigma[k]`` and ``mu[k]``."""
        if self.form == "released":
            return self.widths(image)[-1], image[1] - 2, image[2] - 2
        halvings = max(self.depth - 1, 0)
        return self.widths(image)[-1], -(-image[1] // 2**halvings), -(-image[2] // 2**halvings)

    @override
    def bank_shapes(self, image: tuple[int, int, int], classes: int) -> TensorShapes:
        self._check(image)
        width = self.widths(image)
        outward = (image[0], *width[1:])  # the decoder ends with the image's channels, not the source's
        first = 1 if self.shared else self.decoders
        shapes: TensorShapes = {"sigma": (self.decoders, *self.feature_shape(image))}
        shapes["mu"] = shapes["sigma"]
        for i in range(self.depth):
            shapes[f"encoder.{i}.weight"] = (first, width[i + 1], width[i], 3, 3)
            shapes[f"encoder.{i}.bias"] = (first, width[i + 1])
            wide, narrow = outward[self.depth - i], outward[self.depth - i - 1]
            transposed = self.form == "released" or i < self.depth - 1
            shapes[f"decoder.{i}.weight"] = (first, wide, narrow, 3, 3) if transposed else (first, narrow, wide, 3, 3)
            shapes[f"decoder.{i}.bias"] = (first, narrow)
        return shapes

    def _check(self, image: tuple[int, int, int]) -> None:
        found = self.source_shape(image)[0]
        if found not in (1, image[0]):
            raise FormatError(f"haba: source_channels {found}, expected 1 or the image's {image[0]}")
        if self.depth == 0 and (found != image[0] or self.channels not in (None, image[0])):
            raise FormatError(
                f"haba: depth 0 has no layer that changes channels: found source_channels {found} and channels "
                f"{self.channels} for images of {plural(image[0], 'channel')}; leave both out"
            )
        if patches := self.patches():
            try:
                patches.bank_shapes(image, 1)
            except FormatError as error:
                raise FormatError(str(error).replace("upsample", "haba", 1)) from None
        if self.form == "released" and min(image[1:]) < 3:
            raise FormatError(f"haba: the released form needs images of at least 3×3, found {image[1]}×{image[2]}")


CONFIG = HabaConfig
