"""Stage `report`: one page, an honest answer, and text that stays text."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from study_fakes import LITE, write_failure, write_imagenet, write_race, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.core.command import duration
from pipeline.core.errors import PipelineError
from pipeline.figures.labels import SCALE, leader, name_boxes
from pipeline.merge import __main__ as merge
from pipeline.report import __main__ as report
from pipeline.report import tables as report_tables
from pipeline.report import words as report_words
from pipeline.report.charts import LETTERS, WIDE, _quickest, error_against_time, loss_curves
from pipeline.report.tables import failures, leaderboard
from pipeline.report.words import answer
from pipeline.results import BASELINE, read_pool_table, read_results
from pipeline.statistics.fit_times import AT_MOST
from pipeline.study.params import read_study
from pipeline.study2022 import __main__ as study2022

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1][0] not in ("script", "style"):
            self.text += data


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with params.yaml, imagenet.csv and three seeds of three models; lite0 is worst."""
    return write_all(tmp_path)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a folder with its page and tables, only to be read."""
    folder = write_all(tmp_path_factory.mktemp("rendered"))
    render(folder)
    return folder


@pytest.fixture(scope="module")
def page(rendered: Path) -> str:
    return (rendered / "report.html").read_text()


def write_all(folder: Path) -> Path:
    write_study(folder, seeds=[0, 1, 2])
    write_imagenet(folder / "imagenet.csv")
    for model, error in zip(LITE, (0.20, 0.06, 0.061), strict=True):
        for seed in range(3):
            write_run(folder / "runs", model, seed, error + seed * (seed - 1) / 1000)
    return folder


def render(folder: Path) -> str:
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(folder / name for name in names))
    report.main(*paths(folder))
    return (folder / "report.html").read_text()


def paths(folder: Path) -> list[Path]:
    """The arguments of stage `report`, the pictures of stage `plot` among them."""
    for name in ("parameters", "image_size", "models_per_family"):
        Image.new("RGB", (4, 3)).save(folder / f"{name}.png")
    names = ("params.yaml", "imagenet.csv", "results", "", "report.html")
    return [folder / name for name in names]


def words(folder: Path) -> str:
    """What the page says, in one line."""
    return text_of(render(folder))


def text_of(html: str) -> str:
    return " ".join(Page(html).text.split())


def figures_of(html: str) -> list:
    return _json_of(html, "figures")


def published_in(html: str) -> dict:
    """The explorer's data."""
    return _json_of(html, "published")


def _json_of(html: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.S)
    assert found
    return json.loads(found[1])


def test_the_page_is_one_file_under_seven_megabytes_that_loads_nothing(page: str):
    assert len(page.encode()) < 7_000_000
    tags = Page(page).tags
    pictures = [attrs.pop("src") or "" for tag, attrs in tags if tag == "img"]
    assert pictures
    assert all(address.startswith("data:image/png;base64,") for address in pictures)
    links = [attrs.pop("href") or "" for tag, attrs in tags if tag == "a"]
    assert links
    assert all(address.startswith("#") for address in links)
    assert not [attrs for _, attrs in tags if {"src", "href", "srcset", "action"} & set(attrs)]
    assert not [tag for tag, _ in tags if tag in ("link", "iframe", "object", "embed")]
    assert "@import" not in page.partition("</style>")[0]


def test_the_answer_stands_first_with_error_interval_seeds_chance_and_cost(page: str):
    text = text_of(page)
    first = text[text.index("digits", text.index("Which pretrained")) :][:700]
    for part in (LITE[1], "6.07 % [4.0", "seeds", "90.00 %", "21.0 s", "Some CPU, 2 threads"):
        assert part in first


def test_every_chart_has_its_figure(page: str):
    figures = figures_of(page)
    drawn = [attrs["data-figure"] for _, attrs in Page(page).tags if "data-figure" in attrs]
    assert sorted(map(int, filter(None, drawn))) == list(range(len(figures)))
    assert all(figure["data"] for figure in figures)


