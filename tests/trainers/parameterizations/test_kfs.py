"""KFS: numbering, copies that differ, codes from real images, budgets and presets."""

import math

import pytest
import torch

import dsetpack
from dsetpack.decoders import decoder
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.kfs import KfsConfig
from dsetpack.spaces import Normalized, Raw
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Schedule, optimise
from dsetpack.trainers.objectives import Distillation
from dsetpack.trainers.objectives.dm import DistributionMatching
from dsetpack.trainers.objectives.means import NetworkPool, RealMeans
from dsetpack.trainers.parameterizations.base import Budget
from dsetpack.trainers.parameterizations.kfs import Autoencoder, Kfs, copies, start
from dsetpack.trainers.recipe import load_recipe

IMAGE = (1, 12, 12)
CONFIG = KfsConfig(decoders=3, channels=(4, 3), kernel=4)


def images(per_class: int = 12, classes: int = 2) -> ImageData:
    """Bright squares, left or right: easy to tell apart and to reconstruct."""
    x = torch.zeros(per_class * classes, *IMAGE, dtype=torch.uint8)
    y = torch.arange(len(x)) % classes
    g = torch.Generator().manual_seed(0)
    for n, label in enumerate(y):
        top, left = int(torch.randint(7, (1,), generator=g)), 6 * int(label)
        x[n, 0, top : top + 5, left : left + 5] = 200
    return ImageData(x, y, ("left", "right")[:classes], "squares")


def trained(data: ImageData, steps: int = 60) -> Autoencoder:
    made = Autoencoder(CONFIG, data, batch=16, lr=0.01, width=8, seed=0)
    optimise(made, Schedule(steps=steps), seed=0)
    return made


def test_pairs_are_numbered_as_in_the_pack():
    data = images()
    space = Normalized.fit(data.images)
    torch.manual_seed(0)
    made = Kfs(torch.randn(4, 4, 3, 3), torch.tensor([0, 0, 1, 1]), decoder("kfs", CONFIG, IMAGE, 2), space)
    everything = made.images()
    pairs = torch.tensor([0, 7, 4, 11, 7])
    assert everything.shape == (12, *IMAGE)
    assert torch.allclose(made.images(pairs), everything[pairs], atol=1e-5)
    card = dsetpack.Card(title="x", classes=data.classes, shape=IMAGE, space=space.model)
    pack = dsetpack.Pack(card, made.parts())
    x, y = pack.decode(list(range(12)))
    assert torch.allclose(x, everything, atol=1e-5)
    assert torch.equal(y, made.labels)
    assert made.floats() == 4 * 36 + 3 * (4 * 3 * 16 + 3 + 3 * 16 + 1)


def test_parts_are_copies():
    made = Kfs(torch.randn(2, 4, 3, 3), torch.tensor([0, 1]), decoder("kfs", CONFIG, IMAGE, 2), Raw())
    part = made.parts()[0]
    with torch.no_grad():
        made.codes.zero_()
        next(made.bank.parameters()).zero_()
    assert part.sources.abs().sum() > 0
    assert next(part.decoder.parameters()).abs().sum() > 0
    assert not any(p.requires_grad for p in part.decoder.parameters())


def test_copies_without_noise_would_never_differ():
    """Why copies get noise: equal decoders get equal gradients from the full-batch loss."""
    data = images()
    pool = NetworkPool("convnet3", 4, 2, 0, IMAGE, 2)
    objective = DistributionMatching(RealMeans(pool, data, Raw()))
    for equal in (True, False):
        bank = copies(trained(data, 1).decoder, CONFIG, 0.1, seed=0)
        if equal:
            with torch.no_grad():
                for p in bank.parameters():
                    p.copy_(p[:1].expand_as(p))
        made = Kfs(torch.randn(4, 4, 3, 3), torch.tensor([0, 0, 1, 1]), bank, Raw())
        optimise(Distillation(objective, made), Schedule(steps=3), seed=0)
        weight = made.bank.state_dict()["layers.0.weight"]
        assert torch.allclose(weight[0], weight[1], atol=1e-6) == equal
    with pytest.raises(FormatError, match="3 equal decoders would stay equal"):
        copies(trained(data, 1).decoder, CONFIG, 0.0, seed=0)


