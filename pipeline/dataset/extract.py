"""A tar or zip archive as a folder, whole or not at all.

The archive library never creates a file here: a name is checked, then bytes are copied to it.
Refused are absolute paths, `..`, links, devices, and archives that grow beyond all measure.
Archives are extracted to `archives/NAME-HASH/`, once.
"""

import fcntl
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.core.errors import PipelineError
from pipeline.core.files import replacing_folder, sha256
from pipeline.dataset.download import Archive, archives_folder, get_archive, known_sha256

MAX_FILES = 5_000_000
MAX_RATIO = 50  # of photographs it is about 1
ALWAYS_ALLOWED_BYTES = 1 << 30


@dataclass(frozen=True)
class _Member:
    name: str
    kind: str  # file, folder or anything else, which is refused
    size: int
    content: IO[bytes] | None


def unpacked(archive: Archive) -> tuple[Path, str]:
    """The folder of a downloaded archive's files, and the archive's SHA-256; made only once."""
    with _only_one(archives_folder() / f".{archive.name}.lock"):
        known = known_sha256(archive)
        if known is not None and (folder := _folder(archive.name, known)).is_dir():
            return only_folder(folder), known
        path, found = get_archive(archive)
        return _unpacked(path, found), found


def unpacked_file(path: Path) -> tuple[Path, str]:
    """The same of an archive that lies on this machine."""
    with _only_one(archives_folder() / f".{path.name}.lock"):
        found = sha256(path)
        return _unpacked(path, found), found


def _unpacked(path: Path, found: str) -> Path:
    folder = _folder(path.name, found)
    if not folder.is_dir():
        extract(path, folder)
    return only_folder(folder)


def _folder(name: str, found: str) -> Path:
    return archives_folder() / f"{name.partition('.')[0]}-{found[:12]}"


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Wait for another process that wants the same archive."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def extract(archive: Path, folder: Path) -> None:
    """Fill `folder` with the archive's files; on any fault it stays as it was."""
    allowed = max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * archive.stat().st_size)
    count = total = 0
    try:
        with replacing_folder(folder) as beside:
            for member in _members(archive):
                count, total = count + 1, total + member.size
                if count > MAX_FILES or total > allowed:
                    raise PipelineError(
                        f"{archive}: refused, a bomb: {count} files and {total} bytes "
                        f"from an archive of {archive.stat().st_size} bytes"
                    )
                _write(archive, member, beside)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise PipelineError(f"{archive}: damaged archive ({error}): delete it, run again") from None
    except (OSError, ValueError) as error:
        raise PipelineError(f"{archive}: cannot be extracted to {folder}: {error}") from None


def only_folder(folder: Path) -> Path:
    """`folder`, or the one folder in it where that is all there is."""
    inside = [path for path in folder.iterdir() if path.name != "__MACOSX"]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                mode = stat.S_IFMT(info.external_attr >> 16)
                plain = "folder" if info.is_dir() else "file"
                kind = plain if mode in (0, stat.S_IFREG, stat.S_IFDIR) else "link or device"
                content = zipped.open(info) if kind == "file" else None
                yield _Member(info.filename, kind, info.file_size, content)
    else:
        with tarfile.open(archive, "r|*") as tarred:
            for entry in tarred:
                kind = "folder" if entry.isdir() else "file" if entry.isreg() else "link or device"
                content = tarred.extractfile(entry) if kind == "file" else None
                yield _Member(entry.name, kind, entry.size, content)


def _write(archive: Path, member: _Member, folder: Path) -> None:
    path = PurePosixPath(member.name.replace("\\", "/"))
    if member.kind not in ("file", "folder"):
        raise PipelineError(f"{archive}: refused: {member.name!r} is a {member.kind}")
    if path.is_absolute() or ".." in path.parts:
        raise PipelineError(f"{archive}: refused: {member.name!r} lies outside the archive")
    target = folder / path
    if member.kind == "folder":
        target.mkdir(parents=True, exist_ok=True)
        return
    assert member.content is not None
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(member.content, file, 1 << 20)
