"""What a sweep is asked for: how many at a time, where, and in which order."""

import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf
from study_fakes import LITE, write_imagenet, write_study

from pipeline.core.errors import PipelineError
from pipeline.estimates.planned import Prices, epochs_of
from pipeline.finetune.recipe import fitted_to, recipe_of
from pipeline.study.params import Cell, threads_of
from pipeline.sweep.engine import LocalEngine, cuda_environment, places, shares
from pipeline.sweep.jobs import Job, Options
from pipeline.sweep.loop import Result, Sweep
from pipeline.sweep.session import grouped


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """machine(gpus=2, cores=8): what the options see."""

    def set_to(gpus: int, cores: int) -> None:
        names = [str(number) for number in range(gpus)]
        monkeypatch.setattr("pipeline.hardware.machine.visible_gpus", lambda: names)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))

    return set_to


@pytest.mark.parametrize(
    ("gpus", "cores", "asked", "runs"),
    [
        (0, 8, {}, 8),
        (0, 1, {}, 1),
        (0, 8, {"jobs": 20}, 20),
        (0, 8, {"exclusive": True}, 8),
        (2, 16, {}, 2),
        (2, 16, {"jobs": 5}, 5),
        (2, 16, {"gpus_per_run": 0.25}, 8),
        (2, 16, {"gpus_per_run": 0.3}, 6),
        (2, 16, {"gpus_per_run": 0.1}, 20),
        (2, 16, {"gpus_per_run": 0.25, "jobs": 3}, 3),
        (2, 16, {"exclusive": True}, 2),
        (8, 4, {"exclusive": True}, 4),
    ],
)
def test_so_many_runs_go_at_a_time(
    machine: Any, gpus: int, cores: int, asked: dict[str, Any], runs: int
) -> None:
    machine(gpus, cores)
    options = Options(**asked)
    options.check()
    assert options.runs_at_a_time(threads=1) == runs


@pytest.mark.parametrize(
    ("gpus", "asked", "line"),
    [
        (0, {"jobs": 0}, "--jobs 0: write 1 or more"),
        (0, {"max_failures": 0}, "--max-failures 0: write 1 or more"),
        (0, {"order": "chaep"}, "--order chaep: did you mean cheap?"),
        (0, {"gpus_per_run": 0.5}, "--gpus-per-run 0.5: no GPU is visible here"),
        (2, {"gpus_per_run": 2.0}, "--gpus-per-run 2.0: write auto, or a part of one GPU"),
        (2, {"gpus_per_run": 0.0}, "--gpus-per-run 0.0: write auto, or a part of one GPU"),
        (2, {"gpus_per_run": 0.5, "exclusive": True}, "leave one out"),
        (
            2,
            {"gpus_per_run": 0.5, "jobs": 5},
            "--gpus-per-run 0.5: 2 GPUs have room for 4",
        ),
        (2, {"exclusive": True, "jobs": 3}, "--jobs 3 --exclusive: 2 GPUs have room for 2"),
        (0, {"exclusive": True, "jobs": 9}, "--jobs 9 --exclusive: 8 cores have room for 8"),
        (
            0,
            {"pull": True, "dry_run": True},
            "--dry-run fetches nothing, --pull does",
        ),
        (0, {"price_per_hour": 2.0}, "--price-per-hour: only --dry-run tells a cost: add it"),
        (0, {"fit_on": "rtx3090"}, "--fit-on rtx3090: only --dry-run estimates: add it"),
        (
            0,
            {"fit_on": "rtx3090", "dry_run": True, "gpus_per_run": 0.25},
            "--gpus-per-run 0.25: what fits take that share a GPU is known only there",
        ),
    ],
)
def test_a_contradiction_is_one_line(
    machine: Any, gpus: int, asked: dict[str, Any], line: str
) -> None:
    machine(gpus, 8)
    options = Options(**asked)
    with pytest.raises(PipelineError) as caught:  # noqa: PT012 - whichever of the two sees it
        options.check()
        options.runs_at_a_time(threads=1)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_machine_is_taken_to_make_one_run_at_a_time_unless_told(machine: Any) -> None:
    machine(0, 8)
    assert Options(dry_run=True, fit_on="rtx3090").runs_at_a_time(threads=1) == 1
    assert Options(dry_run=True, fit_on="rtx3090", jobs=4).runs_at_a_time(threads=1) == 4


def test_runs_share_no_core_while_there_are_enough() -> None:
    assert shares([0, 1, 2, 3], 2, 1) == [{0, 1}, {2, 3}]
    assert shares([4, 5, 6], 3, 1) == [{4}, {5}, {6}]
    assert shares([0, 1], 4, 1) == [{0}, {1}, {0}, {1}]


