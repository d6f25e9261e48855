"""What stages are made from: command, parameters and dependencies, hashed once for all of them.

DVC hashes the trainer's code anew for every stage, several times, and parses each file of
parameters six times. A stage's `key` is the hash of all it is made from.
"""

import hashlib
import json
from typing import Any

from dvc.dependency import ParamsDependency

from pipeline.sweeping.workspace import Stage


class Inputs:
    """The inputs of stages as they are now; `forget` when something may have changed them."""

    def __init__(self) -> None:
        self._hashes: dict[str, Any] = {}

    def changed(self, stage: Stage) -> bool:
        """Are command, parameters or dependencies other than dvc.lock says? Asked once a stage.

        Dependencies that stages share are hashed once, until `forget`.
        """
        changed = bool(stage.always_changed or stage.changed_stage())
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                self._read_once(dep)
                changed = bool(dep.workspace_status()) or changed
                dep.save()
                continue
            known = dep.hash_info
            self._save_once(dep)
            changed = known != dep.hash_info or changed
        return changed and not stage.frozen

    def key(self, stage: Stage) -> str:
        """The hash of the stage's command, parameters and dependencies, as last hashed."""
        inputs = [[dep.def_path, dep.hash_info.value] for dep in stage.deps]
        text = json.dumps([stage.cmd, sorted(inputs, key=str)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def forget(self) -> None:
        """Hash dependencies anew from now on: something may have changed them."""
        self._hashes.clear()

    def _read_once(self, dep: Any) -> None:
        """Let `dep` share what is read of its YAML file: DVC parses it six times for each stage."""
        read, hashes = type(dep).read_params, self._hashes

        def read_params(flatten: bool = True, **options: Any) -> dict[str, Any]:
            key = f"{dep.fs_path} {dep.params} {flatten} {options}"
            if key not in hashes:
                hashes[key] = read(dep, flatten, **options)
            return dict(hashes[key])

        dep.read_params = read_params

    def _save_once(self, dep: Any) -> None:
        if dep.fs_path in self._hashes:
            dep.hash_info, dep.meta, dep.obj = self._hashes[dep.fs_path]
        else:
            dep.save()
            self._hashes[dep.fs_path] = dep.hash_info, dep.meta, dep.obj
        dep.get_hash = lambda: dep.hash_info  # DVC's run-cache would hash it again
