"""DSA against plain loops over images, channels and pixels that know nothing of the implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from dsetpack.formats.card import Augmentation
from dsetpack.formats.errors import FormatError
from dsetpack.training import augment
from dsetpack.training.augment import Dsa

OPS = ("color", "crop", "cutout", "flip", "scale", "rotate")
OFF = {"brightness": 0, "crop": 0, "cutout": 0, "flip": 0, "scale": 1, "rotate": 0}


def batch(n: int = 4, shape: tuple[int, int, int] = (3, 6, 5), seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixel(image: np.ndarray, row: int, column: int) -> float:
    inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
    return image[row, column] if inside else 0.0


def bilinear(image: np.ndarray, row: float, column: float) -> float:
    r, c = math.floor(row), math.floor(column)
    total = 0.0
    for rr in (r, r + 1):
        for cc in (c, c + 1):
            total += pixel(image, rr, cc) * (1 - abs(row - rr)) * (1 - abs(column - cc))
    return total


def warped(image: np.ndarray, matrix: np.ndarray, align: bool) -> np.ndarray:
    h, w = image.shape
    out = np.zeros_like(image)
    for i in range(h):
        for j in range(w):
            u, v = (2 * j / (w - 1) - 1, 2 * i / (h - 1) - 1) if align else ((2 * j + 1) / w - 1, (2 * i + 1) / h - 1)
            u, v = matrix @ np.array([u, v])
            at = (
                ((v + 1) / 2 * (h - 1), (u + 1) / 2 * (w - 1))
                if align
                else (((v + 1) * h - 1) / 2, ((u + 1) * w - 1) / 2)
            )
            out[i, j] = bilinear(image, *at)
    return out


def planes(x: torch.Tensor):
    """(n, c, plane) of every channel of every image."""
    return [(n, c, plane) for n, image in enumerate(x.numpy()) for c, plane in enumerate(image)]


def test_color_operations():
    x = batch()
    f = torch.tensor([0.0, 0.5, 1.0, 1.7], dtype=torch.float64)
    bright, sat, con = augment.brightness(x, f), augment.saturation(x, f), augment.contrast(x, f)
    for n, image in enumerate(x.numpy()):
        mean = image.sum() / image.size
        for c in range(3):
            for i in range(6):
                for j in range(5):
                    v = image[c, i, j]
                    gray = (image[0, i, j] + image[1, i, j] + image[2, i, j]) / 3
                    assert bright[n, c, i, j].item() == pytest.approx(v + f[n].item())
                    assert sat[n, c, i, j].item() == pytest.approx(gray + (v - gray) * f[n].item())
                    assert con[n, c, i, j].item() == pytest.approx(mean + (v - mean) * f[n].item())


def test_saturation_leaves_one_channel_alone():
    x = batch(shape=(1, 6, 5)).float()
    assert torch.equal(augment.saturation(x, torch.rand(4)), x)


def test_shift():
    x = batch()
    down, right = [0, 2, -1, 6], [1, -2, 0, 0]
    y = augment.shift(x, torch.tensor(down), torch.tensor(right)).numpy()
    for n, c, plane in planes(x):
        for i in range(6):
            for j in range(5):
                assert y[n, c, i, j] == pixel(plane, i + down[n], j + right[n])


def test_cut():
    x = batch()
    top, left = [0, -2, 4, 1], [1, 3, -1, 0]
    y = augment.cut(x, torch.tensor(top), torch.tensor(left), 3, 2).numpy()
    for n, c, plane in planes(x):
        for i in range(6):
            for j in range(5):
                gone = top[n] <= i < top[n] + 3 and left[n] <= j < left[n] + 2
                assert y[n, c, i, j] == (0 if gone else plane[i, j])


def test_flip():
    x = batch()
    y = augment.flip(x, torch.tensor([True, False, False, True])).numpy()
    for n, c, plane in planes(x):
        for i in range(6):
            for j in range(5):
                assert y[n, c, i, j] == plane[i, 4 - j if n in (0, 3) else j]


@pytest.mark.parametrize("align", [False, True])
def test_warp(align):
    x = batch()
    matrix = torch.randn(4, 2, 2, generator=generator(), dtype=torch.float64)
    y = augment.warp(x, matrix, align).numpy()
    for n, c, plane in planes(x):
        np.testing.assert_allclose(y[n, c], warped(plane, matrix[n].numpy(), align), atol=1e-12)


@pytest.mark.parametrize("align", [False, True])
def test_the_deterministic_sampler_is_grid_sample(align):
    x = batch(3, (2, 7, 5)).requires_grad_()
    grid = torch.randn(3, 7, 5, 2, generator=generator(), dtype=torch.float64)
    ours = augment.bilinear(x, grid, align)
    theirs = torch.nn.functional.grid_sample(x, grid, align_corners=align)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn(ours.shape, generator=generator(1), dtype=torch.float64)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def recorded(monkeypatch, op, spec=None, n=4000, shape=(3, 8, 8)):
    """The arguments with which the operation's arithmetic was called for a batch of n images."""
    seen = []
    names = {"color": ("brightness", "saturation", "contrast"), "crop": ("shift",), "cutout": ("cut",)}
    for name in names.get(op, ("flip",) if op == "flip" else ("warp",)):
        monkeypatch.setattr(augment, name, lambda x, *args: seen.append(args) or x)
    Dsa(spec or Augmentation(ops=(op,)))(torch.zeros(n, *shape), generator())
    return seen


