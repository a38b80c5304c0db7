"""The real side of distribution matching: class means of random networks' embeddings, computed once and kept on disk.

KFS section 3.2, "Full batch training": the means over *all* real images for each network, stored with what makes the
network again. Weights would cost 1.2 MB a network; a seed costs nothing and gives the same weights.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dsetpack.formats.atomic import write_atomically
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Space
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.networks import Network, network
from dsetpack.trainers.progress import Meter
from dsetpack.trainers.seeds import derive

BATCH = 1000
FILES = 100
"""Files in one folder."""


@dataclass(frozen=True)
class NetworkPool:
    """Randomly initialised networks 0, 1, ... count - 1, each a function of (seed, number).

    Attributes:
        name, width: as for ``network``.
        count: how many different ones; step t uses number t modulo ``count``.
        seed: of all of them.
        image, classes: what they are made for.
    """

    name: str
    width: int | None
    count: int
    seed: int
    image: tuple[int, int, int]
    classes: int

    def build(self, number: int, device: torch.device | str) -> Network:
        """Network ``number`` modulo ``count``, without gradients on its weights, in training mode."""
        seed = derive(self.seed, "network", number % self.count)
        return network(self.name, self.image, self.classes, self.width, seed=seed).requires_grad_(False).to(device)

    def fingerprint(self) -> str:
        """SHA-256 of network 0's weights: changes with anything that changes the networks, torch's initialisers too."""
        digest = hashlib.sha256()
        for name, value in self.build(0, "cpu").state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
        return digest.hexdigest()


def class_means(embed: Callable[[Tensor], Tensor], data: ImageData, space: Space, batch: int = BATCH) -> Tensor:
    """Mean embedding of each class over all images, float32 [classes, features]; summed in float64.

    Args:
        embed: images [B, C, H, W] in ``space`` to features [B, F].
        data: every class needs an image.
        space: applied to the raw images first.
        batch: images at a time.

    Raises:
        FormatError: a class has no image.
    """
    classes = len(data.classes)
    count = torch.bincount(data.labels, minlength=classes)
    if missing := (count == 0).nonzero().flatten().tolist():
        raise FormatError(f"{data.name} has no image of class {data.classes[missing[0]]!r}")
    total: Tensor | None = None
    with torch.no_grad():
        for x, y in data.batches(batch):
            # a product instead of index_add: the same sum in the same order on every device
            part = F.one_hot(y, classes).double().T @ embed(space.apply(x)).double()
            total = part if total is None else total + part
    assert total is not None
    return (total / count[:, None]).float()


class RealMeans:
    """Class means of every network of a pool, computed when first asked for (or all at once) and cached on disk.

    The cache holds one ``.npy`` file a network, each written in one step: an interrupted computation goes on where it
    was. Its folder is named by a key over data, labels, pixel space and the networks themselves.

    Args:
        pool: the networks.
        data: real training images, on the device that shall compute.
        space: the pixel space they are matched in.
        cache: folder for all caches; None keeps the means in memory only.
    """

    def __init__(self, pool: NetworkPool, data: ImageData, space: Space, cache: Path | None = None) -> None:
        self.pool, self.data, self.space = pool, data, space
        self.folder = None if cache is None else cache / self.key()
        self._kept: dict[int, Tensor] = {}

    def key(self) -> str:
        """40 hexadecimal digits that name the cache's folder."""
        parts = {
            "version": 1,
            "data": self.data.digest,
            "labels": self.data.labels_digest,
            "space": self.space.model.model_dump(mode="json"),
            "network": [self.pool.name, self.pool.width, self.pool.seed, self.pool.fingerprint()],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]

    def prepare(self, show: bool | None = None) -> None:
        """Compute all that is missing, with progress. Ctrl-C loses at most the network at work."""
        missing = [n for n in range(self.pool.count) if self._stored(n) is None]
        with Meter("real means", len(missing), show) as meter:
            for done, number in enumerate(missing):
                self._compute(number, self.pool.build(number, self.data.images.device))
                meter.update(done + 1)

    def __call__(self, number: int, built: Network) -> Tensor:
        """Means [classes, features] of network ``number`` modulo the pool's count; ``built`` is that network."""
        number %= self.pool.count
        found = self._stored(number)
        return self._compute(number, built) if found is None else found.to(self.data.images.device)

    def _compute(self, number: int, built: Network) -> Tensor:
        means = class_means(built.embed, self.data, self.space)
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
        except (OSError, ValueError, EOFError):  # not there, or damaged: compute it again
            return None
        if values.dtype != np.float32 or values.ndim != 2 or len(values) != len(self.data.classes):
            return None
        return torch.from_numpy(values)

    @staticmethod
    def _path(folder: Path, number: int) -> Path:
        return folder / f"{number // FILES:04d}" / f"{number % FILES:02d}.npy"
