"""Networks: parameter counts against arithmetic, features, seeds, errors."""

from itertools import pairwise

import pytest
import torch

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.networks import network, network_names

CIFAR, FASHION = (3, 32, 32), (1, 28, 28)


def conv(i: int, o: int, k: int, bias: bool = True) -> int:
    return i * o * k * k + (o if bias else 0)


def convnet(c: int, w: int, features: int) -> int:
    return conv(c, w, 3) + 2 * conv(w, w, 3) + 3 * 2 * w + (features + 1) * 10


def vgg11(c: int) -> int:
    widths = [c, 64, 128, 256, 256, 512, 512, 512, 512]
    return sum(conv(i, o, 3) + 2 * o for i, o in pairwise(widths)) + 513 * 10


def alexnet(c: int) -> int:
    body = conv(c, 128, 5) + conv(128, 192, 5) + conv(192, 256, 3) + conv(256, 192, 3) + conv(192, 192, 3)
    return body + (192 * 16 + 1) * 10


def resnet(c: int, blocks: int) -> int:
    total, before = conv(c, 32, 3, False) + 64, 32
    for w in (32, 64, 128, 256):
        total += conv(before, w, 3, False) + conv(w, w, 3, False) + 4 * w
        total += 0 if w == before else conv(before, w, 1, False) + 2 * w
        total += (blocks - 1) * (2 * conv(w, w, 3, False) + 4 * w)
        before = w
    return total + 257 * 10


@pytest.mark.parametrize("image", [CIFAR, FASHION])
def test_parameter_counts(image):
    c = image[0]
    expected = {
        "convnet3": (convnet(c, 128, 2048), 2048),
        "vgg11": (vgg11(c), 512),
        "alexnet": (alexnet(c), 3072),
        "resnet10": (resnet(c, 1), 256),
        "resnet18": (resnet(c, 2), 256),
    }
    for name, (count, features) in expected.items():
        model = network(name, image, 10)
        assert sum(p.numel() for p in model.parameters()) == count, name
        assert model.features == features, name


def test_published_counts():
    assert convnet(3, 128, 2048) == 320_010
    assert sum(p.numel() for p in network("convnet3", CIFAR, 10).parameters()) == 320_010
    assert vgg11(3) == 9_231_114


@pytest.mark.parametrize("name", network_names())
def test_every_network_embeds_and_classifies(name):
    model = network(name, FASHION, 7, width=8).eval()
    x = torch.rand(3, *FASHION)
    features = model.embed(x)
    assert features.shape == (3, model.features)
    assert torch.equal(model(x), model.head(features))
    assert model(x).shape == (3, 7)


def test_width_scales_features():
    assert network("convnet3", FASHION, 10, width=32).features == 512
    assert network("convnet4", (3, 64, 64), 10, width=16).features == 16 * 16
    assert network("convnet3", (3, 40, 48), 10, width=4).embed(torch.rand(1, 3, 40, 48)).shape == (1, 4 * 5 * 6)


def test_weights_are_a_function_of_the_seed_alone():
    torch.manual_seed(1)
    first = network("convnet3", FASHION, 10, width=8, seed=5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = network("convnet3", FASHION, 10, width=8, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    other = network("convnet3", FASHION, 10, width=8, seed=6)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_instance_norm_ignores_contrast():
    model = network("convnet3", CIFAR, 10, width=8).double()
    x = torch.rand(2, *CIFAR, dtype=torch.float64)
    block = model.body[:2]  # convolution and norm; the bias falls out with the mean
    with torch.no_grad():
        block[0].bias.zero_()
        assert torch.allclose(block(x), block(3 * x), atol=1e-3)
        assert block(x).mean((2, 3)).abs().max() < 1e-12


def test_errors_say_what_to_do():
    with pytest.raises(FormatError, match="nearest is 'convnet"):
        network("convnet", FASHION, 10)
    with pytest.raises(FormatError, match="too small, 8 a side needed"):
        network("convnet3", (3, 7, 9), 10)
    with pytest.raises(FormatError, match="width is 0"):
        network("convnet3", FASHION, 10, width=0)
