"""What all tests share."""

import signal
from collections.abc import Iterator

import pytest
import torch

# A shell that starts pytest in the background ignores SIGINT for it; the tests of interruption need Python's own way.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The same sums on every machine, and no threads that wait for each other over tiny tensors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
