import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.core.errors import PipelineError, TryAgain
from pipeline.dataset import download
from pipeline.dataset.download import Archive, get_archive

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one body with Range and If-Range; can cut the connection or answer with an error."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.etag = '"one"'
        self.sent: list[str] = []  # the path of each answer
        self.cut_after: list[int] = []  # bytes, one entry per answer
        self.status = 200
        self.pause, self.pause_seconds = threading.Event(), 0.0
        self.ranges: list[str | None] = []

    def archive(self, folder: str = "folder", **known: object) -> Archive:
        return Archive(f"http://127.0.0.1:{self.server_port}/{folder}/set.tgz", **known)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        self.server.sent.append(self.path)
        body, start = self.server.body, 0
        body = body[::-1] if self.path.startswith("/other") else body
        if wanted and self.headers.get("If-Range") == self.server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        status = 206 if start else self.server.status
        self.send_response(status)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + self.server.cut_after.pop(0) if self.server.cut_after else len(body)
        for place in range(start, end, 1 << 16):
            self.wfile.write(body[place : min(place + (1 << 16), end)])
            self.server.pause.wait(self.server.pause_seconds)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WB_ARCHIVES", str(tmp_path / "archives"))
    monkeypatch.delenv("WB_DATA", raising=False)
    monkeypatch.setattr(download, "_wait", lambda failures: None)
    return tmp_path / "archives"


def test_a_download_is_whole_and_verified(server: Server, archives: Path) -> None:
    path, found = get_archive(server.archive(size=len(BODY), sha256=SHA256))
    assert path == archives / "set.tgz"
    assert path.read_bytes() == BODY
    assert found == SHA256
    assert [each.name for each in archives.iterdir()] == ["set.tgz"]


def test_a_cut_connection_is_continued_where_it_stopped(server: Server, archives: Path) -> None:
    server.cut_after = [300_000, 500_000]
    path, _ = get_archive(server.archive(sha256=SHA256))
    assert path.read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-", "bytes=800000-"]


def test_a_network_that_stays_down_says_try_again_and_keeps_what_came(
    server: Server, archives: Path
) -> None:
    server.cut_after = [300_000] + [0] * 20
    with pytest.raises(
        TryAgain, match=r"300000 bytes are kept in .*: run again to continue, or put set.tgz"
    ):
        get_archive(server.archive(sha256=SHA256))
    assert (archives / "set.tgz.part").stat().st_size == 300_000
    server.cut_after = []
    assert get_archive(server.archive(sha256=SHA256))[0].read_bytes() == BODY
    assert server.ranges[-1] == "bytes=300000-"


def test_killed_while_downloading_the_next_call_continues(
    server: Server, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "CHUNK_BYTES", 1 << 14)
    server.pause_seconds = 0.02
    part = archives / "set.tgz.part"
    for wanted_bytes in (1, 300_000, 700_000):
        child = os.fork()
        if child == 0:
            get_archive(server.archive(sha256=SHA256))
            os._exit(0)
        while not part.is_file() or part.stat().st_size < wanted_bytes:
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert not (archives / "set.tgz").exists()
    assert get_archive(server.archive(sha256=SHA256))[0].read_bytes() == BODY
    assert server.ranges[0] is None
    assert len(server.ranges) == 4
    assert all(each is not None for each in server.ranges[1:])


def test_an_archive_that_changed_on_the_server_is_started_over_not_mixed(
    server: Server, archives: Path
) -> None:
    server.cut_after = [300_000] + [0] * 20
    with pytest.raises(TryAgain):
        get_archive(server.archive())
    server.cut_after, server.etag, server.body = [], '"two"', BODY[::-1]
    assert get_archive(server.archive())[0].read_bytes() == BODY[::-1]


def test_a_wrong_hash_is_refused_and_nothing_of_it_is_kept(server: Server, archives: Path) -> None:
    with pytest.raises(PipelineError, match=f"SHA-256 is {SHA256}, expected {'0' * 64}"):
        get_archive(server.archive(sha256="0" * 64))
    assert not list(archives.glob("set.tgz*"))


def test_a_wrong_size_is_refused_before_it_is_downloaded(server: Server, archives: Path) -> None:
    with pytest.raises(PipelineError, match="1048576 bytes offered, expected 7"):
        get_archive(server.archive(size=7))
    assert not list(archives.glob("set.tgz*"))


