"""Whitening against numpy in float64, written another way: loops, SVD of the centred data, no shared code."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import torch

from dsetpack.formats.card import ZcaSpace
from dsetpack.formats.errors import DsetpackError, FormatError, IntegrityError
from dsetpack.spaces import Normalized, Raw, Zca, space_from_card
from tests.support.space_cases import pictures


def oracle(x: torch.Tensor, variant: str, eps: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(whitened [N, D], S falling, factors): through the SVD of the centred data instead of its covariance."""
    a = x.numpy().astype(np.float64)
    n = len(a)
    if variant == "frepo":
        a = np.stack([(a[:, c] - a[:, c].mean()) / np.sqrt(a[:, c].var()) for c in range(a.shape[1])], 1)
    a = a.reshape(n, -1)
    a = a - a.mean(0)
    d = a.shape[1]
    _, s, vt = np.linalg.svd(a, full_matrices=True)
    s = np.concatenate([s, np.zeros(d - len(s))]) ** 2 / (n - 1 if variant == "kornia" else n)
    factor = 1 / np.sqrt(s + (eps if variant == "kornia" else eps * s.sum() / d))
    if variant == "frepo" and n < d:
        factor[n:] = 1
    return sum(f * np.outer(a @ v, v) for f, v in zip(factor, vt, strict=True)), s, factor


@pytest.mark.parametrize("variant", ["kornia", "frepo"])
@pytest.mark.parametrize("n", [300, 25])
def test_zca_equals_the_oracle(variant, n):
    x = pictures(n)
    zca = Zca.fit(x, variant)
    expected, spectrum, _ = oracle(x, variant)
    np.testing.assert_allclose(zca.apply(x).numpy().reshape(n, -1), expected, atol=2e-5)
    np.testing.assert_allclose(zca.model.spectrum, spectrum[:16], rtol=1e-6, atol=1e-9 * spectrum[0])
    assert zca.model.variant == variant
    assert zca.apply(x.double()).dtype == torch.float64


@pytest.mark.parametrize("variant", ["kornia", "frepo"])
def test_whitened_covariance_is_the_closed_form(variant):
    x = pictures()
    z = Zca.fit(x, variant, epsilon=0.1).apply(x.double()).numpy().reshape(len(x), -1)
    _, s, factor = oracle(x, variant)
    eigenvalues = np.linalg.eigvalsh(np.cov(z.T, bias=variant == "frepo"))[::-1]
    np.testing.assert_allclose(eigenvalues, s * factor**2, atol=1e-5)  # S / (S + eps)
    assert eigenvalues[0] < 1


@pytest.mark.parametrize("variant", ["kornia", "frepo"])
@pytest.mark.parametrize("n", [300, 25])
def test_apply_then_invert_is_the_identity(variant, n):
    x = pictures(n)
    zca = Zca.fit(x, variant)
    other = pictures(7, seed=9)
    torch.testing.assert_close(zca.invert(zca.apply(other)), other, atol=1e-5, rtol=0)
    torch.testing.assert_close(zca.invert(zca.apply(other.double())), other.double(), atol=1e-5, rtol=0)


def test_both_directions_are_differentiable():
    x = pictures(40, (1, 3, 3))
    zca = Zca.fit(x, "frepo")
    for space in (zca, Normalized.fit(x), Raw()):
        y = x[:2].double().requires_grad_()
        assert torch.autograd.gradcheck(space.apply, y)
        assert torch.autograd.gradcheck(space.invert, y)


def test_the_variants_are_not_interchangeable():
    x = pictures()
    kornia, frepo = Zca.fit(x, "kornia"), Zca.fit(x, "frepo")
    assert (frepo.invert(kornia.apply(x)) - x).abs().max() > 0.1
    assert kornia.model.channel_mean is None
    assert frepo.model.channel_mean == pytest.approx(x.double().mean((0, 2, 3)).tolist(), abs=1e-12)
    std = x.double().std((0, 2, 3), correction=0)
    assert frepo.model.channel_std == pytest.approx(std.tolist(), rel=1e-12)


