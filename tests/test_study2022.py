"""The 2022 study: its tables to the last digit, its runs as runs, and what the counts say."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jinja2 import Environment

from pipeline.core.errors import PipelineError, TryAgain
from pipeline.records import Metrics, read_record
from pipeline.statistics.intervals import may_be_best, pooled_noise, rank_intervals
from pipeline.study2022.__main__ import main
from pipeline.study2022.corrected import at_own_rate, corrected, run_noise, survivors
from pipeline.study2022.page import section
from pipeline.study2022.printed import printed_tables, published, read_sweep
from pipeline.timm_results.imagenet import COLUMNS

HEADER = "dataset,model_name,GPU_mem,error_rate,valid_loss,train_loss,fit_time\n"
TABLES = ("pets_by_score", "pets_small_fast", "planet_by_score", "planet_small_fast")


@pytest.fixture(scope="module")
def sweep(shared: Path) -> Path:
    return shared / "reference/sweep_2022.csv"


@pytest.fixture(scope="module")
def runs(sweep: Path) -> pd.DataFrame:
    return read_sweep(sweep)


@pytest.fixture(scope="module")
def models(runs: pd.DataFrame) -> pd.DataFrame:
    return corrected(runs)


@pytest.fixture(scope="module")
def own(runs: pd.DataFrame) -> pd.DataFrame:
    return at_own_rate(runs)


@pytest.fixture(scope="module")
def kept(runs: pd.DataFrame) -> pd.DataFrame:
    return survivors(runs).set_index(["dataset", "runs", "score"])["survive"]


def today_of(shared: Path) -> pd.DataFrame:
    """timm's accuracy table of today in the shape of stage merge's."""
    accuracy = pd.read_csv(shared / "timm-results/results-imagenet.csv")
    return accuracy[["model", "img_size", "top1"]].reindex(columns=COLUMNS)


@pytest.fixture(scope="module")
def out(sweep: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes from the real runs and both accuracy tables."""
    folder = tmp_path_factory.mktemp("study2022")
    today = folder / "imagenet.csv"
    today_of(shared).to_csv(today, index=False)
    then = shared / "timm-results-2022-06/results-imagenet.csv"
    main(str(sweep), folder / "out", imagenet=today, imagenet_2022=then, records=folder / "runs")
    return folder / "out"


def write(path: Path, *rows: str) -> Path:
    path.write_text(HEADER + "".join(row + "\n" for row in rows))
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Two models, one at two learning rates; its least error and least time are two runs'."""
    return write(
        tmp_path / "sweep.csv",
        "pets,resnet18,1.0,0.10,0.3,0.1,20",
        "pets,resnet18,1.5,0.08,0.3,0.1,40",
        "pets,resnet18,1.0,0.12,NaN,0.1,30",
        "pets,swinv2_cr_tiny_ns_224,3.0,0.05,0.2,0.1,60",
        "pets,swinv2_cr_tiny_ns_224,3.0,0.07,0.2,0.1,60",
        "pets,swinv2_cr_tiny_ns_224,,0.01,0.9,0.9,",
        "pets,resnet18,1.0,0.20,0.3,0.5,20",
        "pets,resnet18,1.0,0.22,0.3,0.5,20",
        "pets,resnet18,,,,,",
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# Reading


def test_all_894_runs_are_read_and_849_finished(runs: pd.DataFrame) -> None:
    assert len(runs) == 894
    assert runs["finished"].sum() == 849
    finished = runs[runs["finished"]]
    assert finished.groupby("dataset")["model_name"].nunique().to_dict() == {
        "pets": 86,
        "planet": 86,
    }
    assert runs["model"].notna().all()


def test_every_model_stands_in_passes_of_exactly_three_runs(runs: pd.DataFrame) -> None:
    passes = runs.groupby(["dataset", "model_name", "pass"])
    assert (passes.size() == 3).all()
    assert [list(part["repeat"]) for _, part in passes] == [[1, 2, 3]] * 298


def test_the_second_pass_trains_worse_than_the_first_on_planet_without_exception(
    runs: pd.DataFrame,
) -> None:
    """A lower learning rate learns less in five epochs; the order of the rows is no accident."""
    planet = runs[(runs["dataset"] == "planet") & runs["finished"]]
    loss = planet.pivot_table(values="train_loss", index="model_name", columns="pass")
    twice = loss.dropna()
    assert len(twice) == 57
    assert (twice[2] > 2 * twice[1]).all()
    once = loss.loc[loss[2].isna(), 1]
    assert len(once) == 29
    assert once.max() < twice[2].min()


def test_a_run_that_reported_nothing_has_no_learning_rate(runs: pd.DataFrame) -> None:
    silent = runs[runs["train_loss"].isna()]
    assert len(silent) == 36
    assert silent["learning_rate"].isna().all()
    assert runs.loc[runs["finished"], "learning_rate"].notna().all()


def test_rows_that_were_sorted_are_refused(tmp_path: Path) -> None:
    row = "pets,resnet18,1.0,0.10,0.3,0.1,20"
    other = row.replace("18", "34")
    path = write(tmp_path / "sweep.csv", row, other, row, other, row)
    with pytest.raises(PipelineError, match=r"sweep\.csv: row 5: a third pass over pets resnet18"):
        read_sweep(path)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("pets,resnet18,1.0,1.10,0.3,0.1,20", "row 1, column error_rate"),
        ("pets,resnet18,1.0,0.1,0.3,0.1,soon", "row 1, column fit_time"),
        ("pets,../x,1.0,0.1,0.3,0.1,20", "row 1, column model_name"),
        ("pets,resnet18,1.0,0.1", "row 1"),
    ],
)
def test_a_damaged_row_is_one_line_that_names_it(tmp_path: Path, row: str, says: str) -> None:
    with pytest.raises(PipelineError) as caught:
        read_sweep(write(tmp_path / "sweep.csv", row))
    assert says in str(caught.value)
    assert "sweep.csv" in str(caught.value)


