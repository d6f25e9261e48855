"""Other people's record files as bytes, from a folder, an archive, a git repository or a remote.

A source is not trusted. Nothing of it is extracted, checked out, loaded or run: names are checked,
and bytes are read up to limits. Links, names that lead out of the source, and more files or bytes
than any study has are refused, and with them the whole source. Of a project, the records are those
in `data/runs`.

A DVC remote holds contents under their MD5; `dvc.lock` says which of them are records. The remote
is given by the user: the `.dvc/config` of a stranger's repository is never read, since it could
name any host and any folder of this machine.
"""

import gzip
import io
import os
import re
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.core.errors import PipelineError, first_line
from pipeline.core.files import read_yaml
from pipeline.fetch.git import Git, contents, is_bare, is_full_id, shown
from pipeline.sweep.dvc_private import md5_of, remote_at

MOST_FILES = 20_000
MOST_BYTES = 8 << 20  # of one file; the largest of the quickstart's records has 33 kB
MOST_TOTAL_BYTES = 256 << 20
MOST_RATIO = 100  # of an archive's content to its size; of records it is about 10
ANY_RATIO_BYTES = 16 << 20  # up to which no ratio is too high
MOST_LOCK_BYTES = 32 << 20
MOST_CHARACTERS = 300  # of a name
RUNS = "data/runs"  # of a project, where its records are
_URL = re.compile(r"(https?|ssh|git|file)://|[\w.-]+@[\w.-]+:")
_REV = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass
class Incoming:
    """The files of one source: where it is (without a password), its commit, and who made that."""

    where: str
    revision: str | None = None
    author: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    total: int = 0

    def add(self, name: str, read: Callable[[int], bytes]) -> None:
        """Take a file; `read(n)` gives its first n bytes. Raises `PipelineError` at a limit."""
        content = read(MOST_BYTES + 1)
        self.check_size(name, len(content))
        self.total += len(content)
        if name in self.files:
            raise self.refused(f"{name!r} is there twice")
        self.check_total(self.total)
        self.check_count(len(self.files) + 1)
        self.files[name] = content

    def check_size(self, name: str, n_bytes: int) -> None:
        if n_bytes > MOST_BYTES:
            raise self.refused(f"{name!r} has more than {MOST_BYTES:,} bytes")

    def check_total(self, n_bytes: int) -> None:
        if n_bytes > MOST_TOTAL_BYTES:
            raise self.refused(f"it has more than {MOST_TOTAL_BYTES:,} bytes")

    def check_count(self, n_files: int) -> None:
        if n_files > MOST_FILES:
            raise self.refused(f"it has more than {MOST_FILES:,} files")

    def checked_name(self, name: str) -> str:
        """The name of a file inside the source, with `/`; refused if it would lead elsewhere."""
        path = PurePosixPath(name)
        if len(name) > MOST_CHARACTERS:
            raise self.refused(f"{name[:40]!r}... is too long a name")
        if "\\" in name or not name.isprintable() or ".." in path.parts or path.is_absolute():
            raise self.refused(f"{name!r} lies outside of it")
        return path.as_posix()

    def without_runs(self) -> PipelineError:
        """The error that a project holds no records, which are in its DVC remote."""
        return PipelineError(
            f"{self.where}: a project whose {RUNS} is not in it: give its DVC remote with --remote"
        )

    def refused(self, why: str) -> PipelineError:
        return PipelineError(f"{self.where}: refused: {why}")


def incoming(source: str, rev: str | None, remote: str | None) -> Incoming:
    """The record files of a folder, an archive, or a git repository (a URL, or with `rev`).

    With `remote`, those that the source's `dvc.lock` names, from that DVC remote (a path or URL).
    Raises `PipelineError` where the source holds no record, or is refused.
    """
    path = Path(source)
    if _URL.match(source) or (path.is_dir() and (rev is not None or is_bare(path))):
        found = _from_repository(source, rev or "HEAD", remote)
    elif rev is not None:
        raise PipelineError(f"{source}: --rev is for a git repository, and it is none")
    elif path.is_dir():
        found = _from_folder(path) if remote is None else _from_checkout(path, remote)
    elif path.is_file():
        found = _from_archive(path)
    else:
        raise PipelineError(
            f"{source}: not there: give a folder, a .tar.gz or .zip, or a git repository"
        )
    if not found.files:
        raise PipelineError(f"{found.where}: no record in it, which are .json files")
    return found


def _from_folder(folder: Path) -> Incoming:
    """Every .json below the folder, or below its `data/runs`; hidden folders are left alone."""
    found = Incoming(str(folder))
    start = folder / RUNS if (folder / RUNS).is_dir() else folder
    if start == folder and (folder / "dvc.lock").exists():
        raise found.without_runs()
    for base, folders, names in os.walk(start):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if (Path(base) / name).is_symlink()]
        for name in [*links, *sorted(each for each in names if each.endswith(".json"))]:
            path = Path(base) / name
            inside = found.checked_name(path.relative_to(folder).as_posix())
            with _plain_file(found, path, inside) as read:
                found.add(inside, read)
    return found


