"""What a sweep will take: which source is believed, how it is scaled, and what stays unknown."""

import json
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pynvml
import pytest
from study_fakes import CPU, LITE, TRAIN, write_failure, write_imagenet, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.core.command import duration
from pipeline.core.errors import PipelineError
from pipeline.estimates import planned
from pipeline.estimates.calibration import (
    Calibration,
    Step,
    device_named,
    file_of,
    short_name_of,
    write_calibration,
)
from pipeline.estimates.estimate import (
    OPTIMISTIC,
    OtherSeeds,
    ScaledTable,
    TimedRun,
    Work,
    error_factor,
    images_of,
    measured_over_estimated,
    rows_of_device,
    sources,
    start_up_of,
    timed_run,
    training_speeds,
)
from pipeline.estimates.planned import estimate_lines, not_prepared, time_of_fits, work_of
from pipeline.records import Device, read_record
from pipeline.results import read_results
from pipeline.study.params import Cell, read_study
from pipeline.timm_results.imagenet import read_imagenet

DEVICE = "Some CPU, 2 threads"
IMAGES = images_of(1437, 360, epochs=2)


def run_of(model: str, seconds: float, seed: int = 0, **changes: Any) -> TimedRun:
    work = {"dataset": "digits", "model": model, "recipe": "quickstart", "image_size": 64}
    return TimedRun(Work(**{**work, "images": IMAGES, **changes}), seed, seconds, None)


def test_a_validation_image_counts_a_third_of_a_training_image() -> None:
    assert images_of(n_train=100, n_valid=30, epochs=5) == pytest.approx(5 * 110)


def test_a_record_tells_its_work_from_what_it_did(tmp_path: Path) -> None:
    run = timed_run(read_record(write_run(tmp_path, LITE[0], 1, 0.1)))
    assert run is not None
    assert run.work == Work("digits", LITE[0], "quickstart", 64, IMAGES)
    assert run.fit_seconds == 21
    assert timed_run(read_record(write_failure(tmp_path, LITE[0], 1, "out of memory"))) is None
    cost = {"fit_seconds": -1.0}
    assert timed_run(read_record(write_run(tmp_path, LITE[0], 1, 0.1, cost=cost))) is None


def test_more_images_and_more_pixels_are_more_work() -> None:
    work = run_of("a", 1.0).work
    assert run_of("a", 1.0, images=2 * IMAGES).work.megapixels == 2 * work.megapixels
    assert run_of("a", 1.0, image_size=128).work.megapixels == 4 * work.megapixels


def test_a_table_is_scaled_by_the_models_that_are_known_here_too() -> None:
    table = ScaledTable("timm", {"a": 100.0, "b": 50.0, "c": 10.0}, {"a": 20.0, "b": 5.0}, 3.0)
    assert table.speed(run_of("c", 0).work) == pytest.approx(10 * 0.15)
    assert table.speed(run_of("d", 0).work) is None


def test_a_hidden_run_says_nothing_of_itself() -> None:
    runs = [run_of("a", 10.0, seed=0), run_of("a", 20.0, seed=1)]
    ratios = measured_over_estimated(OtherSeeds(runs), runs)
    assert ratios == {runs[0]: pytest.approx(0.5), runs[1]: pytest.approx(2.0)}
    alone = ScaledTable("timm", {"a": 1.0}, {"a": runs[0].speed}, 3.0, unscaled=10.0)
    assert measured_over_estimated(alone, runs[:1]) == {}


def test_how_far_a_source_is_off_is_assumed_until_five_runs_have_shown_it() -> None:
    runs = [run_of("a", seconds, seed) for seed, seconds in enumerate([10, 10, 10, 10, 20])]
    assert error_factor(OtherSeeds(runs[:4]), runs[:4]) == (1.25, False)
    factor, shown = error_factor(OtherSeeds(runs), runs)
    assert shown
    assert 1 < factor <= 2


def test_nine_of_ten_estimates_are_within_the_factor_that_runs_have_shown() -> None:
    seconds = np.random.default_rng(4).lognormal(3, 0.5, 41)
    runs = [run_of("a", each, seed) for seed, each in enumerate(seconds)]
    factor, shown = error_factor(OtherSeeds(runs), runs)
    off = []  # as a factor, of each run's time from the middle of the others' speeds
    for number, each in enumerate(seconds):
        estimate = 1 / statistics.median(1 / np.delete(seconds, number))
        off.append(max(each / estimate, estimate / each))
    assert shown
    assert factor == pytest.approx(sorted(off)[36])  # of 41, four are above


