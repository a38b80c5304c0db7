"""Means of real images: cached ones, those of batches, one augmentation for both sides."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from dsetpack.formats.card import Augmentation
from dsetpack.formats.errors import DsetpackError
from dsetpack.formats.notices import Notice
from dsetpack.spaces import Normalized, Raw
from dsetpack.trainers import context as context_module
from dsetpack.trainers import parallel
from dsetpack.trainers.arithmetic import precision
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.objectives import dm
from dsetpack.trainers.objectives import means as means_module
from dsetpack.trainers.objectives.dm import DistributionMatching
from dsetpack.trainers.objectives.means import BatchMeans, NetworkPool, RealMeans, class_means
from dsetpack.trainers.parameterizations.images import Images
from dsetpack.training.augment import Dsa
from tests.support.dm_cases import CLASSES, UNUSED, TinyNet, context, images, pool


def direct_means(data: ImageData, networks: NetworkPool, space: Normalized, number: int) -> np.ndarray:
    net = networks.build(number, "cpu").double()
    x = space.apply(data.images.double() / 255)
    features = net.embed(x).numpy()
    return np.stack([features[data.labels.numpy() == c].mean(0) for c in range(CLASSES)])


def test_cached_means_equal_direct_ones(tmp_path):
    data = images()
    space, networks = Normalized.fit(data.images), pool()
    RealMeans(networks, data, space, tmp_path).prepare()
    again = RealMeans(networks, data, space, tmp_path)
    again._compute = None  # all means must come from the disk
    for number in range(3):
        found = again(number, networks.build(number, "cpu"), UNUSED)
        assert np.allclose(found.numpy(), direct_means(data, networks, space, number), rtol=1e-4, atol=1e-6)
    assert torch.equal(again(4, networks.build(4, "cpu"), UNUSED), again(1, networks.build(1, "cpu"), UNUSED))


def test_class_means_do_not_depend_on_the_batch():
    data = images(per_class=9)
    net = TinyNet()
    means = [class_means(net.embed, data.take(torch.arange(len(data))), Doubled(), batch) for batch in (1, 5, 100)]
    assert torch.equal(means[0], means[1])
    assert torch.equal(means[0], means[2])


class Doubled(Raw):
    def apply(self, x: Tensor) -> Tensor:
        return x.double()


def test_means_go_on_where_they_stopped(tmp_path, monkeypatch):
    data, networks = images(), pool()
    means = RealMeans(networks, data, Raw(), tmp_path)
    calls = []
    compute = RealMeans._compute

    def counted(self, number, net):
        if len(calls) == 2 and number == 2:
            calls.append("stop")
            raise KeyboardInterrupt
        calls.append(number)
        return compute(self, number, net)

    monkeypatch.setattr(RealMeans, "_compute", counted)
    with pytest.raises(KeyboardInterrupt):
        means.prepare()
    means.prepare()
    assert calls == [0, 1, "stop", 2]
    stored = sorted(means.folder.rglob("*.npy"))
    assert len(stored) == 3
    stored[0].write_bytes(stored[0].read_bytes()[:40])  # damaged: computed again
    means.prepare()
    assert calls == [0, 1, "stop", 2, 0]


def test_means_that_would_take_too_much_are_computed_at_their_step(tmp_path, monkeypatch):
    """Bit for bit the ones that would have been kept; nothing is written, and a notice says so."""
    data, networks, augment = images(), pool(), Dsa(Augmentation(ops=("color", "crop")))
    kept = RealMeans(networks, data, Raw(), tmp_path / "kept", augment)
    kept.prepare()
    assert kept.size == sum(4 * np.load(path).size for path in kept.folder.rglob("*.npy"))
    monkeypatch.setattr(means_module, "LARGEST", kept.size - 1)
    now = RealMeans(networks, data, Raw(), tmp_path / "now", augment)
    with pytest.warns(Notice, match=r"real means of 3 networks would take 0\.0 GB: .* each step embeds all 14 real"):
        now.prepare()
    for step in range(4):
        net = networks.build(step, "cpu")
        assert torch.equal(now(step, net, UNUSED), kept(step, net, UNUSED))
    assert not (tmp_path / "now").exists()
    whole = now(0, networks.build(0, "cpu"), UNUSED)
    for rank in range(2):  # two processes share out the classes
        monkeypatch.setattr(parallel, "mine", lambda count, rank=rank: range(rank, count, 2))
        share = now(0, networks.build(0, "cpu"), UNUSED)
        assert torch.allclose(share[rank], whole[rank], atol=1e-6)
        assert not share[1 - rank].any()


def test_tiny_imagenet_at_the_papers_scale_is_not_kept():
    x, names = torch.zeros(200, 3, 64, 64, dtype=torch.uint8), tuple(map(str, range(200)))
    data = ImageData(x, torch.arange(200), names, "tiny")
    means = RealMeans(NetworkPool("convnet3", None, 20_000, 0, data.shape, 200), data, Raw())
    assert means.size == 20_000 * 200 * 8192 * 4 > means_module.LARGEST


def test_a_large_cache_is_announced_and_needs_room(tmp_path, monkeypatch):
    means = RealMeans(pool(), images(), Raw(), tmp_path / "new" / "folder")
    monkeypatch.setattr(context_module, "LARGE", means.size)
    monkeypatch.setattr(context_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=means.size - 1))
    with pytest.raises(DsetpackError, match=r"the real means of 3 networks take .* are free: .*--cache"):
        means.prepare()
    assert not (tmp_path / "new").exists()
    monkeypatch.undo()
    monkeypatch.setattr(context_module, "LARGE", means.size)
    with pytest.warns(Notice, match=r"the real means of 3 networks will take 0\.0 GB in .*folder.*--cache"):
        means.prepare()
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        means.prepare()  # they are there now


def test_cache_keys_tell_everything_apart():
    data = images()
    swapped = ImageData(data.images, 1 - data.labels, data.classes, "other name")
    keys = {
        RealMeans(networks, real, space).key()
        for networks, real, space in [
            (pool(), data, Raw()),
            (pool(), swapped, Raw()),
            (pool(), images(seed=1), Raw()),
            (pool(), data, Normalized.fit(data.images)),
            (pool(width=5), data, Raw()),
            (pool(seed=1), data, Raw()),
        ]
    }
    assert len(keys) == 6
    renamed = ImageData(data.images, data.labels, data.classes, "another name")
    assert RealMeans(pool(count=9), renamed, Raw()).key() == RealMeans(pool(), data, Raw()).key()
    with precision("bf16", torch.device("cpu")):
        assert RealMeans(pool(), data, Raw()).key() not in keys
    with precision("tf32", torch.device("cpu")):  # a CPU has no tf32
        assert RealMeans(pool(), data, Raw()).key() in keys


def test_one_augmentation_for_both_sides(tmp_path):
    """The synthetic set is the real images, so the loss is zero only if both sides get the same draw."""
    data, augment = images(), Dsa(Augmentation(ops=("color", "crop", "cutout", "scale", "rotate")))
    itself = Images(data.raw(), data.labels, Raw(), CLASSES)
    for means in (
        RealMeans(pool(), data, Raw(), tmp_path, augment),
        BatchMeans(pool(), context(data, augment), 100),
    ):
        losses = [DistributionMatching(means).backward(itself, step, torch.Generator()) for step in range(3)]
        assert max(float(loss["matching"]) for loss in losses) < 1e-10
    alone = RealMeans(pool(), data, Raw(), tmp_path)
    alone.prepare()
    alone.augmenter = means.augmenter  # only for the synthetic side: the means are on the disk
    assert float(DistributionMatching(alone).backward(itself, 0, torch.Generator())["matching"]) > 1e-4


def test_random_real_batches_and_their_crucial_part():
    data, networks = images(per_class=20), pool()
    net = networks.build(0, "cpu")
    features = net.embed(data.raw())
    whole = BatchMeans(networks, context(data), 100)(0, net, UNUSED)
    assert torch.allclose(whole, RealMeans(networks, data, Raw())(0, net, UNUSED), atol=1e-5)
    batch = BatchMeans(networks, context(data), 5)
    assert torch.equal(batch(0, net, UNUSED), batch(0, net, UNUSED))
    assert not torch.equal(batch(0, net, UNUSED), batch(3, net, UNUSED))  # the same network, other images
    centre = torch.randn(CLASSES, features.shape[1], generator=torch.Generator().manual_seed(0))
    found = BatchMeans(networks, context(data), 100, drop=0.2)(0, net, centre)
    for c in range(CLASSES):
        mine = features[data.labels == c]
        far = (mine - centre[c]).square().sum(1).argsort()[4:]  # 4 of 20 are dropped, the nearest
        assert torch.allclose(found[c], mine[far].mean(0), atol=1e-5)
    with pytest.raises(ValueError, match="set 'real_batch'"):
        dm.DmSettings(drop=0.2)


def test_networks_of_a_pool_differ_and_repeat():
    networks = pool()
    weights = [networks.build(n, "cpu").head.weight for n in range(4)]
    assert torch.equal(weights[0], weights[3])
    assert not torch.equal(weights[0], weights[1])
    assert not any(p.requires_grad for p in networks.build(0, "cpu").parameters())
