"""Learned pixels and IDC's patches: where they start, what they decode to and cost, what a pack keeps of them."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

import dsetpack
from dsetpack.formats.card import Labels
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.upsample import UpsampleConfig
from dsetpack.spaces import Normalized, Raw, Zca
from dsetpack.trainers import selections
from dsetpack.trainers.baselines import random_pack
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run, Schedule, Trainable, optimise
from dsetpack.trainers.parameterizations import images as plain
from dsetpack.trainers.parameterizations import upsample
from dsetpack.trainers.parameterizations.images import Images, centred
from dsetpack.trainers.parameterizations.upsample import Upsample, tiled

IMAGE = (3, 8, 10)
SMALL = selections.SelectionSettings(width=4, epochs=3, batch=8)


def noise(per_class: int = 12, classes: int = 2, image=IMAGE) -> ImageData:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (per_class * classes, *image), generator=g, dtype=torch.uint8)
    return ImageData(x, torch.arange(len(x)) % classes, tuple("abcd"[:classes]), "noise")


def context(tmp_path, space=None, ipc=2, data=None) -> Context:
    data = data or noise()
    return Context(data, space or Normalized.fit(data.images), ipc, 5, tmp_path, lambda phase: Run(name=phase))


def pack(made, given: Context) -> dsetpack.Pack:
    soft = made.targets() is not None
    labels = Labels(kind="soft" if soft else "hard", centred=soft)
    card = dsetpack.Card(
        title="x",
        classes=given.data.classes,
        shape=given.data.shape,
        space=given.space.model,
        labels=labels,
        epoch_rule=made.epoch_rule,
    )
    return dsetpack.Pack(card, made.parts(), given.space)


def reopened(made, given: Context, tmp_path) -> dsetpack.Pack:
    """After saving and opening, the same content; saved again, the same bytes."""
    path = tmp_path / "pack.dpk"
    first = pack(made, given)
    first.save(path)
    found = dsetpack.open(path, verify="all")
    assert found.to_bytes() == path.read_bytes()
    for old, new in zip(first.parts, found.parts, strict=True):
        assert torch.equal(old.sources, new.sources)
        assert torch.equal(old.labels, new.labels)
        assert (old.kind, old.config) == (new.kind, new.config)
    return found


class Pull(Trainable):
    """Pulls images, and learned labels, to constants."""

    def __init__(self, made) -> None:
        self.made = made

    def groups(self):
        return self.made.groups()

    def backward(self, step, generator):
        pairs = self.made.batch(generator, 3)
        loss = (self.made.images(pairs) - 9).square().mean()
        if self.made.targets() is not None:
            loss = loss + (self.made.targets(pairs) - 1).square().sum()
        loss.backward()
        return {"pull": loss.detach()}

    def state_dict(self):
        return self.made.state_dict()

    def load_state_dict(self, state):
        self.made.load_state_dict(state)


SGD = Schedule(steps=3, optimizer="sgd")


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
    with pytest.raises(FormatError, match=f"{ipc + 1} sources a class"):
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


def slow_tiles(x: np.ndarray, factor: int) -> np.ndarray:
    """Nearest-neighbour patches [N · f², C, H, W] put side by side, pixel by pixel."""
    _, channels, height, width = x.shape
    h, w = -(-height // factor), -(-width // factor)
    made = np.empty((len(x) // factor**2, channels, height, width), np.float32)
    for n, row, column in np.ndindex(len(made), height, width):
        patch = (row // h) * factor + column // w
        inside = int((row % h) * height / h), int((column % w) * width / w)
        made[n, :, row, column] = x[n * factor**2 + patch, :, inside[0], inside[1]]
    return made


@pytest.mark.parametrize(("image", "factor"), [((3, 8, 10), 2), ((1, 8, 8), 3), ((1, 7, 9), 2)])
def test_patches_start_from_shrunk_real_images(tmp_path, image, factor):
    data = noise(per_class=20, image=image)
    given = context(tmp_path, data=data)
    made = upsample.UpsampleSettings(factor=factor).build(given)
    count = 2 * factor**2
    index = selections.select("random", given, count)
    assert np.array_equal(made.sources.detach().numpy(), slow_tiles(given.real[index].numpy(), factor))
    assert made.get_buffer("source_labels").tolist() == [0, 0, 1, 1]
    assert torch.equal(made.labels, data.labels[index])
    assert torch.equal(made.sources, upsample.UpsampleSettings(factor=factor).build(given).sources)


@pytest.mark.parametrize("resize", ["bilinear", "area"])
def test_each_patch_decodes_to_its_own_image(tmp_path, resize):
    """Pair p is pick p: constant images stay what they are through shrinking and enlarging."""
    values = torch.arange(8.0)
    sources = tiled(values.view(-1, 1, 1, 1).expand(8, 3, 8, 10), UpsampleConfig(factor=2), resize)
    assert sources.shape == (2, *IMAGE)
    given = context(tmp_path)
    bank = upsample.decoder("upsample", UpsampleConfig(factor=2), IMAGE, 2)
    made = Upsample(sources, torch.tensor([0, 1]), bank, given.space)
    assert torch.allclose(made.images().mean((1, 2, 3)), values)
    assert made.images().flatten(1).std(1).max() < 1e-6
    halves = F.avg_pool2d(given.real[:4], 2)
    assert torch.allclose(tiled(given.real[:4], UpsampleConfig(factor=2), "area")[0, :, :4, :5], halves[0], atol=1e-6)


@pytest.mark.parametrize("rule", ["paired", "product"])
def test_upsample_pairs_are_those_of_the_pack(tmp_path, rule):
    given = context(tmp_path)
    made = upsample.UpsampleSettings(init="herding", selection=SMALL, epoch_rule=rule).build(given)
    everything = made.images()
    assert everything.shape == (16, *IMAGE)
    pairs = torch.tensor([0, 7, 15, 4, 7])
    assert torch.allclose(made.images(pairs), everything[pairs], atol=1e-6)
    for n in range(4):  # against torch's own enlargement of what is cut out by hand
        for patch in range(4):
            top, left = 4 * (patch // 2), 5 * (patch % 2)
            cut = made.sources[n : n + 1, :, top : top + 4, left : left + 5]
            expected = F.interpolate(cut, IMAGE[1:], mode="bilinear")
            assert torch.allclose(everything[4 * n + patch], expected[0], atol=1e-5)
    found = reopened(made, given, tmp_path)
    assert found.card.epoch_rule == made.epoch_rule == rule
    x, y = found.decode(list(range(16)))
    assert torch.allclose(x, everything, atol=1e-6)
    assert torch.equal(y, made.labels)
    made.images(torch.tensor([5])).sum().backward()  # patch 1 of source 1
    touched = made.sources.grad.abs().sum(1) > 0
    assert touched[1, :4, 5:].all()
    assert touched.sum() == 20


def test_upsample_costs_whole_images(tmp_path):
    settings = upsample.UpsampleSettings()
    budget = settings.budget(IMAGE, 2, 3)
    made = settings.build(context(tmp_path, ipc=3))
    assert budget.sources == 3
    assert budget.decoder_floats == 0
    assert budget.used == budget.allowed == made.floats() == 2 * 3 * 240
    assert len(made.labels) == 2 * 3 * 4
    assert made.groups()[0]["lr"] == pytest.approx(0.005 * 3 / 10)
    assert made.groups()[0]["momentum"] == 0.5
    with pytest.raises(FormatError, match="12 images of class 'a'; 16 asked for"):
        settings.build(context(tmp_path, ipc=4))
    with pytest.raises(FormatError, match="factor 4 does not fit"):
        upsample.UpsampleSettings(factor=4).build(context(tmp_path, data=noise(image=(1, 9, 9))))


def test_upsample_noise_is_raw_noise_in_the_space(tmp_path):
    given = context(tmp_path, ipc=40)
    made = upsample.UpsampleSettings(init="noise").build(given)
    raw = given.space.invert(made.sources.detach())
    assert raw.min() > -1e-5
    assert raw.max() < 1 + 1e-5
    assert raw.mean().item() == pytest.approx(0.5, abs=0.01)
    assert raw.std().item() == pytest.approx(0.25, abs=0.015)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lamb"])
def test_clipped_sources_stay_where_pixels_are(tmp_path, optimizer):
    given = context(tmp_path)
    schedule = Schedule(steps=4, optimizer=optimizer)
    high = given.space.apply(torch.ones(1, 3, 1, 1))

    def learned(clip):
        made = upsample.UpsampleSettings(clip=clip, lr=3.0).build(given)
        optimise(Pull(made), schedule, seed=0)
        return made

    assert (learned(False).parts()[0].sources > high + 1e-3).any()
    made = learned(True)
    assert (made.images() <= high + 1e-5).all()
    sources = made.parts()[0].sources
    assert (sources <= high).all()
    assert (sources == high).any()
    first, second = made.images(torch.tensor([0])), made.images(torch.tensor([1]))
    (first.sum() * second.sum()).backward()  # clipping once a step leaves the graph alone
    zca = Zca.fit(given.data.images)
    with pytest.raises(FormatError, match="clip: pixels of a ZCA space have no range"):
        upsample.UpsampleSettings(clip=True).build(context(tmp_path, zca))
    assert upsample.UpsampleSettings().build(context(tmp_path, zca)).sources.shape == (4, *IMAGE)


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
