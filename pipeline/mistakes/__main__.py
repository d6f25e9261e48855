"""Stage `mistakes`: where the recommended model of each dataset is wrong, on the validation images.

Reads the records' predictions, the prepared datasets and the leaderboard; writes a folder of tables
and thumbnails (mistakes/tables.py lists them). A dataset whose records hold no predictions has no
rows. The surprising fact: the folder holds images of the dataset, so it is DVC's, not git's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.core.files import replacing_folder
from pipeline.dataset.prepared import Prepared, open_prepared
from pipeline.mistakes.answers import (
    MOST_IMAGES,
    PER_GROUP,
    Answers,
    answers_of,
    by_class,
    by_tag,
    calibration_error,
    confusion,
    reliability,
    shared_mistakes,
    unanimous_mistakes,
    worst,
    write_thumbnail,
    wrong_for_all,
)
from pipeline.mistakes.tables import COLUMNS, write_mistakes
from pipeline.recommend.choice import Choice, recommended
from pipeline.records import Record, read_record
from pipeline.results import KEY, Results, read_answers, read_results
from pipeline.statistics.validation_images import check_predictions, predictions_of
from pipeline.study.params import Cell, read_study

Tables = dict[str, list[pd.DataFrame]]


def main(params: Path, runs: Path, datasets: Path, results: Path, mistakes: Path) -> None:
    """Write what the recommended model of each dataset gets wrong.

    Args:
        params: the study file, params.yaml
        runs: the folder with the records of fine-tunes
        datasets: the folder with the prepared datasets
        results: the folder with the tables of `aggregate`
        mistakes: the folder to write
    """
    study, done, answers = read_study(params), read_results(results), read_answers(results)
    tables: Tables = {name: [] for name in COLUMNS}
    images = min(PER_GROUP, MOST_IMAGES // (2 * len(study.datasets)))
    with replacing_folder(mistakes) as folder:
        for dataset in study.datasets:
            choice = recommended(done, answers, dataset)
            if choice is None:
                continue
            if (answered := _of_dataset(runs, datasets, done, choice)) is not None:
                _add(tables, folder, answered, images)
        write_mistakes(folder, {name: pd.concat(each) for name, each in tables.items() if each})


@dataclass(frozen=True)
class DatasetAnswers:
    """A dataset, its recommended model, and the answers of every model that was compared with it,
    each at the recipe to take for it.

    `settings` is the configuration of one of the recommended model's runs.
    """

    data: Prepared
    settings: dict[str, Any]
    choice: Choice
    models: dict[str, Answers]

    @property
    def key(self) -> dict[str, str]:
        """The values of KEY's columns."""
        first = self.choice.rows.iloc[0]
        key = {name: str(first[name]) for name in KEY}
        return {**key, "recipe": self.choice.to_take(key["model"])}

    @property
    def recommended(self) -> Answers:
        """The recommended model's answers."""
        return self.models[self.key["model"]]


def _of_dataset(runs: Path, datasets: Path, done: Results, choice: Choice) -> DatasetAnswers | None:
    """The answers on one dataset; None where the recommended model's records hold none.

    Raises `PipelineError` where a record is of other data than the prepared dataset.
    """
    first = choice.rows.iloc[0]
    records = _records(runs, done, choice)
    if str(first["model"]) not in records:
        return None
    _, example = records[str(first["model"])][0]
    dataset = str(first["dataset"])
    data = open_prepared(datasets / dataset, dataset, example.image_size)
    rows = data.rows("valid")
    for each in records.values():
        for path, record in each:
            if record.data.fingerprint != data.fingerprint:
                raise PipelineError(
                    f"{path}: made from other data than {data.folder} now holds: run `dvc repro`"
                )
    models = {
        model: answers_of(data.kind, data.labels[rows], [predictions_of(r) for _, r in each])
        for model, each in records.items()
    }
    return DatasetAnswers(data, example.config, choice, models)


