"""Other people's runs: read without trust, kept apart, compared where the images are the same."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from study_fakes import (
    CPU,
    LITE,
    write_answers,
    write_failure,
    write_imagenet,
    write_run,
    write_study,
)
from test_report import paths

from pipeline.aggregate import __main__ as aggregate
from pipeline.core.errors import PipelineError
from pipeline.core.files import plain
from pipeline.estimates.belief import ODDS
from pipeline.finetune.callbacks import Diverged, Epochs
from pipeline.pool import __main__ as pool
from pipeline.pool import checked, incoming
from pipeline.recommend.prior import shortlist, similar_pool_runs
from pipeline.records import Data, Device, Record, read_record
from pipeline.report import __main__ as report
from pipeline.report import tables as report_tables
from pipeline.results import POOL, read_pool_table, read_results
from pipeline.statistics.comparison import DECIMALS, gaps_without_common_seeds
from pipeline.statistics.validation_images import paired
from pipeline.sweep.dvc_private import PROVED


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder of another person's runs: one model, two seeds."""
    for seed in (0, 1):
        write_run(tmp_path / "theirs", LITE[0], seed, 0.1)
    return tmp_path / "theirs"


def add(folder: Path, source: Path | str, **options: Any) -> list[checked.Pooled]:
    pool.main(str(source), pool=folder / "pool", **options)
    return checked.read_pool(folder / "pool")


