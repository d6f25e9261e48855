"""An archive from a URL, whole and verified, and its extraction to a folder.

A download that was cut or killed is resumed. Beside it is recorded which URL it is of: another one
with the same last part is kept as its `own_name`. The archive library never creates a file here: a
name is checked, then bytes are copied to it. Refused are absolute paths, `..`, links, devices, and
archives that grow beyond all measure. Archives are extracted to `archives/NAME-HASH/`, once.
"""

import fcntl
import gzip
import hashlib
import http.client
import lzma
import os
import shutil
import stat
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from pipeline.core.command import number_of
from pipeline.core.errors import PipelineError, TryAgain
from pipeline.core.files import replacing_folder, sha256, write_text

ATTEMPTS = 4
TIMEOUT_SECONDS = 60
CHUNK_BYTES = 1 << 20
_URL = "# URL "  # a comment to `sha256sum --check`
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, RuntimeError),
)


@dataclass(frozen=True)
class Archive:
    """A file to download. `sha256: null` means: whatever it is at the first use, from then on."""

    url: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        return Path(urllib.parse.urlparse(self.url).path).name

    @property
    def pinned(self) -> str | None:
        return self.sha256.lower() if self.sha256 is not None else None

    @property
    def url_hash(self) -> str:
        return hashlib.sha256(self.url.encode()).hexdigest()[:8]

    @property
    def own_name(self) -> str:
        """The name that no other URL's archive has: `images-1a2b3c4d.tar.gz`."""
        stem, dot, suffixes = self.name.partition(".")
        return f"{stem}-{self.url_hash}{dot}{suffixes}"


class _Interrupted(Exception):
    """The connection ended early; what has arrived is kept."""


def archives_folder() -> Path:
    """Where downloads are kept: `WB_ARCHIVES`, by default `archives` in the project's root."""
    return Path(os.environ.get("WB_ARCHIVES", Path(__file__).parents[2] / "archives"))


def get_archive(archive: Archive) -> tuple[Path, str]:
    """The whole, verified archive and its SHA-256, from $WB_DATA, `archives/` or the network."""
    if urllib.parse.urlparse(archive.url).scheme not in ("http", "https") or not archive.name:
        raise PipelineError(f"archive.url: {archive.url!r} is not the http(s) address of a file")
    place = _place(archive)
    known = _known_sha256(archive, place)
    path = _in_wb_data(place.name) or place
    if not path.is_file():
        _download(archive, path)
    found = verify(path, archive, known)
    if known is None:
        _record(archive, place, found)
        print(
            f"warning: nobody vouches for {archive.name}: its SHA-256 is taken on first use; "
            f"to pin it, write `sha256: {found}` into its dataset's YAML"
        )
    return path, found


def _in_wb_data(name: str) -> Path | None:
    """The file of this name that the user has put into $WB_DATA."""
    path = Path(os.environ["WB_DATA"]) / name if "WB_DATA" in os.environ else None
    return path if path is not None and path.is_file() else None


def _place(archive: Archive) -> Path:
    """Where `archive` is kept: under its name or, where that is another URL's, its `own_name`."""
    plain, own = (archives_folder() / name for name in (archive.name, archive.own_name))
    if _beside(own, ".sha256").is_file() or _in_wb_data(own.name) or not _free_for(plain, archive):
        return own
    recorded, url_hash = _read_note(_beside(plain, ".sha256"))
    if recorded is not None and url_hash is None:
        _record(archive, plain, recorded.split()[0])
    return plain


def _free_for(plain: Path, archive: Archive) -> bool:
    """Whether `plain` is no other URL's file, as far as is recorded."""
    if (on_site := _in_wb_data(plain.name)) and archive.pinned:  # by that it is checked
        return True
    recorded, url_hash = _read_note(_beside(plain, ".sha256"))
    known = recorded and recorded.split()[0]
    url_hash = url_hash or _read_note(_beside(plain, ".part.etag"))[1]
    if url_hash is not None:
        return url_hash == archive.url_hash or (known is not None and known == archive.pinned)
    if on_site or not plain.is_file():
        return known is None or archive.pinned in (None, known)
    with suppress(PipelineError):  # of an earlier version, which recorded no URL
        verify(plain, archive, archive.pinned)
        return bool(known or archive.pinned or archive.size or archive.md5)
    return False