def test_the_largest_benchmark_file_of_a_device_counts_and_dynamo_does_not(tmp_path: Path) -> None:
    table = read_imagenet(write_imagenet(tmp_path / "imagenet.csv")).assign(device="rtx4090")
    few = table[table["model"] == LITE[0]].assign(benchmark_file="benchmark-train-few.csv")
    compiled = pd.concat([table, table]).assign(
        benchmark_file="benchmark-train-dynamo.csv", compile="dynamo"
    )
    other = table.assign(benchmark_file="benchmark-train-other.csv", device="rtx3090")
    whole = pd.concat([few, compiled, other, table], ignore_index=True)
    found = rows_of_device(whole, "train", Device(kind="cuda", name="NVIDIA GeForce RTX 4090"))
    assert set(found["benchmark_file"]) == {TRAIN}
    assert set(found["mode"]) == {"train"}
    assert len(found) == 6
    assert rows_of_device(whole, "train", Device(kind="cuda", name="RTX 2080")).empty
    study = read_study(write_study(tmp_path))
    speeds = training_speeds(study, found)
    assert speeds == pytest.approx(
        {model: (4000 - 500 * n) / 4 * 224**2 / 1e6 for n, model in enumerate(LITE)}
    )
    infer = rows_of_device(whole, "infer", Device(kind="cuda", name="RTX 4090"))
    assert training_speeds(study, infer) == pytest.approx(
        {model: (4000 - 500 * n) / 3 * 224**2 / 1e6 for n, model in enumerate(LITE)}
    )


def test_a_table_needs_five_models_to_show_how_far_it_is_off() -> None:
    models = [f"m{number}" for number in range(5)]
    runs = [run_of(model, 10.0, seed) for model in models for seed in range(5)]
    known = {run.work.model: run.speed for run in runs}
    table = ScaledTable("timm", dict.fromkeys(models, 1.0), known, 3.0)
    assert error_factor(table, runs) == (pytest.approx(1.0), True)
    assert error_factor(table, runs[:20]) == (3.0, False)


def random_runs(n: int, n_models: int, seed: int) -> list[TimedRun]:
    """Warm and cold, with start-ups that are known and that are not."""
    rng = np.random.default_rng(seed)
    runs = []
    for number in range(n):
        run = run_of(f"m{rng.integers(n_models)}", rng.uniform(10, 20), number)
        start_up = rng.uniform(1, 5) if rng.random() < 0.8 else None
        runs.append(replace(run, start_up_seconds=start_up, warm=bool(rng.random() < 0.3)))
    return runs


@pytest.mark.parametrize("n_models", [1, 4, 12])
def test_each_run_is_estimated_as_if_it_had_not_been_made(n_models: int) -> None:
    runs = random_runs(20, n_models, n_models)
    models = {run.work.model for run in runs}
    table = ScaledTable("timm", dict.fromkeys(models, 1.0), dict.fromkeys(models, 2.0), 3.0, 10.0)
    for source in (OtherSeeds(runs), table):
        expected = {}
        for hidden in runs:
            speed, start_up = source.speed(hidden.work, hidden), 0.0
            others = [run for run in runs if run is not hidden]
            if source is table:
                others = [run for run in runs if run.work.model != hidden.work.model]
            if hidden.start_up_seconds is not None:
                start_up = start_up_of(hidden.work.model, others, hidden.warm)
            if speed is not None:
                estimate = hidden.work.megapixels / speed + start_up
                expected[hidden] = hidden.fit_seconds / estimate
        assert measured_over_estimated(source, runs) == expected


def test_how_far_sources_are_off_takes_no_longer_for_each_run_where_there_are_more() -> None:
    runs = random_runs(6000, 100, 0)
    begun = time.process_time()
    measured_over_estimated(OtherSeeds(runs), runs)
    assert time.process_time() - begun < 2  # 0.2 s; 7 s where each run looks through all