# As published


@pytest.mark.parametrize("name", TABLES)
def test_the_printed_tables_are_reproduced_to_the_last_digit(
    runs: pd.DataFrame, shared: Path, name: str
) -> None:
    printed = pd.read_csv(shared / f"reference/published/{name}.csv")
    ours = printed_tables(runs)[name]
    assert len(ours) == 15
    pd.testing.assert_frame_equal(ours.head(len(printed)), printed, check_exact=True)


def test_67_and_71_of_86_published_rows_mix_two_runs(runs: pd.DataFrame) -> None:
    mixed = published(runs).groupby("dataset")["mixed"].agg(["sum", "size"])
    assert mixed.loc["pets"].tolist() == [67, 86]
    assert mixed.loc["planet"].tolist() == [71, 86]


def test_a_published_row_joins_the_least_error_with_the_least_time(tiny: Path) -> None:
    table = published(read_sweep(tiny)).set_index("model_name")
    row = table.loc["resnet18"]
    assert (row["error_rate"], row["fit_time"], row["mixed"]) == (0.08, 20, True)
    assert row["score"] == pytest.approx(0.08 * 100)


# Corrected


def test_medians_over_all_runs_keep_10_and_4_of_the_top_15(kept: pd.Series) -> None:
    assert kept["pets", "all runs, learning rates mixed", "median"] == 10
    assert kept["planet", "all runs, learning rates mixed", "median"] == 4


def test_at_one_learning_rate_means_keep_13_of_the_top_15_on_both(kept: pd.Series) -> None:
    """So what the medians show on Planet is the second learning rate, not noise."""
    assert kept["pets", "learning rate 0.008", "mean"] == 13
    assert kept["planet", "learning rate 0.008", "mean"] == 13


def test_the_noise_on_planet_is_a_tenth_of_what_mixed_learning_rates_suggest(
    runs: pd.DataFrame,
) -> None:
    planet = runs[(runs["dataset"] == "planet") & runs["finished"]]
    mixed = planet.groupby("model_name")["error_rate"].std().median()
    assert mixed == pytest.approx(0.0239, abs=5e-5)
    noise = run_noise(planet[planet["learning_rate"] == 0.008])
    assert noise is not None
    assert noise.error.sd == pytest.approx(0.0021, abs=5e-5)


def test_scores_are_means_of_whole_runs_at_one_learning_rate(tiny: Path) -> None:
    table = corrected(read_sweep(tiny)).set_index(["learning_rate", "model_name"])
    row = table.loc[(0.008, "resnet18")]
    assert row["n"] == 3
    assert row["score_mean"] == pytest.approx((0.10 * 100 + 0.08 * 120 + 0.12 * 110) / 3)
    assert row["error_rate_low"] < row["error_rate_mean"] < row["error_rate_high"]
    assert table.loc[(0.002, "resnet18"), "n"] == 2
    assert table.loc[(0.008, "swinv2_cr_tiny_ns_224"), "error_rate_mean"] == pytest.approx(0.06)


