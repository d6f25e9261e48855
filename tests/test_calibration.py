"""A minute of training steps: how well fits are estimated by it, and of what it says nothing."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from study_fakes import LITE, write_imagenet, write_study

from pipeline.calibrate import __main__ as calibrate
from pipeline.core.errors import PipelineError
from pipeline.estimates.calibration import (
    Calibration,
    Step,
    calibrated_speeds,
    file_of,
    parameter_tensors,
    prices,
    published_pace,
    read_calibration,
    write_calibration,
)
from pipeline.estimates.estimate import sources, timed_run
from pipeline.records import Device, read_record
from pipeline.study.params import read_study
from pipeline.timm_results.imagenet import read_imagenet

GPU = Device(kind="cuda", name="Some GPU 1")
ARCHS = ["resnet18", "resnet101", "regnety_016", "convnext_tiny", "vit_base_patch16_224"]
PACE = dict(zip(ARCHS, (1e-3, 5e-3, 2e-3, 4e-3, 9e-3), strict=True))
BATCH, SIZE = 32, 224
MEGAPIXELS = BATCH * SIZE**2 / 1e6


def step(arch: str, price: tuple[float, float, float], pace: dict[str, float]) -> Step:
    """What a net's step takes at these prices."""
    costs = (1.0, parameter_tensors()[arch], MEGAPIXELS * pace[arch])
    return Step(arch, SIZE, BATCH, float(np.dot(price, costs)), 9)


def test_the_prices_of_a_step_are_found_again_and_none_is_negative() -> None:
    true = (0.01, 1e-4, 2.0)
    assert prices([step(arch, true, PACE) for arch in ARCHS], PACE) == pytest.approx(true)
    only_host = [step(arch, (0.02, 0.0, 0.0), PACE) for arch in ARCHS]
    assert prices(only_host, PACE) == pytest.approx((0.02, 0.0, 0.0))
    assert prices(only_host[:3], PACE) is None


def test_tensors_are_counted_as_timm_builds_the_nets() -> None:
    from benchmarks.parameter_tensors import tensors_of

    assert len(parameter_tensors()) > 1100
    for arch in ("resnet18", "tf_efficientnet_lite0", "test_vit"):
        assert parameter_tensors()[arch] == tensors_of(arch)


def calibrated(root: Path, device: Device = GPU, **changes: Any) -> Calibration:
    """A calibration on disk, by the paces that write_imagenet has for the three models."""
    steps = [step(arch, (0.01, 1e-4, 2.0), PACE) for arch in ARCHS]
    found = Calibration(device, "quickstart", BATCH, steps, **changes)
    write_calibration(file_of(root, device), found)
    return found


def test_a_calibration_is_of_its_device_and_threads_alone(tmp_path: Path) -> None:
    two = Device(kind="cpu", name="Some CPU", threads=2)
    found = calibrated(tmp_path, two)
    assert read_calibration(tmp_path, two) == found
    for other in (Device(kind="cpu", name="Some CPU", threads=1), GPU):
        assert read_calibration(tmp_path, other) is None
    file_of(tmp_path, GPU).write_bytes(file_of(tmp_path, two).read_bytes())
    assert read_calibration(tmp_path, GPU) is None  # a file by another device's name


@pytest.mark.parametrize("content", ["", "{}", '{"format": 9}', '{"format": 1, "steps": 3}'])
def test_a_damaged_calibration_is_one_line_that_says_how_to_repeat_it(
    tmp_path: Path, content: str
) -> None:
    calibrated(tmp_path)
    file_of(tmp_path, GPU).write_text(content)
    with pytest.raises(PipelineError, match=r"run `python -m pipeline\.calibrate` again"):
        read_calibration(tmp_path, GPU)


def test_a_device_without_runs_is_estimated_by_its_calibration(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path))
    archs = [model.partition(".")[0] for model in LITE]
    table = read_imagenet(write_imagenet(tmp_path / "imagenet.csv", [*LITE, *ARCHS]))
    pace = published_pace(table, study.charts["infer"], study.image_size)
    true = (0.01, 1e-4, 2.0)
    steps = [step(arch, true, pace) for arch in ARCHS]
    found = Calibration(GPU, "quickstart", BATCH, steps)
    speeds = calibrated_speeds(found, study, table)
    megapixels = BATCH * study.image_size**2 / 1e6
    costs = (1.0, parameter_tensors()[archs[1]], megapixels * pace[archs[1]])
    assert speeds[LITE[1]] == pytest.approx(megapixels / np.dot(true, costs))
    asked = sources(study, table, GPU, [], found)
    assert [source.name for source in asked][3] == "a calibration of this device"
    assert asked[3].assumed == 1.5


