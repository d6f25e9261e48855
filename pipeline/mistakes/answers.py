"""What the models answered on each image, which mistakes are shown, and their thumbnails."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.dataset.prepared import Prepared
from pipeline.mistakes.tables import EVERYONE, WORST
from pipeline.statistics.intervals import CONFIDENCE, wilson

BINS = 10  # of the reliability diagram
DRAWS = 1000
BETA2 = 4.0  # F2 counts recall four times as much as precision, squared beta


@dataclass(frozen=True)
class Answers:
    """What a model's runs answered; `kind` is single or multi, as the dataset's.

    single: `truth` int64 [images], `decided` int64 [runs, images], `probability` of that answer
    multi:  `truth` bool [images, labels], `decided` [runs, images, labels], `probability` that the
            label is there
    """

    kind: str
    truth: np.ndarray
    decided: np.ndarray
    probability: np.ndarray

    @cached_property
    def wrong(self) -> np.ndarray:
        """Bool [runs, images], or [runs, images, labels]."""
        wrong: np.ndarray = self.decided != self.truth
        return wrong

    @cached_property
    def doubt(self) -> np.ndarray:
        """How wrong the answers are on the mean over runs, [images] or [images, labels], 0 to 1.

        One label: the probability of a wrong answer. Several: how far the label's is from 0 or 1.
        """
        if self.kind == "single":
            doubt: np.ndarray = (self.wrong * self.probability).mean(axis=0)
        else:
            doubt = np.abs(self.probability - self.truth).mean(axis=0)
        return doubt


def answers_of(kind: str, labels: np.ndarray, predictions: list[np.ndarray]) -> Answers:
    """From labels as `Prepared.labels` has them and each run's predictions as a record has them."""
    stacked = np.stack(predictions)
    if kind == "multi":
        return Answers(kind, labels > 0.5, stacked > 127, stacked.astype(np.float32) / 255)
    decided = stacked[:, :, 0].astype(np.int64) + 256 * stacked[:, :, 1].astype(np.int64)
    return Answers(kind, labels, decided, stacked[:, :, 2].astype(np.float32) / 255)


def confusion(answers: Answers, n_classes: int) -> np.ndarray:
    """Images [true class, answer], mean over runs; one label only."""
    counts = np.zeros((n_classes, n_classes))
    for decided in answers.decided:
        np.add.at(counts, (answers.truth, decided), 1)
    return counts / len(answers.decided)


def by_class(answers: Answers, classes: list[str]) -> pd.DataFrame:
    """Per class its validation images, the error on them, and what they are taken for instead."""
    counts = confusion(answers, len(classes))
    n = np.bincount(answers.truth, minlength=len(classes))
    with np.errstate(invalid="ignore"):
        error = 1 - np.diag(counts) / n
    low, high = wilson(error, n)
    others = counts - np.diag(np.diag(counts))
    instead = others.argmax(axis=1)
    names = [
        classes[place] if row[place] > 0 else None
        for row, place in zip(others, instead, strict=True)
    ]
    table = {"label": classes, "images": n, "error_rate": error, "error_low": low}
    share = others.max(axis=1) / np.maximum(n, 1)
    more = {"error_high": high, "taken_for": names, "taken_for_share": share}
    return pd.DataFrame({**table, **more})


def by_tag(answers: Answers, classes: list[str]) -> pd.DataFrame:
    """Per label precision, recall and F2 with intervals, and the threshold that would give most F2.

    Precision's interval is over the images that have the label by the model, recall's over those
    that have it in truth; F2's is a bootstrap over images.
    """
    truth, decided = answers.truth, answers.decided
    hit = (decided & truth).mean(axis=0).astype(float)
    said, there = decided.mean(axis=0).astype(float), truth.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = hit.sum(0) / said.sum(0), hit.sum(0) / there.sum(0)
        f2 = _f2(hit.sum(0), said.sum(0), there.sum(0))
        weights = np.random.default_rng(0).multinomial(
            len(there), np.full(len(there), 1 / len(there)), size=DRAWS
        )
        draws = _f2(weights @ hit, weights @ said, weights @ there)
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    f2_low, f2_high = [np.array([_quantile(column, end) for column in draws.T]) for end in ends]
    precision_low, precision_high = wilson(precision, said.sum(0))
    recall_low, recall_high = wilson(recall, there.sum(0))
    columns = {
        **{"label": classes, "images": there.sum(0).astype(int), "answered": said.sum(0)},
        **{"precision": precision, "precision_low": precision_low},
        **{"precision_high": precision_high, "recall": recall, "recall_low": recall_low},
        **{"recall_high": recall_high, "f2": f2, "f2_low": f2_low, "f2_high": f2_high},
        "threshold_f2": best_thresholds(answers),
    }
    return pd.DataFrame(columns)


def best_thresholds(answers: Answers) -> np.ndarray:
    """Per label the threshold of the highest F2 on these images, [labels]; a half for absent ones.

    F2 is that of the mean counts over runs; of equal ones the threshold nearest to a half counts.
    """
    steps = np.linspace(0.02, 0.98, 49)
    there = answers.truth.sum(axis=0).astype(float)
    scores = []
    for step in steps:
        said = answers.probability > step
        hit = (said & answers.truth).mean(axis=0).sum(axis=0)
        scores.append(_f2(hit, said.mean(axis=0).sum(axis=0), there))
    best = np.nan_to_num(np.stack(scores)) - 1e-6 * np.abs(steps - 0.5)[:, None]
    return np.where(there > 0, steps[best.argmax(axis=0)], 0.5).round(2)


