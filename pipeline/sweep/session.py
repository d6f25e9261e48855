"""One call of the sweep: hold the workspace, run the loop, end cleanly on signals, sum up.

A dry run does not hold the workspace: it prints what would become of each stage and how long that
would take. It writes only the snapshot, and links to sources that have come or gone, because DVC
would stop at these.
"""

import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from rich.console import Console

from pipeline.core.errors import PipelineError, TryAgain
from pipeline.core.processes import hold
from pipeline.hardware.machine import visible_gpus
from pipeline.source import __main__ as links
from pipeline.study.params import Study, read_study, refuse_odd_words, refuse_unknown_names
from pipeline.sweep.dvc_private import (
    Stage,
    changed_outs,
    inputs_of,
    missing_inputs,
    name_of,
    one_line,
    outs_of,
)
from pipeline.sweep.engine import LocalEngine
from pipeline.sweep.jobs import AUTO, LIMIT, Engine, Options, Stopped
from pipeline.sweep.loop import Result, Sweep, View
from pipeline.sweep.project import Project
from pipeline.sweep.reasons import Reason, Reasons, acceptable, by_reason
from pipeline.sweep.snapshot import Snapshot

RUN, AFTER = "run", "after "
MOST_LISTED = 12  # cells of one stage that a dry run names one by one
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def plan(
    project: Project,
    study: Study,
    stages: list[Stage],
    needs: dict[str, set[str]],
    console: Console,
    jobs: int,
    options: Options,
) -> dict[str, str]:
    """Print and return what would become of the stages not up to date, the estimate first.

    A new name that no model has is an error: each of its runs would fail. So would those of a new
    model that takes no images of the study's size, which is said.
    """
    from pipeline.estimates.planned import estimate_lines  # loads pandas
    from pipeline.names.resolve import resolve

    found = verdicts(project, stages, needs)
    run = [each for each in stages if found.get(name_of(each), "").startswith((RUN, AFTER))]
    cells = [cell for cell in map(project.cell_of, run) if cell is not None]  # the cache is free
    known = {cell.model for cell in cells} - new_models(project, stages)
    new = [each for each in dict.fromkeys(cell.model for cell in cells) if each not in known]
    for model in new:  # for others, timm, whose import takes seconds, need not be asked
        resolve(model)
    threads = max(map(project.threads_of, run), default=1)
    most = "up to " * any(verdict.startswith(AFTER) for verdict in found.values())
    lines = [f"{most}{len(found)} of {len(stages)} stage{'s' * (len(stages) != 1)} to do"]
    lines += of_other_sizes(project.root, study, new)
    if missing := missing_weights(study, {cell.model for cell in cells}):
        lines.append(str(missing[1]))
    price, device = options.price_per_hour, options.fit_on
    lines += estimate_lines(project.root, cells, threads, jobs, price, device)
    if cells and (others := sum(name_of(each).startswith("baseline") for each in run)):
        lines.append(f"  not in it: {others} frozen baseline{'s' * (others != 1)}")
    for line in [*lines, *explained(project, stages, found)]:
        console.print(line, markup=False, soft_wrap=True)
    return found


def new_models(project: Project, stages: list[Stage]) -> set[str]:
    """The models of the fits among these stages that were never fitted before."""
    made = filter(project.was_made, stages)
    models, before = (
        {cell.model for cell in map(project.cell_of, each) if cell} for each in (stages, made)
    )
    return models - before


def of_other_sizes(root: Path, study: Study, models: Iterable[str]) -> list[str]:
    """A line on those of these models that take no images of the study's size, if there are any."""
    from pipeline.prefetch.__main__ import refusal_note, refused_sizes
    from pipeline.timm_results.imagenet import read_imagenet

    models, imagenet = list(models), None
    if not models:
        return []
    with suppress(PipelineError):  # none yet, or damaged: then timm says it
        imagenet = read_imagenet(root / "data/imagenet.csv")
    refused = refused_sizes(models, study.image_size, imagenet)
    return [refusal_note(refused, study.image_size)] if refused else []


def missing_weights(study: Study, models: set[str]) -> tuple[set[str], PipelineError] | None:
    """Which of these models surely have no weights here, so that each of their runs fails, and the
    error that says so; None where there are none such.
    """
    if not models:
        return None
    from pipeline.finetune.weights import weights_config  # loads Hydra
    from pipeline.prefetch.__main__ import shortage, surely_missing

    ordered = [model for model in study.models if model in models]
    missing = surely_missing(ordered, weights_config(study.path))
    return (set(missing), shortage(missing, len(study.models))) if missing else None