@contextmanager
def _plain_file(found: Incoming, path: Path, name: str) -> Iterator[Callable[[int], bytes]]:
    """A reader of a file that is neither a link nor a device."""
    if path.is_symlink():
        raise found.refused(f"{name!r} is a link; copy the files it stands for")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise found.refused(f"{name!r} is no plain file")
        yield file.read


def _from_archive(path: Path) -> Incoming:
    found = Incoming(str(path))
    found.check_total(path.stat().st_size)
    try:
        if zipfile.is_zipfile(path):
            _read_zip(found, path)
        else:
            _read_tar(found, path)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise PipelineError(f"{path}: not a whole .tar.gz, .tar or .zip: {error}") from None
    return found


class _Unpacked:
    """A stream for tarfile that ends an archive which grows beyond the limits."""

    def __init__(self, found: Incoming, stream: Any, packed_bytes: int) -> None:
        self.found, self.stream, self.count = found, stream, 0
        self.most = min(MOST_TOTAL_BYTES, max(ANY_RATIO_BYTES, MOST_RATIO * packed_bytes))

    def read(self, n: int) -> bytes:
        content: bytes = self.stream.read(n)
        self.count += len(content)
        if self.count > self.most:
            raise self.found.refused(f"it unpacks to more than {self.most:,} bytes")
        return content


def _read_tar(found: Incoming, path: Path) -> None:
    """Read a tar file, compressed by gzip or not: to unpack others could take gigabytes."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        content = gzip.GzipFile(fileobj=file) if packed else file
        stream = _Unpacked(found, content, path.stat().st_size)
        with tarfile.open(fileobj=stream, mode="r|") as tarred:  # type: ignore[call-overload]
            for count, member in enumerate(tarred, start=1):
                found.check_count(count)
                name = found.checked_name(member.name)
                if member.isdir():
                    continue
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    raise found.refused(f"{name!r} is a link or no plain file")
                _check_ending(found, name)
                content = tarred.extractfile(member)
                assert content is not None
                found.add(name, content.read)


def _read_zip(found: Incoming, path: Path) -> None:
    with zipfile.ZipFile(path) as zipped:
        members = zipped.infolist()
        found.check_count(len(members))
        for member in members:
            name = found.checked_name(member.filename)
            if member.is_dir():
                continue
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                raise found.refused(f"{name!r} is a link or no plain file")
            if member.flag_bits & 1 or member.compress_type not in (
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
            ):
                raise found.refused(f"{name!r} is encrypted, or packed in an unusual way")
            _check_ending(found, name)
            with zipped.open(member) as content:
                found.add(name, content.read)
            if found.total > max(ANY_RATIO_BYTES, MOST_RATIO * path.stat().st_size):
                raise found.refused(f"it unpacks to more than {MOST_RATIO} times its size")


def _check_ending(found: Incoming, name: str) -> None:
    if not name.endswith(".json"):
        raise found.refused(f"{name!r} is no .json, and an archive of records has nothing else")


def _from_repository(url: str, rev: str, remote: str | None) -> Incoming:
    """The files of one commit, from git's objects: no checkout, hook, filter or submodule."""
    name = shown(url)
    if not _REV.fullmatch(rev):
        raise PipelineError(f"{name}: {rev[:80]!r} is no name of a branch, tag or commit")
    with tempfile.TemporaryDirectory(prefix="pool-") as scratch:
        git = Git(url if _URL.match(url) else str(Path(url).resolve()), name, rev, Path(scratch))
        git("init", "-q", "--bare", "--template=")
        git("config", "remote.origin.url", git.url)
        options = ["--depth=1", "--no-tags", "--recurse-submodules=no"]
        git("fetch", "-q", *options, f"--filter=blob:limit={MOST_LOCK_BYTES}", "origin", rev)
        tip = rev if is_full_id(rev) else "FETCH_HEAD"
        commit = git("rev-parse", "--verify", f"{tip}^{{commit}}").decode().strip()
        name_of_author = git("log", "-1", "--no-show-signature", "--format=%an", commit)
        author = name_of_author.decode(errors="replace").strip()[:80]
        found = Incoming(name, commit, author or None)
        if remote is None:
            _read_blobs(git, found, _record_blobs(git, found, commit))
        else:
            lock = _blob_at(git, found, commit, "dvc.lock")
            _take_from_remote(found, lock, remote)
    return found


