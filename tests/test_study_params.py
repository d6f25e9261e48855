"""params.yaml with a value of the wrong kind or a key twice is one whole line."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.errors import PipelineError, near_matches
from pipeline.core.files import read_yaml
from pipeline.study.__main__ import main as check_study
from pipeline.study.params import (
    read_study,
    refuse_aliased_mappings,
    refuse_odd_words,
    refuse_unknown_names,
)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("  seeds: [0, 1]", "  seeds: 3", "params.yaml: grid.seeds is 3, not a list"),
        ("image_size: 48", "image_size: [32, 48]", "image_size is [32, 48], not a whole number"),
        ("threads: 1", "threads: 1\nimage_size: 64", "image_size appears twice, on lines "),
        ("  seeds: [0, 1]", "  seeds: [0, 1]\n  seeds: [2]", "seeds appears twice, on lines "),
    ],
)
def test_a_value_that_cannot_be_is_one_line(
    tmp_path: Path, root: Path, old: str, new: str, line: str
) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(PipelineError) as caught:
        read_study(tmp_path / "params.yaml")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("image_size: 48", "image_size: 0", "image_size is 0: write pixels, 1 to 4096"),
        ("image_size: 48", "image_size: 5000", "image_size is 5000: write pixels, 1 to 4096"),
        ("threads: 1", "threads: 0", "threads is 0: write auto, or a number from 1"),
        ("threads: 1", "threads: many", "threads is 'many': write auto, or a number from 1"),
        (
            "_seconds: 80",
            "_seconds: -5",
            "score.overhead_seconds is -5: write a number of seconds, 0 or more",
        ),
        ("_seconds: 80", "_seconds: .inf", "score.overhead_seconds is inf: write a number of"),
        ("thresholds: half", "thresholds: f3", "export.thresholds is 'f3': write half or f2"),
        (
            "  datasets: [] # none; some",
            "  datasets: [digits, nope] # none; some",
            "export.datasets is ['digits', 'nope']: write names of grid.datasets or race.datasets",
        ),
    ],
)
def test_a_value_that_a_stage_would_refuse_after_the_fits_is_refused_before(
    tmp_path: Path, root: Path, old: str, new: str, line: str
) -> None:
    path = tmp_path / "params.yaml"
    text = (root / "params.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    for check in (refuse_odd_words, read_study):
        with pytest.raises(PipelineError, match=re.escape(f"{path}: {line}")):
            check(path)


def test_idle_cores_and_an_export_of_the_grid_are_taken(tmp_path: Path, root: Path) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8").replace("threads: 1", "threads: auto")
    text = text.replace("  datasets: [] # none; some", "  datasets: [digits] # none; some")
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    refuse_odd_words(path)
    assert read_study(path).datasets == ("digits", "digit_mosaic")


def test_two_cells_that_hyphens_give_one_name_are_one_line(tmp_path: Path, root: Path) -> None:
    study = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    study["grid"] |= {"datasets": ["a", "a-b.c"], "models": ["b.c", "b.c-b.c"]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    with pytest.raises(PipelineError) as caught:
        read_study(tmp_path / "params.yaml")
    both = (
        "a b.c-b.c quickstart 0 and a-b.c b.c quickstart 0 are both called a-b.c-b.c-quickstart-0"
    )
    assert both in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("photos", "choose from digits, own, pets"), ("pet", "did you mean pets?")],
)
def test_only_a_name_that_is_close_is_suggested(name: str, hint: str) -> None:
    assert near_matches(name, ["pets", "digits", "own"]) == hint


def test_an_alias_and_a_merged_mapping_are_no_key_twice(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {1: q, '1': r}\n", encoding="utf-8")
    assert read_yaml(path)["b"] == {"x": 3, "y": 2}
    assert read_yaml(path)["c"] == {1: "q", "1": "r"}


def test_no_file_of_ours_repeats_a_mapping_by_an_alias(root: Path) -> None:
    files = [root / "params.yaml", *root.glob("studies/*.yaml"), *root.glob("conf/**/*.yaml")]
    assert len(files) > 20
    for file in files:
        refuse_aliased_mappings(file)


@pytest.mark.parametrize("value", ["*score", "{<<: *score}", "[{x: *score}]"])
def test_an_aliased_mapping_whose_overrides_dvc_would_lose_is_one_line(
    tmp_path: Path, root: Path, value: str
) -> None:
    path = tmp_path / "params.yaml"
    text = (root / "params.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("score:", "score: &score") + f"again: {value}\n", encoding="utf-8")
    for check in (refuse_odd_words, read_study):
        with pytest.raises(PipelineError, match=r"the mapping in line \d+ is repeated by an alias"):
            check(path)


def test_the_old_list_that_an_override_leaves_behind_an_alias_is_one_line(
    tmp_path: Path, root: Path
) -> None:
    """`dvc exp run -S grid.models=[a.b, c.d]` (3.67.1) writes the aliased list out as it was."""
    path = tmp_path / "params.yaml"
    text = (root / "params.yaml").read_text(encoding="utf-8")
    aliased = text.replace("  models: [] #", "  models: *models #")
    path.write_text(aliased, encoding="utf-8")
    refuse_odd_words(path)
    old = "[tf_efficientnet_lite0.in1k, tf_efficientnet_lite1.in1k]"
    path.write_text(
        aliased.replace("models: &models", "models: [a.b, c.d]\n  was: &models").replace(
            "*models", old
        ),
        encoding="utf-8",
    )
    line = r"benchmark\.models has tf_efficientnet_lite0\.in1k and 1 more, not in grid\.models"
    for check in (refuse_odd_words, read_study):
        with pytest.raises(PipelineError, match=line):
            check(path)


@pytest.mark.slow
def test_an_override_of_the_grid_by_dvc_times_no_other_models(tmp_path: Path, root: Path) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    params = tmp_path / "params.yaml"
    params.write_text(text.replace("  models: [] #", "  models: *models #"), encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text("stages: {s: {cmd: python -m pipeline.study params.yaml}}")
    environment = {**os.environ, "PYTHONPATH": str(root), "DVC_NO_ANALYTICS": "1"}

    def call(*command: str) -> subprocess.CompletedProcess[str]:
        bin_first = {**environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        return subprocess.run(
            command, cwd=tmp_path, env=bin_first, capture_output=True, text=True, check=False
        )

    for command in ("git init -q", "dvc init -q", "git add -A"):
        assert call(*command.split()).returncode == 0
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    assert call("git", *who, "commit", "-qm", "x").returncode == 0
    ran = call("dvc", "exp", "run", "-S", "grid.models=[a.b, c.d]")
    assert ran.returncode != 0
    assert "benchmark.models has tf_efficientnet_lite0.in1k and 2 more" in ran.stdout + ran.stderr
    assert read_yaml(params)["grid"]["models"] == ["a.b", "c.d"]


def test_what_a_sweep_would_refuse_is_refused_before_each_stage(tmp_path: Path, root: Path) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("seeds: [0, 1]", "seeds: [0, one]"), encoding="utf-8")
    with pytest.raises(PipelineError, match=r"grid\.seeds has 'one', not a whole number"):
        check_study(path)
    (tmp_path / "conf/recipe").mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PipelineError, match=r"grid\.recipes: unknown recipe 'quickstart'"):
        check_study(path)


RACED = {"dataset": "photos", "model": "resnet18.a1_in1k", "recipe": "quickstart", "seed": 0}
NAME = "photos-resnet18.a1_in1k-quickstart-0"


def with_race(tmp_path: Path, datasets: list[str], fits: dict[str, Any]) -> Path:
    """The quickstart with a race of photos."""
    params = yaml.safe_load(
        (Path(__file__).parent.parent / "params.yaml").read_text(encoding="utf-8")
    )
    params["race"] = {"datasets": datasets, "fits": fits, "probes": {}}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    return path


def test_raced_cells_follow_the_grids_and_their_models_are_the_studys(tmp_path: Path) -> None:
    study = read_study(with_race(tmp_path, ["photos"], {NAME: RACED}))
    cells = list(study.cells())
    assert (study.datasets[-1], study.models[-1]) == ("photos", "resnet18.a1_in1k")
    assert [cell.model for cell in cells if cell.dataset == "photos"] == ["resnet18.a1_in1k"]
    assert not any(cell.model == "resnet18.a1_in1k" for cell in cells[:-1])
    assert study.stages == ("baseline", "finetune", "finetune_raced")


@pytest.mark.parametrize(
    ("datasets", "fits", "says"),
    [
        (["digits"], {}, "digits is in grid.datasets and in race.datasets"),
        ([], {NAME: RACED}, "its dataset is not in race.datasets"),
        (["photos"], {"another": RACED}, "not as `python -m pipeline.race` writes it"),
        (["photos"], {NAME: RACED | {"model": "a; b"}}, "becomes part of a shell command"),
        (["photos"], {"$(b)": RACED}, "becomes part of a shell command"),
    ],
)
def test_a_race_that_cannot_be_is_one_line(
    tmp_path: Path, datasets: list[str], fits: dict[str, Any], says: str
) -> None:
    with pytest.raises(PipelineError, match=re.escape(says)):
        read_study(with_race(tmp_path, datasets, fits))


def test_a_raced_dataset_and_recipe_must_be_in_conf(tmp_path: Path, root: Path) -> None:
    study = read_study(with_race(tmp_path, ["photos"], {NAME: RACED}))
    refuse_unknown_names(study)  # no conf/ beside it: a study that is kept, not run
    (tmp_path / "conf").symlink_to(root / "conf")
    with pytest.raises(PipelineError, match=r"race\.datasets: unknown dataset 'photos'"):
        refuse_unknown_names(study)
    fit = RACED | {"dataset": "pets", "recipe": "quickstar"}
    name = "pets-resnet18.a1_in1k-quickstar-0"
    with pytest.raises(
        PipelineError, match=r"race\.fits: unknown recipe 'quickstar': did you mean"
    ):
        refuse_unknown_names(read_study(with_race(tmp_path, ["pets"], {name: fit})))