@pytest.mark.parametrize("place", ["model", "reason", "imagenet"])
def test_hostile_text_stays_text(study: Path, page: str, place: str):
    harmless = {tag for tag, _ in Page(page).tags}
    if place == "reason":
        write_failure(study / "runs", LITE[0], 0, HOSTILE)
    if place == "imagenet":
        table = pd.read_csv(study / "imagenet.csv")
        table.replace({LITE[0]: HOSTILE}).to_csv(study / "imagenet.csv", index=False)
    html = render(study)
    if place == "model":  # a study cannot name one like that, a table may hold it
        for path in (study / "results").glob("*.csv"):
            pd.read_csv(path).replace({LITE[0]: HOSTILE}).to_csv(path, index=False)
        report.main(*paths(study))
        html = (study / "report.html").read_text()
    parsed = Page(html)
    assert "onerror=alert" in html
    assert not [attrs for _, attrs in parsed.tags if "onerror" in attrs]
    assert "alert(1)</script>" not in html
    assert {tag for tag, _ in parsed.tags} == harmless | {"section"}
    assert sum(tag == "script" for tag, _ in parsed.tags) == 4
    figures_of(html)
    assert len(published_in(html)["files"]) == 2


def test_failed_diverged_and_missing_runs_are_listed_with_their_reason(study: Path):
    write_failure(study / "runs", LITE[0], 0, "out of memory")
    (study / "runs/digits" / LITE[2] / "quickstart/1.json").unlink()
    text = words(study)
    assert "9 runs, 7 ok, 1 failed, 1 missing" in text
    assert "out of memory" in text


def test_a_dataset_without_a_finished_run_is_shown_without_numbers(study: Path):
    write_study(study, datasets=["digits", "later", "broken"], seeds=[0, 1, 2])
    write_failure(study / "runs", LITE[0], 0, "out of memory", dataset="broken")
    text = words(study)
    assert text.count("No run has finished: there is no answer yet.") == 2
    assert "6.07 % [4.0" in text


def test_two_recipes_are_compared_and_one_is_not(study: Path, page: str):
    assert "What does the recipe change?" not in text_of(page)
    write_study(study, recipes=["quickstart", "crop"], seeds=[0, 1, 2])
    for model, error in zip(LITE, (0.19, 0.05, 0.05), strict=True):
        for seed in range(3):
            write_run(study / "runs", model, seed, error + seed * (seed - 1) / 1000, recipe="crop")
    text = words(study)
    assert "What does the recipe change?" in text
    assert "−1.03 [−1.18, −0.89]" in text  # -1.0, -1.0 and -1.1 points


def test_measured_fit_times_stand_beside_estimated_ones_by_source(page: str):
    section = text_of(page).partition("How good are estimates of the fit time?")[2]
    assert "other seeds of the same cell" in section
    assert "1.00 [0.93, 1.07]" in section  # of 20, 21 and 22 s, each by the mean of the others
    assert "timm's training speeds on rtx3090" in section


def test_sections_without_content_are_left_out(study: Path):
    html = render(study)
    assert "Failed, diverged and missing runs" not in html
    assert "#failures" not in html
    study2022.main("none", study / "study2022")
    report.main(*paths(study), study2022=study / "study2022")
    assert "study2022" not in (study / "report.html").read_text()


def test_a_model_without_a_time_that_counts_is_shown_at_the_most_it_can_be(study: Path):
    for seed in range(3):
        cost = {"fit_seconds": 30.0 + seed}
        write_run(study / "runs", LITE[2], seed, 0.2, cost=cost, not_for_speed="it waited for a "
                  f"core for {20 + seed}% of the time it could have run")  # fmt: skip
    html = render(study)
    chart = next(each for each in figures_of(html) if "steady" in str(each["layout"]["xaxis"]))
    (trace,) = [each for each in chart["data"] if each.get("hovertext")]
    hollow = [symbol.endswith("-open") for symbol in trace["marker"]["symbol"]]
    assert [LITE[2] in text for text in trace["hovertext"]] == hollow
    assert "steady fit time at most 30.0 s" in trace["hovertext"][hollow.index(True)]
    text = " ".join(Page(html).text.split())
    assert text.count("waited for a core") == 1
    assert "the run waited for a core for 20 to 22 % of its time" in text
    assert text.count("Hollow: no time of this model counts") == 1  # ImageNet's chart has none
    assert chart["layout"]["xaxis"]["title"]["text"] == "steady fit time (s)"


