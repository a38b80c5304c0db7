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
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.distill import distill
from dsetpack.trainers.evaluate import accuracies
from dsetpack.trainers.stages import distill_stages
from tests.support.processes import environment
from tests.support.tiny_methods import real

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
from tests.trainers import test_parallel
from dsetpack.trainers import parallel
with parallel.joined("cpu"):
    getattr(test_parallel, sys.argv[1])(sys.argv[2], sys.argv[3])
os._exit(0)  # gloo's threads may abort a busy machine's interpreter while it shuts down, after all work is done
"""


def data() -> ImageData:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (30, 1, 16, 16), generator=g, dtype=torch.uint8)
    return ImageData(x, torch.arange(30) % 3, ("a", "b", "c"), "noise")


def work(out: str, cache: str) -> None:
    """What each process does: distill, save, evaluate; the accuracies go beside the pack."""
    pack = distill(data(), settings=SETTINGS | {"objective.share": SHARE[out[-5]]}, out=out, cache=cache)
    found = accuracies(pack, data(), seeds=3, show=False)
    if os.environ.get("RANK", "0") == "1":
        Path(f"{out}.accuracies").write_text(json.dumps(found))


def staged(out: str, cache: str) -> Pack:
    """Two stages, the second with an encoder of its own for the first one's decoders."""
    return distill_stages(real(), [[0, 1], [2]], settings=SETTINGS | PRETRAINED, out=out, cache=cache)


SHARE = {"a": 1.0, "b": 0.5}
PRETRAINED = {"parameterization.pretrain.steps": 40, "parameterization.pretrain_batch": 32}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def two_processes(what: str, out: Path, cache: Path) -> None:
    """Run one of the functions above in two processes."""
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    common["MASTER_PORT"] = str(free_port())
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, what, str(out), str(cache)],
            env={**environment(), **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


def same_part(found: Part, expected: Part, atol: float = 1e-5) -> None:
    assert torch.allclose(found.sources, expected.sources, atol=atol)
    for key, value in expected.decoder.state_dict().items():
        assert torch.allclose(found.decoder.state_dict()[key], value, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "b"])
def test_two_processes_give_what_one_gives(name, tmp_path, one_thread):
    out, alone_out = tmp_path / f"{name}.dpk", tmp_path / f"alone-{name}.dpk"
    two_processes("work", out, tmp_path / "cache")
    alone = distill(
        data(), settings=SETTINGS | {"objective.share": SHARE[name]}, out=alone_out, cache=tmp_path / "other"
    )
    if name == "a":  # with a share, each process draws its classes' pairs on its own
        same_part(dsetpack.open(out).parts[0], alone.parts[0])
        expected = accuracies(alone, data(), seeds=3, show=False)
        found = json.loads((tmp_path / f"{name}.dpk.accuracies").read_text())
        assert found == pytest.approx(expected, abs=0.034)  # rounding may change one of 30 images
    assert sorted(p.name for p in (tmp_path / f"{name}.dpk.run").iterdir()) == sorted(
        p.name for p in (tmp_path / f"alone-{name}.dpk.run").iterdir()
    )


@pytest.mark.slow
def test_stages_of_two_processes_are_those_of_one(tmp_path, one_thread):
    """A later stage's encoder learns for decoders that differ in their last digits, so the tolerance is larger."""
    two_processes("staged", tmp_path / "two.dpk", tmp_path / "cache")
    alone, together = staged(str(tmp_path / "one.dpk"), str(tmp_path / "other")), dsetpack.open(tmp_path / "two.dpk")
    same_part(together.parts[0], alone.parts[0])
    same_part(together.parts[1], alone.parts[1], atol=1e-4)


@pytest.mark.slow
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
        env={**environment(), "OMP_NUM_THREADS": "1", "DSETPACK_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("x.dpk:") == 1
    dsetpack.verify(out)
