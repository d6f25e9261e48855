"""Files of one's own dataset that change are noticed, by DVC, the sweep and the status alike.

The real dvc.yaml, DVC and stages `source` and `dataset`; only fits and baselines are replaced.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image
from sweep_workspace import BASELINE, FINETUNE, PRELOADED, Workspace

from benchmarks.project_copy import copy_project
from pipeline.source.__main__ import GONE, fault_of
from pipeline.status.__main__ import changed_source
from pipeline.study.params import read_study

MODEL = "tf_efficientnet_lite0.in1k"
LINK = "data/sources/birds"


class Study(Workspace):
    """One dataset `birds` in a folder beside the project, one model, one seed."""

    @property
    def source(self) -> Path:
        return self.folder.parent / "birds"

    def repro(self) -> list[str]:
        """The stages that `dvc repro finetune` runs."""
        done = self.command("dvc", "repro", "finetune")
        assert done.returncode == 0, done.stderr + done.stdout
        lines = [line for line in done.stdout.splitlines() if line.startswith("Running stage")]
        return [line.split("'")[1].partition("@")[0] for line in lines]

    def status(self) -> str:
        done = self.command("pipeline.status")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dvc_status(self) -> str:
        done = self.command("dvc", "status", "--with-deps", "finetune")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def n_images(self) -> int:
        meta = yaml.safe_load((self.folder / "data/datasets/birds/meta.json").read_text("utf-8"))
        return int(meta["n_images"])

    def images(self, **more: str) -> None:
        config = {"name": "birds", "kind": "single", "source": str(self.source)}
        found = {"_target_": "pipeline.dataset.sources.in_class_folders"}
        text = yaml.safe_dump({**config, "images": found, **more})
        (self.folder / "conf/dataset/birds.yaml").write_text(text, encoding="utf-8")


def draw(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 12), (37 * number % 256, number, 90)).save(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project and its images, run once by DVC."""
    beside = tmp_path_factory.mktemp("finished")
    study = Study(beside / "project")
    copy_project(study.folder)
    for name, text in {
        "baseline/__main__.py": BASELINE,
        "finetune/__main__.py": FINETUNE,
        "sweep/preloaded.py": PRELOADED,
    }.items():
        (study.folder / "pipeline" / name).write_text(text)
    for number in range(20):
        draw(study.source / "ab"[number % 2] / f"{number}.png", number)
    study.images(source="../birds")
    params = yaml.safe_load((study.folder / "params.yaml").read_text(encoding="utf-8"))
    params["grid"].update(datasets=["birds"], models=[MODEL], recipes=["quickstart"], seeds=[0])
    params["image_size"] = 16
    (study.folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    assert study.repro() == ["source", "dataset", "finetune"]
    assert study.n_images() == 20
    return beside


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Study:
    shutil.copytree(finished, tmp_path / "all", symlinks=True)
    return Study(tmp_path / "all/project")


def test_what_has_not_changed_runs_nothing_again(study: Study) -> None:
    assert study.repro() == []
    assert "up to date" in study.dvc_status()
    assert "1 run: 1 done" in study.status().splitlines()


def added(study: Study) -> None:
    draw(study.source / "a/new.png", 99)


def removed(study: Study) -> None:
    (study.source / "a/0.png").unlink()


def replaced(study: Study) -> None:
    """By a file of the same size and time, as `cp -p` and `rsync` leave it."""
    old, new = study.source / "a/0.png", study.source / "new.png"
    size, stat = old.stat().st_size, old.stat()
    for number in range(100, 200):
        draw(new, number)
        if new.stat().st_size == size and new.read_bytes() != old.read_bytes():
            break
    os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new.replace(old)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "change", [added, pytest.param(removed, marks=SLOW), pytest.param(replaced, marks=SLOW)]
)
def test_a_changed_file_is_noticed_by_all(
    study: Study, change: Callable[[Study], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_before = study.n_images()
    monkeypatch.chdir(study.folder)
    read = read_study(Path("params.yaml"))
    assert changed_source(read, "birds") is None
    change(study)
    assert changed_source(read, "birds") == (
        "birds: files in ../birds have changed since it was prepared"
    )
    assert changed_source(read, "digits") is None  # another study's
    assert "modified:           data/sources/birds" in study.dvc_status()
    said = study.status()
    assert "1 run: 1 stale" in said
    assert "birds: files in ../birds have changed since it was prepared" in said
    assert "dataset@birds: after source@birds" in study.sweep("--dry-run", "finetune").stdout
    assert study.repro() == ["source", "dataset", "finetune"]
    assert study.n_images() - n_before == {added: 1, removed: -1, replaced: 0}[change]
    assert "up to date" in study.dvc_status()
    assert "1 run: 1 done" in study.status()


def test_a_sweep_prepares_changed_files_anew_and_dvc_has_nothing_left_to_do(study: Study) -> None:
    added(study)
    done = study.sweep("finetune")
    assert "3 made" in done.stdout, done.stderr
    assert study.n_images() == 21
    assert study.repro() == []
    assert "3 up to date" in study.sweep("finetune").stdout


def test_a_corrected_label_is_noticed(study: Study) -> None:
    rows = [f"{name}/{number}.png,{name}" for number in range(20) for name in "ab"[number % 2]]
    table = study.source / "labels.csv"
    table.write_text("\n".join(["file,label", *rows]) + "\n", encoding="utf-8")
    images = {"_target_": "pipeline.dataset.sources.in_csv", "file": "file", "label": "label"}
    study.change("conf/dataset/birds.yaml", images={**images, "csv": "labels.csv"})
    assert "dataset" in study.repro()
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("a/0.png,a", "a/0.png,b"), encoding="utf-8")
    assert "1 stale" in study.status()
    assert study.repro() == ["source", "dataset", "finetune"]


def test_touched_files_run_nothing_again(study: Study) -> None:
    later = time.time() + 5
    for path in study.source.rglob("*.png"):
        os.utime(path, (later, later))
    assert "up to date" in study.dvc_status()
    assert "1 done" in study.status()
    assert study.repro() == []
    assert "3 up to date" in study.sweep("finetune").stdout


def test_a_moved_folder_trains_nothing_again(study: Study) -> None:
    study.source.rename(study.source.with_name("elsewhere"))
    study.change("conf/dataset/birds.yaml", source=str(study.source.with_name("elsewhere")))
    assert study.repro() == ["source", "dataset"]
    assert "1 done" in study.status()
    added(study)  # where nobody looks any more
    assert study.repro() == []


def test_a_replaced_archive_is_noticed(study: Study) -> None:
    archive = Path(shutil.make_archive(str(study.folder.parent / "birds"), "zip", study.source))
    study.change("conf/dataset/birds.yaml", source="../birds.zip")
    assert study.repro() == ["source", "dataset", "finetune"]  # meta.json has an archive's hash
    assert study.repro() == []
    added(study)
    shutil.make_archive(str(archive.with_suffix("")), "zip", study.source)
    assert "1 stale" in study.status()
    assert "data/sources/birds" in study.dvc_status()
    assert study.repro() == ["source", "dataset", "finetune"]
    assert study.n_images() == 21


def test_a_source_that_is_gone_is_said_in_one_line_and_breaks_nothing(study: Study) -> None:
    before = study.records()
    shutil.rmtree(study.source)
    said = study.status()
    assert "birds: its source ../birds: not there: what was prepared of it stays in use" in said
    assert "1 run: 1 done" in said
    assert study.repro() == ["source", "dataset"]
    assert "up to date" in study.dvc_status()
    done = study.sweep("finetune")
    assert done.returncode == 0, done.stderr
    assert "3 up to date" in done.stdout
    assert (study.records(), study.n_images()) == (before, 20)
    study.change("conf/dataset/birds.yaml", valid_pct=0.5)
    wrong = study.command("dvc", "repro", "dataset")
    assert wrong.returncode != 0
    assert "dataset.source: ../birds is not there" in wrong.stderr + wrong.stdout


def test_of_a_dataset_that_was_never_prepared_nothing_is_said_to_be(study: Study) -> None:
    rare = study.source.with_name("rare")
    draw(rare / "only/0.png", 0)  # one class: it cannot be prepared
    config = yaml.safe_load((study.folder / "conf/dataset/birds.yaml").read_text("utf-8"))
    (study.folder / "conf/dataset/rare.yaml").write_text(
        yaml.safe_dump(config | {"name": "rare", "source": "../rare"}), encoding="utf-8"
    )
    params = study.folder / "params.yaml"
    params.write_text(
        params.read_text("utf-8").replace("- birds\n", "- birds\n  - rare\n"), "utf-8"
    )
    assert "1 class with too few images" in study.sweep("dataset@rare").stderr
    said = study.status()
    assert "1 done, 1 missing" in said
    assert "rare:" not in said
    shutil.rmtree(rare)
    said = study.status()
    assert (
        "rare: its source ../rare: not there, and nothing was prepared of it: put it back, or "
        "correct conf/dataset/rare.yaml"
    ) in said


def test_a_clone_without_the_files_keeps_what_was_prepared(study: Study) -> None:
    shutil.rmtree(study.source)
    shutil.rmtree(study.folder / "data/sources")
    assert study.repro() == ["source", "dataset"]


def test_a_source_that_is_back_is_watched_again(study: Study) -> None:
    aside = study.source.rename(study.source.with_name("aside"))
    assert study.sweep("finetune").returncode == 0
    aside.rename(study.source)
    added(study)
    assert "3 made" in study.sweep("finetune").stdout
    assert study.n_images() == 21


@pytest.mark.parametrize("fault", ["broken link", ".dvcignore", "is not UTF-8", "data folder"])
def test_what_dvc_cannot_read_is_said_and_stops_nobody(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "birds"
    draw(folder / "a/0.png", 0)
    assert fault_of(tmp_path, Path("birds")) is None
    if fault == "broken link":
        (folder / "a/1.png").symlink_to("nowhere")
    elif fault == ".dvcignore":
        (folder / "a/.dvcignore").touch()
    elif fault == "is not UTF-8":
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).touch()
    source = Path() if fault == "data folder" else Path("birds")
    assert fault in str(fault_of(tmp_path, source))
    assert fault_of(tmp_path, Path("no")) == GONE
