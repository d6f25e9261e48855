"""The race without runs: what it believes, what it runs next, who leaves, and what it certifies."""

import json
import os
import shutil
import signal
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from study_fakes import (
    CPU,
    LITE,
    write_answers,
    write_failure,
    write_imagenet,
    write_run,
    write_study,
)

from pipeline.change.__main__ import take_over
from pipeline.core.errors import PipelineError
from pipeline.core.files import plain
from pipeline.estimates import planned
from pipeline.estimates.belief import (
    OtherDataset,
    assumed_prior,
    features_of,
    learned_prior,
    log_odds,
    predict,
)
from pipeline.figures.certificate import INTERRUPTED, read_certificate
from pipeline.names.resolve import weights
from pipeline.race import __main__ as race_command
from pipeline.race import field
from pipeline.race.__main__ import Contest, _prepare
from pipeline.race.field import budget_of, command_of, not_counted, not_counted_message
from pipeline.race.search import (
    RUN,
    Action,
    Budget,
    Candidates,
    Race,
    Rules,
    knowledge_gradient,
    run_spread,
    spent,
)
from pipeline.race.standing import (
    Event,
    certificate_of,
    counted_seconds,
    least_difference,
    replay,
    rounded,
    standing,
    worse_by,
)
from pipeline.recommend import costs
from pipeline.recommend.limits import Limits
from pipeline.records import Device, read_record
from pipeline.results import RUNS, write_result
from pipeline.study.params import Cell, raced_name, read_study
from pipeline.timm_results.imagenet import completed, published, read_imagenet

IMAGES = 400
ABOUT = {  # what a certificate says that the race does not know
    "dataset": "d",
    "recipe": "r",
    "stopped": "the budget is spent",
    "priced": "p",
    "prior": "assumed",
    "not_raced": {},
}


def candidates(features: np.ndarray, seconds: np.ndarray | None = None) -> Candidates:
    n = len(features)
    fit = np.full(n, 60.0) if seconds is None else seconds
    names = tuple(f"model{i}" for i in range(n))
    return Candidates(names, features, 0.1 * fit[:, None], np.stack([fit, fit], axis=1))


def race_of(n: int, seconds: np.ndarray | None = None, **rules: object) -> Race:
    features = np.linspace(-1, 1, n)[:, None]
    told = Rules(n_valid=IMAGES, **rules)
    return Race(candidates(features, seconds), assumed_prior(1, 1, 0), told)


def answers(error: float, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(IMAGES) < error).astype(float)


def saw(race: Race, model: int, error: float, seed: int) -> None:
    wrong = answers(error, seed)
    race.saw_run(model, float(wrong.mean()), wrong)


def test_betting_rejects_a_true_margin_in_at_most_the_level_of_samples() -> None:
    rng = np.random.default_rng(0)
    draws = rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.85, 0.10], size=(2000, 300))
    level = np.full(2000, 0.05)
    assert worse_by(draws, np.full(2000, 0.05), level).mean() <= 0.05
    assert worse_by(draws, np.full(2000, -0.05), level).mean() > 0.9


def test_the_least_difference_is_below_the_mean_and_rises_with_the_level() -> None:
    draws = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], p=[0.05, 0.75, 0.20], size=1000)
    strict, loose = least_difference(draws, 0.001), least_difference(draws, 0.2)
    assert strict < loose < draws.mean()


def test_the_level_spent_over_all_looks_is_one() -> None:
    assert spent(np.arange(1, 100_000)).sum() == pytest.approx(1, abs=1e-4)


def test_a_spread_of_runs_is_learned_from_repeats() -> None:
    calm = run_spread([[0.10, 0.10, 0.10]] * 30, IMAGES)
    wild = run_spread([[0.05, 0.10, 0.15]] * 30, IMAGES)
    assert calm.phi < run_spread([], IMAGES).phi < wild.phi


def test_the_assumed_spread_of_runs_does_not_shrink_without_end() -> None:
    """On 50,000 images that of runs as in 2022 is six times the one that images alone give."""
    few, many, more = (run_spread([], n).phi for n in (10_000, 20_000, 50_000))
    assert few > many == more


def test_a_prior_learned_elsewhere_ranks_models_before_any_fit() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((40, 1))
    past = [OtherDataset(x, np.full((40, 1), np.nan), -2 + 0.5 * x[:, 0])] * 3
    prior = learned_prior(past, assumed_prior(1, 1))
    seen = predict(prior, x, np.full((40, 1), np.nan), np.full(40, np.nan))
    assert np.corrcoef(seen.mean, x[:, 0])[0, 1] > 0.99
    assert prior.learned == 120


def test_the_prior_of_other_datasets_is_less_certain_where_they_disagree() -> None:
    x = np.random.default_rng(3).standard_normal((40, 1))
    nothing = np.full((40, 1), np.nan)
    same = learned_prior([OtherDataset(x, nothing, 0.5 * x[:, 0])] * 4, assumed_prior(1, 1))
    both = [OtherDataset(x, nothing, sign * 0.5 * x[:, 0]) for sign in (1, -1, 1, -1)]
    differ = learned_prior(both, assumed_prior(1, 1))
    width = [each.levels[0].variance[1] * each.levels[0].residual ** 2 for each in (same, differ)]
    assert width[1] > 3 * width[0]


def test_a_rung_that_tells_nothing_is_worth_less_after_fits_have_shown_it() -> None:
    rng = np.random.default_rng(4)
    for noise, more in ((0.01, True), (3.0, False)):
        race = race_of(30)
        truth = rng.normal(-2, 0.5, 30)
        for m in range(30):
            race.saw_rung(m, 0, float(1 / (1 + np.exp(-truth[m] - noise * rng.normal()))))
            race.saw_run(m, float(1 / (1 + np.exp(-truth[m]))), answers(0.1, m))
        unexplained = race.prediction().unexplained[1]
        assert (unexplained < 0.5) == more


def test_of_equal_hope_the_cheaper_run_comes_first() -> None:
    race = Race(
        candidates(np.zeros((2, 1)), np.array([600.0, 60.0])),
        assumed_prior(1, 1),
        Rules(n_valid=IMAGES),
    )
    saw(race, 0, 0.2, 0)
    first = race.choose(1e6)[0]
    assert first.model == 1


