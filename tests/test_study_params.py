"""params.yaml with a value of the wrong kind or a key twice is one whole line."""

from pathlib import Path

import pytest

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