def test_the_hash_of_the_first_use_is_told_recorded_and_checked_from_then_on(
    server: Server, archives: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    get_archive(server.archive())
    assert f"sha256: {SHA256}" in capsys.readouterr().out
    url = server.archive().url_hash
    assert (archives / "set.tgz.sha256").read_text() == f"{SHA256}  set.tgz\n# URL {url}\n"
    (archives / "set.tgz").write_bytes(b"tampered")
    with pytest.raises(PipelineError, match=f"expected {SHA256}"):
        get_archive(server.archive())


def test_a_published_md5_is_checked_where_no_sha256_is_known(
    server: Server, archives: Path
) -> None:
    with pytest.raises(PipelineError, match="MD5 is"):
        get_archive(server.archive(md5="0" * 32))
    get_archive(server.archive(md5=hashlib.md5(BODY).hexdigest()))


def test_a_missing_archive_is_one_clear_line_at_once(server: Server, archives: Path) -> None:
    server.status = 404
    with pytest.raises(
        PipelineError, match=r"HTTP 404.*: correct archive.url, or .* set WB_DATA"
    ) as raised:
        get_archive(server.archive())
    assert not isinstance(raised.value, TryAgain)
    assert len(server.ranges) == 1


def test_a_folder_of_archives_that_lacks_one_is_named(
    server: Server, archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status = 404
    monkeypatch.setenv("WB_DATA", str(tmp_path / "gone"))
    with pytest.raises(
        PipelineError, match=rf"set WB_DATA to it \({tmp_path}/gone has no such file"
    ):
        get_archive(server.archive())


def test_a_site_without_network_uses_its_folder_of_archives(
    server: Server, archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "set.tgz").write_bytes(BODY)
    monkeypatch.setenv("WB_DATA", str(tmp_path / "site"))
    path, _ = get_archive(server.archive(sha256=SHA256))
    assert path == tmp_path / "site" / "set.tgz"
    assert server.ranges == []
    (tmp_path / "site" / "set.tgz").write_bytes(b"another file")
    with pytest.raises(PipelineError, match="SHA-256"):
        get_archive(server.archive(sha256=SHA256))
    assert (tmp_path / "site" / "set.tgz").read_bytes() == b"another file"


OTHER = hashlib.sha256(BODY[::-1]).hexdigest()


def test_two_addresses_that_end_in_one_name_each_give_their_own_archive(
    server: Server, archives: Path
) -> None:
    other = server.archive("other")
    for _ in range(2):
        assert get_archive(server.archive()) == (archives / "set.tgz", SHA256)
        assert get_archive(other) == (archives / other.own_name, OTHER)
    assert server.sent == ["/folder/set.tgz", "/other/set.tgz"]
    assert get_archive(server.archive("third", sha256=SHA256))[0] == archives / "set.tgz"
    assert len(server.sent) == 2


@pytest.mark.parametrize("known", [{}, {"sha256": OTHER}])
def test_an_archive_that_its_hash_pins_is_not_taken_for_another_address(
    server: Server, archives: Path, known: dict[str, object]
) -> None:
    assert get_archive(server.archive(sha256=SHA256))[0] == archives / "set.tgz"
    other = server.archive("other", **known)
    assert get_archive(other) == (archives / other.own_name, OTHER)
    assert get_archive(server.archive(sha256=SHA256)) == (archives / "set.tgz", SHA256)
    assert server.sent == ["/folder/set.tgz", "/other/set.tgz"]


def test_a_half_download_is_continued_for_its_own_address_only(
    server: Server, archives: Path
) -> None:
    server.cut_after = [300_000] + [0] * 20
    with pytest.raises(TryAgain):
        get_archive(server.archive())
    server.cut_after, other = [], server.archive("other")
    assert get_archive(other) == (archives / other.own_name, OTHER)
    assert get_archive(server.archive()) == (archives / "set.tgz", SHA256)
    assert server.ranges[-2:] == [None, "bytes=300000-"]


@pytest.mark.parametrize(
    ("known", "kept"),
    [
        ({}, True),
        ({"size": len(BODY)}, True),
        ({"sha256": SHA256}, True),
        ({"size": 7}, False),
        ({"sha256": OTHER}, False),
        ({"md5": "0" * 32}, False),
    ],
)
def test_an_archive_of_an_earlier_version_counts_unless_something_speaks_against_it(
    archives: Path, known: dict[str, object], kept: bool
) -> None:
    archives.mkdir()
    (archives / "set.tgz").write_bytes(BODY)
    (archives / "set.tgz.sha256").write_text(f"{SHA256}  set.tgz\n")
    archive = Archive("http://127.0.0.1:9/a/set.tgz", **known)
    if kept:
        assert get_archive(archive) == (archives / "set.tgz", SHA256)
        archive = Archive("http://127.0.0.1:9/b/set.tgz")  # the address is recorded by now
    with pytest.raises(TryAgain, match=f"put {archive.own_name} into a folder"):
        get_archive(archive)


def test_a_file_of_which_nothing_is_known_is_nobodys(server: Server, archives: Path) -> None:
    archives.mkdir()
    (archives / "set.tgz").write_bytes(BODY[::-1])
    assert get_archive(server.archive()) == (archives / server.archive().own_name, SHA256)
    assert (archives / "set.tgz").read_bytes() == BODY[::-1]


def test_a_site_keeps_a_second_archive_of_one_name_under_its_own(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("WB_DATA", str(site))
    first, second = (Archive(f"http://127.0.0.1:9/{name}/set.tgz") for name in "ab")
    (site / "set.tgz").write_bytes(BODY)
    assert get_archive(first) == (site / "set.tgz", SHA256)
    with pytest.raises(TryAgain, match=f"put {second.own_name} into a folder"):
        get_archive(second)
    (site / second.own_name).write_bytes(BODY[::-1])
    assert get_archive(second) == (site / second.own_name, OTHER)
    assert get_archive(first) == (site / "set.tgz", SHA256)


def test_only_addresses_of_files_on_the_web_are_fetched(archives: Path) -> None:
    for url in ("file:///etc/passwd", "ftp://example.org/a.tgz", "http://example.org/"):
        with pytest.raises(PipelineError, match="is not the http"):
            get_archive(Archive(url))


def test_archives_are_kept_in_the_projects_root(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WB_ARCHIVES", raising=False)
    assert download.archives_folder() == root / "archives"