def test_a_record_is_read_again_only_where_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(planned, "read_record", lambda path: read.append(path) or read_record(path))
    paths = [write_run(tmp_path, LITE[0], seed, 0.1) for seed in range(3)]
    assert len(planned.readable_records(tmp_path)) == 3
    assert planned.readable_records(tmp_path) == list(map(planned.record_at, paths))
    assert read == paths
    write_run(tmp_path, LITE[0], 1, 0.3)
    assert planned.record_at(paths[1]).metrics.error_rate == 0.3
    assert read == [*paths, paths[1]]
    paths[2].write_text("{")
    assert len(planned.readable_records(tmp_path)) == 2
    with pytest.raises(PipelineError):
        planned.record_at(paths[2])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study with nothing run yet, on a CPU; the dataset is prepared."""
    write_study(tmp_path, seeds=[0, 1, 2])
    write_imagenet(tmp_path / "data/imagenet.csv")
    (tmp_path / "conf/recipe").mkdir(parents=True)
    (tmp_path / "conf/recipe/quickstart.yaml").write_text("{epochs: 1, frozen_epochs: 1}")
    prepare(tmp_path, "digits")
    monkeypatch.setattr(planned, "visible_gpus", list)
    monkeypatch.setattr(planned, "cpu_name", lambda: "Some CPU")
    return tmp_path


def prepare(folder: Path, dataset: str) -> None:
    meta = folder / "data/datasets" / dataset / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"n_train": 1437, "n_valid": 360}))


def cell(model: str, seed: int, dataset: str = "digits") -> Cell:
    return Cell(dataset, model, "quickstart", seed)


def lines(folder: Path, cells: list[Cell], jobs: int = 1, price: float | None = None) -> str:
    return "\n".join(estimate_lines(folder, cells, 2, jobs, price))


def test_other_seeds_are_believed_before_other_models_and_each_is_named(project: Path) -> None:
    write_run(project / "data/runs", LITE[0], 0, 0.1)
    said = lines(project, [cell(LITE[0], 1), cell(LITE[0], 2), cell(LITE[1], 0)])
    assert f"3 of 3 fits estimated, on {DEVICE}, 1 at a time:" in said
    assert "2 from other seeds of the same cell: within a factor of 1.25" in said
    assert "1 from timm's training speeds on rtx3090: within a factor of 3, assumed" in said
    seconds = 2 * 20 + 20 * 4000 / 3500  # the second model is published as so much slower
    assert f"time    {duration(seconds)} (" in said


def test_a_sweep_says_in_a_line_how_long_its_fits_will_take(project: Path) -> None:
    def told(cells: list[Cell]) -> str:
        return time_of_fits(project, cells, threads=2, jobs=2)

    assert told([cell(LITE[0], 1)]) == "how long they take is known once one has ended"
    write_run(project / "data/runs", LITE[0], 0, 0.1)
    assert told([cell(LITE[0], seed) for seed in (1, 2)]) == "about 20.0 s (16.0 s to 25.0 s)"
    both = [cell(LITE[0], 1), cell(LITE[0], 0, "unprepared")]
    assert told(both).startswith("1 of them take about 10.0 s")


def test_jobs_divide_the_time_and_the_price_is_for_the_whole(project: Path) -> None:
    write_run(project / "data/runs", LITE[0], 0, 0.1)
    cells = [cell(LITE[0], seed) for seed in (1, 2)]
    said = lines(project, cells, jobs=2, price=3600.0)
    assert "time    20.0 s (16.0 s to 25.0 s)" in said
    assert "cost    20.00 (16.00 to 25.00), at 3600 an hour" in said
    assert "cost" not in lines(project, cells)
    assert "time    20.0 s" in lines(project, cells, jobs=8)


def test_energy_is_told_where_runs_measured_it_and_unknown_elsewhere(project: Path) -> None:
    cost = {"fit_seconds": 20.0, "energy_wh": None}
    write_run(project / "data/runs", LITE[0], 0, 0.1, cost=cost)
    assert "energy  unknown: never measured here" in lines(project, [cell(LITE[0], 1)])
    write_run(project / "data/runs", LITE[0], 0, 0.1, cost={**cost, "energy_wh": 0.5})
    assert "energy  0.5 Wh" in lines(project, [cell(LITE[0], 1)])


def test_what_no_source_knows_is_counted_and_not_guessed(project: Path) -> None:
    said = lines(project, [cell(LITE[0], 0), cell(LITE[0], 0, "pets")])
    assert "0 of 2 fits estimated" in said
    why = "1 not estimated: nothing shows how fast such models run on this device"
    assert f"{why}: one finished run is a start, or `python -m pipeline.calibrate`" in said
    (project / "data/imagenet.csv").unlink()
    assert f"{why}: `dvc repro merge` makes data/imagenet.csv" in lines(project, [cell(LITE[0], 0)])
    command = "python -m pipeline.dataset dataset=pets image_size=64"
    needs = f"1 not estimated: pets is not prepared yet: run `{command}`"
    assert f"{needs}, then: one finished run is a start, or `python -m pipeline.calibrate`" in said
    assert "time" not in said.replace("at a time", "")
    write_run(project / "data/runs", LITE[0], 0, 0.1)  # now the images alone are missing
    assert f"{needs}\n" in lines(project, [cell(LITE[0], 0, "pets"), cell(LITE[0], 0)]) + "\n"


def test_a_dataset_of_the_study_is_prepared_by_its_stage(project: Path) -> None:
    study = read_study(project / "params.yaml")
    raced = replace(study, datasets=("digits", "pets"), raced_datasets=("pets",))
    command = "python -m pipeline.dataset dataset=pets image_size=64"
    assert not_prepared(study, "pets") == f"pets is not prepared yet: run `{command}`"
    assert not_prepared(raced, "pets").endswith("run `dvc repro merge dataset_raced@pets`")
    assert not_prepared(raced, "digits").endswith("run `dvc repro merge dataset@digits`")


def test_a_damaged_record_and_other_devices_runs_tell_nothing(project: Path) -> None:
    other = {**CPU, "name": "Another CPU"}
    write_run(project / "data/runs", LITE[0], 0, 0.1, device=other)
    write_run(project / "data/runs", LITE[0], 1, 0.1).write_text("{")
    assert "0 of 1 fit estimated" in lines(project, [cell(LITE[0], 3)])


def test_runs_that_shared_the_device_count_only_where_there_are_no_others(project: Path) -> None:
    cost, why = {"fit_seconds": 90.0}, "the device was shared"
    write_run(project / "data/runs", LITE[0], 2, 0.1, cost=cost, not_for_speed=why)
    said = lines(project, [cell(LITE[0], 3)])
    assert "time    1 min 30 s" in said
    assert "others used the device during each run known here: a guide at best" in said
    unknown = lines(project, [cell(LITE[0], 3, "unprepared")])
    assert "0 of 1 fit estimated" in unknown
    assert "a guide at best" not in unknown
    write_run(project / "data/runs", LITE[0], 0, 0.1)
    said = lines(project, [cell(LITE[0], 3)])
    assert "time    20.0 s" in said
    assert "shared" not in said


def test_a_dataset_that_is_not_prepared_is_known_from_its_records(project: Path) -> None:
    record = read_record(write_run(project / "data/runs", LITE[0], 0, 0.1, dataset="pets"))
    work = Work("pets", LITE[0], "quickstart", 64, IMAGES)
    assert work_of(project, cell(LITE[0], 0, "pets"), 64, [record], with_valid=False) == work


def test_without_a_fit_there_is_nothing_to_estimate(project: Path) -> None:
    assert estimate_lines(project, [], 1, 1, None) == []


def on(
    device: str, speeds: dict[str, float], mode: str, backend: str = "cu132", by: str = "own"
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A change of imagenet.csv: one more benchmark file, of `device`."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        rows = table[table["benchmark_file"] == TRAIN].assign(
            benchmark_file=f"benchmark-{mode}-of-{device}.csv",
            device=device,
            mode=mode,
            backend=backend,
            measured_by=by,
        )
        rows = rows[rows["model"].isin(speeds)]
        return pd.concat([table, rows.assign(samples_per_second=rows["model"].map(speeds))])

    return change


def first(folder: Path, device: Device | str, model: str, *changes: Any) -> Any:
    """The source that is believed of `model` on a device without runs, and its speed."""
    table = read_imagenet(folder / "data/imagenet.csv")
    for change in changes:
        table = change(table)
    work = run_of(model, 1).work
    study = read_study(folder / "params.yaml")
    known = device if isinstance(device, Device) else Device(kind="cuda", name=device)
    asked = sources(study, table, known, [])
    return next(((each, each.speed(work)) for each in asked if each.speed(work)), (None, None))


def test_this_machines_own_benchmark_comes_first(project: Path) -> None:
    source, speed = first(project, "Big GPU 9", LITE[1], on("big_gpu_9", {LITE[1]: 70.0}, "train"))
    assert source.name == "a benchmark of this device"
    assert source.assumed == 3.0
    assert speed == pytest.approx(70 * 224**2 / 1e6)


def test_timms_speeds_alone_are_not_trusted_as_much_as_a_benchmark_made_here(project: Path) -> None:
    """timm times large batches in half precision; fits took three times as long and more."""
    train = on("big_gpu_9", {LITE[1]: 70.0}, "train", by="timm")
    source, _ = first(project, "Big GPU 9", LITE[1], train)
    assert (source.name, source.assumed) == ("timm's benchmark of this device", 10.0)
    assert first(project, "Big GPU 9", LITE[2], train)[0].assumed == 10.0  # a ratio of timm's two
    infer = on("big_gpu_9", {LITE[0]: 6000.0}, "infer")
    assert first(project, "Big GPU 9", LITE[2], infer)[0].assumed == 3.0


def test_a_device_that_is_not_at_hand_is_named_as_tables_or_records_name_it(project: Path) -> None:
    table = read_imagenet(project / "data/imagenet.csv")
    table = on("i9_10940x", {LITE[0]: 10.0}, "infer", backend="cpu", by="timm")(table)
    seen = read_record(write_run(project / "data/runs", LITE[0], 0, 0.1))
    h100 = Device(kind="cuda", name="NVIDIA H100 80GB HBM3")
    steps = [Step("resnet18", 224, 32, 0.1, 10)]
    write_calibration(file_of(project, h100), Calibration(h100, "quickstart", 32, steps))

    def named(name: str) -> Device:
        return device_named(name, project, [seen], table)

    assert named("rtx3090") == named("NVIDIA GeForce RTX 3090") == Device("cuda", "rtx3090")
    assert named("h100_80gb_hbm3") == named("NVIDIA H100 80GB HBM3") == h100
    cpu = seen.device.compared
    assert named(str(cpu.label)) == named(short_name_of(cpu)) == cpu
    for unknown in ("i9_10940x", "a100"):  # timm does not say with how many threads
        with pytest.raises(PipelineError, match=f"--fit-on {unknown}: no speed of it is known"):
            named(unknown)
    other = r"`python -m pipeline\.calibrate` on such a machine writes a file for data/calibration/"
    with pytest.raises(
        PipelineError, match=f"`dvc repro merge` brings the GPUs of timm's.*; {other}"
    ):
        device_named("rtx3090", project, [seen], None)


def test_fits_are_estimated_for_a_device_that_is_not_at_hand(project: Path) -> None:
    said = "\n".join(estimate_lines(project, [cell(LITE[0], 0)], 1, 1, 0.5, "rtx3090"))
    assert "1 of 1 fit estimated, on rtx3090, 1 at a time:" in said
    assert "1 from timm's benchmark of this device: within a factor of 10, assumed" in said
    assert said.endswith(
        "  at 64 pixels a fit on a GPU is mostly start-up and waiting for the host, which no run "
        "there has timed: expect many times more"
    )
    write_run(project / "data/runs", LITE[0], 0, 0.1)  # on this machine: it says nothing of another
    assert said == "\n".join(estimate_lines(project, [cell(LITE[0], 0)], 1, 1, 0.5, "rtx3090"))


def test_an_estimate_by_timms_speeds_alone_says_that_its_middle_is_low(
    project: Path, root: Path
) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("image_size: 64", "image_size: 224"))
    said = estimate_lines(project, [cell(LITE[0], 0)], 1, 1, None, "rtx3090")
    assert said[-1] == f"  {OPTIMISTIC}"
    pets, planet = re.findall(r"\d\.\d", OPTIMISTIC)
    docs = " ".join((root / "docs/sweep.md").read_text(encoding="utf-8").split())
    assert f"took {pets} times (Pets, n = 407) and {planet} times (Planet, n = 409)" in docs
    device = {**CPU, "kind": "cuda", "name": "rtx3090"}
    write_run(project / "data/runs", LITE[0], 0, 0.1, device=device)
    assert OPTIMISTIC not in "\n".join(
        estimate_lines(project, [cell(LITE[0], 0)], 1, 1, None, "rtx3090")
    )


def test_of_a_device_without_runs_a_calibration_tells_more_than_timms_file(project: Path) -> None:
    gpu = Device(kind="cuda", name="rtx3090")
    archs = ["resnet18", *(model.partition(".")[0] for model in LITE)]
    steps = [Step(arch, 64, 32, 0.1, 10) for arch in archs]
    write_calibration(file_of(project, gpu), Calibration(gpu, "quickstart", 32, steps))
    write_imagenet(project / "data/imagenet.csv", [*LITE, "resnet18"])
    said = "\n".join(estimate_lines(project, [cell(LITE[0], 0)], 1, 1, None, "rtx3090"))
    assert "1 from a calibration of this device: within a factor of 1.5, assumed" in said
    assert "waiting for the host" not in said  # the calibration has timed that


def test_own_tables_that_charts_name_are_called_own_and_asked_once(project: Path) -> None:
    table = read_imagenet(project / "data/imagenet.csv").assign(measured_by="own")
    study = read_study(project / "params.yaml")
    names = [
        [source.name for source in sources(study, table, Device(kind="cuda", name=device), [])]
        for device in ("Small GPU 1", "NVIDIA GeForce RTX 3090")
    ]
    elsewhere = ["own training speeds on rtx3090", "own inference speeds on rtx3090"]
    assert names[0][-2:] == [f"{name}, unscaled" for name in elsewhere]
    assert names[1][0] == "a benchmark of this device"
    assert names[1][-1] == elsewhere[1]
    assert elsewhere[0] not in names[1]


def test_a_cpus_benchmark_is_of_as_many_threads(project: Path) -> None:
    table = on("amd_epyc", {LITE[1]: 70.0}, "train", backend="cpu2")
    two, one = (Device(kind="cpu", name="AMD EPYC", threads=threads) for threads in (2, 1))
    assert first(project, two, LITE[1], table)[1] is not None
    assert first(project, one, LITE[1], table) == (None, None)


def test_timms_training_speeds_are_scaled_by_a_published_inference_file_of_the_device(
    project: Path,
) -> None:
    """Trained at 1000 on timm's card; inference here is 6000, which is training at 2000."""
    twin = on("big_gpu_9", {LITE[0]: 6000.0}, "infer")
    source, speed = first(project, "Big GPU 9", LITE[2], twin)
    assert source.name == "timm's training speeds on rtx3090"
    assert speed == pytest.approx(2 * 750 * 224**2 / 1e6)


