"""IDC's patches: where they start, what they decode to and cost."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.upsample import UpsampleConfig
from dsetpack.spaces import Zca
from dsetpack.trainers import selections
from dsetpack.trainers.loop import Schedule, optimise
from dsetpack.trainers.parameterizations import upsample
from dsetpack.trainers.parameterizations.upsample import Upsample, tiled
from tests.support.pixel_cases import IMAGE, SMALL, Pull, context, noise, reopened


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
    """Pair p is pick p; constant images do not change when they are shrunk and enlarged."""
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
    (first.sum() * second.sum()).backward()  # clipping once per step leaves the graph alone
    zca = Zca.fit(given.data.images)
    with pytest.raises(FormatError, match="clip: pixels of a ZCA space have no range"):
        upsample.UpsampleSettings(clip=True).build(context(tmp_path, zca))
    assert upsample.UpsampleSettings().build(context(tmp_path, zca)).sources.shape == (4, *IMAGE)
