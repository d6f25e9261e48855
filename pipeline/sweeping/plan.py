"""`--dry-run`: what a sweep would do to each stage, nothing touched."""

from rich.console import Console

from pipeline.sweeping.project import Project
from pipeline.sweeping.workspace import Stage


def plan(
    project: Project, stages: list[Stage], needs: dict[str, set[str]], console: Console
) -> dict[str, str]:
    """Print and return what would become of each stage that is not up to date."""
    found: dict[str, str] = {}
    for stage in stages:
        name = stage.addressing
        verdict = verdict_of(project, stage)
        if made := sorted(need for need in needs[name] if need in found):
            verdict = f"after {', '.join(made)}"
        if verdict is not None:
            found[name] = verdict
            console.print(f"{name}: {verdict}", markup=False, soft_wrap=True)
    console.print(f"{len(found)} of {len(stages)} stages to do")
    return found


def verdict_of(project: Project, stage: Stage) -> str | None:
    """What a sweep would do to the stage as things are; None if it is up to date."""
    inputs_changed = _inputs_changed(project, stage)
    if inputs_changed is None:
        return "run"
    if not inputs_changed and not project.outs_changed(stage):
        return None
    if project.is_made(project.job(stage)):
        return "commit"
    return "restore from DVC's cache" if project.cached(stage, inputs_changed) else "run"


def _inputs_changed(project: Project, stage: Stage) -> bool | None:
    """None if inputs are not there yet."""
    if any(not dep.exists for dep in stage.deps):
        return None
    return project.inputs_changed(stage)
