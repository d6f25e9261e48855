"""Every error that a user can meet: in docs/troubleshooting.md, short, and said in some test."""

import ast
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from messages import VALUE, messages_of
from omegaconf import OmegaConf
from study_fakes import write_study
from sweep_workspace import make_workspace

from pipeline.benchmark.timings import read_timings
from pipeline.change import __main__ as change
from pipeline.configuration import hydra_app, launchers
from pipeline.core.errors import REMEDIES, PipelineError
from pipeline.dataset import arrays
from pipeline.dataset.extract import extract
from pipeline.dataset.label_tables import huggingface, in_csv
from pipeline.dataset.prepared import _load, open_prepared
from pipeline.dataset.recognise import recognise
from pipeline.dataset.sources import in_class_folders
from pipeline.finetune import weights
from pipeline.finetune.speed import speed_of
from pipeline.merge import __main__ as merge
from pipeline.models import __main__ as models
from pipeline.prefetch import __main__ as prefetch
from pipeline.recommend import __main__ as recommend
from pipeline.recommend.limits import Limit, throughput
from pipeline.recommend.prior import shortlist
from pipeline.records import Record
from pipeline.report import __main__ as report
from pipeline.results import read_results
from pipeline.study.params import read_study
from pipeline.study2022 import as_records
from pipeline.study2022.printed import sweep_file
from pipeline.sweep import ray_engine
from pipeline.sweep.dvc_private import not_whole
from pipeline.sweep.jobs import Options
from pipeline.sweep.lockfile import split_stages
from pipeline.sweep.project import Project
from pipeline.sweep.ray_cluster import join
from pipeline.timm_results.source import read_source

LONGEST = 200  # letters that are always there: two lines of a terminal
ENOUGH = 12  # letters of a message, said in a test, that tell it from all others
MARKS = " :;,.()"  # around what is the same each time
TABLE = Path("docs/troubleshooting.md")


def documented(root: Path) -> set[str]:
    """What stands in the first column of the tables."""
    found: set[str] = set()
    for line in (root / TABLE).read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            cell = re.split(r"(?<!\\)\|", line)[1].replace("\\|", "|")
            spans = re.findall(r"``\s(.+?)\s``|`([^`]+)`", cell)
            found |= {longer or shorter for longer, shorter in spans}
    return found


def test_every_error_stands_in_the_troubleshooting_table(root: Path) -> None:
    known = documented(root)
    missing = [
        f"{each.where}: {each.text}" for each in messages_of(root) if each.text.strip() not in known
    ]
    assert not missing, f"{TABLE} lacks: {missing}"


def test_the_troubleshooting_table_has_no_error_that_is_gone(root: Path) -> None:
    texts = {each.text.strip() for each in messages_of(root)}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (root / "pipeline").rglob("*.py"))
    said = code + "\n".join(map(os.strerror, REMEDIES))
    for text in documented(root) - texts:  # what the system says, or a record's reason
        for piece in re.split(rf"[{VALUE}:,]", text):
            assert piece.strip() in said, f"{TABLE}: {text}"


def test_no_error_is_longer_than_two_lines(root: Path) -> None:
    for each in messages_of(root):
        assert sum(map(len, each.pieces)) <= LONGEST, each
        assert "\n" not in each.text, each


def test_every_error_is_said_in_a_test(root: Path) -> None:
    said = {fragment for path in (root / "tests").rglob("*.py") for fragment in _strings_of(path)}
    silent = []
    for each in messages_of(root):
        pieces = [piece.strip(MARKS) for piece in each.pieces]
        if max(map(len, pieces)) >= ENOUGH and not any(_says(piece, said) for piece in pieces):
            silent.append(f"{each.where}: {each.text}")
    assert not silent, f"no test says: {silent}"


