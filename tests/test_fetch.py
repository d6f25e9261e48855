import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault import install
from git_http import git_server

from pipeline.core.errors import PipelineError, TryAgain
from pipeline.fetch import git as git_module
from pipeline.fetch.__main__ import main as fetch
from pipeline.fetch.git import results_at
from pipeline.timm_results.published_tables import read_source

ACCURACY = "results-imagenet.csv"
SPEED = "benchmark-infer-amp-nchw-pt113-cu117-rtx3090.csv"
RESULTS_HEADER = "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation"


def accuracy_csv(rows: int) -> str:
    lines = [f"net{i}.in1k,224,{70 + i / 100},30,90.5,9.5,5.29,0.875,bicubic" for i in range(rows)]
    return "\n".join([RESULTS_HEADER, *lines]) + "\n"


def speed_csv(rows: int) -> str:
    header = (
        "model,infer_samples_per_sec,infer_step_time,infer_batch_size,infer_img_size,param_count"
    )
    return "\n".join([header, *(f"net{i},100.5,10.2,64,224,5.29" for i in range(rows))]) + "\n"


@pytest.fixture(autouse=True)
def _own_git_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of this machine's user reach git."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


class Upstream:
    """A tiny repository shaped like timm's."""

    def __init__(self, path: Path, *init: str) -> None:
        self.path = path
        path.mkdir(parents=True)
        self("init", "-q", "-b", "main", *init)
        with (path / ".git" / "config").open("a") as config:
            config.write(
                "[user]\n\tname = up\n\temail = up@localhost\n[commit]\n\tgpgsign = false\n"
                "[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n"
            )

    def __call__(self, *arguments: str, date: str = "2026-01-01T00:00:00+00:00") -> str:
        env = os.environ | {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date}
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=env, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str | bytes], day: int = 1) -> str:
        """Commit exactly `files` and return the commit's id."""
        self("rm", "-rfq", "--ignore-unmatch", ".")
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        self("add", "-A", "-f")
        self("commit", "-qm", "results", "--allow-empty", date=f"2026-01-{day:02}T12:00:00+00:00")
        return self("rev-parse", "HEAD")

    def tables(self, rows: int, day: int = 1) -> str:
        return self.commit(
            {
                f"results/{ACCURACY}": accuracy_csv(rows),
                f"results/{SPEED}": speed_csv(rows),
                "results/README.md": "not a table",
                "timm/models.py": "# not data\n" * 100,
            },
            day,
        )


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "up" / "timm")


