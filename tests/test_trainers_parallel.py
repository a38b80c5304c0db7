"""Several processes at one distillation give what one gives (gloo, two processes on the CPU)."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dsetpack
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.distill import distill
from dsetpack.trainers.evaluate import accuracies

SETTINGS = {
    "parameterization.channels": (3, 2),
    "parameterization.decoders": 2,
    "parameterization.pretrain.steps": 4,
    "parameterization.pretrain_batch": 8,
    "parameterization.encoder_width": 4,
    "schedule.steps": 5,
    "objective.networks": 4,
    "objective.width": 4,
    "evaluation.steps": 4,
    "evaluation.width": 4,
}
CODE = """
import os, sys
from tests.test_trainers_parallel import work
from dsetpack.trainers import parallel
with parallel.joined("cpu"):
    work(sys.argv[1], sys.argv[2])
os._exit(0)  # gloo's threads may abort a busy machine's interpreter while it shuts down, after all work is done
"""


def data() -> ImageData:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (30, 1, 16, 16), generator=g, dtype=torch.uint8)
    return ImageData(x, torch.arange(30) % 3, ("a", "b", "c"), "noise")


def work(out: str, cache: str) -> None:
    """What each process does: distil, save, evaluate; the accuracies go beside the pack."""
    pack = distill(data(), settings=SETTINGS | {"objective.share": SHARE[out[-5]]}, out=out, cache=cache)
    found = accuracies(pack, data(), seeds=3, show=False)
    if os.environ.get("RANK", "0") == "1":
        Path(f"{out}.accuracies").write_text(json.dumps(found))


SHARE = {"a": 1.0, "b": 0.5}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize("name", ["a", "b"])
def test_two_processes_give_what_one_gives(name, tmp_path):
    out, port = tmp_path / f"{name}.dpk", str(free_port())
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(out), str(tmp_path / "cache")],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=Path.cwd(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the two: other sums round otherwise, and Adam makes much of that
    alone_out = tmp_path / f"alone-{name}.dpk"
    alone = distill(
        data(), settings=SETTINGS | {"objective.share": SHARE[name]}, out=alone_out, cache=tmp_path / "other"
    )
    torch.set_num_threads(threads)
    together = dsetpack.open(out)
    if name == "a":  # with a share, each process draws its classes' pairs on its own
        assert torch.allclose(together.parts[0].sources, alone.parts[0].sources, atol=1e-5)
        for key, value in alone.parts[0].decoder.state_dict().items():
            assert torch.allclose(together.parts[0].decoder.state_dict()[key], value, atol=1e-5)
        expected = accuracies(alone, data(), seeds=3, show=False)
        found = json.loads((tmp_path / f"{name}.dpk.accuracies").read_text())
        assert found == pytest.approx(expected, abs=0.05)
    assert sorted(p.name for p in (tmp_path / f"{name}.dpk.run").iterdir()) == sorted(
        p.name for p in (tmp_path / f"alone-{name}.dpk.run").iterdir()
    )


def test_torchrun_on_the_command_line(tmp_path):
    out = tmp_path / "x.dpk"
    settings = [
        part
        for key, value in SETTINGS.items()
        for part in ("--set", f"{key}={list(value) if isinstance(value, tuple) else value}")
    ]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()),
         "-m", "dsetpack", "distill", "--data", "fashion-sample", "--out", str(out), *settings],
        env={**os.environ, "OMP_NUM_THREADS": "1", "DSETPACK_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("x.dpk:") == 1
    dsetpack.verify(out)
