"""`python -m pipeline.status`: the study's grid at any time, also while it is being run.

Reads params.yaml, the records and the locks of running fine-tunes; takes no lock itself. The state
`stale` costs a look through DVC's eyes: at the files of one's own datasets always, at all else
with --stale. Without it, a line says so, unless nothing has changed since a sweep found or made
everything up to date. Whether the tables are of these runs is read from the times at which they
began: the time of a file says nothing after a checkout.
"""

import csv
import json
import re
import socket
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from rich.table import Table

from pipeline.core.command import console, run
from pipeline.core.errors import PipelineError
from pipeline.core.processes import holder_of, last_progress
from pipeline.estimates.planned import prepared, readable_records
from pipeline.records import read_record
from pipeline.source import __main__ as links
from pipeline.study.params import RUNS, Cell, Study, read_study, refuse_unknown_names
from pipeline.sweep.snapshot import nothing_to_do

SWEEP = Path(".dvc/tmp/sweep")
LOGS, HOLDER = SWEEP / "logs", SWEEP / "holder"
DATASET = re.compile(r"dataset(_raced)?@")  # the stage of each dataset begins so
STATES = {  # state: how the table shows it
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "diverged": "red",
    "damaged": "red",
    "stale": "yellow",
    "missing": "dim",
}
FINISHED = ("done", "failed", "diverged")
TABLE, RACES = Path("results/runs.csv"), Path("results/race")
NOT_LOOKED = (
    "not checked: whether finished runs are of today's code and configuration: "
    "python -m pipeline.status --stale"
)


@dataclass(frozen=True)
class State:
    """One cell: its state, why it is so or how far it is, the process that makes it, its error."""

    dataset: str
    model: str
    recipe: str
    seed: int
    state: str
    reason: str | None = None
    pid: int | None = None
    error_rate: float | None = None
    started_at: str | None = None


def main(*, json: bool = False, stale: bool = False) -> None:
    """Show the study as a table model x dataset: how many runs are done, running, failed, missing.

    Runs on files of one's own that have changed since, or on a dataset that was prepared again and
    came out otherwise, are stale.

    Args:
        json: print one object per run
        stale: ask DVC as well which finished runs no longer belong to today's configuration and
            code (some seconds)
    """
    study = read_study(Path("params.yaml"))
    refuse_unknown_names(study)
    notes = links.mend(Path(), study.datasets)
    changed = changed_sources(study)
    notes += [f"{text}: python -m pipeline.sweep" for text in changed.values()]
    outdated = stale_cells() if stale else set()
    looked = stale or nothing_to_do(Path(), ()) is not None
    made_of = {
        name: data.fingerprint for name in study.datasets if (data := prepared(Path(), name))
    }
    states = [
        state_of(
            cell,
            RUNS,
            cell in outdated or cell.dataset in changed,
            made_of.get(cell.dataset),
        )
        for cell in study.cells()
    ]
    if not looked and any(state.state in FINISHED for state in states):
        notes.append(NOT_LOOKED)
    print_json(states, looked) if json else print_table(study, states)
    for note in notes:
        print(note, file=sys.stderr if json else sys.stdout)
    if json:
        return
    if pid := _maker(HOLDER):
        print(f"A sweep is at work on this study: process {pid}.")
        return
    n_lacking, found = not_in(TABLE, states), {state.state for state in states}
    if command := race_that_goes_on(study, states) or following(found, looked, n_lacking):
        print(f"Next: {command}")
    elif states and found <= set(FINISHED) and not n_lacking:
        print(finished(len(states)))


def finished(n_runs: int) -> str:
    """That all runs are done and in the tables."""
    where = f"and the tables in {TABLE.parent}/ contain"
    if n_runs == 1:
        return f"The one run has finished, {where} it."
    return f"All {n_runs} runs have finished, {where} them."


def race_that_goes_on(study: Study, states: list[State]) -> str | None:
    """The command of a race that was ended before it was over, and what it is for; None where there
    is none, or other runs come first.
    """
    todo = {each.dataset for each in states if each.state not in FINISHED}
    if not todo <= set(study.raced_datasets) or {"running", "stale"} & {s.state for s in states}:
        return None
    for name in study.raced_datasets:
        if name in todo or not _is_over(RACES / f"{name}.json"):
            from pipeline.figures.certificate import race_on  # loads matplotlib

            return f"{race_on(RACES, name)} # its race goes on: it is not over"
    return None


