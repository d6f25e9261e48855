"""Records that are truncated, old or of other code are refused by name, never averaged."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from study_fakes import LITE, write_imagenet, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.core.errors import PipelineError
from pipeline.core.files import meaning_of
from pipeline.finetune.attempts import code_version
from pipeline.records import FORMAT, read_record


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Three models, two seeds, all made by one version of the code."""
    write_study(tmp_path)
    write_imagenet(tmp_path / "imagenet.csv")
    for model in LITE:
        for seed in (0, 1):
            write_run(tmp_path / "runs", model, seed, 0.1, versions={"code": "0123456789ab"})
    return tmp_path


def run(study: Path) -> None:
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(study / name for name in names))


def refused(study: Path, path: Path) -> str:
    with pytest.raises(PipelineError, match=re.escape(str(path))) as caught:
        run(study)
    assert not (study / "results").exists()
    return str(caught.value)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_records_of_two_versions_of_the_code_are_refused_by_name(study: Path) -> None:
    run(study)
    (study / "results").rename(study / "before")
    path = write_run(study / "runs", LITE[1], 1, 0.1, versions={"code": "another"})
    assert "the trainer has different code in these two records" in refused(study, path)


def test_comments_and_layout_are_no_other_version_of_the_code_but_numbers_are() -> None:
    code = 'def rate(x):\n    """Half of it."""\n    return x / 2\n'
    assert meaning_of(code) == meaning_of("def rate(x):  # half\n    return (x\n            / 2)")
    assert meaning_of(code) != meaning_of(code.replace("2", "3"))
    assert re.fullmatch("[0-9a-f]{12}", code_version())
    assert code_version() != code_version("baseline/*.py")


def test_a_record_cut_in_half_is_refused_by_name(study: Path) -> None:
    path = study / "runs/digits" / LITE[0] / "quickstart/0.json"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "not a complete record" in refused(study, path)
    assert "delete it to run again" in refused(study, path)


def test_a_record_of_an_older_version_is_refused_by_name(study: Path) -> None:
    path = study / "runs/digits" / LITE[0] / "quickstart/0.json"
    change(path, format=FORMAT - 1)
    assert f"record format {FORMAT - 1}, expected {FORMAT}" in refused(study, path)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"verdict": "good"}, "unknown fields"),
        ({"status": "fine"}, "status is 'fine'"),
        ({"status": "failed"}, "status is failed but it has metrics"),
        ({"metrics": {}}, "status is ok but metrics.error_rate is absent"),
        ({"metrics": {"error_rate": float("nan")}}, "metrics.error_rate is nan, not a finite"),
        ({"metrics": {"error_rate": "0.1"}}, "metrics.error_rate is '0.1', not a finite"),
        ({"metrics": [0.1]}, "metrics is of type list"),
        ({"cost": {"fit_seconds": "1"}}, "cost.fit_seconds is '1', not a finite number"),
        ({"seed": "0"}, "seed is of type str"),
        ({"history": [1]}, "history\\[0\\] is of type int"),
    ],
)
def test_a_record_that_no_run_could_have_written_is_refused(
    study: Path, values: dict[str, Any], line: str
) -> None:
    path = study / "runs/digits" / LITE[0] / "quickstart/0.json"
    change(path, **values)
    with pytest.raises(PipelineError, match=line):
        read_record(path)


def test_a_record_without_its_first_fields_is_refused(study: Path) -> None:
    path = study / "runs/digits" / LITE[0] / "quickstart/0.json"
    path.write_text(json.dumps({"format": FORMAT}))
    with pytest.raises(PipelineError, match=r"missing 5 required positional arguments.*delete it"):
        read_record(path)
