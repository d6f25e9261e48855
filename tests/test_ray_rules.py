"""What the engine of many hosts does with hosts that fail; Ray itself is replaced."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.core.errors import TryAgain
from pipeline.study.params import Cell
from pipeline.sweep import ray_engine, ray_host
from pipeline.sweep.jobs import Job, Options
from pipeline.sweep.ray_engine import Node, RemoteHost


class RayError(Exception): ...


class FakeRay:
    """A call is a number; `answers` has what has come back, an exception if the host is lost."""

    exceptions = SimpleNamespace(RayError=RayError)
    cloudpickle = SimpleNamespace(register_pickle_by_value=lambda module: None)

    def __init__(self) -> None:
        self.numbers, self.answers = count(), dict[int, Any]()
        self.killed: list[Any] = []

    def wait(self, calls: list[int], **options: Any) -> tuple[list[int], list[int]]:
        return [call for call in calls if call in self.answers], []

    def get(self, call: int) -> Any:
        answer = self.answers.pop(call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def actor(self) -> Any:
        method = SimpleNamespace(remote=lambda *given: next(self.numbers))
        method.options = lambda **given: method
        return SimpleNamespace(poll=method, start=method, stop=method)

    def host_on(self, ray: Any, node: Node, *arguments: Any) -> RemoteHost:
        host = RemoteHost(node, self.actor())
        host.poll()
        return host


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    ray = FakeRay()
    monkeypatch.setattr(ray_engine, "join", lambda address: ray)
    monkeypatch.setattr(ray_engine, "host_on", ray.host_on)
    monkeypatch.setattr(ray_engine, "answers", lambda ray: True)
    monkeypatch.setattr(ray_engine, "leave", lambda ray, answering: None)
    monkeypatch.setattr(ray_engine, "alive", lambda ray: [])
    monkeypatch.setattr(ray_engine, "LOOK_SECONDS", -1.0)
    monkeypatch.setattr(ray_engine, "find_weights", lambda name, params: None)
    monkeypatch.setattr(
        ray_host, "_pack", lambda root, files: ray_host.Parcel(_text(files), (), ())
    )
    return ray


def _text(files: list[Path]) -> str:
    return "".join(file.read_text() for file in files)


@pytest.fixture
def engine(ray: FakeRay, tmp_path: Path) -> ray_engine.RayEngine:
    for name in ray_engine.CODE:
        (tmp_path / name).write_text("as the sweep began")
    said: list[str] = []
    engine = ray_engine.RayEngine(Options(address="auto"), tmp_path, 1, said.append)
    return engine


@pytest.fixture
def join(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def join(*names: str) -> None:
        nodes = [Node(name, f"address of {name}", 1, 0) for name in names]
        monkeypatch.setattr(ray_engine, "alive", lambda ray: nodes)

    return join


def cell(root: Path, seed: int) -> Job:
    name, out = f"finetune@{seed}", f"{seed}.json"
    log, receipt = root / f"logs/{seed}.log", root / f"receipts/{seed}.json"
    return Job(name, "true", "key", (), (out,), root, log, receipt, Cell("d", "x", "r", seed))


def poll(ray: FakeRay, engine: ray_engine.RayEngine, node: str, answer: Any) -> None:
    """The host on this node answers, or is lost."""
    ray.answers[engine._hosts[node].poll_call] = answer


NOTHING: dict[str, Any] = {"places": 1, "logs": {}, "progress": {}, "ended": []}


def test_a_late_host_is_used_and_its_records_are_written_here(
    ray: FakeRay, engine: ray_engine.RayEngine, join: Callable[..., None], tmp_path: Path
) -> None:
    job = cell(tmp_path, 0)
    engine.start(job)
    assert engine.wait(0) == []
    join("late")
    engine.wait(0)
    poll(ray, engine, "late", NOTHING)
    engine.wait(0)
    engine.wait(0)
    ended = [("finetune@0", 0, "done", {"0.json": b"{}"})]
    logs = {"finetune@0": b"epoch 1\n"}
    said = {"logs": logs, "progress": {"finetune@0": b"{}\n"}, "ended": ended}
    poll(ray, engine, "late", NOTHING | said)
    assert [(end.job, end.exit_code) for end in engine.wait(0)] == [(job, 0)]
    assert (tmp_path / "0.json").read_bytes() == b"{}"
    assert job.progress.read_bytes() == b"{}\n"
    assert job.log.read_text() == "on address of late\nepoch 1\n"
    assert job.receipt.is_file()
    assert engine.running == []


def test_a_run_whose_hosts_are_lost_goes_elsewhere_and_fails_after_the_third(
    ray: FakeRay, engine: ray_engine.RayEngine, join: Callable[..., None], tmp_path: Path
) -> None:
    engine.start(cell(tmp_path, 0))
    for name in ("first", "second", "third"):
        join(name)
        engine.wait(0)
        poll(ray, engine, name, NOTHING)
        engine.wait(0)
        engine.wait(0)
        assert "finetune@0" in engine._hosts[name].jobs
        poll(ray, engine, name, RayError("the node is gone. Some more"))
        join()
        assert engine.wait(0) == []
        assert len(engine.running) == 1
    [end] = engine.wait(0)
    assert (end.exit_code, len(ray.killed)) == (1, 3)
    assert end.reason == "3 hosts were lost while it ran, the last address of third"


def test_a_node_that_fails_three_times_in_a_row_is_left_alone(
    ray: FakeRay, engine: ray_engine.RayEngine, join: Callable[..., None]
) -> None:
    join("broken")
    for _ in range(3):
        engine.wait(0)
        poll(ray, engine, "broken", RayError("no module named torch"))
        engine.wait(0)
    engine.wait(0)
    assert engine._hosts == {}


def test_a_cluster_that_takes_no_run_asks_for_another_try(
    engine: ray_engine.RayEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine.wait(0)
    engine.start(cell(tmp_path, 0))
    monkeypatch.setattr(ray_engine, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(TryAgain, match="no node has taken a run"):
        engine.wait(0)


def test_a_cluster_without_its_head_asks_for_another_try(
    engine: ray_engine.RayEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "answers", lambda ray: False)
    monkeypatch.setattr(ray_engine, "HEADLESS_SECONDS", -1.0)
    with pytest.raises(TryAgain, match="head is gone"):
        engine.wait(0)


def test_code_that_changed_since_the_sweep_began_runs_nowhere(
    ray: FakeRay, engine: ray_engine.RayEngine, join: Callable[..., None], tmp_path: Path
) -> None:
    join("one")
    engine.wait(0)
    poll(ray, engine, "one", NOTHING)
    engine.wait(0)
    (tmp_path / "conf").write_text("edited meanwhile")
    with pytest.raises(TryAgain, match="changed while it ran"):
        engine.start(cell(tmp_path, 0))