def test_a_run_that_cannot_be_paid_is_not_chosen() -> None:
    race = race_of(3, np.array([100.0, 200.0, 300.0]))
    assert race.choose(50.0) == []
    assert {each.model for each in race.choose(1e6, 3)} == {0, 1, 2}
    assert [each.seconds for each in race.choose(100.0, 3)] == [100.0]


def test_a_batch_asks_different_questions_and_may_repeat_a_model() -> None:
    """Of twins that nothing tells apart, one is fitted first; of two models left, both again."""
    features = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    features *= 3  # their family is most of what is not known of them
    race = Race(candidates(features), assumed_prior(2, 1), Rules(n_valid=IMAGES))
    saw(race, 4, 0.1, 0)
    race.unprobed[:] = True
    assert {each.model for each in race.choose(1e6, 2)} == {0, 3}
    two = race_of(2)
    for seed in range(2):
        saw(two, 0, 0.10, seed)
        saw(two, 1, 0.11, seed)
    before = two.n_runs.tolist()
    assert [each.model for each in two.choose(1e6, 4)] != []
    assert len(two.choose(1e6, 4)) == 4
    assert two.n_runs.tolist() == before
    assert two.choose(1e6, 4)[0] == two.choose(1e6)[0]


def test_a_batch_has_a_cell_for_each_place_of_four_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text("threads: 3\n")
    monkeypatch.setattr("pipeline.hardware.machine.visible_gpus", lambda: list("0123"))
    race, found = (
        race_of(12),
        field.Field(race_of(12).candidates, assumed_prior(1, 1), {}, [], "", True, ""),
    )
    for model in (0, 11):
        saw(race, model, 0.2, model)
    events = [Event.of(race, "model0", "fit", 0.2, 60.0)]
    told = {"root": tmp_path, "dataset": "d", "models": [], "limits": Limits(), "rules": race.rules}
    for jobs, places in ((None, 4), (6, 6)):
        contest = Contest(**told, budget=Budget(1e4, ""), jobs=jobs)
        actions, _ = contest._next(found, race, events, 60.0)
        assert len(actions) == places
        untimed, _ = contest._next(replace(found, timed=False), race_of(12), [], 0.0)
        assert len({each.model for each in untimed}) == places
        left_out_has_cost_it_all = contest._next(replace(found, timed=False), race_of(12), [], 1e6)
        assert left_out_has_cost_it_all == ([], "the budget is spent")


def test_an_energy_budget_is_that_of_all_jobs_by_the_power_measured_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Device(kind="cuda", name="H100")
    monkeypatch.setattr(field, "this_device", lambda threads: here)
    for seed, (name, wh) in enumerate((("H100", 10.0), ("H100", None), ("T4", 1.0))):
        cost = {"fit_seconds": 360.0, "energy_wh": wh}
        device = {"kind": "cuda", "name": name}
        write_run(tmp_path / "data/runs", LITE[0], seed, 0.1, cost=cost, device=device)
    energy = budget_of(tmp_path, None, None, None, "0.05kWh")
    told = "--max-energy 0.05kWh at 100 W a run"
    assert energy == Budget(1800.0, told, of_each_job=False, watts=100.0)
    assert (energy.in_all(4), Budget(1800.0, "").in_all(4)) == (1800.0, 7200.0)
    cost = budget_of(tmp_path, None, 5.0, 2.5, None)
    assert cost == Budget(7200.0, "--max-cost 5 at 2.5 an hour", price_per_hour=2.5)