def test_where_all_times_are_upper_bounds_the_charts_axis_says_so(study: Path):
    for model in LITE:
        for seed in range(3):
            write_run(study / "runs", model, seed, 0.2, not_for_speed="a throttled GPU")
    titles = [each["layout"]["xaxis"]["title"]["text"] for each in figures_of(render(study))]
    assert "steady fit time, at most (s)" in titles
    assert "steady fit time (s)" not in titles


@pytest.mark.parametrize(("count", "n_colours"), [(3, 3), (8, 8), (9, 1), (40, 1)])
def test_no_two_models_have_the_same_loss_curves(count: int, n_colours: int):
    models = [f"resnet{number}.a" for number in reversed(range(count))]
    columns = {"family": "resnet", "seed": 0, "epoch": 1, "valid_loss": 0.5}
    drawn = loss_curves(pd.DataFrame({"model": models}).assign(**columns), models).data
    looks = {(each.line.color, each.line.dash, each.marker.symbol) for each in drawn}
    assert (len(looks), len({each.line.color for each in drawn})) == (count, n_colours)
    shuffled = loss_curves(pd.DataFrame({"model": models}).assign(**columns), models[::-1]).data
    if count == n_colours:
        assert {each.name: each.line.color for each in drawn} == {
            each.name: each.line.color for each in shuffled
        }, "a model has one colour whatever its rank"


def test_two_close_models_cannot_be_told_apart_and_a_far_one_can(study: Path):
    for seed in range(3):
        cost = {"fit_seconds": 12.0, "peak_rss_gib": 0.9}
        write_run(study / "runs", LITE[2], seed, 0.061 + seed * (seed - 1) / 1000, cost=cost)
    text = words(study)
    assert "It cannot be told apart from 1 of the 2 others: P(best) is 0." in text
    assert f"The quickest of those that may be the best is {LITE[2]}: 57 % of its time" in text


def test_a_model_far_ahead_is_told_apart(study: Path):
    for seed in range(3):
        write_run(study / "runs", LITE[2], seed, 0.25 + seed / 1000)
    assert "It is clearly better than all 2 others: P(best) is 1.00." in words(study)


def test_the_legend_names_a_front_where_there_is_a_line(rendered: Path):
    board = read_results(rendered / "results").board
    for on_front in ([True, True, False], [True, False, False]):
        chart = error_against_time(board.assign(on_front=on_front))
        (front,) = [each for each in chart.data if each.name == "front"]
        assert front.showlegend is (sum(on_front) > 1)


def boxes_of(points: np.ndarray, texts: list[str], lines: np.ndarray, bars: np.ndarray) -> list:
    return name_boxes(points, texts, lines, bars, WIDE, LETTERS[WIDE])


def test_no_name_in_a_chart_lies_across_another_a_mark_or_the_front():
    name, none = "tf_efficientnet_lite0.in1k", np.empty((0, 2))
    front = np.stack([np.linspace(0.1, 0.6, 90), np.full(90, 0.5)], -1)
    points = np.array([[0.1, 0.5], [0.6, 0.5], [0.65, 0.5], [0.99, 0.9], [0.99, 0.91]])
    boxes = boxes_of(points, [name] * 5, front, none)
    assert_apart(boxes, np.vstack([points, front]))


def test_every_model_of_a_crowd_finds_room_for_its_name_with_a_line_that_is_not_upright():
    points = np.random.default_rng(0).uniform(0.2, 0.8, (90, 2))
    texts = [f"a_model_of_the_front_{i}.in1k" if i < 8 else "" for i in range(90)]
    boxes = boxes_of(points, texts, np.empty((0, 2)), np.empty((0, 2)))
    assert [box is not None for box in boxes] == [bool(text) for text in texts]
    assert_apart(boxes[:8], points)
    for point, box in zip(points[:8] * WIDE, boxes[:8], strict=True):
        assert box is not None
        for end in leader(point, box, 1)[-1:]:
            assert abs(end[0] - point[0]) >= abs(end[1] - point[1]) / 2
        assert_apart(boxes[:8], leader(point, box, 1) / WIDE)