def test_released_strengths_of_color(monkeypatch):
    for args, (low, high) in zip(recorded(monkeypatch, "color"), [(-0.5, 0.5), (0, 2), (0.5, 1.5)], strict=True):
        value = args[0]
        assert value.shape == (4000,)
        assert low <= value.min() < low + 0.01 * (high - low) + 1e-3
        assert high >= value.max() > high - 0.01 * (high - low)
        assert value.mean().item() == pytest.approx((low + high) / 2, abs=0.03)


def test_released_strengths_of_crop(monkeypatch):
    [(down, right)] = recorded(monkeypatch, "crop", shape=(3, 32, 28))
    assert sorted(set(down.tolist())) == list(range(-4, 5))
    assert sorted(set(right.tolist())) == list(range(-4, 5))  # int(28 / 8 + 0.5)
    counts = torch.bincount(down + 4)
    assert counts.min() > 4000 / 9 * 0.8
    assert not torch.equal(down, right)


def test_released_strengths_of_cutout(monkeypatch):
    [(top, left, height, width)] = recorded(monkeypatch, "cutout", shape=(3, 8, 10))
    assert (height, width) == (4, 5)
    assert sorted(set((top + 2).tolist())) == list(range(9))  # even: centres 0 ... 8
    assert sorted(set((left + 2).tolist())) == list(range(10))  # odd: centres 0 ... 9


def test_released_strengths_of_flip(monkeypatch):
    [(chosen,)] = recorded(monkeypatch, "flip")
    assert chosen.float().mean().item() == pytest.approx(0.5, abs=0.03)
    [(chosen,)] = recorded(monkeypatch, "flip", Augmentation(ops=("flip",), flip=0.2))
    assert chosen.float().mean().item() == pytest.approx(0.2, abs=0.03)


def test_released_strengths_of_scale(monkeypatch):
    [(matrix, align)] = recorded(monkeypatch, "scale")
    assert align is False
    assert (matrix[:, 0, 1] == 0).all()
    assert (matrix[:, 1, 0] == 0).all()
    for value in (matrix[:, 0, 0], matrix[:, 1, 1]):
        assert value.min().item() == pytest.approx(1 / 1.2, abs=0.002)
        assert value.max().item() == pytest.approx(1.2, abs=0.002)
        assert value.mean().item() == pytest.approx(
            (1.2 + 1 / 1.2) / 2, abs=0.01
        )  # uniform in the ratio, not its logarithm
    assert not torch.equal(matrix[:, 0, 0], matrix[:, 1, 1])


def test_released_strengths_of_rotate(monkeypatch):
    [(matrix, align)] = recorded(monkeypatch, "rotate", Augmentation(ops=("rotate",), align_corners=True))
    assert align is True
    angle = torch.rad2deg(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert -15 <= angle.min() < -14.9
    assert 14.9 < angle.max() <= 15
    torch.testing.assert_close(matrix[:, 0, 1], -matrix[:, 1, 0])
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(4000))


@pytest.mark.parametrize("op", OPS)
def test_siamese_treats_two_batches_alike(op):
    """The same images in batches of different sizes come out the same at any place."""
    dsa = Dsa(Augmentation(ops=(op,)))
    real = batch(9)
    synthetic = real[[5, 2]]
    for seed in range(5):
        a = dsa(real, generator(seed), siamese=True)
        b = dsa(synthetic, generator(seed), siamese=True)
        torch.testing.assert_close(a[[5, 2]], b, rtol=0, atol=0)
        torch.testing.assert_close(dsa(real, seed, siamese=True), a, rtol=0, atol=0)


@pytest.mark.parametrize("op", OPS)
def test_parameters_differ_between_images(op):
    x = batch(1).expand(40, -1, -1, -1)
    dsa = Dsa(Augmentation(ops=(op,)))
    assert len({y.numpy().tobytes() for y in dsa(x, generator())}) > 1
    assert len({y.numpy().tobytes() for y in dsa(x, generator(), siamese=True)}) == 1


