"""Failures of a model are records, other failures leave none, and both are one line."""

import json
import pickle
from pathlib import Path

import pytest
from runs import MODEL, Trainer, numbers_of
from study_fakes import write_imagenet, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.records import Metrics, read_record
from pipeline.results import read_results


def test_a_loss_that_is_not_a_number_stops_the_run_and_no_table_has_a_number_of_it(
    trainer: Trainer, golden: Path, tmp_path: Path
) -> None:
    study = write_study(tmp_path, datasets=["digit_mosaic"], models=[MODEL])
    runs = tmp_path / "runs" / "digit_mosaic" / MODEL / "quickstart"
    ended = trainer.finetune(runs / "0.json", fault="nan@after_load")
    assert ended.exit_code == 0, ended.said
    record = read_record(runs / "0.json")
    assert record.status == "diverged"
    assert record.metrics == record.test_metrics == Metrics()
    assert record.reason == "features of the frozen net are not finite"
    assert len(record.history) <= 1
    whole = {**json.loads(golden.read_text()), "seed": 1}
    (runs / "1.json").write_text(json.dumps(whole))
    study.write_text(study.read_text().replace("image_size: 64", "image_size: 32"))
    imagenet = write_imagenet(tmp_path / "imagenet.csv", [MODEL])
    aggregate.main(study, tmp_path / "runs", imagenet, tmp_path / "results", tmp_path / "metrics")
    table = read_results(tmp_path / "results").runs.set_index("seed")
    assert table.loc[0, "status"] == "diverged"
    assert table.loc[0, ["error_rate", "accuracy", "valid_loss", "fit_seconds"]].isna().all()
    board = read_results(tmp_path / "results").board.iloc[0]
    assert (board["n"], board["n_failed"]) == (1, 1)
    assert board["error_rate_mean"] == pytest.approx(whole["metrics"]["error_rate"])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("oom@in_loader:3", "out of GPU memory"),
        ("raise@in_loader:3", "RuntimeError: injected at in_loader"),
    ],
)
def test_a_model_that_fails_is_a_record_with_the_reason_and_no_metrics(
    trainer: Trainer, tmp_path: Path, fault: str, reason: str
) -> None:
    ended = trainer.finetune(tmp_path / "0.json", fault=fault)
    assert ended.exit_code == 0, ended.said
    record = read_record(tmp_path / "0.json")
    assert (record.status, record.metrics) == ("failed", Metrics())
    assert str(record.reason).startswith(reason)
    assert f"failed: {reason}" in ended.said.splitlines()[-1]


def _gpu_fails(overrides: list[str]) -> None:
    from runs import finetune

    from pipeline.finetune import training

    def fit(*arguments: object) -> None:
        raise RuntimeError(
            "CUDA error: unspecified launch failure\nCUDA kernel errors might be ..."
        )

    training.fit = fit
    finetune(overrides)


def test_a_gpu_that_fails_is_no_models_doing_and_leaves_no_record(
    trainer: Trainer, tmp_path: Path
) -> None:
    ended = trainer.child(_gpu_fails, trainer.overrides(tmp_path / "0.json"))
    assert ended.exit_code == 1
    assert (
        "error: the GPU failed, which is not the model's fault: RuntimeError: CUDA err"
        in ended.said
    )
    assert list(tmp_path.iterdir()) == []


class _Acts:
    """Unpickled carelessly, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("content", ["a pickle", "half a file", "nothing"])
def test_weights_that_are_damaged_or_a_pickle_are_one_line_and_run_nothing(
    trainer: Trainer, tmp_path: Path, content: str
) -> None:
    whole = (trainer.folder / "weights" / f"{MODEL}.safetensors").read_bytes()
    file = tmp_path / f"{MODEL}.safetensors"
    acting = pickle.dumps(_Acts(tmp_path / "PWNED"))
    file.write_bytes({"a pickle": acting, "half a file": whole[:50_000], "nothing": b""}[content])
    ended = trainer.finetune(tmp_path / "0.json", f"weights.path={tmp_path}")
    assert ended.exit_code == 1
    assert f"error: {file}: damaged, or not a file of weights" in ended.said
    assert "Traceback" not in ended.said
    assert list(tmp_path.iterdir()) == [file]


def _load_as_from_the_hub(file: Path) -> None:
    from pipeline.core.command import one_line_errors
    from pipeline.finetune.weights import _from_file, _in_timms_names, readable

    for load in (_in_timms_names, _through_timm):
        try:
            with one_line_errors(), readable(file):
                load(MODEL, file)
        except SystemExit as end:
            print("exit code", end.code)
    assert _from_file("hub", "", file).overlay["file"] == str(file)


def _through_timm(model: str, file: Path) -> None:
    import timm

    overlay = {"file": str(file), "custom_load": False}
    timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay)


def test_a_pickle_from_the_hub_or_a_package_is_refused(trainer: Trainer, tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    file.write_bytes(pickle.dumps(_Acts(tmp_path / "PWNED")))
    ended = trainer.child(_load_as_from_the_hub, file)
    assert ended.exit_code == 0, ended.said
    assert ended.said.count("damaged, or not a file of weights") == 2
    assert ended.said.count("exit code 1") == 2
    assert list(tmp_path.iterdir()) == [file]


def test_the_run_after_a_failed_one_gives_the_numbers_of_an_undisturbed_one(
    trainer: Trainer, golden: Path, tmp_path: Path
) -> None:
    out = tmp_path / "0.json"
    trainer.finetune(out, fault="oom@in_loader:3")
    assert trainer.finetune(out).exit_code == 0
    assert numbers_of(out) == numbers_of(golden)