def refuse_runs_without_weights(
    project: Project,
    study: Study,
    stages: list[Stage],
    needs: dict[str, set[str]],
    console: Console,
    pulled: bool,
) -> None:
    """Print which models have no weights here; raise if no fit of any other is to be made, unless
    runs may be `pulled` from a remote: those need no weights.
    """
    found = missing_weights(study, new_models(project, stages))
    if found is None:
        return
    models, told = found
    with project.locked():
        to_do = verdicts(project, stages, needs)
    cells = [
        (cell, to_do[name].startswith((RUN, AFTER)))
        for name, cell in ((name_of(each), project.cell_of(each)) for each in stages)
        if cell is not None and name in to_do
    ]
    if cells and not pulled and all(runs and cell.model in models for cell, runs in cells):
        raise told
    console.print(str(told), markup=False, soft_wrap=True)


def refuse_broken_recipes(study: Study) -> None:
    """Raise for a recipe of the study that a fit would refuse, before anything runs."""
    from omegaconf import OmegaConf

    from pipeline.finetune.recipe import recipe_of, written_recipe

    for name in dict.fromkeys([*study.recipes, *(cell.recipe for cell in study.raced)]):
        path = study.path.parent / "conf" / "recipe" / f"{name}.yaml"
        content = written_recipe(path)
        if content is None or any("${" in str(value) for value in content.values()):
            continue  # only a fit resolves interpolations
        recipe_of(OmegaConf.create(content), path)


def verdicts(project: Project, stages: list[Stage], needs: dict[str, set[str]]) -> dict[str, str]:
    """What a sweep would do to each stage that is not up to date, by name, in the stages' order."""
    found: dict[str, str] = {}
    for stage in stages:
        name = name_of(stage)
        verdict = verdict_of(project, stage)
        if made := sorted(need for need in needs[name] if need in found):
            verdict = f"{AFTER}{', '.join(made)}"
        if verdict is not None:
            found[name] = verdict
    return found


def would_run(root: Path, names: Sequence[str]) -> set[str]:
    """Those of the stages that a sweep would run: not up to date, and no cache has them."""
    project = Project(root)
    stages, needs = project.collect(names)
    with one_line():
        found = verdicts(project, stages, needs)
    return {name for name in names if found.get(name, "").startswith((RUN, AFTER))}


def explained(project: Project, stages: list[Stage], found: dict[str, str]) -> list[str]:
    """Lines: what would become of the stages, then what changed, and what can be accepted as is."""
    reasons, source = {}, Reasons(project)
    for stage in stages:
        name = name_of(stage)
        if missing := missing_inputs(stage):
            if found.get(name) == RUN:  # what an earlier stage makes is no reason of its own
                reasons[name] = [Reason(f"{path}: not there") for path in missing]
        elif name in found:
            reasons[name] = source.of(stage)
    lines = grouped(found)
    if changes := by_reason(reasons):
        lines += ["reasons:", *(f"  {line}" for line in changes)]
    if same := acceptable(reasons, {name: waits_for(verdict) for name, verdict in found.items()}):
        lines.append(
            f"{len(same):,} of them would compute the same, by the syntax trees of what changed; "
            f"to accept that without running: dvc commit --force {' '.join(_targets(same, stages))}"
        )
    return lines


def waits_for(verdict: str) -> list[str]:
    """The stages, by name, that are made before one of this verdict."""
    return verdict.removeprefix(AFTER).split(", ") if verdict.startswith(AFTER) else []


def _targets(names: list[str], stages: list[Stage]) -> list[str]:
    """The names, a stage whose cells are all among them by its own name."""
    found = []
    for kind in dict.fromkeys(name.partition("@")[0] for name in names):
        own = [name for name in names if name.partition("@")[0] == kind]
        all_of_it = [each for each in stages if name_of(each).partition("@")[0] == kind]
        found += [kind] if len(own) == len(all_of_it) else own
    return found