def test_a_run_never_has_fewer_cores_than_threads() -> None:
    assert shares([0, 1, 2, 3], 4, 2) == [{0, 1}, {2, 3}, {0, 1}, {2, 3}]
    assert shares([0], 2, 2) == [{0}, {0}]


def test_gpus_are_filled_in_turn_and_a_place_knows_whether_it_shares_one() -> None:
    cores = list(range(8))
    assert [each.gpu for each in places(["0", "GPU-f1"], cores, 4, 1)] == ["0", "GPU-f1"] * 2
    assert [each.shared for each in places(["0", "1"], cores, 2, 1)] == [False, False]
    assert [each.shared for each in places(["0", "1"], cores, 3, 1)] == [True, False, True]


def test_gpus_that_nvml_counted_are_counted_as_nvml_does() -> None:
    assert cuda_environment("1", {}) == {
        "CUDA_VISIBLE_DEVICES": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    assert cuda_environment("1", {"CUDA_VISIBLE_DEVICES": "0,1"}) == {"CUDA_VISIBLE_DEVICES": "1"}


def test_without_gpus_a_place_shares_where_its_cores_are_anothers_too() -> None:
    assert [each.shared for each in places([], [0, 1], 2, 1)] == [False, False]
    assert [each.shared for each in places([], [0, 1], 3, 1)] == [True, False, True]
    assert [each.shared for each in places([], [0, 1], 2, 2)] == [True, True]


@pytest.mark.parametrize(("given", "threads"), [(2, 2), ("auto", 1), (True, 1), (None, 1)])
def test_threads_of_a_run_are_those_of_the_study_if_it_says_a_number(
    given: Any, threads: int
) -> None:
    assert threads_of({"threads": given}) == threads


def cell(dataset: str, model: str, recipe: str = "quickstart") -> Cell:
    return Cell(dataset, model, recipe, 0)


def write_sizes(root: Path, **n_train: int) -> None:
    for dataset, count in n_train.items():
        folder = root / "data/datasets" / dataset
        folder.mkdir(parents=True)
        (folder / "meta.json").write_text(json.dumps({"n_train": count}))


def write_seconds(root: Path, dataset: str, model: str, seconds: float) -> None:
    path = root / "data/runs" / dataset / model / "quickstart/7.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"cost": {"fit_seconds": seconds}}))


def test_a_price_is_what_the_cell_took_before(tmp_path: Path) -> None:
    write_study(tmp_path)
    write_seconds(tmp_path, "digits", LITE[0], 12)
    one = cell("digits", LITE[0])
    assert Prices(tmp_path)(one) == 12


def test_without_runs_prices_follow_published_speed_images_and_epochs(tmp_path: Path) -> None:
    write_study(tmp_path)
    write_imagenet(tmp_path / "data/imagenet.csv")
    write_sizes(tmp_path, digits=100, pets=300)
    (tmp_path / "conf/recipe").mkdir(parents=True)
    for recipe, epochs in (("quickstart", 1), ("long", 3)):
        text = f"epochs: {epochs}\nfrozen_epochs: 1\n"
        (tmp_path / f"conf/recipe/{recipe}.yaml").write_text(text)
    price = Prices(tmp_path)
    one = price(cell("digits", LITE[0]))
    assert price(cell("pets", LITE[0])) == pytest.approx(3 * one)
    assert price(cell("digits", LITE[0], "long")) == pytest.approx(2 * one)
    slower = price(cell("digits", LITE[2]))  # 4000 and 3000 samples per second
    assert slower == pytest.approx(one * 4 / 3)


def test_a_recipe_that_no_cell_asks_for_may_be_a_draft(tmp_path: Path) -> None:
    write_study(tmp_path)
    (tmp_path / "conf/recipe").mkdir(parents=True)
    (tmp_path / "conf/recipe/quickstart.yaml").write_text("epochs: 2\nfrozen_epochs: 1\n")
    (tmp_path / "conf/recipe/draft.yaml").write_text("epochs: 3\n")
    write_seconds(tmp_path, "pets", LITE[0], 12)
    (tmp_path / "data/runs/pets" / LITE[0] / "quickstart").rename(
        tmp_path / "data/runs/pets" / LITE[0] / "draft"
    )
    price = Prices(tmp_path)
    assert price(cell("digits", LITE[0])) > 0
    with pytest.raises(PipelineError, match=r"draft\.yaml: frozen_epochs is missing: write"):
        price(cell("digits", LITE[0], "draft"))
    for text in ("", "epochs: 2\nfrozen_epochs: x\n"):
        (tmp_path / "conf/recipe/draft.yaml").write_text(text)
        with pytest.raises(PipelineError, match=r"draft\.yaml: \w+ is .*: write a number"):
            Prices(tmp_path)(cell("digits", LITE[0], "draft"))


@pytest.mark.parametrize("n_train", [2, 10, 100, 5000])
def test_prices_and_estimates_count_the_epochs_that_a_fit_makes(n_train: int) -> None:
    for path in Path("conf/recipe").glob("*.yaml"):
        made = fitted_to(recipe_of(OmegaConf.load(path)), n_train)
        assert epochs_of(path, n_train) == made.epochs + made.frozen_epochs


def test_a_small_training_part_is_priced_at_its_further_epochs(tmp_path: Path) -> None:
    write_study(tmp_path, recipes=["lp_ft"])
    shutil.copytree("conf/recipe", tmp_path / "conf/recipe")
    write_sizes(tmp_path, small=100, large=5000)
    price = Prices(tmp_path)
    small, large = (price(cell(each, LITE[0], "lp_ft")) for each in ("small", "large"))
    assert small / large == pytest.approx(17 * 100 / (7 * 5000))


def test_published_prices_are_in_the_seconds_of_the_runs_there_are(tmp_path: Path) -> None:
    write_study(tmp_path)
    write_imagenet(tmp_path / "data/imagenet.csv")
    write_sizes(tmp_path, digits=100)
    write_seconds(tmp_path, "digits", LITE[0], 12)
    assert Prices(tmp_path)(cell("digits", LITE[2])) == pytest.approx(16)


def test_a_model_of_which_nothing_is_known_is_neither_first_nor_last(tmp_path: Path) -> None:
    models = [*LITE, "nobody_knows.it"]
    write_study(tmp_path, models=models)
    write_imagenet(tmp_path / "data/imagenet.csv")
    price = Prices(tmp_path)
    ordered = sorted(models, key=lambda model: price(cell("digits", model)))
    assert ordered[0] == LITE[0]
    assert ordered[-1] == LITE[2]


def test_what_others_need_goes_first(tmp_path: Path) -> None:
    assert Prices(tmp_path)(None) == 0


def test_a_fork_server_that_is_killed_while_it_loads_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[float] = []

    class Process:
        def __init__(self, **_: Any) -> None: ...

        def start(self) -> None:
            begun.append(time.monotonic())
            if len(begun) == 1:
                time.sleep(0.2)  # loading takes longer than the patience for a dying server
                raise EOFError

    monkeypatch.setattr("pipeline.sweep.engine.rest_while_waiting", lambda: None)
    monkeypatch.setattr("pipeline.sweep.engine.GRACE_SECONDS", 0.1)
    engine = LocalEngine(1, 1)
    monkeypatch.setattr(engine, "_context", SimpleNamespace(Process=Process))
    engine.start(Job("dataset@d", "true", "", (), (), tmp_path, tmp_path, tmp_path))
    assert len(begun) == 2


def test_a_dry_run_groups_many_cells_of_a_stage_by_what_becomes_of_them() -> None:
    names = [f"finetune@pets-m{number}" for number in range(558)]
    verdicts = {"dataset@pets": "run", **dict.fromkeys(names, "after dataset@pets")}
    verdicts["finetune@pets-done"] = "commit"
    assert grouped(verdicts) == [
        "dataset@pets: run",
        "finetune: 558 cells, finetune@pets-m0 to finetune@pets-m557: after dataset",
        "finetune@pets-done: commit",
    ]


def test_a_signal_in_the_instant_in_which_failures_end_a_sweep_is_not_lost() -> None:
    """Enough runs have failed and one is still under way: only the signal ends the sweep now."""

    class Engine:
        @property
        def running(self) -> list[Any]:
            sweep.stopping = True  # as the handler of a signal does
            return [SimpleNamespace()]

    sweep: Any = Sweep.__new__(Sweep)
    sweep.options, sweep.engine, sweep.stopping = Options(max_failures=1), Engine(), False
    sweep.result = Result(failed={"finetune@a": "out of memory"})
    sweep._start()
    assert sweep.stopping


def test_enough_failures_end_a_sweep_when_no_run_is_under_way_any_more() -> None:
    sweep: Any = Sweep.__new__(Sweep)
    sweep.options, sweep.stopping = Options(max_failures=1), False
    sweep.result = Result(failed={"finetune@a": "out of memory"})
    for running, stopping in (([SimpleNamespace()], False), ([], True)):
        sweep.engine = SimpleNamespace(running=running)
        sweep._start()
        assert sweep.stopping is stopping
