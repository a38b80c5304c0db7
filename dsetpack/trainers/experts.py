"""Expert trajectories: networks trained on the real data, with their parameters after every epoch kept on disk.

What trajectory matching follows (MTT, Cazenavette et al. 2022, section 3.1). One ``.npy`` file an expert: an array of
``epochs + 1`` rows, each a CRC-32 and all parameters of the network as one vector, in the order of ``parameters()``.
A file is mapped, never loaded: a step of matching reads the two rows that it needs and checks only those.

Size: 4 bytes a parameter, epoch and expert: 6.5 GB for the paper's 100 experts of 50 epochs with a ConvNet-3 of width
128. ``precision="f16"`` halves that: see ``ExpertSettings`` for what it costs.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from dsetpack.formats.atomic import write_atomically
from dsetpack.formats.errors import DsetpackError, IntegrityError
from dsetpack.formats.model import Model
from dsetpack.trainers import parallel
from dsetpack.trainers.arithmetic import current, deterministic
from dsetpack.trainers.context import Context
from dsetpack.trainers.networks import Network
from dsetpack.trainers.objectives.isa import crucial
from dsetpack.trainers.objectives.means import NetworkPool
from dsetpack.trainers.parameterizations.base import Positive
from dsetpack.trainers.progress import Meter
from dsetpack.trainers.seeds import generator


class ExpertSettings(Model):
    """How experts are trained: MTT's values by default, which are its release's, too.

    Plain SGD on cross-entropy, without weight decay and at a constant rate, on batches that DSA augments with
    parameters for each image (where the run augments at all).

    Attributes:
        count: how many; raising it keeps those that are there.
        epochs: how long each is trained; its parameters are kept at the start and after each.
        epoch_steps: steps that count as an epoch; None for one pass over the data. Fewer make CPU runs short; the
            order goes on where the last epoch stopped, so every image is seen.
        batch, lr, momentum: of SGD.
        drop: ISA on MTT, inferred: the share of each batch, of the lowest loss, that a step leaves out; see
            ``objectives/isa.py``. 0 without, 0.2 in the paper.
        precision: how parameters are stored. ``f16`` keeps 11 bits. Measured with a ConvNet-3 of width 16 on 6,000
            images of Fashion-MNIST, targets 2 epochs of 10 or 24 steps ahead, starts from epoch 0 to 10: rounding moves
            a target by 0.4 to 1.4 % of its distance, changes the squared distance by at most 0.3 %, and so adds at most
            0.0002 to a loss that is 1 where nothing is learned. It weighs more where experts move less: late starts,
            small ``lr`` or ``epoch_steps``.
        seed: of the experts; None for the run's. Setting it lets runs with other seeds share one set of experts.
    """

    count: Positive = 100
    epochs: Positive = 50
    epoch_steps: Positive | None = None
    batch: Positive = 256
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["f32", "f16"] = "f32"
    seed: int | None = None


class Experts:
    """Recorded experts, read row by row.

    The folder in the cache is named by a key over data, labels, pixel space, augmentation, settings and the networks
    themselves. Each file is written in one step: an interrupted recording goes on with the expert that it stopped in,
    from that expert's start. A file that is damaged is recorded again, when it is found out.

    Args:
        settings: how to train them.
        pool: the networks they start from: expert n is network n, trained with draws that depend on (seed, n) alone.
        context: real images, space, augmentation, cache and device.
    """

    def __init__(self, settings: ExpertSettings, pool: NetworkPool, context: Context) -> None:
        self.settings, self.pool, self.context = settings, pool, context
        size = sum(p.numel() for p in pool.build(0, "cpu").parameters())
        kind = {"f32": "<f4", "f16": "<f2"}[settings.precision]
        self._dtype = np.dtype([("crc32", "<u4"), ("parameters", kind, (size,))])
        self.folder = context.cache / f"experts-{self.key()}"

    def key(self) -> str:
        """40 hexadecimal digits that name the cache's folder."""
        context = self.context
        left_out = {"count", "seed"} if self.settings.drop else {"count", "seed", "drop"}
        parts: dict[str, Any] = {
            "version": 1,
            "data": context.data.digest,
            "labels": context.data.labels_digest,
            "space": context.space.model.model_dump(mode="json"),
            "augment": None if context.augment is None else context.augment.spec.model_dump(mode="json"),
            "settings": self.settings.model_dump(mode="json", exclude=left_out),
            "network": [self.pool.name, self.pool.width, self.pool.seed, self.pool.fingerprint()],
        }
        if (products := current(context.device)) != "float32":
            parts["precision"] = products
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]

    def path(self, number: int) -> Path:
        """The file of expert ``number``."""
        return self.folder / f"{number:04d}.npy"

    def prepare(self, show: bool | None = None) -> None:
        """Record all experts that are missing, with progress. Several processes share them out.

        Raises:
            DsetpackError: an expert's parameters became NaN or infinite.
        """
        missing = [n for n in parallel.mine(self.settings.count) if self._rows(n) is None]
        epochs = self.settings.epochs
        with Meter("experts", len(missing) * epochs, False if parallel.rank() else show) as meter:
            for done, number in enumerate(missing):
                self._record(number, meter, done * epochs)
        parallel.wait()

    def __call__(self, number: int, epoch: int) -> Tensor:
        """The parameters of expert ``number`` after ``epoch`` epochs: float32 [P] on the context's device.

        Raises:
            IntegrityError: the file was damaged, recorded again, and cannot be read even so.
        """
        values = self._read(number, epoch)
        if values is None:
            with Meter(f"expert {number} again", self.settings.epochs, self.context.run("experts").show) as meter:
                self._record(number, meter)
            values = self._read(number, epoch)
        if values is None:
            raise IntegrityError(f"{self.path(number)}: damaged again right after it was written; check the disk")
        return torch.from_numpy(values).to(self.context.device)

    def _read(self, number: int, epoch: int) -> npt.NDArray[np.float32] | None:
        """One row; None where the file or that row is damaged."""
        rows = self._rows(number)
        if rows is None:
            return None
        values = np.array(rows["parameters"][epoch])
        return values.astype(np.float32, copy=False) if zlib.crc32(values.tobytes()) == rows["crc32"][epoch] else None

    def _rows(self, number: int) -> npt.NDArray[np.void] | None:
        """The mapped file; None where there is none, or not one of this shape."""
        path, shape = self.path(number), (self.settings.epochs + 1,)
        expected = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            expected, {"descr": self._dtype.descr, "fortran_order": False, "shape": shape}
        )
        head = expected.getvalue()
        try:
            with path.open("rb") as file:
                if file.read(len(head)) != head or path.stat().st_size != len(head) + shape[0] * self._dtype.itemsize:
                    return None
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError):  # not there, or gone or replaced meanwhile
            return None

    def _record(self, number: int, meter: Meter, done: int = 0) -> None:
        rows = np.zeros(self.settings.epochs + 1, self._dtype)
        net = self.pool.build(number, self.context.device)
        drawn = generator(self.pool.seed, "expert", number)
        for epoch, parameters in enumerate(trajectory(net, self.settings, self.context, drawn)):
            with np.errstate(over="ignore"):
                rows["parameters"][epoch] = parameters.cpu().numpy()
            if not np.isfinite(rows["parameters"][epoch]).all():
                raise DsetpackError(
                    f"expert {number}: parameters that are not finite in {self.settings.precision} after epoch {epoch} "
                    f"with learning rate {self.settings.lr:g}: lower experts.lr, or check the data"
                )
            rows["crc32"][epoch] = zlib.crc32(rows["parameters"][epoch].tobytes())
            meter.update(done + epoch, f"expert {number}")
        buffer = io.BytesIO()
        np.save(buffer, rows, allow_pickle=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path(number), buffer.getvalue())


