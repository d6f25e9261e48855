"""Stage `plot`: figures that hold for a study of three models and for timm's whole table."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image, ImageColor
from study_fakes import LITE, write_failure, write_imagenet, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.core.errors import PipelineError
from pipeline.figures.labels import NO_POINTS, place_labels
from pipeline.figures.look import (
    _ORDER,
    COLOURS,
    LOOK,
    MARKERS,
    SYMBOLS,
    TICKS_OF_HALF,
    figure,
    legend_families,
    plain_log,
    style,
)
from pipeline.plot import __main__ as plot
from pipeline.plot.finetunes import error_against_fit_time, rank_correlations
from pipeline.plot.published import _draw_trend
from pipeline.results import read_results
from pipeline.statistics.fit_times import along_front
from pipeline.timm_results.families import FAMILIES

FIGURES = {
    "error_against_fit_time",
    "error_against_imagenet",
    "image_size",
    "infer_speed",
    "infer_speed_trends",
    "models_per_family",
    "parameters",
    "train_speed",
    "train_speed_trends",
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with params.yaml, imagenet.csv and the tables of a finished study."""
    write_study(tmp_path)
    write_imagenet(tmp_path / "imagenet.csv")
    for model, error in zip(LITE, (0.10, 0.06, 0.07), strict=True):
        for seed in (0, 1):
            write_run(tmp_path / "runs", model, seed, error + seed / 100)
    collect(tmp_path)
    return tmp_path


def collect(folder: Path) -> None:
    paths = [folder / name for name in ("params.yaml", "runs", "imagenet.csv", "results", "m")]
    aggregate.main(*paths)


def draw(folder: Path) -> Path:
    figures = folder / "figures"
    plot.main(folder / "params.yaml", folder / "imagenet.csv", folder / "results", figures)
    return figures


def test_every_figure_is_an_svg_and_a_png_that_is_not_blank(study: Path):
    figures = draw(study)
    assert {path.name for path in figures.iterdir()} == {
        f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")
    }
    for path in figures.glob("*.png"):
        with Image.open(path) as image:
            assert len(image.convert("RGB").getcolors(maxcolors=2**24)) > 20, path.name


def test_a_picture_with_few_colours_keeps_white_and_the_families_colours(study: Path):
    with Image.open(draw(study) / "parameters.png") as image:
        assert image.mode == "P"
        colours = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=256)}
    assert (255, 255, 255) in colours
    assert ImageColor.getrgb(style("efficientnet").colour) in colours


@pytest.mark.slow
def test_the_same_tables_give_the_same_bytes_in_another_process(study: Path, root: Path):
    first = {path.name: path.read_bytes() for path in draw(study).iterdir()}
    paths = [study / name for name in ("params.yaml", "imagenet.csv", "results", "again")]
    command = [sys.executable, "-m", "pipeline.plot", *map(str, paths)]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run(command, cwd=root, env=environment, check=True)
    assert {path.name: path.read_bytes() for path in (study / "again").iterdir()} == first


def test_a_dataset_whose_runs_all_failed_still_has_its_panel(study: Path):
    write_study(study, datasets=["digits", "broken"])
    write_failure(study / "runs", LITE[0], 0, "out of memory", dataset="broken")
    collect(study)
    assert len(list(draw(study).iterdir())) == 2 * len(FIGURES)


def correlation(dataset: str, predictor: str, n: int, rho: float, low: float, high: float) -> dict:
    names = {"dataset": dataset, "recipe": "r", "outcome": "error_rate_mean"}
    rho_and_interval = {"spearman": rho, "spearman_low": low, "spearman_high": high}
    return {**names, "predictor": predictor, "n": n, **rho_and_interval}


def test_a_figure_speaks_of_small_marks_only_where_some_are_drawn(tmp_path: Path):
    write_study(tmp_path)
    write_imagenet(tmp_path / "imagenet.csv")
    for why in (None, "the device was shared"):
        for number, model in enumerate(LITE):
            for seed in (0, 1):
                write_run(tmp_path / "runs", model, seed, 0.1 + number / 10, not_for_speed=why)
        names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
        aggregate.main(*(tmp_path / name for name in names))
        done = read_results(tmp_path / "results")
        made = error_against_fit_time(done.board, done.runs)
        said = " ".join(text.get_text() for text in made.findobj(Text))
        assert ("small, tied to it" in said.replace("\n", " ")) == (why is None)
        assert "Large: a model's mean error" in said


