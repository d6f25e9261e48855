import hashlib
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_fakes import LITE, write_imagenet, write_study

from pipeline.core.errors import PipelineError
from pipeline.study.params import read_study
from pipeline.timm_results.imagenet import (
    at_nearest_size,
    pretraining_scale,
    read_imagenet,
    with_training_speed,
)
from pipeline.timm_results.published_tables import (
    OTHER_SETS,
    Setup,
    Source,
    damaged_file,
    parse_cells,
    read_accuracy,
    read_benchmark,
    setup_of,
    table_file,
)

SPEED = "benchmark-infer-amp-nchw-pt291-cu130-5090.csv"
ACCURACY_HEADER = "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation"
ACCURACY_ROW = 'net.in1k,224,76.5,23.5,93.1,6.9,"1,014.45",0.875,bicubic'
SPEED_HEADER = (
    "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,"
    "param_count,infer_gmacs,infer_macts"
)
OWN = ["peak_memory_gib", "peak_rss_gib", "joules_per_image"]
SPEED_ROW = "net,224,1000.5,1.023,1024.0,5.29,0.4,6.7"


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def error_of(path: Path, *lines: str) -> str:
    """The one line that reading this table ends with; it names the file."""
    read = read_benchmark if path.name.startswith("benchmark") else read_accuracy
    with pytest.raises(PipelineError) as caught:
        read(table(path, *lines))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


# Accuracy


def test_a_parameter_count_with_thousands_commas_is_a_number(tmp_path: Path) -> None:
    read = read_accuracy(table(tmp_path / "results.csv", ACCURACY_HEADER, ACCURACY_ROW))
    assert read.to_dict("records") == [
        {
            "model": "net.in1k",
            "img_size": 224,
            "top1": 76.5,
            "top5": 93.1,
            "params_m": 1014.45,
            "crop_pct": 0.875,
            "interpolation": "bicubic",
        }
    ]


def test_columns_in_another_order_and_the_old_crop_column_read_the_same(tmp_path: Path) -> None:
    today = read_accuracy(table(tmp_path / "new.csv", ACCURACY_HEADER, ACCURACY_ROW))
    old_header = "model,top1,top1_err,top5,top5_err,param_count,img_size,cropt_pct,interpolation"
    old_row = 'net.in1k,76.5,23.5,93.1,6.9,"1,014.45",224,0.875,bicubic'
    old = read_accuracy(table(tmp_path / "old.csv", old_header, old_row))
    assert old.to_dict("records") == today.to_dict("records")


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(f"\ufeff{ACCURACY_HEADER}\r\n{ACCURACY_ROW}\r\n".encode())
    assert read_accuracy(path)["model"].to_list() == ["net.in1k"]