def test_the_lines_of_two_names_never_cross():
    texts = [f"a_model_of_the_front_{i}.in1k" if i < 12 else "" for i in range(90)]
    n_lines = 0
    for seed in range(6):
        points = np.random.default_rng(seed).uniform(0.2, 0.8, (90, 2))
        boxes = boxes_of(points, texts, np.empty((0, 2)), np.empty((0, 2)))
        placed = zip(points * WIDE, boxes, strict=True)
        lines = [leader(point, box, SCALE) for point, box in placed if box is not None]
        ends = [line[[0, -1]] @ [1, 1j] for line in lines if len(line)]
        n_lines += len(ends)
        for (a, b), (c, d) in combinations(ends, 2):
            on_both_sides = [
                ((to - start) / (end - start)).imag * ((other - start) / (end - start)).imag < 0
                for start, end, to, other in ((a, b, c, d), (c, d, a, b))
            ]
            assert not all(on_both_sides)
    assert n_lines > 20


def assert_apart(boxes: list, points: np.ndarray) -> None:
    """No box hides one of the points or another box."""
    at = points * WIDE
    for number, (low, high) in enumerate(boxes):
        assert not ((at > low) & (at < high)).all(1).any()
        for other_low, other_high in boxes[:number]:
            assert not ((low < other_high) & (other_low < high)).all()


def test_a_name_crosses_a_bar_only_where_it_must():
    points, none = np.array([[0.5, 0.5]]), np.empty((0, 2))
    (free,) = boxes_of(points, ["a_model.in1k"], none, none)
    assert free is not None
    bar = np.stack([np.full(90, 0.55), np.linspace(0, 1, 90)], -1)
    (beside,) = boxes_of(points, ["a_model.in1k"], none, bar)
    assert beside is not None
    assert beside[1, 0] < 0.55 * WIDE[0]  # on the other side
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 90), np.linspace(0, 1, 90)), -1).reshape(-1, 2)
    (crossing,) = boxes_of(points, ["a_model.in1k"], none, grid)
    assert crossing is not None
    assert (crossing == free).all()
    assert boxes_of(points, ["a_model.in1k"], grid, none) == [None]


def test_the_first_chart_marks_the_tie_set_and_names_the_recommended_model(rendered: Path):
    board = read_results(rendered / "results").board
    chart = error_against_time(board.assign(tied=[True, True, False]))
    (rings,) = [each for each in chart.data if each.name == "may be best"]
    assert len(rings.x) == 2
    for window in ("wide", "narrow"):
        names = [each["text"] for each in chart.layout.meta["names"][window]]
        assert f"<b>{LITE[1]}</b>" in names
        assert set(names) <= {f"<b>{LITE[1]}</b>", LITE[0], LITE[2]}


def test_the_leaderboard_has_the_model_in_bold_that_its_chart_has(rendered: Path):
    rows = read_results(rendered / "results").board
    rows = rows.assign(rank=[1, 1, 2], tied=[True, True, False])
    shown = leaderboard(rows, read_pool_table(rendered / "results")).rows
    bold = [any(cell.shown == LITE[1] for cell in row.cells) for row in shown if row.recommended]
    assert bold == [True]
    without_runs = leaderboard(rows.assign(n=0), read_pool_table(rendered / "results"))
    assert not any(row.recommended for row in without_runs.rows)


def test_a_bound_makes_no_model_the_quickest_of_a_chart():
    rows = board(*({"model": name, "error_rate_mean": 0.1} for name in "abc"))
    rows = rows.assign(steady_fit_seconds_median=[60.0, 20.0, 10.0])
    assert _quickest(rows).tolist() == [False, False, True]
    assert _quickest(rows.assign(hollow=[False, False, True])).tolist() == [False, True, False]
    assert not _quickest(rows.assign(hollow=True)).any()


def test_the_quickest_of_the_tied_comes_with_what_it_saves_and_may_cost():
    best = {"model": "a", "error_rate_mean": 0.1, "steady_fit_seconds_median": 60.0, "gap_high": 0}
    quick = {"model": "b", "error_rate_mean": 0.105, "gap_high": 0.012}
    text = "The quickest of those that may be the best is b: 33 % of its time (20.0 s), an error "
    text += "of 10.50 % (0.50 points more, at most 1.20 at 95 %)."
    rows = board(best, {**quick, "steady_fit_seconds_median": 20.0})
    assert answer("d", rows).choice[-1] == text
    unknown = rows.assign(steady_fit_seconds_median=np.nan, **{AT_MOST: [60.0, 20.0]})
    assert len(answer("d", unknown).choice) == 1  # bounds do not say which is quicker
    half = unknown.assign(steady_fit_seconds_median=[60.0, np.nan])
    assert "as far as times are known, is b: at most 20.0 s" in answer("d", half).choice[-1]
    quick["steady_fit_seconds_median"] = 70.0
    assert len(answer("d", board(best, quick)).choice) == 1  # the best is the quickest