def trajectory(net: Network, settings: ExpertSettings, context: Context, drawn: torch.Generator) -> Iterator[Tensor]:
    """Train ``net`` on the real data; its parameters, float32 [P], before and after every epoch.

    Args:
        net: on the context's device; trained in place.
        settings: how.
        context: real images, labels and augmentation.
        drawn: on the CPU: the order of images, then the augmentation of each batch, come from it.
    """
    real, labels = context.real, context.data.labels
    net.requires_grad_(True).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=settings.lr, momentum=settings.momentum)
    batches = _batches(len(labels), settings.batch, drawn)
    steps = settings.epoch_steps or math.ceil(len(labels) / settings.batch)
    yield parameters_to_vector(net.parameters()).detach()
    for _ in range(settings.epochs):
        with deterministic():
            for index in islice(batches, steps):
                chosen = index.to(context.device)
                x = real[chosen]
                if context.augment is not None:
                    x = context.augment(x, drawn)
                optimizer.zero_grad()
                torch.autograd.backward(loss(net(x), labels[chosen], settings.drop))
                optimizer.step()
        yield parameters_to_vector(net.parameters()).detach()


def loss(logits: Tensor, labels: Tensor, drop: float = 0.0) -> Tensor:
    """Mean cross-entropy, a scalar, of all of a batch but the share ``drop`` that is predicted best.

    Args:
        logits: [B, classes].
        labels: int64 [B].
        drop: 0 <= drop < 1.
    """
    if not drop:
        return F.cross_entropy(logits, labels)
    each = F.cross_entropy(logits, labels, reduction="none")
    return each[crucial(each.detach(), drop)].mean()


def _batches(count: int, size: int, drawn: torch.Generator) -> Iterator[Tensor]:
    """Endless passes over all images, each in a new order; the last batch of a pass may be smaller."""
    while True:
        yield from torch.split(torch.randperm(count, generator=drawn), size)