def held(out: Path) -> dict[str, str]:
    """Every file's name and content hash."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.iterdir())}


def error_of(source: object, rev: str, out: Path, kind: type[PipelineError] = PipelineError) -> str:
    """The one line of the `kind` of error that this fetch ends with; it must leave `out` alone."""
    before = held(out) if out.exists() else None
    with pytest.raises(PipelineError) as caught:
        fetch(str(source), rev, out)
    assert type(caught.value) is kind
    assert (held(out) if out.exists() else None) == before
    assert not list(out.parent.glob(".*writing*"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is fetched


def test_a_commit_of_a_repository_becomes_tables_and_their_source(
    upstream: Upstream, tmp_path: Path
) -> None:
    old, _ = upstream.tables(3, day=1), upstream.tables(5, day=2)
    fetch(str(upstream.path), old, tmp_path / "timm")
    assert {p.name for p in (tmp_path / "timm").iterdir()} == {ACCURACY, SPEED, "source.json"}
    assert (tmp_path / "timm" / ACCURACY).read_text() == accuracy_csv(3)
    source = json.loads((tmp_path / "timm" / "source.json").read_text())
    digest = hashlib.sha256(accuracy_csv(3).encode()).hexdigest()
    assert source.pop("files")[ACCURACY] == {"sha256": digest, "rows": 3}
    assert source == {
        "origin": str(upstream.path),
        "rev": old,
        "commit": old,
        "date": "2026-01-01T12:00:00+00:00",
    }


def test_a_branch_or_tag_is_resolved_once_and_recorded(upstream: Upstream, tmp_path: Path) -> None:
    old = upstream.tables(3)
    upstream("tag", "light")
    upstream("tag", "-a", "v1.0", "-m", "annotated")
    upstream("branch", "feature/results")
    new = upstream.tables(5)
    upstream("branch", "decoy/main", old)  # ends like `main`
    wanted = {"light": old, "v1.0": old, "feature/results": old, "main": new, "HEAD": new}
    for rev, commit in (wanted | {"refs/heads/main": new, "refs/tags/v1.0": old}).items():
        fetch(str(upstream.path), rev, tmp_path / "timm", accept_fewer_rows=True)
        source = read_source(tmp_path / "timm")
        assert (source.rev, source.commit) == (rev, commit)


def test_the_same_commit_comes_from_a_path_a_file_url_and_a_server(
    upstream: Upstream, tmp_path: Path
) -> None:
    commit = upstream.tables(3)
    upstream.tables(4)
    with git_server(tmp_path / "up") as (url, _):
        for number, source in enumerate(
            [str(upstream.path), upstream.path.as_uri(), f"{url}/timm/.git"]
        ):
            fetch(source, commit, tmp_path / str(number))
            assert read_source(tmp_path / str(number)).origin == source
    contents = [held(tmp_path / str(number)) for number in range(3)]
    for content in contents:
        content.pop("source.json")
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("shape", ["bare", "worktree", "sha256", "spaced"])
def test_every_shape_of_local_repository_is_a_source(tmp_path: Path, shape: str) -> None:
    name = "a b%41c" if shape == "spaced" else "plain"
    extra = ["--object-format=sha256"] if shape == "sha256" else []
    upstream = Upstream(tmp_path / name, *extra)
    commit = upstream.tables(3)
    source = upstream.path
    if shape == "bare":
        source = tmp_path / "bare.git"
        upstream("clone", "-q", "--bare", str(upstream.path), str(source))
    if shape == "worktree":
        source = tmp_path / "tree"
        upstream("worktree", "add", "-q", "--detach", str(source))
    for rev in (commit, "main"):
        fetch(str(source), rev, tmp_path / "out")
        assert read_source(tmp_path / "out").commit == commit


@pytest.mark.parametrize("transport", ["file", "http"])
def test_only_the_tables_are_transferred(
    upstream: Upstream, tmp_path: Path, transport: str
) -> None:
    upstream.tables(3)
    commit = upstream.tables(5)
    with git_server(tmp_path / "up") as (url, _):
        source = upstream.path.as_uri() if transport == "file" else f"{url}/timm/.git"
        results_at(source, "timm", commit, tmp_path / "scratch")
    listed = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch-check"],
        cwd=tmp_path / "scratch",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    here = {line.split()[0]: line.split()[1] for line in listed}
    blobs = {upstream("rev-parse", f"HEAD:results/{name}") for name in (ACCURACY, SPEED)}
    assert {id for id, kind in here.items() if kind == "blob"} == blobs
    assert [id for id, kind in here.items() if kind == "commit"] == [commit]  # no history


def test_a_server_without_filters_works_too(upstream: Upstream, tmp_path: Path) -> None:
    upstream("config", "uploadpack.allowFilter", "false")
    upstream("config", "uploadpack.allowAnySHA1InWant", "false")
    commit = upstream.tables(3)
    upstream.tables(4)
    with git_server(tmp_path / "up") as (url, _):
        fetch(f"{url}/timm/.git", commit, tmp_path / "timm")
    assert read_source(tmp_path / "timm").commit == commit


def test_a_server_of_the_old_protocol_sends_tips_and_says_so_of_others(
    upstream: Upstream, tmp_path: Path
) -> None:
    for key in ("allowFilter", "allowAnySHA1InWant"):
        upstream("config", f"uploadpack.{key}", "false")
    old, tip = upstream.tables(3), upstream.tables(4)
    with git_server(tmp_path / "up") as (url, manners):
        manners.old_protocol = True
        fetch(f"{url}/timm/.git", "main", tmp_path / "timm")
        assert read_source(tmp_path / "timm").commit == tip
        assert "only the tips" in error_of(f"{url}/timm/.git", old, tmp_path / "other")


def test_a_plain_folder_is_copied_even_inside_another_repository(
    upstream: Upstream, tmp_path: Path
) -> None:
    upstream.tables(3)
    fetch(str(upstream.path / "results" / ".."), "main", tmp_path / "repository")
    sample = upstream.path / "data" / "sample"
    (sample / "results").mkdir(parents=True)
    (sample / "results" / ACCURACY).write_text(accuracy_csv(2))
    fetch(str(sample), "-", tmp_path / "plain")
    source = read_source(tmp_path / "plain")
    assert (source.commit, source.date, source.files[ACCURACY].rows) == (None, None, 2)


def test_the_bundled_sample_is_a_source(root: Path, tmp_path: Path) -> None:
    fetch(str(root / "data" / "sample"), "-", tmp_path / "timm")
    source = read_source(tmp_path / "timm")
    assert len(source.files) == 12
    assert (source.rev, source.commit, source.date) == ("-", "aa4b5850", "2026-08-08")


def test_what_a_plain_folder_says_of_its_commit_is_checked(tmp_path: Path) -> None:
    (tmp_path / "folder" / "results").mkdir(parents=True)
    (tmp_path / "folder" / "results" / ACCURACY).write_text(accuracy_csv(1))
    for said in ("{", "[]", '{"commit": "abcdef0"}', '{"commit": 7, "date": "2026-08-08"}'):
        (tmp_path / "folder" / "quoted_from.json").write_text(said)
        line = error_of(tmp_path / "folder", "-", tmp_path / "out")
        assert "quoted_from.json: must give commit and date (ISO 8601); " in line


def test_timms_own_tables_come_at_either_commit(shared: Path, tmp_path: Path) -> None:
    made = subprocess.run(
        [shared / "make-timm-mirror.sh", tmp_path / "up" / "timm"],
        capture_output=True,
        text=True,
        check=True,
    )
    old, new = made.stdout.split()
    with git_server(tmp_path / "up") as (url, _):
        for rev, folder in ((old, "timm-results-2022-06"), (new, "timm-results"), ("main", "")):
            fetch(f"{url}/timm/.git", rev, tmp_path / "timm")
            got = held(tmp_path / "timm")
            got.pop("source.json")
            assert got == held(shared / (folder or "timm-results"))
    rows = {name: file.rows for name, file in read_source(tmp_path / "timm").files.items()}
    assert rows["results-imagenet.csv"] == 1556
    assert len([name for name in rows if name.startswith("benchmark-")]) == 22


# What a user can get wrong


def test_each_mistake_about_the_source_is_one_line(upstream: Upstream, tmp_path: Path) -> None:
    upstream.tables(3)
    bare = upstream.commit({"README.md": "no results here"})
    folder = tmp_path / "folder"
    (folder / "results").mkdir(parents=True)
    out = tmp_path / "out"
    assert "name a commit, tag or branch" in error_of(upstream.path, "-", out)
    assert "no results/*.csv" in error_of(folder, "-", out)
    (folder / "results" / ACCURACY).write_text(accuracy_csv(1))
    assert "a plain folder has no revision main" in error_of(folder, "main", out)
    assert "no results/*.csv" in error_of(upstream.path, bare, out)
    assert "no revision nowhere" in error_of(upstream.path, "nowhere", out)
    assert "no longer has it" in error_of(upstream.path, "0" * 40, out)
    assert "commit's full id" in error_of(upstream.path, bare[:10], out)
    assert "neither a folder nor a git URL" in error_of(tmp_path / "absent", "main", out)
    blob = upstream("rev-parse", "HEAD:README.md")
    assert "not a commit" in error_of(upstream.path, blob, out)
    assert not out.exists()


HOSTILE_SOURCES = [
    *["--upload-pack=touch PWNED", "-oProxyCommand=touch PWNED", "-oProxyCommand=touch:x"],
    *["ext::sh -c touch% PWNED", "fd::17", "ftp://127.0.0.1/x", "file:///etc", ""],
    *["ssh://-oProxyCommand=touch PWNED/x", "ssh://-oProxyCommand=touch/x"],
]
HOSTILE_REVISIONS = [
    *["--upload-pack=touch PWNED", "-x", "+main", "main:main", "main~1", "main^", "@{u}", "", "*"],
    *["a..b", "main\nmain", " main", "^main", "/main", "main.lock", "refs/heads/*"],
]


def test_a_source_or_revision_never_becomes_an_option_or_a_command(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.tables(3)
    monkeypatch.chdir(tmp_path)
    for source in HOSTILE_SOURCES:
        error_of(source, "main", tmp_path / "out")
    for rev in HOSTILE_REVISIONS:
        assert "revision" in error_of(upstream.path, rev, tmp_path / "out")
    assert {path.name for path in tmp_path.rglob("*")} & {"PWNED", "out"} == set()


def test_without_git_the_line_says_so(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.tables(3)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in error_of(upstream.path, "main", tmp_path / "out")


def test_a_folder_that_is_not_ours_is_not_replaced(upstream: Upstream, tmp_path: Path) -> None:
    upstream.tables(3)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    assert "would be replaced" in error_of(upstream.path, "main", tmp_path / "thesis")
    (tmp_path / "file").write_text("")
    for out in (upstream.path, tmp_path / "file"):
        with pytest.raises(PipelineError, match="would be replaced"):
            fetch(str(upstream.path), "main", out)


NO_TABLES = {
    b"\x89PNG\r\n\x1a\n\xff\xfe": "not UTF-8",
    b"model,top1\nnet,\x00\n": "not text (it holds a NUL byte)",
    b"model,top1\nnet," + b"9" * 20_000 + b"\n": "more than 1000 characters",
    b"model,top1\nnet," + b"9" * 200_000 + b"\n": "field larger than field limit",
    b'model,top1\n"net,70\n': "not CSV",
    b"model,top1\nnet,70,80\n": "row 1 has 3 cells, the header has 2; it is damaged or cut off",
    b"model,top1\nnet,70\ncut": "cut off",
    b"model,top1\n": "no rows",
    b"": "no rows; it is empty or cut off",
    b"model,top1,top1\nnet,70,80\n": "two columns are called 'top1'",
    b"version https://git-lfs.github.com/spec/v1\n": "no rows",
}


def test_a_file_that_is_no_table_is_one_line_that_names_it(
    upstream: Upstream, tmp_path: Path
) -> None:
    folder = tmp_path / "folder" / "results"
    folder.mkdir(parents=True)
    (folder / SPEED).write_text(speed_csv(1))
    for content, said in NO_TABLES.items():
        (folder / ACCURACY).write_bytes(content)
        line = error_of(folder.parent, "-", tmp_path / "out")
        assert said in line
        assert f"results/{ACCURACY}" in line
    upstream.commit({f"results/{ACCURACY}": content})
    assert f"results/{ACCURACY}" in error_of(upstream.path, "main", tmp_path / "out")


def test_a_link_among_the_tables_is_refused(upstream: Upstream, tmp_path: Path) -> None:
    upstream.tables(3)
    (upstream.path / "results" / "results-link.csv").symlink_to("/etc/passwd")
    upstream("add", "-A")
    upstream("commit", "-qm", "link")
    assert "'results-link.csv', which is no plain file" in error_of(
        upstream.path, "main", tmp_path / "out"
    )


def test_a_table_that_lost_a_fifth_is_refused_until_accepted(
    upstream: Upstream, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    old = upstream.tables(100, day=1)
    fetch(str(upstream.path), "main", out)
    upstream.tables(80, day=2)
    fetch(str(upstream.path), "main", out)  # exactly four fifths are enough
    upstream.tables(63, day=3)
    line = error_of(upstream.path, "main", out)
    assert "63 rows, 80 in the copy" in line
    assert "--accept-fewer-rows" in line
    fetch(str(upstream.path), "main", out, accept_fewer_rows=True)
    fetch(str(upstream.path), "main", out)  # once accepted, for good
    fetch(str(upstream.path), old, out)
    assert read_source(out).files[ACCURACY].rows == 100


def test_an_older_commit_or_another_origin_may_have_fewer_rows(
    upstream: Upstream, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    old = upstream.tables(10, day=1)
    upstream.tables(100, day=2)
    fetch(str(upstream.path), "main", out)
    fetch(str(upstream.path), old, out)
    fetch(str(upstream.path), "main", out)
    fetch(upstream.path.as_uri(), old, out)
    assert read_source(out).files[ACCURACY].rows == 10


# What happens to git


def test_no_hook_filter_or_template_runs(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change", "fsmonitor"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    settings = tmp_path / "gitconfig"
    settings.write_text(
        f"[init]\n\ttemplateDir = {hooks.parent}\n[core]\n\thooksPath = {hooks}\n"
        f"\tfsmonitor = {hooks}/fsmonitor\n"
        f'[filter "evil"]\n\tsmudge = touch {mark}\n\tclean = touch {mark}\n\trequired\n'
    )
    upstream.commit(
        {
            f"results/{ACCURACY}": accuracy_csv(3),
            ".gitattributes": "*.csv filter=evil eol=crlf text ident export-subst\n",
        }
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    fetch(str(upstream.path), "main", tmp_path / "out")
    assert (tmp_path / "out" / ACCURACY).read_text() == accuracy_csv(3)
    assert not mark.exists()


def test_a_fetch_inside_a_git_hook_leaves_that_repository_alone(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.tables(3)
    other = Upstream(tmp_path / "other")
    before = other("config", "--list", "--local")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git" / "index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    fetch(str(upstream.path), "main", tmp_path / "out")
    monkeypatch.undo()
    assert other("config", "--list", "--local") == before
    assert other("count-objects") == "0 objects, 0 kilobytes"


def test_a_password_in_the_url_is_written_nowhere(upstream: Upstream, tmp_path: Path) -> None:
    commit = upstream.tables(3)
    with git_server(tmp_path / "up") as (url, manners):
        secret = url.replace("http://", "http://user:hunter2@")
        fetch(f"{secret}/timm/.git", commit, tmp_path / "out")
        assert read_source(tmp_path / "out").origin == f"{url}/timm/.git"
        assert "hunter2" not in error_of(f"{secret}/timm/.git", "nowhere", tmp_path / "out")
        manners.status = 503
        assert "hunter2" not in error_of(f"{secret}/timm/.git", "main", tmp_path / "x", TryAgain)


# What can go wrong outside


def test_a_lost_commit_is_an_error_unless_the_copy_here_is_that_commit(
    upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    lost = upstream.tables(3)
    upstream("tag", "v1")
    with git_server(tmp_path / "up") as (url, _):
        source = f"{url}/timm/.git"
        fetch(source, lost, out)
        upstream("checkout", "-q", "--orphan", "rewritten")
        new = upstream.tables(4)
        upstream("branch", "-M", "main")
        upstream("tag", "-d", "v1")
        upstream("reflog", "expire", "--expire=now", "--all")
        upstream("gc", "-q", "--prune=now")
        before = held(out)
        capsys.readouterr()
        fetch(source, lost, out)
        said = capsys.readouterr().out
        assert held(out) == before
        assert "kept" in said
        assert "no longer has it" in said
        assert len(said.splitlines()) == 1
        assert "no longer has it" in error_of(source, lost, tmp_path / "elsewhere")
        assert "no longer has it" in error_of(upstream.path, lost, out)  # another origin
        assert "no revision v1" in error_of(source, "v1", out)
        (out / SPEED).write_text(speed_csv(2))  # no longer what was fetched
        assert "no longer has it" in error_of(source, lost, out)
        fetch(source, "main", out)
        assert read_source(out).commit == new


def test_no_network_is_try_again_and_leaves_the_old_copy(
    upstream: Upstream, tmp_path: Path
) -> None:
    upstream.tables(3)
    fetch(str(upstream.path), "main", tmp_path / "out")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # nobody listens here
        port = reserved.getsockname()[1]
        for source in (f"http://127.0.0.1:{port}/t", f"git://127.0.0.1:{port}/t"):
            error_of(source, "main", tmp_path / "out", TryAgain)
    error_of("http://nowhere.invalid/timm", "main", tmp_path / "out", TryAgain)


def test_a_server_that_answers_wrong_is_one_line(upstream: Upstream, tmp_path: Path) -> None:
    upstream.tables(3)
    out = tmp_path / "out"
    with git_server(tmp_path / "up") as (url, manners):
        source = f"{url}/timm/.git"
        for status in (500, 503, 429):
            manners.status = status
            error_of(source, "main", out, TryAgain)
        manners.status = 404
        assert "not a git repository" in error_of(source, "main", out)
        manners.status = 403
        assert "login" in error_of(source, "main", out)
        manners.status, manners.password = None, True
        assert "login" in error_of(source, "main", out)
        manners.password, manners.dumb = False, True
        upstream("update-server-info")
        assert "dumb HTTP" in error_of(source, "main", out)


@pytest.mark.parametrize(
    ("ssh_says", "said", "kind"),
    [
        ("ssh: Could not resolve hostname up: Name or service not known", "resolve", TryAgain),
        ("ssh: connect to host up port 22: Connection timed out", "timed out", TryAgain),
        ("git@up: Permission denied (publickey).", "login", PipelineError),
        ("Host key verification failed.", "login", PipelineError),
        ("ERROR: Repository not found.", "not a git repository", PipelineError),
    ],
)
def test_what_ssh_says_becomes_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ssh_says: str,
    said: str,
    kind: type[PipelineError],
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", f"echo '{ssh_says}' >&2; exit 255;")
    for source in ("git@up:timm/timm.git", "ssh://git@up/timm.git"):
        assert said in error_of(source, "main", tmp_path / "out", kind)
    monkeypatch.delenv("GIT_SSH_COMMAND")
    monkeypatch.setenv("GIT_SSH", "/absent/ssh")
    assert "ssh, which is not installed" in error_of("git@up:t", "main", tmp_path / "out")


def test_a_server_that_says_nothing_is_not_waited_for(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.tables(3)
    monkeypatch.setattr(git_module, "GIT_SECONDS", 1)
    with git_server(tmp_path / "up") as (url, manners):
        manners.silent = True
        began = time.monotonic()
        assert "no answer in 1 s" in error_of(
            f"{url}/timm/.git", "main", tmp_path / "out", TryAgain
        )
        assert time.monotonic() - began < 10


def test_a_connection_that_drops_anywhere_leaves_the_old_copy_and_the_next_call_works(
    upstream: Upstream, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    upstream.tables(300, day=1)
    fetch(str(upstream.path), "main", out)
    new = upstream.tables(400, day=2)
    with git_server(tmp_path / "up") as (url, manners):
        source = f"{url}/timm/.git"
        fetch(source, new, tmp_path / "whole")
        all_bytes = manners.sent
        for cut in [0, 1, *(all_bytes * part // 12 for part in range(1, 12, 2))]:
            manners.cut_after, manners.sent = cut, 0
            error_of(source, new, out, TryAgain)
        manners.cut_after = None
        fetch(source, new, out)
    assert read_source(out).commit == new


def test_killed_with_all_transferred_and_nothing_written_the_old_copy_stays(
    upstream: Upstream, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    upstream.tables(3, day=1)
    fetch(str(upstream.path), "main", out)
    before, new = held(out), upstream.tables(4, day=2)
    child = os.fork()
    if child == 0:
        install("kill@in_fetch")
        fetch(str(upstream.path), "main", out)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert held(out) == before
    fetch(str(upstream.path), "main", out)
    assert read_source(out).commit == new
    assert {path.name for path in tmp_path.iterdir()} == {"up", "out"}


def _killed_after(seconds: float, arguments: list[str], root: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.fetch", *arguments],
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_sigkill_at_any_moment_leaves_a_whole_copy_and_the_next_call_works(
    upstream: Upstream, tmp_path: Path, root: Path
) -> None:
    out = tmp_path / "out"
    commits = [upstream.tables(2000, day=1), upstream.tables(2001, day=2)]
    arguments = [str(upstream.path), commits[0], str(out)]
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "pipeline.fetch", *arguments], cwd=root, check=True)
    whole_run = time.monotonic() - began
    dice = random.Random(0)
    for turn in range(12):
        arguments[1] = commits[turn % 2]
        _killed_after(whole_run * dice.uniform(0.3, 1.05), arguments, root)
        assert read_source(out).commit in commits  # checks every file's SHA-256
    fetch(*arguments[:2], out)
    assert read_source(out).commit == arguments[1]
    assert {path.name for path in tmp_path.iterdir()} == {"up", "out"}  # nothing left behind
