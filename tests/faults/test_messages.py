"""Errors are one short line that names what is wrong, and those on the page are the code's."""

import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils import strictyaml
from messages import VALUE, messages_of, texts_of
from omegaconf import OmegaConf
from study_fakes import write_study
from sweep_workspace import make_workspace

from pipeline.benchmark.timings import read_timings
from pipeline.change import __main__ as change
from pipeline.configuration import hydra_app
from pipeline.core.errors import REMEDIES, PipelineError
from pipeline.dataset import arrays
from pipeline.dataset.download import extract
from pipeline.dataset.hugging_face import huggingface
from pipeline.dataset.label_tables import in_table
from pipeline.dataset.prepared import _load, open_prepared
from pipeline.dataset.recognise import recognise
from pipeline.dataset.sources import in_class_folders
from pipeline.finetune import weights
from pipeline.finetune.speed import speed_of
from pipeline.merge import __main__ as merge
from pipeline.models import __main__ as models
from pipeline.prefetch import __main__ as prefetch
from pipeline.recommend import __main__ as recommend
from pipeline.recommend.limits import Limit, above_0
from pipeline.recommend.prior import shortlist
from pipeline.records import Record
from pipeline.report.mistakes import picture
from pipeline.results import read_results
from pipeline.study.params import read_study
from pipeline.study2022 import as_records
from pipeline.study2022.printed import sweep_file
from pipeline.sweep import dvc_private, ray_engine
from pipeline.sweep.dvc_private import not_whole
from pipeline.sweep.jobs import Options
from pipeline.sweep.project import Project, split_stages
from pipeline.sweep.ray_engine import join
from pipeline.timm_results.published_tables import read_source

LONGEST = 200  # letters that are the same each time: two lines of a terminal
PAGE = Path("docs/troubleshooting.md")


def on_the_page(root: Path) -> list[str]:
    """The first column of the page's table of messages."""
    page = (root / PAGE).read_text(encoding="utf-8")
    rows = page.partition("| message |")[2].splitlines()[2:]
    cells = [row.split(" | ")[0].removeprefix("| ") for row in rows if row.startswith("| `")]
    return [cell.strip("`").strip() for cell in cells]


def test_every_message_on_the_troubleshooting_page_is_made_by_the_code(root: Path) -> None:
    system = [f"{os.strerror(number)}: {remedy}" for number, remedy in REMEDIES.items()]
    made = system + texts_of(root)
    messages = on_the_page(root)
    assert len(messages) >= 30
    for message in messages:
        fixed = ".*".join(re.escape(part) for part in message.split(VALUE))
        assert any(re.search(fixed, text) for text in made), f"{PAGE}: {message}"


def test_no_error_is_longer_than_two_lines(root: Path) -> None:
    messages = messages_of(root)
    assert len(messages) > 200
    for each in messages:
        assert len(each.text.replace(VALUE, "")) <= LONGEST, each
        assert "\n" not in each.text, each


def one_line(work: Callable[[], object], *named: str, exit_code: int = 1) -> None:
    """`work` ends in one line that names all of `named`: what is wrong, where, what to do."""
    with pytest.raises(PipelineError) as caught:
        work()
    assert caught.value.exit_code == exit_code
    assert "\n" not in str(caught.value)
    for name in named:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ([], ["KEY=VALUE"]),
        (["image_size"], ["image_size", "KEY=VALUE"]),
        (["image_size=["], ["'['", "YAML"]),
        (["imagesize=1"], ["imagesize", "image_size"]),
        (["grid.seeds=[]"], ["params.yaml", "grid.seeds", "empty"]),
        (["grid.seeds=[0, 0]"], ["params.yaml", "grid.seeds", "0 twice"]),
        (["grid.seeds=0,1"], ["grid.seeds is a list", "'grid.seeds=[0,1]'"]),
        (["grid.seeds=['0']"], ["params.yaml", "grid.seeds", "'0'"]),
        (["image_size=wide"], ["params.yaml", "image_size", "'wide'"]),
        (["image_size=null"], ["params.yaml", "image_size", "missing"]),
        (["grid.models=[a;b]"], ["params.yaml", "a;b", "shell"]),
    ],
)
def test_a_change_that_makes_no_study_is_one_line_and_changes_nothing(
    tmp_path: Path, changes: list[str], named: list[str]
) -> None:
    study = write_study(tmp_path)
    before = study.read_text()
    one_line(lambda: change.main(*changes, params=study), *named)
    assert study.read_text() == before