def test_noise_is_relative_to_each_weight_and_spares_biases():
    single = decoder("kfs", KfsConfig(decoders=1, channels=(12, 9)), (3, 32, 32), 10)
    config = KfsConfig(decoders=50, channels=(12, 9))
    bank = copies(single, config, 0.2, seed=1).state_dict()
    for key, value in single.state_dict().items():
        difference = bank[key] - value
        if key.endswith("bias"):
            assert difference.abs().max() == 0
        else:
            assert difference.std().item() == pytest.approx(0.2 * value.std().item(), rel=0.05)
    again = copies(single, config, 0.2, seed=1).state_dict()
    assert all(torch.equal(bank[key], again[key]) for key in bank)


def test_the_autoencoder_learns_and_codes_have_unit_variance():
    data = images()
    before = float(trained(data, 1).backward(0, torch.Generator().manual_seed(1))["reconstruction"])
    after = trained(data, 150)
    assert float(after.backward(0, torch.Generator().manual_seed(1))["reconstruction"]) < before / 4
    codes = after.encode(torch.arange(len(data)))
    assert codes.shape == (24, 4, 3, 3)
    assert codes.std((0, 2, 3)) == pytest.approx([1] * 4, abs=0.35)


def test_codes_start_from_real_images_of_their_class():
    data = images()
    autoencoder = trained(data, 150)
    made = start(autoencoder, CONFIG, Raw(), codes=5, noise=1e-4, seed=3, lr_codes=0.3, lr_decoders=0.05)
    assert made.get_buffer("code_labels").tolist() == [0] * 5 + [1] * 5
    decoded = made.images().detach().view(10, 3, *IMAGE)[:, 0, 0]
    left, right = decoded[:, :, :6].mean((1, 2)), decoded[:, :, 6:].mean((1, 2))
    assert ((left > right) == (torch.arange(10) < 5)).all()
    assert [(g["name"], g["lr"]) for g in made.groups()] == [("codes", 0.3), ("decoders", 0.05)]
    again = start(autoencoder, CONFIG, Raw(), codes=5, noise=1e-4, seed=3)
    assert torch.equal(made.codes, again.codes)


def test_matching_lowers_the_loss():
    data = images()
    pool = NetworkPool("convnet3", 8, 4, 0, IMAGE, 2)
    objective = DistributionMatching(RealMeans(pool, data, Raw()))
    made = start(trained(data), CONFIG, Raw(), codes=2, noise=0.1, seed=0)
    before = [float(objective.backward(made, step, torch.Generator())["matching"]) for step in range(4)]
    optimise(Distillation(objective, made), Schedule(steps=40), seed=0)
    after = [float(objective.backward(made, step, torch.Generator())["matching"]) for step in range(4)]
    assert sum(after) < 0.5 * sum(before)


def budget(name: str, image: tuple[int, int, int], ipc: int, **changes: object) -> Budget:
    found = load_recipe(name, {f"parameterization.{key}": value for key, value in changes.items()})
    return found.parameterization.budget(image, 10, ipc)


def test_the_papers_example_costs_738_floats_a_decoder():
    config = load_recipe("kfs").parameterization.config((3, 32, 32))
    assert (config.decoders, config.channels, config.kernel) == (8, (12, 9, 6), 2)
    exact = budget("kfs", (3, 32, 32), 1)
    assert exact.decoder_floats == 8 * 738
    assert exact.sources == (30720 - 8 * 738) // 1920 == 12
    assert exact.used <= exact.allowed == 30720
    example = budget("kfs", (3, 32, 32), 1, over_parameterisation=0.2)
    assert example.sources == 16  # the paper's number: 16 · 192 = 3072 floats per class, and the decoders on top
    assert example.over == pytest.approx(0.192, abs=0.001)


@pytest.mark.parametrize("name", ["kfs-cpu", "kfs"])
@pytest.mark.parametrize(("image", "ipc"), [((1, 28, 28), 1), ((1, 28, 28), 10), ((3, 32, 32), 1), ((3, 64, 64), 10)])
def test_recipes_use_their_budget_and_no_more(name, image, ipc):
    found = budget(name, image, ipc)
    config = load_recipe(name).parameterization.config(image)
    bank = decoder("kfs", config, image, 10)
    assert found.decoder_floats == sum(p.numel() for p in bank.parameters())
    assert found.used == 10 * found.sources * math.prod(config.source_shape(image)) + found.decoder_floats
    assert found.allowed == ipc * math.prod(image) * 10
    assert 0.85 * found.allowed < found.used <= found.allowed


def test_budgets_that_do_not_fit():
    with pytest.raises(FormatError, match="more than the 7840 of 1 image per class"):
        budget("kfs", (1, 28, 28), 1, sources=100)
    with pytest.raises(FormatError, match="raise ipc, take fewer or smaller"):
        budget("kfs-cpu", (1, 28, 28), 1, decoders=400)
