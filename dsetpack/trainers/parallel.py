"""Several processes that share one distillation (``torchrun``): who does what, and sums over all processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """The number of processes that work together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, 0 ... world - 1."""
    return dist.get_rank() if world() > 1 else 0


def mine(count: int) -> range:
    """The numbers below ``count`` that belong to this process."""
    return range(rank(), count, world())


def sum_over_processes(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in one exchange per dtype and device."""
    if world() == 1:
        return
    alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        alike.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for group in alike.values():
        flat = torch.cat([tensor.flatten() for tensor in group])
        dist.all_reduce(flat)
        for tensor, part in zip(group, torch.split(flat, [tensor.numel() for tensor in group]), strict=True):
            tensor.copy_(part.view_as(tensor))


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is true in any process, so that all processes stop after the same step."""
    if world() == 1:
        return flag
    found = torch.tensor(int(flag), device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found)


def gather(values: Any) -> list[Any]:
    """Gather each process's plain values (numbers, strings, lists of them), in the order of ranks."""
    if world() == 1:
        return [values]
    found: list[Any] = [None] * world()
    dist.all_gather_object(found, values)
    return found


def wait() -> None:
    """Wait until all processes have called this."""
    if world() > 1:
        dist.barrier()


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that ``torchrun`` started, if any, and yield this process's own device."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
        dist.barrier()  # no process leaves while another still communicates with it
    finally:
        dist.destroy_process_group()
