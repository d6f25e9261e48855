"""Each model at its own best learning rate: unbiased, told in full, and nothing with one rate."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from study_fakes import LITE, write_answers, write_failure, write_imagenet, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.core.errors import PipelineError
from pipeline.finetune.recipe import recipe_of
from pipeline.plot import __main__ as plot
from pipeline.recommend import __main__ as recommend
from pipeline.recommend.choice import recommended_row
from pipeline.recommend.experiment import one_more_seed
from pipeline.records import pack_counts, unpack_counts
from pipeline.report import __main__ as report
from pipeline.report.mistakes import answered_error
from pipeline.results import read_results
from pipeline.statistics.rates import (
    FOLDS,
    RateGroup,
    changed_order,
    choices,
    cross_fitted,
    folds_of,
    order_sentence,
    own_rates,
    rate_to_take,
    take_sentence,
    without_single_rates,
)
from pipeline.study.params import read_study

RATES = ["lp_ft", "lp_ft_high", "lp_ft_low"]
OWN = "lp_ft.own_rate"
IMAGES = 300


def sweep(
    rng: np.random.Generator, errors: list[float], seeds: int, of_runs: float = 0.0
) -> np.ndarray:
    """Wrong answers [rates, seeds, images] of one model, with images that are hard for all runs."""
    means = np.array(errors)[:, None] + of_runs * rng.standard_normal((len(errors), seeds))
    hard, draw = rng.random(IMAGES) < 0.5, rng.random((len(errors), seeds, IMAGES))
    wrong = draw < means[:, :, None] * np.where(hard, 1.6, 0.4)
    return wrong.astype(np.uint8)


def found(wrong: np.ndarray) -> tuple[float, float, float]:
    """The error cross-fitted, cross-fitted over images alone, and as the lowest of the rates."""
    folds = folds_of(wrong.shape[2], "some data")
    cross = cross_fitted(wrong, choices(wrong, folds), folds).mean()
    pooled = wrong.sum(axis=1, keepdims=True)  # seeds as one: the choice sees those it judges
    chosen = np.repeat(choices(pooled, folds), wrong.shape[1], axis=0)
    return cross, cross_fitted(wrong, chosen, folds).mean(), wrong.mean(axis=(1, 2)).min()


@pytest.mark.parametrize(("seeds", "of_runs"), [(1, 0.0), (2, 0.0), (2, 0.02), (3, 0.02)])
def test_rates_without_effect_leave_the_error_unbiased_and_their_minimum_does_not(seeds, of_runs):
    rng = np.random.default_rng(0)
    each = np.array([found(sweep(rng, [0.2] * 3, seeds, of_runs)) for _ in range(1000)]) - 0.2
    cross, images_alone, lowest = each.mean(axis=0)
    noise = each.std(axis=0) / np.sqrt(len(each))
    assert abs(cross) < 3 * noise[0]
    assert lowest < -10 * noise[2]
    if of_runs and seeds > 1:
        assert images_alone < -5 * noise[1]  # the luck of a run is the same on every fold


def test_a_rate_that_is_better_is_chosen_and_its_error_is_the_error():
    rng = np.random.default_rng(1)
    each = np.array([found(sweep(rng, [0.3, 0.1, 0.3], 2, 0.01))[0] for _ in range(200)])
    assert each.mean() == pytest.approx(0.1, abs=3 * each.std() / np.sqrt(200))


def test_folds_are_equal_in_size_and_the_same_for_the_same_data():
    folds = folds_of(1003, "print")
    assert set(np.bincount(folds, minlength=FOLDS)) == {100, 101}
    assert (folds == folds_of(1003, "print")).all()
    assert (folds != folds_of(1003, "another")).any()
    assert folds_of(1, None).tolist() == [0]


def test_the_images_that_a_rate_answers_for_had_no_say_in_its_choice():
    rng = np.random.default_rng(2)
    wrong = sweep(rng, [0.2] * 3, 2)
    folds = folds_of(IMAGES, "print")
    before = choices(wrong, folds)
    for fold in range(FOLDS):
        for seed in range(2):
            changed = wrong.copy()
            changed[:, :, folds == fold] = rng.integers(0, 2, changed[:, :, folds == fold].shape)
            changed[:, seed] = rng.integers(0, 2, changed[:, seed].shape)
            assert choices(changed, folds)[seed, fold] == before[seed, fold]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_rate_is_chosen_by_the_fewest_mistakes_elsewhere(seeds: int):
    """On all other folds, of all other seeds; a seed alone chooses by its own."""
    rng = np.random.default_rng(3)
    wrong = sweep(rng, [0.2, 0.2, 0.25], seeds)
    folds = folds_of(IMAGES, "print")
    chosen = choices(wrong, folds)
    answers = cross_fitted(wrong, chosen, folds)
    for seed in range(seeds):
        others = [each for each in range(seeds) if each != seed] or [seed]
        for fold in range(FOLDS):
            mistakes = [int(rate[others][:, folds != fold].sum()) for rate in wrong]
            assert chosen[seed, fold] == mistakes.index(min(mistakes))
            here = folds == fold
            assert (answers[seed, here] == wrong[chosen[seed, fold], seed, here]).all()
    assert seeds == 1 or len(set(chosen.ravel().tolist())) > 1


def test_a_cross_fitted_run_has_the_error_of_its_answers_and_the_time_of_the_rate_to_take():
    wrong = sweep(np.random.default_rng(5), [0.3, 0.2], 2)
    runs = pd.DataFrame(
        [
            {
                **{"dataset": "d", "model": "m", "recipe": rate, "seed": seed, "family": "f"},
                **{"status": "ok", "labels": 1, "data_fingerprint": "print", "not_timed": None},
                "valid_wrong": pack_counts(wrong[number, seed]),
                "error_rate": wrong[number, seed].mean(),
                "accuracy": 0.0,
                "fbeta2": 0.5,
                "fit_seconds": [10.0, 30.0][number] + seed,
            }
            for number, rate in enumerate(RATES[:2])
            for seed in range(2)
        ]
    )
    failed = runs[:1].assign(seed=2, status="failed", valid_wrong=None, error_rate=np.nan)
    group = RateGroup("lp_ft", tuple(RATES[:2]), {rate: {"lr": 0.1} for rate in RATES[:2]})
    own = own_rates(pd.concat([runs, failed], ignore_index=True), [group])
    folds = folds_of(IMAGES, "print")
    chosen = choices(wrong, folds)
    answers = cross_fitted(wrong, chosen, folds)
    assert own.runs["seed"].tolist() == [0, 1, 2]
    assert own.runs["status"].tolist() == ["ok", "ok", "failed"]
    assert set(own.runs["recipe"]) == {OWN}
    errors = answers.mean(axis=1).tolist()
    assert own.runs["error_rate"].tolist()[:2] == pytest.approx(errors)
    assert own.runs["accuracy"].tolist()[:2] == pytest.approx([1 - each for each in errors])
    assert own.runs["fbeta2"].isna().all()  # it is of no one rate
    assert own.runs["fit_seconds"].tolist()[:2] == [30.0, 31.0]
    assert (unpack_counts(own.runs["valid_wrong"][1]) == answers[1]).all()
    assert own.rates["taken"].tolist() == [False, True]
    assert own.rates["n_chosen"].tolist() == [int((chosen == each).sum()) for each in (0, 1)]
    assert own.rates["choice_seconds"].tolist() == [10.5 + 30.5] * 2
    assert own.rates["left_out"].isna().all()  # the third seed finished at no rate


def made_board(*errors: tuple[str, float | None, float]) -> pd.DataFrame:
    """Models with their errors at the first rate and at their own."""
    rows = [
        {"dataset": "d", "recipe": recipe, "model": model, "error_rate_mean": error}
        for model, *both in errors
        for recipe, error in zip(("lp_ft", OWN), both, strict=True)
    ]
    return pd.DataFrame(rows).assign(n=lambda rows: rows["error_rate_mean"].notna().astype(int))


def made_rates(**left_out: tuple[str | None, str | None]) -> pd.DataFrame:
    """Two rates of each model, and why one does not count; the second is the one to take."""
    rows = [
        {"model": model, "rate": rate, "left_out": why, "taken": rate == "lp_ft_high"}
        for model, reasons in left_out.items()
        for rate, why in zip(("lp_ft", "lp_ft_high"), reasons, strict=True)
    ]
    more = {"n_chosen": 15, "n_choices": 20, "choice_seconds": 33.0}
    table = pd.DataFrame(rows).assign(dataset="d", recipe=OWN, **more)
    return table.assign(error_rate_mean=np.where(table["taken"], 0.1, 0.2))


def test_pairs_change_their_order_where_one_of_two_errors_was_lower_and_is_higher():
    rates = made_rates(a=(None, None), b=(None, None))
    board = made_board(
        ("a", 0.1, 0.15), ("b", 0.2, 0.12), ("c", 0.3, 0.3), ("d", 0.3, 0.4), ("e", None, 0.1)
    )
    assert changed_order(board, rates) == (1, 6)  # c and d were equal, e has no error at first
    assert order_sentence(board, rates) == (
        "With each model at its own best of 2 rates, 1 of 6 pairs of models changes its order "
        "against lp_ft alone."
    )
    two = board[board["model"].isin(["c", "d"])]
    assert order_sentence(two, rates) == (
        "With each model at its own best of 2 rates, 0 of 1 pair of models change their order "
        "against lp_ft alone."
    )
    one = board[board["model"] == "a"]
    assert order_sentence(one, rates) == "The model is at its own best of 2 rates."


def test_models_that_lack_rates_are_told_with_the_reason():
    rates = made_rates(a=("1 of 2 seeds finished", None), b=("no run finished",) * 2)
    board = made_board(("a", 0.1, 0.15))
    assert order_sentence(board, rates).endswith(
        " a is judged at 1 of 2 rates (lp_ft: 1 of 2 seeds finished). b is not ranked (lp_ft: no "
        "run finished, lp_ft_high: no run finished)."
    )
    only = "Fit it with recipe lp_ft_high, the only one of its rates that counts."
    assert take_sentence(rates, "a") == only


def test_the_rate_to_take_is_said_with_what_the_choice_cost():
    rates = made_rates(a=(None, None))
    said = (
        "Fit it with recipe lp_ft_high, of its 2 rates the best on all validation images (chosen "
        "in 15 of 20 cross-fitted choices"
    )
    assert take_sentence(rates, "a") == f"{said}; one seed of all 2 takes 33.0 s)."
    assert take_sentence(rates.assign(choice_seconds=np.nan), "a") == f"{said})."
    assert take_sentence(rates.assign(taken=False), "a") is None
    assert rate_to_take(rates, "d", OWN, "a") == "lp_ft_high"
    assert rate_to_take(rates, "d", "lp_ft", "a") == "lp_ft"
    assert rate_to_take(None, "d", OWN, "a") == OWN


def test_an_answer_is_not_chosen_from_single_rates_where_models_have_their_own():
    board, rates = made_board(("a", 0.1, 0.2), ("b", 0.1, 0.2)), made_rates(a=(None, None))
    assert without_single_rates(board, rates)["recipe"].tolist() == [OWN, OWN]
    assert without_single_rates(board, None) is board
    assert without_single_rates(board, rates[:0]) is board
    unranked = board.assign(n=board["n"].where(board["recipe"] != OWN, 0))
    assert len(without_single_rates(unranked, rates)) == 4  # no model has one of its own
    other = board.assign(dataset="e")
    assert len(without_single_rates(other, rates)) == 4


def settings(recipe: str, **changes: Any) -> dict[str, Any]:
    lr = {"lp_ft": 0.0003, "lp_ft_high": 0.001, "lp_ft_low": 0.0001}[recipe]
    rate_of = {} if recipe == "lp_ft" else {"rate_of": "lp_ft"}
    return {"name": recipe, "lr": lr, "lr_mult": 3, "epochs": 7, **rate_of, **changes}


def write(folder: Path, model: str, recipe: str, seed: int, error: float, **changes: Any) -> Path:
    rng = np.random.default_rng([seed, int(1000 * error), len(recipe), len(model)])
    wrong = (rng.permutation(IMAGES) < error * IMAGES).astype(np.uint8)
    config = {"image_size": 64, "recipe": settings(recipe)}
    cost = {"fit_seconds": 10.0 + RATES.index(recipe)}
    fields = {"recipe": recipe, "config": config, "cost": cost, **changes}
    return write_answers(folder / "runs", model, seed, wrong, **fields)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """At 0.0003 LITE[0] is the best; at three times that LITE[1], which then wins."""
    write_study(tmp_path, recipes=RATES)
    write_imagenet(tmp_path / "imagenet.csv")
    errors = {LITE[0]: (0.20, 0.22, 0.24), LITE[1]: (0.30, 0.10, 0.34), LITE[2]: (0.40, 0.41, 0.42)}
    for model, of_model in errors.items():
        for recipe, error in zip(RATES, of_model, strict=True):
            for seed in range(2):
                write(tmp_path, model, recipe, seed, error + seed / 100)
    return tmp_path


def run(folder: Path) -> Path:
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(folder / name for name in names))
    return folder / "results"


def boards(folder: Path) -> dict[str, pd.DataFrame]:
    board = read_results(run(folder)).board
    return {str(name): rows.set_index("model") for name, rows in board.groupby("recipe")}


def told(folder: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    recommend.main(
        dataset="digits",
        json=True,
        params=folder / "params.yaml",
        results=folder / "results",
        imagenet=folder / "imagenet.csv",
        **options,
    )
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_a_model_that_needs_another_rate_wins_at_its_own_and_loses_at_the_first(study: Path):
    found = boards(study)
    assert list(found) == [*RATES[:1], OWN, *RATES[1:]]
    assert found["lp_ft"].index[0] == LITE[0]
    own = found[OWN]
    assert own.index[0] == LITE[1]
    assert own.loc[LITE[1], "rank"] == 1
    assert not own.loc[LITE[0], "tied"]
    assert own.loc[LITE[1], "error_rate_mean"] == pytest.approx(0.105, abs=0.001)
    assert (own["error_rate_low"] < own["error_rate_mean"]).all()
    assert set(own["images"]) == {"paired"}
    assert own.loc[LITE[1], "steady_fit_seconds_median"] == 11
    score = own.loc[LITE[1], "error_rate_mean"] * (11 + 80)
    assert own.loc[LITE[1], "score_mean"] == pytest.approx(score, rel=0.01)


def test_the_table_of_rates_tells_what_was_chosen_and_what_it_cost(study: Path):
    run(study)
    rates = read_results(study / "results").rates
    mine = rates[rates["model"] == LITE[1]].set_index("rate")
    assert mine["n_chosen"].to_dict() == {"lp_ft": 0, "lp_ft_high": 20, "lp_ft_low": 0}
    assert mine["taken"].to_dict() == {"lp_ft": False, "lp_ft_high": True, "lp_ft_low": False}
    assert mine["lr"].tolist() == [0.0003, 0.001, 0.0001]
    assert set(mine["choice_seconds"]) == {33.0}
    assert set(mine["n_choices"]) == {20}


def test_the_part_on_mistakes_knows_the_error_that_the_answer_states(study: Path):
    """LITE[2] errs nearly alike at all rates: what answers for it is not the rate to take alone."""
    done = read_results(run(study))
    board = done.board.set_index(["recipe", "model"])["error_rate_mean"]
    taken = done.rates[done.rates["taken"]].set_index("model")["rate"]
    for model in LITE:
        one = pd.Series({"dataset": "digits", "recipe": taken[model], "model": model})
        assert answered_error(done, one) == board[OWN, model]
        for other in set(RATES) - {taken[model]}:
            assert answered_error(done, one.replace(taken[model], other)) is None
    assert board[OWN, LITE[2]] > board[taken[LITE[2]], LITE[2]]
    without = replace(done, rates=done.rates[:0])
    assert answered_error(without, pd.Series({**one})) is None


def test_rates_that_err_as_little_as_the_one_to_take_are_named(study: Path):
    run(study)
    rates = read_results(study / "results").rates
    mine = rates[rates["model"] == LITE[1]].copy()
    sentence = str(take_sentence(mine, LITE[1]))
    assert sentence.endswith("one seed of all 3 takes 33.0 s).")
    taken = mine.loc[mine["taken"], "error_rate_mean"].iloc[0]
    mine.loc[mine["rate"] == "lp_ft", "error_rate_mean"] = taken
    assert take_sentence(mine, LITE[1]) == f"{sentence} Recipe lp_ft errs as little on them."
    mine["error_rate_mean"] = taken
    both = "Recipes lp_ft and lp_ft_low err as little on them."
    assert take_sentence(mine, LITE[1]) == f"{sentence} {both}"
    mine.loc[mine["rate"] == "lp_ft", "left_out"] = "2 of 3 seeds finished"
    assert "Recipe lp_ft_low errs as little on them." in str(take_sentence(mine, LITE[1]))


def test_metrics_recommendation_and_export_take_the_model_at_its_own_rate(study: Path, capsys):
    results = run(study)
    metrics = json.loads((study / "metrics/digits.json").read_text())
    assert (metrics["best_model"], metrics["recipe"]) == (LITE[1], OWN)
    assert metrics["take_recipe"] == "lp_ft_high"
    assert (metrics["n_ok"], metrics["n_missing"]) == (18, 0)
    answer = told(study, capsys)
    assert (answer["recipe"], answer["take_recipe"]) == (OWN, "lp_ft_high")
    assert answer["models"][0]["model"] == LITE[1]
    assert answer["models"][1]["take_recipe"] == "lp_ft"
    assert "Fit it with recipe lp_ft_high" in answer["rates"]
    assert "own best of 3 rates, 1 of 3 pairs of models changes its order" in answer["rates"]
    taken = recommended_row(results, "digits")
    assert (taken["recipe"], taken["ranked_as"]) == ("lp_ft_high", OWN)
    other = recommended_row(results, "digits", LITE[0])
    assert (other["recipe"], other["ranked_as"]) == ("lp_ft", OWN)


@pytest.mark.slow
def test_the_page_and_the_figures_hold_the_leaderboard_at_own_rates(study: Path):
    results = run(study)
    plot.main(study / "params.yaml", study / "imagenet.csv", results, study / "figures")
    page = study / "report.html"
    report.main(study / "params.yaml", study / "imagenet.csv", results, study / "figures", page)
    text = page.read_text(encoding="utf-8")
    assert "1 of 3 pairs of models changes its order" in text
    assert f"digits, recipe {OWN}" in text
    assert text.count("<summary>Learning rates</summary>") == 1


def test_missing_runs_are_those_of_the_grid_and_a_rate_without_any_is_told(study: Path, capsys):
    for seed in range(2):
        (study / f"runs/digits/{LITE[2]}/lp_ft_low/{seed}.json").unlink()
    run(study)
    answer = told(study, capsys)
    assert answer["next"]["what"] == "finish the 2 missing runs of the grid"
    assert f"{LITE[2]} is judged at 2 of 3 rates (lp_ft_low: no run finished)" in answer["rates"]


def test_a_further_seed_is_one_at_every_rate(study: Path):
    write_study(study, recipes=[*RATES, "other"])
    here = read_study(study / "params.yaml")
    _, sweep, _ = one_more_seed(here, "digits", RATES, LITE[:1])
    cells = [f"finetune@digits-{LITE[0]}-{rate}-2" for rate in RATES]
    assert sweep == f"python -m pipeline.sweep {' '.join(cells)}"


def test_a_rate_that_lacks_a_seed_does_not_count_for_the_model_and_that_is_said(study: Path):
    write_failure(study / "runs", LITE[1], 1, "loss is nan", recipe="lp_ft_high")
    found = boards(study)
    assert found[OWN].index[0] == LITE[0]
    assert found[OWN].loc[LITE[1], "error_rate_mean"] == pytest.approx(0.305, abs=0.01)
    assert found[OWN].loc[LITE[1], "n"] == 2
    rates = read_results(study / "results").rates.set_index(["model", "rate"])
    assert rates.loc[(LITE[1], "lp_ft_high"), "left_out"] == "1 of 2 seeds finished"
    assert rates.loc[(LITE[1], "lp_ft_high"), "n_chosen"] == 0
    assert rates["left_out"].isna().sum() == 8


def test_a_seed_that_no_rate_has_is_missing_and_the_others_count(study: Path):
    write_study(study, recipes=RATES, seeds=[0, 1, 2])
    for recipe in RATES:
        write(study, LITE[0], recipe, 2, 0.2)
    own = boards(study)[OWN]
    assert own["n"].to_dict() == {LITE[0]: 3, LITE[1]: 2, LITE[2]: 2}
    assert own["n_missing"].to_dict() == {LITE[0]: 0, LITE[1]: 1, LITE[2]: 1}


def test_a_model_without_a_complete_rate_is_judged_at_the_one_with_most_seeds(
    study: Path, capsys: pytest.CaptureFixture[str]
):
    write_study(study, recipes=RATES, seeds=[0, 1, 2])
    for model in LITE:
        for recipe in RATES:
            write(study, model, recipe, 2, 0.2)
    gone = {"lp_ft": (0, 1), "lp_ft_high": (1,), "lp_ft_low": (2, 0)}
    for recipe, seeds in gone.items():
        for seed in seeds:
            (study / f"runs/digits/{LITE[2]}/{recipe}/{seed}.json").unlink()
    own = boards(study)[OWN]
    assert own.loc[LITE[2], ["n", "n_missing"]].tolist() == [2, 1]
    alone = boards(study)["lp_ft_high"].loc[LITE[2], "error_rate_mean"]
    assert own.loc[LITE[2], "error_rate_mean"] == alone
    said = told(study, capsys)["rates"]
    assert f"{LITE[2]} is judged at 1 of 3 rates (lp_ft: 1 of 3 seeds finished" in said


def test_one_model_has_no_order_that_a_rate_could_change(study: Path, capsys):
    write_study(study, recipes=RATES, models=LITE[:1])
    run(study)
    assert "pairs of models" not in (said := told(study, capsys)["rates"])
    assert said.endswith("The model is at its own best of 3 rates.")


def test_one_rate_alone_has_no_such_leaderboard_and_others_change_nothing_in_its_rows(study: Path):
    at_all = boards(study)
    write_study(study, recipes=["lp_ft"])
    alone = boards(study)
    assert list(alone) == ["lp_ft"]
    pd.testing.assert_frame_equal(alone["lp_ft"], at_all["lp_ft"])
    assert read_results(study / "results").rates.empty
    assert "take_recipe" not in json.loads((study / "metrics/digits.json").read_text())


@pytest.mark.parametrize(("key", "value"), [("epochs", 3), ("head", "linear")])
def test_a_rate_that_differs_in_something_else_is_refused(study: Path, key: str, value: Any):
    config = {"image_size": 64, "recipe": settings("lp_ft_high", **{key: value})}
    for model in LITE:
        for seed in range(2):
            write(study, model, "lp_ft_high", seed, 0.2, config=config)
    with pytest.raises(PipelineError, match=f"rate_of: lp_ft, but it differs from lp_ft in {key}"):
        run(study)


def test_a_rate_may_write_out_a_default_that_its_recipe_leaves_out(study: Path) -> None:
    folder = study / "conf/recipe"
    folder.mkdir(parents=True)
    for recipe in RATES:
        OmegaConf.save(settings(recipe), folder / f"{recipe}.yaml")
    written = {"oom": "record", "label_smoothing": 0, "lr_mult": 50}
    OmegaConf.save(settings("lp_ft_low", **written), folder / "lp_ft_low.yaml")
    read_study(study / "params.yaml")
    OmegaConf.save(settings("lp_ft_low", label_smoothing=0.1), folder / "lp_ft_low.yaml")
    with pytest.raises(PipelineError, match="in label_smoothing, and only lr and lr_mult may"):
        read_study(study / "params.yaml")


def test_a_rate_that_differs_is_refused_before_anything_runs(study: Path):
    folder = study / "conf/recipe"
    folder.mkdir(parents=True)
    for recipe in RATES:
        OmegaConf.save(settings(recipe), folder / f"{recipe}.yaml")
    assert read_study(study / "params.yaml").recipes == tuple(RATES)
    OmegaConf.save(settings("lp_ft_low", batch_size=8), folder / "lp_ft_low.yaml")
    with pytest.raises(PipelineError, match=r"recipe lp_ft_low: .* in batch_size, and only lr"):
        read_study(study / "params.yaml")
    OmegaConf.save(settings("lp_ft_low", rate_of="lp_ft_high"), folder / "lp_ft_low.yaml")
    with pytest.raises(PipelineError, match="lp_ft_high, which is itself a rate of lp_ft"):
        read_study(study / "params.yaml")
    OmegaConf.save(settings("lp_ft_low", rate_of="lp_fd"), folder / "lp_ft_low.yaml")
    with pytest.raises(PipelineError, match="rate_of: lp_fd: there is no"):
        read_study(study / "params.yaml")


def test_the_rates_that_come_with_the_project_differ_from_their_recipe_in_the_rate(root: Path):
    recipes = {path.stem: OmegaConf.load(path) for path in (root / "conf/recipe").glob("*.yaml")}
    rates = {name: each for name, each in recipes.items() if each.get("rate_of")}
    assert set(rates) == {"lp_ft_high", "lp_ft_low"}
    for name, rate in rates.items():
        assert recipe_of(rate).rate_of == "lp_ft"
        assert rate.name == name
        apart = {key for key in rate if rate[key] != recipes[rate.rate_of].get(key)}
        assert apart == {"name", "rate_of", "lr"}
        assert set(recipes[rate.rate_of]) <= set(rate)
