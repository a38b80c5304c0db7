"""Expert trajectories: networks trained on the real data, with their parameters after every epoch kept on disk.

Trajectory matching follows them (MTT, Cazenavette et al. 2022, section 3.1). Each expert is one ``.npy`` file: an array
of ``epochs + 1`` rows, each a CRC-32 and all parameters of the network as one vector, in the order of ``parameters()``.
A file is mapped, never loaded: a step of matching reads the two rows that it needs and checks only those.

They take 4 bytes per parameter, epoch and expert: 6.5 GB for the paper's 100 experts of 50 epochs with a ConvNet-3 of
width 128. ``precision="f16"`` halves that; see ``ExpertSettings`` for the loss of accuracy.
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
from dsetpack.formats.progress import Work
from dsetpack.formats.words import plural
from dsetpack.trainers import parallel
from dsetpack.trainers.arithmetic import current, deterministic
from dsetpack.trainers.context import Context, announce
from dsetpack.trainers.networks import Network
from dsetpack.trainers.objectives.isa import crucial
from dsetpack.trainers.objectives.means import NetworkPool
from dsetpack.trainers.parameterizations.base import Positive
from dsetpack.trainers.progress import meter
from dsetpack.trainers.seeds import generator


class ExpertSettings(Model):
    """How experts are trained. The defaults are the values of MTT and its release.

    Experts are trained by plain SGD on cross-entropy, without weight decay and at a constant rate. If the run augments,
    DSA augments the batches with parameters of its own for each image.

    Attributes:
        count: the number of experts; raising it keeps those that exist.
        epochs: how long each is trained; its parameters are kept at the start and after each epoch.
        epoch_steps: the number of steps that count as an epoch; None for one pass over the data. Fewer steps make CPU
            runs short; the order continues where the last epoch stopped, so every image is seen.
        batch, lr, momentum: SGD's batch size, learning rate and momentum.
        drop: ISA on MTT, inferred: the share of each batch, the images of lowest loss, that a step leaves out; see
            ``objectives/isa.py``. 0 for MTT, 0.2 in ISA's paper.
        precision: how parameters are stored. ``f16`` keeps 11 bits. Measured with a ConvNet-3 of width 16 on 6,000
            images of Fashion-MNIST, with targets 2 epochs of 10 or 24 steps ahead and starts from epoch 0 to 10,
            rounding moves a target by 0.4 to 1.4 % of its distance, changes the squared distance by at most 0.3 %, and
            so adds at most 0.0002 to a loss that is 1 if nothing is learned. It matters more if experts move less: with
            late starts, or a small ``lr`` or ``epoch_steps``.
        seed: the experts' seed; None for the run's. Setting it lets runs with different seeds share one set of experts.
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

    The folder's name in the cache is a key over data, labels, pixel space, augmentation, settings, networks and
    precision. Each file is written atomically: an interrupted recording continues with the expert that it stopped in,
    from that expert's start. A damaged file is recorded again when the damage is noticed.

    Args:
        settings: how to train experts.
        pool: the networks that experts start from: expert n is network n, trained with draws that depend only on
            (seed, n).
        context: the real images, the space, the augmentation, the cache and the device.
    """

    def __init__(self, settings: ExpertSettings, pool: NetworkPool, context: Context) -> None:
        self.settings, self.pool, self.context = settings, pool, context
        size = sum(p.numel() for p in pool.build(0, "cpu").parameters())
        kind = {"f32": "<f4", "f16": "<f2"}[settings.precision]
        self._dtype = np.dtype([("crc32", "<u4"), ("parameters", kind, (size,))])
        self.folder = context.cache / f"experts-{self.key()}"

    def key(self) -> str:
        """The 40 hexadecimal digits that name the cache's folder."""
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
        """Record all missing experts and show progress. Several processes share them out.

        Raises:
            DsetpackError: if an expert's parameters become NaN or infinite, or if there is no room for all experts.
        """
        missing = [n for n in parallel.mine(self.settings.count) if self._rows(n) is None]
        epochs = self.settings.epochs
        size = len(missing) * parallel.world() * (epochs + 1) * self._dtype.itemsize
        announce(plural(self.settings.count, "expert"), size, self.folder)
        with meter("experts", len(missing) * epochs, False if parallel.rank() else show) as work:
            for done, number in enumerate(missing):
                self._record(number, work, done * epochs)
        parallel.wait()

    def __call__(self, number: int, epoch: int) -> Tensor:
        """The parameters of expert ``number`` after ``epoch`` epochs: float32 [P] on the context's device.

        Raises:
            IntegrityError: if the file was damaged and still cannot be read after it was recorded again.
        """
        values = self._read(number, epoch)
        if values is None:
            with meter(f"expert {number} again", self.settings.epochs, self.context.run("experts").show) as work:
                self._record(number, work)
            values = self._read(number, epoch)
        if values is None:
            raise IntegrityError(f"{self.path(number)}: damaged again right after it was written; check the disk")
        return torch.from_numpy(values).to(self.context.device)

    def _read(self, number: int, epoch: int) -> npt.NDArray[np.float32] | None:
        """Read one row; None if the file or that row is damaged."""
        rows = self._rows(number)
        if rows is None:
            return None
        values = np.array(rows["parameters"][epoch])
        return values.astype(np.float32, copy=False) if zlib.crc32(values.tobytes()) == rows["crc32"][epoch] else None

    def _rows(self, number: int) -> npt.NDArray[np.void] | None:
        """The mapped file; None if it does not exist or has another shape."""
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
        except (OSError, ValueError):  # missing, or removed or replaced meanwhile
            return None

    def _record(self, number: int, work: Work, done: int = 0) -> None:
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
            work.update(done + epoch, f"expert {number}")
        buffer = io.BytesIO()
        np.save(buffer, rows, allow_pickle=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path(number), buffer.getvalue())


def trajectory(net: Network, settings: ExpertSettings, context: Context, drawn: torch.Generator) -> Iterator[Tensor]:
    """Train ``net`` on the real data and yield its parameters, float32 [P], at the start and after every epoch.

    Args:
        net: a network on the context's device; it is trained in place.
        settings: how to train.
        context: the real images, the labels and the augmentation.
        drawn: a generator on the CPU, from which the order of images and the augmentation of each batch are drawn.
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
    """The mean cross-entropy, a scalar, of a batch without the share ``drop`` that is predicted best.

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
    """Yield batches of endless passes over all images, each in a new order; a pass's last batch may be smaller."""
    while True:
        yield from torch.split(torch.randperm(count, generator=drawn), size)
