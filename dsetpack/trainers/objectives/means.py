"""The real side of distribution matching: class means of random networks' embeddings, computed once and kept on disk.

As in KFS section 3.2, "Full batch training", the means over *all* real images are computed for each network. Each
network can be built again from its seed; its weights would take 1.2 MB per network. The means of the paper's 20,000
networks take 1.6 GB for CIFAR-10 and 16 GB for CIFAR-100. For Tiny ImageNet they would take 131 GB, and each network
serves only one of the 20,000 steps: so many means are not kept, but computed at their steps.
"""

from __future__ import annotations

import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.formats.atomic import write_atomically
from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import notice
from dsetpack.formats.progress import steps
from dsetpack.formats.words import plural
from dsetpack.spaces import Space
from dsetpack.trainers import parallel
from dsetpack.trainers.arithmetic import current, deterministic
from dsetpack.trainers.context import Context, announce, gigabytes
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.networks import Network, network
from dsetpack.trainers.objectives.isa import crucial_mean
from dsetpack.trainers.progress import meter
from dsetpack.trainers.seeds import derive, generator
from dsetpack.training.augment import Dsa

BATCH = 1000
FILES = 100
"""The number of files per folder."""
LARGEST = 20_000_000_000
"""The bytes up to which means are kept. It must not depend on the machine: a run that is resumed does the same."""


@dataclass(frozen=True)
class NetworkPool:
    """Randomly initialised networks 0, 1, ... count - 1, each a function of (seed, number).

    Attributes:
        name, width: see ``network``.
        count: the number of different networks; step t uses network t modulo ``count``.
        seed: the seed of all networks.
        image, classes: the shape of images and the number of classes that the networks are made for.
    """

    name: str
    width: int | None
    count: int
    seed: int
    image: tuple[int, int, int]
    classes: int

    def build(self, number: int, device: torch.device | str) -> Network:
        """Build network ``number`` modulo ``count``, without gradients on its weights, in training mode."""
        seed = derive(self.seed, "network", number % self.count)
        return network(self.name, self.image, self.classes, self.width, seed=seed).requires_grad_(False).to(device)

    def fingerprint(self) -> str:
        """SHA-256 of network 0's weights. It changes with all that changes the networks, even torch's initialisers."""
        digest = hashlib.sha256()
        for name, value in self.build(0, "cpu").state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
        return digest.hexdigest()


def class_means(
    embed: Callable[[Tensor], Tensor],
    data: ImageData,
    space: Space,
    batch: int = BATCH,
    wanted: Sequence[int] | None = None,
) -> Tensor:
    """The mean embedding of each class over all its images, float32 [classes, features]; summed in float64.

    Args:
        embed: maps images [B, C, H, W] in ``space`` to features [B, F].
        data: the images; every class needs one.
        space: the pixel space, applied to the raw images first.
        batch: images at a time.
        wanted: the classes that are needed; others may have no images. None for all.

    Raises:
        FormatError: if a class that is needed has no image.
    """
    classes = len(data.classes)
    count = torch.bincount(data.labels, minlength=classes)
    if missing := [c for c in (range(classes) if wanted is None else wanted) if not count[c]]:
        raise FormatError(f"{data.name} has no image of class {data.classes[missing[0]]!r}")
    total: Tensor | None = None
    with torch.no_grad(), steps("class means", len(data)) as work:
        for x, y in data.batches(batch):
            # a product instead of index_add: it adds in the same order on every device
            part = F.one_hot(y, classes).double().T @ embed(space.apply(x)).double()
            total = part if total is None else total + part
            work.advance(len(y))
    assert total is not None
    return (total / count[:, None].clamp_min(1)).float()


def in_full(features: Tensor) -> Tensor:
    """The features as they are, or in float32 if their sums would be rounded to half precision."""
    return features.float() if features.dtype in (torch.bfloat16, torch.float16) else features


class Means(ABC):
    """The real side of distribution matching.

    Attributes:
        pool: the networks.
        augment: siamese augmentation of both sides, with one draw for each network of the pool; or None.
        follows: whether the real means depend on the synthetic set's means.
    """

    pool: NetworkPool
    augment: Dsa | None = None
    follows: bool = False

    @abstractmethod
    def __call__(self, step: int, built: Network, synthetic: Tensor | None) -> Tensor:
        """Class means float [classes, features] of the embeddings by ``built``, which is the network of ``step``.

        ``synthetic`` holds the synthetic set's means; it may be None unless ``follows``.
        """

    def augmenter(self, step: int) -> Callable[[Tensor], Tensor]:
        """The augmentation of both sides at a step."""
        augment = self.augment
        if augment is None:
            return lambda x: x
        seed = derive(self.pool.seed, "siamese", step % self.pool.count)
        return lambda x: augment(x, seed, siamese=True)


