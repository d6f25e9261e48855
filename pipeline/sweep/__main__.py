"""`python -m pipeline.sweep`: the study's fine-tunes, many at a time, committed to DVC.

Afterwards `dvc repro` finds them done. A sweep may be ended or killed at any moment: the next call
goes on from there. Imports stay inside the function: each run's process imports this module again.
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
    fit_on: str | None = None,
) -> None:
    """Make what is stale, several runs at a time.

    What DVC's cache has is taken from there. docs/sweep.md says more.

    Args:
        targets: stages of dvc.yaml; by default all baselines and fits of the study
        jobs: how many runs at a time, on each host; by default one per GPU, without GPUs as many
            as have cores for their threads
        gpus_per_run: 0.25 packs four runs on each GPU, and their times rank nothing; auto packs as
            many as pays, after the first run of each model
        exclusive: let no two runs share a GPU or a core
        order: cheap: the cheapest runs first; grid: in the order of the study
        warm: auto: one process makes all runs of an architecture on a GPU; yes: also on a CPU;
            no: each run has a fresh process
        pull: take runs from the DVC remote's cache too
        max_failures: stop starting runs after so many stages without a record
        keep_going: do not stop after five runs in a row that failed for one reason
        address: HOST:PORT or auto joins a Ray cluster; local starts Ray on this machine alone
        dry_run: run nothing, and show what would run, with an estimate of time and energy
        price_per_hour: with --dry-run, what an hour of all machines costs, for the cost of it all
        fit_on: with --dry-run, the device to estimate for: one of runs or of timm's benchmark files
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
        fit_on=fit_on,
    )
    options.check()
    remote = pull or address is not None  # which may be out of reach, and that is to be said
    n_stages = None if remote else nothing_to_do(Path.cwd(), targets)
    if n_stages is not None:
        to_do = f"0 of {n_stages} stage{'s' * (n_stages != 1)} to do"
        print(to_do if dry_run else f"stages: {n_stages} up to date")
        return
    from pipeline.sweep.session import session  # loads DVC

    session(Path.cwd(), targets, options)


if __name__ == "__main__":
    run(main)
