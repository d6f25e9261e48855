"""This machine's own speed: models timed, tables in timm's format, merged like timm's."""

import dataclasses
import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from pipeline.benchmark import timing
from pipeline.benchmark.__main__ import benchmark, image_sizes, main, timing_line
from pipeline.benchmark.timings import ModelTimings, Timing, read_timings, write_timings
from pipeline.configuration import hydra_app
from pipeline.core.errors import PipelineError
from pipeline.merge.__main__ import LEFT_OUT, file_name, merge, models_of, write_own_speed
from pipeline.merge.__main__ import main as merge_main
from pipeline.records import Device
from pipeline.study.params import read_study
from pipeline.timm_results.imagenet import published
from pipeline.timm_results.published_tables import read_benchmark, setup_of, short_name

ROOT = Path(__file__).parent.parent
LITE = [f"tf_efficientnet_lite{n}.in1k" for n in range(3)]
LITE0 = "tf_efficientnet_lite0.in1k"
LEVIT = "levit_128s.fb_dist_in1k"


def config_of(model: str, *overrides: str) -> Any:
    """Seconds on a CPU: two repeats of one step at 32 pixels."""
    small = ["image_size=32", "sizes=study", "warm_up_steps=1", "steps=1", "repeats=2"]
    small += ["least_seconds=0", "device=cpu", "threads=1", "out=out.json"]
    given = {each.partition("=")[0]: each for each in [*small, *overrides]}
    return hydra_app.compose("benchmark", [f"model={model}", "recipe=quickstart", *given.values()])


# How a model is timed


def test_three_models_are_timed_on_this_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    found = [benchmark(config_of(model, "recipe.batch_size=4")) for model in LITE]
    for each in found:
        assert [timing.mode for timing in each.timings] == ["infer", "train"]
        for one in each.timings:
            assert (one.failed, one.img_size, one.batch_size) == (None, 32, 4)
            assert len(one.repeats_samples_per_second) == 2
            assert one.samples_per_second is not None
            assert one.step_ms is not None
            assert one.telemetry["seconds"] * 1000 >= one.step_ms > 0
            assert one.peak_memory_allocated_gib is one.joules_per_sample is None
    params = [each.timings[0].params_m for each in found]
    assert params == [pytest.approx(m, abs=0.005) for m in (4.65, 5.42, 6.09)]
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_the_median_repeat_counts_not_a_hiccup(monkeypatch: pytest.MonkeyPatch) -> None:
    one = timed_with(monkeypatch, [2.0, 2.0, 20.0, 1.0, 2.0], repeats=5)
    assert one.samples_per_second == pytest.approx(10 * 8 / 2.0)
    assert one.step_ms == pytest.approx(200.0)
    assert one.repeats_samples_per_second == [40.0, 40.0, 4.0, 80.0, 40.0]


def test_quick_models_are_repeated_until_their_energy_can_be_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = timed_with(monkeypatch, itertools.repeat(0.5), repeats=2, least_seconds=3.0)
    assert len(one.repeats_samples_per_second) == 6
    assert one.joules_per_sample == pytest.approx(3600 / (6 * 10 * 8))  # of 1 Wh


def timed_with(
    monkeypatch: pytest.MonkeyPatch, seconds: Any, repeats: int, least_seconds: float = 0.0
) -> Timing:
    """A timing whose blocks of ten steps took `seconds`, under a watch that saw 1 Wh."""
    ticks = itertools.chain.from_iterable((0.0, each) for each in seconds)
    watch = SimpleNamespace(energy_wh=1.0, not_for_speed=None, telemetry={})
    watching = SimpleNamespace(__enter__=lambda self: watch, __exit__=lambda *_: None)
    monkeypatch.setattr(timing, "Watch", lambda *_: type("W", (), vars(watching))())
    monkeypatch.setattr(timing, "_infer_step", lambda *_: lambda: None)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    return timing.timing("test_vit", "infer", 160, 8, setup(10, repeats, least_seconds))


def setup(steps: int = 1, repeats: int = 1, least: float = 0, decay: bool = False) -> timing.Setup:
    return timing.Setup(torch.device("cpu"), "fp32", False, 0, steps, repeats, least, decay)


def test_a_model_that_does_not_take_the_size_is_a_failed_timing(tmp_path: Path) -> None:
    main(config_of(LEVIT, "recipe.batch_size=1", f"out={tmp_path}/{LEVIT}.json"))
    found = read_timings(tmp_path / f"{LEVIT}.json")
    assert [one.samples_per_second for one in found.timings] == [None, None]
    assert all("RuntimeError" in str(one.failed) for one in found.timings)


