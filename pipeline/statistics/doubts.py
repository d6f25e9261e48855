"""Reasons not to trust a finished fit, as sentences: a fit that was cut short has an error too.

`doubts` reads the records of one model's runs (one recipe, several seeds) and says in how many of
them each rule fires. A record that lacks what a rule needs, as older ones do, raises no doubt.

The noise of a difference between two epochs of one run is that of the validation images alone. The
two epochs are measured on the same images, so most of it cancels. How much is left is not recorded
epoch by epoch, but two epochs of a run agree at least as well as two runs do. So where two or more
runs of the model have their answers (`valid_wrong`), the noise is the part of the binomial one that
a run does not share with the others, pooled over the seeds (`ImageNoise.own`); else all of it.

Schedules here anneal the rate to zero, and the error of a good fit falls until the end because of
that: a fall by more than its noise shows nothing yet, least of all with thousands of images. In the
last epoch the rate is small, so a fit that is near its end has little left to lose there. The error
counts as still falling if, besides, the last epoch took away a quarter or more (STEEP) of the
lowest error of all epochs before. The lowest, because after a single bad epoch any other is a fall.
docs/statistics.md has the share of real curves that this fires on.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.command import percent
from pipeline.records import Data, Record, unpack_counts
from pipeline.results import KEY
from pipeline.statistics.validation_images import binomial_sd, labels_of, paired
from pipeline.study.params import Cell

SEPARATOR = "; "  # of the sentences in a table's cell
SIGNIFICANT = 2.0  # standard deviations that a difference has to exceed
STEEP = 0.25  # share of the error that only an unfinished fit loses in its last epoch
LEAST_STEPS = 100  # AdamW's mean of squared gradients reaches that far back; least_steps of lp_ft
MOST_SHRUNK = 4.0  # the factor above which 15 of 16 pixels and more are gone
NEAR_CHANCE = 0.8  # share of a constant guess's error from which one is hardly better
LEAST_OF_A_CLASS = 5  # validation images; with fewer, one mistake is more than 20 points
_ALL_RUNS = re.compile(r"\((\d+) of \1 runs?\)$")  # as `doubts` ends a sentence
Numbers = tuple[float, ...] | None  # the numbers of a sentence, averaged over the runs


@dataclass(frozen=True)
class EpochNoise:
    """The noise of a difference between two error rates of one run on `n_valid` images.

    `own` is the share of the binomial variance that does not cancel. Where `n_valid` is None,
    nothing exceeds the noise.
    """

    n_valid: int | None
    own: float

    def exceeded(self, higher: float, lower: float) -> bool:
        """Is the first error higher than the second by more than the noise?"""
        if not self.n_valid:
            return False
        rates = np.clip([higher, lower], 0, 1)
        binomial = float((binomial_sd(rates, self.n_valid) ** 2).sum()) / self.n_valid
        one_image = 1 / self.n_valid**2  # so that runs with the same answers do not make it 0
        return higher - lower > SIGNIFICANT * math.sqrt(self.own * binomial + one_image)


def noise_of(records: Sequence[Record]) -> EpochNoise:
    """The noise in the curves of one model's runs."""
    n_valid = records[0].data.n_valid
    answers = [unpack_counts(each.valid_wrong) for each in records if each.valid_wrong]
    if len(records) < 2 or len(answers) < len(records):
        return EpochNoise(n_valid, 1.0)
    return EpochNoise(n_valid, min(paired([np.stack(answers)], labels_of(records[0])).own, 1.0))


def still_falling(record: Record, noise: EpochNoise) -> Numbers:
    """The lowest error before the last epoch and the last, if the fit was not near its end."""
    errors = _curve(record, "error_rate")
    if len(errors) < 2:
        return None
    before, last = min(errors[:-1]), errors[-1]
    steep = last <= (1 - STEEP) * before
    return (before, last) if steep and noise.exceeded(before, last) else None


