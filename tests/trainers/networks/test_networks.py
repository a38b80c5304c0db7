"""Networks: parameter counts against arithmetic, features, seeds, errors."""

import sys
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.trainers.networks import network, network_names

CIFAR, FASHION = (3, 32, 32), (1, 28, 28)
SLACK = (1 + 1e-5) ** 0.5
"""What a batch norm of variance 1 divides by."""


def conv(i: int, o: int, k: int, bias: bool = True) -> int:
    return i * o * k * k + (o if bias else 0)


def convnet(c: int, w: int, features: int) -> int:
    return conv(c, w, 3) + 2 * conv(w, w, 3) + 3 * 2 * w + (features + 1) * 10


def frepo(c: int, norm: bool) -> int:
    body = conv(c, 128, 3) + conv(128, 256, 3) + conv(256, 512, 3)
    return body + (2 * (128 + 256) if norm else 0) + (8192 + 1) * 10


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
        "frepo3": (frepo(c, True), 8192),
        "frepo3-nonorm": (frepo(c, False), 8192),
        "vgg11": (vgg11(c), 512),
        "alexnet": (alexnet(c), 3072),
        "resnet10": (resnet(c, 1), 256),
        "resnet18": (resnet(c, 2), 256),
        "resnetap10": (resnet(c, 1), 256),
        "resnetap18": (resnet(c, 2), 256),
    }
    for name, (count, features) in expected.items():
        model = network(name, image, 10)
        assert sum(p.numel() for p in model.parameters()) == count, name
        assert model.features == features, name


def test_published_counts():
    assert convnet(3, 128, 2048) == 320_010
    assert sum(p.numel() for p in network("convnet3", CIFAR, 10).parameters()) == 320_010
    assert vgg11(3) == 9_231_114


VISION = ("densenet121", "efficientnet-b0")


@pytest.mark.parametrize("image", [CIFAR, FASHION])
@pytest.mark.parametrize("name", network_names())
def test_every_network_embeds_and_classifies(name, image):
    if name in VISION:
        pytest.importorskip("torchvision", reason=f"{name} is torchvision's", exc_type=Exception)
    model = network(name, image, 7, width=8).eval()
    x = torch.rand(3, *image)
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
    block = model.body[:2]  # convolution and norm; the norm removes the bias with the mean
    with torch.no_grad():
        block[0].bias.zero_()
        assert torch.allclose(block(x), block(3 * x), atol=1e-3)
        assert block(x).mean((2, 3)).abs().max() < 1e-12


def test_frepo_begins_as_in_flax():
    model = network("frepo3", CIFAR, 10, seed=3)
    layers = [type(layer).__name__ for layer in model.body]
    block = ["Conv2d", "ReLU", "AvgPool2d"]
    assert layers == [*block, "BatchNorm2d", *block, "BatchNorm2d", *block]
    for layer in (model.body[4], model.body[8], model.head):
        scaled = layer.weight.detach() * layer.weight[0].numel() ** 0.5
        assert scaled.std().item() == pytest.approx(1, abs=0.01)  # LeCun's variance
        assert 2.1 < scaled.abs().max() < 2.28  # the normal is cut off at two of its standard deviations
        assert not layer.bias.any()
    norm, x = model.body[3], torch.randn(4, 128, 5, 5) + 7
    norm(x)
    assert torch.allclose(norm.running_mean, 0.9 * x.mean((0, 2, 3)), atol=1e-5)  # 10% of the old mean, which is 0
    deeper = network("frepo4-nonorm", (3, 64, 64), 10, width=4)
    assert deeper.embed(torch.rand(1, 3, 64, 64)).shape == (1, 8 * 4 * 16)


def test_resnetap_pools_where_resnet_strides():
    model = network("resnetap10", FASHION, 10, width=2, seed=1).eval()
    assert {c.stride for c in model.modules() if isinstance(c, torch.nn.Conv2d)} == {(1, 1)}
    block, x = model.body[4], torch.randn(2, 2, 9, 6)  # the first block of the second stage; norms are still identities
    inner = F.avg_pool2d(F.relu(F.conv2d(x, block.conv1.weight, padding=1) / SLACK), 2)
    residual = F.conv2d(inner, block.conv2.weight, padding=1) / SLACK
    shortcut = F.conv2d(F.avg_pool2d(x, 2), block.shortcut[0].weight) / SLACK  # a 1×1 convolution and a mean commute
    assert torch.allclose(block(x), F.relu(residual + shortcut), atol=1e-5)
    plain = network("resnet10", FASHION, 10, width=2, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True))
    with pytest.raises(FormatError, match="resnetap18 halves images 3 times: 6×9 .* is too small, 8 a side needed"):
        network("resnetap18", (1, 6, 9), 10)


def test_networks_of_torchvision_are_the_published_ones_but_for_the_stem():
    """The counts are those of the papers' tables (1000 classes, DenseNet with a 7×7 stem), adapted to our stem."""
    pytest.importorskip("torchvision", reason="DenseNet-121 and EfficientNet-B0 are torchvision's", exc_type=Exception)
    published = {"densenet121": 7_978_856 - conv(3, 64, 7, False) + conv(3, 64, 3, False), "efficientnet-b0": 5_288_548}
    sides = {"densenet121": 4, "efficientnet-b0": 2}
    for name, count in published.items():
        model = network(name, CIFAR, 1000, seed=1)
        assert sum(p.numel() for p in model.parameters()) == count
        assert model.body[0](torch.rand(2, *CIFAR)).shape == (2, model.features, sides[name], sides[name])
        same, other = (network(name, FASHION, 10, width=8, seed=s).head.weight for s in (1, 2))
        assert torch.equal(same, network(name, FASHION, 10, width=8, seed=1).head.weight)
        assert not torch.equal(same, other)
        with pytest.raises(FormatError, match="too small, 8 a side needed"):
            network(name, (3, 7, 7), 10)


def test_without_torchvision_its_networks_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    for name in VISION:
        with pytest.raises(DsetpackError, match=f"{name} is torchvision's.*install the torchvision that fits"):
            network(name, CIFAR, 10)


def test_errors_say_what_to_do():
    with pytest.raises(FormatError, match="nearest is 'convnet"):
        network("convnet", FASHION, 10)
    with pytest.raises(FormatError, match="too small, 8 a side needed"):
        network("convnet3", (3, 7, 9), 10)
    with pytest.raises(FormatError, match="width is 0"):
        network("convnet3", FASHION, 10, width=0)
