"""`python -m pipeline.sweep`: the study's fine-tunes, many at a time, committed to DVC.

Afterwards `dvc repro` finds them done. Ended or killed at any moment, the next call goes on from
there. Imports stay inside the function: each run's process imports this module once more.
"""

from pipeline.core.command import run


def main(
    *targets: str,
    jobs: int | None = None,
    gpus_per_run: str | None = None,
    exclusive: bool = False,
    order: str = "cheap",
    warm: str = "auto",
    pull: bool = False,
    max_failures: int | None = None,
    keep_going: bool = False,
    address: str | None = None,
    dry_run: bool = False,
    price_per_hour: float | None = None,
) -> None:
    """Make what is stale of TARGETS (stages of dvc.yaml; all baselines and fits of the study).

    Runs JOBS at a time: one per GPU, without GPUs as many as have cores for their threads. What
    DVC's cache has is taken from there, with --pull from the DVC remote's too. GPUS_PER_RUN 0.25
    packs four runs on each GPU, and their times rank nothing; `auto` packs as many as pays, after
    the first run of each model; --exclusive lets no two share a GPU or a core. ORDER: cheap runs
    first, or as the grid has them. WARM: one process makes all runs of an architecture on a GPU
    (auto), also on a CPU (yes), or each run has a fresh one (no). Stops starting runs after
    MAX_FAILURES stages without a record, and, unless --keep-going, after five in a row that failed
    for one reason. ADDRESS (HOST:PORT, or auto) joins a Ray cluster, where JOBS is for each host;
    `local` starts Ray on this machine alone. --dry-run runs nothing and shows what would run, with
    an estimate of time and energy, and of the cost where PRICE_PER_HOUR is that of all machines
    used.
    """
    from pathlib import Path

    from pipeline.sweep.jobs import Options, share_of
    from pipeline.sweep.snapshot import nothing_to_do

    options = Options(
        jobs=jobs,
        gpus_per_run=share_of(gpus_per_run),
        exclusive=exclusive,
        order=order,
        warm=warm,
        pull=pull,
        max_failures=max_failures,
        keep_going=keep_going,
        address=address,
        dry_run=dry_run,
        price_per_hour=price_per_hour,
    )
    options.check()
    remote = pull or address is not None  # which may be out of reach, and that is to be said
    n_stages = None if remote else nothing_to_do(Path.cwd(), targets)
    if n_stages is not None:
        print(f"0 of {n_stages} stages to do" if dry_run else f"{n_stages} up to date")
        return
    from pipeline.sweep.session import session  # loads DVC

    session(Path.cwd(), targets, options)


if __name__ == "__main__":
    run(main)
