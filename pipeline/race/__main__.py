"""`python -m pipeline.race`: find a dataset's best backbone with only the runs that may change it.

Reads data/imagenet.csv and records; writes the `race` section of params.yaml, which lists the
dataset's probes and fits, and the certificate, results/race/DATASET.json, with a figure. Each batch
is run by the sweep, so `dvc repro` has nothing to do afterwards, and a killed race goes on.
"""

import json as json_text
import math
import signal
import sys
from collections.abc import Container
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context

from pipeline.change.__main__ import edit_race, take_out, take_over
from pipeline.core.command import duration, run
from pipeline.core.errors import PipelineError, TryAgain
from pipeline.core.files import plain, write_json, write_text
from pipeline.estimates.planned import not_prepared, prepared
from pipeline.figures.certificate import FIT, INTERRUPTED, PROBE, SPENT, Certificate, who_left_when
from pipeline.figures.look import LOOK, save
from pipeline.race.field import (
    IMAGENET,
    Decided,
    Field,
    budget_of,
    cells_of,
    command_of,
    decided,
    field_of,
    models_asked,
    not_counted,
    not_counted_message,
    probe_path,
    records_of,
    refuse_all,
    rules_of,
    runs_at_a_time,
    tables_differ,
)
from pipeline.race.search import RUN, Action, Budget, Race, Rules, affordable
from pipeline.race.standing import Event, certificate_of, counted_seconds, replay, rounded
from pipeline.recommend.limits import Limits
from pipeline.records import Data
from pipeline.statistics.doubts import near_chance
from pipeline.study.params import RUNS, Cell, Study, raced_name, read_study, refuse_unknown_name
from pipeline.sweep.jobs import Stopped
from pipeline.timm_results.imagenet import read_imagenet

FOLDER = Path("results/race")
MOST_FAILED = 3  # batches in a row without a record
STAGES = {"fits": "finetune_raced", "probes": "baseline_raced"}
Now = tuple[Study, Field, Race, list[Event], float]  # a race as the records have it


