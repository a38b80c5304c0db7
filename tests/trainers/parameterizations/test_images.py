"""Learned pixels: where they start, what they cost, what a pack keeps of them."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import dsetpack
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Raw
from dsetpack.trainers import selections
from dsetpack.trainers.baselines import random_pack
from dsetpack.trainers.loop import Schedule, optimise
from dsetpack.trainers.parameterizations import images as plain
from dsetpack.trainers.parameterizations import upsample
from dsetpack.trainers.parameterizations.images import Images, centred
from tests.support.pixel_cases import IMAGE, SGD, SMALL, Pull, context, reopened


@pytest.mark.parametrize("init", ["random", "herding", "k-center", "forgetting"])
def test_images_start_from_real_ones(tmp_path, init):
    given = context(tmp_path)
    made = plain.ImagesSettings(init=init, selection=SMALL).build(given)
    index = selections.select(init, given, 2, SMALL)
    assert torch.equal(made.images(), given.real[index])
    assert made.labels.tolist() == given.data.labels[index].tolist() == [0, 0, 1, 1]
    assert torch.equal(made.images(torch.tensor([3, 0, 3])), given.real[index[[3, 0, 3]]])
    assert made.targets() is None
    assert given.real[index].data_ptr() != made.sources.data_ptr()


def test_noise_is_standard_normal_and_repeats(tmp_path):
    given = context(tmp_path, ipc=40)
    made = plain.ImagesSettings(init="noise").build(given)
    assert made.sources.shape == (80, *IMAGE)
    assert made.sources.mean().item() == pytest.approx(0, abs=0.02)
    assert made.sources.std().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(made.sources, plain.ImagesSettings(init="noise").build(given).sources)


@pytest.mark.parametrize("init", ["random", "herding", "k-center", "forgetting"])
def test_a_raw_selection_is_stored_as_the_very_pixels(tmp_path, init):
    given = context(tmp_path, Raw())
    made = plain.ImagesSettings(init=init, selection=SMALL).build(given)
    found = reopened(made, given, tmp_path)
    index = selections.select(init, given, 2, SMALL)
    pixels = given.data.images[index].numpy()
    assert np.array_equal(found.parts[0].sources.numpy(), pixels.astype(np.float32) * np.float32(1 / 255))
    assert np.array_equal((found.parts[0].sources * 255).round().byte().numpy(), pixels)
    direct = dsetpack.Pack.from_arrays(pixels, given.data.labels[index], classes=given.data.classes, title="x")
    assert found.to_bytes() == direct.to_bytes()
    if init == "random":
        assert torch.equal(random_pack(given.data, 2, given.seed).parts[0].sources, made.parts()[0].sources)


@pytest.mark.parametrize("ipc", [1, 7])
def test_images_cost_themselves_and_labels_nothing(tmp_path, ipc):
    settings = plain.ImagesSettings(init="noise", labels="learned")
    budget = settings.budget(IMAGE, 2, ipc)
    made = settings.build(context(tmp_path, ipc=ipc))
    assert budget.sources == ipc
    assert budget.used == budget.allowed == made.floats() == 2 * ipc * 240
    assert sum(p.numel() for p in made.parameters()) == made.floats() + 2 * ipc * 2
    assert plain.ImagesSettings(init="noise", sources=1).build(context(tmp_path, ipc=ipc)).floats() == 480
    with pytest.raises(FormatError, match=f"{ipc + 1} sources per class"):
        plain.ImagesSettings(sources=ipc + 1).budget(IMAGE, 2, ipc)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_learned_labels_start_centred(classes):
    labels = torch.tensor([0, 1, 0])
    found = centred(labels, classes)
    for row, label in zip(found.tolist(), labels.tolist(), strict=True):
        expected = [((c == label) - 1 / classes) / math.sqrt(classes / 10) for c in range(classes)]
        assert row == pytest.approx(expected, abs=1e-7)
    assert torch.allclose(centred(labels, classes, 2.0), found * math.sqrt(classes / 10) / 2)


def test_learned_labels_learn_and_are_kept(tmp_path):
    given = context(tmp_path)
    made = plain.ImagesSettings(labels="learned", lr=0.5, lr_labels=0.25, momentum=None).build(given)
    assert torch.equal(made.targets(), centred(made.labels, 2))
    before, sources = made.targets().detach().clone(), made.images().detach().clone()
    pairs = torch.tensor([2, 0])
    (made.images(pairs).sum() + (3 * made.targets(pairs)).sum()).backward()
    assert made.rows.grad.tolist() == [[3, 3], [0, 0], [3, 3], [0, 0]]
    assert made.sources.grad.flatten(1).sum(1).tolist() == [240, 0, 240, 0]
    work = Pull(made)
    groups = [(g["name"], g["lr"], g.get("momentum")) for g in work.groups()]
    assert groups == [("images", 0.5, None), ("labels", 0.25, None)]
    optimise(work, SGD, seed=0)
    assert (made.targets() - 1).square().sum() < (before - 1).square().sum()
    assert not torch.equal(made.images(), sources)
    found = reopened(made, given, tmp_path)
    assert found.labels.dtype == torch.float32
    x, y = found.decode([3, 1])
    assert torch.equal(x, made.images()[[3, 1]])
    assert torch.equal(y, made.targets()[[3, 1]])
    assert plain.ImagesSettings(labels="learned", lr=0.5).build(given).groups()[1]["lr"] == 0.5


def test_momentum_is_the_groups_own_or_the_schedules(tmp_path):
    given = context(tmp_path)

    def result(momentum, schedule):
        made = plain.ImagesSettings(momentum=momentum).build(given)
        optimise(Pull(made), Schedule(steps=4, optimizer="sgd", momentum=schedule), seed=0)
        return made.images()

    assert torch.equal(result(None, 0.7), result(0.7, 0.0))
    assert torch.equal(result(0.7, 0.2), result(0.7, 0.0))
    assert not torch.equal(result(0.0, 0.7), result(0.7, 0.7))


def test_parts_are_copies_in_single_precision(tmp_path):
    given = context(tmp_path)
    for settings in (plain.ImagesSettings(labels="learned"), upsample.UpsampleSettings()):
        made = settings.build(given).double()
        part = made.parts()[0]
        kept = part.sources.clone()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.zero_()
        assert torch.equal(part.sources, kept)
        assert part.sources.dtype == torch.float32
        assert part.sources.abs().sum() > 0
        assert not part.sources.requires_grad
        assert not part.labels.requires_grad


def test_settings_refuse_what_they_do_not_know():
    for settings in (plain.ImagesSettings, upsample.UpsampleSettings):
        assert settings().name == settings.__module__.rpartition(".")[2]
        with pytest.raises(ValidationError, match="init"):
            settings(init="zeros")
        with pytest.raises(ValidationError, match="widht"):
            settings(selection={"widht": 3})
        assert settings(selection={"width": 3}).selection.width == 3


def test_images_of_float64_stay_differentiable():
    made = Images(torch.zeros(2, 1, 2, 2), torch.tensor([0, 1]), Raw(), 2, targets=torch.zeros(2, 2)).double()
    assert torch.autograd.gradcheck(lambda *_: made.images(torch.tensor([1, 1])) ** 2, tuple(made.parameters()))