def _is_over(certificate: Path) -> bool:
    """Whether a race has ended by itself or by its budget, by its certificate."""
    if not certificate.is_file():
        return False
    from pipeline.figures.certificate import read_certificate  # loads matplotlib

    try:
        return not read_certificate(certificate).interrupted
    except PipelineError:  # damaged: what reads all of it says so
        return True


def made_already(study: Study, missing: Sequence[Cell]) -> int:
    """How many of the study's runs that the tables lack have a record."""
    return sum((study.path.parent / cell.path(RUNS)).is_file() for cell in missing)


def not_in_tables(study: Study, dataset: str, missing: Sequence[Cell]) -> str:
    """Why the tables have no finished fine-tune of a dataset, as half a sentence; `missing` are the
    study's runs that they lack.
    """
    if made := made_already(study, missing):
        so_far = f"{made} of the study's runs {'is' if made == 1 else 'are'} made: `dvc repro`"
        return f"The tables have no finished fine-tune of {dataset} ({so_far} takes them in)"
    if all(cell.dataset != dataset for cell in study.cells()):
        records = readable_records(study.path.parent / RUNS / dataset)
        if finished := sum(each.status == "ok" for each in records):
            runs = "1 finished run" if finished == 1 else f"{finished} finished runs"
            return (
                f"params.yaml has no runs of {dataset} (an earlier study has left {runs} of it in "
                f"{RUNS}/{dataset}: with that study in params.yaml, `dvc repro` takes them in)"
            )
    return f"No fine-tune of {dataset} has finished"


def following(found: set[str], looked: bool, n_not_in_tables: int = 0) -> str | None:
    """The next command for cells in these states, and what it is for; None where there is none.

    `looked`: is it known which are stale? `n_not_in_tables` finished runs are not in the tables.
    Where the tables have all runs, everything is done, and NOT_LOOKED is said above.
    """
    if "running" in found:
        return None
    if "stale" in found:
        return "python -m pipeline.why # what changed; python -m pipeline.sweep makes them again"
    if "missing" in found:
        return "python -m pipeline.sweep --dry-run # what would run, and how long it would take"
    if not looked and n_not_in_tables:
        return "python -m pipeline.status --stale # are they of today's configuration and code?"
    if n_not_in_tables and found <= set(FINISHED):
        lacking = f"{n_not_in_tables} run{'' if n_not_in_tables == 1 else 's'}"
        return f"dvc repro # tables, figures and report: those in results/ lack {lacking}"
    return None


def not_in(table: Path, states: list[State]) -> int:
    """How many finished runs the table of runs lacks, or has of an earlier time."""
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = {
                (row["dataset"], row["model"], row["recipe"], row["seed"], row["started_at"])
                for row in csv.DictReader(file)
                if row["status"] != "missing"
            }
    except (OSError, KeyError, ValueError, csv.Error):  # not there, damaged, not this project's
        rows = set()
    return sum(
        (each.dataset, each.model, each.recipe, str(each.seed), each.started_at or "") not in rows
        for each in states
        if each.state in FINISHED
    )


def state_of(
    cell: Cell, runs: Path, outdated: bool = False, fingerprint: str | None = None
) -> State:
    """The state of one cell, from its record and from the lock of the run that makes it.

    `fingerprint` is that of the dataset as it is prepared now: a record of another is stale.
    """
    path = cell.path(runs)
    lock = path.with_name(f".{path.name}.lock")
    if pid := _maker(lock):
        return State(**asdict(cell), state="running", reason=_so_far(cell, lock), pid=pid)
    if not path.is_file():
        return State(**asdict(cell), state="missing")
    try:
        record = read_record(path)
    except PipelineError as error:
        return State(**asdict(cell), state="damaged", reason=str(error))
    except FileNotFoundError:  # a sweep has just removed it
        return State(**asdict(cell), state="missing")
    state = {"ok": "done"}.get(record.status, record.status)
    if fingerprint is not None and record.data.fingerprint not in (None, fingerprint):
        outdated = True
    return State(
        **asdict(cell),
        state="stale" if outdated else state,
        reason=record.reason,
        error_rate=record.metrics.error_rate,
        started_at=record.started_at,
    )


def changed_source(study: Study, dataset: str) -> str | None:
    """That files of one dataset's own source have changed; None where they have not."""
    here = dataset in study.datasets and study.path.resolve().parent == Path.cwd()
    return changed_sources(replace(study, datasets=(dataset,))).get(dataset) if here else None


