"""A Lightning ``DataModule`` that mixes new data with rehearsal from a ``ReplayMemory`` (Lightning 2).

Importing this file needs Lightning.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from dsetpack.formats.errors import FormatError
from dsetpack.formats.extras import need_package
from dsetpack.loading.loader import PackLoader
from dsetpack.order.sampler import PairSampler
from dsetpack.order.sampling import rank_and_world
from dsetpack.pack.pack import Pack
from dsetpack.replay import MixedLoader, ReplayMemory
from dsetpack.replay.mix import Batches

__all__ = ["ReplayDataModule"]

_MODULE = "lightning.pytorch" if importlib.util.find_spec("lightning") else "pytorch_lightning"
LightningDataModule: Any = need_package(_MODULE, "lightning>=2.2").LightningDataModule


class _Shown:
    """A loader in a form that Lightning can use.

    It has no ``sampler``: if Lightning sees one, it takes the loader for torch's own. It has a state only if the new
    data have one, since Lightning asks for it with every checkpoint. And Lightning leaves an epoch after its last
    batch: the rest of the epoch is then empty, so after loading such a state the next epoch must follow at once.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        if not isinstance(loader, MixedLoader) or loader.resumable:
            self.state_dict, self.load_state_dict = loader.state_dict, loader.load_state_dict

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        empty = True
        for batch in self._loader:
            empty = False
            yield batch
        if empty:
            yield from self._loader


def _shown(loader: Any) -> Any:
    return _Shown(loader) if isinstance(loader, PackLoader | MixedLoader) else loader


def _world(loader: Any) -> int | None:
    """The number of processes between which a loader divides its data; None if that cannot be seen."""
    if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
        found = [_world_of(sampler) for sampler in (loader.batch_sampler, loader.sampler)]
        return next((world for world in found if world != 1), 1)
    return _world_of(loader.sampler) if isinstance(loader, PackLoader) else None


def _world_of(sampler: Any) -> int | None:
    if isinstance(sampler, PairSampler):
        return sampler.schedule.sampling.world
    if isinstance(sampler, DistributedSampler):
        return sampler.num_replicas
    stock = sampler is None or type(sampler).__module__.startswith(("torch.", "torchdata."))
    return 1 if stock else None


class ReplayDataModule(LightningDataModule):  # type: ignore[misc]
    """A data module of batches of new data, each with rehearsed images; while the memory is empty, new data alone.

    If ``new`` can save its position (``pack.loader(...)``, torchdata's ``StatefulDataLoader``), Lightning keeps the
    loader's position in its checkpoints, and ``trainer.fit(..., ckpt_path=...)`` continues with the very next batch.
    Otherwise the checkpoints hold no position. For the next task, set ``new`` and fit again, with a new ``Trainer`` or
    with ``reload_dataloaders_every_n_epochs=1``. Until ``new`` is set or the memory changes (saving changes it, too),
    the loader stays the same: rehearsal continues through the memory and does not start again.

    With several processes (DDP), each process rehearses its own share, and ``new`` must divide its data, too: give a
    function that makes the loader, which is called once in each process. Such a ``pack.loader(...)`` takes the
    process's share by itself; torch's ``DataLoader`` needs a ``DistributedSampler``.

    Args:
        memory: the memory to rehearse, with its contents when Lightning asks for the loader.
        new: batches (x, y) in the memory's pixel space, or a function that makes them; None rehearses alone, in batches
            of ``batch_size``.
        ratio: rehearsed images per new image; see ``MixedLoader``.
        batch_size: batch size of rehearsal alone.
        seed: seed of the rehearsal's order.
        val, test: loaders of real images for validation and testing, passed on as they are.
    """

    def __init__(
        self,
        memory: ReplayMemory,
        new: Batches | Callable[[], Batches] | None = None,
        *,
        ratio: float = 1.0,
        batch_size: int = 64,
        seed: int = 0,
        val: Iterable[Any] | None = None,
        test: Iterable[Any] | None = None,
    ) -> None:
        super().__init__()
        self.memory, self.new, self.ratio, self.batch_size, self.seed = memory, new, ratio, batch_size, seed
        self.val, self.test = val, test
        self._made: tuple[Any, Any, Any] | None = None  # what the loader was made from, and the loader

    def train_dataloader(self) -> Any:
        """The loader of new data with rehearsal; see the class.

        Raises:
            FormatError: if there are neither new data nor tasks, or if several processes would train on the same new
                data.
        """
        pack = self.memory.pack if self.memory.tasks else None
        key = (id(pack), id(self.new), self.ratio, self.batch_size, self.seed, *rank_and_world(None, None))
        if self._made is None or self._made[0] != key:
            self._made = key, self._loader(pack), (pack, self.new)  # held, so that no other object can get their ids
        return self._made[1]

    def _loader(self, pack: Pack | None) -> Any:
        if self.new is None:
            if pack is None:
                raise FormatError("there is nothing to train on: give new=, or add a task to the memory")
            return _shown(self.memory.loader(self.batch_size, seed=self.seed))
        new = self.new() if callable(self.new) else self.new
        world = rank_and_world(None, None)[1]
        if world > 1 and (shared := _world(new)) not in (world, None):
            raise FormatError(
                f"new is a {type(new).__name__} for {shared} process, and there are {world}, each of which would read "
                "all of it beside rehearsal: give a function that makes pack.loader(...), or a DataLoader with a "
                "DistributedSampler"
            )
        return _shown(new if pack is None else MixedLoader(new, pack, self.ratio, seed=self.seed))

    def val_dataloader(self) -> Any:
        """The loader for validation, or an empty list."""
        return [] if self.val is None else _shown(self.val)

    def test_dataloader(self) -> Any:
        """The loader for testing, or an empty list."""
        return [] if self.test is None else _shown(self.test)
