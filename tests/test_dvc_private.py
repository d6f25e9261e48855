"""DVC's inner parts, which it may change at any time: in two modules, of one version, all there."""

import ast
import importlib
import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo

from pipeline.sweep.dvc_private import PROVED

MODULES = {"pipeline/sweep/dvc_private.py", "pipeline/sweep/dvc_loading.py"}
FUNCTIONS = {  # name: the arguments it took when it was proved
    "dvc.repo.reproduce:get_active_graph": ["graph"],
    "dvc.repo.reproduce:plan_repro": ["graph", "stages", "pipeline", "downstream"],
    "dvc.rwlock:rwlock": ["tmp_dir", "fs", "cmd", "read", "write", "hardlink"],
    "dvc.stage.cache:_can_hash": ["stage"],
    "dvc.stage.serialize:to_single_stage_lockfile": ["stage", "kwargs"],
    "dvc.utils.serialize:dumps_yaml": ["d"],
    "dvc.utils.serialize:parse_yaml_for_update": ["text", "path"],
    "dvc.stage.cache:StageCache.save": ["self", "stage"],
    "dvc.stage.cache:StageCache.pull": ["self", "remote", "odb"],
    "dvc.stage.cache:StageCache._load": ["self", "stage"],
    "dvc.stage.cache:StageCache._create_stage": ["self", "cache", "wdir"],
    "dvc.data_cloud:DataCloud.pull": ["self", "objs", "jobs", "remote", "odb"],
    "dvc.repo.stage:StageLoad.collect": [
        "self",
        "target",
        "with_deps",
        "recursive",
        "graph",
        "glob",
    ],
    "dvc.stage:Stage.changed_stage": ["self"],
    "dvc.stage:Stage.checkout": ["self", "allow_missing", "kwargs"],
    "dvc.stage:Stage.compute_md5": ["self"],
    "dvc.stage:Stage.get_used_objs": ["self", "args", "kwargs"],
    "dvc.stage:Stage.outs_cached": ["self"],
    "dvc.stage:Stage.save_outs": ["self", "allow_missing"],
    "dvc.output:Output.commit": ["self", "filter_info", "relink"],
    "dvc.output:Output.remove": ["self", "ignore_remove"],
    "dvc.output:Output.unprotect": ["self"],
    "dvc.output:Output.save": ["self"],
    "dvc.output:Output.get_hash": ["self"],
    "dvc.output:Output.workspace_status": ["self"],
    "dvc.dependency.param:ParamsDependency.read_params": ["self", "flatten", "kwargs"],
    "dvc.dependency.param:ParamsDependency.save": ["self"],
    "dvc.fs:get_cloud_fs": ["repo_config", "kwargs"],
    "dvc.output:get_cloud_fs": ["repo_config", "kwargs"],
    "dvc.utils.strictyaml:load": ["path", "schema", "fs", "encoding", "round_trip"],
    "dvc.utils.strictyaml:parse_yaml": ["text", "path", "typ"],
    "dvc.utils.strictyaml:validate": ["data", "schema", "text", "path", "rev"],
    "dvc_data.hashfile.db.local:LocalHashFileDB.oid_to_path": ["self", "oid"],
    "dvc_data.hashfile.tree:Tree.as_list": ["self", "with_meta"],
    "dvc.lock:Lock.lock": ["self"],
    "dvc.lock:Lock.unlock": ["self"],
}
CLASSES = [
    "dvc.dependency:ParamsDependency",
    "dvc.exceptions:CollectCacheError",
    "dvc.exceptions:DvcException",
    "dvc.lock:LockError",
    "dvc.repo:Repo",
    "dvc.utils.serialize:YAMLFileCorruptedError",
    "dvc.utils.strictyaml:YAMLSyntaxError",
]
# what objects of DVC hold
REPO = [
    "cloud",
    "fs",
    "index",
    "lock",
    "root_dir",
    "scm_context",
    "stage",
    "stage_cache",
    "tmp_dir",
]
STAGE = ["addressing", "always_changed", "cmd", "deps", "frozen", "md5", "outs", "wdir"]
DEP = ["def_path", "exists", "fs_path", "hash_info", "meta", "obj"]
OUT = [*DEP, "metric", "persist", "plot", "use_cache"]


def found(name: str) -> Any:
    module, _, path = name.partition(":")
    value = importlib.import_module(module)
    for part in path.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_dvc_takes_what_it_took_when_it_was_proved(name: str) -> None:
    assert list(inspect.signature(found(name)).parameters) == FUNCTIONS[name]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_of_dvc_is_where_it_was(name: str) -> None:
    assert inspect.isclass(found(name))


def test_objects_of_dvc_hold_what_they_held(root: Path) -> None:
    repo = Repo(str(root))
    (stage,) = (each for each in repo.index.stages if each.addressing == "fetch")
    held = [(repo, REPO), (stage, STAGE), (stage.deps[0], DEP), (stage.outs[0], OUT)]
    for owner, names in held:
        assert [name for name in names if not hasattr(owner, name)] == []


def test_two_modules_alone_import_dvc(root: Path) -> None:
    importing = set()
    for path in (root / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] in ("dvc", "dvc_data") for name in names):
                importing.add(path.relative_to(root).as_posix())
    assert importing == MODULES


def test_no_other_version_of_dvc_is_allowed_than_the_proved_one(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"dvc=={PROVED}" in project["dependencies"]
    locked = (root / "requirements.lock").read_text(encoding="utf-8")
    assert re.findall(r"^dvc==(\S+)", locked, re.MULTILINE) == [PROVED]
    assert version("dvc") == PROVED
