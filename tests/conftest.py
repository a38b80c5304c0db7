"""What all tests share."""

import os
import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

from dsetpack.formats import progress

# A shell that starts pytest in the background ignores SIGINT for it; the tests of interruption need Python's own way.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Workers of pytest-xdist share the cores; more threads than cores would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
    torch.set_num_threads(1)

# Hypothesis tries the same examples each time.
settings.register_profile(
    "tests", deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def no_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, a command may take long enough to say so; most tests compare what it prints."""
    monkeypatch.setattr(progress, "FIRST", 3600.0)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The same sums on every machine, and no threads that wait for each other over tiny tensors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
