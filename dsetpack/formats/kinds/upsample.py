"""``upsample``: a source holds f×f images, each cut out and enlarged (IDC, Kim et al. 2022, "multi-formation")."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.base import KindConfig, TensorShapes
from dsetpack.formats.words import plural


class UpsampleConfig(KindConfig):
    """A source is an image [C, H, W] in the pack's space; its f×f patches are the small images it holds.

    The source is padded with 0.5 at the bottom and the right to multiples of ``factor`` and cut into ``factor`` ×
    ``factor`` patches, which are numbered row by row. Each patch is enlarged bilinearly to H × W. Nothing is learned.

    Attributes:
        factor: patches per side; a source decodes to ``factor**2`` images. The paper uses 2, and 3 for ImageNet.
        align_corners: whether the corner pixels of patch and image coincide (as in ``torch.nn.Upsample``).
    """

    yields: ClassVar[Literal["space", "raw"]] = "space"

    factor: Annotated[int, Field(ge=2, lt=2**63)]
    align_corners: bool = False

    @override
    def bank_size(self) -> int:
        return self.factor**2

    @override
    def source_shape(self, image: tuple[int, int, int]) -> tuple[int, ...]:
        return image

    def patch_size(self, image: tuple[int, int, int]) -> tuple[int, int]:
        """The height and width of a patch: the image's divided by ``factor``, rounded up."""
        return -(-image[1] // self.factor), -(-image[2] // self.factor)

    @override
    def prepared_floats(self, image: tuple[int, int, int]) -> int:
        return sum(side * patch for side, patch in zip(image[1:], self.patch_size(image), strict=True))

    @override
    def bank_shapes(self, image: tuple[int, int, int], classes: int) -> TensorShapes:
        for side, patch, name in zip(image[1:], self.patch_size(image), ("height", "width"), strict=True):
            if (self.factor - 1) * patch >= side:
                raise FormatError(
                    f"upsample: factor {self.factor} does not fit image {name} {side}: patches of "
                    f"{plural(patch, 'pixel')} leave whole patches of padding; expected a factor with "
                    f"(factor - 1) * patch < {side}"
                )
        return {}


CONFIG = UpsampleConfig
