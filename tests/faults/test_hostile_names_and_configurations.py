"""Studies, datasets and records of other people: a word stays a word, data stays data."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sweep_workspace import make_workspace

from pipeline.configuration import hydra_app
from pipeline.configuration.hydra_app import check_conf_file
from pipeline.core.errors import PipelineError
from pipeline.study.__main__ import main as check_study
from pipeline.study.params import Cell, refuse_odd_values

PARAMS = Path("params.yaml")
HOSTILE = [
    *(
        "a; touch PWNED",
        "$(touch PWNED)",
        "`touch PWNED`",
        "a' ; touch PWNED ; '",
        'a" ; touch PWNED',
    ),
    *(
        "a\ntouch PWNED",
        "a && touch PWNED",
        "a|touch PWNED",
        "a>PWNED",
        "${oc.env:HOME}",
        "a b",
        "*",
    ),
    *(
        "../../../PWNED",
        "/etc/passwd",
        "a/../../b",
        "..",
        "--multirun",
        "-c",
        "",
        "x" * 300,
        "a\0b",
    ),
    *("hf-hub:owner/model", "local-dir:/tmp/model", "a=b", "a,b", "[a]", "{a: b}", "~", "#"),
]
texts = st.one_of(
    st.text(max_size=40), st.text(alphabet="ab.-_/:;'\"$`\\ ~=*?[]{}()<>|&!#\n", max_size=12)
)


@pytest.mark.parametrize("key", ["datasets", "models", "recipes", "seeds"])
def test_no_hostile_name_of_a_study_is_accepted(key: str) -> None:
    for text in HOSTILE:
        with pytest.raises(PipelineError, match=f"grid.{key} has ") as caught:
            refuse_odd_values(PARAMS, {"grid": {key: ["fine", text]}})
        assert len(str(caught.value)) < 300


@settings(max_examples=200, deadline=None)
@given(text=texts)
@example(text="-n")
def test_what_a_study_may_say_is_one_word_to_a_shell(text: str) -> None:
    try:
        refuse_odd_values(PARAMS, {"weights": text})
    except PipelineError:
        return
    shown = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' x={text} x{text}"], capture_output=True, check=True
    )
    assert shown.stdout == f"x={text}\nx{text}\n".encode()


@given(texts, texts, texts)
def test_every_record_lies_in_the_folder_of_runs(dataset: str, model: str, recipe: str) -> None:
    try:
        refuse_odd_values(PARAMS, {"grid": {"models": [dataset, model, recipe]}})
    except PipelineError:
        return
    path = Cell(dataset, model, recipe, 0).path(Path("/runs"))
    assert path.resolve() == path
    assert path.parts[:2] == ("/", "runs")
    assert len(path.parts) == 6


@pytest.mark.parametrize("study", ["quickstart", "fastai2022"])
def test_the_studies_that_come_with_the_project_are_plain(root: Path, study: str) -> None:
    check_study(root / "studies" / f"{study}.yaml")


def test_every_command_with_a_value_in_it_follows_the_check(root: Path) -> None:
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    plain = {name: stage.get("do", stage) for name, stage in stages.items()}
    with_values = {name: stage["cmd"] for name, stage in plain.items() if "${" in str(stage["cmd"])}
    assert {"fetch", "dataset", "finetune", "study2022"} <= set(with_values)
    for name, commands in with_values.items():
        assert commands[0] == "python -m pipeline.study params.yaml", name


@pytest.mark.parametrize("words", [["repro"], ["repro", "--force", "--single-item"]])
def test_dvc_never_shows_a_hostile_name_to_a_shell(tmp_path: Path, words: list[str]) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    hostile = ["a; touch PWNED", "$(touch PWNED)", "a' ; touch PWNED ; '", "a\ntouch PWNED"]
    params = yaml.safe_load((workspace.folder / "params.yaml").read_text(encoding="utf-8"))
    workspace.change("params.yaml", grid={**params["grid"], "models": hostile, "seeds": [0]})
    done = workspace.command("dvc", *words, "--keep-going", "finetune", "dataset")
    assert done.returncode != 0
    assert "grid.models has 'a; touch PWNED', which becomes part of a shell command" in done.stderr
    assert workspace.runs() == []
    assert not list(workspace.folder.rglob("*PWNED*"))


DATA_THAT_ACTS = {
    "name: x\na: !!python/object/apply:os.system ['touch PWNED']\n": "not YAML",
    "# @package _global_\nhydra: {callbacks: {x: {_target_: os.system}}}\n": "@package",
    "#@package hydra.callbacks\nx: {_target_: os.system, command: id}\n": "@package",
    "defaults: [/hydra/launcher: joblib]\nname: x\n": "`defaults` affect more than this file",
    "name: ${oc.env:HOME}\n": "calls a resolver",
    "name: x\nsource: ${ oc.decode:'[1]' }\n": "calls a resolver",
    "- a\n- b\n": "contains a list, expected `key: value` lines",
    "": "contains a NoneType",
    "name: [": "not YAML",
    "a: &a [*a, *a]\nb: *c\n": "not YAML",
}


@pytest.mark.parametrize("text", DATA_THAT_ACTS)
def test_a_file_of_conf_is_data_and_calls_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "evil.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=DATA_THAT_ACTS[text]):
        check_conf_file(tmp_path / "evil.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.yaml"]


@pytest.mark.parametrize("group", ["dataset", "recipe", "weights"])
def test_every_file_of_conf_that_is_chosen_is_checked_first(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    shutil.copytree(root / "conf", tmp_path / "conf")
    monkeypatch.setattr(hydra_app, "CONF", tmp_path / "conf")
    (tmp_path / "conf" / group / "evil.yaml").write_text(next(iter(DATA_THAT_ACTS)))
    given = {"dataset": "digits", "recipe": "quickstart", "weights": "wheel", group: "evil"}
    overrides = [f"{key}={value}" for key, value in given.items()]
    with pytest.raises(PipelineError, match=r"evil\.yaml: not YAML"):
        hydra_app.compose("finetune", [*overrides, "model=x", "seed=0"])