def test_an_equal_error_and_a_likelier_best_are_not_hidden():
    rows = board(
        {"model": "a", "error_rate_mean": 0.1, "p_best": 0.37},
        {"model": "b", "error_rate_mean": 0.1, "p_best": 0.2},
        {"model": "c", "error_rate_mean": 0.11, "p_best": 0.43},
    )
    assert answer("d", rows).choice[1] == (
        "It has the same mean error as b and cannot be told apart from any of the 2 others: "
        "P(best) is 0.37, the next is b (P(best) 0.20), the likeliest best c (0.43)."
    )


def test_a_hover_tells_error_interval_time_memory_and_whose_time_does_not_count(study: Path):
    shared_device = {"kind": "cpu", "name": "Some CPU", "threads": 2, "shared": True}
    write_run(study / "runs", LITE[1], 0, 0.06, device=shared_device)
    write_run(study / "runs", LITE[1], 1, 0.06, not_for_speed="the <batch> was halved")
    html = render(study)
    text = next(
        text
        for trace in figures_of(html)[0]["data"]
        for text in trace.get("hovertext", [])
        if LITE[1] in text
    )
    why = "(1 of 3 runs)"
    for part in (
        "error 6.07 % [",
        "n = 3, P(best) 0.",
        f"steady fit time 22.0 s {why}",
        "ImageNet top-1",
    ):
        assert part in text
    assert "0.90 GiB of host memory" in text
    why = "Times that do not count: the <batch> was halved; the device was shared."
    assert why in Page(html).text


def test_a_column_without_a_value_is_left_out(study: Path, page: str):
    assert "GPU GiB" not in text_of(page)
    cost = {"fit_seconds": 20.0, "peak_memory_reserved_gib": 3.25}
    write_run(study / "runs", LITE[1], 0, 0.06, cost=cost)
    assert "GPU GiB" in words(study)


def test_small_and_fast_models_are_listed_with_the_bounds_they_keep(study: Path):
    for number, model in enumerate(LITE):
        for seed in range(3):
            cost = {"fit_seconds": 20.0 + number, "peak_rss_gib": 1.0 + number}
            write_run(study / "runs", model, seed, 0.1 + seed / 100, cost=cost)
    text = words(study)
    section = text[text.index("Small and fast", text.index("Error against ImageNet")) :]
    bounds = "both in memory of the process (2.00 GiB) and in steady fit time (21.0 s)"
    assert bounds in section
    assert LITE[0] in section[: section.index("What timm publishes")]
    assert LITE[1] not in section[: section.index("Loss curves")]


def test_runs_that_ended_alike_are_one_row():
    ended = [("failed", "out of memory"), ("failed", "no head"), ("failed", "out of memory")]
    runs = pd.DataFrame([*ended, ("missing", None), ("ok", None)], columns=["status", "reason"])
    runs = runs.assign(dataset="d", model="m", recipe="r", seed=range(5))
    shown = [[cell.shown for cell in row.cells][3:] for row in failures(runs).rows]
    assert shown == [
        ["0, 2", "failed", "out of memory"],
        ["1", "failed", "no head"],
        ["3", "missing", "–"],
    ]


def board(*rows: dict) -> pd.DataFrame:
    """Rows of a leaderboard with what `answer` reads."""
    usual = {
        "dataset": "d",
        "recipe": "r",
        "n": 3,
        "error_rate_low": 0.05,
        "error_rate_high": 0.15,
        "interval_covers": "seeds and images",
        "p_best": 0.5,
        "tied": True,
        "fbeta2_mean": float("nan"),
        **dict.fromkeys(BASELINE, float("nan")),
        "doubts": None,
        "steady_fit_seconds_median": 10.0,
        "start_up_seconds_median": 0.5,
        "peak_memory_gib_max": float("nan"),
        "peak_rss_gib_max": 1.5,
        "n_timed": 3,
        "n_not_timed": 0,
        "device": "CPU",
        "chance_error_rate": 0.9,
        "data_kind": "single",
        "n_train": 1600,
        "n_valid": 400,
    }
    return pd.DataFrame([{**usual, **row} for row in rows])