def test_the_power_of_fits_on_an_h100_is_read_from_their_records(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/runs").symlink_to(shared / "gpu/records")
    here = Device(kind="cuda", name="NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(field, "this_device", lambda threads: here)
    watts = 3600 * 100 / budget_of(tmp_path, None, None, None, "100Wh").seconds
    assert 100 < watts < 300


def test_two_seeds_of_a_model_in_one_batch_are_two_cells(tmp_path: Path) -> None:
    path = write_study(tmp_path, datasets=["other"])
    path.write_text(path.read_text() + "race:\n  datasets: [digits]\n  fits: {}\n  probes: {}\n")
    study = read_study(path)
    race = race_of(2)
    found = field.Field(race.candidates, race.prior, {}, [], "", True, "")
    contest = Contest(tmp_path, "digits", [], Limits(), race.rules, Budget(1e4, ""), None)
    targets = contest._decide(study, found, [Action(1, RUN, 60.0, 0.1)] * 2)
    assert len(set(targets)) == 2
    assert sorted(cell.seed for cell in read_study(path).raced) == [0, 1]


def test_a_dataset_whose_name_reads_as_a_number_is_raced_under_its_name(tmp_path: Path) -> None:
    path = write_study(tmp_path, datasets=["other", "2022"])
    path.write_text(path.read_text() + "race:\n  datasets: []\n  fits: {}\n  probes: {}\n")
    write_run(tmp_path / "data/runs", LITE[0], 0, 0.1, dataset="2022")
    take_over(path, "2022", [Cell("2022", LITE[0], "quickstart", 0)])
    study = read_study(path)
    assert study.raced_datasets == ("2022",)
    assert [(each.dataset, each.model) for each in study.raced] == [("2022", LITE[0])]
    path.write_text(path.read_text().replace("datasets: ['2022']", "datasets: [2022]"))
    with pytest.raises(PipelineError, match=r"race\.datasets has 2022, not"):
        read_study(path)


def test_a_race_takes_over_the_finished_runs_of_its_own_recipe_alone(tmp_path: Path) -> None:
    path = write_study(tmp_path, recipes=["quickstart", "lp_ft"], seeds=[0, 1])
    runs = tmp_path / "data/runs"
    for recipe, model, seed in (("quickstart", 0, 0), ("lp_ft", 1, 0), ("lp_ft", 0, 1)):
        write_run(runs, LITE[model], seed, 0.1, recipe=recipe)
    contest = Contest(tmp_path, "digits", [], Limits(), Rules(), Budget(1e4, ""), None)
    before = contest.cells(read_study(path), ())
    assert [(each.model, each.recipe, each.seed) for each in before] == [(LITE[0], "quickstart", 0)]
    cell = {"dataset": "digits", "model": LITE[2], "recipe": "quickstart", "seed": 1}
    fits = {raced_name(each): each for each in (cell, cell | {"recipe": "lp_ft"})}
    write_study(tmp_path, recipes=["quickstart", "lp_ft"], datasets=["other"])
    race = {"datasets": ["digits"], "fits": fits, "probes": {}}
    path.write_text(f"{path.read_text()}race: {json.dumps(race)}\n")
    begun = contest.cells(read_study(path), ())
    assert [(each.model, each.recipe, each.seed) for each in begun] == [(LITE[2], "quickstart", 1)]


def test_runs_of_another_size_recipe_rate_or_split_do_not_count(tmp_path: Path) -> None:
    path = write_study(tmp_path, recipes=["quickstart", "lp_ft"], seeds=[0, 1, 2])
    (tmp_path / "conf").mkdir()
    shutil.copytree("conf/recipe", tmp_path / "conf/recipe")
    settings = yaml.safe_load(Path("conf/recipe/quickstart.yaml").read_text())
    now = {"image_size": 64, "recipe": settings}
    other: dict[str, dict[str, Any]] = {
        "at another lr of quickstart": {"config": now | {"recipe": settings | {"lr": 0.5}}},
        "on other images": {"config": now, "data": {"fingerprint": "of-before"}},
        "of other recipes": {"config": now, "recipe": "lp_ft"},
    }
    runs, meta = tmp_path / "data/runs", tmp_path / "data/datasets/digits/meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"fingerprint": "print-of-digits"}))
    write_run(runs, LITE[0], 0, 0.1, config=now)
    write_run(runs, LITE[0], 1, 0.1, config={})  # of which nothing is known
    assert not_counted(tmp_path, read_study(path), "digits") == {}
    for seed, changes in enumerate(other.values()):
        write_run(runs, LITE[1], seed, 0.1, **changes)
    found = not_counted(tmp_path, read_study(path), "digits")
    assert set(found.values()) == set(other)
    path.write_text(path.read_text().replace("image_size: 64", "image_size: 48"))
    found = not_counted(tmp_path, read_study(path), "digits")
    assert not_counted_message("digits", found.values()) == (
        "digits: 3 runs at 64 pixels and 1 run of other recipes do not count"
    )
    assert not_counted_message("d", ["at 64 pixels"]) == "d: 1 run at 64 pixels does not count"


def test_a_run_from_before_a_key_counts_where_the_recipe_leaves_the_key_at_its_default(
    tmp_path: Path,
) -> None:
    path = write_study(tmp_path)
    file = tmp_path / "conf/recipe/quickstart.yaml"
    file.parent.mkdir(parents=True)
    recipe = yaml.safe_load(Path("conf/recipe/quickstart.yaml").read_text())
    before = {key: value for key, value in recipe.items() if key != "weight_average"}
    write_run(tmp_path / "data/runs", LITE[0], 0, 0.1, config={"recipe": before | {"lr_mult": 3.0}})
    study = read_study(path)
    for other in ({}, {"augment": "none"}, {"rate_of": None}, {"lr_mult": "${other}"}):
        file.write_text(yaml.safe_dump(before | other))
        assert not_counted(tmp_path, study, "digits") == {}
    file.write_text(yaml.safe_dump(recipe))
    found = not_counted(tmp_path, study, "digits")
    assert list(found.values()) == ["at another weight_average of quickstart"]
    file.write_text(yaml.safe_dump({k: v for k, v in before.items() if k != "batch_norm"}))
    found = not_counted(tmp_path, study, "digits")
    assert list(found.values()) == ["at another batch_norm of quickstart"]


def test_a_race_that_goes_on_makes_what_is_missing_and_no_run_of_an_earlier_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [Cell("digits", model, "quickstart", 0) for model in LITE]
    names = [raced_name(asdict(each)) for each in cells]
    path = write_study(tmp_path, datasets=["other"])
    fits = {name: asdict(each) for name, each in zip(names, cells, strict=True)}
    race = {"datasets": ["digits"], "fits": fits, "probes": {}}
    path.write_text(path.read_text() + yaml.safe_dump({"race": race}))
    for model, size in ((LITE[0], 48), (LITE[1], 64)):
        write_run(tmp_path / "data/runs", model, 0, 0.1, config={"image_size": size})
    swept: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "pipeline.race.__main__._sweep", lambda root, targets, jobs: swept.append(targets)
    )
    contest = Contest(tmp_path, "digits", LITE, Limits(), Rules(), Budget(float("inf"), ""), 1)
    contest._make(read_study(path))
    assert swept == [tuple(f"finetune_raced@{name}" for name in names[1:])]
    assert [each.model for each in read_study(path).raced] == LITE[1:]


def test_runs_to_make_again_are_made_as_far_as_the_budget_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each took 20 s before; no fit was timed on this device."""
    shutil.copytree("conf/recipe", tmp_path / "conf/recipe")
    write_imagenet(tmp_path / "data/imagenet.csv")
    cells = [Cell("digits", model, "quickstart", 0) for model in LITE]
    fits = {raced_name(asdict(each)): asdict(each) for each in cells}
    path = write_study(tmp_path, datasets=["other"])
    race = {"datasets": ["digits"], "fits": fits, "probes": {}}
    path.write_text(path.read_text() + yaml.safe_dump({"threads": 1, "race": race}))
    for model in LITE:
        write_run(tmp_path / "data/runs", model, 0, 0.1, config={"image_size": 64})
    swept: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "pipeline.race.__main__._sweep", lambda root, targets, jobs: swept.append(targets)
    )
    stale = set(LITE)
    monkeypatch.setattr(
        "pipeline.sweep.session.would_run",
        lambda root, names: {name for name in names if any(m in name for m in stale)},
    )

    def contest(seconds: float) -> Contest:
        return Contest(tmp_path, "digits", LITE, Limits(), Rules(), Budget(seconds, "--budget"), 1)

    before = path.read_text()
    told = (
        "digits: 3 runs to make first, about 1 min 00 s: images, code or settings have changed, "
        "or a race was ended; --budget pays "
    )
    with pytest.raises(PipelineError, match=f"^{told}0: allow more$"):
        contest(10)._make(read_study(path))
    assert (path.read_text(), swept) == (before, [])
    contest(45)._make(read_study(path))
    assert capsys.readouterr().out == f"{told}2: the others leave the race\n"
    assert [each.model for each in read_study(path).raced] == LITE[:2]
    assert len(swept.pop()) == 2
    stale.discard(LITE[0])  # its 20 s are spent
    contest(30)._make(read_study(path))
    assert [each.model for each in read_study(path).raced] == LITE[:1]


def grid_of_finished_runs(folder: Path) -> Path:
    """A study whose three models have each a run of digits that took 20 s."""
    shutil.copytree("conf/recipe", folder / "conf/recipe")
    write_imagenet(folder / "data/imagenet.csv")
    path = write_study(folder, seeds=[0])
    race: dict[str, Any] = {"datasets": [], "fits": {}, "probes": {}}
    path.write_text(path.read_text() + yaml.safe_dump({"threads": 1, "race": race}))
    for model in LITE:
        write_run(folder / "data/runs", model, 0, 0.1, config={"image_size": 64})
    return path


def test_a_grid_whose_stale_runs_the_budget_does_not_pay_keeps_its_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = grid_of_finished_runs(tmp_path)
    monkeypatch.setattr("pipeline.race.__main__._sweep", lambda *_: None)
    monkeypatch.setattr("pipeline.sweep.session.would_run", lambda root, names: set(names))
    before, study = path.read_text(), read_study(path)
    for seconds, taken in ((10, False), (45, True)):
        contest = Contest(
            tmp_path, "digits", LITE, Limits(), Rules(), Budget(seconds, "--budget"), 1
        )
        said = "3 runs to make first, .*--budget pays 0: allow more" if not taken else None
        with pytest.raises(PipelineError, match=said) if said else nullcontext():
            _prepare(contest, study, contest.cells(study, ()))
        assert (path.read_text() != before) == taken


def test_the_time_of_stale_runs_of_the_grid_is_not_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid_of_finished_runs(tmp_path)
    stale = set(LITE)
    monkeypatch.setattr(
        "pipeline.sweep.session.would_run",
        lambda root, names: {name for name in names if any(m in name for m in stale)},
    )
    contest = Contest(tmp_path, "digits", LITE, Limits(), Rules(), Budget(45, "--budget"), 1)
    contest.check()
    stale.clear()
    with pytest.raises(PipelineError, match="the 3 finished runs of digits took 1 min 00 s"):
        contest.check()


def test_a_race_without_a_stage_to_run_looks_once_at_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = grid_of_finished_runs(tmp_path)
    study = read_study(path)
    contest = Contest(tmp_path, "digits", LITE, Limits(), Rules(), Budget(75, "--budget"), 1)
    take_over(study.path, "digits", contest.cells(study, ()))
    monkeypatch.setattr("pipeline.sweep.session.would_run", lambda root, names: set())
    looks: list[int] = []
    monkeypatch.setattr(
        "pipeline.race.standing.standing", lambda race: looks.append(1) or standing(race)
    )
    monkeypatch.setattr(field, "field_of", None)
    assert contest.paid(contest._decided(read_study(path))[0]) == ({}, {})
    monkeypatch.undo()
    monkeypatch.setattr(
        "pipeline.race.standing.standing", lambda race: looks.append(1) or standing(race)
    )
    assert contest._next(*contest._now(set())[1:]) == ([], "the budget is spent")
    assert len(looks) == 1  # and not after each of the three runs


def test_what_was_seen_later_does_not_change_where_a_race_stood() -> None:
    race = race_of(3)
    saw(race, 0, 0.3, 0)
    event = Event.of(race, "model0", "fit", 0.3, 60.0)
    saw(race, 1, 0.1, 1)
    race.saw_rung(2, 0, 0.1)
    race.saw_failure(2)
    assert event.standing.recommended == 0
    assert event.standing.may_be_best.all()


def test_the_command_to_go_on_has_the_options_that_a_race_had() -> None:
    asked = Limits(licence="commercial", max_memory="8GB")
    said = (
        "python -m pipeline.race 'convnext*' --dataset digits --licence commercial --max-memory 8GB"
    )
    assert command_of(["convnext*"], "digits", Rules(), asked) == said
    sure = Rules(0.9, regret=0.07)
    assert command_of([], "digits", sure, Limits()).endswith(
        "--dataset digits --confidence 0.9 --regret 7"
    )


def test_the_same_evidence_gives_the_same_choice_and_standing() -> None:
    def played() -> tuple[list[tuple[int, int]], list[float]]:
        race = race_of(8)
        for m in range(4):
            saw(race, m, 0.1 + 0.02 * m, m)
        chosen = [(each.model, each.rung) for each in race.choose(1e6, 4)]
        return chosen, standing(race).p_best.tolist()

    assert played() == played()


def test_a_model_that_is_far_worse_leaves_and_a_close_one_stays() -> None:
    race = race_of(3)
    for seed in range(3):
        saw(race, 0, 0.05, 0)
        saw(race, 1, 0.06, 0)
        saw(race, 2, 0.60, seed)
    assert standing(race).may_be_best.tolist() == [True, True, False]


def test_runs_that_confirm_what_was_seen_loosen_no_bound() -> None:
    race = Race(candidates(np.zeros((2, 1))), assumed_prior(1, 1), Rules(n_valid=60))
    perfect, bounds = np.zeros(60), []
    for _ in range(5):
        for model in (0, 1):
            race.saw_run(model, 0.0, perfect)
        bounds.append(standing(race).regret_at_most)
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < 0.2


def test_no_further_run_is_made_of_a_model_that_is_far_behind() -> None:
    race = race_of(2)
    for seed in range(2):
        saw(race, 0, 0.0, seed)
        saw(race, 1, 0.4, seed)
    assert race.choose(1e6, 3) == []


def test_a_single_pair_of_fits_on_few_images_tells_nothing() -> None:
    race = Race(candidates(np.zeros((2, 1))), assumed_prior(1, 1), Rules(n_valid=4))
    race.saw_run(0, 0.0, np.zeros(4))
    race.saw_run(1, 0.5, np.array([1.0, 1.0, 0.0, 0.0]))
    end = standing(race)
    assert end.may_be_best.all()
    assert 0.1 < end.regret_at_most <= 1


def test_without_a_fit_nothing_is_recommended_and_nobody_leaves() -> None:
    end = standing(race_of(5))
    assert end.recommended is None
    assert end.may_be_best.all()


@pytest.mark.slow
def test_the_best_stays_in_races_of_equal_models_that_are_looked_at_after_every_run() -> None:
    lost = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        race = Race(candidates(np.zeros((6, 1))), assumed_prior(1, 1), Rules(n_valid=IMAGES))
        for turn in range(12):
            race.saw_run(turn % 6, *drawn(rng))
            if not standing(race).may_be_best[0]:
                lost += 1
                break
    assert lost <= 3  # 5 % of 60


def drawn(rng: np.random.Generator) -> tuple[float, np.ndarray]:
    wrong = (rng.random(IMAGES) < 0.1 + rng.normal(0, 0.005)).astype(float)
    return float(wrong.mean()), wrong


def test_a_failed_model_leaves_and_is_never_run_again() -> None:
    race = race_of(3)
    race.saw_failure(1)
    saw(race, 0, 0.1, 0)
    assert 1 not in {each.model for each in race.choose(1e6, 3)}
    assert not standing(race).may_be_best[1]


@pytest.mark.parametrize("fails_first", [True, False])
def test_a_model_with_a_finished_run_has_not_failed_whichever_run_came_first(
    fails_first: bool,
) -> None:
    race = race_of(3)
    saw(race, 1, 0.4, 1)
    if fails_first:
        race.saw_failure(0)
    saw(race, 0, 0.02, 0)
    if not fails_first:
        race.saw_failure(0)
    found = standing(race)
    assert not race.failed.any()
    assert found.recommended == 0
    assert found.may_be_best[0]


def test_a_race_whose_every_model_failed_recommends_none() -> None:
    race = race_of(2)
    race.saw_failure(0)
    race.saw_failure(1)
    events = [Event.of(race, "model1", "fit", None, 1.0)]
    told = certificate_of(race, events, grid_seconds=60.0, **ABOUT)
    assert (told.recommended, told.may_be_best) == (None, [])
    assert race.choose(1e6, 2) == []
    assert told.text()


def test_a_contest_reads_the_same_from_a_failure_before_and_after_finished_runs(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    wrong = {seed: rng.random((3, IMAGES)) < [[0.02], [0.4], [0.4]] for seed in (0, 1)}
    found = []
    for hour in ("09", "15"):
        folder = tmp_path / hour
        (folder / "conf").mkdir(parents=True)
        shutil.copytree("conf/recipe", folder / "conf/recipe")
        write_study(folder)
        (folder / "params.yaml").open("a").write("threads: 1\n")
        (folder / "data").mkdir()
        write_imagenet(folder / "data/imagenet.csv")
        runs, hour_12 = folder / "data/runs", "2026-11-22T12:00:00+00:00"
        of_then: dict[str, Any] = {"config": {"image_size": 64}}
        for seed, of_models in wrong.items():
            for model, each in zip(LITE, of_models, strict=True):
                write_answers(runs, model, seed, each.astype(int), started_at=hour_12, **of_then)
        at = f"2026-11-22T{hour}:00:00+00:00"
        write_failure(runs, LITE[0], 0, "diverged", started_at=at, **of_then)
        rules = Rules(n_valid=IMAGES)
        contest = Contest(folder, "digits", LITE, Limits(), rules, Budget(1e4, ""), 1)
        _, of, race, events, spent = contest._now(set())
        end = events[-1].standing
        assert end.recommended is not None
        assert of.candidates.names[end.recommended] == LITE[0]
        found.append((plain(end), race.means().tolist(), spent))
    assert str(found[0]) == str(found[1])


def test_the_time_of_a_failed_run_counts_in_the_budget(tmp_path: Path) -> None:
    told = {"telemetry": {"seconds": 7.5}}
    path = write_failure(tmp_path, LITE[0], 0, "training loss is not finite in epoch 1", **told)
    names = candidates(np.zeros((1, 1)))
    race, events = replay(
        replace(names, names=(LITE[0],)), assumed_prior(1, 1), Rules(), [read_record(path)]
    )
    assert race.failed.all()
    assert [each.seconds for each in events] == [7.5]
    certified = certificate_of(race, events, grid_seconds=60.0, **ABOUT)
    assert (certified.seconds, certified.priced_seconds) == (7.5, 7.5)
    assert counted_seconds(read_record(write_failure(tmp_path, LITE[0], 1, "no telemetry"))) == 0
    assert counted_seconds(read_record(write_run(tmp_path, LITE[0], 2, 0.1, **told))) == 22.0


def test_a_model_whose_probe_failed_is_still_fitted() -> None:
    race = race_of(2)
    saw(race, 0, 0.3, 0)
    race.unprobed[1] = True
    assert {(each.model, each.rung) for each in race.choose(1e6, 2)} >= {(1, RUN)}


def test_the_knowledge_gradient_is_the_expected_gain() -> None:
    draws = np.random.default_rng(5).normal(0.02, 0.03, 1_000_000)
    gain = knowledge_gradient(np.array([0.02]), np.array([0.03]))[0]
    assert gain == pytest.approx(np.maximum(-draws, 0).mean(), rel=0.02)


def test_a_contest_reads_each_record_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree("conf/recipe", tmp_path / "conf/recipe")
    path = write_study(tmp_path)
    path.open("a").write("threads: 1\n")
    write_imagenet(tmp_path / "data/imagenet.csv")
    records = [
        write_run(tmp_path / "data/runs", model, seed, 0.1, config={"image_size": 64})
        for model in LITE
        for seed in (0, 1)
    ]
    read: list[Path] = []
    monkeypatch.setattr(planned, "read_record", lambda path: read.append(path) or read_record(path))
    contest = Contest(tmp_path, "digits", LITE, Limits(), Rules(), Budget(1e4, ""), 1)
    for _ in range(2):
        contest._now(set())
    assert sorted(read) == sorted(records)


@pytest.mark.parametrize("error", [0.89, 0.3])
def test_a_certificate_says_that_the_error_is_near_chance(tmp_path: Path, error: float) -> None:
    shutil.copytree("conf/recipe", tmp_path / "conf/recipe")
    write_study(tmp_path).open("a").write("threads: 1\n")
    write_imagenet(tmp_path / "data/imagenet.csv")
    for seed in (0, 1):
        write_run(tmp_path / "data/runs", LITE[0], seed, error, config={"image_size": 64})
    meta = {"n_train": 296, "n_valid": 74, "chance_error_rate": 0.973, "median_side": 333}
    path = tmp_path / "data/datasets/digits/meta.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(meta))
    contest = Contest(tmp_path, "digits", LITE, Limits(), Rules(n_valid=74), Budget(1e4, ""), 1)
    told = contest.certificate("stopped")
    doubt = (
        "doubt: its error is near chance: a constant guess has 97.30 %; larger images may help: "
        "these were shrunk from 333 to 64 pixels"
    )
    assert (doubt in told.text().splitlines()) == (error > 0.5)
    assert (doubt in told.as_answer(path)["certificate"]) == (error > 0.5)


def test_a_certificate_says_who_left_when_and_what_was_never_run() -> None:
    race = race_of(4)
    events = []
    for model, error in ((0, 0.05), (3, 0.9), (0, 0.05), (3, 0.9)):
        saw(race, model, error, 0)
        events.append(Event.of(race, f"model{model}", "fit", error, 10.0))
    told = certificate_of(
        race,
        events,
        **ABOUT,
        grid_seconds=720.0,
    )
    last = told.models[3]
    assert (told.recommended, told.n_never_run, told.seconds) == ("model0", 2, 40.0)
    assert last.left_because == "worse by its fits"
    assert last.left_after_seconds in (20.0, 30.0, 40.0)
    assert "take model0" in told.text()
    said = "spent 40.0 s; by estimate 4 min 00 s, 33 % of the grid's 12 min 00 s (fit times: p)"
    assert said in told.text()  # not 40 s of 12 min: a fit is estimated at 60 s
    assert "the grid is estimated at 12 min 00 s" in replace(told, priced_seconds=None).text()
    narrow = replace(told, regret_at_most=0.01).text()
    assert ", and model0 errs at most 1.0 points more than the best (" in narrow
    wide = replace(told, error_rate=0.1, regret_at_most=0.52).text()
    assert (
        "and model0 errs at most 52.0 points more than the best, which says nothing, as its own "
        "error is only 10.00 %: too few images and runs to tell ("
    ) in wide
    for near in (0.0998, 0.1002):  # all are shown as 10.0 points
        assert "10.0 points more than the best, which says nothing, as its own error is only " in (
            replace(told, error_rate=0.1, regret_at_most=near).text()
        )
    assert plain(told)["steps"][-1]["recommended"] == "model0"


def test_a_certificate_claims_nothing_of_models_and_probes_that_never_ran() -> None:
    race = race_of(3)
    saw(race, 0, 0.2, 0)
    saw(race, 1, 0.2, 1)
    events = [Event.of(race, "model1", "fit", 0.2, 60.0)]
    told = certificate_of(race, events, **ABOUT, grid_seconds=540.0, rest_seconds=420.0)
    text = told.text()
    assert "none of the 3 candidates is ruled out" in text
    assert "model2 (never run)" in text
    assert "frozen features explain" not in text  # nobody has both them and a fit
    of_fits = {n: replace(told, rungs=[replace(told.rungs[0], n_fits=n)]).text() for n in (2, 3)}
    assert "frozen features explain" not in of_fits[2]
    assert "frozen features explain" in of_fits[3]
    said = "race on, with a larger budget: python -m pipeline.race --dataset d --budget 2min"
    assert text.endswith(f"\nnext: {said}")
    assert "next:" not in replace(told, stopped="no candidate may be better").text()
    for price, cost in ((2.5, 0.084), (900.0, 30), (36000.0, 1200)):  # 120 s
        bought = replace(told, price_per_hour=price).text()
        assert bought.endswith(f"--dataset d --max-cost {cost} --price-per-hour {price:g}")


@pytest.mark.parametrize(
    ("seconds", "price", "options"),
    [
        (3600.0, None, "--budget 60min"),
        (90.0, None, "--budget 90s"),
        (120.0, None, "--budget 2min"),
        (751.3, None, "--budget 751.3s"),
        (18000.0, 2.5, "--max-cost 12.5 --price-per-hour 2.5"),
        (1333.33, 2.7, "--max-cost 1 --price-per-hour 2.7"),
        (9e6, 100.0, "--max-cost 250000 --price-per-hour 100"),
    ],
)
def test_a_race_that_was_interrupted_goes_on_with_the_budget_that_it_had(
    seconds: float, price: float | None, options: str
) -> None:
    command = "python -m pipeline.race --dataset d"
    told = certificate_of(
        race_of(2),
        [],
        **ABOUT | {"stopped": INTERRUPTED},
        grid_seconds=1.0,
        budget_seconds=2 * seconds,
        price_per_hour=price,
        jobs=2,
    )
    onward = f"{command} {options} --jobs 2"
    assert told.text().endswith(f"\nnext: race on: {onward}")  # without a fit too
    assert told.what_next() == ("race on", [onward])
    assert told.again == onward
    without = replace(told, budget_seconds=None)
    assert without.text().endswith(f"\nnext: race on: {command}")


def test_a_race_with_a_budget_of_energy_goes_on_with_an_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Device(kind="cuda", name="H100")
    monkeypatch.setattr(field, "this_device", lambda threads: here)
    cost = {"fit_seconds": 360.0, "energy_wh": 8.13}
    write_run(tmp_path / "data/runs", LITE[0], 0, 0.1, cost=cost, device=asdict(here))
    budget = budget_of(tmp_path, None, None, None, "0.05kWh")
    about: dict[str, Any] = ABOUT | {
        "budget_seconds": rounded(budget.in_all(2)),
        "next_seconds": 60.0,
        "watts": budget.watts,
        "jobs": 2,
    }
    command = "python -m pipeline.race --dataset d --max-energy"
    race = race_of(2)
    told = certificate_of(race, [], **about | {"stopped": INTERRUPTED}, grid_seconds=9.0)
    assert told.what_next() == ("race on", [f"{command} 50Wh --jobs 2"])
    spent = certificate_of(race, [], **about, grid_seconds=9000.0, rest_seconds=9000.0)
    more = f"{command} 100Wh --jobs 2"
    assert spent.text().endswith(f"\nnext: race on, with a larger budget: {more}")
    asked = [word for word in more.split() if word.endswith("Wh")]
    assert budget_of(tmp_path, None, None, None, *asked).in_all(2) == 2 * budget.in_all(2)


def test_the_answer_before_there_are_tables_has_one_next_step() -> None:
    race = race_of(2)
    saw(race, 0, 0.2, 0)
    told = certificate_of(race, [], **ABOUT, grid_seconds=9.0, rest_seconds=9.0)
    assert told.sentences[-1].startswith("next: race on, with a ")
    answer = told.as_answer(Path("results/race/d.json"))
    assert answer["certificate"] == told.sentences[:-1]
    assert answer["next"]["commands"] == ["dvc repro"]
    ended = replace(told, stopped=INTERRUPTED).as_answer(Path("results/race/d.json"))
    assert ended["next"]["what"] == "race on"
    assert ended["next"]["commands"] == [told.again]
    assert ended["certificate"] == replace(told, stopped=INTERRUPTED).claims


@pytest.mark.parametrize("fits", [0, 1])
def test_a_second_ctrl_c_waits_until_certificate_and_figure_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: int
) -> None:
    race = race_of(2)
    for _ in range(fits):
        saw(race, 0, 0.2, 0)
    told = certificate_of(race, [], **ABOUT, grid_seconds=9.0)
    written = race_command.write_json

    def interrupted_in_it(path: Path, value: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        written(path, value)

    monkeypatch.setattr(race_command, "write_json", interrupted_in_it)
    race_command._write(tmp_path, told)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["d.json", "d.png", "d.svg"]
    assert read_certificate(tmp_path / "d.json") == told
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_tables_are_of_a_race_if_they_have_its_runs_and_no_others(tmp_path: Path) -> None:
    race = race_of(3)
    single = 1 - float(np.float32(1 - 1 / 5000))  # as records have it; tables have 1 / 5000
    race.saw_run(0, single, (np.arange(5000) < 1).astype(float))
    told = certificate_of(race, [], **ABOUT, grid_seconds=1.0)

    def is_of(*rows: tuple[str, str, float]) -> bool:
        cells = [dict(zip(("model", "status", "error_rate"), row, strict=True)) for row in rows]
        runs = pd.DataFrame(cells).assign(dataset="d", recipe="r")
        write_result(tmp_path / "runs.csv", runs.reindex(columns=list(RUNS)))
        return told.is_of(tmp_path)

    assert not told.is_of(tmp_path)  # there are none
    assert is_of(("model0", "ok", 1 / 5000), ("model1", "failed", np.nan))
    assert not is_of(("model0", "ok", 2 / 5000))
    assert not is_of(("model0", "ok", 1 / 5000), ("model0", "ok", 1 / 5000))
    assert not is_of(("model0", "ok", 1 / 5000), ("model1", "ok", 0.3))  # a later one
    assert not is_of(("model0", "failed", np.nan))
    (tmp_path / "runs.csv").write_text("")
    assert not told.is_of(tmp_path)


def test_a_race_without_a_fit_says_that_it_cannot_tell() -> None:
    told = certificate_of(
        race_of(2),
        [],
        **ABOUT,
        grid_seconds=1.0,
    )
    assert "cannot tell" in told.text()


def test_features_of_models_without_published_numbers_are_the_mean() -> None:
    table = pd.DataFrame(
        {
            "model": ["resnet18.a1_in1k", "resnet34.a1_in1k", "convnext_tiny.fb_in1k"],
            "params_m": [11.0, 21.0, np.nan],
            "imagenet_top1": [71.0, 77.0, np.nan],
        }
    )
    found = features_of(table)
    assert np.isfinite(found).all()
    assert found[2, 0] == 0
    assert found[0, 0] > found[1, 0]  # a larger ImageNet error


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (("10min", None, None, None), 600.0),
        ((None, 5.0, 2.5, None), 7200.0),
        ((None, None, None, None), float("inf")),
    ],
)
def test_a_budget_is_seconds(given: tuple[object, ...], seconds: float) -> None:
    assert budget_of(None, *given).seconds == seconds


@pytest.mark.parametrize(
    "given",
    [
        ("10min", 5.0, 2.5, None),
        (None, 5.0, None, None),
        ("soon", None, None, None),
        (None, -1.0, 2.0, None),
        (None, None, None, "100"),
    ],
)
def test_a_budget_that_cannot_be_is_one_line(given: tuple[object, ...]) -> None:
    with pytest.raises(PipelineError, match=r"give|belong"):
        budget_of(None, *given)


def test_log_odds_stay_finite_at_both_ends() -> None:
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
    assert isinstance(budget_of(None, None, None, None, None), Budget)


def test_a_budget_says_what_counts_for_it() -> None:
    limit = budget_of(None, "10min", None, None, None)
    assert limit.told_of(1) == "--budget 10min, earlier runs included"
    assert limit.told_of(4) == "--budget 10min for each of 4 jobs, earlier runs included"
    of_all = Budget(60.0, "--max-energy 1Wh", of_each_job=False)
    assert of_all.told_of(4) == "--max-energy 1Wh, earlier runs included"
    assert budget_of(None, None, None, None, None).told_of(4) == "no budget"


def test_a_fit_that_shared_the_device_prices_the_others_better_than_an_assumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = read_study(write_study(tmp_path, models=LITE[:2]))
    write_imagenet(tmp_path / "data/imagenet.csv")
    (tmp_path / "conf/recipe").mkdir(parents=True)
    (tmp_path / "conf/recipe/quickstart.yaml").write_text("epochs: 2\nfrozen_epochs: 0\n")
    table = pd.DataFrame(
        {"model": LITE[:2], "params_m": [4.0, 8.0], "train_samples_per_second": [200.0, 100.0]}
    )

    def prices(device: dict[str, object]) -> tuple[list[float], str, bool]:
        cost = {"fit_seconds": 150.0, "start_up_seconds": 30.0}
        write_run(tmp_path / "data/runs", LITE[0], 0, 0.1, device=device, cost=cost)
        seconds, basis, timed = field._prices(tmp_path, study, "digits", table)
        return seconds.tolist(), basis, timed

    here = Device(kind="cpu", name="Some CPU", threads=2)
    monkeypatch.setattr(planned, "this_device", lambda threads: here)
    seconds, basis, timed = prices({**CPU, "shared": True})
    assert seconds[0] == pytest.approx(150)  # the start-up is part of what the race waits for
    assert seconds[1] > 150
    assert timed
    assert basis.startswith("estimated from other seeds of the same cell, ")
    assert basis.endswith("others used the device during each run known here: a guide at best")
    assert prices({**CPU, "name": "another's"})[0] == [40.0, 80.0]


def test_datasets_with_another_kind_of_labels_teach_the_prior_nothing(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path))
    meta = tmp_path / "data/datasets/planet/meta.json"
    meta.parent.mkdir(parents=True)
    records = [read_record(write_run(tmp_path / "runs", model, 0, 0.1)) for model in LITE]
    for kind, taught in (("single", {"digits"}), ("multi", set())):
        meta.write_text(json.dumps({"kind": kind}))
        assert set(field._elsewhere(tmp_path, study, "planet", records)) == taught


def test_limits_name_how_many_candidates_they_take_out_and_of_how_many_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lite0 took little memory, lite1 much, of lite2 it is not known; a ViT takes no 64 pixels."""
    models = [*LITE, "vit_tiny_patch16_224.augreg_in21k_ft_in1k"]
    path = write_study(tmp_path, models=models)
    path.write_text(path.read_text().replace("weights: wheel", "weights: hub"))
    study = read_study(path)
    imagenet = read_imagenet(write_imagenet(tmp_path / "data/imagenet.csv", models))
    imagenet.loc[imagenet["model"] == models[3], "fixed_size"] = 224
    for model, gib in ((LITE[0], 1.0), (LITE[1], 9.0)):
        cost = {"fit_seconds": 9.0, "peak_rss_gib": gib}
        write_run(tmp_path / "data/runs", model, 0, 0.1, cost=cost)
    monkeypatch.setattr(field, "this_device", lambda threads: Device(kind="cpu", name="Some CPU"))
    table = published(study, imagenet, tmp_path)
    asked = Limits(max_memory="8GB")
    left_out, not_judged = field._left_out(study, table, imagenet, asked)
    assert left_out == {
        models[3]: "an input fixed at another size than 64 pixels",
        LITE[1]: "--max-memory 8GB",
    }
    assert not_judged == ["--max-memory 8GB: not known, and so kept: 1 of 4 candidates"]


def test_of_models_of_which_nothing_is_published_timm_tells_size_licence_and_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ["vit_small_patch14_dinov2.lvd142m", "levit_128s.fb_dist_in1k"]
    study = read_study(write_study(tmp_path, models=models))
    imagenet = read_imagenet(write_imagenet(tmp_path / "data/imagenet.csv"))
    assert field.models_asked(["vit_small*14_dinov2*"], study, imagenet) == models[:1]
    tiny = "test_vit.r160_in1k"  # timm's, for its own tests
    with_tiny = read_imagenet(write_imagenet(tmp_path / "tiny.csv", [LITE[0], tiny]))
    assert field.models_asked(["*"], study, with_tiny) == LITE[:1]
    for pattern in (tiny, "test_vit.r160*"):
        assert field.models_asked([pattern], study, with_tiny) == [tiny]
    monkeypatch.setattr(field, "surely_missing", lambda models, config: set())
    monkeypatch.setattr(field, "weights_config", lambda path: None)
    found = field.field_of(tmp_path, study, "digits", models, Limits(licence="commercial"))
    assert found.candidates.names == (models[0],)
    assert found.candidates.fit_seconds[0].tolist() == [field.ASSUMED_SECONDS] * 2
    assert found.left_out == {models[1]: "an input fixed at another size than 64 pixels"}
    table = completed(published(study, imagenet, tmp_path), weights)
    assert table["params_m"].tolist() == pytest.approx([22.06, 7.78], abs=0.02)
    assert table["licence"].tolist() == ["apache-2.0", "apache-2.0"]


def test_the_memory_of_a_fit_on_a_gpu_is_measured_or_else_estimated(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path))
    (tmp_path / "conf/recipe").mkdir(parents=True)
    recipe = "batch_size: 32\nprecision: fp16\n"
    (tmp_path / "conf/recipe/quickstart.yaml").write_text(recipe)
    imagenet = read_imagenet(write_imagenet(tmp_path / "imagenet.csv"))
    cost = {"fit_seconds": 9.0, "peak_memory_reserved_gib": 3.0}
    gpu = {"kind": "cuda", "name": "H100"}
    record = read_record(write_run(tmp_path, LITE[0], 0, 0.1, cost=cost, device=gpu))
    found = costs.memory_gib(study, imagenet, Device(**gpu), [record])
    assert found[LITE[0]] == 3.0
    macts = (6.7 + 1) * (64 / 224) ** 2
    expected = 0.2 + (14.2 * 5.65 + 5.1 * 32 * macts) * 1e6 / 2**30
    assert found[LITE[1]] == pytest.approx(expected)
    assert costs.memory_gib(study, imagenet, Device(kind="cpu"), [record]).empty