def test_a_published_speed_of_nothing_is_none(project: Path) -> None:
    nothing = on("big_gpu_9", {LITE[1]: 0.0}, "train")
    assert "unscaled" in first(project, "Big GPU 9", LITE[1], nothing)[0].name


def test_an_unknown_gpu_is_told_with_a_wide_range_and_an_unknown_cpu_not_at_all(
    project: Path,
) -> None:
    source, speed = first(project, "New GPU", LITE[0])
    assert source.name == "timm's training speeds on rtx3090, unscaled"
    assert source.assumed == 10
    assert speed == pytest.approx(1000 * 224**2 / 1e6)
    assert first(project, Device(kind="cpu", name="Old CPU", threads=1), LITE[0]) == (None, None)


def test_the_results_tell_what_each_run_took_by_what_each_source_had_said(tmp_path: Path) -> None:
    write_study(tmp_path)
    write_imagenet(tmp_path / "imagenet.csv")
    for seed in (0, 1):
        write_run(tmp_path / "runs", LITE[0], seed, 0.1)
        write_run(tmp_path / "runs", LITE[1], seed, 0.1, cost={"fit_seconds": 40.0})
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(tmp_path / name for name in names))
    table = read_results(tmp_path / "results").estimates.set_index(["source", "model", "seed"])
    seeds = "other seeds of the same cell"
    assert table.loc[(seeds, LITE[0], 1), "ratio"] == pytest.approx(21 / 20)
    assert table.loc[(seeds, LITE[0], 1), "estimated_seconds"] == pytest.approx(20)
    speeds = "timm's training speeds on rtx3090"
    assert table.loc[(speeds, LITE[0], 0), "estimated_seconds"] == pytest.approx(40 * 3500 / 4000)


def test_a_gpu_that_no_driver_tells_of_has_no_name_and_stops_no_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert planned.this_device(1) == Device(kind="cuda", name="this GPU")
