"""Command `pool`: takes runs of other people into the study, and shares this study's runs.

Reads the records of a folder, an archive, a git repository or a DVC remote as untrusted input, and
keeps them in data/pool/NAME with who and where they are from. `dvc repro` then makes
results/pool.csv of them. They are marked in the report, compared image by image where the dataset
is the very same, and add to the prior of `recommend`; their times rank nothing. --share writes the
runs of the study in params.yaml as such an archive, without paths and names of users and machines.
The surprising fact: data/runs also keeps the runs of earlier studies, whose names may be private.
"""

import getpass
import gzip
import io
import json
import re
import shutil
import socket
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from pipeline.core.command import console, run
from pipeline.core.errors import PipelineError, near_matches
from pipeline.core.files import build, plain, replacing
from pipeline.finetune.recipe import CHOICES, ONLY_NAMES, Recipe
from pipeline.hardware.machine import PACKAGES
from pipeline.pool.checked import (
    MANIFEST,
    NAMES,
    POOL_NAME,
    Manifest,
    Pooled,
    bytes_of,
    check_names,
    foreign_record,
    read_pool,
    reduced,
    write_pooled,
)
from pipeline.pool.incoming import Incoming, incoming
from pipeline.records import Record, read_record
from pipeline.statistics.validation_images import check_answers
from pipeline.study.params import Cell, Study, read_study

NEXT = "`dvc repro` puts them beside this study's"
MOST_WHO = 80  # characters
MOST_SHOWN = 5  # texts of failed runs


def main(
    *sources: str,
    name: str | None = None,
    who: str | None = None,
    rev: str | None = None,
    remote: str | None = None,
    remove: str | None = None,
    share: Path | None = None,
    datasets: str | None = None,
    params: Path = Path("params.yaml"),
    runs: Path = Path("data/runs"),
    pool: Path = Path("data/pool"),
) -> None:
    """Take runs of other people into the pool, list the pool, or share this study's runs.

    Args:
        sources: folders, archives or git repositories with runs; without any, list the pool
        name: what the source is called here
        who: whose runs they are
        rev: a branch, tag or commit of a git repository
        remote: a DVC remote (path or URL) with the records that the source's dvc.lock names
        remove: the name of a source to take out of the pool
        share: a file to write this study's runs to for others, such as mine.tar.gz
        datasets: of which datasets to share runs, such as a,b; by default of the study's. Of a
            dataset that is not in the study, all runs are shared
        params: the study file, which says what this study's runs are
        runs: the folder with this study's records
        pool: the folder of the pool
    """
    if share is not None:
        names = None if datasets is None else datasets.split(",")
        write_shared(share, runs, read_study(params), names)
    elif remove is not None:
        _remove(pool, remove)
    elif not sources:
        _list(read_pool(pool))
    elif len(sources) > 1 and (name is not None or who is not None or rev or remote):
        raise PipelineError("--name, --who, --rev and --remote are of one source: give one")
    else:
        for source in sources:
            add(pool, source, name=name, who=who, rev=rev, remote=remote)


def add(
    pool: Path,
    source: str,
    *,
    name: str | None = None,
    who: str | None = None,
    rev: str | None = None,
    remote: str | None = None,
) -> None:
    """Take a source into the pool, whole or not at all; one of the same name is replaced.

    Raises `PipelineError` where anything in it is refused.
    """
    found = incoming(source, rev, remote)
    records = checked_records(found)
    name = name or _name_of(found.where)
    if not POOL_NAME.fullmatch(name):
        raise PipelineError(f"{name[:60]!r}: give the source a plain --name, such as anna")
    who = "".join(each for each in who or found.author or "unknown" if each.isprintable())
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    manifest = Manifest(name, who[:MOST_WHO], found.where, found.revision, now, {})
    write_pooled(pool / name, manifest, records)
    print(f"{name}: {_summary(records)}; {NEXT}")


def checked_records(found: Incoming) -> list[Record]:
    """Every file as a record, each run once; raises `PipelineError` where one is refused."""
    by_run: dict[str, tuple[str, Record]] = {}
    for file, content in found.files.items():
        if Path(file).name == MANIFEST:
            continue  # a folder of a pool has one beside its records
        record = foreign_record(f"{found.where}: {file}", content)
        other, same = by_run.setdefault(run_key(record), (file, record))
        if same != record:
            raise PipelineError(
                f"{found.where}: refused: {file!r} and {other!r} are different records of one run"
            )
    return [record for _, record in by_run.values()]


def run_key(record: Record) -> str:
    """What tells two runs apart: the cell, what its names stand for, and the code."""
    cell = [record.dataset, record.model, record.recipe, record.seed]
    means = [record.data.fingerprint, record.config, record.versions.get("code")]
    return json.dumps([cell, means, record.weights.get("sha256")], sort_keys=True)


def _name_of(where: str) -> str:
    """`runs` of `.../runs.tar.gz` and of `https://.../runs.git`."""
    last = where.rstrip("/").replace(":", "/").rpartition("/")[2]
    return re.sub(r"\.(tar\.gz|tgz|tar|zip|git)$", "", last) or "pool"


