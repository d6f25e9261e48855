"""Which images are shown as mistakes, and their thumbnails: as the models saw them, squished."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.dataset.prepared import Prepared
from pipeline.mistakes.answers import Answers
from pipeline.mistakes.tables import EVERYONE, WORST

MOST_IMAGES = 240  # thumbnails of a study: about 1 MB in the report, in text
PER_GROUP = 24
THUMBNAIL = 96  # pixels
QUALITY = 82


def worst(answers: Answers, classes: list[str], most: int) -> list[dict[str, Any]]:
    """The images with the surest wrong answers on the mean over runs; with several labels, each
    image with its worst label."""
    doubt = answers.doubt * answers.wrong.any(axis=0)
    labels = np.zeros(len(doubt), dtype=int)
    if doubt.ndim == 2:
        labels, doubt = doubt.argmax(axis=1), doubt.max(axis=1)
    order = np.argsort(-doubt, kind="stable")[:most]
    return [
        _row(WORST, answers, classes, int(at), int(labels[at])) for at in order if doubt[at] > 0
    ]


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
    wrong = wrong_for_all(models)
    doubt: np.ndarray = together.doubt * wrong
    labels = np.zeros(len(doubt), dtype=int)
    if doubt.ndim == 2:
        labels, doubt = doubt.argmax(axis=1), doubt.max(axis=1)
    order = np.argsort(-doubt, kind="stable")[:most]
    return [
        _row(EVERYONE, together, classes, int(at), int(labels[at])) for at in order if doubt[at] > 0
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
