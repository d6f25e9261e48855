"""Stage `baseline`: what one model's frozen features give on one dataset -> one record.

Reads a prepared dataset and one file of pretrained weights; writes `out`, a record of recipe
`frozen`. No weight of the net is trained: it makes one pass over the images, then a logistic
regression on the features (its L2 chosen by cross-validation on the training part) and, as a check,
a nearest-neighbours classifier. A fine-tune that does not beat it is not worth its time.
"""

import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from pipeline.configuration import hydra_app
from pipeline.core.command import duration
from pipeline.core.processes import hold
from pipeline.dataset.prepared import Prepared, open_prepared
from pipeline.finetune.__main__ import check_classes, describe, die_with_parent
from pipeline.hardware import machine
from pipeline.records import Cost, Metrics, Record, pack_counts, pack_predictions, write_record

RECIPE = "frozen"  # no file of conf/recipe: nothing is trained but a head
Fields = dict[str, Any]


def main(config: DictConfig) -> None:
    """Fit a linear head to one model's frozen features, and write the record of it."""
    machine.rest_while_waiting()
    die_with_parent()
    out = Path(config.out)
    with hold(out.with_name(f".{out.name}.lock"), out):
        record = baseline(config)
        write_record(out, record)
    print(f"{config.dataset.name}  {config.model}  {RECIPE}  {_outcome(record)}", flush=True)


def baseline(config: DictConfig) -> Record:
    """The record of one model's frozen features on one dataset, also of a model that fails."""
    from pipeline.finetune import attempts
    from pipeline.finetune.callbacks import Diverged
    from pipeline.hardware.faults import lacks_memory, models_fault
    from pipeline.hardware.telemetry import Watch

    run = run_of(config)
    threads = machine.free_threads(config.threads)
    machine.use_threads(threads)
    device = machine.describe(run.device, threads, "fp32")
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    machine.clear_peak_memory(run.device)
    watch = Watch(run.device)
    try:
        with watch:
            outcome = probed(run)
    except Diverged as error:
        outcome = {"status": "diverged", "reason": error.reason}
    except Exception as error:
        if out_of_memory := lacks_memory(error):
            traceback.print_exception(error)
        reason = "out of GPU memory" if out_of_memory else models_fault(error)
        outcome = {"status": "failed", "reason": reason}
    cost = {**machine.peak_memory(run.device), "energy_wh": watch.energy_wh}
    if outcome["status"] == "ok":
        cost["fit_seconds"] = watch.telemetry["seconds"]
        cost["cpu_seconds"] = watch.telemetry["cpu_seconds"]
    return Record(
        dataset=run.data.name,
        model=run.model,
        recipe=RECIPE,
        seed=0,
        cost=Cost(**cost),
        device=replace(device, shared=watch.shared),
        telemetry=watch.telemetry,
        not_for_speed=watch.not_for_speed,
        versions={**machine.versions(), "code": attempts.code_version("baseline/*.py")},
        weights={name: getattr(run.weights, name) for name in ("source", "origin", "sha256")},
        data=describe(run.data, run.image_size),
        config=OmegaConf.to_container(config, resolve=True),  # type: ignore[arg-type]
        started_at=started_at,
        **outcome,
    )


def run_of(config: DictConfig) -> Any:
    """The `Run` whose features are asked for; raises `PipelineError` where something is missing."""
    from pipeline.finetune import training, weights
    from pipeline.finetune.recipe import Recipe
    from pipeline.finetune.speed import Speed
    from pipeline.names.resolve import resolve

    data = open_prepared(Path(config.data), config.dataset.name, config.image_size)
    model = resolve(config.model)
    check_classes(data)
    return training.Run(
        data=data,
        recipe=Recipe(RECIPE, 0, 0, 0.0, 1.0, 1, "average", config.resize, "fp32"),
        model=model,
        weights=weights.find(config.weights, model),
        seed=0,
        image_size=config.image_size,
        device=machine.choose_device(config.device),
        speed=Speed(),
    )


def probed(run: Any) -> Fields:
    """Fields of the record: the linear probe's metrics and its answers on validation images."""
    from pipeline.finetune.frozen import frozen_features, knn_logits, linear_probe

    data: Prepared = run.data
    features, pass_seconds = frozen_features(run)
    started = time.perf_counter()
    train, n_classes = data.rows("train"), len(data.classes)
    probe = linear_probe(features, data.labels, data.kind, train, n_classes)
    head_seconds = time.perf_counter() - started
    valid, test = data.rows("valid"), data.rows("test")
    logits, labels = probe.logits(features[valid]), data.labels[valid]
    wrong, predicted = answers(logits, labels)
    knn = knn_logits(features, data.labels, data.kind, train, valid)
    of_test = metrics(probe.logits(features[test]), data.labels[test]) if len(test) else Metrics()
    return {
        "status": "ok",
        "metrics": metrics(logits, labels),
        "test_metrics": of_test,
        "valid_wrong": pack_counts(wrong) if wrong.max() <= np.iinfo(np.uint8).max else None,
        "valid_predictions": pack_predictions(predicted),
        "probe": {
            "l2": probe.l2,
            "pass_seconds": pass_seconds,
            "head_seconds": head_seconds,
            "knn_error_rate": metrics(knn, labels).error_rate,
        },
    }


def answers(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wrong answers on each image, int64 [images], and the predictions, for `pack_predictions`.

    `logits` are [images, classes], `labels` as in `Prepared`.
    """
    import torch

    from pipeline.finetune.callbacks import predictions, wrong_answers

    outputs, truth = torch.from_numpy(logits).float(), torch.from_numpy(labels)
    predicted = predictions(outputs, single=labels.ndim == 1)
    return wrong_answers(outputs, truth).numpy(), predicted.numpy()


def metrics(logits: np.ndarray, labels: np.ndarray) -> Metrics:
    """As a fine-tune's: error rate, accuracy and loss, of several labels per image F2 as well."""
    import torch
    from sklearn.metrics import fbeta_score
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

    wrong, _ = answers(logits, labels)
    outputs, truth = torch.from_numpy(logits).float(), torch.from_numpy(labels)
    if labels.ndim == 1:
        error_rate, fbeta2 = float(wrong.mean()), None
        loss = cross_entropy(outputs, truth)
    else:
        error_rate = float(wrong.mean()) / labels.shape[1]
        fbeta2 = float(fbeta_score(labels, logits > 0, beta=2, average="samples", zero_division=0))
        loss = binary_cross_entropy_with_logits(outputs, truth.float())
    return Metrics(
        error_rate=error_rate, accuracy=1 - error_rate, fbeta2=fbeta2, valid_loss=float(loss)
    )


def _outcome(record: Record) -> str:
    """The record in a line, without its names."""
    if record.status != "ok":
        return f"{record.status}: {record.reason}"
    return (
        f"error {record.metrics.error_rate:.4f}, nearest neighbours "
        f"{record.probe['knn_error_rate']:.4f} "
        f"(chance {record.data.chance_error_rate:.4f}) in {duration(record.cost.fit_seconds)}"
    )


if __name__ == "__main__":
    hydra_app.run(main, "baseline")