def refused(folder: Path, source: Path | str, **options: Any) -> str:
    """The line by which a source is refused, after which nothing of it is there."""
    with pytest.raises(PipelineError) as caught:
        pool.main(str(source), pool=folder / "pool", name="them", **options)
    assert not list((folder / "pool").glob("*"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tar_of(path: Path, *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as tarred:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(content), kind, "elsewhere"
            tarred.addfile(member, io.BytesIO(content))
    return path


def changed(theirs: Path, **values: Any) -> Path:
    """One of the records with other values at its top."""
    path = theirs / "digits" / LITE[0] / "quickstart/0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return path


def repository(folder: Path) -> Path:
    """A git repository of the folder's files."""
    git = ["git", "-C", str(folder), "-c", "user.name=Anna", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "runs"]):
        subprocess.run([*git, *command], check=True)
    return folder


def test_a_folder_is_kept_with_who_and_where_from(tmp_path: Path, theirs: Path) -> None:
    [found] = add(tmp_path, theirs, name="anna", who="Anna")
    assert (found.manifest.name, found.manifest.who) == ("anna", "Anna")
    assert found.manifest.where == str(theirs)
    assert sorted(record.seed for record in found.records) == [0, 1]


def test_a_zip_and_a_tar_give_the_same_records(tmp_path: Path, theirs: Path) -> None:
    files = [(f"x/{path.parent.name}{path.name}", path) for path in theirs.rglob("*.json")]
    tarred = tar_of(tmp_path / "a.tar.gz", *((name, path.read_bytes()) for name, path in files))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, path in files:
            zipped.write(path, name)
    add(tmp_path, tarred)
    one, other = add(tmp_path, tmp_path / "b.zip")
    assert (one.manifest.name, other.manifest.name) == ("a", "b")
    assert one.records == other.records


def test_a_repository_gives_its_commit_and_author_and_runs_nothing(
    tmp_path: Path, theirs: Path
) -> None:
    repository(theirs)
    hook = theirs / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    [found] = add(tmp_path, theirs, rev="HEAD", name="anna")
    assert len(found.records) == 2
    assert found.manifest.who == "Anna"
    assert len(found.manifest.revision or "") == 40
    assert not (tmp_path / "ran").exists()


def test_a_remote_gives_the_records_that_dvc_lock_names(tmp_path: Path, theirs: Path) -> None:
    outs = []
    for path in sorted(theirs.rglob("*.json")):
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        place = tmp_path / "remote/files/md5" / md5[:2] / md5[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
        name = f"data/runs/{path.relative_to(theirs).as_posix()}"
        outs.append({"path": name, "hash": "md5", "md5": md5})
    project = tmp_path / "project"
    project.mkdir()
    lock = {"stages": {"finetune@0": {"outs": outs}, "merge": {"outs": [{"path": "data/x"}]}}}
    (project / "dvc.lock").write_text(json.dumps(lock))
    assert "give its DVC remote with --remote" in refused(tmp_path, project)
    remote = str(tmp_path / "remote")
    [found] = add(tmp_path, project, remote=remote, name="folder")
    [_, cloned] = add(tmp_path, repository(project), rev="HEAD", remote=remote, name="git")
    assert len(found.records) == 2
    assert cloned.records == found.records
    place.write_bytes(b"{}")
    pool.main(remove="folder", pool=tmp_path / "pool")
    pool.main(remove="git", pool=tmp_path / "pool")
    assert "has another MD5" in refused(tmp_path, project, remote=remote)


@pytest.mark.parametrize("name", ["../0.json", "/tmp/0.json", "a\\..\\0.json"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    assert "lies outside of it" in refused(tmp_path, tar_of(tmp_path / "a.tar.gz", (name, b"{}")))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_member_that_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = tar_of(tmp_path / "a.tar.gz", ("0.json", b""), kind=kind)
    assert "link or no plain file" in refused(tmp_path, path)


def test_a_link_in_a_folder_is_refused(tmp_path: Path, theirs: Path) -> None:
    (theirs / "1.json").symlink_to("/etc/hostname")
    assert "'1.json' is a link" in refused(tmp_path, theirs)


def test_an_archive_with_anything_else_is_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar.gz", ("setup.py", b"1"))
    assert "'setup.py' is no .json" in refused(tmp_path, path)


def test_a_file_one_byte_over_the_limit_is_refused(tmp_path: Path, theirs: Path) -> None:
    path = changed(theirs)
    content = path.read_bytes()
    path.write_bytes(content.ljust(incoming.MOST_BYTES))
    add(tmp_path, theirs)
    pool.main(remove="theirs", pool=tmp_path / "pool")
    path.write_bytes(content.ljust(incoming.MOST_BYTES + 1))
    assert "has more than 8,388,608 bytes" in refused(tmp_path, theirs)


@pytest.mark.parametrize(
    ("limit", "most", "line"),
    [
        ("MOST_FILES", 1, "more than 1 files"),
        ("MOST_TOTAL_BYTES", 10_000, "more than 10,000 bytes"),
        ("ANY_RATIO_BYTES", 20_000, "unpacks to more than"),
    ],
)
def test_too_many_files_or_bytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int, line: str
) -> None:
    content = json.dumps({"reason": " " * 9_000}).encode()
    path = tar_of(tmp_path / "a.tar.gz", *((f"{n}.json", content) for n in range(5)))
    monkeypatch.setattr(incoming, limit, most)
    monkeypatch.setattr(incoming, "MOST_RATIO", 1)
    assert line in refused(tmp_path, path)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"seed": "0"}, "seed is of type str"),
        ({"seed": -1}, "seed is -1"),
        ({"metrics": {"error_rate": "0.1"}}, "metrics.error_rate is '0.1'"),
        ({"metrics": {"error_rate": 1.5}}, "metrics.error_rate is 1.5, not within 0 and 1"),
        ({"metrics": {}}, "metrics.error_rate is absent"),
        ({"cost": {"fit_seconds": -1.0}}, "cost.fit_seconds is -1.0"),
        ({"cost": {"fit_seconds": float("nan")}}, "NaN is no number"),
        ({"data": {"n_valid": 10**9}}, "data.n_valid is 1000000000"),
        ({"data": {"kind": "three"}}, "data.kind is 'three'"),
        ({"config": {"image_size": 0}}, "config.image_size is 0"),
        ({"model": "../../x"}, "model is '../../x', which is no plain name"),
        ({"dataset": "a b"}, "dataset is 'a b'"),
        ({"recipe": "$(x)"}, "recipe is '$(x)'"),
        ({"surprise": 1}, "unknown fields ['surprise']"),
        ({"format": 1}, "record format 1, expected 2"),
        ({"reason": "x" * 4_001}, "reason has 4,001 characters"),
        ({"telemetry": [[[]]]}, "telemetry is of type list"),
        ({"config": json.loads("[" * 20 + "]" * 20)}, "more deeply nested"),
        ({"valid_wrong": "eJwDAAAAAAE="}, "valid_wrong is not one answer per validation image"),
    ],
)
def test_a_record_that_is_none_is_refused_by_name(
    tmp_path: Path, theirs: Path, values: dict[str, Any], line: str
) -> None:
    changed(theirs, **values)
    said = refused(tmp_path, theirs)
    assert line in said
    assert f"digits/{LITE[0]}/quickstart/0.json: refused" in said