def _record_blobs(git: Git, found: Incoming, commit: str) -> dict[str, str]:
    """name -> object of every .json of the commit, or of those in its `data/runs`."""
    listed = git("ls-tree", "-r", "-z", commit).decode(errors="replace").split("\0")
    entries = [
        (name, about.split()) for about, _, name in (each.partition("\t") for each in listed)
    ]
    entries = [(name, about) for name, about in entries if name.endswith(".json")]
    inside = [each for each in entries if each[0].startswith(f"{RUNS}/")]
    if not inside and b"dvc.lock" in git("ls-tree", "--name-only", commit).split():
        raise found.without_runs()
    blobs = {}
    for name, (mode, _, blob) in inside or entries:
        if not mode.startswith("100"):
            raise found.refused(f"{name!r} is a link or no plain file")
        blobs[found.checked_name(name)] = blob
    found.check_count(len(blobs))
    return blobs


def _read_blobs(git: Git, found: Incoming, blobs: dict[str, str]) -> None:
    """Take the blobs; sizes are asked first. Blobs that the server held back are too large."""
    objects = git("rev-list", "--objects", "--missing=print", str(found.revision))
    absent = {line[1:] for line in objects.decode(errors="replace").split() if line[:1] == "?"}
    for name, blob in blobs.items():
        if blob in absent:
            raise found.refused(f"{name!r} has more than {MOST_BYTES:,} bytes")
    if not blobs:
        return
    sizes = git("cat-file", "--batch-check=%(objectsize)", stdin="\n".join(blobs.values()))
    numbers = [int(each) for each in sizes.split()]
    found.check_total(sum(numbers))
    for name, size in zip(blobs, numbers, strict=True):
        found.check_size(name, size)
    for name, content in contents(git, blobs).items():
        found.add(name, io.BytesIO(content).read)


def _blob_at(git: Git, found: Incoming, commit: str, name: str) -> bytes:
    listed = git("ls-tree", commit, "--", name).decode().split()
    if len(listed) < 3 or not listed[0].startswith("100"):
        raise PipelineError(f"{found.where}: no {name} in it, which names the records of a remote")
    if int(git("cat-file", "-s", listed[2])) > MOST_LOCK_BYTES:
        raise found.refused(f"{name} has more than {MOST_LOCK_BYTES:,} bytes")
    return git("cat-file", "blob", listed[2])


def _from_checkout(folder: Path, remote: str) -> Incoming:
    """The records that a folder's dvc.lock names, from the remote."""
    found = Incoming(str(folder))
    path = folder / "dvc.lock"
    if not path.exists():
        raise PipelineError(f"{folder}: no dvc.lock in it, which names the records of a remote")
    with _plain_file(found, path, "dvc.lock") as read:
        lock = read(MOST_LOCK_BYTES + 1)
    if len(lock) > MOST_LOCK_BYTES:
        raise found.refused(f"dvc.lock has more than {MOST_LOCK_BYTES:,} bytes")
    _take_from_remote(found, lock, remote)
    return found


def _take_from_remote(found: Incoming, lock: bytes, remote: str) -> None:
    """Take the records that `lock` names; each must have the MD5 it is called by."""
    try:
        files, root = remote_at(remote)
    except ValueError as error:
        raise PipelineError(f"{shown(remote)}: {first_line(error)}") from None
    for name, md5 in _records_in_lock(found, lock).items():
        place = files.join(root, "files", "md5", md5[:2], md5[2:])
        try:
            with files.open(place, "rb") as opened:
                content = opened.read(MOST_BYTES + 1)
        except FileNotFoundError:
            raise PipelineError(
                f"{shown(remote)}: has no {name} ({md5}): ask its owner to `dvc push`"
            ) from None
        except Exception as error:  # each kind of remote has a library with errors of its own
            raise PipelineError(
                f"{shown(remote)}: cannot be read ({type(error).__name__}: {first_line(error)}): "
                "check its address, the network and your credentials for it"
            ) from None
        found.add(name, io.BytesIO(content).read)
        if md5_of(found.files[name]) != md5:
            raise found.refused(f"{name!r} in {shown(remote)} has another MD5 than in dvc.lock")


def _records_in_lock(found: Incoming, lock: bytes) -> dict[str, str]:
    """name -> MD5 of the records that a dvc.lock names."""
    with tempfile.TemporaryDirectory(prefix="pool-") as scratch:
        path = Path(scratch) / "dvc.lock"
        path.write_bytes(lock)
        try:
            content = read_yaml(path)
        except PipelineError:
            raise found.refused("its dvc.lock is no YAML") from None
    stages = content.get("stages") if isinstance(content, dict) else None
    records: dict[str, str] = {}
    for stage in stages.values() if isinstance(stages, dict) else []:
        with suppress(TypeError, AttributeError):  # a stage of another form has no records
            for out in stage.get("outs", []):
                name, md5 = str(out.get("path")), str(out.get("md5"))
                is_record = name.startswith(f"{RUNS}/") and name.endswith(".json")
                if is_record and out.get("hash") == "md5" and _MD5.fullmatch(md5):
                    records[found.checked_name(name)] = md5
    return records
