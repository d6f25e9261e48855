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


MOST_IMAGES = 240  # thumbnails of a study: about 1 MB in the report, in text
PER_GROUP = 24
THUMBNAIL = 96  # pixels
JPEG_QUALITY = 82


@dataclass(frozen=True)
class Answers:
    """What a model's runs answered; `kind` is single or multi, as the dataset's.

    single: `truth` int64 [images], `decided` int64 [runs, images], and the `probability` of that
            answer, float32 [runs, images]
    multi:  `truth` bool [images, labels], `decided` bool [runs, images, labels], and the
            `probability` that the label is there, float32 [runs, images, labels]
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
    def wrongness(self) -> np.ndarray:
        """How wrong the answers are, the mean over runs, [images] or [images, labels], 0 to 1.

        One label: the probability of a wrong answer, 0 of a right one. Several: how far the label's
        probability is from the truth.
        """
        if self.kind == "single":
            wrongness: np.ndarray = (self.wrong * self.probability).mean(axis=0)
        else:
            wrongness = np.abs(self.probability - self.truth).mean(axis=0)
        return wrongness


def answers_of(kind: str, labels: np.ndarray, predictions: list[np.ndarray]) -> Answers:
    """From labels as `Prepared.labels` has them and each run's predictions as a record has them."""
    stacked = np.stack(predictions)
    if kind == "multi":
        return Answers(kind, labels > 0.5, stacked > 127, stacked.astype(np.float32) / 255)
    decided = stacked[:, :, 0].astype(np.int64) + 256 * stacked[:, :, 1].astype(np.int64)
    return Answers(kind, labels, decided, stacked[:, :, 2].astype(np.float32) / 255)


def by_class(answers: Answers, classes: list[str]) -> pd.DataFrame:
    """Per class its validation images, the error on them, and what they are taken for instead."""
    counts = confusion(answers, len(classes))
    n = np.bincount(answers.truth, minlength=len(classes))
    with np.errstate(invalid="ignore"):
        error = 1 - np.diag(counts) / n
    low, high = wilson(error, n)
    mistakes = counts - np.diag(np.diag(counts))
    taken_for = [
        classes[place] if row[place] > 0 else None
        for row, place in zip(mistakes, mistakes.argmax(axis=1), strict=True)
    ]
    return pd.DataFrame(
        {
            "label": classes,
            "images": n,
            "error_rate": error,
            "error_low": low,
            "error_high": high,
            "taken_for": taken_for,
            "taken_for_share": mistakes.max(axis=1) / np.maximum(n, 1),
        }
    )


def confusion(answers: Answers, n_classes: int) -> np.ndarray:
    """Images [true class, answer], mean over runs; one label only."""
    counts = np.zeros((n_classes, n_classes))
    for decided in answers.decided:
        np.add.at(counts, (answers.truth, decided), 1)
    return counts / len(answers.decided)


def by_tag(answers: Answers, classes: list[str]) -> pd.DataFrame:
    """Per label precision, recall and F2 with intervals, and the threshold of the highest F2.

    Precision's interval is over the images that have the label by the model, recall's over those
    that have it in truth; F2's is a bootstrap over images.
    """
    true_positives = (answers.decided & answers.truth).mean(axis=0).astype(float)
    predicted = answers.decided.mean(axis=0).astype(float)
    positives = answers.truth.astype(float)
    counts = [each.sum(axis=0) for each in (true_positives, predicted, positives)]
    n = len(positives)
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = counts[0] / counts[1], counts[0] / counts[2]
        f2 = _f2(*counts)
        draws = _f2(weights @ true_positives, weights @ predicted, weights @ positives)
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    f2_low, f2_high = [np.array([_quantile(column, end) for column in draws.T]) for end in ends]
    precision_low, precision_high = wilson(precision, counts[1])
    recall_low, recall_high = wilson(recall, counts[2])
    return pd.DataFrame(
        {
            "label": classes,
            "images": counts[2].astype(int),
            "answered": counts[1],
            "precision": precision,
            "precision_low": precision_low,
            "precision_high": precision_high,
            "recall": recall,
            "recall_low": recall_low,
            "recall_high": recall_high,
            "f2": f2,
            "f2_low": f2_low,
            "f2_high": f2_high,
            "threshold_f2": best_thresholds(answers),
        }
    )


def best_thresholds(answers: Answers) -> np.ndarray:
    """Per label the threshold of the highest F2 on these images, [labels].

    F2 is that of the mean counts over runs; of equal ones the threshold nearest to a half counts,
    so that is the one of a label that no image has.
    """
    steps = np.linspace(0.02, 0.98, 49)
    positives = answers.truth.sum(axis=0).astype(float)
    scores = []
    for step in steps:
        decided = answers.probability > step
        true_positives = (decided & answers.truth).mean(axis=0).sum(axis=0)
        scores.append(_f2(true_positives, decided.mean(axis=0).sum(axis=0), positives))
    best = np.nan_to_num(np.stack(scores)) - 1e-6 * np.abs(steps - 0.5)[:, None]
    thresholds: np.ndarray = steps[best.argmax(axis=0)].round(2)
    return thresholds


