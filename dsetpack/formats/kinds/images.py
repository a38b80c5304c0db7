"""``images``: the sources are the images; the decoder is the identity."""

from __future__ import annotations

from typing_extensions import override

from dsetpack.formats.kinds.base import KindConfig, TensorShapes


class ImagesConfig(KindConfig):
    """A kind without settings: sources are float images [N, C, H, W] in the pack's space."""

    @override
    def bank_size(self) -> int:
        return 1

    @override
    def source_shape(self, image: tuple[int, int, int]) -> tuple[int, ...]:
        return image

    @override
    def bank_shapes(self, image: tuple[int, int, int], classes: int) -> TensorShapes:
        return {}


CONFIG = ImagesConfig
