"""`python -m pipeline.sweep.host DESCRIPTOR`: a host's own process, in the code it was sent.

It runs jobs on the engine of one machine and talks with the host's actor over an inherited pipe:
in come the settings, then jobs, then None; out go the number of places, then each end. When the
pipe closes the actor is gone: this process ends, the kernel ends the fork server, then the runs.
"""

import os
import sys
from multiprocessing.connection import Connection
from typing import Any

from pipeline.study.params import Cell
from pipeline.sweep.engine import LocalEngine
from pipeline.sweep.jobs import Job, Options

POLL_SECONDS = 0.05


def main(descriptor: int) -> None:
    connection: Connection = Connection(descriptor)
    try:
        serve(connection)
    except (EOFError, OSError):
        os._exit(1)


def serve(connection: Connection) -> None:
    settings = connection.recv()
    cores = sorted(os.sched_getaffinity(0))[: settings["cores"]]
    os.sched_setaffinity(0, cores)
    threads = settings["threads"]
    jobs = Options(**settings["options"]).runs_at_a_time(threads)
    engine = LocalEngine(jobs, threads)
    connection.send(engine.free)
    while True:
        if connection.poll(None if not engine.running else 0):
            job = connection.recv()
            if job is None:
                engine.stop()
                return
            engine.start(job_of(job))
        for end in engine.wait(POLL_SECONDS):
            connection.send((end.job.name, end.exit_code, end.reason))


def job_of(plain: dict[str, Any]) -> Job:
    """The job that came as plain values."""
    cell = plain["cell"] and Cell(**plain["cell"])
    return Job(**{**plain, "cell": cell})


if __name__ == "__main__":
    main(int(sys.argv[1]))
