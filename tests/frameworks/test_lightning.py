"""``ReplayDataModule`` in the real Lightning: training, and exact resume from a checkpoint inside an epoch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning", reason="needs lightning: .ci/integration installs it")
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

import dsetpack
from dsetpack import Pack
from dsetpack.formats.errors import FormatError
from dsetpack.integrations.lightning import ReplayDataModule
from dsetpack.replay import ReplayMemory
from dsetpack.trainers.data import load
from dsetpack.trainers.networks import network
from tests.support.paths import KFS


class Learner(LightningModule):
    def __init__(self):
        super().__init__()
        self.model = network("convnet3", (1, 28, 28), 10, 8, seed=0)
        self.seen = []

    def training_step(self, batch, index):
        x, y = batch
        self.seen.append((x.detach().clone(), y.tolist()))
        return F.cross_entropy(self.model(x), y)

    def validation_step(self, batch, index):
        x, y = batch
        self.log("accuracy", (self.model(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


@pytest.fixture(scope="module")
def data():
    return load("fashion-sample")


def some(data, classes, each=20):
    index = torch.cat([data.of_class(label)[:each] for label in classes])
    return data.images[index], data.labels[index]


@pytest.fixture(scope="module")
def memory(data):
    made = ReplayMemory("50kB", classes=data.classes)
    made.add_arrays(*some(data, range(4)))
    return made


def module(data, memory):
    new = Pack.from_arrays(*some(data, (4, 5), 25), classes=data.classes).loader(8, seed=1)
    real = Pack.from_arrays(*some(data, range(6), 5), classes=data.classes).loader(30)
    return ReplayDataModule(memory, new, ratio=0.5, seed=2, val=real)


def trainer(folder, **options):
    return Trainer(
        accelerator="cpu", default_root_dir=folder, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing="callbacks" in options, num_sanity_val_steps=0, **{"devices": 1, **options},
    )  # fmt: skip


def test_training_mixes_new_data_and_rehearsal(data, memory, tmp_path):
    learner, own = Learner(), trainer(tmp_path, max_epochs=2)
    own.fit(learner, datamodule=module(data, memory))
    assert own.global_step == 14
    assert sum(len(y) for _, y in learner.seen) == 150
    assert {label for _, y in learner.seen for label in y} == set(range(6))
    assert "accuracy" in own.callback_metrics


@pytest.mark.parametrize("steps", [1, 3, 7, 9])
def test_resume_inside_an_epoch_gives_the_same_batches(data, memory, tmp_path, steps):
    """Also from a checkpoint after the last batch of an epoch (7)."""
    saved = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=steps, save_top_k=-1)
    whole, rest = Learner(), Learner()
    trainer(tmp_path, max_epochs=2, callbacks=[saved]).fit(whole, datamodule=module(data, memory))
    trainer(tmp_path, max_epochs=2).fit(
        rest, datamodule=module(data, memory), ckpt_path=tmp_path / f"step={steps}.ckpt", weights_only=False
    )
    assert len(rest.seen) == 14 - steps
    for (x, y), (z, w) in zip(rest.seen, whole.seen[steps:], strict=True):
        assert torch.equal(x, z)
        assert y == w
    for a, b in zip(rest.parameters(), whole.parameters(), strict=True):
        assert torch.equal(a, b)


def test_rehearsal_alone_and_new_data_alone(data, memory, tmp_path):
    learner = Learner()
    trainer(tmp_path, max_epochs=1).fit(learner, datamodule=ReplayDataModule(memory, batch_size=16))
    assert sum(len(y) for _, y in learner.seen) == len(memory)
    learner, empty = Learner(), module(data, ReplayMemory(classes=data.classes))
    trainer(tmp_path, max_epochs=1).fit(learner, datamodule=empty)
    assert {label for _, y in learner.seen for label in y} == {4, 5}


def test_checkpoints_beside_a_stock_loader(data, memory, tmp_path):
    """A stock loader cannot say where it stands, so an epoch's checkpoint has no position; the next epoch follows."""
    x, y = some(data, (4, 5), 25)
    stock = DataLoader(TensorDataset(x.float() / 255, y), batch_size=10)
    learner = Learner()
    own = trainer(tmp_path, max_epochs=2, callbacks=[ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)])
    own.fit(learner, datamodule=ReplayDataModule(memory, stock, ratio=0.5))
    assert sum(len(y) for _, y in learner.seen) == 150
    rest = Learner()
    trainer(tmp_path, max_epochs=2).fit(
        rest, datamodule=ReplayDataModule(memory, stock), ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=False
    )
    assert len(rest.seen) == 5