def test_correlations_have_a_panel_per_dataset_and_a_hollow_mark_where_no_interval_is_known():
    rows = [
        correlation("pets", "imagenet_top1", 80, -0.6, -0.7, -0.5),
        correlation("pets", "params_m", 6, 0.2, np.nan, np.nan),
        correlation("planet", "imagenet_top1", 80, -0.2, -0.4, 0.1),
        correlation("planet", "params_m", 2, np.nan, np.nan, np.nan),
    ]
    with mpl.rc_context(LOOK):
        panels = rank_correlations(pd.DataFrame(rows)).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["pets", "planet"]
    shown = [
        [(line.get_xdata()[0], line.get_mfc()) for line in axes.lines if line.get_marker() == "o"]
        for axes in panels
    ]
    assert shown == [[(-0.6, COLOURS[0]), (0.2, "white")], [(-0.2, COLOURS[0])]]
    bars = [list(line.get_xdata()) for line in panels[0].lines if len(line.get_xdata()) == 2]
    assert [-0.7, -0.5] in bars


def test_a_study_of_four_models_has_a_figure_of_correlations(study: Path):
    models = [*LITE, "resnet18.a1_in1k"]
    write_study(study, models=models)
    write_imagenet(study / "imagenet.csv", models)
    for seed in (0, 1):
        write_run(study / "runs", models[-1], seed, 0.2)
    collect(study)
    assert (draw(study) / "correlations.svg").is_file()


def test_figures_without_the_tables_of_aggregate_are_one_clear_line(study: Path):
    (study / "results/leaderboard.csv").unlink()
    with pytest.raises(PipelineError, match=r"leaderboard.csv: not there: run `dvc repro"):
        draw(study)
    assert not (study / "figures").exists()


def test_a_table_of_an_older_shape_is_one_clear_line(study: Path):
    path = study / "results/leaderboard.csv"
    pd.read_csv(path).drop(columns="n_timed").to_csv(path, index=False)
    with pytest.raises(PipelineError, match=r"leaderboard.csv: no column n_timed: run `dvc repro"):
        draw(study)


def test_labels_do_not_overlap_each_other_nor_the_points():
    random = np.random.default_rng(0)
    points = random.normal(size=(60, 2))
    with mpl.rc_context(LOOK):
        made, (axes,) = figure("title", "note", 5)
        axes.plot(*points.T, "o")
        labels = place_labels(axes, points, [f"some_model_{i}" for i in range(60)], NO_POINTS)
        made.draw_without_rendering()
    boxes = [label.get_window_extent() for label in labels]
    assert len(boxes) >= 10
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
        assert not any(box.contains(*pixel) for pixel in axes.transData.transform(points))


def test_no_name_is_written_across_the_front(study: Path):
    done = read_results(study / "results")
    columns = ["error_rate_mean", "error_rate_low", "error_rate_high", "steady_fit_seconds_median"]
    numbers = {  # of the quickstart's mosaics; here a name was once drawn on the line
        LITE[0]: (0.1603, 0.1157, 0.2181, 20.9),
        LITE[1]: (0.1536, 0.1097, 0.2109, 24.7),
        LITE[2]: (0.1843, 0.1364, 0.2450, 27.4),
    }
    board = done.board.set_index("model").loc[LITE]
    board[columns] = [numbers[model] for model in LITE]
    board = board.assign(on_front=[True, True, False]).reset_index()
    with mpl.rc_context(LOOK):
        twice = [board, board.assign(dataset="other")]
        made = error_against_fit_time(pd.concat(twice), done.runs.assign(status="failed"))
        made.draw_without_rendering()
    axes = made.axes[0]
    (line,) = [each for each in axes.lines if each.get_drawstyle() == "steps-post"]
    (left, above), (right, below) = axes.transData.transform(line.get_xydata())
    along = np.linspace(0, 1, 500)[:, None]
    across = (left, above) + along * (right - left, 0)
    down = (right, above) + along * (0, below - above)
    names = [text for text in axes.texts if text.get_text() in LITE]
    assert {text.get_text() for text in names} == set(LITE)
    for text in names:
        box = text.get_window_extent()
        assert not any(box.contains(*pixel) for pixel in np.vstack([across, down])), text