def test_frepo_takes_the_published_statistics():
    x = pictures()
    mean, std = (0.5, 0.4, 0.6), (0.2, 0.3, 0.25)
    zca = Zca.fit(x, "frepo", channel_mean=mean, channel_std=std)
    a = (x.numpy().astype(np.float64) - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
    a = a.reshape(len(a), -1) - a.reshape(len(a), -1).mean(0)
    cov = a.T @ a / len(a)
    value, vector = np.linalg.eigh(cov + 0.1 * np.trace(cov) / len(cov) * np.eye(len(cov)))
    expected = a @ (vector @ np.diag(value**-0.5) @ vector.T)
    np.testing.assert_allclose(zca.apply(x).numpy().reshape(len(a), -1), expected, atol=2e-5)
    assert zca.model.channel_mean == mean
    torch.testing.assert_close(zca.invert(zca.apply(x)), x, atol=1e-5, rtol=0)


def test_pixel_order_does_not_matter():
    """FRePo flattens H×W×C; whitening commutes with that permutation."""
    x = pictures()
    turned = x.permute(0, 2, 3, 1).reshape(300, 1, 1, 60)
    a = Zca.fit(x, "kornia").apply(x).permute(0, 2, 3, 1).reshape(300, -1)
    torch.testing.assert_close(Zca.fit(turned, "kornia").apply(turned).reshape(300, -1), a, atol=1e-5, rtol=0)


def test_batches_do_not_change_the_fit(monkeypatch):
    x = pictures()
    whole = Zca.fit(x, "frepo")
    monkeypatch.setattr("dsetpack.spaces.images._VALUES", 7 * 60)
    small = Zca.fit(x, "frepo")
    assert small.model.fitted_on == whole.model.fitted_on
    torch.testing.assert_close(small.apply(x), whole.apply(x), atol=1e-6, rtol=0)
    assert Normalized.fit(x).model.mean == pytest.approx(x.double().mean((0, 2, 3)).tolist(), rel=1e-12)


def test_the_fit_is_deterministic():
    x = pictures()
    first, second = Zca.fit(x), Zca.fit(x)
    assert first.model == second.model
    for name, tensor in first.tensors().items():
        assert torch.equal(tensor, second.tensors()[name])


def test_refit_gives_the_same_space():
    x = pictures()
    for variant in ("kornia", "frepo"):
        fitted = Zca.fit(x, variant, storage="refit")
        opened = space_from_card(ZcaSpace.model_validate_json(fitted.model.model_dump_json()), {})
        assert not opened.ready
        again = Zca.refit(opened.model, x)
        assert again.model == fitted.model
        assert again.tensors() == {}
        assert torch.equal(again.apply(x), fitted.apply(x))


def test_refit_is_refused_on_other_data():
    x = pictures()
    model = Zca.fit(x, storage="refit").model
    almost = x.clone()
    almost[3, 1, 2, 2] = torch.nextafter(almost[3, 1, 2, 2], torch.tensor(2.0))
    for other in (pictures(seed=1), x.flip(0), x[:-1], x.reshape(300, 3, 5, 4), almost):
        with pytest.raises(IntegrityError, match="same raw training images"):
            Zca.refit(model, other)


def test_refit_is_refused_when_the_spectrum_disagrees():
    x = pictures()
    model = Zca.fit(x, storage="refit").model
    off = tuple(v * (1 + 1 / 300) for v in model.spectrum)  # the covariance divided by N instead of N - 1
    with pytest.raises(IntegrityError, match="eigenvalue 0"):
        Zca.refit(model.model_copy(update={"spectrum": off}), x)
    with pytest.raises(IntegrityError, match="eigenvalue 3"):
        Zca.refit(model.model_copy(update={"spectrum": (*model.spectrum[:3], 0.0)}), x)


def test_embedded_tensors_make_the_same_space():
    x = pictures()
    for variant in ("kornia", "frepo"):
        zca = Zca.fit(x, variant)
        tensors = zca.tensors()
        assert {name: (list(t.shape), t.dtype) for name, t in tensors.items()} == {
            "space.mean": ([60], torch.float32),
            "space.matrix": ([60, 60], torch.float32),
        }
        opened = space_from_card(zca.model, tensors)
        assert torch.equal(opened.apply(x), zca.apply(x))
        assert torch.equal(opened.invert(x), zca.invert(x))


def test_invert_undoes_the_stored_matrix_even_when_rounded():
    zca = Zca.fit(pictures())
    tensors = {name: t.half().float() for name, t in zca.tensors().items()}
    opened = space_from_card(zca.model, tensors)
    x = pictures(5, seed=3)
    torch.testing.assert_close(opened.invert(opened.apply(x)), x, atol=1e-5, rtol=0)


def test_storage_can_be_changed():
    x = pictures()
    zca = Zca.fit(x)
    bare = zca.stored("refit")
    assert bare.model.storage == "refit"
    assert bare.tensors() == {}
    assert torch.equal(bare.apply(x), zca.apply(x))
    assert bare.stored("embed").tensors().keys() == zca.tensors().keys()
    assert bare.stored("embed").model == zca.model


def test_a_space_without_its_matrix_says_what_to_do():
    model = Zca.fit(pictures(), storage="refit").model
    space = space_from_card(model, {})
    for use in (space.apply, space.invert, lambda _: space.stored("embed")):
        with pytest.raises(DsetpackError, match=r"pack\.with_space\(Zca\.refit"):
            use(pictures(2))
    assert space.to("cpu") is space


def test_pickles_without_the_inverse():
    x = pictures()
    zca = Zca.fit(x)
    small = len(pickle.dumps(zca))
    zca.invert(x)
    copy = pickle.loads(pickle.dumps(zca))
    assert len(pickle.dumps(zca)) == small
    assert torch.equal(copy.invert(x), zca.invert(x))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(4, 3, 65, 8), "checkerboard"),
        (torch.zeros(4, 3, 8, 128), "64×64"),
        (torch.zeros(1, 3, 8, 8), "N >= 2"),
        (torch.zeros(4, 3, 8), "N, C, H, W"),
        (torch.full((4, 3, 8, 8), -0.5), "before normalisation"),
        (torch.full((4, 3, 8, 8), float("nan")), "range from nan"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.float64), "float32"),
    ],
)
def test_images_that_zca_does_not_take(x, message):
    for variant in ("kornia", "frepo"):
        with pytest.raises(FormatError, match=re.escape(message)):
            Zca.fit(x, variant)


