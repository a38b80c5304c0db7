"""DSA: differentiable Siamese augmentation (Zhao & Bilen, ICML 2021, arXiv 2102.08259).

Where the paper leaves details open, this follows the authors' released code (VICO-UoE/DatasetCondensation), even where
that code is surprising:

- One operation is drawn per *batch*, not per image. Its parameters are drawn per image, or once per batch if
  ``siamese``. ``color`` counts as one operation: brightness, then saturation, then contrast.
- All arithmetic is on the images as given, normalised or whitened. The zeros that crop, cutout, scale and rotate fill
  in are mean pixels there; they are black only in raw space. Nothing is clipped.
- Brightness *adds* one offset to all channels. Saturation scales the distance to the mean over channels, so it leaves
  1-channel images as they are. Contrast scales the distance to the mean over the whole image.
- Crop is a shift by whole pixels. Cutout's centre is drawn over the whole image, so less is cut at the border.
- Scale draws height and width separately, so the aspect ratio changes. Rotation happens in coordinates that run from
  -1 to 1 along each side, so it shears images that are not square.

Two things differ from the release on purpose. The release reseeds the global generator before each Siamese draw; here
all draws come from the generator given, in a fixed order, so the same seed gives different (equally distributed)
parameters. The release also draws a value per image and then uses the first for all; here one value is drawn, for any
batch size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dsetpack.formats.card import Augmentation, Card
from dsetpack.formats.errors import FormatError
from dsetpack.order.checks import check_seed

HALF = (torch.float16, torch.bfloat16)


def augmentation_of(card: Card, choice: Augmentation | Literal["card"] | None) -> Augmentation | None:
    """Replace ``"card"`` by the card's augmentation; return any other choice as it is.

    Raises:
        FormatError: if the choice is not ``"card"``, an ``Augmentation`` or None.
    """
    if choice is not None and choice != "card" and not isinstance(choice, Augmentation):
        raise FormatError(f"augmentation is {choice!r}; expected 'card', None, or a dsetpack.Augmentation")
    return card.augmentation if choice == "card" else choice


class Dsa:
    """DSA of batches, by a card's ``Augmentation``. It holds no state: every draw comes from the generator.

    The draws are made on the generator's own device (as small tensors, then moved), so a CPU generator gives the same
    parameters on whichever device the images are. With mode ``one``, a CUDA generator costs one synchronisation per
    batch.
    """

    def __init__(self, spec: Augmentation) -> None:
        self.spec = spec

    def __call__(self, x: Tensor, generator: torch.Generator | int, siamese: bool = False) -> Tensor:
        """Augment images [N, C, H, W]; the result is differentiable in ``x`` and has its dtype and device.

        Args:
            x: float [N, C, H, W].
            generator: the generator of all draws, or a seed for a new CPU generator.
            siamese: draw once for the whole batch instead of once per image. Calls with the same seed (or with
                generators in the same state) then treat batches of any size alike, such as real and synthetic images.

        Raises:
            FormatError: if ``x`` is not a batch of float images.
        """
        if x.ndim != 4 or not x.is_floating_point():
            raise FormatError(f"DSA takes float images [N, C, H, W]; found {x.dtype} {list(x.shape)}")
        if not isinstance(generator, torch.Generator):
            generator = torch.Generator().manual_seed(check_seed(generator))
        if not len(x):
            return x
        dtype = x.dtype
        x = x.float() if dtype in HALF else x  # with 8 or 11 bits, coordinates in an image would be pixels off
        draw = _Draw(generator, 1 if siamese else len(x), x)
        ops = self.spec.ops
        if self.spec.mode == "one":
            ops = (ops[draw.choice(len(ops))],)
        for op in ops:
            x = _OPS[op](x, self.spec, draw)
        return x.to(dtype).contiguous()


class _Draw:
    """Draws of ``count`` parameters at a time, always in float32, moved to the images' dtype and device."""

    def __init__(self, generator: torch.Generator, count: int, like: Tensor) -> None:
        self._generator, self._count, self._like = generator, count, like

    def uniform(self, low: float, high: float) -> Tensor:
        """Draw [count] numbers from low to high, in the images' dtype."""
        unit = torch.rand(self._count, generator=self._generator, dtype=torch.float32, device=self._generator.device)
        return unit.to(self._like) * (high - low) + low

    def integer(self, low: int, high: int) -> Tensor:
        """Draw [count] int64 from low to high, both included."""
        device = self._generator.device
        values = torch.randint(low, high + 1, (self._count,), generator=self._generator, device=device)
        return values.to(self._like.device)

    def choice(self, count: int) -> int:
        """Draw a number from 0 to count - 1."""
        return int(torch.randint(count, (1,), generator=self._generator, device=self._generator.device))


def brightness(x: Tensor, offset: Tensor) -> Tensor:
    """Add an offset to each image; offset [N] or [1]."""
    return x + offset.view(-1, 1, 1, 1)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Scale each pixel's distance to its mean over channels; factor [N] or [1]."""
    mean = x.mean(1, keepdim=True)
    return (x - mean) * factor.view(-1, 1, 1, 1) + mean


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance to each image's mean over channels and pixels; factor [N] or [1]."""
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * factor.view(-1, 1, 1, 1) + mean


