"""What a race certifies, as data, in words, and as a figure of who left it when.

`race` makes it, writes it as JSON and draws it; `report` reads it back and shows the same.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from pipeline.core.command import duration, number_of, percent
from pipeline.core.errors import PipelineError
from pipeline.core.files import build, read_json
from pipeline.figures.look import COLOURS, GREY, INK, figure
from pipeline.records import Record
from pipeline.results import read_runs

FEWEST_FITS = 3  # that say what a probe explains; with fewer it is mostly assumed
FIT, PROBE = "fit", "frozen features"
SPENT = "the budget is spent"  # of `stopped`: more of it would go on
INTERRUPTED = "interrupted before it was over"  # of `stopped`: by Ctrl-C, say
MOST_SHOWN = 5  # models that a sentence names
MOST_DRAWN = 40  # candidates in the figure


@dataclass(frozen=True)
class Step:
    """A fit or a probe of the race, and where the race stood after it.

    `seconds` is all that was spent by then, `n_left` the number of candidates still in the race.
    """

    model: str
    kind: str
    error_rate: float | None
    seconds: float
    recommended: str | None
    n_left: int
    regret_at_most: float | None


@dataclass(frozen=True)
class Entrant:
    """One candidate: what was run of it, and when (in seconds spent by then) and why it left."""

    model: str
    n_runs: int
    error_rate: float | None
    predicted_error: float
    p_best: float
    left_after_seconds: float | None
    left_because: str | None


@dataclass(frozen=True)
class Rung:
    """What a cheap rung tells of a fit beyond published numbers: the share of the variance that it
    explains, with a 95 % interval. It rests on `n_fits` of this race; with 0 it is assumed, or
    learned from other datasets.
    """

    name: str
    explains: float
    explains_low: float
    explains_high: float
    n_fits: int

    @property
    def sentence(self) -> str:
        """What it explains, in words."""
        return (
            f"{self.name} explain {100 * self.explains:.0f} % "
            f"[{100 * self.explains_low:.0f}, {100 * self.explains_high:.0f}] of what "
            f"published numbers leave open ({self.n_fits} fit{'s' * (self.n_fits != 1)})"
        )


@dataclass(frozen=True)
class Certificate:
    """What a race claims, what that cost, and who left when.

    confidence      that the best candidate is among `may_be_best`
    covers          what noise the claims allow for
    regret_at_most  how much more the recommended one may err than the best, a fraction; None
                    without a fit
    seconds         what fits and probes took; on a busy machine that is longer
    priced_seconds  the same by the prices of fits; None in older certificates
    grid_seconds    the whole grid by these prices, and `rest_seconds` the fits that it still lacks
    budget_seconds  of a race that its budget ended, or that was interrupted; with `next_seconds`,
                    the price of the next run, and `price_per_hour`, if the budget was a cost, or
                    `watts`, of a run, if it was an energy; for `jobs` runs at a time in all
    command         the race's own, without budget and jobs
    doubt           about the recommended one's error, in words
    """

    dataset: str
    recipe: str
    confidence: float
    regret: float
    covers: str
    recommended: str | None
    error_rate: float | None
    p_best: float | None
    regret_at_most: float | None
    may_be_best: list[str]
    n_candidates: int
    n_never_run: int
    seconds: float
    grid_seconds: float
    priced: str
    prior: str
    stopped: str
    rungs: list[Rung]
    models: list[Entrant]
    steps: list[Step]
    not_raced: dict[str, str]
    not_judged: list[str] = field(default_factory=list)
    priced_seconds: float | None = None
    rest_seconds: float | None = None
    budget_seconds: float | None = None
    next_seconds: float | None = None
    jobs: int = 1
    command: str | None = None
    price_per_hour: float | None = None
    watts: float | None = None
    doubt: str | None = None

    def text(self) -> str:
        """The certificate for people."""
        return "\n".join(self.sentences)

    @property
    def sentences(self) -> list[str]:
        """What `text` says, a line each."""
        words, commands = self.what_next()
        on = [f"next: {': '.join([words, *commands])}"]
        return [*self.claims, *(on if self.stopped.startswith((INTERRUPTED, SPENT)) else [])]

    @property
    def interrupted(self) -> bool:
        """Was it ended before its budget was spent, and before it was over by itself?"""
        return self.stopped.startswith(INTERRUPTED)

    @property
    def claims(self) -> list[str]:
        """The sentences but for what comes next."""
        if self.recommended is None:
            return [
                f"{self.dataset}: cannot tell: no fit has finished. Stopped: {self.stopped}.",
                *self._not_raced(),
            ]
        others = [name for name in self.may_be_best if name != self.recommended]
        apart = f"; it cannot be told apart from {len(others)} other{'s' * (len(others) > 1)}"
        return [
            f"{self.dataset}: take {self.recommended} (error {percent(self.error_rate)}, "
            f"P(best) {self.p_best or 0:.2f}){apart if others else ''}",
            *([f"doubt: {self.doubt}"] if self.doubt else []),
            f"with {100 * self.confidence:g} % confidence {self._among()}, and {self._regret()} "
            f"({self.covers})",
            *([f"may be the best as well: {self._named(others)}"] if others else []),
            f"spent {duration(self.seconds)}; {self._share_of_grid()} (fit times: {self.priced})",
            f"never run: {self.n_never_run}; prior {self.prior}",
            *(each.sentence for each in self.rungs if each.n_fits >= FEWEST_FITS),
            *self._not_raced(),
            f"stopped: {self.stopped}",
        ]

    def _among(self) -> str:
        """How many candidates may be the best, as a clause."""
        left = len(self.may_be_best)
        if left == self.n_candidates > 1:
            return f"none of the {left} candidates is ruled out"
        return f"the best of {self.n_candidates} is among {left}"

    def _regret(self) -> str:
        """`_bound`, with a remark where it says nothing: no model errs less than 0 %."""
        most, own = self.regret_at_most or 0, self.error_rate or 0
        if round(most, 3) < round(own, 3):
            return self._bound()
        return (
            f"{self._bound()}, which says nothing, as its own error is only {percent(own)}: too "
            "few images and runs to tell"
        )

    def _named(self, models: list[str]) -> str:
        """The first of these models by name, with a word for those that were never run."""
        unrun = {each.model for each in self.models if not each.n_runs}
        named = [f"{name} (never run)" if name in unrun else name for name in models[:MOST_SHOWN]]
        return ", ".join(named) + (", ..." if len(models) > MOST_SHOWN else "")

    def _bound(self) -> str:
        """How much the recommended model may err more than the best, as half a sentence."""
        most = 100 * (self.regret_at_most or 0)
        return f"{self.recommended} errs at most {most:.1f} points more than the best"

    def quoted(self, first: str) -> str:
        """What it certifies, in a sentence, beside `first`, the model of the lowest mean error."""
        sentence = (
            f"Raced, not run as a whole: with {100 * self.confidence:g} % confidence "
            f"the best of {self.n_candidates} candidate{'s' * (self.n_candidates != 1)} is among "
            f"{len(self.may_be_best)}"
        )
        if self.recommended is not None:
            sentence += f", and {self._bound()}"
            sentence += f"; it {why}" if (why := self.beside(first)) else ""
        return f"{sentence}; {self.never_fitted()}."

    def never_fitted(self) -> str:
        """How many candidates no fit was made of, as half a sentence."""
        if not self.n_never_run:
            return "each was fitted"
        return f"{self.n_never_run} {'was' if self.n_never_run == 1 else 'were'} never fitted"

    def what_next(self, outdated: bool = False) -> tuple[str, list[str]]:
        """What to run next, in words and commands: as it was begun, if interrupted or `outdated`.

        If its budget ended it, with twice that, or enough for the next run, but never with more
        than pays every fit that the grid still lacks; not at all where it lacks none.
        """
        if outdated or self.interrupted:
            return "race on" + ", with the study as it is now" * outdated, [self.again]
        if not self.stopped.startswith(SPENT):
            return f"nothing that the race could run: it stopped as {self.stopped}", []
        rest = self.rest_seconds
        if rest is None:  # an older certificate
            rest = max(self.grid_seconds - (self.priced_seconds or 0), 0)
        had, whole = self.budget_seconds or self.seconds, self.seconds + rest
        if not rest or whole <= had:
            return "nothing within its grid: a larger budget buys further seeds alone", []
        more = max(2 * had, self.seconds + (self.next_seconds or 0))
        size = "larger budget" if more < whole else "budget that pays the whole rest of its grid"
        command = self._with(self._rounded_up(min(more, whole) / self.jobs))
        return f"race on, with a {size}", [command]

    @property
    def again(self) -> str:
        """The command to race again: with the budget that the race had, where that is known."""
        return self._with(None if self.budget_seconds is None else self.budget_seconds / self.jobs)

    def _with(self, seconds: float | None) -> str:
        """The command of the race, for the jobs that it had, with a budget of so many seconds for
        each of them: a cost or an energy if the last one was that.
        """
        command = self.command or f"python -m pipeline.race --dataset {self.dataset}"
        if seconds is None:
            return command
        minutes, rest = divmod(round(seconds, 1), 60)
        budget = f"--budget {60 * minutes + rest:.9g}s" if rest else f"--budget {minutes:g}min"
        if (rate := self._rate) is not None:
            amount = f"{float(f'{seconds / 3600 * rate:.5g}'):.9g}"
            budget = f"--max-cost {amount} --price-per-hour {rate:g}"
            budget = budget if self.watts is None else f"--max-energy {amount}Wh"
        return f"{command} {budget}" + (f" --jobs {self.jobs}" if self.jobs > 1 else "")

    def _rounded_up(self, seconds: float) -> float:
        """To a budget that people would write: whole seconds, from ten minutes on whole minutes,
        or a cost or an energy of two digits.
        """
        if (rate := self._rate) is None:
            return math.ceil(seconds) if seconds <= 599 else 60 * math.ceil(seconds / 60)
        amount = seconds / 3600 * rate
        place = 10.0 ** (math.floor(math.log10(amount)) - 1)
        return math.ceil(round(amount / place, 3)) * place / rate * 3600  # a budget has six digits

    @property
    def _rate(self) -> float | None:
        """What an hour of each job takes of a budget in money or, of all jobs, in watt-hours."""
        return self.price_per_hour if self.watts is None else self.watts * self.jobs

    def other_runs(self, runs: pd.DataFrame) -> str | None:
        """That rows of runs.csv are not the runs that it has seen, in a sentence; by number and
        mean error of each model.
        """
        its = runs[(runs["dataset"] == self.dataset) & (runs["recipe"] == self.recipe)]
        of_model = its[its["status"] == "ok"].groupby("model")["error_rate"]
        now = {str(model): (len(errors), errors.mean()) for model, errors in of_model}
        for each in self.models:
            n_runs, error = now.get(each.model, (0, math.nan))
            known = each.error_rate or 0  # of single precision, see `exact_share`
            same = not n_runs or math.isclose(error, known, rel_tol=1e-5, abs_tol=1e-6)
            if n_runs != each.n_runs or not same:
                return (
                    f"Its race ended on other runs of {each.model} than the tables have now: run "
                    "`dvc repro`, and if they still differ, race again"
                )
        return None

    def is_of_records(
        self, records: Sequence[Record], image_size: int, fingerprint: str | None
    ) -> bool:
        """Whether these are the records of the runs that it has seen, and none is known to be at
        another image size than this or on other images than those of this fingerprint.
        """
        sizes = {each.image_size for each in records} - {None, image_size}
        prints = {each.data.fingerprint for each in records} - {None, fingerprint}
        if sizes or (fingerprint is not None and prints):
            return False
        rows = [
            (each.dataset, each.recipe, each.model, each.status, each.metrics.error_rate)
            for each in records
        ]
        names = ["dataset", "recipe", "model", "status", "error_rate"]
        runs = pd.DataFrame(rows, columns=names).astype({"error_rate": float})
        return self.other_runs(runs) is None

    def as_answer(self, path: Path) -> dict[str, Any]:
        """The answer of `recommend` before there are tables of its runs; `path` is its own."""
        following = "make the tables, figures and report of its runs", "dvc repro"
        what, command = ("race on", self.again) if self.interrupted else following
        return {
            "dataset": self.dataset,
            "basis": "race",
            "note": f"{self.dataset} is in no tables yet; this is what its race says, {path}",
            "models": [{"model": self.recommended, "error_rate": self.error_rate}],
            "certificate": self.claims,
            "next": {"what": what, "commands": [command], "tied_after": None},
        }

    def is_of(self, results: Path) -> bool:
        """Whether the tables of this folder have the runs that it has seen; not if unreadable."""
        try:
            return self.other_runs(read_runs(results)) is None
        except PipelineError:
            return False

    def beside(self, first: str) -> str | None:
        """Why it takes another model than `first`, the one of the lowest mean error, as half a
        sentence; None where it takes the same or none.
        """
        if self.recommended in (None, first):
            return None
        why = f"takes {self.recommended} by runs and published numbers"
        if first in self.may_be_best:
            return f"{why}, and {first} may be the best as well"
        raced = any(first == each.model for each in self.models)
        return f"{why}, and has ruled {first} out" if raced else why

    def _share_of_grid(self) -> str:
        """What ran beside the whole grid, both by the same prices."""
        grid = duration(self.grid_seconds)
        if self.priced_seconds is None or not self.grid_seconds:
            return f"the grid is estimated at {grid}"
        share = 100 * self.priced_seconds / self.grid_seconds
        return f"by estimate {duration(self.priced_seconds)}, {share:.0f} % of the grid's {grid}"

    def _not_raced(self) -> list[str]:
        """How many candidates each limit took out."""
        counts = Counter(self.not_raced.values())
        reasons = "; ".join(f"{reason} ({count})" for reason, count in counts.items())
        models = number_of(len(self.not_raced), "model", "models")
        lines = [f"not raced: {models}; reasons: {reasons}"] if counts else []
        return [*lines, *self.not_judged]


def read_certificate(path: Path) -> Certificate:
    """Read what `race` wrote; raises `PipelineError` where the file is damaged."""
    again = f"run `python -m pipeline.race --dataset {path.stem}` again"
    return read_json(path, lambda value: build(Certificate, value), "certificate", again)


def race_on(races: Path, dataset: str) -> str:
    """The command by which a race goes on; its certificate, if there is one, is in `races`."""
    path = races / f"{dataset}.json"
    if path.is_file():
        return read_certificate(path).again
    return f"python -m pipeline.race --dataset {dataset} --budget 1h"


def who_left_when(certificate: Certificate) -> Figure:
    """A line per candidate that was run, as long as it stayed, with a mark at each of its runs."""
    ran = {step.model for step in certificate.steps}
    rows = [each for each in certificate.models if each.model in ran]
    end = certificate.seconds
    rows.sort(key=lambda each: (each.left_after_seconds or 2 * end, -(each.error_rate or 1)))
    rows = rows[-MOST_DRAWN:]
    fig, (axes,) = figure(
        f"{certificate.dataset}: who left the race when",
        f"Filled: a fit, hollow: frozen features. {len(rows)} of {certificate.n_candidates} "
        f"candidates; {certificate.never_fitted()}. Stopped: {certificate.stopped}.",
        1.4 + 0.24 * max(len(rows), 4),
    )
    for place, each in enumerate(rows):
        left = each.left_after_seconds
        colour = INK if left is None else GREY
        colour = COLOURS[0] if each.model == certificate.recommended else colour
        axes.plot([0, end if left is None else left], [place, place], color=colour)
        for step in certificate.steps:
            if step.model == each.model:
                fill = colour if step.kind == FIT else "white"
                axes.plot(step.seconds, place, "o", color=colour, mfc=fill, ms=5)
    names = [f"{each.model}  {percent(each.error_rate)}" for each in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_xlabel("seconds of fits and probes")
    axes.grid(axis="y", visible=False)
    return fig
