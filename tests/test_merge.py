import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipeline.core.errors import PipelineError
from pipeline.fetch.__main__ import main as fetch
from pipeline.merge.__main__ import main, merge
from pipeline.names.resolve import fixed_size
from pipeline.timm_results.imagenet import COLUMNS, TEXT_COLUMNS, read_imagenet
from pipeline.timm_results.published_tables import OTHER_SETS

RTX_5090 = "benchmark-infer-amp-nchw-pt291-cu130-5090.csv"
SPEED = "benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv"
TRAIN = "benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv"
ACCURACY = "results-imagenet.csv"


def accuracy(*rows: tuple[str, int, float]) -> str:
    header = "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation"
    lines = [f"{model},{size},{top1},0,99,1,5.29,0.875,bicubic" for model, size, top1 in rows]
    return "\n".join([header, *lines]) + "\n"


def speed(*rows: tuple[str, int, float | str], mode: str = "infer") -> str:
    columns = ["samples_per_sec", "step_time", "batch_size", "img_size"]
    header = ",".join(["model", *(f"{mode}_{name}" for name in columns), "param_count"])
    lines = [
        f"{model},{rate},{10 if rate else ''},{64 if rate else ''},{size},5.29"
        for model, size, rate in rows
    ]
    return "\n".join([header, *lines]) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two architectures, three weights, two files of speed."""
    path = tmp_path / "timm"
    path.mkdir()
    (path / ACCURACY).write_text(
        accuracy(
            ("convnext_tiny.in12k_ft_in1k", 224, 84.2),
            ("convnext_tiny.fb_in1k", 224, 82.1),
            ("convnext_tiny.fb_in1k", 288, 82.7),
            ("resnet18.tv_in1k", 224, 69.8),
        )
    )
    (path / SPEED).write_text(
        speed(
            ("convnext_tiny", 224, 900.5),
            ("resnet18", 224, 3000.0),
            ("vit_tiny_patch16_224", 224, 1),
        )
    )
    (path / TRAIN).write_text(
        speed(("convnext_tiny", 288, 100.0), ("convnext_tiny_in22ft1k", 224, 200.0), mode="train")
    )
    return path


@pytest.fixture(scope="module")
def today(shared: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return merge(shared / "timm-results")


@pytest.fixture(scope="module")
def in_2022(shared: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return merge(shared / "timm-results-2022-06")


def reasons(unmatched: pd.DataFrame, file: str) -> dict[tuple[str, int], str]:
    rows = unmatched[unmatched["file"] == file]
    return dict(zip(zip(rows["model"], rows["img_size"], strict=True), rows["reason"], strict=True))


# The join


def test_every_tag_of_an_architecture_gets_its_speed(folder: Path) -> None:
    imagenet, _ = merge(folder)
    rows = imagenet[(imagenet["benchmark_file"] == SPEED) & (imagenet["arch"] == "convnext_tiny")]
    assert rows["tag"].to_list() == ["in12k_ft_in1k", "fb_in1k"]
    assert rows["samples_per_second"].to_list() == [900.5, 900.5]
    assert rows["device"].to_list() == ["rtx4090", "rtx4090"]
    assert set(imagenet["measured_by"]) == {"timm"}


def test_no_accuracy_is_paired_with_a_speed_of_another_image_size(folder: Path) -> None:
    imagenet, unmatched = merge(folder)
    train = imagenet[imagenet["benchmark_file"] == TRAIN]
    assert train[["model", "img_size", "top1"]].values.tolist() == [
        ["convnext_tiny.fb_in1k", 288, 82.7]
    ]
    assert reasons(unmatched, SPEED)["convnext_tiny.fb_in1k", 288] == (
        "no speed at this size: timed at 224"
    )


def test_each_row_without_a_partner_has_its_reason(folder: Path) -> None:
    (folder / SPEED).write_text(
        speed(
            ("convnext_tiny", 320, 5.0),
            ("convnext_tiny_in22ft1k", 224, 5.0),
            ("vit_tiny_patch16_224", 224, 5.0),
            ("convnext_nano_hnf", 224, 5.0),
            ("resnet18", 224, ""),
        )
    )
    (folder / "results-sketch.csv").write_text(
        accuracy(("convnext_tiny.fb_in1k", 224, 30.0), ("resnet18.a1_in1k", 224, 20.0))
    )
    _, unmatched = merge(folder)
    assert reasons(unmatched, SPEED) == {
        ("convnext_tiny.in12k_ft_in1k", 224): "no speed at this size: timed at 320",
        ("convnext_tiny.fb_in1k", 224): "no speed at this size: timed at 320",
        ("convnext_tiny.fb_in1k", 288): "no speed at this size: timed at 320",
        ("resnet18.tv_in1k", 224): "no speed: its run failed",
        ("convnext_tiny", 320): "no accuracy at this size: known at 224 288",
        ("convnext_tiny_in22ft1k", 224): "deprecated name: today convnext_tiny.fb_in22k_ft_in1k",
        ("vit_tiny_patch16_224", 224): "no accuracy",
        ("convnext_nano_hnf", 224): "gone from timm",
    }
    assert reasons(unmatched, "results-sketch.csv") == {
        ("convnext_tiny.in12k_ft_in1k", 224): "no accuracy",
        ("convnext_tiny.fb_in1k", 288): "no accuracy",
        ("resnet18.tv_in1k", 224): "no accuracy",
        ("resnet18.a1_in1k", 224): "not in results-imagenet.csv",
    }


def test_weights_that_no_file_times_stand_once_without_speed(folder: Path) -> None:
    (folder / TRAIN).unlink()
    imagenet, unmatched = merge(folder)
    alone = imagenet[imagenet["benchmark_file"] == ""]
    assert alone[["model", "img_size"]].values.tolist() == [["convnext_tiny.fb_in1k", 288]]
    assert alone["samples_per_second"].isna().all()
    assert ("convnext_tiny.fb_in1k", 288) in reasons(unmatched, SPEED)


@pytest.mark.parametrize("prefix", OTHER_SETS)
def test_each_accuracy_file_becomes_its_columns_and_may_be_missing(
    folder: Path, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (other, name) in enumerate(OTHER_SETS.items()):
        if other != prefix:
            (folder / name).write_text(accuracy(("convnext_tiny.fb_in1k", 224, 10.0 + number)))
    imagenet, _ = merge(folder)
    row = imagenet[(imagenet["model"] == "convnext_tiny.fb_in1k") & (imagenet["img_size"] == 224)]
    for number, other in enumerate(OTHER_SETS):
        value = row[f"{other}_top1"].iloc[0]
        assert pd.isna(value) if other == prefix else value == 10.0 + number
    assert f"no {OTHER_SETS[prefix]}" in capsys.readouterr().out


# The published tables


def test_every_accuracy_joins_the_rtx_5090_file(today: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    imagenet, _ = today
    counts = imagenet["benchmark_file"].value_counts()
    assert counts[RTX_5090] == 1556
    assert counts["benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv"] == 1451
    assert counts[TRAIN] == 712
    assert len(counts) == 22
    assert "" not in counts


@pytest.mark.parametrize("snapshot", ["timm-results", "timm-results-2022-06"])
def test_every_pair_stands_in_both_published_files_at_that_size(
    shared: Path, snapshot: str, request: pytest.FixtureRequest
) -> None:
    imagenet, _ = request.getfixturevalue("today" if snapshot == "timm-results" else "in_2022")
    published = {}
    for path in (shared / snapshot).glob("*.csv"):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                mode = "train" if "-train-" in path.name else "infer"
                size = row.get("img_size") or row.get(f"{mode}_img_size")
                value = row.get("top1") or row.get(f"{mode}_samples_per_sec")
                published[path.name, row["model"], size] = value
    assert len(imagenet) > 1000
    for row in imagenet.itertuples():
        size = str(row.img_size)
        assert float(published[ACCURACY, row.model, size]) == row.top1
        assert float(published[row.benchmark_file, row.arch, size]) == row.samples_per_second


@pytest.mark.parametrize("snapshot", ["timm-results", "timm-results-2022-06"])
def test_every_published_row_is_in_one_of_the_two_tables(
    shared: Path, snapshot: str, request: pytest.FixtureRequest
) -> None:
    imagenet, unmatched = request.getfixturevalue(
        "today" if snapshot == "timm-results" else "in_2022"
    )
    weights = pd.read_csv(shared / snapshot / ACCURACY)
    weights = set(zip(weights["model"], weights["img_size"], strict=True))
    assert not unmatched.duplicated(["file", "model", "img_size"]).any()
    for path in sorted((shared / snapshot).glob("benchmark-*.csv")):
        mode = "train" if "-train-" in path.name else "infer"
        timed = pd.read_csv(path)
        timed = set(zip(timed["model"], timed[f"{mode}_img_size"], strict=True))
        rows = imagenet[imagenet["benchmark_file"] == path.name]
        joined = set(zip(rows["model"], rows["img_size"], strict=True))
        used = set(zip(rows["arch"], rows["img_size"], strict=True))
        lost = set(reasons(unmatched, path.name))
        if snapshot == "timm-results":  # names of weights and of architectures never coincide
            assert lost == (weights - joined) | (timed - used)
        assert joined | lost >= weights
        assert used | lost >= timed
        assert not joined & lost


def test_the_reasons_of_todays_tables(today: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    _, unmatched = today
    classes = unmatched["reason"].str.partition(":")[0].value_counts().to_dict()
    assert classes == {
        "no accuracy": 7246,
        "no speed": 3418,
        "no speed at this size": 1196,
        "deprecated name": 556,
        "no accuracy at this size": 191,
        "gone from timm": 41,
        "not in results-imagenet.csv": 1,
    }
    assert reasons(unmatched, "results-imagenet-a.csv") == {
        ("resnet50.tv_in1k", 224): "no accuracy",
        ("resmlp_24_224.fb_dino", 224): "not in results-imagenet.csv",
    }


def test_names_of_2022_have_no_tag_and_join_by_themselves(
    in_2022: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    imagenet, _ = in_2022
    assert (imagenet["tag"] == "").all()
    assert (imagenet["model"] == imagenet["arch"]).all()
    assert (
        imagenet["benchmark_file"].value_counts()[
            "benchmark-train-amp-nchw-pt111-cu113-rtx3090.csv"
        ]
        == 590
    )
    by_name = imagenet.drop_duplicates("model").set_index("model")["pretraining"]
    assert by_name["convnext_base_in22ft1k"] == "in21k"
    assert by_name["convnext_base"] == "in1k"


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_the_2022_notebooks_printed_speeds_come_out(
    shared: Path, in_2022: tuple[pd.DataFrame, pd.DataFrame], mode: str
) -> None:
    imagenet, _ = in_2022
    file = f"benchmark-{mode}-amp-nhwc-pt111-cu113-rtx3090.csv"
    ours = imagenet[imagenet["benchmark_file"] == file].set_index("model")
    printed = pd.read_csv(shared / "reference" / "published" / f"{mode}_merged.csv")
    assert len(printed) == 9
    for row in printed.to_dict("records"):
        mine = ours.loc[row["model"]]
        assert mine["samples_per_second"] == row[f"{mode}_samples_per_sec"]
        assert mine["step_ms"] == row[f"{mode}_step_time"]
        assert mine["batch_size"] == row[f"{mode}_batch_size"]
        assert mine["img_size"] == row["img_size"]
        assert abs(mine["top1"] - row["top1"]) < 0.05  # it was printed from later accuracies


def test_any_one_published_file_may_be_missing(
    shared: Path, tmp_path: Path, today: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    shutil.copytree(shared / "timm-results", tmp_path / "timm", copy_function=shutil.copyfile)
    (tmp_path / "timm").chmod(0o755)
    (tmp_path / "timm" / RTX_5090).unlink()
    (tmp_path / "timm" / "results-sketch.csv").unlink()
    imagenet, unmatched = merge(tmp_path / "timm")
    whole, all_unmatched = today
    expected = whole[whole["benchmark_file"] != RTX_5090].reset_index(drop=True)
    expected[["sketch_top1", "sketch_top5"]] = float("nan")
    pd.testing.assert_frame_equal(imagenet, expected)
    assert len(unmatched) == (all_unmatched["file"] != RTX_5090).sum()
    (tmp_path / "timm" / ACCURACY).unlink()
    with pytest.raises(PipelineError, match=f"no {ACCURACY}"):
        merge(tmp_path / "timm")


# The files it writes and reads


def test_the_written_table_reads_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    (folder / "results-imagenet-real.csv").write_text(accuracy(("convnext_tiny.fb_in1k", 224, 87)))
    (folder / ACCURACY).write_text(
        (folder / ACCURACY).read_text() + accuracy(("nan", 224, 5.0)).splitlines()[1] + "\n"
    )
    main(folder, tmp_path / "imagenet.csv", tmp_path / "unmatched.csv")
    table = read_imagenet(tmp_path / "imagenet.csv")
    pd.testing.assert_frame_equal(table, merge(folder)[0], check_dtype=False)
    assert table.columns.to_list() == COLUMNS
    assert not table[TEXT_COLUMNS].isna().any(axis=None)
    assert table.loc[table["model"] == "nan", "tag"].to_list() == [""]
    assert table["img_size"].dtype == "int64"
    assert table["batch_size"].dtype == "Int64"
    assert table["torch"].unique().tolist() == ["2.4.0", "1.12", ""]


def test_reading_another_table_names_file_and_column(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"gone\.csv: not there: run `dvc repro merge`"):
        read_imagenet(tmp_path / "gone.csv")
    (tmp_path / "imagenet.csv").write_text("model,arch\n")
    with pytest.raises(PipelineError, match=r"imagenet\.csv: no column tag"):
        read_imagenet(tmp_path / "imagenet.csv")


def test_a_table_changed_after_its_fetch_is_refused(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "timm"
    fetch(str(root / "data" / "sample"), "-", out)
    merge(out)
    content = (out / ACCURACY).read_text()
    (out / ACCURACY).write_text(content.replace("74.846", "94.846"))
    with pytest.raises(PipelineError, match=rf"{ACCURACY}: not what source.json says"):
        merge(out)
    (out / ACCURACY).write_text(content)
    (out / SPEED).write_text(speed(("resnet18", 224, 9)))
    with pytest.raises(PipelineError, match=rf"{SPEED}: not what source.json says"):
        merge(out)
    (out / "source.json").write_text("{}")
    with pytest.raises(PipelineError, match=r"source\.json: not a source\.json"):
        merge(out)


def test_the_commit_of_the_tables_stands_in_each_row(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "timm"
    fetch(str(root / "data" / "sample"), "-", out)
    assert set(merge(out)[0]["commit"]) == {"aa4b5850"}
    source = json.loads((out / "source.json").read_text())
    (out / "source.json").write_text(json.dumps(source | {"commit": None}))
    assert set(merge(out)[0]["commit"]) == {""}


def test_a_broken_table_ends_the_stage_with_one_line_and_writes_nothing(
    folder: Path, tmp_path: Path, root: Path
) -> None:
    (folder / SPEED).write_text(speed(("resnet18", 224, "fast")))
    command = [
        sys.executable,
        "-m",
        "pipeline.merge",
        folder,
        tmp_path / "i.csv",
        tmp_path / "u.csv",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: {folder / SPEED}: row 1, column infer_samples_per_sec: 'fast' is not a number"
        " from 1e-06 to 1e+09"
    ]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_without_tables_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no such folder"):
        merge(tmp_path / "absent")
    with pytest.raises(PipelineError, match=r"no benchmark-\*\.csv"):
        merge(tmp_path)


# The bundled sample


def test_the_sample_has_what_the_charts_and_the_quickstart_name(root: Path, tmp_path: Path) -> None:
    fetch(str(root / "data" / "sample"), "-", tmp_path / "timm")
    imagenet, _ = merge(tmp_path / "timm")
    lite = {f"tf_efficientnet_lite{size}.in1k" for size in range(3)}
    for mode, file in {
        "infer": "benchmark-infer-amp-nhwc-pt113-cu117-rtx3090.csv",
        "train": TRAIN,
    }.items():
        chart = imagenet[imagenet["benchmark_file"] == file]
        assert len(chart) >= 36
        assert set(chart["mode"]) == {mode}
        assert chart["family"].nunique() >= 8
        assert chart["img_size"].nunique() >= 4
        assert lite <= set(chart["model"])
    rows = imagenet[imagenet["model"].isin(lite)]
    assert set(zip(rows["img_size"], rows["top1"], strict=True)) == {
        *[(224, 74.846), (240, 76.674), (260, 77.47)]
    }


def test_the_sample_quotes_the_published_tables_character_by_character(
    root: Path, shared: Path
) -> None:
    files = sorted((root / "data" / "sample" / "results").glob("*.csv"))
    assert len(files) == 12
    for path in files:
        published = (shared / "timm-results" / path.name).read_text().splitlines()
        quoted = path.read_text().splitlines()
        assert quoted[0] == published[0]
        assert 36 <= len(quoted) - 1 == len(set(quoted[1:]) & set(published[1:]))
    printed = {
        row["model_org"]
        for mode in ("infer", "train")
        for row in pd.read_csv(shared / f"reference/published/{mode}_merged.csv").to_dict("records")
    }
    quoted_models = set(pd.read_csv(root / "data/sample/results" / ACCURACY)["model"])
    assert printed <= quoted_models


def test_a_fixed_input_size_is_known_and_none_where_other_sizes_run() -> None:
    assert fixed_size("levit_128") == 224  # a name of 2022
    assert fixed_size("beit_large_patch16_512.in22k_ft_in22k_in1k") is None
    assert fixed_size("vit_of_tomorrow.in1k") is None