def within(ratios: list[float], factor: float = 1.5) -> float:
    return float(np.mean(np.abs(np.log(ratios)) <= np.log(factor)))


def published(shared: Path) -> dict[str, float]:
    """Seconds of inference per megapixel on timm's RTX 3090, by architecture."""
    table = pd.read_csv(
        shared / "timm-results/benchmark-infer-amp-nhwc-pt113-cu117-rtx3090.csv"
    ).drop_duplicates("model")
    pixels = table["infer_samples_per_sec"] * table["infer_img_size"] ** 2
    return dict(zip(table["model"], 1e6 / pixels, strict=True))


def seconds_of(arch: str, price: np.ndarray, pace: dict[str, float]) -> float:
    return float(price @ (1.0, parameter_tensors()[arch], MEGAPIXELS * pace[arch]))


@pytest.mark.parametrize(
    ("dataset", "images", "middle", "factor"),
    [("pets", 5912 + 1478 / 3, 3.0, 7.9), ("planet", 800 + 200 / 3, 4.4, 12.6)],
)
def test_timms_training_speeds_alone_are_off_by_as_much_as_the_docs_say(
    shared: Path, dataset: str, images: float, middle: float, factor: float
) -> None:
    """Fits of 2022 on unnamed GPUs over what timm's RTX 3090 would take for as many images."""
    table = pd.read_csv(
        shared / "timm-results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv"
    ).assign(arch=lambda rows: rows["model"].str.partition(".")[0])
    table["off"] = (table["train_img_size"] - SIZE).abs()
    table = table.sort_values("off", kind="stable").drop_duplicates("arch").set_index("arch")
    speed = table["train_samples_per_sec"] * table["train_img_size"] ** 2
    runs = pd.read_csv(shared / "reference/sweep_2022.csv").dropna(subset=["error_rate"])
    runs = runs[runs["dataset"] == dataset]
    seconds = 6 * images * SIZE**2 / runs["model_name"].map(speed)
    ratios = (runs["fit_time"] / seconds).dropna()
    assert len(ratios) > 400
    assert ratios.median() == pytest.approx(middle, abs=0.05)
    assert np.exp(np.quantile(np.abs(np.log(ratios)), 0.9)) == pytest.approx(factor, abs=0.05)


@pytest.mark.parametrize(
    ("dataset", "images"), [("pets", 5912 + 1478 / 3), ("planet", 800 + 200 / 3)]
)
def test_nine_of_ten_fits_of_2022_are_within_a_factor_of_one_and_a_half_by_six_of_them(
    shared: Path, dataset: str, images: float
) -> None:
    """The six nets' records stand for a calibration; all records of the others are left out."""
    with (shared / "reference/models_2022.csv").open(encoding="utf-8") as file:
        names = {row["old_name"]: row["new_name"] for row in csv.DictReader(file)}
    runs = pd.read_csv(shared / "reference/sweep_2022.csv").dropna(
        subset=["fit_time", "error_rate"]
    )
    runs = runs[(runs["dataset"] == dataset) & runs["model_name"].isin(names)]
    arch = runs["model_name"].map(names).str.partition(".")[0]
    runs = runs.assign(arch=arch, step=runs["fit_time"] / (6 * images / BATCH))
    pace = published(shared)
    runs = runs[arch.isin(pace.keys() & parameter_tensors().keys())]
    timed_nets = {"efficientnet_lite0", *ARCHS}
    medians = runs[runs["arch"].isin(timed_nets)].groupby("arch")["step"].median()
    steps = [Step(str(name), SIZE, BATCH, float(each), 9) for name, each in medians.items()]
    assert len(steps) == 6
    price = prices(steps, pace)
    assert price is not None
    rest = runs[~runs["arch"].isin(timed_nets)]
    assert len(rest) > 300
    ratios = [row.step / seconds_of(row.arch, price, pace) for row in rest.itertuples()]
    print(f"{dataset}: n = {len(ratios)}, {rest['arch'].nunique()} nets, {within(ratios):.3f}")
    assert within(ratios) >= 0.9