def test_a_renamed_column_is_named_with_what_it_may_be_now(tmp_path: Path) -> None:
    header = ACCURACY_HEADER.replace("param_count", "params_count")
    line = error_of(tmp_path / "results.csv", header, ACCURACY_ROW)
    assert "no column param_count" in line
    assert "did you mean params_count?" in line


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",76.5,", ",n/a,", "row 2, column top1: 'n/a' is not a number from 0 to 100"),
        (",76.5,", ",,", "row 2, column top1: '' is not"),
        (",76.5,", ",nan,", "column top1: 'nan'"),
        (",76.5,", ",inf,", "column top1: 'inf'"),
        (",76.5,", ",176.5,", "column top1: '176.5'"),
        (",76.5,", ",-1,", "column top1: '-1'"),
        (",76.5,", ",1_0,", "column top1: '1_0'"),
        (",224,", ",224.5,", "column img_size: '224.5' is not a whole number"),
        (",224,", ",0,", "column img_size: '0'"),
        ('"1,014.45"', '"1,01.45"', "column param_count: '1,01.45'"),
        ("net.in1k", "=cmd()", "column model: '=cmd()' is not a model's name"),
        ("net.in1k", "<b>", "column model"),
        ("net.in1k", "", "column model"),
        ("bicubic", "", "column interpolation"),
    ],
)
def test_a_wrong_cell_is_named_by_row_and_column(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    wrong = ACCURACY_ROW.replace(old, new)
    assert wrong != ACCURACY_ROW
    good = ACCURACY_ROW.replace("net", "other")
    assert said in error_of(tmp_path / "results.csv", ACCURACY_HEADER, good, wrong)


def test_a_table_is_known_by_the_hash_of_its_bytes_and_its_rows(shared: Path) -> None:
    for path in sorted((shared / "timm-results").glob("results-*.csv")):
        content = path.read_bytes()
        found = table_file(content, path.name)
        assert found.sha256 == hashlib.sha256(content).hexdigest()
        assert found.rows == len(pd.read_csv(path))


def test_the_first_table_that_is_not_as_fetched_is_named(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "c.csv", "notes.txt"):
        (tmp_path / name).write_text(f"model\n{name}\n")
    files = {name: table_file((tmp_path / name).read_bytes(), name) for name in ("a.csv", "b.csv")}

    def damaged(names: str) -> str | None:
        known = {name: each for name, each in files.items() if name in names}
        return damaged_file(tmp_path, Source("timm", "-", None, None, known))

    assert damaged("a.csv b.csv") == "c.csv"  # which nobody fetched
    assert damaged("b.csv") == "a.csv"
    (tmp_path / "c.csv").unlink()
    assert damaged("a.csv b.csv") is None
    (tmp_path / "b.csv").write_text("model\nchanged\n")
    assert damaged("a.csv b.csv") == "b.csv"
    (tmp_path / "a.csv").unlink()
    assert damaged("a.csv b.csv") == "a.csv"


def test_a_cell_or_a_file_may_be_as_large_as_the_limit_and_no_larger() -> None:
    def rows(n_characters: int, n_bytes: int = 0) -> int:
        content = b"model,note\nnet," + b"x" * n_characters + b"\n"
        return len(parse_cells(content + b"\n" * (n_bytes - len(content)), "t.csv")[1])

    assert rows(1000) == 1
    with pytest.raises(PipelineError, match=r"t.csv: line 2 has a cell of more than 1000 char"):
        rows(1001)
    assert rows(1, 32 * 1024**2) == 1
    with pytest.raises(PipelineError, match=r"t.csv: more than 32 MiB; not one of timm's tables"):
        rows(1, 32 * 1024**2 + 1)
    with pytest.raises(PipelineError, match=r"t.csv: no rows; it is empty or cut off"):
        parse_cells(b"model,note\n", "t.csv")
    for row, n in (("net", 1), ("net,x,y", 3)):
        message = f"t.csv: row 2 has {n} cells, the header has 2"
        with pytest.raises(PipelineError, match=message):
            parse_cells(f"model,note\nnet,x\n{row}\n".encode(), "t.csv")


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    header, row = f"{ACCURACY_HEADER},top1", f"{ACCURACY_ROW},80.0"
    line = error_of(tmp_path / "results.csv", header, row)
    assert "two columns are called 'top1'" in line


def test_the_same_model_and_size_twice_is_an_error(tmp_path: Path) -> None:
    line = error_of(tmp_path / "results.csv", ACCURACY_HEADER, ACCURACY_ROW, ACCURACY_ROW)
    assert "row 2: net.in1k at 224 pixels is listed twice" in line
    bigger = ACCURACY_ROW.replace(",224,", ",288,")
    path = table(tmp_path / "fine.csv", ACCURACY_HEADER, ACCURACY_ROW, bigger)
    assert read_accuracy(path)["img_size"].to_list() == [224, 288]


# Speed


def test_a_benchmark_says_what_it_timed_and_how(tmp_path: Path) -> None:
    read = read_benchmark(table(tmp_path / SPEED, SPEED_HEADER, SPEED_ROW))
    assert read.to_dict("records") == [
        {
            "model": "net",
            "img_size": 224,
            "batch_size": 1024,
            "samples_per_second": 1000.5,
            "step_ms": 1.023,
            "gmacs": 0.4,
            "macts": 6.7,
            "speed_params_m": 5.29,
            **dict.fromkeys(OWN, pytest.approx(math.nan, nan_ok=True)),
        }
    ]


def test_own_tables_tell_memory_and_energy_beside(tmp_path: Path) -> None:
    own = ",infer_peak_memory_reserved_gib,infer_peak_rss_gib,infer_joules_per_sample"
    rows = [SPEED_ROW + ",2.5,1.5,0.2", SPEED_ROW.replace("net", "other") + ",,1.5,"]
    read = read_benchmark(table(tmp_path / SPEED, SPEED_HEADER + own, *rows))
    assert read[OWN].to_numpy().tolist() == [
        [2.5, 1.5, 0.2],
        pytest.approx([math.nan, 1.5, math.nan], nan_ok=True),
    ]


def test_macs_may_be_unknown_for_a_row_or_a_file(tmp_path: Path) -> None:
    uncounted = SPEED_ROW.replace(",0.4,6.7", ",,")
    one = read_benchmark(table(tmp_path / SPEED, SPEED_HEADER, uncounted))
    short = [line.rsplit(",", 2)[0] for line in (SPEED_HEADER, SPEED_ROW)]
    all_ = read_benchmark(table(tmp_path / SPEED, *short))
    for read in (one, all_):
        assert read[["gmacs", "macts"]].isna().all(axis=None)
        assert read["samples_per_second"].to_list() == [1000.5]


def test_counts_without_attention_are_not_taken(shared: Path) -> None:
    """timm's files agree on a ViT's GMACs once those of PyTorch 2.1 are empty."""
    counts: dict[tuple[str, int], set[float]] = {}
    for path in sorted((shared / "timm-results").glob("benchmark-infer-*.csv")):
        table = read_benchmark(path).dropna(subset="gmacs")
        assert table.empty == ("-pt210-" in path.name or "-pt221-cpu" in path.name), path.name
        for row in table.itertuples():
            counts.setdefault((row.model, row.img_size), set()).add(row.gmacs)
    vits = {key: found for key, found in counts.items() if key[0].startswith(("vit_", "deit3_"))}
    assert len(vits) > 100
    assert {key: found for key, found in vits.items() if max(found) > 1.01 * min(found)} == {}
    assert counts["deit3_small_patch16_384", 384] == {15.52}


def test_a_run_that_failed_upstream_has_no_speed_but_half_a_speed_is_an_error(
    tmp_path: Path,
) -> None:
    failed = SPEED_ROW.replace(",1000.5,1.023,1024.0,", ",,,,")
    assert read_benchmark(table(tmp_path / SPEED, SPEED_HEADER, failed))["step_ms"].isna().all()
    half = SPEED_ROW.replace(",1000.5,", ",,")
    other = SPEED_ROW.replace("net", "other")
    said = "row 2, net: of batch size, samples per second and step time, some are empty"
    assert said in error_of(tmp_path / SPEED, SPEED_HEADER, other, half)


def test_a_benchmark_of_the_other_mode_is_not_taken_for_this_one(tmp_path: Path) -> None:
    train = tmp_path / SPEED.replace("infer", "train")
    assert "no column train_img_size" in error_of(train, SPEED_HEADER, SPEED_ROW)


@pytest.mark.parametrize(
    ("name", "setup"),
    [
        (
            "benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv",
            Setup("infer", "amp", "nchw", "2.4.0", "cu124", "rtx4090", "eager"),
        ),
        (
            "benchmark-infer-amp-nchw-pt291-cu128-4090-dynamo.csv",
            Setup("infer", "amp", "nchw", "2.9.1", "cu128", "rtx4090", "dynamo"),
        ),
        (
            "benchmark-infer-amp_bf16-nchw-pt291-cu130-pro6000maxq-dynamo.csv",
            Setup("infer", "amp_bf16", "nchw", "2.9.1", "cu130", "pro6000maxq", "dynamo"),
        ),
        (
            "benchmark-infer-fp32-nchw-pt221-cpu-i9_10940x-dynamo.csv",
            Setup("infer", "fp32", "nchw", "2.2.1", "cpu", "i9_10940x", "dynamo"),
        ),
        (
            "benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv",
            Setup("train", "amp", "nhwc", "1.12", "cu113", "rtx3090", "eager"),
        ),
        (
            "benchmark-train-bf16-nhwc-pt2101-cu130-rtx5090.csv",
            Setup("train", "bf16", "nhwc", "2.10.1", "cu130", "rtx5090", "eager"),
        ),
    ],
)
def test_a_benchmarks_setup_stands_in_its_name(name: str, setup: Setup) -> None:
    assert setup_of(name) == setup


@pytest.mark.parametrize(
    "name", ["benchmark-infer-amp.csv", "benchmark-eval-amp-nchw-pt1-cpu-x.csv"]
)
def test_a_benchmark_of_an_unknown_kind_is_an_error_not_a_guess(name: str) -> None:
    with pytest.raises(PipelineError, match=f"{name}: not a benchmark file's name"):
        setup_of(name)


@given(st.binary() | st.text(alphabet='a,"\n\r1').map(str.encode))
def test_any_bytes_are_a_rectangle_of_cells_or_one_line_of_error(content: bytes) -> None:
    said = ""
    try:
        header, rows = parse_cells(content, "table.csv")
    except PipelineError as error:
        said = str(error)
    else:
        assert {len(row) for row in rows} == {len(header)}
    assert not said or (said.startswith("table.csv: ") and "\n" not in said)


# The published tables


def test_every_published_table_reads_whole(shared: Path) -> None:
    for folder, benchmarks, models in (
        ("timm-results", 22, 1556),
        ("timm-results-2022-06", 8, 590),
    ):
        files = sorted((shared / folder).glob("benchmark-*.csv"))
        assert len(files) == benchmarks
        for path in files:
            lines = len(path.read_text().splitlines()) - 1
            assert len(read_benchmark(path)) == lines
        for name in ["results-imagenet.csv", *OTHER_SETS.values()]:
            assert len(read_accuracy(shared / folder / name)) == models


def test_the_published_benchmarks_have_one_spelling_per_device(shared: Path) -> None:
    setups = {setup_of(path.name) for path in (shared / "timm-results").glob("benchmark-*.csv")}
    assert len(setups) == 22
    assert {setup.device for setup in setups} == {
        *["rtx3090", "rtx4090", "rtx5090", "pro6000maxq", "i9_10940x", "i7_12700h"]
    }
    assert {setup.torch for setup in setups} == {"1.12", "1.13", "2.1.0", "2.2.1", "2.4.0", "2.9.1"}


# Training speeds


def speeds_of(tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """`with_training_speed` at 64 pixels, of a table of LITE that `change` has changed."""
    study = read_study(write_study(tmp_path))
    table = change(read_imagenet(write_imagenet(tmp_path / "imagenet.csv")))
    rows = with_training_speed(study, table, tmp_path / "imagenet.csv", 64)
    return rows.set_index("model")


def test_the_training_speed_of_a_later_model_is_by_its_inference_speed(tmp_path: Path) -> None:
    def without_training(table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["model"] != LITE[1]) | (table["mode"] == "infer")]

    whole = speeds_of(tmp_path, lambda table: table)
    found = speeds_of(tmp_path, without_training)
    assert found["speed_from"].tolist() == ["train", "infer", "train"]
    assert found["samples_per_second"].tolist() == pytest.approx(
        whole["samples_per_second"].tolist()
    )
    assert found.loc[LITE[1], ["img_size", "device"]].tolist() == [224, "rtx3090"]


def test_without_a_model_in_both_files_no_training_speed_is_estimated(tmp_path: Path) -> None:
    def apart(table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["model"] == LITE[0]) == (table["mode"] == "train")]

    found = speeds_of(tmp_path, apart)
    assert found["samples_per_second"].notna().tolist() == [True, False, False]