@pytest.mark.parametrize(
    ("decay", "batch_size", "failed"),
    [(False, None, "out of GPU memory at batch size 32"), (True, 8, None)],
)
def test_the_batch_gets_smaller_only_if_asked_and_says_so(
    monkeypatch: pytest.MonkeyPatch, decay: bool, batch_size: int | None, failed: str | None
) -> None:
    def step_of(model: Any, img_size: int, batch: int, setup: Any) -> Any:
        if batch > 8:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return lambda: None

    monkeypatch.setattr(timing, "_train_step", step_of)
    one = timing.timing("test_vit", "train", 160, 32, setup(decay=decay))
    assert (one.batch_size_asked, one.batch_size, one.failed) == (32, batch_size, failed)
    assert ("batch 8 instead of 32" in timing_line(one)) == decay


def test_memory_ends_for_good_at_batch_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(timing, "_infer_step", no_memory)
    one = timing.timing("test_vit", "infer", 160, 32, setup(decay=True))
    assert one.failed == "out of GPU memory at batch size 1"


def test_an_architecture_without_a_classifier_cannot_be_timed_in_training() -> None:
    one = timing.timing("eva02_tiny_patch14_224", "train", 224, 1, setup())
    assert str(one.failed).startswith("no classifier")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (TypeError("a bug of ours"), TypeError),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), PipelineError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), PipelineError),
        (MemoryError(), MemoryError),
    ],
    ids=["ours", "gpu", "host", "python"],
)
def test_what_is_not_the_models_fault_is_no_timing(
    monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception]
) -> None:
    def broken(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(timing, "_infer_step", broken)
    with pytest.raises(raised):
        timing.timing("test_vit", "infer", 160, 32, setup())


def test_a_gpu_without_memory_for_its_libraries_is_out_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def step_of(model: Any, img_size: int, batch: int, setup: Any) -> Any:
        if batch > 8:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate")
        return lambda: None

    monkeypatch.setattr(timing, "_infer_step", step_of)
    assert timing.timing("test_vit", "infer", 160, 32, setup(decay=True)).batch_size == 8


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux resets peaks")
def test_a_timings_peak_memory_is_not_that_of_the_one_before() -> None:
    big = bytearray(300 * 2**20)
    before = timing.peak_rss_gib()
    del big
    timing.forget_peak_memory(torch.device("cpu"))
    after = timing.peak_rss_gib()
    assert before is not None
    assert after is not None
    assert before - after > 0.25


@pytest.mark.parametrize(
    ("model", "which", "expected"),
    [
        (LITE0, "study", [48]),
        (LITE0, "published", [224]),
        ("convnext_tiny.fb_in1k", "published", [224, 288]),
        ("convnext_tiny.fb_in1k", "both", [48, 224, 288]),
    ],
)
def test_sizes_are_the_studys_and_those_that_timm_gives_an_accuracy_for(
    model: str, which: str, expected: list[int]
) -> None:
    assert image_sizes(model, 48, which) == expected


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("sizes=bth", "sizes=bth: did you mean both"),
        ("recipe.precision=fp8", "recipe.precision=fp8: choose from bf16, fp16, fp32"),
        ("repeats=0", "repeats=0: write a whole number, 1 or more"),
        ("device=tpu", "device=tpu: write auto, cpu"),
    ],
)
def test_a_value_without_a_meaning_is_one_line(override: str, line: str) -> None:
    with pytest.raises(PipelineError) as caught:
        benchmark(config_of(LITE0, override))
    assert str(caught.value).startswith(line)


# The tables


def timings_of(
    model: str = LITE0, kind: str = "cpu", threads: int = 2, **changes: Any
) -> ModelTimings:
    """Both modes at 224 and 48 pixels; `changes` are of the first timing."""
    cpu = Device(kind="cpu", name="AMD EPYC 7B13 64-Core Processor", precision="fp32")
    gpu = Device(kind="cuda", name="NVIDIA GeForce RTX 4090", precision="fp16")
    device = dataclasses.replace(cpu if kind == "cpu" else gpu, threads=threads, cuda="13.2")
    timings = [
        Timing(
            *(mode, size, 32, 32, 1000.0, 32.0, [1000.0], 4.652),
            peak_rss_gib=1.5,
            joules_per_sample=0.2,
        )
        for size in (224, 48)
        for mode in ("infer", "train")
    ]
    timings[0] = dataclasses.replace(timings[0], **changes)
    versions = {"torch": "2.15.0"}
    return ModelTimings(model, "nhwc", device, versions, "2026-11-25T10:00:00+00:00", timings)


