"""A process that ends with the one that started it, so that nothing is left behind."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)  # Linux's; looked up before any fork


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to end this process when its parent ends (Linux; elsewhere no effect)."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, by)
