"""A copy of the project whose stages `dataset` and `finetune` cost nothing, for tests of the sweep.

The real dvc.yaml, DVC and `pipeline.sweep` are used. A fake run writes a record that depends only
on its arguments and configuration, and adds itself to a log, so the records of a disturbed sweep
can be compared with those of an undisturbed one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from study_fakes import INFER, TRAIN, write_imagenet

from benchmarks.project_copy import PRELOADED, copy_project

MODELS = ["tf_efficientnet_lite0.in1k", "tf_efficientnet_lite1.in1k"]
DATASET = """
import sys
from pathlib import Path

given = dict(each.split("=", 1) for each in sys.argv[1:])
out = Path(given["out"])
out.mkdir(parents=True, exist_ok=True)
(out / "meta.json").write_text(f'{{"image_size": {given["image_size"]}}}')
"""
FINETUNE = """
import json, os, sys, time, zlib
from pathlib import Path

import yaml

given = dict(each.split("=", 1) for each in sys.argv[1:])
with open("runs.log", "a") as log:
    log.write(f"{os.getpid()} {given['out']} {os.environ.get('WB_SHARED_DEVICE', '-')}\\n")
name = f"{given['dataset']} {given['model']} seed {given['seed']}"
print(f"{name} epoch 1/1", flush=True)
if "WB_PROGRESS" in os.environ:
    now = {"epoch": 1, "epochs": 2, "train_loss": 3, "valid_loss": 2, "error_rate": 0.5}
    with open(os.environ["WB_PROGRESS"], "a") as file:
        print(json.dumps(now | {"seconds": 1.0}), file=file)
time.sleep(float(os.environ.get("CELL_SECONDS", "0")))
if os.environ.get("FAILING", "-") in given["out"]:
    print(f"error: {name}: no such weights", file=sys.stderr)
    sys.exit(int(os.environ.get("FAILING_WITH", "1")))
recipe = yaml.safe_load(Path(f"conf/recipe/{given['recipe']}.yaml").read_text())
out = Path(given["out"])
out.parent.mkdir(parents=True, exist_ok=True)
beside = out.with_name(f".{out.name}.writing-{os.getpid()}")
cell = {key: given[key] for key in ("dataset", "model", "recipe")}
error = zlib.crc32(given["out"].encode()) % 1000 / 10000
meta = Path("data/datasets", given["dataset"], "meta.json")
prepared = json.loads(meta.read_text()) if meta.is_file() else {}
beside.write_text(json.dumps({
    "format": 2, "status": "ok", **cell, "seed": int(given["seed"]),
    "metrics": {"error_rate": error, "accuracy": 1 - error, "valid_loss": error},
    "history": [{"epoch": 1, "train_loss": error, "valid_loss": error, "error_rate": error}],
    "cost": {"fit_seconds": 100 * error},
    "device": {"kind": "cpu", "name": "Some CPU", "threads": 1},
    "weights": {"source": "wheel", "sha256": given["model"]},
    "data": {"fingerprint": prepared.get("fingerprint", given["dataset"]), "kind": "single",
             "n_train": 100, "n_valid": 100, "n_test": 0, "n_classes": 10, "n_rejected": 0,
             "chance_error_rate": 0.9},
    "config": {"image_size": 48, "recipe": recipe},
}))
beside.replace(out)
print(f"{name} error 0.1")
"""
BASELINE = """
import json, sys
from pathlib import Path

given = dict(each.split("=", 1) for each in sys.argv[1:])
out = Path(given["out"])
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(json.dumps({
    "format": 2, "status": "failed", "reason": "a fake", "dataset": given["dataset"],
    "model": given["model"], "recipe": "frozen", "seed": 0,
}))
"""


class Workspace:
    """One such copy: its folder, and the commands a user gives there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def sweep(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return self.command("pipeline.sweep", *words, **environment)

    def start_sweep(
        self, *words: str, of_its_own_group: bool = False, **environment: str
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.sweep", *words],
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=of_its_own_group,
        )

    def environment(self, **more: str) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **more}

    def runs(self) -> list[tuple[int, str]]:
        """Process and record of every fake run so far."""
        log = self.folder / "runs.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines]

    def shared(self) -> list[bool]:
        """Of every fake run so far, whether it was told to share its device."""
        lines = (self.folder / "runs.log").read_text().splitlines()
        return [line.split()[2] == "1" for line in lines]

    def records(self) -> dict[str, str]:
        runs = self.folder / "data/runs"
        return {str(each.relative_to(runs)): each.read_text() for each in runs.rglob("*.json")}

    def lock(self) -> dict[str, Any]:
        stages: dict[str, Any] = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        return stages

    def change(self, file: str, **values: Any) -> None:
        """Change these keys of a YAML file."""
        path = self.folder / file
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(content | values), encoding="utf-8")

    def tables(self) -> dict[str, str]:
        """What stage `aggregate` makes of the records, by the name of the file."""
        params = yaml.safe_load((self.folder / "params.yaml").read_text(encoding="utf-8"))
        self.change("params.yaml", charts={"infer": INFER, "train": TRAIN})
        write_imagenet(self.folder / "data/imagenet.csv", params["grid"]["models"])
        done = self.command("dvc", "repro", "--single-item", "aggregate")
        assert done.returncode == 0, done.stderr
        files = [*self.folder.glob("results/*.csv"), *self.folder.glob("metrics/*.json")]
        return {each.name: each.read_text(encoding="utf-8") for each in files}

    def copy(self, folder: Path) -> "Workspace":
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workspace(folder)


def make_workspace(folder: Path, seeds: int = 2) -> Workspace:
    """Two datasets, two models, one recipe and `seeds` seeds; nothing has run."""
    copy_project(folder)
    for name, text in {
        "dataset/__main__.py": DATASET,
        "baseline/__main__.py": BASELINE,
        "finetune/__main__.py": FINETUNE,
        "sweep/preloaded.py": PRELOADED,
    }.items():
        (folder / "pipeline" / name).write_text(text)
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params["grid"].update(models=MODELS, recipes=["quickstart"], seeds=list(range(seeds)))
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return Workspace(folder)
