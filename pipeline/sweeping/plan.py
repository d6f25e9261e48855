"""`--dry-run`: what a sweep would do to each stage and what that takes, nothing touched."""

from rich.console import Console

from pipeline.sweeping.project import Project
from pipeline.sweeping.workspace import Stage, command_of

RUN, AFTER = "run", "after "


def plan(
    project: Project,
    stages: list[Stage],
    needs: dict[str, set[str]],
    console: Console,
    jobs: int,
    price_per_hour: float | None,
) -> dict[str, str]:
    """Print and return what would become of each stage that is not up to date."""
    from pipeline.sweeping.estimate import estimate_lines  # tables: a sweep needs them not

    found: dict[str, str] = {}
    for stage in stages:
        name = stage.addressing
        verdict = verdict_of(project, stage)
        if made := sorted(need for need in needs[name] if need in found):
            verdict = f"{AFTER}{', '.join(made)}"
        if verdict is not None:
            found[name] = verdict
            console.print(f"{name}: {verdict}", markup=False, soft_wrap=True)
    console.print(f"{len(found)} of {len(stages)} stages to do")
    for line in estimate_lines(project.root, _commands(stages, found), jobs, price_per_hour):
        console.print(line, markup=False, soft_wrap=True)
    return found


def _commands(stages: list[Stage], found: dict[str, str]) -> list[str]:
    """The commands that would run; what comes from the cache costs nothing."""
    return [
        command_of(stage)
        for stage in stages
        if found.get(stage.addressing, "").startswith((RUN, AFTER))
    ]


def verdict_of(project: Project, stage: Stage) -> str | None:
    """What a sweep would do to the stage as things are; None if it is up to date."""
    inputs_changed = _inputs_changed(project, stage)
    if inputs_changed is None:
        return RUN
    if not inputs_changed and not project.outs_changed(stage):
        return None
    if project.is_made(project.job(stage)):
        return "commit"
    return "restore from DVC's cache" if project.cached(stage, inputs_changed) else RUN


def _inputs_changed(project: Project, stage: Stage) -> bool | None:
    """None if inputs are not there yet."""
    if any(not dep.exists for dep in stage.deps):
        return None
    return project.inputs_changed(stage)