def tables(folder: Path, *found: ModelTimings) -> Path:
    """The folder of own tables that these timings give."""
    for each in found:
        write_timings(folder / "benchmark" / f"{each.model}.json", each)
    study = folder / "params.yaml"
    study.write_text(yaml.safe_dump({"benchmark": {"models": [each.model for each in found]}}))
    write_own_speed(study, folder / "benchmark", folder / "own_speed")
    return folder / "own_speed"


INFER = "benchmark-infer-fp32-nhwc-pt2150-cpu2-amd_epyc_7b13.csv"
TRAIN = "benchmark-train-fp32-nhwc-pt2150-cpu2-amd_epyc_7b13.csv"


def test_own_tables_are_read_like_timms(tmp_path: Path) -> None:
    own = tables(tmp_path, timings_of(), timings_of(LITE[1]))
    assert sorted(path.name for path in own.glob("benchmark-*")) == [INFER, TRAIN]
    table = read_benchmark(own / TRAIN)
    assert table["model"].tolist() == ["tf_efficientnet_lite0"] * 2 + ["tf_efficientnet_lite1"] * 2
    first = table.iloc[0]
    assert (first["img_size"], first["batch_size"]) == (224, 32)
    assert (first["samples_per_second"], first["step_ms"]) == (1000, 32)
    written = pd.read_csv(own / TRAIN)
    assert written["train_joules_per_sample"].tolist() == [0.2] * 4
    assert written["train_peak_memory_reserved_gib"].isna().all()
    hardware = json.loads((own / "hardware.json").read_text())
    assert hardware[INFER]["device"]["name"] == "AMD EPYC 7B13 64-Core Processor"


def test_a_files_name_says_how_it_was_measured() -> None:
    on_gpu = setup_of(file_name("train", timings_of(kind="cuda")))
    assert dataclasses.astuple(on_gpu) == (
        *("train", "amp", "nhwc", "2.15.0", "cu132", "rtx4090", "eager"),
    )
    assert setup_of(file_name("infer", timings_of(threads=16))).backend == "cpu16"
    assert file_name("infer", timings_of(threads=1)) != file_name("infer", timings_of(threads=2))


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA A100-SXM4-80GB", "a100_sxm4_80gb"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "a100_sxm4_40gb_mig_1g_5gb"),
        ("Tesla T4", "tesla_t4"),
        ("Intel(R) Core(TM) i9-10940X CPU @ 3.30GHz", "i9_10940x"),
        ("12th Gen Intel(R) Core(TM) i7-12700H", "i7_12700h"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "xeon_r"),
        ("AMD Ryzen 5 PRO 4650U with Radeon Graphics", "amd_ryzen_5_pro_4650u"),
        ("AMD EPYC", "amd_epyc"),
        ("", "unknown"),
    ],
)
def test_a_device_has_a_short_name_that_its_full_name_contains(name: str, short: str) -> None:
    assert short_name(name) == short
    plain = "".join(filter(str.isalnum, name.lower()))
    assert short.replace("_", "") in plain or not name


def test_weights_of_one_architecture_are_one_row(tmp_path: Path) -> None:
    own = tables(tmp_path, timings_of("resnet18.a1_in1k"), timings_of("resnet18.tv_in1k"))
    assert read_benchmark(own / INFER)["model"].tolist() == ["resnet18"] * 2
    left_out = pd.read_csv(own / LEFT_OUT)
    assert set(left_out["model"]) == {"resnet18.tv_in1k"}
    assert set(left_out["reason"]) == {"timed already, as resnet18"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"not_for_speed": "the device was shared: ..."}, "the device was shared: ..."),
        ({"failed": "AssertionError: size", "samples_per_second": None}, "AssertionError: size"),
    ],
)
def test_a_shared_or_failed_timing_is_in_no_table_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    own = tables(tmp_path, timings_of(**changes))
    assert read_benchmark(own / INFER)["img_size"].tolist() == [48]
    left_out = pd.read_csv(own / LEFT_OUT)
    assert left_out.to_numpy().tolist() == [[INFER, LITE0, 224, reason]]


