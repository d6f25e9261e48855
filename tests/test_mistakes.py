"""Stage `mistakes`: what a model gets wrong, from what its runs answered, and how it is shown."""

import itertools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats
from study_fakes import LITE, write_imagenet, write_run, write_study
from test_report import Page, paths
from tiny_runs import SIZE, write_squares

from pipeline.aggregate import __main__ as aggregate
from pipeline.core.command import percent
from pipeline.core.errors import PipelineError
from pipeline.dataset.prepared import open_prepared
from pipeline.figures.look import save
from pipeline.mistakes import __main__ as stage
from pipeline.mistakes.answers import (
    Answers,
    answers_of,
    by_class,
    by_tag,
    calibration_error,
    confusion,
    reliability,
    shared_mistakes,
    unanimous_mistakes,
    worst,
    write_thumbnail,
    wrong_for_all,
)
from pipeline.mistakes.tables import read_mistakes
from pipeline.plot import __main__ as plot
from pipeline.plot import mistakes as figures
from pipeline.records import pack_counts, pack_predictions
from pipeline.report import __main__ as report
from pipeline.report import mistakes as report_mistakes
from pipeline.statistics.intervals import wilson

CLASSES = ["a", "b", "c"]


def single(truth: list[int], *runs: list[tuple[int, int]]) -> Answers:
    """Answers of runs, each a class and a probability in 1/255 per image."""
    made = [np.array([(c % 256, c // 256, p) for c, p in run], dtype=np.uint8) for run in runs]
    return answers_of("single", np.array(truth), made)


def test_a_confusion_matrix_counts_images_as_the_mean_over_runs() -> None:
    both = single([0, 0, 1], [(0, 255), (1, 200), (1, 255)], [(0, 255), (0, 200), (2, 255)])
    assert confusion(both, 3).tolist() == [[1.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 0]]


def test_a_class_has_its_error_its_interval_and_what_it_is_taken_for() -> None:
    answers = single([0] * 8 + [1] * 2, [(0, 255)] * 6 + [(1, 200)] * 2 + [(1, 255)] * 2)
    rows = by_class(answers, CLASSES).set_index("label")
    assert rows.loc["a", ["images", "error_rate", "taken_for"]].tolist() == [8, 0.25, "b"]
    low, high = wilson(0.25, 8)
    assert (rows.loc["a", "error_low"], rows.loc["a", "error_high"]) == (low, high)
    assert (float(low), float(high)) == pytest.approx(
        (0.0715, 0.5907), abs=1e-4
    )  # Wilson's, 2 of 8
    assert pd.isna(rows.loc["b", "taken_for"])
    assert pd.isna(rows.loc["c", "error_rate"]), "no image of it, so no error"


def test_classes_beyond_255_come_back() -> None:
    assert single([300], [(300, 255)]).wrong.tolist() == [[False]]


def test_a_labels_precision_recall_and_f2_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import fbeta_score, precision_score, recall_score

    draw = np.random.default_rng(0)
    truth = draw.random((200, 3)) > 0.6
    told = draw.integers(0, 256, size=(200, 3)).astype(np.uint8)
    rows = by_tag(answers_of("multi", truth.astype(np.float32), [told]), CLASSES)
    for label, row in enumerate(rows.to_dict("records")):
        said = told[:, label] > 127
        assert row["precision"] == pytest.approx(precision_score(truth[:, label], said))
        assert row["recall"] == pytest.approx(recall_score(truth[:, label], said))
        assert row["f2"] == pytest.approx(fbeta_score(truth[:, label], said, beta=2))
        assert row["f2_low"] < row["f2"] < row["f2_high"]
        f2 = [
            fbeta_score(truth[:, label], told[:, label] / 255 > step, beta=2)
            for step in np.linspace(0.02, 0.98, 49)
        ]
        chosen = fbeta_score(truth[:, label], told[:, label] / 255 > row["threshold_f2"], beta=2)
        assert chosen == pytest.approx(max(f2), abs=1e-3)


def test_a_label_that_no_image_has_has_no_numbers_and_a_threshold_of_a_half() -> None:
    rows = by_tag(answers_of("multi", np.zeros((9, 3)), [np.zeros((9, 3), np.uint8)]), CLASSES)
    assert rows[["precision", "recall", "f2"]].isna().all(axis=None)
    assert rows["threshold_f2"].tolist() == [0.5] * 3


def test_of_thresholds_that_are_as_good_the_nearest_to_a_half_counts() -> None:
    truth = np.array([[1, 1, 1], [0, 0, 0]], dtype=np.float32)
    sure = np.array([[255, 77, 230], [0, 26, 179]], dtype=np.uint8)  # 0.30 and 0.90 at the least
    rows = by_tag(answers_of("multi", truth, [sure]), CLASSES)
    assert rows["threshold_f2"].tolist() == [0.5, 0.3, 0.72]


def test_the_only_image_of_a_class_may_be_taken_for_another() -> None:
    rows = by_class(single([0, 1], [(0, 255), (2, 200)]), CLASSES)
    assert rows["taken_for_share"].tolist() == [0, 1, 0]
    assert rows["taken_for"].dropna().to_dict() == {1: "c"}


def test_mistakes_that_are_as_sure_come_in_the_order_of_the_images() -> None:
    rows = worst(single([0] * 200, [(1, 200)] * 200), CLASSES, 150)
    assert [row["image"] for row in rows] == list(range(150))


def test_calibrated_answers_lie_on_the_diagonal_and_sure_wrong_ones_do_not() -> None:
    draw = np.random.default_rng(0)
    told = draw.integers(128, 256, size=4000)
    truth = np.where(draw.random(4000) < told / 255, 1, 0)
    honest = single(truth.tolist(), [(1, each) for each in told])
    bins = reliability(honest)
    assert calibration_error(bins) < 0.03
    assert (
        (bins["right_low"] < bins["probability"]) & (bins["probability"] < bins["right_high"])
    ).all()
    boasting = reliability(single(truth.tolist(), [(1, 255)] * 4000))
    assert calibration_error(boasting) == pytest.approx(1 - truth.mean(), abs=1e-6)


def test_answers_of_several_runs_on_an_image_do_not_count_as_more_images() -> None:
    once = reliability(single([0] * 20, [(0, 255)] * 20))
    thrice = reliability(single([0] * 20, *[[(0, 255)] * 20] * 3))
    assert thrice["right_low"].tolist() == once["right_low"].tolist()
    assert (thrice["n"].tolist(), thrice["answers"].tolist()) == ([20], [60])


def test_mistakes_on_the_same_images_are_shared_and_others_are_not() -> None:
    one = single([0, 0, 0, 0], [(1, 255), (1, 255), (0, 255), (0, 255)])
    other = single([0, 0, 0, 0], [(0, 255), (1, 255), (1, 255), (0, 255)])
    found = shared_mistakes(one, other)
    assert found["both"] == 0.25
    assert found["overlap"] == pytest.approx(1 / 3)
    assert found["both_if_independent"] == 0.25
    assert np.isnan(shared_mistakes(one, one)["both"]), "a lone run is not held against itself"


def test_the_worst_mistakes_are_the_surest_on_the_mean_over_runs() -> None:
    answers = single([0, 0, 0], [(1, 250), (1, 200), (0, 255)], [(0, 250), (1, 210), (0, 255)])
    rows = worst(answers, CLASSES, 9)
    assert [row["image"] for row in rows] == [1, 0], "sure in one run is less than in both"
    assert rows[0]["probability"] == pytest.approx((200 + 210) / 2 / 255, abs=1e-6)
    assert (rows[1]["wrong_runs"], rows[1]["runs"]) == (1, 2)
    assert (rows[0]["truth"], rows[0]["answer"]) == ("a", "b")


def test_a_mistake_is_shown_with_the_answer_that_its_number_and_runs_belong_to() -> None:
    answers = single([0], [(1, 140)], [(1, 120)], [(2, 200)], [(2, 180)], [(0, 255)])
    row = worst(answers, CLASSES, 9)[0]
    assert row["answer"] == CLASSES[2], "of two answers given alike often the surer one"
    assert row["probability"] == pytest.approx((200 + 180) / 2 / 255, abs=1e-6)
    assert (row["answer_runs"], row["wrong_runs"], row["runs"]) == (2, 4, 5)


def test_what_everyone_gets_wrong_is_wrong_in_every_run_of_every_model() -> None:
    one = single([0, 0], [(1, 250), (1, 200)], [(1, 250), (0, 200)])
    other = single([0, 0], [(2, 250), (1, 200)])
    assert wrong_for_all([one, other]).tolist() == [True, False]
    (row,) = unanimous_mistakes([one, other], CLASSES, 9)
    assert (row["image"], row["answer"], row["runs"]) == (0, "b", 3)


def test_a_label_that_is_missed_and_one_that_is_made_up_say_so() -> None:
    truth = np.array([[1, 0], [0, 0]], dtype=np.float32)
    answers = answers_of("multi", truth, [np.array([[3, 0], [0, 250]], dtype=np.uint8)])
    rows = worst(answers, ["road", "mine"], 9)
    assert [(row["truth"], row["answer"]) for row in rows] == [
        ("road", "no road"),
        ("no mine", "mine"),
    ]


def several_runs(kind: str, n_runs: int = 3, n_images: int = 150) -> tuple[Answers, list[Answers]]:
    """Answers of several runs on images of CLASSES, and those of each run alone."""
    draw = np.random.default_rng(7)
    # multiples of 51 are the ends of bins, which other programs take to be in the one below
    steps = [step for step in range(256) if step % 51]
    if kind == "single":
        truth = draw.choice(3, size=n_images, p=[0.5, 0.3, 0.2])
        told = np.zeros((n_runs, n_images, 3), dtype=np.uint8)
        right = draw.random((n_runs, n_images)) < draw.random(n_images)
        told[..., 0] = np.where(right, truth, draw.integers(3, size=right.shape))
        told[..., 2] = draw.choice(steps, size=right.shape)
    else:
        truth = (draw.random((n_images, 3)) < [0.5, 0.3, 0.1]).astype(np.float32)
        told = draw.choice(steps, size=(n_runs, n_images, 3))
        told = np.where(draw.random(told.shape) < 0.5, 254 * truth, told).astype(np.uint8)
    return answers_of(kind, truth, [*told]), [answers_of(kind, truth, [run]) for run in told]


def test_a_class_has_the_confusions_of_scikit_learn_over_all_runs() -> None:
    from sklearn.metrics import confusion_matrix

    answers, runs = several_runs("single")
    counts = np.mean([confusion_matrix(answers.truth, run.decided[0]) for run in runs], axis=0)
    assert confusion(answers, 3) == pytest.approx(counts)
    rows = by_class(answers, CLASSES)
    n = counts.sum(axis=1)
    mistakes = counts - np.diag(np.diag(counts))
    assert rows["images"].tolist() == n.tolist()
    assert rows["error_rate"].tolist() == pytest.approx((mistakes.sum(axis=1) / n).tolist())
    assert rows["taken_for"].tolist() == [CLASSES[each] for each in mistakes.argmax(axis=1)]
    share = mistakes.max(axis=1) / n
    assert rows["taken_for_share"].tolist() == pytest.approx(share.tolist())
    alone = by_class(runs[0], CLASSES)
    for row in alone.itertuples():
        wrong = round(row.error_rate * row.images)
        ends = stats.binomtest(wrong, row.images).proportion_ci(0.95, method="wilson")
        assert (row.error_low, row.error_high) == pytest.approx((ends.low, ends.high))


def test_a_label_over_several_runs_is_that_of_all_their_answers_together() -> None:
    from sklearn.metrics import fbeta_score, precision_score, recall_score

    answers, runs = several_runs("multi")
    n_images, steps = len(answers.truth), np.linspace(0.02, 0.98, 49)
    draw = np.random.default_rng(8)
    for label, row in enumerate(by_tag(answers, CLASSES).to_dict("records")):
        truth = np.tile(answers.truth[:, label], 3)
        sure = answers.probability[:, :, label].ravel()
        assert row["images"] == answers.truth[:, label].sum()
        assert row["answered"] == pytest.approx((sure > 0.5).sum() / 3)
        assert row["precision"] == pytest.approx(precision_score(truth, sure > 0.5))
        assert row["recall"] == pytest.approx(recall_score(truth, sure > 0.5))
        assert row["f2"] == pytest.approx(fbeta_score(truth, sure > 0.5, beta=2))
        rows = draw.integers(n_images, size=(2000, n_images))
        there, said = answers.truth[rows, label], answers.probability[:, rows, label] > 0.5
        hits, missed, made_up = (
            found.sum(axis=(0, 2)) for found in (said & there, ~said & there, said & ~there)
        )
        ends = np.quantile(5 * hits / (5 * hits + 4 * missed + made_up), [0.025, 0.975])
        assert [row["f2_low"], row["f2_high"]] == pytest.approx(ends.tolist(), abs=0.025)
        said = answers.probability[:, :, label] > 0.5
        counts = np.stack([(said & answers.truth[:, label]).sum(axis=0), said.sum(axis=0)])
        again = np.random.default_rng(0).multinomial(n_images, [1 / n_images] * n_images, size=1000)
        hits, told = again @ counts[0], again @ counts[1]
        f2 = 5 * hits / (4 * 3 * (again @ answers.truth[:, label]) + told)
        found = np.quantile(f2, [0.025, 0.975])  # of the very draws
        assert [row["f2_low"], row["f2_high"]] == pytest.approx(found.tolist())
        scores = np.array([fbeta_score(truth, sure > step, beta=2) for step in steps])
        best = steps[np.isclose(scores, scores.max(), atol=1e-9)]
        nearest = best[np.abs(best - 0.5).argmin()]
        assert row["threshold_f2"] == pytest.approx(nearest)
    alone = by_tag(runs[0], CLASSES)
    for label, row in enumerate(alone.to_dict("records")):
        right = int((runs[0].decided[0] & answers.truth)[:, label].sum())
        for name, of in (("precision", row["answered"]), ("recall", row["images"])):
            ends = stats.binomtest(right, int(of)).proportion_ci(0.95, method="wilson")
            found = row[f"{name}_low"], row[f"{name}_high"]
            assert found == pytest.approx((ends.low, ends.high))


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_reliability_diagram_is_scikit_learns_over_all_answers(kind: str) -> None:
    from sklearn.calibration import calibration_curve

    answers, _ = several_runs(kind)
    right = answers.decided == answers.truth
    if kind == "multi":
        right = np.broadcast_to(answers.truth, answers.decided.shape)
    bins = reliability(answers)
    is_right, sure = calibration_curve(right.ravel(), answers.probability.ravel(), n_bins=10)
    assert bins["right"].tolist() == pytest.approx(is_right.tolist())
    assert bins["probability"].tolist() == pytest.approx(sure.tolist())
    flat = pd.DataFrame({"sure": answers.probability.ravel(), "right": right.ravel()})
    flat["answer"] = np.tile(np.arange(answers.truth.size), 3)
    ends = np.linspace(0, 1, 11)
    groups = flat.groupby(pd.cut(flat["sure"], ends, labels=False, include_lowest=True))
    assert bins["answers"].tolist() == groups.size().tolist()
    assert bins["n"].tolist() == groups["answer"].nunique().tolist()
    assert bins["bin_low"].tolist() == pytest.approx(ends[groups.size().index].tolist())
    assert (bins["bin_high"] - bins["bin_low"]).tolist() == pytest.approx([0.1] * len(bins))
    low, high = wilson(bins["right"].to_numpy(), bins["n"].to_numpy())
    assert bins["right_low"].tolist() == pytest.approx(low.tolist())
    assert bins["right_high"].tolist() == pytest.approx(high.tolist())
    gaps = (groups["right"].mean() - groups["sure"].mean()).abs() * groups.size()
    assert calibration_error(bins) == pytest.approx(gaps.sum() / len(flat))


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_shared_mistakes_are_the_mean_over_pairs_of_runs(kind: str) -> None:
    one, _ = several_runs(kind)
    wrong = one.wrong.reshape(3, -1)
    other = Answers(kind, one.truth, one.decided[[2, 0]], one.probability[[2, 0]])
    pairs = [np.mean(wrong[a] & wrong[b]) for a in range(3) for b in (2, 0)]
    either = wrong.mean() + wrong[[2, 0]].mean() - np.mean(pairs)
    assert shared_mistakes(one, other) == pytest.approx(
        {
            "error_rate": wrong[[2, 0]].mean(),
            "both": np.mean(pairs),
            "both_if_independent": wrong.mean() * wrong[[2, 0]].mean(),
            "overlap": np.mean(pairs) / either,
        }
    )
    own = [np.mean(wrong[a] & wrong[b]) for a, b in itertools.permutations(range(3), 2)]
    assert shared_mistakes(one, one)["both"] == pytest.approx(np.mean(own))
    perfect = Answers(kind, one.truth, one.truth[None], np.ones_like(one.probability[:1]))
    assert np.isnan(shared_mistakes(perfect, perfect)["overlap"])


def test_of_several_labels_an_image_is_shown_with_the_one_that_is_farthest_off() -> None:
    answers, runs = several_runs("multi")
    off = np.mean([np.abs(run.probability[0] - answers.truth) for run in runs], axis=0)
    wrong = np.sum([run.wrong[0] for run in runs], axis=0)
    table = pd.DataFrame(
        [
            (image, label, off[image, label], wrong[image, label])
            for image, label in zip(*np.nonzero(wrong), strict=True)
        ],
        columns=["image", "label", "off", "wrong"],
    )
    table = table.sort_values("off", ascending=False, kind="stable").drop_duplicates("image")
    found = worst(answers, CLASSES, 20)
    assert [row["image"] for row in found] == table["image"].tolist()[:20]
    for row, expected in zip(found, table.itertuples(), strict=False):
        name = CLASSES[expected.label]
        texts = (name, f"no {name}") if answers.truth[expected.image, expected.label] else None
        assert (row["truth"], row["answer"]) == (texts or (f"no {name}", name))
        assert row["probability"] == pytest.approx(expected.off, abs=1e-6)
        assert row["wrong_runs"] == row["answer_runs"] == expected.wrong
        assert row["runs"] == 3
    every = [row["image"] for row in worst(answers, CLASSES, 500)]
    assert every == table["image"].tolist()  # without those that are right, however unsure
    everyone = [row["image"] for row in unanimous_mistakes(runs, CLASSES, 500)]
    assert set(everyone) == set(np.flatnonzero((wrong == 3).any(axis=1)))
    assert wrong_for_all(runs).tolist() == (wrong == 3).tolist()


def test_a_thumbnail_is_the_image_of_the_row(tmp_path: Path) -> None:
    data = open_prepared(write_squares(tmp_path / "squares"))
    for row in (0, 3):
        write_thumbnail(data, SIZE, "squish", row, tmp_path / "thumbnails" / f"{row}.jpg")
        with Image.open(tmp_path / "thumbnails" / f"{row}.jpg") as image:
            assert (image.format, image.size) == ("JPEG", (min(SIZE, 96), min(SIZE, 96)))
            found = np.asarray(image, dtype=float)
        expected = np.asarray(data.array(SIZE, "squish")[[row]][0], dtype=float)
        assert found.shape == (*expected.shape[1:], 3)
        bright = found.mean(axis=2).ravel(), expected.mean(axis=0).ravel()
        assert np.corrcoef(*bright)[0, 1] > 0.7  # a small JPEG of noise


KINDS = ("single", "multi")


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models, two seeds each, on squares, aggregated; the first is the better one."""
    return {kind: written(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def study(request: pytest.FixtureRequest, studies: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(studies[request.param], tmp_path / "study")


def written(folder: Path, kind: str) -> Path:
    data = open_prepared(write_squares(folder / "data/squares", 40, 40, kind))
    write_study(folder, datasets=["squares"], models=LITE[:2])
    write_imagenet(folder / "imagenet.csv", LITE[:2])
    truth = data.labels[data.rows("valid")]
    draw = np.random.default_rng(0)
    for number, model in enumerate(LITE[:2]):
        for seed in range(2):
            bad = draw.random(truth.shape) < 0.1 + 0.2 * number
            if kind == "single":
                answer = np.where(bad, (truth + 1) % 3, truth)
                told = np.stack([answer, 0 * answer, draw.integers(100, 256, len(answer))], 1)
                wrong = (answer != truth).astype(int)
            else:
                told = np.where((truth > 0) != bad, 200, 20)
                wrong = bad.sum(axis=1)
            rate = float(wrong.mean()) / (1 if kind == "single" else 3)
            about = {"fingerprint": "squares", "kind": kind, "n_train": 40}
            about |= {"n_valid": 40, "n_classes": 3, "chance_error_rate": 0.6}
            packed = pack_predictions(told.astype(np.uint8))
            config = {"image_size": SIZE, "recipe": {"name": "quickstart", "resize": "squish"}}
            changes = {"valid_wrong": pack_counts(wrong), "valid_predictions": packed}
            changes |= {"data": about, "config": config}
            write_run(folder / "runs", model, seed, rate, "squares", **changes)
    params = (folder / "params.yaml").read_text().replace("image_size: 64", f"image_size: {SIZE}")
    (folder / "params.yaml").write_text(params)
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(folder / name for name in names))
    return folder


def made(folder: Path) -> Path:
    stage.main(*(folder / name for name in ("params.yaml", "runs", "data", "results", "mistakes")))
    return folder / "mistakes"


def test_a_dataset_that_is_not_prepared_is_named_with_its_size_wherever_it_belongs(
    study: Path,
) -> None:
    folder = study / "data/squares"
    shutil.rmtree(folder)
    prepare = f"python -m pipeline.dataset dataset=squares image_size={SIZE} out={folder}"
    with pytest.raises(
        PipelineError, match=re.escape(f"no prepared dataset here: run `{prepare}`")
    ):
        made(study)


def test_the_stage_tells_the_error_of_the_leaderboard(study: Path) -> None:
    found = read_mistakes(made(study))
    board = pd.read_csv(study / "results/leaderboard.csv").set_index("model")
    (one,) = found.models.to_dict("records")
    assert one["error_rate"] == pytest.approx(board.loc[one["model"], "error_rate_mean"], abs=1e-6)
    assert (one["n_runs"], one["n_models"], one["n_all_runs"]) == (2, 2, 4)
    assert len(found.classes) + len(found.tags) == 3
    for thumbnail in found.gallery["thumbnail"]:
        assert (found.folder / thumbnail).stat().st_size < 8000


@pytest.mark.parametrize(
    "study", ["single", pytest.param("multi", marks=pytest.mark.slow)], indirect=True
)
def test_the_report_shows_them_and_loads_nothing(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_those_of_mistakes(made: Figure, folder: Path, name: str) -> None:
        if name.endswith("_squares"):  # writing a figure takes longer than drawing it
            save(made, folder, name)

    mistakes = made(study)
    monkeypatch.setattr(plot, "save", save_those_of_mistakes)
    inputs = [study / name for name in ("params.yaml", "imagenet.csv", "results", "figures")]
    plot.main(*inputs, mistakes=mistakes)
    inputs = paths(study)
    for picture in study.glob("*.png"):
        picture.rename(study / "figures" / picture.name)
    inputs[3] = study / "figures"
    report.main(*inputs, mistakes=mistakes)
    html = (study / "report.html").read_text()
    page = Page(html)
    assert "Where is the recommended model wrong?" in page.text
    assert "Worst mistakes" in page.text
    gallery = read_mistakes(mistakes).gallery
    if (read_mistakes(mistakes).models["kind"] == "single").all():
        assert "mean probability in only those runs that gave it" in page.text
        assert f" in {gallery['answer_runs'].iloc[0]} of 2 runs" in page.text
    else:
        assert "in the order of the number below each image" in page.text
        for _, rows in gallery.groupby("group"):
            assert rows["probability"].is_monotonic_decreasing
    pictures = [attrs["src"] or "" for tag, attrs in page.tags if tag == "img"]
    kinds = ("data:image/png;base64,", "data:image/jpeg;base64,")
    assert all(each.startswith(kinds) for each in pictures)
    shown = sum(each.startswith("data:image/jpeg") for each in pictures)
    assert shown == len(gallery)


def test_an_error_of_several_labels_is_a_share_of_the_pairs_of_image_and_label(
    study: Path,
) -> None:
    of = read_mistakes(made(study)).of("squares")
    first = report_mistakes.sentences(of)[0]
    if of.models.iloc[0]["kind"] == "multi":
        pairs = "of the 120 pairs of image and label (40 validation images, 3 labels)."
        assert first.endswith(f" % {pairs}")
    else:
        assert first.endswith(" % of 40 validation images.")


def test_an_error_in_the_answer_that_is_another_is_named_with_the_reason(study: Path) -> None:
    """Where models are compared at their own rates, the answer is not from these runs alone."""
    of = read_mistakes(made(study)).of("squares")
    alone = report_mistakes.sentences(of)
    here = float(of.models.iloc[0]["error_rate"])
    assert report_mistakes.sentences(of, here + 1e-6) == alone, "shown as the same number"
    first, second, *rest = report_mistakes.sentences(of, here + 0.01)
    assert [first, *rest] == alone
    assert second.startswith(f"The answer says {percent(here + 0.01)}, from these runs and those ")
    assert "This part is about the runs at the rate to take" in second


def test_one_of_a_thing_is_told_in_the_singular(study: Path) -> None:
    of = read_mistakes(made(study)).of("squares")
    one = of.models.assign(n_valid=1, n_classes=1, n_wrong_for_all=1)
    first, *_, last = report_mistakes.sentences(replace(of, models=one))
    if of.models.iloc[0]["kind"] == "multi":
        assert first.endswith(" of image and label (1 validation image, 1 label).")
        assert last.startswith("1 pair of image and label is wrong in all ")
    else:
        assert first.endswith(" % of 1 validation image.")
        assert last.startswith("1 image is wrong in all ")


def test_records_without_predictions_leave_the_dataset_out(study: Path) -> None:
    for path in (study / "runs").rglob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "valid_predictions": None}))
    found = read_mistakes(made(study))
    assert found.models.empty
    assert list(figures.drawings(found)) == []


def test_a_dataset_that_was_prepared_anew_is_one_line(study: Path) -> None:
    meta = study / "data/squares/meta.json"
    meta.write_text(meta.read_text().replace('"fingerprint": "squares"', '"fingerprint": "other"'))
    with pytest.raises(PipelineError, match=r"made from other data than .*: run `dvc repro`"):
        made(study)


def drawn(runs: list[list[tuple[int, int]]], truth: list[int]) -> figures.Mistakes:
    """The tables of one dataset, as its figures read them."""
    answers = single(truth, *runs)
    named = {"dataset": "d", "recipe": "r", "model": "m"}
    bins = reliability(answers)
    one = {
        **{**named, "kind": "single", "n_runs": len(runs), "n_valid": len(truth)},
        "error_rate": answers.wrong.mean(),
        "calibration_error": calibration_error(bins),
    }
    models, empty = pd.DataFrame([one]), pd.DataFrame({"dataset": []})
    classes = by_class(answers, CLASSES).assign(**named)
    return figures.Mistakes(Path(), models, classes, empty, empty, bins, empty, empty)


def test_the_bars_of_a_reliability_diagram_count_each_image_once() -> None:
    of = drawn([[(0, 250)] * 9 + [(1, 130)], [(0, 250)] * 5 + [(0, 130)] * 5], [0] * 10)
    assert of.reliability["n"].sum() == 14  # of the intervals: each bin that a run puts it in
    _, bars = figures.reliability(of).axes
    assert sum(bar.get_height() for bar in bars.patches) == 10
    assert bars.get_ylabel() == "images, mean over runs"


def test_errors_by_class_end_where_their_intervals_do() -> None:
    of = drawn([[(0, 250)] * 100 + [(1, 130)] * 4], [0] * 103 + [1])
    (axes,) = figures.class_errors(of).axes
    most = 100 * of.classes["error_high"].max()
    assert axes.get_xlim() == pytest.approx((-0.02 * most, 1.02 * most))


def test_of_two_hundred_classes_the_worst_forty_are_drawn_and_the_rest_is_one() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 200, 4000)
    answer = np.where(draw.random(4000) < 0.2, (truth + 1) % 200, truth)
    found = single(truth.tolist(), [(int(each), 200) for each in answer])
    names = [f"species {number}" for number in range(200)]
    named = {"dataset": "d", "recipe": "r", "model": "m"}
    cells = stage._sparse(confusion(found, 200), names).assign(**named)
    classes = by_class(found, names).assign(**named)
    empty = pd.DataFrame({"dataset": []})
    of = figures.Mistakes(Path(), empty, classes, empty, cells, empty, empty, empty)
    shown, share = figures.matrix(of)
    assert (len(shown), shown[-1]) == (41, "all others")
    assert np.allclose(share[:-1].sum(axis=1), 1), "every image of a drawn class has its answer"
    assert share[-1].sum() < 0.3, "of the others only mistakes"