def _beside(file: Path, suffix: str) -> Path:
    """`.sha256`: the hash of its first use. `.part`: what has arrived, and the part's `.etag`."""
    return file.with_name(file.name + suffix)


def _record(archive: Archive, place: Path, found: str) -> None:
    _write_note(archive, _beside(place, ".sha256"), f"{found}  {place.name}")


def _write_note(archive: Archive, file: Path, line: str) -> None:
    write_text(file, f"{line}\n{_URL}{archive.url_hash}\n")


def _read_note(file: Path) -> tuple[str | None, str | None]:
    """A file's first line, and the hash of the URL in its second; None where they are missing."""
    line, _, rest = file.read_text().partition("\n") if file.is_file() else ("", "", "")
    return line or None, rest.strip().removeprefix(_URL) or None


def _known_sha256(archive: Archive, place: Path) -> str | None:
    """The hash this archive must have: its dataset's YAML says so, or its first use here."""
    recorded, _ = _read_note(_beside(place, ".sha256"))
    return archive.pinned or (recorded and recorded.split()[0])


def verify(path: Path, archive: Archive, expected: str | None) -> str:
    """The file's SHA-256, after checking size and hash; a wrong file is named, never used."""
    found, size = sha256(path), path.stat().st_size
    if archive.size is not None and size != archive.size:
        raise _wrong(path, "size", size, archive.size)
    if expected is not None and found != expected:
        raise _wrong(path, "SHA-256", found, expected)
    if archive.md5 is not None and expected is None and (md5 := _md5(path)) != archive.md5:
        raise _wrong(path, "MD5", md5, archive.md5)
    return found