def worse_unfrozen(record: Record, noise: EpochNoise) -> Numbers:
    """The errors before and after unfreezing, if it rose and no later epoch was below."""
    errors, frozen = _curve(record, "error_rate"), _frozen_epochs(record)
    if not 0 < frozen < len(errors):
        return None
    before, after = errors[frozen - 1], errors[frozen]
    stayed = min(errors[frozen:]) >= before
    return (before, after) if stayed and noise.exceeded(after, before) else None


def never_learned(record: Record, noise: EpochNoise) -> Numbers:
    """No numbers, if no epoch's training loss is below that of the first.

    A head that starts from a probe has learned before the first epoch, whose loss may be near 0. So
    such a fit has learned if it errs less than a constant guess by more than the noise.
    """
    losses = _curve(record, "train_loss")
    fell = len(losses) < 2 or min(losses[1:]) < losses[0]
    return None if fell or (_starts_fitted(record) and _below_chance(record)) else ()


def few_steps(record: Record, noise: EpochNoise) -> Numbers:
    """The number of steps, if it is below LEAST_STEPS."""
    steps = record.fit.get("steps")
    return (steps,) if steps is not None and steps < LEAST_STEPS else None


def much_shrunk(record: Record, noise: EpochNoise) -> Numbers:
    """The median shorter side of the source images and of what was learned from, in pixels."""
    side, size = record.data.median_side, record.data.image_size
    return (side, size) if side and size and side > MOST_SHRUNK * size else None


def rare_class(record: Record, noise: EpochNoise) -> Numbers:
    """The number of validation images of the rarest class, if it is below LEAST_OF_A_CLASS."""
    least = record.data.n_valid_rarest
    return (least,) if least is not None and least < LEAST_OF_A_CLASS else None


Rule = tuple[Callable[[Record, EpochNoise], Numbers], str]
RULES: tuple[Rule, ...] = (
    (still_falling, "the error was still falling in the last epoch, from {} to {}"),
    (worse_unfrozen, "the error rose at unfreezing, from {} to {}, and never came back below"),
    (never_learned, "the training loss never fell"),
    (few_steps, f"only {{:.0f}} steps were taken, fewer than {LEAST_STEPS}"),
    (much_shrunk, "images were shrunk from {:.0f} to {:.0f} pixels (median shorter side)"),
    (rare_class, "fewest validation images of a class: {:.0f}"),
)


def n_copied(meta: Mapping[str, Any], part: str, others: Sequence[str]) -> int:
    """How many images of a part have an exact copy in one of the `others`, by meta.json."""
    return sum(
        sum(file.startswith(f"{part}: ") for file in copies)
        for copies in meta.get("duplicates_across_parts", [])
        if any(file.startswith(tuple(f"{other}: " for other in others)) for file in copies)
    )


COPIED = (  # a part, its name, and the parts that must not hold its images
    ("valid", "validation", {"train": "training"}),
    ("test", "test", {"train": "training", "valid": "validation"}),
)


def doubts_of_data(meta: Mapping[str, Any]) -> list[str]:
    """A sentence for each part of which images are in a part that was learned or chosen from."""
    sentences = []
    for part, name, others in COPIED:
        if n := n_copied(meta, part, list(others)):
            what = " or ".join(others.values())
            too = f"is also a {what} image" if n == 1 else f"are also {what} images"
            sentences.append(f"{n} of {meta.get(f'n_{part}')} {name} images {too}")
    return sentences


def doubts(records: Sequence[Record], meta: Mapping[str, Any] | None = None) -> list[str]:
    """A sentence for each rule that fires in some of these runs, and in how many of how many.

    The records are of one dataset, recipe and model; those that did not finish do not count. `meta`
    is the prepared dataset's meta.json; one of other data than the records' does not count.
    """
    finished = [each for each in records if each.status == "ok"]
    if not finished:
        return []
    noise, runs = noise_of(finished), "run" if len(finished) == 1 else "runs"
    sentences = []
    for rule, text in RULES:
        fired = [found for each in finished if (found := rule(each, noise)) is not None]
        if fired:
            numbers = np.array(fired, dtype=float).mean(axis=0)
            sentence = text.format(*(_formatted(rule, number) for number in numbers))
            sentences.append(f"{sentence} ({len(fired)} of {len(finished)} {runs})")
    if meta is not None and meta.get("fingerprint") == finished[0].data.fingerprint:
        sentences += doubts_of_data(meta)
    return sentences