@pytest.mark.parametrize("mode", ["one", "all"])
def test_deterministic_for_each_seed(mode):
    dsa = Dsa(Augmentation(ops=OPS, mode=mode))
    x = batch().float()
    state = torch.get_rng_state()
    first = [dsa(x, generator(seed)) for seed in range(4)]
    assert all(torch.equal(a, dsa(x, generator(seed))) for seed, a in enumerate(first))
    assert not torch.equal(first[0], first[1])
    shared = generator()
    assert not torch.equal(dsa(x, shared), dsa(x, shared))
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is never touched


def test_the_dtype_of_the_images_does_not_change_the_draw():
    dsa = Dsa(Augmentation(ops=OPS, mode="all"))
    x = batch()
    y = dsa(x.float(), generator())
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, dsa(x, generator()).float(), atol=1e-5, rtol=0)


def test_mode_one_draws_one_operation_for_the_batch(monkeypatch):
    calls = []
    for op in OPS:
        monkeypatch.setitem(augment._OPS, op, lambda x, spec, draw, op=op: calls.append(op) or x)
    shared = generator()
    for _ in range(600):
        Dsa(Augmentation(ops=OPS))(batch(2), shared)
    assert len(calls) == 600
    assert all(60 < calls.count(op) < 140 for op in OPS)
    calls.clear()
    Dsa(Augmentation(ops=OPS, mode="all"))(batch(2), shared)
    assert tuple(calls) == OPS


@pytest.mark.parametrize("mode", ["one", "all"])
def test_identity_at_zero_strength(mode):
    x = batch(shape=(1, 6, 5)).float()
    geometric = Augmentation(ops=OPS[1:], mode=mode, **OFF)
    for seed in range(6):
        torch.testing.assert_close(Dsa(geometric)(x, seed), x, atol=1e-5, rtol=0)


def test_color_at_its_ends():
    x = batch()
    gray = Dsa(Augmentation(ops=("color",), brightness=0, saturation=0))(x, 0)
    torch.testing.assert_close(gray[:, 0], gray[:, 1])
    torch.testing.assert_close(gray.mean((1, 2, 3)), x.mean((1, 2, 3)))  # contrast keeps the mean


def test_flip_always_and_never():
    x = batch()
    assert torch.equal(Dsa(Augmentation(ops=("flip",), flip=1))(x, 0), x.flip(3))
    assert torch.equal(Dsa(Augmentation(ops=("flip",), flip=0))(x, 0), x)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("siamese", [False, True])
def test_gradients(op, siamese):
    x = batch(2, (2, 4, 4)).requires_grad_()
    dsa = Dsa(Augmentation(ops=(op,)))
    assert torch.autograd.gradcheck(lambda x: dsa(x, 3, siamese), x)


def test_all_at_once_is_differentiable_and_contiguous():
    x = batch(3, (3, 8, 8)).requires_grad_()
    y = Dsa(Augmentation(ops=OPS, mode="all"))(x, 0)
    assert y.is_contiguous()
    assert y.shape == x.shape
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_wrong_uses():
    dsa = Dsa(Augmentation(ops=OPS))
    with pytest.raises(FormatError, match="float images"):
        dsa(torch.zeros(3, 8, 8), 0)
    with pytest.raises(FormatError, match="uint8"):
        dsa(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 0)
    for wrong in (
        {"ops": ()},
        {"ops": ("flip", "flip")},
        {"ops": ("blur",)},
        {"scale": 0.5},
        {"flip": 1.5},
        {"crop": -1},
    ):
        with pytest.raises(ValidationError):
            Augmentation(**{"ops": OPS, **wrong})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("op", OPS)
def test_the_same_on_cuda(op):
    dsa = Dsa(Augmentation(ops=(op,)))
    x = batch(16, (3, 32, 32)).float()
    torch.testing.assert_close(dsa(x.cuda(), 3).cpu(), dsa(x, 3), atol=1e-5, rtol=0)
    torch.use_deterministic_algorithms(True)
    try:
        y = x.cuda().requires_grad_()
        a, b = (torch.autograd.grad(dsa(y, 3, True).square().sum(), y)[0] for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_exact_as_its_numbers(dtype):
    x = batch(512, (1, 64, 64)).to(dtype)
    for still in ({"ops": ("scale",), "scale": 1.0}, {"ops": ("rotate",), "rotate": 0.0}):
        found = Dsa(Augmentation(**still))(x, 0)
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), x.float(), atol=1e-2, rtol=1e-2)
    assert torch.equal(Dsa(Augmentation(ops=("flip",), flip=1.0))(x, 0), x.flip(3))


def test_seeds_are_integers_of_any_kind_and_batches_may_be_empty():
    dsa = Dsa(Augmentation(ops=OPS))
    x = batch().float()
    assert torch.equal(dsa(x, np.int64(3)), dsa(x, 3))
    with pytest.raises(FormatError, match="seed"):
        dsa(x, -1)
    assert dsa(x[:0], 0).shape == (0, 3, 6, 5)
