"""What a run got of the CPU, and what others took: two readings, before and after, are compared.

The kernel counts how long each thread was ready to run and had no core, because something else had
it. That is measured on the run itself, so a neighbour on a core that the run does not want counts
nothing. A hypervisor's share (steal) is not in it.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

NANO = 1e-9


@dataclass(frozen=True)
class Reading:
    """The counters of this process and its cores at one moment."""

    at: float
    cpu_seconds: float
    waited_seconds: dict[str, float] | None  # thread -> ready to run, but without a core
    busy_seconds: float | None  # of all processes, on the cores that this one may use
    load: float | None


def read() -> Reading:
    return Reading(
        at=time.perf_counter(),
        cpu_seconds=time.process_time(),
        waited_seconds=_waited_seconds(),
        busy_seconds=_busy_seconds(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def waited_share(begin: Reading, end: Reading) -> float | None:
    """Of the time in which the process could have run, the share that it waited for a core."""
    if begin.waited_seconds is None or end.waited_seconds is None:
        return None
    waited = sum(
        seconds - begin.waited_seconds.get(thread, 0.0)
        for thread, seconds in end.waited_seconds.items()
    )
    ready = waited + end.cpu_seconds - begin.cpu_seconds
    return waited / ready if ready > 0 else None


def others_cores(begin: Reading, end: Reading) -> float | None:
    """How many of its cores other processes kept busy, on average."""
    if begin.busy_seconds is None or end.busy_seconds is None or end.at <= begin.at:
        return None
    own = end.cpu_seconds - begin.cpu_seconds
    return max(0.0, end.busy_seconds - begin.busy_seconds - own) / (end.at - begin.at)


def _waited_seconds() -> dict[str, float] | None:
    """Per thread of this process; None where the kernel does not count it (Linux does)."""
    found = {}
    for thread in Path("/proc/self/task").glob("*"):
        try:
            fields = (thread / "schedstat").read_text(encoding="ascii").split()
        except FileNotFoundError:
            continue  # it ended meanwhile, or nothing is counted
        except OSError:
            return None
        found[thread.name] = int(fields[1]) * NANO
    return found or None


def _busy_seconds() -> float | None:
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = psutil.cpu_times(percpu=True)
    allowed = os.sched_getaffinity(0)
    if max(allowed) >= len(cores):  # some cores are off, and the rest is numbered otherwise
        return None
    busy = ("user", "nice", "system", "irq", "softirq")
    return sum(getattr(cores[core], kind, 0.0) for core in allowed for kind in busy)