def test_what_the_tables_show_as_zero_has_no_sign():
    little = {"low": -2e-5, "high": 4e-5}
    names = ("gap", "gain", "error_difference", "spearman", "kendall", "pairs_lower", "ratio")
    ends = {f"{name}_{end}": value for name in names for end, value in little.items()}
    middles = dict.fromkeys(("gap_to_best", *names), -1e-5)
    row = SimpleNamespace(**middles, **ends)
    tables = (
        *(report_tables._LEADERBOARD, report_tables._RECIPES),
        *(report_tables._CORRELATIONS, report_tables._ESTIMATES),
    )
    columns = [column for table in tables for column in table if column.key in middles]
    assert len(columns) == len(names)
    shown = [column.show(row) for column in columns]
    assert {text.replace("\u00a0", " ") for text in shown} == {"0.00 [0.00, 0.00]"}


def test_an_answer_says_how_many_images_it_rests_on_and_of_which_days_its_runs_are():
    rows = board({"model": "a", "error_rate_mean": 0.1})
    days = ["2026-11-29T23:59:00+00:00", None, "2026-11-28T08:00:00+00:00"]
    assert answer("d", rows).data == "1,600 training and 400 validation images"
    runs = pd.DataFrame({"started_at": days, "test_error_rate": None, "recipe": "r", "model": "a"})
    assert answer("d", rows, runs=runs).data.endswith(", runs of 2026-11-28 to 2026-11-29")
    assert answer("d", rows, runs=runs[:1]).data.endswith(", runs of 2026-11-29")
    unknown = board({"model": "a", "error_rate_mean": 0.1, "n_train": None, "n_valid": 7})
    assert answer("d", unknown).data == "7 validation images"


def test_models_that_ran_once_come_with_a_warning():
    found = answer(
        "d",
        board(
            {"model": "a", "error_rate_mean": 0.1, "n": 1, "interval_covers": "images"},
            {"model": "b", "error_rate_mean": 0.2, "n": 1, "interval_covers": "images"},
        ),
    )
    assert any("run more seeds" in sentence for sentence in found.remarks)


def test_without_the_number_of_images_nothing_is_said_about_how_sure_it_is():
    unknown = {"p_best": float("nan"), "tied": None, "error_rate_low": float("nan")}
    found = answer(
        "d",
        board(
            {"model": "a", "error_rate_mean": 0.1, **unknown},
            {"model": "b", "error_rate_mean": 0.2, **unknown},
        ),
    )
    assert found.choice == [
        "The number of validation images is unknown, so its rank has no uncertainty estimate."
    ]
    assert ("error", "10.00 %") in found.facts


def test_an_error_at_chance_is_called_that():
    found = answer("d", board({"model": "a", "error_rate_mean": 0.91}))
    assert any("no better than chance" in sentence for sentence in found.remarks)


def test_doubts_about_the_recommended_model_stand_first():
    doubts = "the training loss never fell (1 of 3 runs); only 9 steps were taken (3 of 3 runs)"
    doubted = board({"model": "a", "error_rate_mean": 0.1, "doubts": doubts})
    sentences = answer("d", doubted).remarks
    assert sentences[0] == f"There are doubts about its fits: {doubts}."
    none = answer("d", board({"model": "a", "error_rate_mean": 0.1})).remarks
    assert sentences[1:] == none


def test_doubts_stand_once_beside_the_leaderboard_with_the_models_that_have_them():
    rows = [{"model": name, "error_rate_mean": 0.1} for name in "ab"]
    both, one = (
        "only 9 steps were taken (3 of 3 runs)",
        "the training loss never fell (1 of 3 runs)",
    )
    rows[0]["doubts"], rows[1]["doubts"] = both, f"{both}; {one}"
    assert report_words.doubts(board(*rows)) == [(both, "every model"), (one, "b")]
    assert report_words.doubts(board({"model": "a", "error_rate_mean": 0.1})) == []