def near_chance(error_rate: float | None, data: Data, image_size: int) -> str | None:
    """That a model's error is hardly below that of a constant guess, and whether larger images may
    help; None where it is well below, or not known.
    """
    chance, side = data.chance_error_rate, data.median_side
    if error_rate is None or not chance or error_rate < NEAR_CHANCE * chance:
        return None
    text = f"its error is near chance: a constant guess has {percent(chance)}"
    if side and side > 2 * image_size:
        text += f"; larger images may help: these were shrunk from {side} to {image_size} pixels"
    return text


def doubt_of_less_stable(errors: pd.Series) -> str:
    """The doubt about a model whose runs, with these errors, vary clearly more than the others'."""
    low, high = percent(errors.min()), percent(errors.max())
    return (
        f"its errors range from {low} to {high} over its runs, clearly more than other models' do"
    )


def join_doubts(cells: Iterable[Any]) -> Any:
    """One cell of the leaderboard from several; None where all are null."""
    return SEPARATOR.join(cell for cell in cells if not pd.isna(cell)) or None


def doubts_column(
    records: Mapping[Cell, Record], metas: Mapping[str, Mapping[str, Any]]
) -> pd.Series:
    """The leaderboard's `doubts` by dataset, recipe and model; only of models that have any.

    `metas` has meta.json of the datasets that are prepared.
    """
    runs: dict[tuple[str, str, str], list[Record]] = {}
    for cell, record in records.items():
        runs.setdefault((cell.dataset, cell.recipe, cell.model), []).append(record)
    sentences = {key: doubts(each, metas.get(key[0])) for key, each in runs.items()}
    found = {key: SEPARATOR.join(each) for key, each in sentences.items() if each}
    index = pd.MultiIndex.from_tuples(list(found), names=KEY)
    return pd.Series(list(found.values()), index=index, name="doubts", dtype=object)


def split_doubts(cell: Any) -> list[str]:
    """The sentences in a cell of the leaderboard's column."""
    return [] if pd.isna(cell) else str(cell).split(SEPARATOR)


def models_by_doubt(sentences: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The models that each doubt is about; `sentences` are those of each model.

    A doubt that holds in all runs of each of its models is one, however many runs they have.
    """
    found: dict[str, dict[str, str]] = {}
    for model, of_model in sentences.items():
        for sentence in of_model:
            found.setdefault(_ALL_RUNS.sub("(all runs)", sentence), {})[model] = sentence
    return {
        next(iter(texts.values())) if len(set(texts.values())) == 1 else alike: list(texts)
        for alike, texts in found.items()
    }


def _formatted(rule: Callable[..., Numbers], number: float) -> str | float:
    return percent(number) if rule in (still_falling, worse_unfrozen) else number


def _curve(record: Record, name: str) -> list[float]:
    """One number per epoch; empty where an epoch lacks it."""
    values = [epoch.get(name) for epoch in record.history]
    known = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return known if len(known) == len(values) else []


def _frozen_epochs(record: Record) -> int:
    frozen = _recipe(record).get("frozen_epochs")
    return frozen if isinstance(frozen, int) else 0


def _starts_fitted(record: Record) -> bool:
    return _recipe(record).get("head_start") == "probe"


def _below_chance(record: Record) -> bool:
    """Is the error below that of a constant guess by more than the noise of all its images?"""
    error, chance = record.metrics.error_rate, record.data.chance_error_rate
    if error is None or chance is None:
        return False
    return EpochNoise(record.data.n_valid, 1.0).exceeded(chance, error)


def _recipe(record: Record) -> dict[str, Any]:
    recipe = record.config.get("recipe")
    return recipe if isinstance(recipe, dict) else {}