def shift(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Pixel (i, j) of the result is pixel (i + down, j + right), zero outside; down, right int64 [N] or [1]."""
    n, c, h, w = x.shape
    rows = torch.arange(h, device=x.device) + down.view(-1, 1)
    columns = torch.arange(w, device=x.device) + right.view(-1, 1)
    inside = _between(rows, 0, h)[:, None, :, None] & _between(columns, 0, w)[:, None, None, :]
    index = rows.clamp(0, h - 1)[:, :, None] * w + columns.clamp(0, w - 1)[:, None, :]
    return torch.where(inside, _pick(x, index.flatten(1)).view(n, c, h, w), 0)


def cut(x: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Set a rectangle to zero, clipped at the border; top, left int64 [N] or [1]."""
    rows = _between(torch.arange(x.shape[2], device=x.device) - top.view(-1, 1), 0, height)
    columns = _between(torch.arange(x.shape[3], device=x.device) - left.view(-1, 1), 0, width)
    return torch.where(rows[:, None, :, None] & columns[:, None, None, :], 0, x)


def flip(x: Tensor, chosen: Tensor) -> Tensor:
    """Mirror the chosen images left to right; chosen bool [N] or [1]."""
    return torch.where(chosen.view(-1, 1, 1, 1), x.flip(3), x)


def warp(x: Tensor, matrix: Tensor, align_corners: bool = False) -> Tensor:
    """Sample bilinearly at ``matrix @ (column, row)``: coordinates -1 to 1, zero outside; matrix [N or 1, 2, 2]."""
    theta = F.pad(matrix, (0, 1))
    grid = F.affine_grid(theta, [len(theta), *x.shape[1:]], align_corners=align_corners)
    grid = grid.expand(len(x), -1, -1, -1)
    if x.is_cuda and x.requires_grad and torch.are_deterministic_algorithms_enabled():
        return bilinear(x, grid, align_corners)  # on CUDA, the backward pass of grid_sample adds in any order
    return F.grid_sample(x, grid, align_corners=align_corners)


def bilinear(x: Tensor, grid: Tensor, align_corners: bool = False) -> Tensor:
    """Compute ``grid_sample`` so that its backward pass can be deterministic on CUDA; grid [N, H, W, 2]."""
    n, c, h, w = x.shape
    size = x.new_tensor((w, h))
    at = (grid + 1) / 2 * (size - 1) if align_corners else ((grid + 1) * size - 1) / 2
    corner = at.floor()
    result = torch.zeros_like(x)
    for right in (0, 1):
        for down in (0, 1):
            place = corner + x.new_tensor((right, down))
            weight = (1 - (at - place).abs()).prod(-1)
            column, row = place.long().unbind(-1)
            weight = weight * (_between(column, 0, w) & _between(row, 0, h))
            index = row.clamp(0, h - 1) * w + column.clamp(0, w - 1)
            result = result + _pick(x, index.flatten(1)).view(n, c, *grid.shape[1:3]) * weight[:, None]
    return result


def _between(values: Tensor, low: int, end: int) -> Tensor:
    return (values >= low) & (values < end)


def _pick(x: Tensor, index: Tensor) -> Tensor:
    """Take the pixels [N, C, P] at index [N or 1, P], which counts pixels row by row."""
    return x.flatten(2).gather(2, index[:, None].expand(x.shape[0], x.shape[1], -1))


def _color(x: Tensor, spec: Augmentation, draw: _Draw) -> Tensor:
    x = brightness(x, draw.uniform(-0.5, 0.5) * spec.brightness)
    x = saturation(x, draw.uniform(0, spec.saturation))
    return contrast(x, draw.uniform(spec.contrast, spec.contrast + 1))


def _crop(x: Tensor, spec: Augmentation, draw: _Draw) -> Tensor:
    most_down, most_right = (_pixels(side, spec.crop) for side in x.shape[2:])
    down = draw.integer(-most_down, most_down)
    return shift(x, down, draw.integer(-most_right, most_right))


def _cutout(x: Tensor, spec: Augmentation, draw: _Draw) -> Tensor:
    height, width = (_pixels(side, spec.cutout) for side in x.shape[2:])
    # the centre of an even length lies between pixels or at an edge: one more position than there are pixels
    top = draw.integer(0, x.shape[2] - height % 2) - height // 2
    left = draw.integer(0, x.shape[3] - width % 2) - width // 2
    return cut(x, top, left, height, width)


def _flip(x: Tensor, spec: Augmentation, draw: _Draw) -> Tensor:
    return flip(x, draw.uniform(0, 1) < spec.flip)


def _scale(x: Tensor, spec: Augmentation, draw: _Draw) -> Tensor:
    across = draw.uniform(1 / spec.scale, spec.scale)
    down = draw.uniform(1 / spec.scale, spec.scale)
    return warp(x, torch.diag_embed(torch.stack((across, down), -1)), spec.align_corners)


def _rotate(x: Tensor, spec: Augmentation, draw: _Draw) -> Tensor:
    angle = draw.uniform(-spec.rotate, spec.rotate) * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    rows = torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)
    return warp(x, torch.stack(rows, -2), spec.align_corners)


def _pixels(side: int, share: float) -> int:
    """Convert a share of a side to whole pixels, with halves rounded up."""
    return int(side * share + 0.5)


_OPS: dict[str, Callable[[Tensor, Augmentation, _Draw], Tensor]] = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
