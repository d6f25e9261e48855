"""Ray itself: join a cluster that runs, or start one that is this machine alone; its nodes, and an
actor on each.

Alone, it listens on the loopback interface only, without dashboard, behind a token that only this
process and its children know.
"""

import atexit
import os
import socket
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.configuration.hydra_app import keep_usage_private, listen_to_this_machine_only
from pipeline.core.errors import PipelineError, TryAgain, first_line
from pipeline.sweep.jobs import Job

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

    `calls` are those under way, `hearing` is the one among them that waits for news.
    """

    node: Node
    actor: Any
    hearing: Any = None
    calls: set[Any] = field(default_factory=set)
    places: int = 0
    jobs: dict[str, Job] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return self.places - len(self.jobs)

    def hear(self) -> None:
        self.hearing = self.actor.hear.options(concurrency_group="hear").remote()
        self.calls.add(self.hearing)

    def start(self, job: Job, *luggage: Any) -> None:
        self.jobs[job.name] = job
        start = self.actor.start.options(concurrency_group="start")
        self.calls.add(start.remote(for_host(job), *luggage))


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
        raise PipelineError(
            "--address needs the package ray: pip install 'which-backbone[ray]'"
        ) from None
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
    """The nodes that Ray hears of and that offer cores."""
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
    remote = ray.remote(concurrency_groups={"start": 1, "hear": 1})(actor_class)
    actor = remote.options(
        num_cpus=node.cores, num_gpus=node.gpus, scheduling_strategy=there
    ).remote(*arguments)
    host = RemoteHost(node, actor)
    host.hear()
    return host