def test_rehearsal_goes_on_where_loaders_are_made_again(data, memory, tmp_path):
    """50 of 80 images are rehearsed, and none comes twice, even if each epoch asks for the loader again."""
    learner = Learner()
    own = trainer(tmp_path, max_epochs=2, reload_dataloaders_every_n_epochs=1)
    own.fit(learner, datamodule=module(data, memory))
    rehearsed = torch.cat([x[torch.tensor(y) < 4] for x, y in learner.seen])
    assert len(rehearsed) == len(rehearsed.unique(dim=0)) == 50


class Recorder(Learner):
    """Writes what its process has seen."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_end(self):
        x, y = (torch.cat(some) for some in zip(*[(x, torch.tensor(y)) for x, y in self.seen], strict=True))
        torch.save((x, y), self.folder / f"rank-{self.global_rank}.pt")


def test_two_processes_share_new_data_and_rehearsal(data, memory, tmp_path):
    pack = Pack.from_arrays(*some(data, (4, 5), 24), classes=data.classes)
    own = trainer(tmp_path, max_epochs=1, strategy="ddp_fork", devices=2)
    own.fit(Recorder(tmp_path), datamodule=ReplayDataModule(memory, lambda: pack.loader(8, seed=1), seed=2))
    seen = [torch.load(tmp_path / f"rank-{rank}.pt") for rank in range(2)]
    for new in (True, False):
        shares = [x[(y >= 4) == new] for x, y in seen]
        assert [len(share) for share in shares] == [24, 24]
        assert len(torch.cat(shares).unique(dim=0)) == 48
    with pytest.raises(Exception, match="for 1 process, and there are 2, each of which would"):
        trainer(tmp_path, max_epochs=1, strategy="ddp_fork", devices=2).fit(
            Learner(), datamodule=ReplayDataModule(memory, pack.loader(8, seed=1))
        )


class Alone(Learner):
    """Trains on the loader that it makes, and writes the number of each pair that its process gets."""

    def __init__(self, folder, loader):
        super().__init__()
        self.folder, self.loader = folder, loader

    def train_dataloader(self):
        return self.loader(dsetpack.open(KFS))

    def predict_step(self, batch, index):
        return batch[1]

    def on_train_end(self):
        pack = dsetpack.open(KFS)
        every = pack.decode(range(len(pack)))[0]
        found = [int((every == image).flatten(1).all(1).nonzero()[0, 0]) for x, _ in self.seen for image in x]
        torch.save(found, self.folder / f"pairs-{self.global_rank}.pt")


def with_sampler(pack):
    return DataLoader(pack.dataset(), batch_sampler=pack.sampler(32, seed=1))


LOADERS = {
    "our loader": (lambda pack: pack.loader(32, seed=1), {}),
    "a sampler that is left alone": (with_sampler, {"use_distributed_sampler": False}),
}


@pytest.mark.parametrize("name", LOADERS)
def test_two_processes_get_every_pair(tmp_path, name):
    loader, options = LOADERS[name]
    trainer(tmp_path, max_epochs=1, strategy="ddp_fork", devices=2, **options).fit(Alone(tmp_path, loader))
    shares = [torch.load(tmp_path / f"pairs-{rank}.pt") for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(280))


def test_a_sampler_that_lightning_makes_anew_is_refused(tmp_path):
    """In several processes, and to predict: pairs, seed and rule would be lost."""
    with pytest.raises(Exception, match="found a DistributedSampler where a pack.s table was expected"):
        trainer(tmp_path, max_epochs=1, strategy="ddp_fork", devices=2).fit(Alone(tmp_path, with_sampler))
    with pytest.raises(FormatError, match=r"found a SequentialSampler where a pack's table was expected"):
        trainer(tmp_path).predict(Alone(tmp_path, None), with_sampler(dsetpack.open(KFS)))


def test_predictions_in_the_order_of_the_pack(tmp_path):
    pack = dsetpack.open(KFS)
    found = trainer(tmp_path).predict(Alone(tmp_path, None), DataLoader(pack, batch_size=32))
    assert torch.equal(torch.cat(found), pack.labels)
