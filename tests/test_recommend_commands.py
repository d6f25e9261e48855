"""The commands that `recommend` prints, given to a shell one by one, and `change` alone."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from study_fakes import write_study
from sweep_workspace import MODELS, Workspace, make_workspace

from benchmarks.project_copy import ROOT
from pipeline.change import __main__ as change
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml
from pipeline.recommend.experiment import TABLES
from pipeline.study.params import read_study

TWO = "resnet18.a1_in1k, resnet50.a1_in1k"


def give(workspace: Workspace, command: str) -> str:
    python, *words = shlex.split(command)
    if python == "python":
        assert words.pop(0) == "-m"
    done = workspace.command(*([python] if python != "python" else []), *words)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_commands_for_a_second_seed_run_its_cells_and_no_other(tmp_path: Path):
    """Of the last command `aggregate` alone, which is the one that needs the records."""
    workspace = make_workspace(tmp_path / "project", seeds=1)
    give(workspace, "dvc repro --quiet aggregate")
    told = json.loads(give(workspace, "python -m pipeline.recommend --dataset digits --json"))
    before = set(workspace.records())
    *commands, tables = told["next"]["commands"]
    assert tables == TABLES
    for command in (*commands, "dvc repro --quiet --single-item aggregate"):
        give(workspace, command)
    assert set(workspace.records()) - before == {
        f"digits/{model}/quickstart/1.json" for model in MODELS
    }
    told = json.loads(give(workspace, "python -m pipeline.recommend --dataset digits --json"))
    assert {each["seeds"] for each in told["models"]} == {2}


def test_a_change_keeps_comments_and_all_other_keys(tmp_path: Path):
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    change.main("grid.seeds=[0, 1, 2]", f"grid.models=[{TWO}]", "weights=hub", params=path)
    study, before = read_study(path), read_study(ROOT / "params.yaml")
    assert (study.seeds, study.models, study.weights) == ((0, 1, 2), tuple(TWO.split(", ")), "hub")
    assert (study.datasets, study.charts) == (before.datasets, before.charts)
    assert path.read_text().count("#") == (ROOT / "params.yaml").read_text().count("#")


@pytest.mark.parametrize("table", change.PUBLISHED)
def test_a_published_model_or_one_of_the_study_is_not_looked_up_in_timm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
):
    monkeypatch.setattr("pipeline.names.resolve.resolve", None)
    path = write_study(tmp_path)
    (tmp_path / table).parent.mkdir(parents=True)
    (tmp_path / table).write_text("top1,model\n1,some.published\n")
    change.main("grid.models=[some.published]", params=path)
    (tmp_path / table).unlink()
    change.main("grid.models=[some.published]", "image_size=96", params=path)
    assert read_study(path).models == ("some.published",)


def test_a_change_keeps_the_anchors_that_no_alias_repeats_yet(root: Path, tmp_path: Path):
    params = tmp_path / "params.yaml"
    params.write_text((root / "studies/quickstart.yaml").read_text())
    change.main("image_size=96", params=params)
    assert "models: &models" in params.read_text()


def of_dvc(text: str) -> str:
    """Lists as `dvc exp run -S` leaves them."""
    return text.replace("\n    - ", "\n  - ")


@pytest.mark.parametrize("layout", [str, of_dvc])
@pytest.mark.parametrize("study", ["fastai2022", "own", "quickstart"])
def test_a_change_touches_its_own_line_alone(
    root: Path, tmp_path: Path, study: str, layout: Callable[[str], str]
):
    params = tmp_path / "params.yaml"
    before = layout((root / f"studies/{study}.yaml").read_text())
    params.write_text(before)
    change.main("grid.seeds=[0]", params=params)
    lines = zip(before.splitlines(), params.read_text().splitlines(), strict=True)
    assert [pair[1] for pair in lines if len(set(pair)) > 1] == ["  seeds: [0]"]


def test_a_change_of_a_list_keeps_its_anchor_and_reaches_its_aliases(tmp_path: Path):
    path = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("  models: [] #", "  models: *models #"), encoding="utf-8")
    change.main(f"grid.models=[{TWO}]", params=path)
    changed = path.read_text(encoding="utf-8")
    assert f"models: &models [{TWO}]" in changed
    assert "models: *models\n" in changed
    assert read_yaml(path)["benchmark"]["models"] == TWO.split(", ")


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ("export={}", "export.datasets, export.thresholds"),
        ("race=3", "race.datasets, race.fits, race.probes"),
    ],
)
def test_a_section_is_not_changed_as_a_whole(tmp_path: Path, given: str, keys: str):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    section = given.partition("=")[0]
    with pytest.raises(PipelineError, match=f"{section} is a section: .* one by one: {keys}$"):
        change.main(given, params=path)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((), "no change given"),
        (("grid.sedes=[0]",), "no key grid.sedes: did you mean grid.seeds"),
        (("grid.seed=3",), "no key grid.seed: did you mean grid.seeds\\?"),
        (("seed=[3]",), "no key seed: choose from grid.seeds$"),
        (("size=96",), "no key size: .*image_size"),
        (
            ("grid=[0]",),
            "grid is a section: change its keys one by one: grid.datasets, grid.models",
        ),
        (("grid.seeds=[x]",), "grid.seeds has 'x', not a whole number"),
        (("grid.seeds=[",), "is not YAML"),
        (("grid.seeds=3",), "grid.seeds is a list of whole numbers: write 'grid.seeds=[3]'"),
        (("grid.seeds=",), "grid.seeds is a list of whole numbers: write 'grid.seeds=[0, 1, 2]'"),
        (("grid.seeds=abc",), "grid.seeds is a list of whole numbers: .*'grid.seeds=[0, 1, 2]'"),
        (("grid.models=null",), "grid.models is a list: write 'grid.models=[null]'"),
        (("image_size=0",), "image_size is 0: write pixels, 1 to 4096"),
        (("weights",), "write KEY=VALUE"),
        (("image_size=64", "weights="), "weights is missing: give it text"),
        (("grid.models=[resnet18.a9_in1k]",), "did you mean resnet18.a"),
        (("grid.models=[resnet_18]",), "model resnet_18: timm has no such model: did you mean"),
        (("grid.models=[vit_base_patch16_224]",), "loads other weights today than in 2022"),
    ],
)
def test_a_change_that_makes_no_study_is_one_line_and_changes_nothing(
    tmp_path: Path, given: tuple[str, ...], line: str
):
    path = write_study(tmp_path)
    before = path.read_bytes()
    with pytest.raises(PipelineError, match=line.replace("[", r"\[")) as error:
        change.main(*given, params=path)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "a\n", "[1]\n"])
def test_a_file_without_a_study_is_one_line(tmp_path: Path, text: str):
    path = write_study(tmp_path)
    path.write_text(text)
    with pytest.raises(PipelineError, match=r"params\.yaml: holds no study: copy one from "):
        change.main("grid.seeds=[0]", params=path)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (b"grid: [", "params.yaml: not YAML in line 24: "),
        (b"image_size: 64\n", "image_size.*: delete one"),
        (b"# \xff\n", "params.yaml: not text"),
    ],
)
def test_a_damaged_study_is_an_error_and_stays_as_it_is(tmp_path: Path, damage: bytes, line: str):
    path = write_study(tmp_path)
    path.write_bytes(path.read_bytes() + damage)
    before = path.read_bytes()
    with pytest.raises(PipelineError, match=line):
        change.main("grid.seeds=[0]", params=path)
    assert path.read_bytes() == before
