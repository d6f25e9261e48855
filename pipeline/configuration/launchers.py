"""What `hydra/launcher=...` needs before Hydra runs an ad-hoc `--multirun` on other processes."""

import importlib.util
import os
import shutil
from collections.abc import Sequence

from pipeline.configuration.ray_alone import keep_usage_private, listen_to_this_machine_only
from pipeline.core.errors import PipelineError

PLUGINS = {
    "joblib": "joblib",
    "ray": "ray",
    "submitit_local": "submitit",
    "submitit_slurm": "submitit",
}
RAY = "hydra.launcher.ray.init"


def prepare(overrides: Sequence[str]) -> list[str]:
    """Check that the chosen launcher can work here; returns overrides that it wants besides.

    Without an address, launcher `ray` starts Ray for this machine alone.
    """
    given = dict(each.lstrip("+").partition("=")[::2] for each in overrides)
    launcher = given.get("hydra/launcher", "basic")
    plugin = PLUGINS.get(launcher)
    if plugin is None:
        return []
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # what a run raises comes to us, not to Hydra
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