def _wrong(path: Path, what: str, found: object, expected: object) -> PipelineError:
    return PipelineError(
        f"{path}: {what} is {found}, expected {expected} (the dataset's YAML, or the first use as "
        f"recorded in {archives_folder()}): a wrong or damaged archive"
    )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _download(archive: Archive, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(path, ".part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _resume(archive, part)
            break
        except (_Interrupted, OSError, http.client.HTTPException) as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures == ATTEMPTS:
                raise TryAgain(
                    f"{archive.url}: {str(error) or repr(error)}; {_size(part)} bytes are kept in "
                    f"{part}: run again to continue, or {_by_hand(part)}"
                ) from None
            _wait(failures)
    try:
        found = verify(part, archive, _known_sha256(archive, path))
    except PipelineError:
        part.unlink()
        raise
    finally:
        _beside(part, ".etag").unlink(missing_ok=True)
    if archive.sha256 is None:  # first the hash, then the file that it is of
        _record(archive, path, found)
    part.replace(path)


def _wait(failures: int) -> None:
    time.sleep(2**failures / 2)


def _resume(archive: Archive, part: Path) -> None:
    """Fetch what is still missing of `part`; raise if the connection ends before the end."""
    have = _size(part)
    headers = {"User-Agent": "which-backbone", "Accept-Encoding": "identity"}
    mark, url_hash = _read_note(_beside(part, ".etag"))
    if have and mark and url_hash == archive.url_hash:
        headers |= {"Range": f"bytes={have}-", "If-Range": mark}
    request = urllib.request.Request(archive.url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # no such range: start over
            part.unlink(missing_ok=True)
        if error.code in (408, 416, 429) or error.code >= 500:
            raise _Interrupted(f"HTTP {error.code} {error.reason}") from None
        raise PipelineError(
            f"{archive.url}: HTTP {error.code} {error.reason}: correct archive.url, or "
            f"{_by_hand(part)}"
        ) from None
    with response:
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        start = have if response.status == 206 and resumed else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        if None not in (total, archive.size) and total != archive.size:
            raise PipelineError(f"{archive.url}: {total} bytes offered, expected {archive.size}")
        if start == 0:
            _start_over(archive, part, response.headers)
        _append(response, part, total, archive.name)


def _start_over(archive: Archive, part: Path, headers: http.client.HTTPMessage) -> None:
    """An empty part, and what tells later whether the server still has the same file."""
    validator = _beside(part, ".etag")
    validator.unlink(missing_ok=True)
    part.write_bytes(b"")
    tag = headers.get("ETag", "")
    if mark := tag if tag and not tag.startswith("W/") else headers.get("Last-Modified"):
        _write_note(archive, validator, mark)


def _append(response: IO[bytes], part: Path, total: int | None, name: str) -> None:
    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with (
        part.open("ab") as file,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        bar = progress.add_task(name, total=total, completed=file.tell())
        while chunk := response.read(CHUNK_BYTES):
            progress.update(bar, advance=file.write(chunk))
        file.flush()
        os.fsync(file.fileno())
    if total is not None and _size(part) != total:
        raise _Interrupted(f"connection cut after {_size(part)} of {total} bytes")


def _by_hand(part: Path) -> str:
    lacks = f" ({os.environ['WB_DATA']} has no such file)" if "WB_DATA" in os.environ else ""
    return f"put {part.name.removesuffix('.part')} into a folder and set WB_DATA to it{lacks}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


MAX_FILES = 5_000_000
MAX_RATIO = 50  # of photographs it is about 1
ALWAYS_ALLOWED_BYTES = 1 << 30
_SUFFIXES = tuple(suffix for _, suffixes, _ in shutil.get_unpack_formats() for suffix in suffixes)


@dataclass(frozen=True)
class _Member:
    name: str
    kind: str  # file, folder or anything else, which is refused
    size: int
    content: IO[bytes] | None


def unpacked(archive: Archive) -> tuple[Path, str]:
    """The folder of a downloaded archive's files, and the archive's SHA-256; made only once."""
    with _locked(archives_folder() / f".{archive.name}.lock"):
        known = archive.pinned or _known_sha256(archive, _place(archive))
        if known is not None and (folder := _folder(archive.name, known)).is_dir():
            return only_folder(folder), known
        path, found = get_archive(archive)
        return _unpacked(path, archive.name, found), found


def unpacked_file(path: Path) -> tuple[Path, str]:
    """The same of an archive that lies on this machine."""
    with _locked(archives_folder() / f".{path.name}.lock"):
        found = sha256(path)
        return _unpacked(path, path.name, found), found


def _unpacked(path: Path, name: str, found: str) -> Path:
    folder = _folder(name, found)
    if not folder.is_dir():
        extract(path, folder)
    return only_folder(folder)


def _folder(name: str, found: str) -> Path:
    return archives_folder() / f"{name.partition('.')[0]}-{found[:12]}"


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Wait until no other process downloads or extracts the same archive."""
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
                    files, size = number_of(count, "file", "files"), archive.stat().st_size
                    bomb = f"a bomb: {files} and {total} bytes from an archive of {size} bytes"
                    raise PipelineError(f"{archive}: refused, {bomb}")
                _write(archive, member, beside)
    except DAMAGED as error:
        raise PipelineError(f"{archive}: {_not_unpacked(archive, error)}") from None
    except (OSError, ValueError) as error:
        raise PipelineError(f"{archive}: cannot be extracted to {folder}: {error}") from None


def _not_unpacked(archive: Path, error: Exception) -> str:
    """Why a file gives no files, and what to do; only what was downloaded may be deleted."""
    if archive.parent == archives_folder():
        return f"damaged archive ({error}): delete it, run again"
    if archive.name.lower().endswith(_SUFFIXES):
        return f"damaged archive ({error}): replace it with a whole copy"
    return "a file, neither a folder nor an archive: give the folder that holds it"


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
        with tarfile.open(archive) as tarred:  # as a stream, gzip with an extra field is no archive
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