def test_models_without_repeats_have_means_and_no_intervals(tmp_path: Path) -> None:
    path = write(tmp_path / "sweep.csv", "pets,resnet18,1.0,0.10,0.3,0.1,20")
    table = corrected(read_sweep(path))
    assert table["score_mean"].tolist() == [pytest.approx(10)]
    assert table[["score_low", "rank_low", "tied"]].isna().all(axis=None)


def test_every_published_winner_may_still_be_the_best_of_its_dataset(models: pd.DataFrame) -> None:
    first = models[models["learning_rate"] == 0.008]
    winners = first[first["published_rank"] == 1].set_index("dataset")
    assert winners["model_name"].to_dict() == {
        "pets": "convnext_tiny",
        "planet": "vit_base_patch16_224",
    }
    assert winners["tied"].all()
    assert (winners["rank"] == 1).all()


def test_intervals_hold_their_mean_and_ties_grow_with_the_images(models: pd.DataFrame) -> None:
    assert (models["score_low"] < models["score_mean"]).all()
    assert (models["score_mean"] < models["score_high"]).all()
    assert (models["rank_low"] <= models["rank"]).all()
    assert (models["rank"] <= models["rank_high"]).all()
    assert not (models["tied"].astype(bool) & ~models["tied_with_images"].astype(bool)).any()
    sizes = models.groupby(["dataset", "learning_rate"])[["tied", "tied_with_images"]].sum()
    assert (sizes["tied"] < sizes["tied_with_images"]).all()


def test_a_model_may_be_the_best_if_its_places_reach_the_first(
    models: pd.DataFrame, own: pd.DataFrame
) -> None:
    """So the figure's colours and its intervals of the place cannot contradict each other."""
    for table in (models, own):
        assert (table["tied"] == (table["rank_low"] == 1)).all()
        assert (table["rank_low"] <= table["rank"]).all()
        assert (table["rank"] <= table["rank_high"]).all()


def test_the_fourth_on_pets_falls_by_the_learning_rate_alone(
    models: pd.DataFrame, own: pd.DataFrame
) -> None:
    """Its published error comes from 0.002, where it is still the fourth."""
    row = own[(own["dataset"] == "pets") & (own["published_rank"] == 4)].iloc[0]
    assert row["model_name"] == "vit_base_patch16_224"
    assert (row["published_learning_rate"], row["learning_rate"], row["rank"]) == (0.002, 0.002, 4)
    pets = models[(models["dataset"] == "pets") & (models["model_name"] == row["model_name"])]
    assert pets.set_index("learning_rate")["rank"].to_dict() == {0.008: 42, 0.002: 4}


def test_at_their_own_rates_13_of_the_top_15_stay_on_both(own: pd.DataFrame) -> None:
    """README quotes these counts."""
    top = own[own["published_rank"] <= 15]
    assert (top["rank"] <= 15).groupby(top["dataset"]).sum().to_dict() == {"pets": 13, "planet": 13}
    assert (top["rank_low"] <= top["published_rank"]).all()
    assert (top["published_rank"] <= top["rank_high"]).all()
    assert own.groupby("dataset")["tied"].sum().to_dict() == {"pets": 21, "planet": 15}
    assert own.groupby("dataset")["tied_with_images"].sum().to_dict() == {"pets": 51, "planet": 72}
    at_second = top["published_learning_rate"] == 0.002
    assert at_second.groupby(top["dataset"]).sum().to_dict() == {"pets": 4, "planet": 0}
    lower = 1 - (top["published_score"] / top["score_mean"]).groupby(top["dataset"]).mean()
    assert lower.round(2).to_dict() == {"pets": 0.10, "planet": 0.06}


