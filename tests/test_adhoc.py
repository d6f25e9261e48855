"""One-off runs as tables: what differs names the recipe, and a stranger's record is one line."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from study_fakes import LITE, write_imagenet, write_run, write_study

from pipeline.adhoc import __main__ as adhoc
from pipeline.core.errors import PipelineError
from pipeline.results import read_results

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two learning rates for one model, two seeds each, as a multirun leaves them in `adhoc`."""
    write_study(tmp_path)
    write_imagenet(tmp_path / "data/imagenet.csv")
    for lr, error in ((0.01, 0.10), (0.02, 0.05)):
        for seed in (0, 1):
            add(tmp_path, seed, error + seed / 100, lr=lr)
    return tmp_path


def add(folder: Path, seed: int, error_rate: float, lr: float, **changes: Any) -> Path:
    recipe = {"name": "quickstart", "lr": lr, "epochs": 3}
    config = {
        **{"dataset": {"name": "digits"}, "recipe": recipe, "model": LITE[0], "seed": seed},
        **{"image_size": 64, "out": "adhoc", **changes.pop("config", {})},
    }
    made = write_run(folder / "made", LITE[0], seed, error_rate, config=config, **changes)
    number = len(list(folder.glob("adhoc/*.json")))
    (folder / "adhoc").mkdir(exist_ok=True)
    return made.rename(folder / f"adhoc/digits-{seed}-{number:08x}.json")


def aggregate(folder: Path) -> Any:
    out = folder / "adhoc/tables"
    imagenet = folder / "data/imagenet.csv"
    adhoc.main(folder / "adhoc", out, params=folder / "params.yaml", imagenet=imagenet)
    return read_results(out)


def test_runs_whose_overrides_differ_are_recipes_named_after_what_differs(folder: Path) -> None:
    done = aggregate(folder)
    assert done.board["recipe"].tolist() == [
        "quickstart recipe.lr=0.01",
        "quickstart recipe.lr=0.02",
    ]
    assert done.board["error_rate_mean"].tolist() == pytest.approx([0.105, 0.055])
    assert done.board["n"].tolist() == [2, 2]
    assert len(done.runs) == 4


def test_their_effect_is_that_of_recipes_paired_by_seed(folder: Path) -> None:
    row = aggregate(folder).recipes.iloc[0]
    assert (row["recipe"], row["against"]) == (
        "quickstart recipe.lr=0.02",
        "quickstart recipe.lr=0.01",
    )
    assert row["error_difference"] == pytest.approx(-0.05)
    assert row["n_pairs"] == 2


def test_runs_that_differ_in_no_setting_keep_their_recipes_name(tmp_path: Path) -> None:
    write_study(tmp_path)
    write_imagenet(tmp_path / "data/imagenet.csv")
    for seed in (0, 1):
        add(tmp_path, seed, 0.1, lr=0.01, config={"out": f"elsewhere/{seed}.json"})
    assert aggregate(tmp_path).board["recipe"].tolist() == ["quickstart"]


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("lr: 1e-2\nepochs: 3\n", "quickstart"),
        ("lr: 0.01\nepochs: 5\n", "quickstart recipe.epochs=3"),
        ("lr: 0.02\nepochs: 5\n", "quickstart recipe.lr=0.01 recipe.epochs=3"),
        ("lr: 0.01\nepochs: 3\nleast_steps: 50\n", "quickstart recipe.least_steps=0"),
    ],
)
def test_an_override_that_all_runs_share_is_in_the_recipes_name(
    tmp_path: Path, written: str, named: str
) -> None:
    write_study(tmp_path)
    write_imagenet(tmp_path / "data/imagenet.csv")
    (tmp_path / "conf/recipe").mkdir(parents=True)
    (tmp_path / "conf/recipe/quickstart.yaml").write_text(f"name: quickstart\n{written}")
    for seed in (0, 1):
        add(tmp_path, seed, 0.1, lr=0.01)
    assert aggregate(tmp_path).board["recipe"].tolist() == [named]


def test_runs_of_2022_that_differ_in_their_origin_alone_share_a_recipe(tmp_path: Path) -> None:
    write_study(tmp_path)
    write_imagenet(tmp_path / "data/imagenet.csv")
    for seed in (0, 1):
        add(tmp_path, seed, 0.1, lr=0.01, config={"study2022": {"pass": 1, "repeat": seed}})
    assert aggregate(tmp_path).board["recipe"].tolist() == ["quickstart"]


def test_a_time_that_does_not_count_is_shown_as_the_most_it_can_be(tmp_path: Path, capsys) -> None:
    write_study(tmp_path)
    write_imagenet(tmp_path / "data/imagenet.csv")
    add(tmp_path, 0, 0.1, lr=0.01, cost={"fit_seconds": 75.0}, not_for_speed="a throttled GPU")
    aggregate(tmp_path)
    assert "≤ 1 min 15 s" in capsys.readouterr().out


def test_another_image_size_is_another_recipe_and_numbers_are_in_order(folder: Path) -> None:
    for size in (96, 128):
        add(folder, 0, 0.2, lr=0.01, config={"image_size": size})
    recipes = aggregate(folder).board["recipe"]
    assert recipes.str.extract(r"image_size=(\d+)")[0].tolist() == ["64", "96", "128", "64"]


def test_what_nobody_ran_is_not_missing(folder: Path) -> None:
    add(folder, 7, 0.1, lr=0.5)
    assert aggregate(folder).board["n_missing"].tolist() == [0, 0, 0]


def test_two_records_of_the_same_run_are_refused_by_name(folder: Path) -> None:
    again = add(folder, 0, 0.3, lr=0.01)
    with pytest.raises(PipelineError, match="records of the same run: keep one") as caught:
        aggregate(folder)
    assert again.name in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a complete record"),
        ("[]", "record format 'list'"),
        ('{"format": 2, "status": "ok"}', "missing 4 required"),
    ],
)
def test_a_file_that_is_no_record_is_one_line_that_names_it(
    folder: Path, text: str, said: str
) -> None:
    (folder / "adhoc/strangers.json").write_text(text)
    with pytest.raises(PipelineError, match=said) as caught:
        aggregate(folder)
    assert "strangers.json" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "my laptop"},
        {"cost": {"fit_seconds": "long"}},
        {"history": ["one"]},
        {"config": []},
        {"reason": 5},
        {"data": None},
        {"data": {"n_train": "many"}},
        {"device": {"name": {}}},
        {"config": {"image_size": "big"}},
    ],
    ids=str,
)
def test_a_record_with_a_field_of_another_kind_is_one_line(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    write_study(tmp_path)
    write_imagenet(tmp_path / "data/imagenet.csv")
    path = write_run(tmp_path / "adhoc", LITE[0], 0, 0.1, **changes)
    with pytest.raises(PipelineError, match=str(path)):
        aggregate(tmp_path)


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "adhoc").mkdir()
    with pytest.raises(PipelineError, match="no record here"):
        aggregate(tmp_path)


def test_the_command_prints_the_leaderboard_and_writes_the_tables(folder: Path) -> None:
    hostile = "[red]<script>alert(1)</script>"
    add(folder, 0, 0.3, lr=0.01, config={"device": hostile})
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.adhoc", "adhoc", "adhoc/tables"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "quickstart recipe.lr=0.02" in done.stdout
    assert "5.50 % [" in done.stdout
    assert f"device={hostile}" in done.stdout  # as text, not as colour
    assert "5 runs: tables in adhoc/tables" in done.stdout
    board = pd.read_csv(folder / "adhoc/tables/leaderboard.csv")
    assert board["error_rate_mean"].min() == pytest.approx(0.055)