def _strings_of(path: Path) -> set[str]:
    """The texts in a test, without the marks of regular expressions."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    texts = [each.value for each in nodes if isinstance(each, ast.Constant)]
    whole = [re.sub(r"\\(.)", r"\1", each) for each in texts if isinstance(each, str)]
    return {part.strip(MARKS) for each in whole for part in re.split(r"\.\*|\n", each)}


def _says(piece: str, said: set[str]) -> bool:
    enough = min(ENOUGH, len(piece))
    if enough < 6:
        return False
    return any(piece in each or (len(each) >= enough and each in piece) for each in said)


def one_line(work: Callable[[], object], said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        work()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([], "no change given: write KEY=VALUE, such as"),
        (["image_size"], "write KEY=VALUE, such as 'grid.seeds="),
        (["image_size=["], "'[' is not YAML"),
        (["imagesize=1"], "no key imagesize: did you mean image_size"),
        (["grid.seeds=[]"], "grid.seeds is empty: name at least one"),
        (["grid.seeds=[0, 0]"], "grid.seeds names 0 twice"),
        (["grid.seeds=['0']"], "grid.seeds has '0', not a whole number"),
        (["image_size=wide"], "image_size is 'wide', not a whole number"),
        (["image_size=null"], "image_size is missing: give it a whole number"),
        (["grid.models=[a;b]"], "which becomes part of a shell command: write"),
    ],
)
def test_a_change_that_makes_no_study_is_one_line_and_changes_nothing(
    tmp_path: Path, changes: list[str], said: str
) -> None:
    study = write_study(tmp_path)
    before = study.read_text()
    one_line(lambda: change.main(*changes, params=study), said)
    assert study.read_text() == before


def test_a_study_that_is_not_there_or_no_text_is_one_line(tmp_path: Path) -> None:
    one_line(lambda: read_study(tmp_path / "params.yaml"), "No such file or directory")
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe")
    one_line(lambda: read_study(tmp_path / "params.yaml"), "not text (byte 0 is not UTF-8)")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(order="dear"), "--order dear: "),
        (Options(gpus_per_run=2), "--gpus-per-run 2: write a part of one GPU, above 0"),
        (Options(gpus_per_run=0.5, exclusive=True), "--exclusive gives each run a GPU of its own"),
    ],
)
def test_options_of_a_sweep_that_cannot_be_are_one_line(options: Options, said: str) -> None:
    one_line(options.check, said)


def test_a_share_of_a_gpu_where_there_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    one_line(lambda: Options(gpus_per_run=0.5).runs_at_a_time(1), "no GPU is visible here")


def test_what_a_dataset_lacks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels.csv").write_text("file,label\n")
    one_line(lambda: in_csv(tmp_path, {"tests": "labels.csv"}, "file", "label"), "images.csv: did")
    one_line(lambda: in_class_folders(tmp_path, {"trian": "a"}), "images.parts: 'trian': did you")
    one_line(lambda: huggingface(tmp_path), "no Hugging Face dataset saved here")
    (tmp_path / "meta.json").write_text('{"format": 1}')
    one_line(lambda: open_prepared(tmp_path), "a damaged dataset (FileNotFoundError")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "datasets", None)
        one_line(lambda: huggingface(tmp_path), "reading it needs `pip install datasets`")
    np.save(tmp_path / "x.npy", np.zeros(3))
    one_line(lambda: _load(tmp_path / "x.npy"), "not an array of pixels: delete it, prepare again")


def test_a_decoder_that_the_kernel_killed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.dataset.sources import Found, Source

    source = Source([Found("a.png", ("a",))], _kill_me)
    said = "a decoding process was killed: is memory short?"
    one_line(lambda: arrays.decode_all(source, [("squish", 4)], tmp_path), said)


def _kill_me(file: str) -> bytes:
    os.kill(os.getpid(), 9)
    return b""


def test_what_an_earlier_stage_should_have_made_is_named(tmp_path: Path) -> None:
    one_line(lambda: read_results(tmp_path), "not there: run `dvc repro aggregate`")
    one_line(lambda: merge.accuracy_of(tmp_path), "fetch timm's results again")
    one_line(lambda: report._picture(tmp_path / "x.png"), "not there: run `dvc repro plot`")
    one_line(lambda: read_timings(tmp_path / "x.json"), "no timings of a model (FileNotFoundError")
    (tmp_path / "source.json").write_text("[]")
    one_line(lambda: read_source(tmp_path), "not a source.json of `fetch` (")


def test_limits_and_names_that_mean_nothing_are_one_line() -> None:
    one_line(lambda: throughput("--min-throughput", 0), "give a number of images per second above")
    one_line(lambda: recommend.main(dataset="digits", top=0), "--top 0: give 1 or more")
    one_line(lambda: hydra_app.check("finetune", []), "dataset=... is missing: choose from")
    one_line(lambda: speed_of(OmegaConf.create({})), "=None: write true or false")
    none = pd.DataFrame({"top1": [70.0], "samples_per_second": [1.0], "model": ["a.b"]})
    limit = Limit("--min-throughput", "samples_per_second", 9.0, "samples/s", least=True)
    one_line(lambda: shortlist(none, none, [limit], 1), "by published speed, ")
    one_line(models.main, "name at least one model or pattern: resnet50")


def test_a_launcher_that_cannot_work_here_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    slurm = ["hydra/launcher=submitit_slurm"]
    one_line(lambda: launchers.prepare(slurm), "no `srun` here: run it where Slurm is")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = "hydra/launcher=submitit_slurm needs the package hydra-submitit-launcher: pip install"
    one_line(lambda: launchers.prepare(slurm), said)


def test_a_cluster_without_ray_or_with_changed_code_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        one_line(lambda: join("auto"), "--address needs the package ray: pip install")
    parcels = SimpleNamespace(of=lambda *_: SimpleNamespace(digest="new"))
    engine = SimpleNamespace(_parcels=parcels, _root=Path(), _code=SimpleNamespace(digest="old"))
    said = "pipeline/, conf/ or params.yaml changed while it ran: call again"
    one_line(lambda: ray_engine.RayEngine._send(engine, None, None), said)


def test_the_2022_study_from_a_folder_is_one_line(tmp_path: Path) -> None:
    def read() -> None:
        with sweep_file(f"{tmp_path}@{'0' * 40}:sweep.csv"):
            pass

    one_line(read, "a folder, but no git repository")


@pytest.mark.parametrize(
    ("model", "said"), [("../x", "cannot be the name of a folder"), ("x", "two runs would be ")]
)
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

    one_line(locked, "another DVC command holds this workspace: let it end")
    one_line(busy, "another DVC command is at work here: ")


def test_an_archive_without_a_place_is_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    one_line(
        lambda: extract(tmp_path / "a.zip", tmp_path / "a.zip" / "x"), "cannot be extracted to"
    )


def test_arrays_of_another_number_of_images_are_one_line(tmp_path: Path) -> None:
    meta = {"format": 1, "name": "x", "kind": "single", "classes": ["a"], "fingerprint": "f"}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "index.csv").write_text("file,labels,part,sha256\n1.png,a,train,x\n")
    np.save(tmp_path / "squish-4.npy", np.zeros((2, 3, 4, 4), dtype=np.uint8))
    one_line(lambda: open_prepared(tmp_path).array(4), "2 images, but index.csv has 1")


def test_a_saved_dataset_without_images_is_one_line(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_dict({"a": [1], "b": [2]}).save_to_disk(tmp_path / "saved")
    one_line(lambda: recognise(tmp_path / "saved"), "no column of images with labels among a, b")


def test_a_dvc_lock_that_a_sweep_cannot_keep_is_one_line(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    one_line(lambda: split_stages(lock, "schema: '2.0'\nhooks: {}\n"), "which a sweep cannot keep")
    assert "not whole, as DVC leaves it when it is killed" in str(not_whole(lock))


def test_weights_of_another_model_are_one_line(tmp_path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(1)}, tmp_path / "x.pth")
    said = "its tensors are not those of timm's test_resnet, in order and shape"
    one_line(lambda: weights._in_timms_names("test_resnet", tmp_path / "x.pth"), said)


def test_a_source_of_weights_that_is_none_is_one_line(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    study.write_text(study.read_text().replace("weights: wheel", "weights: weel"))
    one_line(lambda: prefetch.weights_config(study), "weights is 'weel': did you mean wheel")
