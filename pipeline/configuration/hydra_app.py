"""A Hydra app that reports mistakes in one line with near matches.

Overrides are checked here, including every value of a sweep: an unknown dataset is an error before
the first run of a multirun starts, not in the middle of it. A single run is given the configuration
that the check composed, because Hydra would compose it twice more. Everything else is left to
Hydra: `--multirun`, `--cfg job`, launchers (`prepare` checks that the chosen one works on this
machine), sweepers, and Hydra's own keys.
"""

import importlib.util
import inspect
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.core.command import one_line_errors
from pipeline.core.errors import PipelineError, first_line, near_matches
from pipeline.core.files import read_yaml

PLUGINS = {
    "joblib": "joblib",
    "ray": "ray",
    "submitit_local": "submitit",
    "submitit_slurm": "submitit",
}
RAY = "hydra.launcher.ray.init"
_RESOLVER = re.compile(r"(?<!\\)(?:\\\\)*(\$\{[^}]*:)")  # OmegaConf reads `\${` as text
CONF = Path(__file__).parent.parent.parent / "conf"
HYDRAS_OPTIONS = {"--hydra-help", "--version", "--info", "-i", "--cfg", "-c"}


def run(main: Callable[[DictConfig], None], config_name: str) -> None:
    """Run `main` with the configuration `conf/<config_name>.yaml` and the command's overrides."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(help_text(main, config_name))
        return
    if not any(each.partition("=")[0] in HYDRAS_OPTIONS for each in sys.argv[1:]):
        with one_line_errors():
            overrides = [each for each in sys.argv[1:] if not each.startswith("-")]
            sweeps = bool({"-m", "--multirun"} & set(sys.argv))
            added = prepare(
                overrides
            )  # first: Hydra does not name the package of an unknown launcher
            config = compose(config_name, overrides, sweeps)
            if overrides == sys.argv[1:] and not any("hydra" in each for each in overrides):
                main(config)
                return
            sys.argv += added
    here = os.getpid()

    def task(config: DictConfig) -> None:
        if os.getpid() != here:  # a launcher's process; Hydra passes its error to this one
            main(config)
            return
        with one_line_errors():
            main(config)

    task.__module__ = "__main__"
    with one_line_errors():
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(task)()


def help_text(main: Callable[[DictConfig], None], config_name: str) -> str:
    """The text of `--help`. Hydra's own fails as long as a mandatory choice is missing."""
    lines = (CONF / f"{config_name}.yaml").read_text(encoding="utf-8").splitlines()
    first = next(n for n, line in enumerate(lines) if re.match(r"(?!defaults)\w+:", line))
    groups = [
        f"  {group}={'|'.join(_choices(group))}"
        for group in _defaults(config_name)
        if _choices(group)
    ]
    return "\n".join(
        [
            f"python -m pipeline.{config_name} KEY=VALUE ...: {inspect.getdoc(main)}",
            "",
            "Choices (conf/GROUP/CHOICE.yaml):",
            *groups,
            "",
            f"Keys of conf/{config_name}.yaml (??? must be given):",
            *(f"  {line}".rstrip() for line in lines[first:]),
            "",
            "Keys of a choice: GROUP.KEY=VALUE. Several values: --multirun KEY=A,B.",
            "The whole configuration: --cfg job. Hydra's options: --hydra-help.",
        ]
    )


