"""Command `why`: what changed since a cell, or any stage, was made, and what becomes of it.

Reads dvc.yaml, dvc.lock, DVC's caches and git, writes nothing.
"""

from pathlib import Path

from pipeline.core.command import run


def main(*stages: str) -> None:
    """Say of stages, and of what they need, whether they are up to date, and if not, why.

    Args:
        stages: cells such as finetune@digits-NET-quickstart-0, or all of a kind such as finetune;
            by default all fits and baselines
    """
    from pipeline.sweep.snapshot import nothing_to_do

    n_stages = nothing_to_do(Path.cwd(), stages)
    if n_stages is not None:  # since a sweep of the same; DVC need not be loaded
        print(_all_up_to_date(n_stages))
        return
    from rich.console import Console

    from pipeline.study.params import read_study, refuse_unknown_names
    from pipeline.sweep.project import Project
    from pipeline.sweep.session import explained, verdicts

    study = read_study(Path("params.yaml"))
    refuse_unknown_names(study)
    project, console = Project(Path.cwd()), Console(highlight=False)
    wanted, needs = project.collect(stages or study.stages)
    with project.locked():
        found = verdicts(project, wanted, needs)
        lines = explained(project, wanted, found)
    for line in lines or [_all_up_to_date(len(wanted))]:
        console.print(line, markup=False, soft_wrap=True)


def _all_up_to_date(n_stages: int) -> str:
    return f"{n_stages} stage{'s' * (n_stages != 1)} up to date"


if __name__ == "__main__":
    run(main)
