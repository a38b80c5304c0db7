"""Peak memory of a piece of work: the resident set of the process on a CPU (Linux only), torch's own count on CUDA."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
KEEP_NOTHING = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Environment variables for a measuring process: glibc returns freed tensors at once, so only live ones count."""


class Memory:
    """Counts bytes above the memory in use when this is made; make it before anything that should count."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        self._before = self._now("VmRSS")

    def begin(self) -> None:
        """Start a new peak: forget the highest use so far."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        elif RESET.exists():
            RESET.write_text("5")

    def peak(self) -> int | None:
        """The highest use since ``begin``; None if the system does not report it."""
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