def test_equal_rates_leave_the_mean_where_it_is(tmp_path: Path) -> None:
    """The lower of the two rates' means would be 1.6 points too low."""
    draws = np.random.default_rng(0).normal(0.5, 0.05, (400, 2, 3))
    rows = [
        f"pets,resnet{model},1.0,{error},0.3,0.1,20"
        for rate in (0, 1)
        for model, errors in enumerate(draws[:, rate])
        for error in errors
    ]
    own = at_own_rate(read_sweep(write(tmp_path / "sweep.csv", *rows)))
    assert draws.mean(axis=2).min(axis=1).mean() == pytest.approx(0.484, abs=0.003)
    assert own["error_rate_mean"].mean() == pytest.approx(0.5, abs=0.004)


def test_a_rate_with_fewer_runs_does_not_count(tiny: Path) -> None:
    own = at_own_rate(read_sweep(tiny)).set_index("model_name")
    row = own.loc["resnet18"]
    assert (row["learning_rate"], row["n"], row["n_chosen"]) == (0.008, 3, 3)
    assert row["error_rate_mean"] == pytest.approx(0.10)
    assert row["published_learning_rate"] == 0.008


def test_the_images_alone_give_standard_errors_of_0_6_and_0_4_points(
    models: pd.DataFrame,
) -> None:
    first = models[(models["learning_rate"] == 0.008) & (models["rank"] <= 10)]
    points = 100 * first.groupby("dataset")["error_rate_images_se"].mean()
    assert points["pets"] == pytest.approx(0.6, abs=0.05)
    assert points["planet"] == pytest.approx(0.44, abs=0.03)  # 200 x 17 tags; as 200 draws 1.4


# ImageNet


@pytest.mark.parametrize(
    ("dataset", "statistic", "rho", "low", "high"),
    [
        ("pets", "minimum of all runs", 0.64, 0.47, 0.78),
        ("planet", "minimum of all runs", 0.22, -0.03, 0.42),
        ("planet", "median of all runs", 0.52, 0.32, 0.67),
    ],
)
def test_spearman_over_80_models_is_what_is_quoted(
    out: Path, dataset: str, statistic: str, rho: float, low: float, high: float
) -> None:
    """80 = 86 less six ImageNet-22k classifiers, three of them with the accuracy of today: the
    table of June 2022 has no swinv2_cr."""
    table = pd.read_csv(out / "correlations.csv").set_index(["dataset", "error_rate", "accuracy"])
    row = table.loc[(dataset, statistic, "June 2022, else today")]
    assert row["n"] == 80
    assert row["spearman"] == pytest.approx(rho, abs=0.006)
    assert row["spearman_low"] == pytest.approx(low, abs=0.02)
    assert row["spearman_high"] == pytest.approx(high, abs=0.02)
    assert table.loc[(dataset, statistic, "June 2022"), "n"] == 77


def test_at_one_learning_rate_planets_correlation_stays_low(out: Path) -> None:
    """The 0.52 of the medians comes from mixing learning rates."""
    table = pd.read_csv(out / "correlations.csv").set_index(["dataset", "error_rate", "accuracy"])
    one_rate = table.loc[("planet", "mean at learning rate 0.008", "June 2022, else today")]
    assert one_rate["n"] == 80
    assert one_rate["spearman"] == pytest.approx(0.21, abs=0.01)
    assert one_rate["spearman_low"] < 0 < one_rate["spearman_high"]


# The statistics themselves, on numbers that are made


def test_pooled_noise_is_the_spread_around_each_groups_own_mean() -> None:
    noise = pooled_noise(pd.Series([1.0, 3.0, 101.0, 103.0]), pd.Series(["a", "a", "b", "b"]))
    assert noise is not None
    assert noise.sd == pytest.approx(np.sqrt(2))
    assert noise.freedom == 2
    assert pooled_noise(pd.Series([1.0, 2.0]), pd.Series(["a", "b"])) is None


def test_the_truly_best_is_in_the_tie_set_in_95_of_100_studies() -> None:
    """Twelve equal models, the hardest case: each may be the best."""
    rng = np.random.default_rng(1)
    kept = [may_be_best(rng.normal(0.0, 1.0, 12), np.eye(12), 100)[0] for _ in range(200)]
    assert 0.91 <= np.mean(kept) <= 0.99


def test_a_model_far_behind_is_not_in_the_tie_set() -> None:
    assert may_be_best(np.array([1.0, 1.1, 9.0]), 0.04 * np.eye(3), 50).tolist() == [
        True,
        True,
        False,
    ]


