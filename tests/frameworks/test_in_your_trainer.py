"""The programs of docs/in-your-trainer.md, each with the real framework, and what their processes see."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.document_runner import excluded
from tests.support.paths import DOCS, KFS, ROOT

PROGRAMS = dict(excluded(DOCS / "in-your-trainer.md"))
PAIRS = 280


def run(folder: Path, code: str, *launcher: str) -> str:
    """Run a program as a reader would, in a folder with the pack, and return what it prints."""
    shutil.copy(KFS, folder / "demo.dpk")
    (folder / "program.py").write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *launcher, "program.py"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def need(*packages: str) -> None:
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"needs {package}: .ci/integration installs it")


@pytest.mark.parametrize("why", PROGRAMS)
def test_program_runs(why, tmp_path):
    need(*why.removeprefix("needs ").split(" and "))
    run(tmp_path, PROGRAMS[why])


def test_the_page_has_the_frameworks():
    names = ("lightning", "accelerate", "transformers and accelerate", "ray", "avalanche", "keras")
    assert list(PROGRAMS) == [f"needs {name}" for name in names]


SEEN = """
import json
with open(f"rank-{rank}.json", "w") as file:
    json.dump(seen, file)
"""


def seen(folder: Path) -> list[list[int]]:
    """What each of two processes saw: the numbers of pairs in its order."""
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]


def test_accelerate_shares_out_a_loader_that_is_not_prepared(tmp_path):
    need("accelerate")
    code = """
import torch
from accelerate import Accelerator
import dsetpack
accelerator, pack = Accelerator(cpu=True), dsetpack.open("demo.dpk")
every, rank, seen = pack.decode(range(len(pack)))[0], accelerator.process_index, []
for x, _ in pack.loader(32, seed=1):
    seen += [int((every == image).flatten(1).all(1).nonzero()[0, 0]) for image in x]
"""
    run(tmp_path, code + SEEN, "-m", "torch.distributed.run", "--nproc-per-node=2")
    shares = seen(tmp_path)
    assert [len(share) for share in shares] == [PAIRS // 2] * 2
    assert sorted(shares[0] + shares[1]) == list(range(PAIRS))


PREPARED = """
import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.utils import DataLoaderConfiguration
from torch.utils.data import DataLoader
import dsetpack
accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(even_batches=False))
pack, rank = dsetpack.open("demo.dpk"), accelerator.process_index
class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return len(pack)
    def __getitem__(self, number):
        return number
sampler = pack.sampler(32, seed=1, rank=0, world=1)
loader = accelerator.prepare(DataLoader(Numbers(), batch_sampler=sampler))
"""


def test_accelerate_shares_out_a_sampler_that_does_not(tmp_path):
    need("accelerate")
    code = PREPARED + "seen = [[batch.tolist() for batch in loader] for _ in range(2)]\n"
    run(tmp_path, code + SEEN, "-m", "torch.distributed.run", "--nproc-per-node=2")
    import dsetpack

    sampler = dsetpack.open(KFS).sampler(32, seed=1)
    for epoch in range(2):
        first, second = (share[epoch] for share in seen(tmp_path))
        taken = [batch for pair in zip(first, [*second, []], strict=True) for batch in pair]
        assert taken[:-1] == list(sampler)


def test_accelerate_skips_batches(tmp_path):
    need("accelerate")
    code = PREPARED + "seen = [batch.tolist() for batch in skip_first_batches(loader, 2)]\n"
    run(tmp_path, code + SEEN, "-m", "torch.distributed.run", "--nproc-per-node=2")
    assert [sum(map(len, share)) for share in seen(tmp_path)] == [88, 64]


def test_accelerate_is_told_how_to_skip_batches_of_our_loader():
    accelerate = pytest.importorskip("accelerate", reason="needs accelerate: .ci/integration installs it")
    import dsetpack

    with pytest.raises(AttributeError, match="to skip batches, use its state_dict and load_state_dict"):
        accelerate.skip_first_batches(dsetpack.open(KFS).loader(32), 2)


def test_ray_shares_out_a_loader(tmp_path):
    need("ray")
    code = f"""
import json
import torch.distributed
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
import dsetpack
def work():
    pack, rank = dsetpack.open({str(KFS)!r}), torch.distributed.get_rank()
    every, seen = pack.decode(range(len(pack)))[0], []
    for x, _ in pack.loader(32, seed=1):
        seen += [int((every == image).flatten(1).all(1).nonzero()[0, 0]) for image in x]
    with open({str(tmp_path)!r} + f"/rank-{{rank}}.json", "w") as file:
        json.dump(seen, file)
TorchTrainer(work, scaling_config=ScalingConfig(num_workers=2)).fit()
"""
    run(tmp_path, code)
    shares = seen(tmp_path)
    assert sorted(shares[0] + shares[1]) == list(range(PAIRS))