def test_no_name_is_written_across_the_baseline(study: Path):
    done = read_results(study / "results")
    with mpl.rc_context(LOOK):
        for baseline in np.linspace(0.05, 0.13, 17):
            board = done.board.assign(baseline_error=baseline)
            (axes,) = error_against_fit_time(board, done.runs).axes
            (line,) = [each for each in axes.lines if each.get_linestyle() == ":"]
            level = axes.transData.transform((0, 100 * baseline))[1]
            assert line.get_ydata()[0] == pytest.approx(100 * baseline)
            names = [text for text in axes.texts if text.get_text() in LITE]
            assert names
            for text in names:
                box = text.get_window_extent()
                assert not box.y0 <= level <= box.y1, (baseline, text)


@pytest.mark.parametrize(
    ("on_front", "told"), [([True, True, False], True), ([True, False, False], False)]
)
def test_the_front_is_told_of_where_it_is_a_line(study: Path, on_front: list[bool], told: bool):
    done = read_results(study / "results")
    with mpl.rc_context(LOOK):
        made = error_against_fit_time(done.board.assign(on_front=on_front), done.runs)
    assert ("Dashed: the front" in " ".join(made.texts[1].get_text().split())) is told


def test_a_run_whose_time_does_not_count_is_counted_below_and_not_drawn(study: Path):
    write_run(study / "runs", LITE[0], 0, 0.1, not_for_speed="the batch was halved")
    collect(study)
    done = read_results(study / "results")
    with mpl.rc_context(LOOK):
        made = error_against_fit_time(done.board, done.runs)
    marks = [each for each in made.axes[0].collections if isinstance(each, PathCollection)]
    assert sum(len(each.get_offsets()) for each in marks) == 5
    note = " ".join(made.texts[1].get_text().split())
    assert note.endswith("Runs whose time does not count: 1.")


@pytest.mark.parametrize("n_bounded", [2, 3])
def test_where_all_times_are_upper_bounds_the_axis_and_the_note_say_so(study: Path, n_bounded: int):
    for model in LITE[:n_bounded]:
        for seed in (0, 1):
            write_run(study / "runs", model, seed, 0.1, not_for_speed="it shared the device")
    collect(study)
    done = read_results(study / "results")
    with mpl.rc_context(LOOK):
        made = error_against_fit_time(done.board, done.runs)
    all_bounded = n_bounded == len(LITE)
    label = "steady fit time, at most (s)" if all_bounded else "steady fit time (s)"
    assert made.axes[0].get_xlabel() == label
    note = " ".join(made.texts[1].get_text().split())
    assert ("mean error and the most its fit time can be; bars" in note) is all_bounded


def test_no_axis_of_errors_goes_far_below_0(study: Path):
    for model in LITE:
        for seed in (0, 1):
            write_run(study / "runs", model, seed, 0.01 * seed)
    collect(study)
    done = read_results(study / "results")
    with mpl.rc_context(LOOK):
        (axes,) = error_against_fit_time(done.board, done.runs).axes
    assert -0.051 * axes.get_ylim()[1] <= axes.get_ylim()[0] < 0


def test_a_logarithmic_axis_has_no_more_ticks_than_there_is_room_for():
    for low, high, least in ((50, 400, 4), (0.2, 1500, 3), (1e-3, 1e6, 3)):
        with mpl.rc_context(LOOK):
            _, (axes,) = figure("title", "note", 5)
        axes.set(xscale="log", xlim=(low, high))
        plain_log(axes.xaxis, TICKS_OF_HALF)
        shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert least <= len(shown) <= TICKS_OF_HALF + 2


