"""One fine-tune: repeatable, honest about failure, and every mistake is one clear line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, open_dict

from pipeline.configuration import hydra_app
from pipeline.core.errors import PipelineError, TryAgain
from pipeline.dataset.prepared import open_prepared
from pipeline.finetune import training
from pipeline.finetune.__main__ import finetune, main, record_path, run_of
from pipeline.records import Metrics, read_record, unpack_counts

ROOT = Path(__file__).parent.parent
MODEL = "tf_efficientnet_lite0.in1k"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth of scikit-learn's digits, prepared at 32 pixels."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pipeline.dataset",
            "dataset=digits",
            "image_size=32",
            f"out={folder}",
        ],
        check=True,
        cwd=ROOT,
        capture_output=True,
    )
    array, index = folder / "squish-32.npy", folder / "index.csv"
    np.save(array, np.load(array)[::4])
    pd.read_csv(index, dtype=str)[::4].to_csv(index, index=False)
    return folder


@pytest.fixture(scope="session")
def tiny_multi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred mosaics, prepared at 32 pixels."""
    folder = tmp_path_factory.mktemp("data") / "digit_mosaic"
    subprocess.run(
        [
            *(sys.executable, "-m", "pipeline.dataset", "dataset=digit_mosaic", "image_size=32"),
            *("dataset.images.count=200", f"out={folder}"),
        ],
        check=True,
        cwd=ROOT,
        capture_output=True,
    )
    return folder


def config_of(data: Path, *overrides: str, seed: int = 0) -> DictConfig:
    """A run of seconds: one epoch, big batches."""
    return hydra_app.compose(
        "finetune",
        [
            *(f"dataset={data.name}", f"model={MODEL}", "recipe=quickstart", f"seed={seed}"),
            *("weights=wheel", "image_size=32", "threads=1", "device=cpu", f"data={data}"),
            *("recipe.epochs=1", "recipe.least_steps=0", "recipe.batch_size=64"),
            f"out={data.parent}/record.json",
            *overrides,
        ],
    )