def changed_sources(study: Study) -> dict[str, str]:
    """Of each of the study's datasets whose own files changed since it was prepared, that they did.

    DVC is asked, which takes some tenths of a second.
    """
    sources = links.sources_of(Path(), study.datasets)
    watched = {name: each for name, each in sources.items() if not links.fault_of(Path(), each)}
    if not watched or not Path(".dvc").is_dir():
        return {}
    from pipeline.sweep.dvc_private import changed_inputs, missing_inputs, name_of, one_line
    from pipeline.sweep.project import Project

    project = Project(Path.cwd())
    stages, _ = project.collect(
        [f"dataset{'_raced' * (name in study.raced_datasets)}@{name}" for name in watched]
    )
    found = set()
    with one_line():
        for stage in stages:
            name = DATASET.sub("", name_of(stage))
            looked_through = (links.SOURCES / name).as_posix()
            if name in watched and project.was_made(stage) and not missing_inputs(stage):
                found |= {name} if looked_through in changed_inputs(stage) else set()
    return {
        name: f"{name}: files in {source} have changed since it was prepared"
        for name, source in watched.items()
        if name in found
    }


def stale_cells() -> set[Cell]:
    """The cells that `dvc repro` would run, for another reason than a missing record alone.

    Those of a dataset whose YAML has changed count too, though it may come out the same.
    """
    from pipeline.sweep.dvc_private import changed_inputs, name_of, one_line
    from pipeline.sweep.project import Project
    from pipeline.sweep.session import verdict_of

    project = Project(Path.cwd())
    fits = [name for name in read_study(Path("params.yaml")).stages if name.startswith("finetune")]
    stages, _ = project.collect(fits)
    found, datasets = set(), set()
    with one_line():
        for stage in stages:
            cell = project.cell_of(stage)
            if cell is None and DATASET.match(name_of(stage)):
                if any(each.startswith("conf/") for each in changed_inputs(stage)):
                    datasets.add(DATASET.sub("", name_of(stage)))
            elif cell is not None and verdict_of(project, stage) is not None:
                found.add(cell)
    return found | {cell for cell in project.cells if cell.dataset in datasets}


def print_json(states: list[State], looked: bool) -> None:
    counts = dict(Counter(state.state for state in states))
    value = {
        "counts": counts,
        "stale_checked": looked,
        "cells": [asdict(state) for state in states],
    }
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    print()


def print_table(study: Study, states: list[State]) -> None:
    """A row per model, a column per dataset, and below the reasons of what went wrong."""
    shown_on = console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("model", *study.datasets):
        table.add_column(name, no_wrap=True)
    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for state in states:
        counts[state.model, state.dataset][state.state] += 1
    for model in study.models:
        table.add_row(model, *(_shown(counts[model, dataset]) for dataset in study.datasets))
    shown_on.print(table)
    for state in states:
        if state.reason:
            name = f"{state.dataset} {state.model} {state.recipe} seed {state.seed}"
            line = f"{name}: {state.state}: {state.reason}"
            shown_on.print(line, markup=False, highlight=False, soft_wrap=True)
    total = Counter(state.state for state in states)
    shown_on.print(
        f"{len(states)} run{'s' * (len(states) != 1)}: {_shown(total)}" if states else "0 runs"
    )


def _shown(counts: Counter[str]) -> str:
    parts = [
        f"[{style}]{counts[state]} {state}[/]" for state, style in STATES.items() if counts[state]
    ]
    return ", ".join(parts) or "[dim]0[/]"  # a race has not chosen the model


def _so_far(cell: Cell, lock: Path) -> str | None:
    """What the run that holds the lock has told a sweep of its progress."""
    with suppress(OSError):  # it has just ended
        begun = lock.stat().st_mtime
        for path in LOGS.glob(f"finetune*@{cell.name}.progress"):
            progress = last_progress(path)
            if progress is not None and path.stat().st_mtime >= begun:
                return progress.brief
    return None


def _maker(lock: Path) -> int | None:
    """The living process of this host that holds a lock, which is read, never taken."""
    holder = holder_of(lock)
    if holder is None or holder.host != socket.gethostname() or not psutil.pid_exists(holder.pid):
        return None
    return holder.pid


if __name__ == "__main__":
    run(main)
