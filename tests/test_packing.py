"""`--gpus-per-run auto`: who shares a GPU, what is learned from it, and that it never costs much.

Runs on simulated GPUs with any law of contention; real processes that share one that is pretended;
and what sixteen records of an H100 say.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.project_copy import ROOT
from pipeline.core.errors import PipelineError
from pipeline.core.files import plain
from pipeline.core.processes import Progress
from pipeline.finetune import attempts
from pipeline.records import Cost, Device, Metrics, Record, read_record
from pipeline.study.params import Cell
from pipeline.sweep import packing
from pipeline.sweep.engine import shares
from pipeline.sweep.jobs import Job, Options
from pipeline.sweep.packing import (
    LOSS,
    OUT_OF_MEMORY,
    Alone,
    Packing,
    Running,
    alone_of,
    first_runs_first,
)

EPOCHS, EPOCH_SECONDS, LEAD_SECONDS = 6, 10.0, 3.0
FREE_GIB, TICK_SECONDS = 80.0, 0.5
Speed = Callable[[int], float]  # of each run, in lone runs, where so many share a GPU


def job_of(folder: Path, model: str, seed: int) -> Job:
    name = f"finetune@{model}-{seed}"
    out, cell = f"runs/{model}/{seed}.json", Cell("pets", model, "quickstart", seed)
    return Job(name, "", "", (), (out,), folder, folder / f"{name}.log", folder / name, cell)


def record_of(job: Job, utilisation: float, seconds: float, gib: float = 2.0) -> Record:
    assert job.cell is not None
    rows = [{"epoch": n + 1, "seconds": seconds / EPOCHS} for n in range(EPOCHS)]
    return Record(
        status="ok",
        dataset="pets",
        model=job.cell.model,
        recipe="quickstart",
        seed=job.cell.seed,
        metrics=Metrics(error_rate=0.1),
        history=rows,
        cost=Cost(fit_seconds=seconds, start_up_seconds=0.0, steady_fit_seconds=seconds),
        device=Device(kind="cuda", name="H100", shared=False),
        telemetry={
            "gpu_utilisation_mean_percent": 100 * utilisation,
            "gpu_process_memory_peak_gib": gib,
        },
    )


@dataclass
class Fit:
    job: Job
    started_at: float
    done: float = 0.0  # seconds of a lone run
    fit_seconds: float = 0.0
    paused: bool = False


class Simulation:
    """Jobs on GPUs that `Packing` decides upon; `speed` is what it does not know."""

    def __init__(
        self,
        jobs: list[Job],
        utilisation: float,
        speed: Speed,
        monkeypatch: pytest.MonkeyPatch,
        n_gpus: int = 1,
        gib: float = 2.0,
        room: int = 8,
    ) -> None:
        self.waiting, self.utilisation, self.speed, self.gib = list(jobs), utilisation, speed, gib
        self.packing = Packing([FREE_GIB] * n_gpus, room)
        self.fits: list[list[Fit]] = [[] for _ in range(n_gpus)]
        self.now, self.most_at_once, self.n_paused, self.changed = 0.0, 0, 0, True
        monkeypatch.setattr(packing, "last_progress", self._progress)

    def run(self) -> float:
        while self.waiting or any(self.fits):
            self._start()
            self.now += TICK_SECONDS
            for number, fits in enumerate(self.fits):
                self._go_on(number, [fit for fit in fits if not fit.paused])
            for job in self.packing.look(self.now):
                self._fit(job).paused = True
                self.n_paused += 1
        return self.now

    def _start(self) -> None:
        for job in list(self.waiting) if self.changed else []:
            number = self.packing.gpu_for(job)
            if number is not None:
                self.waiting.remove(job)
                self.packing.started(job, number, False, self.now)
                self.fits[number].append(Fit(job, self.now))
                self.most_at_once = max(self.most_at_once, len(self.fits[number]))
        self.changed = False

    def _go_on(self, number: int, going: list[Fit]) -> None:
        for fit in going:
            if self.now - fit.started_at > LEAD_SECONDS:
                fit.done += TICK_SECONDS * self.speed(len(going))
                fit.fit_seconds += TICK_SECONDS
            if fit.done >= EPOCHS * EPOCH_SECONDS:
                self.fits[number].remove(fit)
                self.changed = True
                record = record_of(fit.job, self.utilisation, fit.fit_seconds, self.gib)
                for job in self.packing.ended(fit.job, record, self.now):
                    self._fit(job).paused = False

    def _fit(self, job: Job) -> Fit:
        return next(fit for fits in self.fits for fit in fits if fit.job is job)

    def _progress(self, path: Path) -> Progress | None:
        fit = next(fit for fits in self.fits for fit in fits if fit.job.progress == path)
        epoch = int(fit.done / EPOCH_SECONDS)
        seconds = LEAD_SECONDS + fit.fit_seconds  # the clock starts with the command
        return Progress(epoch, EPOCHS, 1.0, 1.0, 0.1, seconds) if epoch else None


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    return jobs_of(8, tmp_path)


def jobs_of(n_models: int, folder: Path) -> list[Job]:
    """Of three seeds, as a sweep orders them."""
    models = [f"model{n}" for n in range(n_models)]
    return first_runs_first(job_of(folder, model, seed) for model in models for seed in range(3))


def one_after_another(jobs: list[Job]) -> float:
    return len(jobs) * (LEAD_SECONDS + EPOCHS * EPOCH_SECONDS)


def test_runs_that_leave_a_gpu_idle_share_it(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 24 runs eight are alone, the others go up to five at a time."""
    simulation = Simulation(jobs, 0.2, lambda n: min(1.0, 5 / n), monkeypatch)
    seconds = simulation.run()
    assert simulation.most_at_once == 5
    assert seconds < 0.65 * one_after_another(jobs)
    assert simulation.n_paused == 0