def test_params_yaml_may_be_edited_while_a_fit_runs(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, record: Any
) -> None:
    params = tmp_path / "params.yaml"
    grid = {"datasets": ["digits"], "models": [MODEL], "recipes": ["quickstart"], "seeds": [0]}
    params.write_text(json.dumps({"grid": grid}))
    epoch = {"epoch": 1, "train_loss": 1.0, "valid_loss": 1.0, "error_rate": 0.5, "of": 1}
    epoch["elapsed_seconds"] = 25.4

    def edits(config: Any, tell: Any) -> Any:
        params.write_text("grid: {datasets: [")
        tell(epoch)
        return record

    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr("pipeline.finetune.__main__.finetune", edits)
    monkeypatch.setattr("pipeline.finetune.__main__.die_with_parent", lambda: None)
    main(config_of(tiny, f"out={tmp_path}/record.json"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("error 0.5000  25.4 s")
    assert all(line.startswith("[1/1] digits") for line in lines)
    assert read_record(tmp_path / "record.json") == record


TOLD: list[dict[str, Any]] = []


@pytest.fixture(scope="session")
def record(tiny: Path) -> Any:
    return finetune(config_of(tiny), TOLD.append)


def test_the_seconds_of_epochs_count_from_the_fits_begin(record: Any) -> None:
    told = [row["elapsed_seconds"] for row in TOLD]
    spent = np.cumsum([row["seconds"] for row in record.history])
    assert len(told) == len(spent)
    assert (told >= spent).all()
    assert told[-1] <= record.cost.fit_seconds


def test_a_record_says_how_it_went_what_it_cost_and_on_what(record: Any, tiny: Path) -> None:
    assert record.status == "ok"
    assert record.metrics.error_rate == pytest.approx(1 - record.metrics.accuracy)
    assert record.metrics.error_rate < record.data.chance_error_rate - 0.2
    assert record.metrics.fbeta2 is None
    assert [row["epoch"] for row in record.history] == [1]
    assert record.history[-1]["valid_loss"] == record.metrics.valid_loss
    assert 0 < record.cost.seconds_per_epoch < record.cost.fit_seconds
    assert record.cost.images_per_second > 0
    assert record.cost.peak_rss_gib > 0.1
    assert record.cost.peak_memory_reserved_gib is None or torch.cuda.is_available()
    assert record.device.name
    assert record.versions["timm"]
    assert record.weights["sha256"].startswith("57934424")
    assert record.data.fingerprint == open_prepared(tiny).fingerprint
    assert record.config["recipe"]["lr"] == 0.001


def test_a_record_tells_what_the_hardware_did_during_the_fit(record: Any) -> None:
    assert record.telemetry["seconds"] == record.cost.fit_seconds
    assert record.telemetry["cpu_seconds"] == record.cost.cpu_seconds
    assert record.device.cores_allowed >= 1
    waited = record.telemetry["cpu_waited_share"]
    assert record.device.shared is (None if waited is None else waited > 0.1)
    assert (record.not_for_speed is None) == (not record.device.shared)
    assert record.cost.energy_wh is None


def test_the_same_seed_twice_gives_bit_identical_metrics(record: Any, tiny: Path) -> None:
    again = finetune(config_of(tiny))
    assert again.metrics == record.metrics
    losses = [[row[key] for key in ("train_loss", "valid_loss")] for row in record.history]
    assert losses == [[row[key] for key in ("train_loss", "valid_loss")] for row in again.history]


def test_another_seed_has_another_head_and_order_but_the_same_split(tiny: Path) -> None:
    data = open_prepared(tiny)
    first, second, again = (_start(tiny, seed) for seed in (0, 1, 0))
    assert not torch.equal(first["head"], second["head"])
    assert torch.equal(first["head"], again["head"])
    assert not np.array_equal(first["order"], second["order"])
    assert np.array_equal(first["order"], again["order"])
    assert first["train"] == second["train"] == data.rows("train").tolist()
    assert first["valid"] == second["valid"] == data.rows("valid").tolist()


def _start(folder: Path, seed: int) -> dict[str, Any]:
    """Head weights, shuffled order and validation rows of a run that has not begun to train."""
    learn = training.seeded_learner(run_of(config_of(folder, seed=seed)))
    dls = learn.dls
    return {
        "head": learn.model[-1][-1].weight.detach().clone(),
        "order": np.array(dls.train.get_idxs()),
        "train": list(dls.train.dataset),
        "valid": list(dls.valid.dataset),
    }


def test_the_images_are_normalised_as_the_weights_were_trained(tiny: Path) -> None:
    data, dls = open_prepared(tiny), training.seeded_learner(run_of(config_of(tiny))).dls
    images, _labels = dls.valid.one_batch()
    raw = torch.from_numpy(data.array(32)[data.rows("valid")[: len(images)]].copy())
    assert torch.allclose(torch.Tensor(images), (raw / 255 - 0.5) / 0.5, atol=1e-6)


def test_a_multi_label_error_is_one_minus_the_accuracy_over_tags(tiny_multi: Path) -> None:
    found = finetune(config_of(tiny_multi, "recipe.batch_size=16"))
    assert found.metrics.error_rate == pytest.approx(1 - found.metrics.accuracy)
    wrong = unpack_counts(found.valid_wrong)
    answers = found.data.n_valid * found.data.n_classes
    assert len(wrong) == found.data.n_valid
    assert wrong.sum() / answers == pytest.approx(found.metrics.error_rate, abs=1e-6)
    assert 0 <= found.metrics.fbeta2 <= 1
    assert found.data.kind == "multi"


def test_the_wrong_answers_on_each_validation_image_add_up_to_the_error(
    record: Any, tiny: Path
) -> None:
    wrong = unpack_counts(record.valid_wrong)
    assert len(wrong) == record.data.n_valid
    assert set(wrong.tolist()) == {0, 1}
    assert wrong.mean() == pytest.approx(record.metrics.error_rate, abs=1e-6)


def test_a_run_whose_loss_is_not_finite_is_diverged_and_has_no_metrics(tiny: Path) -> None:
    found = finetune(config_of(tiny, "recipe.lr=1e30"))
    assert found.status == "diverged"
    assert (found.metrics, found.valid_wrong) == (Metrics(), None)
    assert found.reason == "training loss is not finite in epoch 1"


def test_running_out_of_gpu_memory_is_a_result_and_the_next_run_is_clean(
    tiny: Path, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any, **__: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", no_memory)
        found = finetune(config_of(tiny))
    assert (found.status, found.metrics) == ("failed", Metrics())
    assert found.reason == "out of GPU memory at batch size 64"
    assert finetune(config_of(tiny)).metrics == record.metrics


def test_a_model_that_cannot_take_the_images_is_a_failed_record_and_exit_code_0(
    tiny: Path, tmp_path: Path
) -> None:
    import safetensors.torch
    import timm

    model = "levit_128s.fb_dist_in1k"  # of a fixed 224 pixels
    state = timm.create_model(model).state_dict()
    safetensors.torch.save_file(state, tmp_path / f"{model}.safetensors")
    config = config_of(tiny, "weights=folder", f"weights.path={tmp_path}", f"model={model}")
    with open_dict(config):
        config.out = str(tmp_path / "record.json")
    main(config)
    found = read_record(tmp_path / "record.json")
    assert found.status == "failed"
    assert found.reason == "takes images of 224 pixels only, not of 32"


def test_a_fault_that_is_not_the_models_leaves_no_record(tiny: Path, tmp_path: Path) -> None:
    config = config_of(tiny)
    with open_dict(config):
        config.out, config.data = str(tmp_path / "record.json"), str(tmp_path / "none")
    with pytest.raises(PipelineError, match="no prepared dataset here"):
        main(config)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_record_that_another_process_is_making_is_refused(tiny: Path, tmp_path: Path) -> None:
    config = config_of(tiny)
    with open_dict(config):
        config.out = str(tmp_path / "0.json")
    code = "import sys; from pathlib import Path; from pipeline.core.processes import hold\n"
    code += "with hold(Path(sys.argv[1]), ''): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / ".0.json.lock")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(TryAgain, match=rf"process {other.pid} on .*, since 20.*, is working"):
            main(config)
        other.kill()
    main(config)
    assert [path.name for path in tmp_path.glob("*")] == ["0.json"]


def test_runs_that_differ_in_one_value_get_records_of_their_own(tiny: Path) -> None:
    paths = {
        record_path(config_of(tiny, "out=adhoc", override))
        for override in ("recipe.lr=0.01", "recipe.lr=0.02", "recipe.epochs=3", "seed=5")
    }
    assert len(paths) == 4
    assert all(path.parent == Path("adhoc") for path in paths)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("recipe.lr=abc", "recipe.lr: Value 'abc'"),
        ("recipe.lr=-1", "recipe.lr=-1.0: write a number above 0"),
        ("recipe.epochs=0", "recipe.epochs=0: write 1 or more"),
        ("recipe.pool=max", "recipe.pool=max"),
        ("recipe.precision=fp17", "did you mean fp16"),
        ("seed=1.5", "seed=1.5: write a whole number"),
        ("seed=abc", "seed=abc: write a whole number"),
        ("seed=true", "seed=True: write a whole number"),
        ("threads=-2", "threads=-2: write auto or a number"),
        ("device=gpu", "device=gpu: write auto, cpu"),
        ("device=mps", "device=mps: write auto, cpu"),
        ("device=null", "device=None: write auto, cpu"),
        ("+speed.channel_last=true", "unknown key speed.channel_last: did you mean channels_last"),
        ("weights=hub model=convnext_tiny", "loads other weights today"),
        ("image_size=48", "no squish array at 48 pixels"),
    ],
)
def test_a_bad_value_is_one_clear_line(tiny: Path, override: str, line: str) -> None:
    with pytest.raises(PipelineError) as caught:
        finetune(config_of(tiny, *override.split()))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_trainer_ends_when_the_dvc_that_started_it_is_killed(tiny: Path, tmp_path: Path) -> None:
    """The parent here is a shell that stands for DVC: it waits for the trainer and is killed."""
    overrides = [*_command_line(tiny), "recipe.epochs=500", f"out={tmp_path}/0.json"]
    parent = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import subprocess, sys; p = subprocess.Popen(sys.argv[1:]); "
            "print(p.pid, flush=True); p.wait()",
            *(sys.executable, "-m", "pipeline.finetune", *overrides),
        ],
        cwd=ROOT,
        env={**os.environ, "DVC_STAGE": "finetune@x"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    trainer = int(parent.stdout.readline())
    assert "epoch 1/" in parent.stdout.readline(), "it trains"
    parent.kill()
    parent.wait()
    assert _gone_within(trainer, seconds=10)
    assert not (tmp_path / "0.json").exists()


def _command_line(data: Path) -> list[str]:
    return [
        *(f"dataset={data.name}", f"model={MODEL}", "recipe=quickstart", "seed=0"),
        *("weights=wheel", "image_size=32", "threads=1", f"data={data}", "recipe.batch_size=64"),
    ]


def _gone_within(pid: int, seconds: float) -> bool:
    import psutil

    try:
        psutil.Process(pid).wait(timeout=seconds)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


@pytest.mark.slow
def test_the_command_writes_the_record_and_shows_its_epochs(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "0.json"
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.finetune", *_command_line(tiny), f"out={out}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if "epoch " in line]
    assert lines[-1].startswith("digits  tf_efficientnet_lite0.in1k  quickstart  seed 0  error 0.")
    assert json.loads(out.read_text())["status"] == "ok"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
def test_a_multirun_gives_every_run_a_record_of_its_own(tiny: Path, tmp_path: Path) -> None:
    overrides = [*_command_line(tiny), "recipe.least_steps=0", f"out={tmp_path}"]
    overrides += ["recipe.epochs=1", "recipe.lr=0.0005,0.001"]
    subprocess.run(
        [sys.executable, "-m", "pipeline.finetune", "--multirun", *overrides],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = sorted(read_record(path).config["recipe"]["lr"] for path in tmp_path.glob("*.json"))
    assert found == [0.0005, 0.001]
