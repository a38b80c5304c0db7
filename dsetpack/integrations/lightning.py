"""A Lightning ``DataModule`` that mixes new data with rehearsal from a ``ReplayMemory`` (Lightning 2).

Importing this file needs Lightning.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from typing import Any

from dsetpack.extras import need_package
from dsetpack.formats.errors import FormatError
from dsetpack.loader import PackLoader
from dsetpack.replay import MixedLoader, ReplayMemory
from dsetpack.replay.mix import Batches

_MODULE = "lightning.pytorch" if importlib.util.find_spec("lightning") else "pytorch_lightning"
LightningDataModule: Any = need_package(_MODULE, "lightning>=2.2").LightningDataModule


class _Shown:
    """A loader as Lightning can use it.

    It has no ``sampler``: where Lightning sees one, it takes the loader for torch's own. It has a state only where new
    data have one: Lightning asks for it with every checkpoint. And Lightning leaves an epoch after its last batch, so a
    state taken there has an empty rest, after which the next epoch must come at once.
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


class ReplayDataModule(LightningDataModule):  # type: ignore[misc]
    """Batches of new data, each with rehearsed images; new data alone while the memory is empty.

    Lightning keeps the loader's position in its checkpoints: ``trainer.fit(..., ckpt_path=...)`` goes on with the very
    next batch where ``new`` can say where it stands (``pack.loader(...)``, torchdata's ``StatefulDataLoader``);
    elsewhere they have no position. For the next task set ``new`` and fit again: with a new ``Trainer``, or
    ``reload_dataloaders_every_n_epochs=1``.

    Args:
        memory: what is rehearsed: what it holds when Lightning asks for the loader.
        new: batches (x, y) in the memory's pixel space; None rehearses alone, in batches of ``batch_size``.
        ratio: rehearsed images for each new one; see ``MixedLoader``.
        batch_size: of rehearsal alone.
        seed: of the rehearsal's order.
        val, test: loaders of real images for validation and testing, passed on as they are.
    """

    def __init__(
        self,
        memory: ReplayMemory,
        new: Batches | None = None,
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

    def train_dataloader(self) -> Any:
        """New data with rehearsal; see the class.

        Raises:
            FormatError: there is neither.
        """
        if self.new is None:
            if not self.memory.tasks:
                raise FormatError("there is nothing to train on: give new=, or add a task to the memory")
            return _shown(self.memory.loader(self.batch_size, seed=self.seed))
        if not self.memory.tasks:
            return _shown(self.new)
        return _shown(MixedLoader(self.new, self.memory.pack, self.ratio, seed=self.seed))

    def val_dataloader(self) -> Any:
        """The loader for validation; none is an empty list."""
        return [] if self.val is None else _shown(self.val)

    def test_dataloader(self) -> Any:
        """The loader for testing; none is an empty list."""
        return [] if self.test is None else _shown(self.test)