def test_without_models_there_are_no_tables(tmp_path: Path) -> None:
    own = tables(tmp_path)
    assert sorted(path.name for path in own.iterdir()) == ["hardware.json", LEFT_OUT]
    pd.testing.assert_frame_equal(
        merge(ROOT / "data/sample/results", own)[0], merge(ROOT / "data/sample/results")[0]
    )


def test_the_quickstart_times_none_and_its_models_by_one_word(tmp_path: Path) -> None:
    quickstart = ROOT / "studies/quickstart.yaml"
    assert models_of(quickstart) == []
    on = tmp_path / "params.yaml"
    text = quickstart.read_text(encoding="utf-8")
    on.write_text(text.replace("models: []", "models: *models"), encoding="utf-8")
    assert models_of(on) == LITE


@pytest.mark.parametrize("text", ["grid: {}", "benchmark: {models: all}", "benchmark:"])
def test_a_study_without_a_list_of_models_to_time_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(PipelineError, match=r"params\.yaml: .*benchmark\.models"):
        models_of(tmp_path / "params.yaml")


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"format": 7}', '{"format": 1}'])
def test_a_damaged_file_of_timings_names_the_way_to_make_it_again(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / f"{LITE0}.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PipelineError, match=rf"lite0\.in1k\.json: .*benchmark@{LITE0}"):
        read_timings(path)


# Merged like timm's


def test_own_speed_stands_beside_the_accuracy_of_the_same_size(tmp_path: Path) -> None:
    own = tables(tmp_path, timings_of())
    imagenet, unmatched = merge(ROOT / "data/sample/results", own)
    rows = imagenet[imagenet["benchmark_file"] == INFER]
    assert rows["model"].tolist() == [LITE0]
    row = rows.iloc[0]
    assert (row["img_size"], row["samples_per_second"], row["backend"]) == (224, 1000, "cpu2")
    assert math.isclose(row["top1"], 74.846)
    assert (row["peak_rss_gib"], row["joules_per_image"]) == (1.5, 0.2)
    assert (row["measured_by"], set(imagenet["measured_by"])) == ("own", {"own", "timm"})
    timms = imagenet[~imagenet["benchmark_file"].isin([INFER, TRAIN])]
    assert timms[["peak_memory_gib", "peak_rss_gib", "joules_per_image"]].isna().all(axis=None)
    lost = unmatched[unmatched["file"] == INFER]
    assert lost.to_numpy().tolist() == [
        [INFER, "tf_efficientnet_lite0", 48, "no accuracy at this size: known at 224"]
    ]


def test_charts_may_name_an_own_table(tmp_path: Path) -> None:
    own = tables(tmp_path, *(timings_of(model) for model in LITE))
    params = yaml.safe_load((ROOT / "studies/quickstart.yaml").read_text(encoding="utf-8"))
    params["charts"] = {"infer": INFER, "train": TRAIN}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(params))
    study = read_study(tmp_path / "study.yaml")
    table = published(study, merge(ROOT / "data/sample/results", own)[0], tmp_path)
    lite0 = table.set_index("model").loc[LITE0]
    assert (lite0["infer_samples_per_second"], lite0["infer_img_size"]) == (1000, 224)
    assert lite0["train_samples_per_second"] == 1000


def test_what_is_in_no_own_table_is_told_in_unmatched(tmp_path: Path) -> None:
    own = tables(tmp_path, timings_of(not_for_speed="the device was shared: ..."))
    unmatched = merge(ROOT / "data/sample/results", own)[1]
    lost = unmatched[(unmatched["file"] == INFER) & (unmatched["img_size"] == 224)]
    assert "the device was shared: ..." in lost["reason"].tolist()


def test_an_own_table_replaces_timms_of_the_same_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tables(tmp_path, timings_of())
    timms = tmp_path / "timm"
    timms.mkdir()
    for path in (ROOT / "data/sample/results").iterdir():
        (timms / path.name).write_bytes(path.read_bytes())
    taken = next(timms.glob("benchmark-infer-*"))
    (own / INFER).rename(own / taken.name)
    rows = merge(timms, own)[0]
    assert rows.loc[rows["benchmark_file"] == taken.name, "model"].tolist() == [LITE0]
    assert f"this machine's own have the same names: {taken.name}" in capsys.readouterr().out


def test_half_of_what_the_merge_needs_for_own_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="give all or none"):
        merge_main(tmp_path, tmp_path / "i.csv", tmp_path / "u.csv", study=tmp_path / "p.yaml")