def _f2(true_positives: np.ndarray, predicted: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """F2 from counts of true positives, of positives by the model, and of positives in truth."""
    with np.errstate(invalid="ignore"):  # no positives of either kind
        f2: np.ndarray = (1 + BETA2) * true_positives / (BETA2 * positives + predicted)
    return f2


def _quantile(values: np.ndarray, share: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, share)) if len(known) else np.nan


def reliability(answers: Answers) -> pd.DataFrame:
    """Answers by their probability, in ten bins: how often they are right, and how sure they are.

    `n` is the number of images (with several labels, of pairs of image and label) with an answer in
    the bin.
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
    """The expected calibration error, from the bins of `reliability`."""
    gap = (bins["right"] - bins["probability"]).abs()
    return float((gap * bins["answers"]).sum() / bins["answers"].sum())


def shared_mistakes(one: Answers, other: Answers) -> dict[str, float]:
    """How far two models err on the same answers: shares of all answers, means over pairs of runs.

    `both_if_independent` is the share that both would get wrong if their errors were independent;
    `overlap` is the share that both get wrong of what either does.
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


def worst(answers: Answers, classes: list[str], most: int) -> list[dict[str, Any]]:
    """Rows of gallery.csv for the images with the surest wrong answers, the mean over runs; with
    several labels, each image with its worst label."""
    return _surest(WORST, answers, np.asarray(answers.wrong.any(axis=0)), classes, most)


def unanimous_mistakes(
    models: list[Answers], classes: list[str], most: int
) -> list[dict[str, Any]]:
    """Rows of gallery.csv for the images that every run of every model gets wrong."""
    together = Answers(
        models[0].kind,
        models[0].truth,
        np.concatenate([each.decided for each in models]),
        np.concatenate([each.probability for each in models]),
    )
    return _surest(EVERYONE, together, wrong_for_all(models), classes, most)


def wrong_for_all(models: list[Answers]) -> np.ndarray:
    """Bool [images] or [images, labels]: what every run of every model gets wrong."""
    return np.asarray(np.concatenate([each.wrong for each in models]).all(axis=0))


def _surest(
    group: str, answers: Answers, wrong: np.ndarray, classes: list[str], most: int
) -> list[dict[str, Any]]:
    """Rows of gallery.csv for the images that are `wrong` ([images] or [images, labels])."""
    wrongness: np.ndarray = answers.wrongness * wrong
    labels = np.zeros(len(wrongness), dtype=int)
    if wrongness.ndim == 2:
        labels, wrongness = wrongness.argmax(axis=1), wrongness.max(axis=1)
    order = np.argsort(-wrongness, kind="stable")[:most]
    return [
        _row(group, answers, classes, int(at), int(labels[at])) for at in order if wrongness[at] > 0
    ]


def _row(
    group: str, answers: Answers, classes: list[str], image: int, label: int
) -> dict[str, Any]:
    """A row of gallery.csv: the wrong answer that runs give most often and surely, how many of
    them do, and its mean probability in these; of several labels the mean `wrongness`.
    """
    if answers.kind == "single":
        wrong, decided = answers.wrong[:, image], answers.decided[:, image]
        sure = answers.probability[:, image]
        most_given = np.bincount(decided[wrong], weights=sure[wrong]).argmax()
        truth, answer = classes[answers.truth[image]], classes[most_given]
        gave_it = decided == most_given
        probability = sure[gave_it].mean(dtype=float)
    else:
        gave_it = wrong = answers.wrong[:, image, label]
        truth, answer = classes[label], f"no {classes[label]}"
        if not answers.truth[image, label]:
            truth, answer = answer, truth
        probability = answers.wrongness[image, label]
    return {
        "group": group,
        "image": image,
        "truth": truth,
        "answer": answer,
        "probability": float(probability),
        "answer_runs": int(gave_it.sum()),
        "wrong_runs": int(wrong.sum()),
        "runs": len(wrong),
    }


def write_thumbnail(data: Prepared, size: int, resize: str, row: int, path: Path) -> None:
    """Write row `row` of the array of this size as a JPEG of at most THUMBNAIL pixels a side."""
    pixels = np.asarray(data.array(size, resize)[[row]][0])
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    side = min(size, THUMBNAIL)
    path.parent.mkdir(exist_ok=True)
    image.resize((side, side), Image.Resampling.LANCZOS).save(path, "JPEG", quality=JPEG_QUALITY)