def compose(config_name: str, overrides: list[str], sweeps: bool = False) -> DictConfig:
    """Compose the configuration, with the first value of each sweep.

    Raises `PipelineError` for a wrong key, an unknown choice or a missing value.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        raise PipelineError(first_line(error)) from None
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    for override in parsed:
        if override.is_sweep_override() and not sweeps:
            raise PipelineError(f"{override.input_line}: to run each of these, add --multirun")
        if override.key_or_group in groups:
            _check_choice(override)
    given = {override.key_or_group for override in parsed}
    for group, chosen in _defaults(config_name).items():
        if chosen == "???" and group not in given:
            raise PipelineError(f"{group}=... is missing: {near_matches('', _choices(group))}")
    return _compose_one(config_name, [_one_value(override) for override in parsed], parsed)


def _compose_one(config_name: str, overrides: list[str], parsed: list[Override]) -> DictConfig:
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose(config_name, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        known = _known_keys(config_name, overrides, parsed)
        for override in parsed:
            key = override.key_or_group
            if known and key not in known and override.is_add() is False:
                raise PipelineError(f"unknown key {key!r}: {near_matches(key, known)}") from None
        raise PipelineError(first_line(error)) from None
    if missing := sorted(key for key, node in _nodes(config) if node._is_missing()):
        raise PipelineError(f"{', '.join(f'{key}=...' for key in missing)} must be given")
    return config


def _known_keys(config_name: str, overrides: list[str], parsed: list[Override]) -> set[str]:
    """Every key of the configuration that is composed from the overrides of groups alone."""
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    kept = [
        text
        for text, override in zip(overrides, parsed, strict=True)
        if override.key_or_group in groups
    ]
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose(config_name, kept)
    except (HydraException, OmegaConfBaseException):
        return set()
    return {*(key for key, _ in _nodes(config)), *groups}


def _nodes(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """Every dotted key with its node; interpolations are not resolved."""
    for key in config:
        node = config._get_node(key)
        assert isinstance(node, Node)
        yield f"{prefix}{key!s}", node
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            yield from _nodes(node, f"{prefix}{key!s}.")


def _check_choice(override: Override) -> None:
    group = str(override.key_or_group)
    sweep = override.is_sweep_override()
    for value in override.sweep_string_iterator() if sweep else [override.value()]:
        if str(value) not in _choices(group):
            raise PipelineError(
                f"unknown {group} {str(value)!r}: {near_matches(str(value), _choices(group))} "
                f"(conf/{group}/*.yaml)"
            )
        check_conf_file(CONF / group / f"{value}.yaml")


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def _defaults(config_name: str) -> dict[str, str]:
    config = OmegaConf.load(CONF / f"{config_name}.yaml")
    assert isinstance(config, DictConfig)
    return {
        str(group): str(OmegaConf.to_container(entry)[group])  # type: ignore[index]
        for entry in config.get("defaults", [])
        if isinstance(entry, DictConfig)
        for group in entry
    }


def _one_value(override: Override) -> str:
    """The override, reduced to the first value if it is a sweep."""
    if not override.is_sweep_override():
        return str(override.input_line)
    first = next(iter(override.sweep_string_iterator()))
    return f"{str(override.input_line).partition('=')[0]}={first}"


def check_conf_file(path: Path) -> None:
    """Raise `PipelineError` unless `path` is a YAML mapping of plain data."""
    value, text = read_yaml(path), path.read_text(encoding="utf-8")
    if not isinstance(value, dict):
        raise PipelineError(
            f"{path}: contains a {type(value).__name__}, expected `key: value` lines"
        )
    if re.search(r"^\s*#\s*@package", text, flags=re.MULTILINE) or "defaults" in value:
        raise PipelineError(
            f"{path}: `@package` and `defaults` affect more than this file: remove them"
        )
    for each in _texts(value):
        if found := _RESOLVER.search(each):
            raise PipelineError(f"{path}: {found[1]}...}} calls a resolver: write the value itself")


def _texts(value: Any) -> Iterator[str]:
    """Every string in a YAML file's value, keys included."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def keep_usage_private() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def listen_to_this_machine_only() -> None:
    """Configure a Ray cluster that this process starts: only it and its children have the token."""
    os.environ.update(
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # makes Ray use 127.0.0.1 as a node's address
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
    )


def prepare(overrides: Sequence[str]) -> list[str]:
    """Check that the chosen launcher works on this machine; return the extra overrides it needs.

    Without an address, the launcher `ray` starts a Ray cluster on this machine alone.
    """
    given = dict(each.lstrip("+").partition("=")[::2] for each in overrides)
    launcher = given.get("hydra/launcher", "basic")
    plugin = PLUGINS.get(launcher)
    if plugin is None:
        return []
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra re-raises a run's errors
    if not _is_installed(plugin):
        raise PipelineError(
            f"hydra/launcher={launcher} needs the package hydra-{plugin}-launcher: "
            "run `make setup`, which installs it"
        )
    if launcher == "submitit_slurm" and shutil.which("srun") is None:
        raise PipelineError(
            f"hydra/launcher={launcher}: `srun` not found: run this on a machine with Slurm"
        )
    if launcher != "ray":
        return []
    keep_usage_private()
    if f"{RAY}.address" in given or "RAY_ADDRESS" in os.environ:
        return []
    listen_to_this_machine_only()
    return [f"{RAY}.address=local", f"+{RAY}.include_dashboard=false"]


def _is_installed(plugin: str) -> bool:
    try:
        return importlib.util.find_spec(f"hydra_plugins.hydra_{plugin}_launcher") is not None
    except ModuleNotFoundError:  # there is no plugin of Hydra at all
        return False
