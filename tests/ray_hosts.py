"""Hosts for tests of the cluster: Ray nodes on this machine that share nothing but Ray.

Isolated hosts have a network namespace each, with a link that can be cut, and no common files. The
others are Ray nodes on loopback addresses, which every machine allows; cutting one off kills it.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

RAY = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus", "1"]
RAY += ["--dashboard-agent-listen-port", "0", "--min-worker-port", "0", "--max-worker-port", "0"]
START_SECONDS = 90.0
QUICK = {  # a lost node is noticed after some seconds, not forty
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
SECRET = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@dataclass
class Host:
    """One host: its address, a folder of its own, and its network namespace if it has one."""

    folder: Path
    address: str
    namespace: str | None
    node: "subprocess.Popen[bytes] | None" = None

    @property
    def prefix(self) -> list[str]:
        """What to write before a command that runs on this host."""
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []

    def start_ray(self, *words: str, hide: Path | None = None, **variables: str) -> None:
        """A Ray node of one core; of the folder `hide` it sees nothing but what is its own."""
        command = [*RAY, *words, "--node-ip-address", self.address]
        command += ["--temp-dir", f"{self.folder}/ray"]
        if hide is not None and self.namespace:  # `ip netns exec` gives a mount namespace too
            script = f'mount -t tmpfs none {hide} && mkdir {self.folder} && exec "$@"'
            command = ["sh", "-c", script, "sh", *command]
        self.folder.mkdir(exist_ok=True)
        own = {"WB_HOST_FOLDER": f"{self.folder}/kept", "TMPDIR": str(self.folder)}
        own |= QUICK | SECRET | {"RAY_USAGE_STATS_ENABLED": "0"} | variables
        self.node = subprocess.Popen(
            [*self.prefix, *command],
            cwd="/",
            env=os.environ | own,
            stdin=subprocess.DEVNULL,
            stdout=self.folder.with_suffix(".log").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_for_ray(self) -> None:
        log, end = self.folder.with_suffix(".log"), time.monotonic() + START_SECONDS
        while "will now block" not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """End every process of its Ray node at once, as when the power fails."""
        if self.node is None:
            return
        tree = [*psutil.Process(self.node.pid).children(recursive=True), self.node]
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.node.wait()
        self.node = None

    def kill_part(self, name: str) -> None:
        """Kill the one process of its Ray node with this name."""
        assert self.node is not None
        family = psutil.Process(self.node.pid).children(recursive=True)
        (part,) = (process for process in family if process.name() == name)
        part.kill()

    def cut(self) -> None:
        """Nothing reaches the host any more, and nothing comes from it."""
        if self.namespace is None:
            self.kill()
        else:
            ip("-n", self.namespace, "link", "set", "cable", "down")


@contextmanager
def two_hosts(apart: bool) -> Iterator[tuple[Host, Host]]:
    """Two hosts, nothing started; their folders are neighbours in one that goes."""
    base = Path(tempfile.mkdtemp(prefix="wb-", dir="/tmp"))  # sockets need a short path
    names = [f"wb{os.getpid()}{letter}" for letter in "ab"]
    addresses = ["10.213.7.1", "10.213.7.2"] if apart else ["127.0.0.2", "127.0.0.3"]
    hosts = [
        Host(base / letter, address, name if apart else None)
        for letter, address, name in zip("ab", addresses, names, strict=True)
    ]
    try:
        if apart:
            _connect(names, addresses)
        yield hosts[0], hosts[1]
    finally:
        for host in hosts:
            host.kill()
        for name in names if apart else []:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        shutil.rmtree(base, ignore_errors=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def namespaces_allowed() -> bool:
    """May this process make network namespaces, and mount in them?"""
    if shutil.which("ip") is None:
        return False
    name = f"wb{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("netns", "exec", name, "mount", "-t", "tmpfs", "none", "/mnt")
    except subprocess.CalledProcessError:
        return False
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return True


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, check=True)


def _connect(names: list[str], addresses: list[str]) -> None:
    """Make the namespaces, with a cable between them."""
    for name in names:
        ip("netns", "add", name)
    ends = ["cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1]]
    ip("link", "add", *ends)
    for name, address in zip(names, addresses, strict=True):
        ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
        ip("-n", name, "link", "set", "cable", "up")
        ip("-n", name, "link", "set", "lo", "up")