def test_a_training_file_of_larger_images_alone_leaves_no_training_speed(tmp_path: Path) -> None:
    def larger(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(img_size=table["img_size"].where(table["mode"] == "infer", 448))

    found = speeds_of(tmp_path, larger)
    assert found["speed_from"].tolist() == ["infer"] * 3
    assert found["samples_per_second"].isna().all()


def many_models(rng: np.random.Generator, charts: dict[str, str]) -> pd.DataFrame:
    """Speeds of 60 models at a few sizes each; training was timed for two of three, at some."""
    rows = []
    for number in rng.permutation(60):
        sizes = rng.choice([128, 160, 192, 224, 256, 288, 320, 384, 448, 512], 3, replace=False)
        for size in map(int, sizes):
            speed = 2e8 / size**2 * rng.uniform(0.3, 3)
            name = f"net{number:02}.in1k"
            rows.append((name, size, charts["infer"], "rtx4090", speed))
            if number % 3 and (number % 2 or size <= 288):
                rows.append((name, size, charts["train"], "rtx3090", speed / rng.uniform(3, 5)))
    columns = ["model", "img_size", "benchmark_file", "device", "samples_per_second"]
    return pd.DataFrame(rows, columns=columns)


def by_nearest_size(rows: pd.DataFrame, size: int) -> dict[str, tuple[int, float]]:
    """Of each model its image size nearest to this one, the smaller of two, and its speed."""
    found: dict[str, tuple[int, float]] = {}
    for row in rows.itertuples():
        this = abs(row.img_size - size), row.img_size
        if row.model not in found or this < (
            abs(found[row.model][0] - size),
            found[row.model][0],
        ):
            found[row.model] = row.img_size, row.samples_per_second
    return found


@pytest.mark.parametrize("size", [64, 176, 224, 272, 300])
def test_speeds_are_those_at_the_nearest_size_and_estimated_by_the_median_ratio(
    tmp_path: Path, size: int
) -> None:
    study = read_study(write_study(tmp_path))
    table = many_models(np.random.default_rng(size), dict(study.charts))
    nearest = by_nearest_size(table[table["benchmark_file"] == study.charts["infer"]], size)
    found = at_nearest_size(table[table["benchmark_file"] == study.charts["infer"]], size)
    assert found["model"].tolist() == sorted(nearest)
    assert dict(zip(found["model"], found["img_size"], strict=True)) == {
        model: at for model, (at, _) in nearest.items()
    }
    small = table[table["img_size"] <= 1.5 * max(size, 224)]
    assert len(small) < len(table)
    train, infer = (
        by_nearest_size(small[small["benchmark_file"] == study.charts[mode]], size)
        for mode in ("train", "infer")
    )
    both = [model for model in train if model in infer and train[model][0] == infer[model][0]]
    ratio = statistics.median(train[model][1] / infer[model][1] for model in both)
    assert len(both) > 10
    assert infer.keys() - train.keys()
    rows = with_training_speed(study, table, tmp_path / "imagenet.csv", size)
    assert rows["model"].tolist() == sorted(train.keys() | infer.keys())
    for row in rows.itertuples():
        measured = row.model in train
        at, speed = train[row.model] if measured else infer[row.model]
        assert (row.img_size, row.device) == (at, "rtx3090")
        assert row.speed_from == ("train" if measured else "infer")
        assert row.samples_per_second == pytest.approx(speed if measured else ratio * speed)


def test_rows_of_one_size_all_stay_in_the_order_of_the_models_names() -> None:
    rows = [("b", 288, 1), ("b", 224, 2), ("a", 256, 3), ("b", 224, 4), ("a", 192, 5)]
    table = pd.DataFrame(rows, columns=["model", "img_size", "number"])
    assert at_nearest_size(table, 224)["number"].tolist() == [5, 2, 4]
    assert at_nearest_size(table, 270)["number"].tolist() == [3, 1]
    of_each = pd.Series([288, 288, 192, 288, 192])
    assert at_nearest_size(table, of_each)["number"].tolist() == [5, 1]
    assert list(at_nearest_size(table, 224).columns) == ["model", "img_size", "number"]


def test_pretraining_has_three_steps_and_what_is_unknown_has_none() -> None:
    scales = {"in1k": 1, "in12k": 2, "in21k": 2, "laion": 3, "jft": 3, "yfcc": 3}
    assert {name: pretraining_scale(name) for name in scales} == scales
    assert math.isnan(pretraining_scale("other"))