class BatchMeans(Means):
    """Means over random real images of each class, drawn for each step: DM as released.

    Args:
        pool: the networks.
        context: the real images, and how to augment them.
        size: the number of images of each class; all of them if there are fewer.
        drop: the share of them to leave out, the easiest first; see ``isa.crucial_mean``.
    """

    def __init__(self, pool: NetworkPool, context: Context, size: int, drop: float = 0.0) -> None:
        self.pool, self.context, self.augment = pool, context, context.augment
        self.size, self.drop = size, drop
        self.follows = drop > 0

    @override
    def __call__(self, step: int, built: Network, synthetic: Tensor | None) -> Tensor:
        drawn, augment = generator(self.context.seed, "real", step), self.augmenter(step)
        with torch.no_grad():
            batches = (self.context.real_batch(self.size, drawn, c)[0] for c in range(self.context.classes))
            features = (in_full(built.embed(augment(x))) for x in batches)
            if synthetic is None:
                return torch.stack([f.mean(0) for f in features])
            return torch.stack([crucial_mean(f, mean, self.drop) for f, mean in zip(features, synthetic, strict=True)])


class RealMeans(Means):
    """Class means of every network of a pool, computed when first needed (or all at once) and cached on disk.

    The cache holds one ``.npy`` file per network, each written atomically: an interrupted computation continues where
    it stopped. The folder's name is a key over data, labels, pixel space, networks, augmentation and precision.

    If all means take more than ``LARGEST`` bytes, each is computed at its step and not kept. Of several processes, each
    then computes those of the classes that it matches, and leaves the others 0.

    Args:
        pool: the networks.
        data: the real training images, on the device that computes.
        space: the pixel space in which images are matched.
        cache: the folder for all caches; None keeps the means in memory only.
        augment: the augmentation of both sides.
    """

    def __init__(
        self,
        pool: NetworkPool,
        data: ImageData,
        space: Space,
        cache: Path | None = None,
        augment: Dsa | None = None,
    ) -> None:
        self.pool, self.data, self.space, self.augment = pool, data, space, augment
        self.size = 4 * pool.count * pool.classes * pool.build(0, "cpu").features
        self.folder = None if cache is None else cache / self.key()
        self._kept: dict[int, Tensor] = {}
        self._shared: tuple[Sequence[int], ImageData] | None = None

    def key(self) -> str:
        """The 40 hexadecimal digits that name the cache's folder."""
        parts: dict[str, Any] = {
            "version": 1,
            "data": self.data.digest,
            "labels": self.data.labels_digest,
            "space": self.space.model.model_dump(mode="json"),
            "network": [self.pool.name, self.pool.width, self.pool.seed, self.pool.fingerprint()],
        }
        if self.augment is not None:
            parts["augment"] = self.augment.spec.model_dump(mode="json")
        if (products := current(self.data.images.device)) != "float32":
            parts["precision"] = products
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]

    def prepare(self, show: bool | None = None) -> None:
        """Compute all missing means and show progress. Ctrl-C loses at most the current network's.

        Several processes share out the networks. If the means are too large to be kept, a notice says so.

        Raises:
            FormatError: if a class has no image.
            DsetpackError: if there is no room for the means.
        """
        what = f"the real means of {plural(self.pool.count, 'network')}"
        if self.size > LARGEST:
            if not parallel.rank():
                notice(
                    f"{what} would take {gigabytes(self.size)}: they are not kept, each step embeds all "
                    f"{len(self.data):,} real images; fewer objective.networks are kept and used again"
                )
            return
        missing = [n for n in parallel.mine(self.pool.count) if self._stored(n) is None]
        if self.folder is not None:
            announce(what, self.size * len(missing) * parallel.world() // self.pool.count, self.folder)
        with meter("real means", len(missing), False if parallel.rank() else show) as work:
            for done, number in enumerate(missing):
                self._compute(number, self.pool.build(number, self.data.images.device))
                work.update(done + 1)
        parallel.wait()

    @override
    def __call__(self, step: int, built: Network, synthetic: Tensor | None) -> Tensor:
        number = step % self.pool.count
        if self.size > LARGEST:
            own = parallel.mine(self.pool.classes)
            return self._means(number, built, self._share(own), own)
        found = self._stored(number)
        return self._compute(number, built) if found is None else found.to(self.data.images.device)

    def _means(self, number: int, built: Network, data: ImageData, wanted: Sequence[int] | None = None) -> Tensor:
        augment = self.augmenter(number)
        with deterministic():
            return class_means(lambda x: built.embed(augment(x)), data, self.space, wanted=wanted)

    def _share(self, own: Sequence[int]) -> ImageData:
        """The images of some classes; those that were asked for last are kept."""
        if len(own) == self.pool.classes:
            return self.data
        if self._shared is None or self._shared[0] != own:
            mine = torch.isin(self.data.labels, torch.tensor(own, device=self.data.labels.device))
            self._shared = own, self.data.take(mine.nonzero()[:, 0])
        return self._shared[1]

    def _compute(self, number: int, built: Network) -> Tensor:
        means = self._means(number, built, self.data)
        if self.folder is None:
            self._kept[number] = means
            return means
        buffer = io.BytesIO()
        np.save(buffer, means.cpu().numpy(), allow_pickle=False)
        path = self._path(self.folder, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
        return means

    def _stored(self, number: int) -> Tensor | None:
        if self.folder is None or number in self._kept:
            return self._kept.get(number)
        path = self._path(self.folder, number)
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # missing or damaged: compute it again
            return None
        if values.dtype != np.float32 or values.ndim != 2 or len(values) != len(self.data.classes):
            return None
        return torch.from_numpy(values)

    @staticmethod
    def _path(folder: Path, number: int) -> Path:
        return folder / f"{number // FILES:04d}" / f"{number % FILES:02d}.npy"
