"""What all tests share."""

import signal

# A shell that starts pytest in the background ignores SIGINT for it; the tests of interruption need Python's own way.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