@pytest.mark.parametrize(
    ("change_made", "named"),
    [
        ("grid.datasets=[petss]", ["grid.datasets", "'petss'", "did you mean pets?"]),
        ("grid.recipes=[quickstrat]", ["grid.recipes", "'quickstrat'", "did you mean quickstart?"]),
        ("weights=whel", ["weights", "'whel'", "did you mean wheel?"]),
    ],
)
def test_a_change_to_a_name_that_conf_has_not_is_one_line_and_changes_nothing(
    tmp_path: Path, root: Path, change_made: str, named: list[str]
) -> None:
    shutil.copytree(root / "conf", tmp_path / "conf")
    params = tmp_path / "params.yaml"
    shutil.copy(root / "params.yaml", params)
    before = params.read_text()
    one_line(lambda: change.main(change_made, params=params), "params.yaml", *named)
    assert params.read_text() == before


def test_a_study_that_is_not_there_or_no_text_is_one_line(tmp_path: Path) -> None:
    one_line(lambda: read_study(tmp_path / "params.yaml"), "params.yaml", "No such file")
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe")
    one_line(lambda: read_study(tmp_path / "params.yaml"), "params.yaml", "byte 0", "UTF-8")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (Options(order="dear"), ["--order dear", "cheap"]),
        (Options(gpus_per_run=2), ["--gpus-per-run 2"]),
        (Options(gpus_per_run=0.5, exclusive=True), ["--exclusive", "--gpus-per-run 0.5"]),
    ],
)
def test_options_of_a_sweep_that_cannot_be_are_one_line(options: Options, named: list[str]) -> None:
    one_line(options.check, *named)


def test_a_share_of_a_gpu_where_there_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    one_line(lambda: Options(gpus_per_run=0.5).runs_at_a_time(1), "--gpus-per-run 0.5", "no GPU")


def test_what_a_dataset_lacks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels.csv").write_text("file,label\n")
    one_line(lambda: in_table(tmp_path, {"tests": "labels.csv"}, "file", "label"), "images.table")
    one_line(lambda: in_class_folders(tmp_path, {"trian": "a"}), "images.parts", "trian", "train")
    one_line(lambda: huggingface(tmp_path), str(tmp_path), "no Hugging Face dataset")
    (tmp_path / "meta.json").write_text('{"format": 1}')
    one_line(lambda: open_prepared(tmp_path), str(tmp_path), "damaged")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "datasets", None)
        one_line(lambda: huggingface(tmp_path), "pip install datasets")
    np.save(tmp_path / "x.npy", np.zeros(3))
    one_line(lambda: _load(tmp_path / "x.npy"), "x.npy", "delete it")


def test_a_decoder_that_the_kernel_killed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.dataset.sources import LabelledImage, Source

    source = Source([LabelledImage("a.png", ("a",))], _kill_me)
    one_line(lambda: arrays.decode_all(source, [("squish", 4)], tmp_path), "killed", "memory")


def _kill_me(file: str) -> bytes:
    os.kill(os.getpid(), 9)
    return b""


def test_what_an_earlier_stage_should_have_made_is_named(tmp_path: Path) -> None:
    one_line(lambda: read_results(tmp_path), str(tmp_path), "dvc repro aggregate")
    one_line(lambda: merge.accuracy_of(tmp_path), str(tmp_path), "fetch")
    one_line(lambda: picture(tmp_path / "x.png"), "x.png", "dvc repro plot")
    one_line(lambda: read_timings(tmp_path / "x.json"), "x.json", "not a complete file of timings")
    (tmp_path / "source.json").write_text("[]")
    one_line(lambda: read_source(tmp_path), "source.json", "fetch")


def test_limits_and_names_that_mean_nothing_are_one_line() -> None:
    one_line(
        lambda: above_0("--min-throughput", 0, "images per second"), "--min-throughput", "above 0"
    )
    one_line(lambda: recommend.main(dataset="digits", top=0), "--top 0", "1 or more")
    one_line(lambda: hydra_app.compose("finetune", []), "dataset=...", "digits")
    one_line(lambda: speed_of(OmegaConf.create({})), "speed.", "None", "true or false")
    none = pd.DataFrame({"top1": [70.0], "samples_per_second": [1.0], "model": ["a.b"]})
    limit = Limit("--min-throughput", "samples_per_second", 9.0, "samples/s", is_minimum=True)
    one_line(lambda: shortlist(none, [limit], 1, None), "published speed")
    one_line(models.main, "name at least one model")