def test_places_reach_the_first_where_a_model_may_be_the_best() -> None:
    mean = np.random.default_rng(2).normal(0.0, 1.5, 40)
    low, high = rank_intervals(mean, np.eye(40), 60)
    tied = may_be_best(mean, np.eye(40), 60)
    assert ((low == 1) == tied).all()
    assert 1 < tied.sum() < 40
    assert high.max() == 40


def test_the_true_place_is_within_its_interval() -> None:
    rng, truth = np.random.default_rng(3), np.linspace(0, 3, 12)
    inside = [
        (low <= np.arange(1, 13)) & (np.arange(1, 13) <= high)
        for low, high in (
            rank_intervals(truth + rng.normal(0.0, 1.0, 12), np.eye(12), 100) for _ in range(100)
        )
    ]
    assert np.mean(inside) >= 0.95


def test_rank_intervals_are_narrow_where_models_are_far_apart() -> None:
    low, high = rank_intervals(np.array([5.0, 1.0, 1.2]), 0.09 * np.eye(3), 50)
    assert (low[0], high[0]) == (3, 3)
    assert (low[1], high[1]) == (1, 2)


# The command


def test_without_a_table_of_imagenet_the_correlations_are_a_header(
    tiny: Path, tmp_path: Path
) -> None:
    main(str(tiny), tmp_path / "out")
    text = (tmp_path / "out/correlations.csv").read_text()
    assert text == "dataset,error_rate,accuracy,n,spearman,spearman_low,spearman_high\n"


def test_a_study_without_a_finished_run_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "sweep.csv", "pets,resnet18,1.0,,0.3,0.1,")
    with pytest.raises(PipelineError, match="no run has an error rate and a time"):
        main(str(path), tmp_path / "out")


def test_the_folder_holds_every_table_and_each_figure_twice(out: Path) -> None:
    expected = {"runs.csv", "models.csv", "own_rate.csv", "survivors.csv", "correlations.csv"}
    expected |= {"published_against_runs.svg", "published_against_runs.png", "published"}
    expected |= {"top_15.svg", "top_15.png", "section.html", "summary.json"}
    assert {path.name for path in out.iterdir()} == expected
    assert {path.stem for path in (out / "published").iterdir()} == set(TABLES)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["runs"] == {
        "all": 894,
        "finished": 849,
        "models": 86,
        "models_at_two_rates": 57,
    }
    assert summary["datasets"]["planet"]["mixed"] == 71
    assert len(summary["source"]["sha256"]) == 64


def test_the_same_runs_give_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        main(str(tiny), tmp_path / name)
    one, two = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    )
    assert len(one) > 10
    assert sorted(one) == sorted(two)
    assert [name for name in one if one[name] != two[name]] == []