def test_the_first_run_of_each_model_has_its_gpu_to_itself(jobs: list[Job]) -> None:
    packing = Packing([FREE_GIB], room=8)
    assert packing.gpu_for(jobs[0]) == 0
    packing.started(jobs[0], 0, False, 0.0)
    assert [packing.gpu_for(job) for job in jobs[1:]] == [None] * 23
    packing.ended(jobs[0], record_of(jobs[0], 0.2, 60.0), 63.0)
    assert [job.name for job in jobs if packing.shares(job)] == [
        f"finetune@model0-{seed}" for seed in range(3)
    ]


def test_a_record_of_a_run_that_is_to_be_made_anew_tells_nothing(tmp_path: Path) -> None:
    jobs = jobs_of(2, tmp_path)
    for job in jobs:
        path = tmp_path / job.outs[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plain(record_of(job, 0.2, 60.0))), encoding="utf-8")
    packing = Packing([FREE_GIB], room=8)
    packing.will_make([job for job in jobs if job.name != "finetune@model1-2"])
    shared = {job.outs[0].split("/")[1] for job in jobs if packing.shares(job)}
    assert shared == {"model1"}  # of which a seed is up to date


@pytest.mark.parametrize(("utilisation", "gib"), [(0.6, 2.0), (0.2, 40.0)])
def test_a_busy_gpu_or_one_without_memory_is_not_shared(
    utilisation: float, gib: float, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = Simulation(jobs, utilisation, lambda n: 1.0, monkeypatch, gib=gib)
    assert simulation.run() == pytest.approx(one_after_another(jobs), rel=0.02)
    assert simulation.most_at_once == 1


def test_memory_that_nvml_does_not_tell_is_not_shared(jobs: list[Job]) -> None:
    packing = Packing([None], room=8)
    packing.started(jobs[0], 0, False, 0.0)
    packing.ended(jobs[0], record_of(jobs[0], 0.1, 60.0), 63.0)
    assert not packing.shares(jobs[1])


def test_the_cores_of_a_gpu_bound_its_runs(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = Simulation(jobs, 0.1, lambda n: 1.0, monkeypatch, room=3)
    simulation.run()
    assert simulation.most_at_once == 3
    assert [len(each) for each in shares(list(range(16)), 3, 1)] == [5, 5, 5]


def test_gpus_share_alike(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation(jobs, 0.2, lambda n: min(1.0, 5 / n), monkeypatch, n_gpus=4)
    assert simulation.run() < 0.65 * one_after_another(jobs) / 4 + 2 * EPOCHS * EPOCH_SECONDS


@settings(max_examples=25, deadline=None)
@given(
    total=st.lists(st.floats(0.2, 2.0), min_size=7, max_size=7),
    utilisation=st.floats(0.02, 0.7),
    n_models=st.integers(4, 10),
)
def test_it_is_never_slower_than_one_after_another_by_more_than_a_twentieth(
    total: list[float], utilisation: float, n_models: int
) -> None:
    """Whatever two to eight runs on a GPU come to together, for twelve runs or more."""
    jobs = jobs_of(n_models, Path("nowhere"))

    def speed(n: int) -> float:
        return 1.0 if n == 1 else min(1.0, total[n - 2] / n)

    with pytest.MonkeyPatch.context() as monkeypatch:
        simulation = Simulation(jobs, utilisation, speed, monkeypatch)
        assert simulation.run() <= one_after_another(jobs) / LOSS


def test_a_pack_that_does_not_pay_is_taken_apart_and_no_other_begun(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = Simulation(jobs, 0.3, lambda n: 1.0 if n == 1 else 0.6 / n, monkeypatch)
    simulation.run()
    assert simulation.n_paused == 1
    assert simulation.packing.limit < 0.6


def test_what_comes_before_and_after_the_fit_does_not_slow_it(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model takes 20 s to build, and 60 s to test after the last epoch of 5 s."""
    run = Running(jobs[0], Alone(0.2, 2.0, 15.0, 0.0, (5.0, 10.0, 15.0)), True, 0.0, 20.0)
    for epoch, now, rate in ((1, 25.0, 1.0), (1, 30.0, 1.0), (1, 35.0, 0.5), (3, 95.0, 1.0)):
        clock = 20.0 + 5.0 * epoch
        told = Progress(epoch, 3, 1.0, 1.0, 0.1, clock)
        monkeypatch.setattr(packing, "last_progress", lambda path, told=told: told)
        run.most_rate(clock)
        assert run.most_rate(now) == rate


def test_who_ran_out_of_memory_beside_others_gets_a_gpu_to_itself(jobs: list[Job]) -> None:
    packing = Packing([FREE_GIB], room=8)
    packing.started(jobs[0], 0, False, 0.0)
    packing.ended(jobs[0], record_of(jobs[0], 0.2, 60.0), 63.0)
    one, other = [job for job in jobs[1:] if job.cell and job.cell.model == "model0"]
    for job in (one, other):
        packing.started(job, 0, False, 63.0)
    reason = f"{OUT_OF_MEMORY} at batch size 32"
    failed = replace(record_of(one, 0.2, 60.0), status="failed", reason=reason, metrics=Metrics())
    assert packing.starved(one, failed)
    assert not packing.starved(other, record_of(other, 0.2, 60.0))
    packing.ended(one, failed, 70.0)
    assert packing.at_once == 2  # its time tells nothing of packs
    assert packing.gpu_for(one) is None
    packing.ended(other, record_of(other, 0.2, 60.0), 130.0)
    packing.started(one, 0, False, 130.0)
    assert not packing.starved(one, failed)  # by itself it is a result


def test_memory_that_ran_out_is_known_by_the_records_words() -> None:
    words = (
        *attempts._out_of_memory.__code__.co_consts,
        *attempts._not_for_speed.__code__.co_consts,
    )
    assert sum(OUT_OF_MEMORY in word for word in words if isinstance(word, str)) == 2


def test_lone_records_of_an_h100_tell_what_a_fit_takes(shared: Path) -> None:
    """Four of sixteen were alone. Of the busy share only the steady part of the fit counts."""
    found: dict[str, Alone] = {}
    for path in sorted((shared / "gpu/records").glob("*.json")):
        record = read_record(path)
        if (alone := alone_of(record)) is not None:
            found[record.model.partition(".")[0]] = alone
    assert len(found) == 4
    busy = {model: round(alone.utilisation, 2) for model, alone in found.items()}
    assert busy == {
        "resnet18": 0.23,
        "vit_small_patch16_224": 0.24,
        "tf_efficientnet_lite0": 0.32,  # 14 % of a fit that is mostly start-up
        "convnext_tiny": 0.46,
    }
    assert {round(alone.memory_gib, 1) for alone in found.values()} == {1.7, 2.4, 2.6, 3.6}


ENGINE = """
import json, os, sys, time
from pathlib import Path
import psutil
from pipeline.study.params import Cell
from pipeline.sweep import engine as one_machine, packing
from pipeline.sweep.jobs import Job

one_machine.PRELOADED.clear()  # these runs need no torch

folder = Path(sys.argv[1])
packing.free_memory_gib = lambda gpu: 80.0
os.sched_getaffinity = lambda pid: {0, 1}
engine = packing.PackingEngine(["0"], 1, warm=len(sys.argv) > 2)
def job(seed):
    run = f"sleep 0.5; cp record.json runs/m/{seed}.json; echo $WB_SHARED_DEVICE > {seed}.shared"
    paths = (folder, folder / f"{seed}.log", folder / f"{seed}.receipt")
    cell = Cell("pets", "m", "quickstart", seed)
    return Job(f"finetune@{seed}", run, "", (), (f"runs/m/{seed}.json",), *paths, cell)

def run(jobs, meanwhile=lambda: None):
    waiting, ended = list(jobs), []
    while waiting or engine.running:
        while waiting and engine.admits(waiting[0]):
            engine.start(waiting.pop(0))
        meanwhile()
        ended += [(end.job.name, end.exit_code) for end in engine.wait(0.05)]
    return ended

def states():
    running = engine._jobs.values()
    return {job.name: psutil.Process(worker.process.pid).status() for job, worker in running}

print(run([job(0)]))
both = [job(1), job(2)]
seen = []
def stop_one():
    if len(engine.running) == 2 and not seen:
        engine.packing.look = lambda now: [] if seen else both[1:]
        engine.packing.gpus[0].running[1].paused = True
        engine.wait(0.0)
        until = time.monotonic() + 10
        while states()[both[1].name] != "stopped" and time.monotonic() < until:
            time.sleep(0.05)
        seen.append(states())
print(run(both, stop_one))
print(seen[0][both[1].name])
engine.packing.look = lambda now: []
last = [job(3), job(4)]
last[0].progress.write_text("of an earlier run")
begin, left = engine.start_in, []
engine.start_in = lambda *given: left.append(last[0].progress.exists()) or begin(*given)
for each in last:
    engine.start(each)
engine._signal(last[1], packing.signal.SIGSTOP)
began = time.monotonic()
engine.stop()
print(time.monotonic() - began < 8 and not left[0])
"""


def output_of(code: str, folder: Path, *more: str) -> list[str]:
    (folder / "runs/m").mkdir(parents=True)
    record = record_of(job_of(folder, "m", 0), 0.2, 60.0)
    (folder / "record.json").write_text(json.dumps(plain(record)), encoding="utf-8")
    words = [sys.executable, "-c", code, str(folder), *more]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


WARM = (
    ENGINE.partition("print(run([job(0)]))")[0]
    + """
def start_and_stop(one):
    engine.start(one)
    running = engine.packing.gpus[0].running[0]
    (_, worker), = engine._jobs.values()
    while not worker.more.poll(0.05):  # until it waits for another job
        pass
    running.paused = True
    engine._signal(one, packing.signal.SIGSTOP)
    while states()[one.name] != "stopped":
        time.sleep(0.05)

start_and_stop(job(0))
ended = [end.job.name for end in engine.wait(5)]
engine.start(job(1))
print(ended, [end.job.name for end in engine.wait(20)])
engine.stop()
"""
)


def test_a_process_stopped_as_its_run_ended_takes_another(tmp_path: Path) -> None:
    assert output_of(WARM, tmp_path, "warm") == ["['finetune@0'] ['finetune@1']"]


def test_real_runs_share_a_gpu_stop_and_go_on(tmp_path: Path) -> None:
    alone, shared, state, ended = output_of(ENGINE, tmp_path)
    assert alone == "[('finetune@0', 0)]"
    assert shared == "[('finetune@1', 0), ('finetune@2', 0)]"  # the second was stopped meanwhile
    assert state == "stopped"
    assert ended == "True"
    told = {seed: (tmp_path / f"{seed}.shared").read_text().strip() for seed in range(3)}
    assert told == {0: "", 1: "1", 2: "1"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gpus_per_run": "many"}, "--gpus-per-run many: write auto, or a part"),
        ({"gpus_per_run": "auto", "exclusive": True}, "leave one out"),
        ({"gpus_per_run": "auto", "address": "local"}, "is for one machine"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, str | bool], said: str
) -> None:
    with pytest.raises(PipelineError, match=said):
        Options(**options).check()  # type: ignore[arg-type]


def test_auto_without_a_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(PipelineError, match="--gpus-per-run auto: no GPU is visible here"):
        Options(gpus_per_run="auto").runs_at_a_time(1)