def test_a_launcher_that_cannot_work_here_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    slurm = ["hydra/launcher=submitit_slurm"]
    one_line(lambda: hydra_app.prepare(slurm), "`srun` not found: run this on a machine with Slurm")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = "hydra/launcher=submitit_slurm needs the package hydra-submitit-launcher"
    one_line(lambda: hydra_app.prepare(slurm), said, "run `make setup`")


def test_a_cluster_without_ray_or_with_changed_code_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        one_line(lambda: join("auto"), "--address", "make setup")
    parcels = SimpleNamespace(of=lambda *_: SimpleNamespace(digest="new"))
    engine = SimpleNamespace(_parcels=parcels, _root=Path(), _code=SimpleNamespace(digest="old"))
    one_line(
        lambda: ray_engine.RayEngine._send(engine, None, "", None),
        "pipeline/",
        "changed",
        exit_code=75,
    )


def test_the_2022_study_from_a_folder_is_one_line(tmp_path: Path) -> None:
    def read() -> None:
        with sweep_file(f"{tmp_path}@{'0' * 40}:sweep.csv"):
            pass

    one_line(read, str(tmp_path), "no git repository")


@pytest.mark.parametrize(("model", "said"), [("../x", "name of a folder"), ("x", "two runs")])
def test_runs_of_2022_that_cannot_be_files_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, said: str
) -> None:
    record = Record("failed", "pets", model, "fastai2022", 0)
    monkeypatch.setattr(as_records, "record_of", lambda row, source: record)
    rows = pd.DataFrame({"a": [1, 2]})
    one_line(lambda: as_records.write_records(rows, tmp_path, "s.csv"), said)


def test_another_dvc_command_in_the_workspace_is_one_line(tmp_path: Path) -> None:
    root = make_workspace(tmp_path / "workspace", seeds=1).folder
    first, second = Project(root), Project(root)
    stages = list(first.repo.index.stages)
    init = {"pid": 1, "cmd": "dvc repro"}  # a process that lives
    busy_paths = {"write": {str(stages[0].outs[0].fs_path): init}, "read": {}}
    (root / ".dvc/tmp/rwlock").write_text(json.dumps(busy_paths))

    def locked() -> None:
        with first.locked(0), second.locked(0):
            pass

    def busy() -> None:
        with first.busy(stages):
            pass

    one_line(locked, "another DVC command", exit_code=75)
    one_line(busy, "another DVC command", str(stages[0].outs[0].fs_path), exit_code=75)


def test_an_archive_without_a_place_is_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    target = tmp_path / "a.zip" / "x"
    one_line(lambda: extract(tmp_path / "a.zip", target), "cannot be extracted", str(target))


def test_arrays_of_another_number_of_images_are_one_line(tmp_path: Path) -> None:
    meta = {"format": 1, "name": "x", "kind": "single", "classes": ["a"], "fingerprint": "f"}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "index.csv").write_text("file,labels,part,sha256\n1.png,a,train,x\n")
    np.save(tmp_path / "squish-4.npy", np.zeros((2, 3, 4, 4), dtype=np.uint8))
    one_line(
        lambda: open_prepared(tmp_path).array(4), "squish-4.npy", "2 images", "index.csv has 1"
    )


def test_a_saved_dataset_without_images_is_one_line(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_dict({"a": [1], "b": [2]}).save_to_disk(tmp_path / "saved")
    one_line(lambda: recognise(tmp_path / "saved"), "of pictures none", "a, b")


def test_a_dvc_lock_that_a_sweep_cannot_keep_is_one_line(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    one_line(lambda: split_stages(lock, "schema: '2.0'\nhooks: {}\n"), "dvc.lock", "hooks")
    assert "git checkout dvc.lock" in str(not_whole(lock))

    def validate(path: str) -> None:
        with dvc_private.one_line():
            strictyaml.validate(None, COMPILED_LOCKFILE_SCHEMA, text="", path=path)

    one_line(lambda: validate("dvc.lock"), "dvc.lock: not whole", "git checkout dvc.lock")
    one_line(lambda: validate("dvc.yaml"), "DVC: ", "dvc.yaml' validation failed")


def test_weights_of_another_model_are_one_line(tmp_path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(1)}, tmp_path / "x.pth")
    weights_file = tmp_path / "x.pth"
    one_line(lambda: weights._in_timms_names("test_resnet", weights_file), "x.pth", "test_resnet")


def test_a_source_of_weights_that_is_none_is_one_line(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    study.write_text(study.read_text().replace("weights: wheel", "weights: weel"))
    one_line(lambda: prefetch.weights_config(study), "weights", "'weel'", "wheel")