def test_a_doubt_about_all_runs_of_each_model_is_one_however_many_runs_they_have():
    never, few = "the training loss never fell", "only 9 steps were taken"
    rows = [{"model": name, "error_rate_mean": 0.1} for name in "abc"]
    rows[0]["doubts"] = f"{never} (2 of 2 runs); {few} (2 of 2 runs)"
    rows[1]["doubts"] = f"{never} (1 of 1 run); {few} (1 of 2 runs)"
    rows[2]["doubts"] = f"{never} (12 of 12 runs)"
    assert report_words.doubts(board(*rows)) == [
        (f"{never} (all runs)", "every model"),
        (f"{few} (2 of 2 runs)", "a"),
        (f"{few} (1 of 2 runs)", "b"),
    ]


def test_a_page_shows_doubts_and_folds_many(study: Path):
    for model in LITE:
        for seed in range(3):
            write_run(study / "runs", model, seed, 0.06, fit={"steps": 54})
    html = render(study)
    assert html.count("only 54 steps were taken, fewer than 100 (3 of 3 runs): every model") == 1
    assert '<details class="doubts" open>' in html
    assert "Doubts about the fits of 3 of 3 models" in html  # as many as n_doubts in the metrics
    for steps, model in enumerate(LITE, start=1):
        for seed in range(3):
            write_run(study / "runs", model, seed, steps / 20, fit={"steps": steps})
    html = render(study)
    assert '<details class="doubts">' in html
    assert "There are doubts about its fits: the error" in html


def test_a_dataset_without_a_finished_run_has_no_answer():
    found = answer("d", board({"model": "a", "error_rate_mean": float("nan"), "n": 0}))
    assert found.model is None
    assert found.remarks == ["No run has finished: there is no answer yet."]


def test_the_explorer_holds_each_accuracy_once_and_every_speed_of_every_file(study: Path):
    table = pd.read_csv(study / "imagenet.csv", dtype=str, keep_default_na=False)
    newer = table[table["mode"] == "infer"].assign(
        benchmark_file="benchmark-infer-bf16-y.csv",
        measured_by="own",
        precision="bf16",
        torch="2.10.0",
        device="rtx9090",
        compile="dynamo",
        samples_per_second="12345.678",
    )
    untimed = table.head(1).assign(model="new.in1k", benchmark_file="", samples_per_second="")
    rows = pd.concat([table, newer[newer["model"] != LITE[0]], untimed])
    rows.to_csv(study / "imagenet.csv", index=False)
    data = published_in(render(study))
    assert data["model"] == [*(model for model in LITE for _ in range(2)), "new.in1k"]
    assert data["pixels"] == [224, 288] * 3 + [224]
    assert data["studied"] == [0, 1, 2, 3, 4, 5]
    files = {file["name"]: file for file in data["files"]}
    assert [(file["mode"], file["device"]) for file in data["files"]] == [
        ("infer", "rtx3090"),
        ("infer", "rtx9090"),
        ("train", "rtx3090"),
    ]
    assert files["benchmark-infer-bf16-y.csv"]["speed"] == [0, 0, 12350, 12350, 12350, 12350, 0]
    setup = "own, bf16, nchw, torch 2.10.0, cu117, dynamo"
    assert files["benchmark-infer-bf16-y.csv"]["setup"] == setup
    assert files["benchmark-infer-amp-x.csv"]["setup"] == "amp, nchw, torch 1.13, cu117"
    assert data["files"][data["start"]]["name"] == "benchmark-infer-amp-x.csv"
    assert data["files"][data["start"]]["batch"] == [256] * 6 + [0]


def test_of_one_device_the_newest_torch_comes_first(study: Path):
    table = pd.read_csv(study / "imagenet.csv", dtype=str, keep_default_na=False)
    for torch in ("2.9.1", "2.10.0"):
        newer = table.head(1).assign(benchmark_file=f"benchmark-infer-{torch}.csv", torch=torch)
        table = pd.concat([table, newer])
    table.to_csv(study / "imagenet.csv", index=False)
    files = published_in(render(study))["files"]
    torch = [file["setup"].split(", ")[2] for file in files if file["mode"] == "infer"]
    assert torch == ["torch 2.10.0", "torch 2.9.1", "torch 1.13"]