def test_sixteen_records_of_an_h100_are_within_one_and_a_half_when_their_model_is_left_out(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of their four models give the three prices, by all their seeds."""
    monkeypatch.setattr("pipeline.estimates.calibration.FEWEST", 3)
    pace = published(shared)
    runs = [
        timed_run(read_record(path)) for path in sorted((shared / "gpu/records").glob("*.json"))
    ]
    speeds: dict[str, list[float]] = {}
    for run in runs:
        assert run is not None
        speeds.setdefault(run.work.model.partition(".")[0], []).append(run.speed)
    ratios = []
    for left_out, its in speeds.items():
        others = [
            Step(arch, SIZE, BATCH, MEGAPIXELS / float(np.median(each)), 9)
            for arch, each in speeds.items()
            if arch != left_out
        ]
        price = prices(others, pace)
        assert price is not None
        estimated = MEGAPIXELS / seconds_of(left_out, price, pace)
        ratios += [estimated / speed for speed in its]
    assert len(ratios) == 16
    assert within(ratios) >= 0.9


def test_what_time_does_not_suffice_for_is_left_out_and_too_few_nets_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each step takes two seconds a GMAC, so the third net would be too dear."""
    import torch

    from pipeline.finetune.recipe import Recipe

    def slow(arch: str, *_: Any) -> Step:
        gmacs = next(net.gmacs for net in calibrate.NETS if net.arch == arch)
        return Step(arch, 64, 16, 10 * gmacs, 1)

    monkeypatch.setattr(calibrate, "_timing", slow)
    recipe = Recipe("r", 1, 0, 0.01, 10, 16, "average", "squish", "fp32")
    config = type("Config", (), {"image_size": 64})
    found = dict(calibrate._timings(config, recipe, torch.device("cpu")))
    timed_here = [net.arch for net, each in found.items() if isinstance(each, Step)]
    assert timed_here == ["tf_efficientnet_lite0"]
    left_out = list(found.values())[1:]
    assert len(left_out) > 3
    assert all("s of a minute are left" in str(each) for each in left_out)
    nothing = Calibration(GPU, "r", 16, [], dict.fromkeys(["a"], "too dear"))
    monkeypatch.setattr(calibrate, "calibrate", lambda *_: nothing)
    with pytest.raises(PipelineError, match="0 architectures could be timed in a minute, 4 are "):
        calibrate.main(params=write_study(tmp_path))
    assert not (tmp_path / "data").exists()


def test_timing_ends_as_soon_as_too_few_nets_can_be_timed_at_the_pace_of_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second net is slow: the third alone would do, but the fourth is needed as well."""
    import torch

    from pipeline.finetune.recipe import Recipe

    def slow(arch: str, *_: Any) -> Step:
        per_gmac = 0.1 if arch == "tf_efficientnet_lite0" else 2.0
        gmacs = next(net.gmacs for net in calibrate.NETS if net.arch == arch)
        return Step(arch, 64, 16, per_gmac * gmacs, 1)

    monkeypatch.setattr(calibrate, "_timing", slow)
    recipe = Recipe("r", 1, 0, 0.01, 10, 16, "average", "squish", "fp32")
    config = type("Config", (), {"image_size": 64})
    found = dict(calibrate._timings(config, recipe, torch.device("cpu")))
    timed_here = [net.arch for net, each in found.items() if isinstance(each, Step)]
    assert timed_here == ["tf_efficientnet_lite0", "regnety_016"]
    assert all("4 nets take 50.3 s more, and " in str(each) for each in [*found.values()][2:])


@pytest.mark.parametrize(("load", "told"), [(9.0, True), (2.0, False)])
def test_a_busy_machine_is_told_before_anything_is_loaded(
    root: Path,
    load: float,
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(calibrate.os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(calibrate.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(calibrate, "_timings", lambda *_: iter(()))
    study = read_study(root / "params.yaml")
    calibrate.calibrate(study, study.recipes[0], 1)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("The machine is busy: a load of 9.0 on 2 cores. ") == told


@pytest.mark.slow
def test_small_nets_are_timed_as_a_fine_tune_trains_them_and_a_failing_one_is_left_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["test_resnet", "test_convnext", "test_efficientnet", "test_byobnet"]
    names.append("levit_128s")
    nets = tuple(calibrate.Net(name, 0.01, 1.0) for name in names)
    monkeypatch.setattr(calibrate, "NETS", nets)
    monkeypatch.setattr(calibrate, "LONGEST_TIMING", 0.2)
    params = tmp_path / "params.yaml"
    params.write_text((root / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    calibrate.main(params=params)
    said = capsys.readouterr().out
    assert "levit_128s: left out: takes images of 224 pixels only" in said
    assert "test_resnet: " in said
    (path,) = (tmp_path / "data/calibration").glob("*-cpu1.json")
    assert path.name in said
    assert '"batch_size": 16' in path.read_text(encoding="utf-8")