def test_other_wrong_uses():
    x = pictures()
    constant = x.clone()
    constant[:, 1] = 0.3
    with pytest.raises(FormatError, match="channel 1 has the same value"):
        Zca.fit(constant, "frepo")
    with pytest.raises(FormatError, match="'kornia' whitens raw"):
        Zca.fit(x, channel_mean=(0, 0, 0), channel_std=(1, 1, 1))
    with pytest.raises(FormatError, match="or neither"):
        Zca.fit(x, "frepo", channel_mean=(0, 0, 0))
    with pytest.raises(FormatError, match="3 channels"):
        Zca.fit(x, "frepo", channel_mean=(0,), channel_std=(1,))
    zca = Zca.fit(x)
    with pytest.raises(FormatError, match=r"C·H·W = 60"):
        zca.apply(torch.zeros(2, 3, 8, 8))
    with pytest.raises(FormatError, match="divide uint8"):
        zca.apply(torch.zeros(2, 3, 4, 5, dtype=torch.uint8))
    with pytest.raises(FormatError, match="no such tensor"):
        space_from_card(zca.model, {})
    with pytest.raises(FormatError, match=r"expected \[D\] and \[D, D\]"):
        space_from_card(zca.model, {"space.mean": torch.zeros(3), "space.matrix": torch.zeros(3, 4)})
    with pytest.raises(FormatError, match="not finite"):
        space_from_card(zca.model, {"space.mean": torch.full((3,), float("nan")), "space.matrix": torch.eye(3)})
    broken = space_from_card(zca.model, {"space.mean": torch.zeros(60), "space.matrix": torch.zeros(60, 60)})
    with pytest.raises(FormatError, match="cannot be inverted"):
        broken.invert(x)