@pytest.mark.parametrize("decades", [0.5, 1, 1.6, 2.4, 2.6, 3.1, 3.3])
def test_ticks_of_a_logarithmic_axis_do_not_touch(decades: float):
    with mpl.rc_context(LOOK):
        made, (axes,) = figure("title", "note", 5)
        axes.set(xscale="log", xlim=(20, 20 * 10**decades))
        made.legend(handles=[Line2D([], [], label="efficientnetv2")], loc="outside right upper")
        plain_log(axes.xaxis)
        made.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    inside = [box for box in boxes if box.x0 > axes.bbox.x0 - 50 and box.x1 < axes.bbox.x1 + 50]
    assert len(inside) >= 2
    assert all(right.x0 - left.x1 > 4 for left, right in pairwise(inside))


def test_the_first_label_wins_where_there_is_room_for_one_only():
    with mpl.rc_context(LOOK):
        _, (axes,) = figure("title", "note", 5)
        points = np.array([[0.5, 0.5]] * 60)
        texts = [f"a_long_name_of_a_model_that_takes_much_room_{i}" for i in range(60)]
        labels = place_labels(axes, points, texts, NO_POINTS)
    assert labels[0].get_text() == texts[0]
    assert len(labels) < 60


def test_families_look_alike_in_every_chart_and_unlike_their_neighbours():
    names = [name for name, _ in FAMILIES]
    styles = {name: style(name) for name in names}
    assert len({(look.colour, look.marker) for look in styles.values()}) == len(names)
    assert len(MARKERS) == len(SYMBOLS)
    assert len({style(name).colour for name in ("convnext", "swin", "levit", "vgg")}) == 4
    assert style("a family nobody knows").colour not in COLOURS


def test_a_trend_needs_six_points_has_a_band_and_does_not_follow_an_outlier():
    speed = np.array([100, 200, 400, 800, 1600, 3200, 6400])
    rows = pd.DataFrame({"samples_per_second": speed, "top1": 90 - 5 * np.log10(speed)})
    rows.loc[6, "top1"] = 20.0
    with mpl.rc_context(LOOK):
        _, (few, enough) = figure("title", "note", 5, columns=2)
    _draw_trend(few, rows.head(5), "red", "-")
    _draw_trend(enough, rows, "red", "-")
    assert not few.lines
    assert len(enough.collections) == 1
    x, y = enough.lines[0].get_data()
    assert (y[-1] - y[0]) / np.log10(x[-1] / x[0]) == pytest.approx(-5)


def test_families_of_one_colour_differ_in_the_kind_of_their_marks():
    kinds = {mark: kind for kind in ("oph8", "^<>v", "PX", "sDd") for mark in kind}
    assert set(kinds) == set(MARKERS)
    by_colour: dict[str, list[str]] = {}
    for name in _ORDER[:24]:
        by_colour.setdefault(style(name).colour, []).append(kinds[style(name).marker])
    assert style("convnext").colour == style("vit").colour
    for found in by_colour.values():
        assert len(set(found[:3])) == 3


def test_the_front_holds_what_nothing_beats_in_both():
    seconds = np.array([3.0, 1.0, 2.0, 2.5, np.nan])
    accuracy = np.array([0.9, 0.5, 0.7, 0.6, 0.99])
    assert list(along_front(seconds, accuracy)) == [1, 2, 0]


def test_a_legend_names_the_largest_families_in_a_fixed_order():

    families = pd.Series(["vit"] * 3 + ["swin"] * 5 + ["vgg"] + ["unheard_of"] * 9)
    assert legend_families(families, 2) == ["swin", "vit"]


def test_the_stages_of_tables_and_figures_do_not_import_torch(root: Path):
    code = (
        "import sys, pipeline.aggregate, pipeline.plot, pipeline.report;"
        "print([name for name in ('torch', 'timm', 'fastai') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_timms_whole_table_is_drawn(study: Path, shared: Path):
    from pipeline.merge import __main__ as merge

    merge.main(shared / "timm-results", study / "imagenet.csv", study / "unmatched.csv")
    text = (study / "params.yaml").read_text()
    text = text.replace("benchmark-infer-amp-x", "benchmark-infer-amp-nchw-pt113-cu117-rtx3090")
    text = text.replace("benchmark-train-amp-x", "benchmark-train-amp-nchw-pt112-cu113-rtx3090")
    (study / "params.yaml").write_text(text)
    collect(study)
    figures = draw(study)
    assert len(list(figures.iterdir())) == 2 * len(FIGURES)
    assert all(path.stat().st_size < 1_200_000 for path in figures.iterdir())
