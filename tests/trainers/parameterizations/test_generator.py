"""DiM's generator: built from the seed, its labels and statistics, what it draws."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

import dsetpack
from dsetpack.formats.errors import FormatError
from dsetpack.order import philox
from dsetpack.trainers.parameterizations.generator import GeneratorSettings
from tests.support.dim_cases import CLASSES, IMAGE, NORMALIZED, TINY, context, drawn, same

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_papers_generator_has_3559363_parameters():
    settings = GeneratorSettings()
    shapes = settings.config((3, 32, 32)).bank_shapes((3, 32, 32), 10)
    learned = sum(math.prod(shape) for name, shape in shapes.items() if "running" not in name)
    assert learned == 3_559_363
    budget = settings.budget((3, 32, 32), 10, 1)
    assert budget.allowed == 30_720
    assert budget.used == 3_559_363 + 2 * (16 * 196 + 7 * 196)
    assert budget.used // budget.allowed == 116
    assert settings.budget((3, 32, 32), 10, 50).decoder_floats == budget.used  # the same for every budget
    made = TINY.build(context())
    assert made.floats() == TINY.budget(IMAGE, CLASSES, 5).used
    assert sum(p.numel() for p in made.parameters()) == made.floats() - 2 * (16 * 6 + 4 * 6)


def test_it_is_built_from_the_seed_alone():
    torch.manual_seed(1)
    first = TINY.build(context())
    torch.manual_seed(2)
    assert same(first, TINY.build(context()))
    assert first.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert first.per_class == 3
    assert GeneratorSettings(width=2, noise=8).build(context()).per_class == 5  # from the budget
    assert [(g["name"], g["lr"], len(g["params"])) for g in first.groups()] == [("generator", 1e-3, 22)]


def test_settings_that_make_no_generator():
    with pytest.raises(ValidationError, match="a generator stores none"):
        GeneratorSettings(sources=3)
    with pytest.raises(FormatError, match="2 noise entries for 2 classes"):
        GeneratorSettings(noise=2).build(context())


def test_labels_enter_as_the_one_hot():
    made = TINY.build(context())
    seen = []
    made.bank.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    labels = torch.tensor([1, 0, 1])
    made.draw(labels, drawn(4))
    noise = torch.randn(3, 8, generator=drawn(4))
    assert torch.equal(seen[0][:, :2], F.one_hot(labels, 2).float())
    assert torch.equal(seen[0][:, 2:], noise[:, 2:])


def test_drawing_uses_batch_statistics_and_moves_the_running_ones():
    made = TINY.build(context(space=NORMALIZED))
    labels = torch.tensor([0, 1, 0, 1])
    first = made.draw(labels, drawn())
    assert first.shape == (4, *IMAGE)
    assert first.requires_grad
    norm = made.bank.fc_norm
    before = made.bank.fc(made.bank.condition(torch.randn(4, 8, generator=drawn()), labels))
    assert torch.allclose(norm.running_mean, 0.1 * before.mean(0), atol=1e-6)
    assert torch.equal(made.draw(labels, drawn()), first)  # running statistics are not used in training
    assert torch.allclose((first * 0.25 + 0.5), made.raw(labels, drawn()), atol=1e-6)
    assert made.eval().draw(labels, drawn()).sub(first).abs().max() > 1e-3


def test_a_pack_decodes_what_the_generator_makes_of_its_running_statistics():
    made = TINY.build(context(space=NORMALIZED))
    for seed in range(3):
        made.draw(torch.arange(20) % 2, drawn(seed))
    card = dsetpack.Card(title="x", classes=("a", "b"), shape=IMAGE, space=made.space.model, per_class=3)
    pack = dsetpack.open(dsetpack.Pack(card, made.parts()).to_bytes())
    x, y = pack.decode([4, 0, 5], seed=7, epoch=2)
    assert y.tolist() == [1, 0, 1]
    noise = torch.from_numpy(philox.noise(7, 2, [4, 0, 5], 8))
    state = {key: value.clone() for key, value in made.state_dict().items()}
    expected = made.eval().bank.unchecked_one(made.bank.condition(noise, y), 0)
    assert torch.allclose(x, (expected - 0.5) / 0.25, atol=1e-5)
    made.train()
    assert torch.allclose(made.images(torch.tensor([4, 0, 5])), pack.decode([4, 0, 5])[0], atol=1e-5)
    assert torch.allclose(made.images(), pack.decode(range(6))[0], atol=1e-5)
    assert made.bank.training
    assert all(torch.equal(value, state[key]) for key, value in made.state_dict().items())  # previews change nothing


def test_parts_are_copies():
    made = TINY.build(context())
    part = made.parts()[0]
    with torch.no_grad():
        made.bank.fc.weight.zero_()
    assert part.sources is None
    assert part.decoder.fc.weight.abs().sum() > 0
    assert not part.decoder.training
