"""`python -m pipeline.sweep`: the study's fine-tunes, many at a time, committed to DVC.

Afterwards `dvc repro` finds them done. Ended or killed at any moment, the next call goes on from
there. Imports stay inside the function: each run's process imports this module once more.
"""

from pipeline.command import run

CELLS = "finetune"


def main(
    *targets: str,
    jobs: int | None = None,
    dry_run: bool = False,
    max_failures: int | None = None,
    address: str | None = None,
) -> None:
    """Make what is stale of TARGETS (stages of dvc.yaml; all fine-tunes of the study).

    Runs JOBS at a time: one per GPU, without GPUs as many as have cores for their threads. What
    DVC's cache has is taken from there. Stops starting runs after MAX_FAILURES stages without a
    record. DRY_RUN only tells. ADDRESS (HOST:PORT, or auto) joins a Ray cluster, where JOBS is for
    each host; `local` starts Ray on this machine.
    """
    from pathlib import Path

    from pipeline.sweeping.session import session

    session(Path.cwd(), targets or (CELLS,), jobs, dry_run, max_failures, address)


if __name__ == "__main__":
    run(main)