def reliability(answers: Answers) -> pd.DataFrame:
    """Answers by their probability, in ten bins: how often they are right, how sure they were.

    `n` is the number of images (with several labels, of images and labels) with an answer there.
    """
    right = (
        ~answers.wrong
        if answers.kind == "single"
        else np.broadcast_to(answers.truth, answers.decided.shape)
    )
    which = np.minimum((answers.probability * BINS).astype(int), BINS - 1)
    rows = []
    for place in range(BINS):
        here = which == place
        if not here.any():
            continue
        n = int(here.any(axis=0).sum())
        share = float(right[here].mean())
        low, high = wilson(share, n)
        rows.append(
            {
                "bin_low": place / BINS,
                "bin_high": (place + 1) / BINS,
                "n": n,
                "answers": int(here.sum()),
                "probability": float(answers.probability[here].mean(dtype=float)),
                "right": share,
                "right_low": float(low),
                "right_high": float(high),
            }
        )
    return pd.DataFrame(rows)


def calibration_error(bins: pd.DataFrame) -> float:
    """The mean distance between how sure and how often right, over answers (ECE)."""
    gap = (bins["right"] - bins["probability"]).abs()
    return float((gap * bins["answers"]).sum() / bins["answers"].sum())


def shared_mistakes(one: Answers, other: Answers) -> dict[str, float]:
    """How far two models err on the same answers: shares of all answers, means over pairs of runs.

    `both_if_independent` is what models of these errors would share by luck; `overlap` is the
    share that both get wrong of what either does.
    """
    a = one.wrong.reshape(len(one.wrong), -1).astype(float)
    b = other.wrong.reshape(len(other.wrong), -1).astype(float)
    both = a @ b.T / a.shape[1]
    if one is other:  # runs of one model with each other, not with themselves
        both = both[~np.eye(len(a), dtype=bool)]
    mean = float(both.mean()) if both.size else np.nan
    errors = float(a.mean()), float(b.mean())
    some = errors[0] + errors[1] - mean
    return {
        "error_rate": errors[1],
        "both": mean,
        "both_if_independent": errors[0] * errors[1],
        "overlap": mean / some if some > 0 else np.nan,
    }


def _f2(hit: np.ndarray, said: np.ndarray, there: np.ndarray) -> np.ndarray:
    """F2 from counts of true positives, of positives by the model, of positives in truth."""
    with np.errstate(invalid="ignore"):  # nothing there and nothing said
        f2: np.ndarray = (1 + BETA2) * hit / (BETA2 * there + said)
    return f2


def _quantile(values: np.ndarray, share: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, share)) if len(known) else np.nan


MOST_IMAGES = 240  # thumbnails of a study: about 1 MB in the report, in text
PER_GROUP = 24
THUMBNAIL = 96  # pixels
QUALITY = 82


def worst(answers: Answers, classes: list[str], most: int) -> list[dict[str, Any]]:
    """The images with the surest wrong answers on the mean over runs; with several labels, each
    image with its worst label."""
    return _surest(WORST, answers, np.asarray(answers.wrong.any(axis=0)), classes, most)


def wrong_for_all(models: list[Answers]) -> np.ndarray:
    """Bool [images] or [images, labels]: what every run of every model gets wrong."""
    return np.asarray(np.concatenate([each.wrong for each in models]).all(axis=0))


def everyones(models: list[Answers], classes: list[str], most: int) -> list[dict[str, Any]]:
    """The images that every run of every model gets wrong, the surest first; none of a lone run."""
    together = Answers(
        models[0].kind,
        models[0].truth,
        np.concatenate([each.decided for each in models]),
        np.concatenate([each.probability for each in models]),
    )
    return _surest(EVERYONE, together, wrong_for_all(models), classes, most)


def _surest(
    group: str, answers: Answers, wrong: np.ndarray, classes: list[str], most: int
) -> list[dict[str, Any]]:
    """Rows of the gallery, of the images that are `wrong` ([images] or [images, labels])."""
    doubt: np.ndarray = answers.doubt * wrong
    labels = np.zeros(len(doubt), dtype=int)
    if doubt.ndim == 2:
        labels, doubt = doubt.argmax(axis=1), doubt.max(axis=1)
    order = np.argsort(-doubt, kind="stable")[:most]
    return [
        _row(group, answers, classes, int(at), int(labels[at])) for at in order if doubt[at] > 0
    ]


def _row(
    group: str, answers: Answers, classes: list[str], image: int, label: int
) -> dict[str, Any]:
    """A row of gallery.csv: the wrong answer that most runs give; the mean probability of wrong."""
    if answers.kind == "single":
        wrong = answers.wrong[:, image]
        given = np.bincount(answers.decided[wrong, image]).argmax()
        truth, answer = classes[answers.truth[image]], classes[given]
        probability = answers.doubt[image]
    else:
        wrong = answers.wrong[:, image, label]
        there = bool(answers.truth[image, label])
        truth = f"{classes[label]}" if there else f"no {classes[label]}"
        answer = f"no {classes[label]}" if there else f"{classes[label]}"
        probability = answers.doubt[image, label]
    return {
        "group": group,
        "image": image,
        "truth": truth,
        "answer": answer,
        "probability": float(probability),
        "wrong_runs": int(wrong.sum()),
        "runs": len(wrong),
    }


def write_thumbnail(data: Prepared, size: int, resize: str, row: int, path: Path) -> None:
    """Write image `row` of the index as a JPEG of at most THUMBNAIL pixels."""
    pixels = np.asarray(data.array(size, resize)[[row]][0])
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    side = THUMBNAIL if size > THUMBNAIL else size
    path.parent.mkdir(exist_ok=True)
    image.resize((side, side), Image.Resampling.LANCZOS).save(path, "JPEG", quality=QUALITY)
