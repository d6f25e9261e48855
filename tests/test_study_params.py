"""params.yaml with a value of the wrong kind or a key twice is one whole line."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml
from pipeline.study.params import read_study


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("  seeds: [0, 1]", "  seeds: 3", "params.yaml: grid.seeds is 3, not a list"),
        ("image_size: 48", "image_size: [32, 48]", "image_size is [32, 48], not a whole number"),
        ("threads: 1", "threads: 1\nimage_size: 64", "image_size is there twice, in lines "),
        ("  seeds: [0, 1]", "  seeds: [0, 1]\n  seeds: [2]", "seeds is there twice, in lines "),
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


def test_an_alias_and_a_merged_mapping_are_no_key_twice(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {1: q, '1': r}\n", encoding="utf-8")
    assert read_yaml(path)["b"] == {"x": 3, "y": 2}
    assert read_yaml(path)["c"] == {1: "q", "1": "r"}


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