def test_two_records_of_one_run_are_refused_and_equal_ones_are_one(
    tmp_path: Path, theirs: Path
) -> None:
    path = changed(theirs)
    (theirs / "copy.json").write_bytes(path.read_bytes())
    assert len(add(tmp_path, theirs, name="x")[0].records) == 2
    pool.main(remove="x", pool=tmp_path / "pool")
    changed(theirs, reason="another")
    assert "are different records of one run" in refused(tmp_path, theirs)


def test_no_more_is_kept_than_a_comparison_needs(tmp_path: Path, theirs: Path) -> None:
    weights = {"source": "hub", "origin": "/home/anna/w", "sha256": "s", "left_out": 0.0}
    config = {"recipe": {"lr": 0.1, "more": {"_target_": "x"}}, "out": "/home/anna/x"}
    changed(theirs, weights=weights, config=config, telemetry={"load": 1.0}, reason="a\x1b[2Jb")
    found = add(tmp_path, theirs)[0].records
    [record] = [each for each in found if each.seed == 0]
    assert record.weights == {"source": "hub", "sha256": "s", "left_out": 0.0}
    assert record.config == {"recipe": {"lr": 0.1}}
    assert record.telemetry == {}
    assert record.reason == "a [2Jb"


def test_a_pool_that_was_changed_by_hand_is_refused(tmp_path: Path, theirs: Path) -> None:
    add(tmp_path, theirs)
    file = next((tmp_path / "pool/theirs").glob("[0-9a-f]*.json"))
    file.write_text(file.read_text().replace("0.1", "0.2"))
    with pytest.raises(PipelineError, match="was changed after it was added"):
        checked.read_pool(tmp_path / "pool")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two models of this study on 360 images, and in `theirs` a third on the same ones."""
    write_study(tmp_path, models=LITE[:2])
    write_imagenet(tmp_path / "imagenet.csv")
    for place, models in (("runs", LITE[:2]), ("theirs", LITE[2:])):
        for model in models:
            for seed in (0, 1):
                wrong = np.arange(360) % 10 < (1 + LITE.index(model) % 2)
                write_answers(tmp_path / place, model, seed, np.roll(wrong, 10 * seed))
    return tmp_path


def tables(study: Path) -> Path:
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(study / name for name in names), pool=study / "pool")
    return study / "results"


def test_an_empty_pool_changes_nothing_and_a_full_one_only_its_own_table(study: Path) -> None:
    def files() -> dict[str, bytes]:
        made = [*tables(study).rglob("*"), *(study / "metrics").iterdir()]
        return {path.name: path.read_bytes() for path in made if path.name != "pool.csv"}

    before = files()
    assert read_pool_table(study / "results").empty
    add(study, study / "theirs")
    assert files() == before
    assert len(read_pool_table(study / "results")) == 1


def test_runs_on_the_same_images_are_held_against_the_best_of_this_study(study: Path) -> None:
    add(study, study / "theirs", name="anna", who="Anna")
    [row] = read_pool_table(tables(study)).to_dict("records")
    assert (row["from"], row["who"], row["model"]) == ("anna", "Anna", LITE[2])
    assert (row["model_here"], row["images"]) == (LITE[0], "paired")
    assert row["gap"] == pytest.approx(0.0, abs=1e-9)  # as many mistakes as this study's best
    assert row["gap_low"] < 0 < row["gap_high"]
    assert row["where"] == "theirs"  # no folder of this machine in a table


def test_runs_of_others_are_counted_and_timed_as_their_own_records_say(study: Path) -> None:
    """The best first; times are of the device of most runs, where nothing speaks against them."""
    fits = (  # model, seed, mistakes, seconds, what else the record says
        (LITE[1], 0, 90, 10.0, {}),
        (LITE[1], 1, 90, 20.0, {}),
        (LITE[1], 2, 90, 90.0, {"device": {**CPU, "name": "Another CPU"}}),
        (LITE[1], 3, 90, 70.0, {"device": {**CPU, "shared": True}}),
        (LITE[1], 4, 90, 80.0, {"not_for_speed": "the batch was halved"}),
        (LITE[2], 0, 36, 50.0, {"not_for_speed": "the batch was halved"}),
    )
    for model, seed, mistakes, seconds, changes in fits:
        wrong, cost = np.arange(360) < mistakes, {"fit_seconds": seconds}
        write_answers(study / "theirs", model, seed, wrong, cost=cost, **changes)
    finished = study / "theirs/digits" / LITE[2] / "quickstart/0.json"
    data = json.loads(finished.read_text())["data"]
    for model, seed in ((LITE[2], 1), (LITE[0], 0)):
        write_failure(study / "theirs", model, seed, "out of memory", data=data)
    add(study, study / "theirs")
    rows = read_pool_table(tables(study)).set_index("model")
    assert rows.index.tolist() == [LITE[2], LITE[1], LITE[0]]
    assert rows["n"].tolist() == [1, 5, 0]
    assert rows["n_failed"].tolist() == [1, 0, 1]
    assert rows["error_rate_mean"].tolist() == pytest.approx([0.1, 0.25, np.nan], nan_ok=True)
    times = rows["steady_fit_seconds_there"].tolist()
    assert times == pytest.approx([np.nan, 15.0, np.nan], nan_ok=True)
    assert rows.loc[LITE[1], "device_there"].startswith("Some CPU")
    assert rows["tied_there"].tolist()[:2] == [True, False]


def test_an_error_of_single_precision_becomes_the_share_of_wrong_answers(study: Path) -> None:
    """As in this study's own tables: a trainer's 10 of 81 are 0.12345679104328156."""
    for seed in (0, 1, 2):
        path = write_answers(study / "theirs", LITE[2], seed, np.arange(81) < 10)
        record = json.loads(path.read_text())
        record["metrics"]["error_rate"] = float(np.float32(10 / 81))
        path.write_text(json.dumps(record))
    add(study, study / "theirs")
    [row] = read_pool_table(tables(study)).to_dict("records")
    assert row["error_rate_mean"] == round(10 / 81, DECIMALS)


@pytest.mark.parametrize("changes", [{"fingerprint": "another"}, {"n_valid": 359}])
def test_runs_on_other_images_are_not_compared(study: Path, changes: dict[str, Any]) -> None:
    for path in (study / "theirs").rglob("*.json"):
        record = json.loads(path.read_text())
        record["data"] |= changes
        record["valid_wrong"] = None
        path.write_text(json.dumps(record))
    add(study, study / "theirs")
    [row] = read_pool_table(tables(study)).to_dict("records")
    assert pd.isna(row["gap"])
    assert pd.isna(row["model_here"])


def test_the_page_marks_them_and_gives_them_no_rank_and_no_time(study: Path) -> None:
    add(study, study / "theirs", name="anna")
    results = tables(study)
    board, others = read_results(results).board, read_pool_table(results)
    shown = report_tables.leaderboard(board, others)
    names = [column.name for column in shown.columns]
    cells = dict(zip(names, (cell.shown for cell in shown.rows[-1].cells), strict=True))
    assert (cells["from"], cells["model"]) == ("anna", LITE[2])
    assert cells["rank"] == cells["steady fit time"] == cells["score"] == "–"
    alone = report_tables.leaderboard(board, others.head(0))
    assert "from" not in [column.name for column in alone.columns]
    assert report_tables.other_people(others).rows[0].cells[0].shown == "anna"


@pytest.mark.parametrize("same_images", [True, False])
def test_the_page_explains_the_column_behind_only_if_it_is_there(
    study: Path, same_images: bool
) -> None:
    if not same_images:
        for path in (study / "theirs").rglob("*.json"):
            record = json.loads(path.read_text())
            record["data"]["fingerprint"] = "another"
            path.write_text(json.dumps(record))
    add(study, study / "theirs")
    others = read_pool_table(tables(study))
    columns = [column.name for column in report_tables.other_people(others).columns]
    assert ("behind" in columns) == same_images
    report.main(*paths(study))
    section = (study / "report.html").read_text().split('<section id="other-people">')[1]
    intro = section.split("<table")[0]
    assert ("“Behind” names" in intro) == same_images
    assert ("None of them is compared with this study's" in intro) != same_images


def test_only_runs_alike_reach_the_shortlist_and_come_last() -> None:
    models = [*LITE, "resnet18.a1_in1k"]
    published = pd.DataFrame({"model": models, "top1": 80.0, "img_size": 224, "device": "x"})
    published["samples_per_second"] = [4.0, 3.0, 2.0, 1.0]
    published["speed_from"], published["params_m"] = "train", 5.0
    for name in ODDS:
        published[name] = [1.3, 1.2, 1.1, 1.0]
    rows = pd.DataFrame({"from": ["anna", "bea", "bea", "carl"], "dataset": "pets"})
    rows["model"] = [LITE[1], LITE[1], "unheard.of", LITE[0]]
    rows = rows.reindex(columns=list(POOL)).assign(tied_there=True, data_kind="single")
    rows["image_size"] = [224, 224, 224, 64]
    others = similar_pool_runs(rows, LITE, "single")
    found = [each.model for each in shortlist(published, [], 3, others)]
    assert found == [models[3], LITE[2], LITE[1]]
    assert similar_pool_runs(rows, LITE, "multi").empty


TEXTS_OF_DEVICE = ("kind", "name", "uuid", "driver", "cuda", "cpu", "precision", "step")
FOREIGN = [
    "/home/anna/my-data/x.bin",
    "C:\\Users\\anna\\x.bin",
    "\\\\nas2\\photos",
    "anna@example.org",
    "gpu-node17.cluster.example.org",
    "node17",
    "slurm job 4711815",
    "s3://annas-bucket/dvc",
]


def test_a_remote_whose_package_is_missing_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/dvc.lock").write_text("stages: {}\n")
    said = refused(tmp_path, tmp_path / "project", remote="gdrive://folder/dvc")
    needed = f"pip install 'dvc[gdrive]=={PROVED}'"
    assert said == f"gdrive://folder/dvc: needs a package that is not installed: {needed}"


def test_a_remote_that_cannot_be_read_is_one_line(
    tmp_path: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        join = staticmethod(os.path.join)

        def open(self, *_: str) -> None:
            raise ConnectionResetError("gone\nwith a trace")

    monkeypatch.setattr(incoming, "remote_at", lambda url: (Refusing(), "root"))
    out = {"path": "data/runs/0.json", "hash": "md5", "md5": "0" * 32}
    (tmp_path / "dvc.lock").write_text(json.dumps({"stages": {"finetune@0": {"outs": [out]}}}))
    said = refused(tmp_path, tmp_path, remote="s3://bucket/dvc")
    assert said.startswith("s3://bucket/dvc: cannot be read (ConnectionResetError: gone): check")


@pytest.mark.parametrize("word", FOREIGN)
def test_no_field_of_a_record_of_another_machine_lets_its_names_through(word: str) -> None:
    device = checked.build(Device, dict.fromkeys(TEXTS_OF_DEVICE, word))
    record = Record(
        **{"status": "failed", "dataset": "digits", "model": LITE[0], "recipe": "quickstart"},
        seed=0,
        reason=f"RuntimeError: no space in {word}",
        not_for_speed=f"{word} computed on it",
        device=device,
        versions={"torch": f"2.15.0+{word}", "code": word, word: "1.0"},
        weights={"source": word, "origin": word, "sha256": word, "left_out": word},
        fit={word: 1},
        probe={word: 1.0},
        telemetry={"others": word},
        history=[{"epoch": 0, "train_loss": 1.0, "host": word}],
        data=Data(fingerprint=word),
        config={"recipe": {"name": word, "schedule": word, word: 1}, "out": word},
        started_at=word,
    )
    found = json.dumps(plain(pool.shared(record, {})))
    assert word not in json.loads(found).values()
    assert json.dumps(word)[1:-1] not in found
    assert json.loads(found)["reason"] == "RuntimeError: (text not shared)"


@pytest.mark.parametrize("hook", ["after_train", "after_validate"])
def test_what_ended_a_diverged_run_is_shared_word_for_word(hook: str) -> None:
    not_finite = torch.tensor(float("nan"))
    recorder = SimpleNamespace(
        smooth_loss=SimpleNamespace(val=not_finite), loss=SimpleNamespace(value=not_finite)
    )
    epochs = Epochs()
    epochs.learn = SimpleNamespace(recorder=recorder)
    with pytest.raises(Diverged) as raised:
        getattr(epochs, hook)()
    reason = raised.value.reason
    assert reason.endswith("loss is not finite in epoch 1")
    record = Record("diverged", "digits", LITE[0], "lp_ft", 0, reason=reason)
    assert pool.shared(record, {}).reason == reason


def test_a_shared_archive_names_nobody_and_comes_back_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    device = {"kind": "cpu", "name": "Intel(R) Xeon(R) CPU @ 2.20GHz", "threads": 2}
    hidden = {"telemetry": {"others": "anna"}, "config": {"out": "/scratch/a"}}
    write_run(runs, LITE[0], 0, 0.1, device=device, **hidden)
    said = "out of GPU memory at batch size 16, 3.2 GiB reserved"
    write_failure(runs, LITE[1], 0, said, device={"kind": "cuda", "name": "NVIDIA H100 80GB HBM3"})
    write_failure(runs, LITE[2], 0, "no space in /home/anna", device={"name": "node17's CPU"})
    pool.main(share=tmp_path / "out.tar.gz", runs=runs)
    with tarfile.open(tmp_path / "out.tar.gz") as tarred:
        about = "".join(f"{each.uname}{each.gname}{each.uid}{each.mtime}" for each in tarred)
    assert set(about) == {"0"}
    assert "on digits (2 failed)" in capsys.readouterr().out
    [found] = add(tmp_path, tmp_path / "out.tar.gz")
    again = {record.model: record for record in found.records}
    kept = read_record(runs / "digits" / LITE[0] / "quickstart/0.json")
    assert again[LITE[0]].metrics == kept.metrics
    assert again[LITE[0]].device == kept.device
    assert again[LITE[0]].versions == kept.versions
    assert again[LITE[1]].reason == said
    assert again[LITE[1]].device.name == "NVIDIA H100 80GB HBM3"
    assert (again[LITE[2]].reason, again[LITE[2]].device.name) == ("(text not shared)", None)


def test_shared_runs_of_the_same_recipe_have_the_same_settings_as_this_study(
    study: Path, tmp_path: Path
) -> None:
    """Shared records do not name their recipe."""
    for path in (*(study / "runs").rglob("*.json"), *(study / "theirs").rglob("*.json")):
        path.write_text(path.read_text().replace('"print"', f'"{"0123" * 4}"'))
    pool.main(share=tmp_path / "out.tar.gz", runs=study / "theirs")
    add(study, tmp_path / "out.tar.gz", name="anna")
    assert read_pool_table(tables(study))["same_settings"].tolist() == [True]


def test_the_names_looked_for_are_those_of_this_user_and_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "node17.example.org")
    monkeypatch.setattr("getpass.getuser", lambda: "anna")
    monkeypatch.setenv("HOME", "/home/anna_b")
    assert set(pool.identities()) == {"node17.example.org", "node17", "anna", "anna_b"}


def test_a_dataset_with_the_users_name_is_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "identities", lambda: {"anna": "<user>"})
    write_run(tmp_path / "runs", LITE[0], 0, 0.1, dataset="cats_of_anna")
    write_run(tmp_path / "runs", LITE[0], 0, 0.1)
    params = write_study(tmp_path, datasets=["digits", "cats_of_anna"])
    out = tmp_path / "out.tar.gz"
    with pytest.raises(PipelineError, match="holds 'anna'"):
        pool.main(share=out, runs=tmp_path / "runs", params=params)
    assert not out.exists()
    pool.main(share=out, runs=tmp_path / "runs", params=params, datasets="digits")
    assert out.exists()


def test_runs_of_earlier_studies_are_shared_only_if_their_dataset_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out.tar.gz"
    params = write_study(tmp_path)
    write_run(runs, LITE[0], 0, 0.1)
    write_run(runs, LITE[0], 0, 0.1, dataset="secret_project")
    for other in ({"recipe": "of_before"}, {"seed": 77}, {"model": "resnet50.a1_in1k"}):
        write_run(runs, **{"model": LITE[0], "seed": 0, "error_rate": 0.1, **other})

    def shared_runs(datasets: str | None = None) -> list[str]:
        pool.main(share=out, runs=runs, params=params, datasets=datasets)
        with tarfile.open(out) as tarred:
            return sorted(name.removeprefix("records/") for name in tarred.getnames())

    of_study = f"digits/{LITE[0]}/quickstart/0.json"
    assert shared_runs() == [of_study]
    assert "4 other runs are not shared: not of the study in" in capsys.readouterr().out
    assert shared_runs("digits") == [of_study]
    assert shared_runs("secret_project") == [f"secret_project/{LITE[0]}/quickstart/0.json"]
    (runs / of_study).unlink()
    with pytest.raises(PipelineError, match="no run of this study here"):
        shared_runs()


def test_gaps_between_strangers_hold_the_true_gap_in_19_of_20_studies_and_say_something() -> None:
    """Two models of 20 and 25 %, two runs each, 400 images of varied difficulty."""
    draw = np.random.default_rng(0)
    held, widths = 0, []
    for _ in range(200):
        ease, answers = draw.beta(2, 2, size=400), []
        for rate in (0.20, 0.25):
            of_run = rate + 0.01 * draw.standard_normal((2, 1))
            answers.append((draw.random((2, 400)) < np.clip(2 * ease * of_run, 0, 1)).astype("u1"))
        errors = np.full((2, 4), np.nan)
        errors[0, :2], errors[1, 2:] = (wrong.mean(axis=1) for wrong in answers)
        found = gaps_without_common_seeds(errors, 400, paired(answers, 1), to=0)
        held += found.low[1] <= 0.05 <= found.high[1]
        widths.append(found.high[1] - found.low[1])
    assert held / 200 > 0.93
    assert np.median(widths) < 0.16


def test_an_unknown_source_and_name_are_one_line(tmp_path: Path) -> None:
    assert "not there: give a folder" in refused(tmp_path, tmp_path / "nothing.zip")
    with pytest.raises(PipelineError, match="no source 'x'"):
        pool.main(remove="x", pool=tmp_path / "pool")
    os.mkfifo(tmp_path / "fifo.json")
    assert "no plain file" in refused(tmp_path, tmp_path)