def _records(runs: Path, done: Results, choice: Choice) -> dict[str, list[tuple[Path, Record]]]:
    """The finished records by model, each at the recipe to take for it, of the models of which all
    records hold predictions.
    """
    dataset = str(choice.rows["dataset"].iloc[0])
    takes = done.runs["model"].map({model: choice.to_take(model) for model in choice.rows["model"]})
    ok = done.runs[(done.runs["dataset"] == dataset) & (done.runs["recipe"] == takes)]
    ok = ok[ok["status"] == "ok"]
    found: dict[str, list[tuple[Path, Record]]] = {}
    for (model, recipe), of_model in ok.groupby(["model", "recipe"], sort=False):
        cells = [Cell(dataset, str(model), str(recipe), int(s)) for s in of_model["seed"]]
        paths = [cell.path(runs) for cell in cells]
        each = [(path, read_record(path)) for path in paths if path.is_file()]
        if each and all(record.valid_predictions is not None for _, record in each):
            for path, record in each:
                check_predictions(path, record)
            found[str(model)] = each
    return found


def _add(tables: Tables, folder: Path, answered: DatasetAnswers, images: int) -> None:
    """Add one dataset's rows to each table, and write its thumbnails, at most `images` a group."""
    data, answers, models = answered.data, answered.recommended, list(answered.models.values())
    bins = reliability(answers)
    n_all_runs = sum(len(each.wrong) for each in models)
    one = {
        "kind": data.kind,
        "n_runs": len(answers.wrong),
        "n_valid": len(answers.truth),
        "n_classes": len(data.classes),
        "error_rate": float(answers.wrong.mean()),
        "calibration_error": calibration_error(bins),
        "n_models": len(models),
        "n_all_runs": n_all_runs,
        "n_wrong_for_all": int(wrong_for_all(models).sum()) if n_all_runs > 1 else None,
    }
    rows = {
        "models": pd.DataFrame([one]),
        "reliability": bins,
        "overlap": _overlap(answered),
        "gallery": _gallery(folder, answered, images),
    }
    if data.kind == "single":
        rows["classes"] = by_class(answers, data.classes)
        rows["confusion"] = _sparse(confusion(answers, len(data.classes)), data.classes)
    else:
        rows["tags"] = by_tag(answers, data.classes)
    for name, table in rows.items():
        tables[name].append(table.assign(**answered.key))


def _sparse(counts: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """The cells of a confusion matrix that are not empty."""
    names = np.array(classes, dtype=object)
    truth, answer = np.nonzero(counts)
    images = counts[truth, answer]
    return pd.DataFrame({"truth": names[truth], "answer": names[answer], "images": images})


def _overlap(answered: DatasetAnswers) -> pd.DataFrame:
    """The mistakes that the recommended model's runs share with each other, and with the runs of
    each model that it is tied with.
    """
    rows = answered.choice.rows
    tied = [str(name) for name in rows.loc[rows["tied"], "model"] if name in answered.models]
    names = list(dict.fromkeys([answered.key["model"], *tied]))
    return pd.DataFrame(
        [
            {"other": name, **shared_mistakes(answered.recommended, answered.models[name])}
            for name in names
        ]
    )


def _gallery(folder: Path, answered: DatasetAnswers, images: int) -> pd.DataFrame:
    """The rows of gallery.csv, with their thumbnails written to the folder."""
    data, models = answered.data, list(answered.models.values())
    shown = worst(answered.recommended, data.classes, images)
    if sum(len(each.wrong) for each in models) > 1:
        shown += unanimous_mistakes(models, data.classes, images)
    rows = data.rows("valid")
    resize = str(answered.settings.get("recipe", {}).get("resize", "squish"))
    for each in shown:
        row = int(rows[each["image"]])
        each["file"], each["thumbnail"] = data.files[row], f"thumbnails/{data.name}-{row}.jpg"
        path = folder / each["thumbnail"]
        if not path.exists():
            write_thumbnail(data, int(answered.settings["image_size"]), resize, row, path)
    return pd.DataFrame(shown, columns=[*COLUMNS["gallery"]])


if __name__ == "__main__":
    run(main)