def test_a_second_run_replaces_the_first_and_a_foreign_folder_is_left_alone(
    tiny: Path, tmp_path: Path
) -> None:
    main(str(tiny), tmp_path / "out")
    (tmp_path / "out" / "stale.csv").touch()
    main(str(tiny), tmp_path / "out")
    assert not (tmp_path / "out" / "stale.csv").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(PipelineError, match="not a folder that `study2022` made"):
        main(str(tiny), tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_a_file_that_is_not_there_is_one_line_and_exit_code_1(root: Path, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "pipeline.study2022", "nowhere.csv", str(tmp_path / "out")],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 1
    assert said.stderr == "error: nowhere.csv: no such file, and not URL@COMMIT:FILE.csv either\n"
    assert not (tmp_path / "out").exists()


# From git


@pytest.fixture
def repository(tiny: Path, tmp_path: Path) -> tuple[Path, str]:
    """A repository that keeps the runs at its root, and its commit."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "upstream"
    folder.mkdir()
    shutil.copy(tiny, folder / "fastai_timm.csv")
    (folder / "sweep.yaml").write_text("method: grid\n")

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", *who, "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "runs")
    git("config", "uploadpack.allowFilter", "true")
    git("config", "uploadpack.allowAnySHA1InWant", "true")
    return folder, git("rev-parse", "HEAD")


def test_runs_are_fetched_from_git_at_a_pinned_commit(
    repository: tuple[Path, str], tiny: Path, tmp_path: Path
) -> None:
    folder, commit = repository
    main(f"{folder.as_uri()}@{commit}:fastai_timm.csv", tmp_path / "out")
    main(str(tiny), tmp_path / "plain")
    fetched = json.loads((tmp_path / "out" / "summary.json").read_text())["source"]
    plain = json.loads((tmp_path / "plain" / "summary.json").read_text())["source"]
    assert fetched["commit"] == commit
    assert fetched["file"] == "fastai_timm.csv"
    assert fetched["sha256"] == plain["sha256"]
    assert (tmp_path / "out/models.csv").read_bytes() == (
        tmp_path / "plain/models.csv"
    ).read_bytes()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("{url}@{commit}:other.csv", "no other.csv at"),
        ("{url}@{gone}:fastai_timm.csv", "no revision|upstream no longer has it"),
        ("{url}@main:fastai_timm.csv", "by its full id"),
        ("{url}-none@{commit}:fastai_timm.csv", "not a git repository"),
    ],
)
def test_a_source_that_cannot_be_fetched_is_one_line(
    repository: tuple[Path, str], tmp_path: Path, asked: str, says: str
) -> None:
    folder, commit = repository
    source = asked.format(url=folder.as_uri(), commit=commit, gone="0123456789" * 4)
    with pytest.raises(PipelineError, match=says):
        main(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_network_the_call_may_be_repeated(tmp_path: Path) -> None:
    source = f"http://127.0.0.1:1/study@{'0123456789' * 4}:fastai_timm.csv"
    with pytest.raises(TryAgain, match="the same call may succeed later"):
        main(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Records


def test_every_run_becomes_a_valid_record(out: Path) -> None:
    records = [read_record(path) for path in sorted((out.parent / "runs").rglob("*.json"))]
    assert len(records) == 894
    assert Counter(record.status for record in records) == {"ok": 849, "failed": 45}
    assert {record.dataset for record in records} == {"pets", "planet_sample"}
    assert {record.recipe for record in records} == {"sweep2022", "sweep2022_lr0.002"}
    assert {record.device.name for record in records} == {"unknown GPUs of the 2022 study"}


def test_what_the_study_did_not_record_stays_null(out: Path) -> None:
    path = out.parent / "runs/pets/convnext_tiny.fb_in1k/sweep2022/2.json"
    record = read_record(path)
    assert record.metrics.error_rate == pytest.approx(0.0521, abs=5e-5)
    assert record.cost.fit_seconds == pytest.approx(97.4, abs=0.5)
    assert record.cost.energy_wh is None
    assert record.config["seed"] is None
    assert record.config["recipe"]["lr"] == 0.008
    assert record.data.fingerprint is None
    assert record.started_at is None
    assert record.versions == {}


def test_a_run_that_did_not_finish_is_failed_with_its_reason_and_no_metrics(out: Path) -> None:
    records = [read_record(path) for path in (out.parent / "runs").rglob("*.json")]
    failed = [record for record in records if record.status == "failed"]
    assert all(record.metrics == Metrics() for record in failed)
    starts = Counter((record.reason or "").partition(" in 2022")[0] for record in failed)
    assert starts == {"reported nothing": 36, "stopped early": 9}


# The report's section


class Tags(HTMLParser):
    """Collects the tags and fails on one that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.seen: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen[tag] += 1
        if tag not in ("br", "meta", "img"):
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag


def test_the_section_is_well_formed_and_says_the_counts(out: Path) -> None:
    html = section(out)
    tags = Tags()
    tags.feed(html)
    assert tags.opened == []
    assert Environment(autoescape=True).from_string("{{ html }}").render(html=html) == html
    assert tags.seen["svg"] == 1
    assert tags.seen["table"] == 4
    assert tags.seen["script"] == 0
    assert "67 of 86 rows" in html
    assert "71 of 86 rows" in html
    assert re.findall(r'(?:src|href)="(?!#)', html) == []


def test_the_section_escapes_what_the_tables_say(tiny: Path, tmp_path: Path) -> None:
    main(str(tiny), tmp_path / "out")
    path = tmp_path / "out" / "survivors.csv"
    path.write_text(path.read_text().replace("best run", "<script>alert(1)</script>"))
    html = section(tmp_path / "out")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_a_folder_without_the_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="not a folder of stage study2022"):
        section(tmp_path)


def test_a_study_without_the_2022_runs_says_that_they_are_left_out(tmp_path: Path) -> None:
    main("none", tmp_path / "out")
    assert "Left out" in (tmp_path / "out/section.html").read_text()
    main("none", tmp_path / "out")