@pytest.mark.slow
def test_all_that_timm_publishes_fits_in_seven_megabytes(study: Path, shared: Path):
    merge.main(shared / "timm-results", study / "imagenet.csv", study / "unmatched.csv")
    text = (study / "params.yaml").read_text()
    text = text.replace("benchmark-infer-amp-x", "benchmark-infer-amp-nchw-pt291-cu130-5090")
    text = text.replace("benchmark-train-amp-x", "benchmark-train-amp-nchw-pt112-cu113-rtx3090")
    (study / "params.yaml").write_text(text)
    html = render(study)
    assert len(html.encode()) < 7_000_000
    data = published_in(html)
    rows = pd.read_csv(study / "imagenet.csv", usecols=["benchmark_file"]).dropna()
    assert len(data["files"]) == rows["benchmark_file"].nunique() > 20
    assert sum(speed > 0 for file in data["files"] for speed in file["speed"]) == len(rows)


def test_the_section_on_the_2022_study_is_markup_in_the_page(study: Path, shared: Path):
    render(study)
    study2022.main(str(shared / "reference/sweep_2022.csv"), study / "study2022")
    report.main(*paths(study), study2022=study / "study2022")
    html = (study / "report.html").read_text()
    assert "study2022" in {attrs.get("id") for _, attrs in Page(html).tags}
    assert len(html) < 7_000_000


def test_a_missing_folder_of_the_2022_study_is_one_clear_line(study: Path):
    render(study)
    (study / "report.html").unlink()
    with pytest.raises(PipelineError, match=r"nowhere/section.html: no such file"):
        report.main(*paths(study), study2022=study / "nowhere")
    assert not (study / "report.html").exists()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (25.64, "25.6 s"),
        (59.97, "1 min 00 s"),
        (109.4, "1 min 49 s"),
        (192, "3 min 12 s"),
        (3900, "1 h 05 min"),
        (float("nan"), "–"),
    ],
)
def test_durations_are_written_for_people(seconds: float, text: str):
    assert duration(seconds) == text


def test_the_grids_runs_and_those_of_races_are_counted_apart(study: Path):
    read = read_study(study / "params.yaml")
    runs = pd.DataFrame({"dataset": ["digits"] * 9, "status": "ok"})
    grid = "3 models × 1 dataset × 1 recipe × 3 seeds"
    assert report_words.summary(read, runs) == f"{grid}, images at 64 pixels: 9 runs, 9 ok."
    raced = replace(read, datasets=("digits", "pets"), raced_datasets=("pets",))
    runs = pd.concat([runs, pd.DataFrame({"dataset": ["pets"] * 2, "status": ["ok", "failed"]})])
    assert report_words.summary(raced, runs) == (
        f"{grid}: 9 runs, and 2 runs that races chose (pets), images at 64 pixels, 10 ok, 1 failed."
    )
    alone = replace(raced, datasets=("pets",))
    assert report_words.summary(alone, runs.tail(2)) == (
        "2 runs that races chose (pets), images at 64 pixels, 1 ok, 1 failed."
    )


def test_why_there_is_no_correlation_is_said_once():
    reason = "n = {}: at least 10 models are needed"
    rows = pd.DataFrame({"dataset": "d", "spearman": np.nan, "n": [3, 3, 0]})
    rows["reason"] = [reason.format(n) for n in rows["n"]]
    assert report_words.uncorrelated(rows) == f"d ({reason.format(3)})"


def test_a_raced_dataset_shows_what_its_race_certifies_and_who_left_when(study: Path):
    plain_page = render(study)
    told = write_race(study / "results")
    page = Page(render(study))
    text = " ".join(page.text.split())
    for sentence in told.sentences:
        assert sentence in text.replace("\u00a0", " ")
    assert "not raced: 2 models; reasons: --max-memory 8GB (2)" in text
    assert f"Its race ended on other runs of {LITE[0]} than the tables have now" in text
    assert "This P(best) is among all candidates" in text
    [picture] = [each for _, each in page.tags if str(each.get("alt")).startswith("Who left")]
    assert str(picture["src"]).startswith("data:image/png;base64,")
    (study / "results/race/digits.json").unlink()
    assert render(study) == plain_page


def test_half_a_certificate_is_one_line_that_says_how_to_make_it_again(study: Path):
    write_race(study / "results")
    path = study / "results/race/digits.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(PipelineError, match=r"not a complete certificate \(.*: run `python -m"):
        render(study)
