"""dvc.lock is parsed part by part, to what DVC makes of it whole, or not at all."""

import textwrap
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from dvc import output
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils import strictyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sweep.dvc_loading import loading_stages, parsed_lock

CELL = """\
  fit@a-{seed}:
    cmd: python -m pipeline.finetune dataset=a seed={seed}
      out=data/runs/a-{seed}.json
    deps:
    - path: conf/recipe/quickstart.yaml
      hash: md5
      md5: 5aaade44ca28d18909afd1a109b24bac
      size: 806
    params:
      params.yaml:
        lr: 1e-05
        names: ['on', "1:30", null, 0o17]
    outs:
    - path: data/runs/a-{seed}.json
      hash: md5
      md5: {seed:032x}
      size: 19
"""
LOCK = "schema: '2.0'\nstages:\n" + "".join(CELL.format(seed=seed) for seed in range(3))
INSERTED = ("<<<<<<< HEAD", "  # note", "    cmd: &a x", "    wdir: b", "datasets: []", "   - x")


def ours(text: str) -> Any:
    return parsed_lock(text, strictyaml.parse_yaml)


def whole(text: str) -> Any:
    return strictyaml.parse_yaml(text, "dvc.lock")


def test_equal_parts_are_parsed_once_and_to_the_same() -> None:
    parsed = []

    def parse(text: str, path: str) -> Any:
        parsed.append(text)
        return strictyaml.parse_yaml(text, path)

    assert parsed_lock(LOCK, parse) == whole(LOCK)
    assert [text.count("lr: 1e-05") for text in parsed] == [1]


def test_the_projects_own_lock(root: Path) -> None:
    text = (root / "dvc.lock").read_text(encoding="utf-8")
    assert ours(text) == whole(text) != {}


@pytest.mark.parametrize(
    "text",
    [
        LOCK + CELL.format(seed=1),  # which DVC refuses
        LOCK.replace("cmd: python", "cmd: &c python", 1),
        LOCK.replace("size: 806", "size: !!str 806"),
        LOCK.replace("\n", "\r\n"),
        LOCK + "datasets:\n- name: a\n",
        LOCK.replace("schema: '2.0'", 'schema: "2.0"'),
        LOCK.replace("quickstart.yaml", "quick\x85start.yaml"),
        LOCK.replace("    params:", "    frozen: true\n    params:", 1),
        LOCK.removesuffix("\n"),
        LOCK.replace("    cmd: python", '    cmd: "python', 1),
        "",
    ],
)
def test_what_dvc_would_not_write_is_left_to_dvc(text: str) -> None:
    try:
        assert ours(text) is None
    except DvcException:  # which `loading_stages` takes for None
        with pytest.raises(DvcException):
            whole(text)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_edited_locks_mean_what_they_mean_to_dvc_or_are_left_to_it(data: st.DataObject) -> None:
    lines = LOCK.split("\n")
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(["delete", "double", "swap", "insert", "quote", "indent"]))
        at, other = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        if kind == "delete" and len(lines) > 2:
            del lines[at]
        elif kind == "double":
            lines.insert(other % len(lines), lines[at])
        elif kind == "swap":
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "insert":
            lines.insert(at, data.draw(st.sampled_from(INSERTED)))
        elif kind == "quote":
            lines[at] = lines[at].replace(" ", ' "', 1)
        else:
            lines[at] = lines[at][2:] if data.draw(st.booleans()) else f"  {lines[at]}"
    text = "\n".join(lines)
    try:
        found = ours(text)
    except DvcException:
        return
    if found is not None:
        assert found == whole(text)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    repo = Repo.init(str(tmp_path), no_scm=True)
    repo.close()
    (tmp_path / "in.txt").write_text("1")
    (tmp_path / "params.yaml").write_text("lr: 1e-05\n")
    (tmp_path / "dvc.yaml").write_text(
        textwrap.dedent(
            """\
            stages:
              fit:
                foreach: [0, 1, 2]
                do:
                  cmd: cp in.txt out-${item}.txt
                  deps: [in.txt]
                  params: [lr]
                  outs: [{"out-${item}.txt": {cache: false}}]
            """
        )
    )
    Repo(str(tmp_path)).reproduce()
    return tmp_path


def described(root: Path) -> dict[str, Any]:
    return {
        stage.addressing: [
            (each.def_path, each.fs_path, each.hash_name, each.hash_info, each.meta)
            for each in [*stage.deps, *stage.outs]
        ]
        for stage in Repo(str(root)).index.stages
    }


def test_stages_are_loaded_as_dvc_loads_them(workspace: Path) -> None:
    expected = described(workspace)
    with loading_stages():
        assert described(workspace) == expected
    assert len(expected) == 3
    (values,) = {str(each[1][3]) for each in expected.values()}
    assert "1e-05" in values


@pytest.mark.parametrize(
    ("old", "new"),
    [("path: in.txt", "pfad: in.txt"), ("  fit@1:", "  fit@0:"), ("schema: '2.0'", "schema: '1'")],
)
def test_a_lock_that_dvc_refuses_is_refused_in_its_words(
    workspace: Path, old: str, new: str
) -> None:
    path = workspace / "dvc.lock"
    path.write_text(path.read_text().replace(old, new, 1))
    said = []
    for loading in (nullcontext, loading_stages):
        with pytest.raises(DvcException) as error, loading():
            described(workspace)
        said.append(str(error.value))
    assert said[0] == said[1]


def test_dvcs_functions_are_its_own_again_also_after_an_error() -> None:
    before = strictyaml.load, output.get_cloud_fs
    with pytest.raises(AttributeError), loading_stages():
        strictyaml.nothing()
    assert (strictyaml.load, output.get_cloud_fs) == before