def test_a_race_whose_runs_leave_no_record_gives_up_also_after_others_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = race_of(3)
    saw(race, 0, 0.2, 0)
    found = field.Field(race.candidates, assumed_prior(1, 1), {}, [], "", True, "")
    contest = Contest(tmp_path, "d", [], Limits(), race.rules, Budget(1e4, ""), jobs=1)
    (tmp_path / "params.yaml").write_text("")
    tried: list[list[str]] = []
    outcomes = iter([True, False, True, True, True])  # lost?

    def lost(targets: tuple[str, ...], models: list[str]) -> set[str]:
        tried.append(models)
        return set(models) if next(outcomes) else set()

    monkeypatch.setattr("pipeline.race.__main__.read_study", lambda path: None)
    monkeypatch.setattr(contest, "_make", lambda study: None)
    monkeypatch.setattr(contest, "_now", lambda broken: (None, found, race, ["event"], 60.0))
    monkeypatch.setattr(contest, "_next", lambda *_: ([Action(0, RUN, 60.0, 1.0)], None))
    monkeypatch.setattr(contest, "_decide", lambda *_: ("finetune_raced@x",))
    monkeypatch.setattr(contest, "_try", lost)
    with pytest.raises(PipelineError, match="no run of model0 left a record"):
        contest.run()
    assert len(tried) == 5


def test_money_that_buys_no_run_worth_it_is_not_called_an_answer(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("threads: 1\n")
    race = race_of(3, np.array([10.0, 60.0, 70.0]))  # the cheapest has had its runs
    for seed in range(race.rules.most_runs):
        saw(race, 0, 0.2, seed)
    found = field.Field(race.candidates, assumed_prior(1, 1), {}, [], "", True, "")
    events = [Event.of(race, "model0", "fit", 0.2, 60.0)]
    contest = Contest(tmp_path, "d", [], Limits(), race.rules, Budget(1e4, ""), jobs=1)
    assert contest._next(found, race, events, 60.0)[0]
    assert contest._next(found, race, events, 1e4 - 11) == ([], "the budget is spent")


def test_a_budget_with_a_rest_says_that_the_next_run_does_not_fit() -> None:
    said = Budget(100.0, "--budget 100s").too_small(2, "the 8 finished runs of tex", 171.0, 60.0)
    assert "for each of 2 jobs" in said
    assert "the 29.0 s left do not pay the next run, 1 min 00 s: allow more" in said
    assert "left" not in Budget(80.0, "--budget 80s").too_small(2, "the 8 runs", 171.0, 60.0)