def _summary(records: list[Record]) -> str:
    """Such as `12 runs of 3 models on digits (2 failed)`."""
    failed = sum(record.status != "ok" for record in records)
    models = {record.model for record in records}
    return (
        f"{len(records)} run{'' if len(records) == 1 else 's'} of {len(models)} "
        f"model{'' if len(models) == 1 else 's'} on "
        + ", ".join(sorted({record.dataset for record in records}))
        + (f" ({failed} failed)" if failed else "")
    )


def _remove(pool: Path, name: str) -> None:
    known = [path.name for path in pool.iterdir() if path.is_dir()] if pool.is_dir() else []
    if name not in known:
        raise PipelineError(f"{pool}: no source {name[:60]!r}: {near_matches(name, known)}")
    shutil.rmtree(pool / name)
    print(f"{name}: removed; `dvc repro` makes the tables without it")


def _list(pool: list[Pooled]) -> None:
    if not pool:
        print("The pool is empty: python -m pipeline.pool SOURCE adds runs of other people.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("name", "who", "runs", "added", "from"):
        table.add_column(heading)
    for each in pool:
        about, records = each.manifest, each.records
        where = about.where + (f" at {about.revision[:12]}" if about.revision else "")
        row = (about.name, about.who, _summary(records), about.added_at[:10], where)
        table.add_row(*map(Text, row))
    console().print(table)


def write_shared(out: Path, runs: Path, study: Study, datasets: list[str] | None) -> None:
    """Write the study's records below `runs` as an archive for others, and say what is in it.

    `datasets` chooses some; of one that the study does not have, every record is written.
    """
    if not out.name.endswith((".tar.gz", ".tgz")):
        raise PipelineError(f"{out}: call it something.tar.gz")
    known = identities()
    found = [read_record(path) for path in sorted(runs.rglob("*.json"))]
    here = {record.dataset for record in found}
    if missing := sorted(set(datasets or []) - here):
        raise PipelineError(f"{runs}: no run of {missing[0]!r}: {near_matches(missing[0], here)}")
    cells, others = set(study.cells()), set(datasets or []) - set(study.datasets)
    chosen = [each for each in found if datasets is None or each.dataset in datasets]
    records = [each for each in chosen if Cell.of(each) in cells or each.dataset in others]
    if not records:
        raise PipelineError(f"{runs}: no run of this study here: run `dvc repro` first")
    reduced_records = [shared(record, known) for record in records]
    with replacing(out) as temporary:
        temporary.write_bytes(_archive(reduced_records))
    print(f"{out}: {_summary(reduced_records)}")
    if left_out := len(chosen) - len(records):
        what = "run is" if left_out == 1 else "runs are"
        print(f"{left_out} other {what} not shared: not of the study in {study.path}.")
    print("Each with names, seed, status, metrics, history, cost, device, versions, the recipe's")
    print("settings, data (counts, fingerprint) and which validation images it erred on.")
    devices = {each.device.label or "unknown" for each in reduced_records}
    print(f"Devices: {', '.join(sorted(devices))}")
    _print_texts(each.reason for each in reduced_records)


def _archive(records: list[Record]) -> bytes:
    """A .tar.gz without user, host and time: the same bytes for the same records."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tarred,
    ):
        for each in records:
            content = bytes_of(each)
            member = tarfile.TarInfo(Cell.of(each).path(Path("records")).as_posix())
            member.size = len(content)
            tarred.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _print_texts(reasons: Iterable[str | None]) -> None:
    """Print the reasons, which a person should read before sharing them."""
    texts = Counter(filter(None, reasons))
    for text, count in texts.most_common(MOST_SHOWN):
        print(f"Reason of {count} without a result: {text}")
    if len(texts) > MOST_SHOWN:
        others = len(texts) - MOST_SHOWN
        print(f"and {others} other reason{'s' * (others != 1)}")


def identities() -> dict[str, str]:
    """The names of this user and machine, and their stand-ins in a shared text."""
    host = socket.gethostname()
    found = {host: "<host>", host.partition(".")[0]: "<host>"}
    found |= {getpass.getuser(): "<user>", Path.home().name: "<user>"}
    return {word: each for word, each in found.items() if word and word.lower() not in _NOBODY}


_NOBODY = {"root", "localhost", "user"}

# What a text must look like to be shared: nothing that has such a form tells who made it.
_HASH = re.compile(r"[0-9a-f]{12,64}")
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc|\.?post|\.?dev)\d+)?(\+(cpu|cu\d+|rocm[\d.]+))?")
_PART = r"([A-Za-z0-9()+-]{1,24}|\d+(\.\d+)?[A-Za-z]*|@)"  # of `AMD EPYC 7763 @ 2.20GHz`
_MAKERS = r"(\d+th Gen )?(NVIDIA|Tesla|Quadro|GeForce|AMD|Intel|Apple|ARM|Neoverse|Ampere|IBM|QEMU)"
_HARDWARE = re.compile(rf"(?={_MAKERS}\b){_PART}( {_PART}){{0,11}}|x86_64|aarch64|arm64")
_DEVICE = {
    "kind": re.compile("cpu|cuda"),
    "name": _HARDWARE,
    "cpu": _HARDWARE,
    "driver": _VERSION,
    "cuda": _VERSION,
    "precision": re.compile("fp32|fp16|bf16"),
    "step": re.compile("captured|uncaptured"),
}
_WEIGHTS = {"source": re.compile("hub|folder|wheel|random"), "sha256": _HASH, "left_out": None}
VERSIONED = ("python", *PACKAGES, "code")
SETTINGS = {each.name for each in fields(Recipe)} - ONLY_NAMES  # names are the user's
FIT = ("batch_size", "epochs", "steps")
LEFT_OUT = "(text not shared)"
_ERROR = re.compile(r"((?:[A-Za-z]+\.)*[A-Z][A-Za-z]*(?:Error|Exception|Warning))(?=:|$)")
_OUR_REASONS = re.compile(  # that this project itself gives
    r"out of GPU memory( at batch size \d+(, [\d.]+ GiB reserved)?)?"
    r"|(training|validation|test) loss is not finite( in epoch \d+)?"
    r"|features of the frozen net are not finite"
    r"|(the batch was halved to \d+: out of GPU memory at \d+)?(; )?"
    r"(the device was shared: (several runs were packed on it"
    r"|others computed on it, up to \d+ at a time)"
    r"|it waited for a core for \d+% of the time it could have run)?"
)


def shared(record: Record, identities: Mapping[str, str]) -> Record:
    """The record as it may be shared: each text only where it has a form that its field has on
    every machine, of an error its type.

    Any other text may hold a path, a host, a user or a job and is left out. `identities` maps words
    of this user and machine to their stand-ins, for such words in texts of the right form. Raises
    `PipelineError` where the name of a dataset, model or recipe holds such a word: it is the user's
    choice, and other records refer to it.
    """
    record = reduced(record)
    check_names(record)
    check_answers(Path(record.dataset) / record.model / record.recipe / str(record.seed), record)
    for key in NAMES:
        for word in identities:
            if _word(word).search(getattr(record, key)):
                raise PipelineError(
                    f"{key} {getattr(record, key)!r}: holds {word!r}, a name of this user or "
                    "machine: rename it, or share other datasets with --datasets"
                )
    anonymous = _with_stand_ins(plain(_in_known_forms(record)), identities)
    kept = {key: getattr(record, key) for key in (*NAMES, "status", "valid_wrong")}
    return build(Record, anonymous | kept)


def _in_known_forms(record: Record) -> Record:
    """The reduced record without the texts that have none of the known forms."""
    settings = {
        key: value
        for key, value in record.config["recipe"].items()
        if key in SETTINGS and (not isinstance(value, str) or value in CHOICES.get(key, ()))
    }
    device = vars(record.device) | {"step": (record.device.step or "").partition(":")[0]}
    device = {key: _if_of_form(value, _DEVICE.get(key)) for key, value in device.items()}
    versions = {
        key: _if_of_form(value, _HASH if key == "code" else _VERSION)
        for key, value in record.versions.items()
        if key in VERSIONED
    }
    return replace(
        record,
        reason=_shareable_text(record.reason),
        not_for_speed=_shareable_text(record.not_for_speed),
        device=build(type(record.device), device),
        versions=versions,
        weights={key: _if_of_form(record.weights.get(key), form) for key, form in _WEIGHTS.items()},
        fit={key: record.fit[key] for key in FIT if key in record.fit},
        data=replace(record.data, fingerprint=_if_of_form(record.data.fingerprint, _HASH)),
        config=record.config | {"recipe": settings},
        started_at=_in_utc(record.started_at),
    )


def _if_of_form(value: Any, form: re.Pattern[str] | None) -> Any:
    """The value, unless it is a text of another form: then None."""
    return value if not isinstance(value, str) or (form and form.fullmatch(value)) else None


def _shareable_text(text: str | None) -> str | None:
    """A reason that this project gave; of an error its type; of any other text LEFT_OUT."""
    if text is None or _OUR_REASONS.fullmatch(text):
        return text
    error = _ERROR.match(text)
    return f"{error[1]}: {LEFT_OUT}" if error else LEFT_OUT


def _in_utc(text: str | None) -> str | None:
    """A time without its zone, which says where it was; None for what is no time."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _with_stand_ins(value: Any, identities: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _with_stand_ins(each, identities) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_stand_ins(each, identities) for each in value]
    if isinstance(value, str):
        for word, stand_in in identities.items():
            value = _word(word).sub(stand_in, value)
    return value


def _word(word: str) -> re.Pattern[str]:
    """A pattern of `word` without a letter or digit next to it: also in `photos_of_anna`."""
    return re.compile(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", re.IGNORECASE)


if __name__ == "__main__":
    run(main)