def grouped(verdicts: dict[str, str]) -> list[str]:
    """A line per stage and what would become of it; many cells of a stage alike share one."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, verdict in verdicts.items():
        if needs := waits_for(verdict):
            short = AFTER + ", ".join(dict.fromkeys(need.partition("@")[0] for need in needs))
        else:
            short = verdict
        groups.setdefault((name.partition("@")[0], short), []).append(name)
    lines = []
    for (stage, verdict), names in groups.items():
        if len(names) > MOST_LISTED:
            lines.append(f"{stage}: {len(names):,} cells, {names[0]} to {names[-1]}: {verdict}")
        else:
            lines += [f"{name}: {verdicts[name]}" for name in names]
    return lines


def verdict_of(project: Project, stage: Stage) -> str | None:
    """What a sweep would do to the stage as things are; None if it is up to date."""
    if missing_inputs(stage):
        return RUN
    inputs_changed = project.inputs.changed(stage)
    if not inputs_changed and not changed_outs(stage):
        return None
    if project.is_made(project.job(stage)):
        return "commit"
    return "restore from DVC's cache" if project.cached(stage, inputs_changed) else RUN


def session(root: Path, targets: Sequence[str], options: Options) -> None:
    """Sweep `targets` of the workspace `root`, by default all baselines and fits of the study.

    Anything left undone is an error.
    """
    snapshot, console = Snapshot(root), Console(highlight=False)
    project = Project(root, snapshot)
    refuse_odd_words(root / "params.yaml")  # before any of its values is in a command
    study = read_study(root / "params.yaml")
    refuse_unknown_names(study)
    refuse_broken_recipes(study)
    faults = links.mend(root, study.datasets)
    for line in faults:
        console.print(line, markup=False, soft_wrap=True)
    stages, needs = project.collect(targets or study.stages)
    snapshot.watch(path for stage in stages for path in [*inputs_of(stage), *outs_of(stage)])
    threads = max(map(project.threads_of, stages), default=1)
    n_jobs = options.runs_at_a_time(threads) if options.address is None else 1
    if options.dry_run:
        if options.address is not None:
            device = options.fit_on or "this machine"
            console.print(f"{options.address} is not asked: the estimate is for {device}")
        with project.locked():
            found = plan(project, study, stages, needs, console, n_jobs, options)
        if not found and not faults:
            snapshot.keep(targets, len(stages))
        return
    if options.address is None:  # else its hosts may have other packages
        refuse_runs_without_weights(project, study, stages, needs, console, options.pull)
    for line in of_other_sizes(root, study, sorted(new_models(project, stages))):
        console.print(line, markup=False, soft_wrap=True)
    with hold(project.folder / "holder", root), View(console, n_jobs) as view, project.busy(stages):
        if options.pull:
            with project.locked():
                project.pull_run_cache()
        engine = engine_for(options, project.root, n_jobs, threads, view)
        sweep = Sweep(project, engine, view, stages, needs, options)
        with stopping_on_signals(sweep):
            result = sweep.run()
    if not faults and result.is_whole:
        snapshot.keep(targets, len(stages))
    console.print(summary(result), soft_wrap=True, markup=False)
    _complain(result, sweep.interrupted, project.folder)
    if not targets and (result.made or result.restored or result.kept):
        console.print("Then: dvc repro # tables, figures, report", markup=False, soft_wrap=True)


def engine_for(options: Options, root: Path, n_jobs: int, threads: int, view: View) -> Engine:
    """The engine of this machine, or with an address that of a Ray cluster."""
    if options.gpus_per_run == AUTO:
        from pipeline.sweep.packing import PackingEngine  # reads records, needs NumPy

        return PackingEngine(visible_gpus(), threads, options.jobs, options.keeps_warm)
    if options.address is None:
        return LocalEngine(n_jobs, threads, options.keeps_warm)
    from pipeline.sweep.ray_engine import RayEngine

    return RayEngine(options, root, threads, view.say)


@contextmanager
def stopping_on_signals(sweep: Sweep) -> Iterator[None]:
    """On SIGINT, SIGTERM and SIGHUP end the runs, commit what is done, and come back."""

    def stop(number: int, frame: FrameType | None) -> None:
        sweep.stopping = sweep.interrupted = True

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def summary(result: Result) -> str:
    """One line: how many stages went which way."""
    counts = {
        "made": result.made,
        "from DVC's cache": result.restored,
        "made before and now committed": result.kept,
        "up to date": result.fresh,
        "failed": result.failed,
        "changed meanwhile": result.moved,
        "not finished": result.left,
    }
    told = ", ".join(f"{len(names)} {what}" for what, names in counts.items() if names)
    return f"stages: {told}"


def _complain(result: Result, interrupted: bool, folder: Path) -> None:
    if result.streak is not None:
        raise PipelineError(
            f"stopped, {len(result.left)} not done: {LIMIT} runs in a row failed for one reason: "
            f"{result.streak}: mend it and delete such records, or go on with --keep-going"
        )
    if result.failed:
        name, reason = next(iter(result.failed.items()))
        raise (Stopped if interrupted else PipelineError)(
            f"{len(result.failed)} failed, {len(result.left)} never started; the first, {name}: "
            f"{reason} (logs: {folder / 'logs'})"
        )
    if result.moved:
        one = len(result.moved) == 1
        raise (Stopped if interrupted else TryAgain)(
            f"{len(result.moved)} {'run is' if one else 'runs are'} not committed, "
            f"{'its' if one else 'their'} inputs changed while {'it' if one else 'they'} ran: "
            "call again"
        )
    if interrupted:
        raise Stopped(f"stopped, {len(result.left)} not done: call again to go on")