def main(
    *candidates: str,
    dataset: str,
    budget: str | None = None,
    max_cost: float | None = None,
    price_per_hour: float | None = None,
    max_energy: str | None = None,
    confidence: float = 0.95,
    regret: float = 0.5,
    licence: str | None = None,
    min_throughput: float | None = None,
    max_memory: str | None = None,
    jobs: int | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Find the best backbone for a dataset with only the runs that may change the answer.

    Stops when no single further run is expected to be worth its time, when no candidate may be
    better than the recommended one by more than --regret points, or when the budget is spent. What
    the race has cost before counts: the same command again does nothing.

    Args:
        candidates: names of models or patterns such as 'convnext*'; by default the study's
        dataset: the dataset to find it for
        budget: the longest time of fits and probes, per job, earlier ones included, such as 10min
        max_cost: the highest price of that time
        price_per_hour: what an hour of this machine costs
        max_energy: the highest energy, such as 100Wh, by the power that earlier runs drew
        confidence: how sure the answer is to be
        regret: by how many points of error the answer may miss the best
        licence: commercial: only weights that may be used commercially beyond doubt
        min_throughput: the fewest images/s of a candidate, by published speeds
        max_memory: the most memory a candidate may need, such as 8GB; if unknown, it races
        jobs: how many runs at a time; by default as many as `sweep` chooses
        dry_run: show the next runs and start none
        json: print the certificate as JSON
    """
    root, rules = Path.cwd(), rules_of(confidence, regret)
    limits = Limits(max_memory, min_throughput=min_throughput, licence=licence)
    spendable = budget_of(root, budget, max_cost, price_per_hour, max_energy)
    study = read_study(root / "params.yaml")
    refuse_unknown_name(root, "dataset", dataset)
    models = models_asked(candidates, study, read_imagenet(root / IMAGENET))
    command = command_of(candidates, dataset, rules, limits)
    contest = Contest(root, dataset, models, limits, rules, spendable, jobs, command)
    with redirect_stdout(sys.stderr if json else sys.stdout):
        contest.check()
        if other := not_counted(root, study, dataset):
            print(not_counted_message(dataset, other.values()))
        if not dry_run:
            _prepare(contest, study, contest.cells(study, other))
        data = prepared(root, dataset)
        if data is None or not data.n_valid:
            raise PipelineError(not_prepared(study, dataset))
        contest.rules = replace(rules, n_valid=data.n_valid)
        end: BaseException | None = None
        try:
            certificate = contest.dry_run() if dry_run else contest.run()
        except (Stopped, KeyboardInterrupt) as error:
            if dry_run:
                raise
            certificate, end = contest.certificate(INTERRUPTED), error
    if not dry_run:
        _write(root / FOLDER, certificate)
    print(json_text.dumps(plain(certificate), indent=2) if json else certificate.text())
    if end is not None:
        raise end
    if not (json or dry_run) and tables_differ(root, certificate):
        print("Then: dvc repro # tables, figures, report")


def _write(folder: Path, certificate: Certificate) -> None:
    """The certificate and its figure, of the same state of the race: Ctrl-C waits for both."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        write_json(folder / f"{certificate.dataset}.json", plain(certificate))
        with rc_context(LOOK):
            save(who_left_when(certificate), folder, certificate.dataset)
    finally:
        signal.signal(signal.SIGINT, before)


def _prepare(contest: "Contest", study: Study, fits: list[Cell]) -> None:
    """Take the dataset over and prepare it; where that fails, or the budget pays none of its runs
    that changed code has made stale, params.yaml stays as it was.
    """
    dataset, before = contest.dataset, study.path.read_text(encoding="utf-8")
    if new := dataset not in study.raced_datasets:
        take_over(study.path, dataset, fits)
    taken = study.path.read_text(encoding="utf-8")
    try:
        _sweep(contest.root, (f"dataset_raced@{dataset}",), contest.jobs)
        if new and fits:
            contest.paid(contest._decided(read_study(study.path))[0])
    except BaseException:  # Ctrl-C too
        if study.path.read_text(encoding="utf-8") == taken:  # not edited meanwhile
            write_text(study.path, before)
        raise
    if new and dataset in study.datasets:
        runs = " with its finished runs" if fits else ""
        print(f"{dataset} leaves the grid{runs}: its race decides what runs")


def _sweep(root: Path, targets: tuple[str, ...], jobs: int | None) -> None:
    from pipeline.sweep.jobs import Options
    from pipeline.sweep.session import session

    session(root, targets, Options(jobs=jobs))


@dataclass
class Contest:
    """One race: the loop of deciding, writing down what was decided, running it, and reading it."""

    root: Path
    dataset: str
    models: list[str]
    limits: Limits
    rules: Rules
    budget: Budget
    jobs: int | None
    command: str | None = None

    def check(self) -> None:
        """Raise where no candidate is within the limits or the budget, before anything changes."""
        study, field, race, events, spent = now = self._now(set())
        refuse_all(self.models, field.left_out)
        if self._next(*now[1:])[1] == SPENT and self.dataset not in study.raced_datasets:
            from pipeline.sweep.session import would_run

            fits = self.cells(study, not_counted(self.root, study, self.dataset))
            if would_run(self.root, [f"finetune@{each.name}" for each in fits]):
                return  # to be made again, so their time is not spent: `_prepare` asks what is paid
            at_once, following = runs_at_a_time(self.root, self.jobs), race.choose(math.inf, 1)[0]
            n = len(events)
            done = f"the {n} finished runs of {self.dataset}" if n > 1 else "its one finished run"
            raise PipelineError(self.budget.too_small(at_once, done, spent, following.seconds))

    def run(self) -> Certificate:
        """Race until nothing is left to do or to spend."""
        self._make(read_study(self.root / "params.yaml"))
        broken, in_vain = set[str](), 0  # batches in a row
        while True:
            study, field, *_ = now = self._now(broken)
            actions, stopped = self._next(*now[1:])
            if stopped:
                return self.certificate(stopped, now)
            targets = self._decide(study, field, actions)
            models = [field.candidates.names[each.model] for each in actions]
            broken |= (left_none := self._try(targets, models))
            in_vain = in_vain + 1 if left_none == set(models) else 0
            if in_vain == MOST_FAILED:
                names = ", ".join(sorted(broken))
                raise PipelineError(f"no run of {names} left a record: see above")

    def dry_run(self) -> Certificate:
        """Where the race stands, and what would run next."""
        study, field, *_ = now = self._now(set())
        actions, stopped = self._next(*now[1:])
        begun = self.dataset in study.raced_datasets
        if begun and any(first := self._to_make(self._decided(study)[0])):
            print(self.budget.told_to_make(self.dataset, *first))
            print("Until they are made, this is what the earlier runs say:")
        for each in actions:
            kind, takes = FIT if each.rung == RUN else PROBE, duration(each.seconds)
            name, assumed = field.candidates.names[each.model], "" if field.timed else " assumed"
            print(f"next: {name}, {kind}, {takes}{assumed}")
        return self.certificate(stopped or "a dry run", now)

    def _now(self, broken: set[str]) -> Now:
        """The race as the records have it, and the seconds of all that ran: also those of models
        that turned out to be beyond a limit.
        """
        study = read_study(self.root / "params.yaml")
        other = not_counted(self.root, study, self.dataset)
        paths = {probe_path(*each): each[1] for each in study.probed if each[0] == self.dataset}
        paths |= {cell.path(RUNS): cell.model for cell in self.cells(study, other)}
        of_race = [path for path in paths if path not in other]
        models = list(dict.fromkeys([*self.models, *(paths[path] for path in of_race)]))
        field = field_of(self.root, study, self.dataset, models, self.limits)
        records = records_of(self.root, of_race)
        seen = [each for each in records if each.model in field.candidates.names]
        race, events = replay(field.candidates, field.prior, self.rules, seen)
        for model in broken & set(field.candidates.names):
            race.saw_failure(field.candidates.names.index(model))
        return study, field, race, events, sum(map(counted_seconds, records))

    def cells(self, study: Study, other: Container[Path]) -> list[Cell]:
        """The fits of the race, by the one recipe that it races; before it has begun, the grid's
        finished runs, which it will take over: but for records that do not count, `other`.
        """
        begun = self.dataset in study.raced_datasets
        return [
            cell
            for cell in (study.raced if begun else study.cells())
            if (cell.dataset, cell.recipe) == (self.dataset, study.recipes[0])
            and (begun or (self.root / cell.path(RUNS)).is_file())
            and cell.path(RUNS) not in other
        ]

    def _next(
        self, field: Field, race: Race, events: list[Event], spent: float
    ) -> tuple[list[Action], str | None]:
        """The next runs, or why there are none."""
        at_once = runs_at_a_time(self.root, self.jobs)
        left = self.budget.in_all(at_once) - spent
        end = events[-1].standing if events else None
        if end is not None and end.recommended is not None and not end.may_gain.any():
            return [], f"no candidate may be better by more than {100 * self.rules.regret:g} points"
        prices = field.candidates.fit_seconds[:, 0]
        by_price = np.argsort(np.where(race.failed, np.inf, prices), kind="stable")
        if not (events or spent or field.timed):  # how long a fit takes is not known: find out
            first = [int(m) for m in by_price[:at_once] if not race.failed[m]]
            return [Action(m, RUN, float(prices[m]), 0.0) for m in first], None
        if (least := prices[by_price[0]]) > left and not spent:
            raise PipelineError(
                f"{self.budget.told}: the cheapest fit of {len(prices)} "
                f"candidate{'s' * (len(prices) != 1)} is estimated at {duration(least)}: "
                "allow more, or name smaller models"
            )
        actions = race.choose(left, at_once)
        if actions:
            return actions, None
        more = race.choose(math.inf, 1)  # with more money
        return [], SPENT if more else "no single further run is expected to be worth its time"

    def _decide(self, study: Study, field: Field, actions: list[Action]) -> tuple[str, ...]:
        """Write the runs into params.yaml; returns their stages."""
        cells = cells_of(study, self.dataset, field.candidates.names, actions)

        def change(content: Any) -> None:
            for kind, values in cells:
                content["race"][kind][raced_name(values)] = values

        edit_race(study.path, change)
        return tuple(f"{STAGES[kind]}@{raced_name(values)}" for kind, values in cells)

    def _try(self, targets: tuple[str, ...], models: list[str]) -> set[str]:
        """Run a batch; the models that left no record, whose cells are taken back."""
        try:
            _sweep(self.root, targets, self.jobs)
        except TryAgain:
            raise
        except PipelineError as error:
            print(f"error: {' '.join(str(error).split())}")
        counting, _ = self._decided(read_study(self.root / "params.yaml"))
        made = {each.stage for each in counting if (self.root / each.path).is_file()}
        take_out(self.root / "params.yaml", [each for each in targets if each not in made])
        return {m for m, each in zip(models, targets, strict=True) if each not in made}

    def _decided(self, study: Study) -> tuple[list[Decided], list[Decided]]:
        """What was decided: what counts, and that of which the records do not."""
        other = not_counted(self.root, study, self.dataset)
        listed = decided(study, self.dataset, self.cells(study, ()))
        counts = [each for each in listed if each.path not in other]
        return counts, [each for each in listed if each.path in other]

    def _make(self, study: Study) -> None:
        """Make what was decided and is not there, as a race was ended or code has changed, as far
        as the budget pays. The rest, and runs that do not count any longer, are taken out: what
        runs in their place is decided anew.
        """
        counting, others = self._decided(study)
        paid, unpaid = self.paid(counting)
        if unpaid:
            told = self.budget.told_to_make(self.dataset, paid, unpaid)
            print(f"{told}: the others leave the race")
        take_out(self.root / "params.yaml", [*(each.stage for each in others), *unpaid])
        if targets := tuple(each.stage for each in counting if each.stage not in unpaid):
            _sweep(self.root, targets, self.jobs)

    def paid(self, counting: list[Decided]) -> tuple[dict[str, float], dict[str, float]]:
        """Of what was decided and is to be made (again), with prices, what the budget pays and what
        it does not; raises `PipelineError` where it pays nothing of all that was decided.
        """
        if not math.isfinite(self.budget.seconds):
            return {}, {}
        paid, unpaid = self._to_make(counting)
        if counting and len(unpaid) == len(counting):
            raise PipelineError(f"{self.budget.told_to_make(self.dataset, {}, unpaid)}: allow more")
        return paid, unpaid

    def _to_make(self, listed: list[Decided]) -> tuple[dict[str, float], dict[str, float]]:
        """The stages that a sweep would run, with prices: those that the budget pays, in the order
        in which they were decided, and the others.
        """
        from pipeline.sweep.session import would_run

        run = would_run(self.root, [each.stage for each in listed]) if listed else set()
        if not run:
            return {}, {}
        left = self.budget.in_all(runs_at_a_time(self.root, self.jobs))
        there = [each.path for each in listed if each.stage not in run]
        left -= sum(map(counted_seconds, records_of(self.root, there)))
        field = self._now(set())[1]
        prices: dict[str, float] = {}
        for each in (each for each in listed if each.stage in run):
            price = field.price(each.model, each.kind)
            if price is None:  # what it took before, if that is known
                price = sum(map(counted_seconds, records_of(self.root, [each.path])))
            prices[each.stage] = price
        return affordable(prices, left)

    def certificate(self, stopped: str, now: Now | None = None) -> Certificate:
        """What is known of the race, and why it stopped; `now` where that was read already."""
        study, field, race, events, spent = now or self._now(set())
        at_once, prices = runs_at_a_time(self.root, self.jobs), field.candidates.fit_seconds[:, 0]
        budget = self.budget.in_all(at_once)
        lacks = np.where(race.failed, 0, np.clip(len(study.seeds) - race.n_runs, 0, None))
        following = race.choose(math.inf, 1) if stopped in (SPENT, INTERRUPTED) else []
        told = certificate_of(
            race,
            events,
            dataset=self.dataset,
            recipe=study.recipes[0],
            stopped=f"{stopped} ({self.budget.told_of(at_once)})",
            grid_seconds=rounded(prices.sum() * len(study.seeds)),
            rest_seconds=rounded(float(prices @ lacks)),
            budget_seconds=rounded(budget) if following and math.isfinite(budget) else None,
            next_seconds=rounded(following[0].seconds) if following else None,
            jobs=at_once,
            price_per_hour=self.budget.price_per_hour,
            watts=self.budget.watts,
            command=self.command,
            priced=field.priced,
            prior=field.told,
            not_raced=field.left_out,
            not_judged=field.not_judged,
        )
        data = prepared(self.root, self.dataset) or Data()
        doubt = near_chance(told.error_rate, data, study.image_size)
        return replace(told, seconds=rounded(spent), doubt=doubt)


if __name__ == "__main__":
    run(main)
