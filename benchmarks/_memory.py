"""The highest memory of a piece of work: a process's resident set on a CPU (Linux), torch's own count on CUDA."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
KEEP_NOTHING = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Environment of a measuring process: glibc gives freed tensors back at once, so that the peak is that of live ones."""


class Memory:
    """Bytes above what there is now; ask for it before anything of interest is built."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        self._before = self._now("VmRSS")

    def begin(self) -> None:
        """Forget the peak so far."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        elif RESET.exists():
            RESET.write_text("5")

    def peak(self) -> int | None:
        """The highest since ``begin``; None where the system does not say."""
        highest = self._now("VmHWM")
        return None if highest is None or self._before is None else highest - self._before

    def _now(self, field: str) -> int | None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            peak = field == "VmHWM"
            return (torch.cuda.max_memory_allocated if peak else torch.cuda.memory_allocated)(self.device)
        if not STATUS.exists() or not os.access(RESET, os.W_OK):
            return None
        (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024
