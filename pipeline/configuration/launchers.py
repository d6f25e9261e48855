"""Checks and settings for `hydra/launcher=...` before a `--multirun` starts other processes."""

import importlib.util
import os
import secrets
import shutil
from collections.abc import Sequence

from pipeline.core.errors import PipelineError

PLUGINS = {
    "joblib": "joblib",
    "ray": "ray",
    "submitit_local": "submitit",
    "submitit_slurm": "submitit",
}
RAY = "hydra.launcher.ray.init"


def keep_usage_private() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def listen_to_this_machine_only() -> None:
    """Keep a Ray cluster of this process on 127.0.0.1, with a token of its own."""
    os.environ.update(
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # Ray's switch for 127.0.0.1 as a node's address
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
    )


def prepare(overrides: Sequence[str]) -> list[str]:
    """Check that the chosen launcher works here, and return the overrides it needs in addition.

    Without an address, launcher `ray` starts Ray for this machine alone.
    """
    given = dict(each.lstrip("+").partition("=")[::2] for each in overrides)
    launcher = given.get("hydra/launcher", "basic")
    plugin = PLUGINS.get(launcher)
    if plugin is None:
        return []
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions of a run reach us, not Hydra
    if importlib.util.find_spec(f"hydra_plugins.hydra_{plugin}_launcher") is None:
        raise PipelineError(
            f"hydra/launcher={launcher} needs the package hydra-{plugin}-launcher: "
            "pip install 'which-backbone[launchers]'"
        )
    if launcher == "submitit_slurm" and shutil.which("srun") is None:
        raise PipelineError(f"hydra/launcher={launcher}: no `srun` here: run it where Slurm is")
    if launcher != "ray":
        return []
    keep_usage_private()
    if f"{RAY}.address" in given or "RAY_ADDRESS" in os.environ:
        return []
    listen_to_this_machine_only()
    return [f"{RAY}.address=local", f"+{RAY}.include_dashboard=false"]
