"""`python -m pipeline.change KEY=VALUE ...`: change what the study runs, comments kept.

Reads and writes params.yaml. A key must be there already, a value is YAML, and the changed study
must be a valid one whose datasets, recipes and weights are in conf/, and whose new models timm has
weights for, or nothing is written.
`dvc exp run -S` changes keys too, but then runs one model after the other; after this, `python -m
pipeline.sweep` runs what is new.
"""

import csv
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from difflib import SequenceMatcher
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from pipeline.core.command import run
from pipeline.core.errors import PipelineError, near_matches
from pipeline.core.files import read_yaml, write_text
from pipeline.study.params import Cell, refuse_unknown_names, study_of

PUBLISHED = ("data/imagenet.csv", "data/sample/results/results-imagenet.csv")  # column model


def main(*changes: str, params: Path = Path("params.yaml")) -> None:
    """Change what the study runs, and keep the comments of its file.

    Args:
        changes: KEY=VALUE, such as 'grid.seeds=[0, 1, 2]' or weights=hub
        params: the study file
    """
    if not changes:
        raise PipelineError("no change given: write KEY=VALUE, such as 'grid.seeds=[0, 1, 2]'")

    def edit(content: Any) -> None:
        for change in changes:
            key, equals, value = change.partition("=")
            if not equals:
                raise PipelineError(f"{change!r}: write KEY=VALUE, such as 'grid.seeds=[0, 1, 2]'")
            _set(params, content, key, value, _parsed(change, value))

    edit_study(params, edit)
    print(f"{params}: {', '.join(changes)}")


def edit_study(
    params: Path,
    edit: Callable[[Any], None],
    laid_out: Callable[[str, Any], str] = lambda text, content: text,
) -> None:
    """Have `edit` change the content of a study file; what is written must be a valid study.

    `laid_out` gets the text to write, and the content, and returns the text in its own layout.
    """
    from pipeline.sweep.dvc_private import parse_yaml_for_update

    if not isinstance(read_yaml(params), dict):
        raise PipelineError(f"{params}: holds no study: copy one from studies/")
    old = params.read_text(encoding="utf-8")
    content = parse_yaml_for_update(old, str(params))
    before = list(_models(content))
    dumped = _dumped(content)
    edit(content)
    text = laid_out(_untouched_as_they_were(old, dumped, _dumped(content)), content)
    refuse_unknown_names(study_of(params, yaml.safe_load(text)))
    refuse_unknown_models(params.parent, [m for m in _models(content) if m not in before])
    write_text(params, text)


def edit_race(path: Path, change: Callable[[Any], None]) -> None:
    """Change params.yaml's content, comments kept, with each cell of the race in one line."""

    def edit(content: Any) -> None:
        if "race" not in content:
            raise PipelineError(f"{path}: no section race: copy it from studies/quickstart.yaml")
        change(content)

    edit_study(path, edit, _with_cells_in_a_line)


def take_over(params: Path, dataset: str, fits: Iterable[Cell]) -> None:
    """Let the race have the dataset: out of the grid, with these finished runs of it."""

    def change(content: Any) -> None:
        if dataset in content["grid"]["datasets"]:
            content["grid"]["datasets"].remove(dataset)
        content["race"]["datasets"].append(dataset)
        for cell in fits:
            content["race"]["fits"][cell.name] = asdict(cell)

    edit_race(params, change)


def take_out(params: Path, stages: Sequence[str]) -> None:
    """Take the cells of these stages out of the race."""

    def change(content: Any) -> None:
        for stage, _, name in (each.partition("@") for each in stages):
            del content["race"]["probes" if stage == "baseline_raced" else "fits"][name]

    if stages:
        edit_race(params, change)


def _with_cells_in_a_line(text: str, content: Any) -> str:
    """The section `race` with each cell in one line of a diff, however long."""
    race = content["race"]
    lines = [f"  datasets: {_in_a_line(race['datasets'])}"]
    for kind in ("fits", "probes"):
        lines.append(f"  {kind}:" + ("" if race[kind] else " {}"))
        for name, values in race[kind].items():
            lines.append(f"    {_in_a_line([name])[1:-1]}: {_in_a_line(values)}")
    head, begin, rest = re.split(r"^(race:.*\n)", text, maxsplit=1, flags=re.MULTILINE)
    end = re.search(r"^(?=\S)", rest, re.MULTILINE)
    return head + begin + "\n".join(lines) + "\n" + (rest[end.start() :] if end else "")


def _in_a_line(value: Any) -> str:
    """YAML in one line, with quotes where a text would be read as something else."""
    of_python = json.loads(json.dumps(value))  # not of the parser that keeps comments
    text: str = yaml.safe_dump(
        of_python, default_flow_style=True, width=math.inf, sort_keys=False, allow_unicode=True
    )
    return text.strip()


def _dumped(content: Any) -> str:
    """The content as YAML, lists as in studies/, no line wrapped."""
    from ruamel.yaml import YAML

    _keep_anchors(content)
    writer = YAML()
    writer.width = sys.maxsize
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.dump(content, stream := StringIO())
    return stream.getvalue()


def _untouched_as_they_were(old: str, dumped: str, changed: str) -> str:
    """`changed` with the lines of `old` wherever it says the same as `dumped`, which `old` gives.

    In another layout of the same content a diff would show what nobody has changed.
    """
    lines = [text.splitlines(keepends=True) for text in (old, dumped, changed)]
    if len(lines[0]) != len(lines[1]):
        return changed
    kept: list[str] = []
    for what, start, end, new_start, new_end in SequenceMatcher(
        None, lines[1], lines[2], autojunk=False
    ).get_opcodes():
        kept += lines[0][start:end] if what == "equal" else lines[2][new_start:new_end]
    text = "".join(kept)
    try:
        same = yaml.safe_load(text) == yaml.safe_load(changed)
    except yaml.YAMLError:  # a list of two indentations
        same = False
    return text if same else changed


def refuse_unknown_models(project: Path, models: Iterable[str]) -> None:
    """Raise for a model that a fit would refuse. Those of a published table need no look at timm,
    whose import takes seconds.
    """
    unknown = list(models)
    for path in (project / each for each in PUBLISHED):
        if unknown and path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                known = {row.get("model") for row in csv.DictReader(file)}
            unknown = [model for model in unknown if model not in known]
    if unknown:
        from pipeline.names.resolve import resolve

        with Console(stderr=True).status("reading timm's registry"):
            for model in unknown:
                resolve(model)


def _models(content: Any) -> Iterator[str]:
    """The models of the grid, as the file has them."""
    grid = content.get("grid") if isinstance(content, dict) else None
    models = grid.get("models") if isinstance(grid, dict) else None
    yield from map(str, models if isinstance(models, list) else ())


def _parsed(change: str, value: str) -> Any:
    """`value` as YAML that is written back as it was given."""
    from pipeline.sweep.dvc_private import YAMLFileCorruptedError, parse_yaml_for_update

    if value.strip() == "-":  # the word that some keys have for none; to YAML it begins a list
        value = "'-'"
    try:
        return parse_yaml_for_update(f"value: {value}", change)["value"]
    except (YAMLFileCorruptedError, TypeError, KeyError):
        raise PipelineError(f"{change!r}: {value!r} is not YAML") from None


def _set(params: Path, content: Any, key: str, given: str, value: Any) -> None:
    """Put `value`, which is what `given` says in YAML, in the place of a key."""
    if key not in (known := list(_keys(content))):
        if own := [each for each in known if each.startswith(f"{key}.")]:
            raise PipelineError(
                f"{params}: {key} is a section: change its keys one by one: {', '.join(own)}"
            )
        called_so = [each for each in known if re.search(rf"(^|[._]){re.escape(key)}[^.]*$", each)]
        raise PipelineError(f"{params}: no key {key}: {near_matches(key, called_so or known)}")
    *folders, last = key.split(".")
    parent = content
    for folder in folders:
        parent = parent[folder]
    if isinstance(parent[last], list) and not isinstance(value, list):
        numbers = bool(parent[last]) and all(isinstance(each, int) for each in parent[last])
        example = "0, 1, 2" if numbers else "A, B"
        fits = given.strip() if not numbers or re.fullmatch(r"[\d, -]*", given) else ""
        kind = "list of whole numbers" if numbers else "list"
        raise PipelineError(f"{key} is a {kind}: write '{key}=[{fits or example}]'")
    if isinstance(parent[last], dict) and not isinstance(value, dict):
        raise PipelineError(f"{key} holds names with values: change one of them, or '{key}={{}}'")
    _replace(content, parent, last, value)


def _replace(content: Any, parent: Any, key: str, value: Any) -> None:
    """Put `value` in place of `parent[key]`, under its anchor and wherever an alias repeats it."""
    old = parent[key]
    parent[key] = value
    if not isinstance(old, list | dict) or not isinstance(value, list | dict):
        return
    if anchor := old.yaml_anchor():  # type: ignore[union-attr]
        value.yaml_set_anchor(anchor.value, always_dump=True)  # type: ignore[union-attr]
    for mapping in _mappings(content):
        for name in [name for name, each in mapping.items() if each is old]:
            mapping[name] = value


def _keep_anchors(content: Any) -> None:
    """Have every anchor written, also one that no alias repeats yet."""
    for mapping in _mappings(content):
        for value in mapping.values():
            of_file = hasattr(value, "yaml_anchor")  # values that an edit put in have none
            if of_file and (anchor := value.yaml_anchor()):
                anchor.always_dump = True


def _mappings(content: Any) -> Iterator[Any]:
    yield content
    for value in content.values():
        if isinstance(value, dict):
            yield from _mappings(value)


def _keys(content: Any, before: str = "") -> Iterator[str]:
    """Every key that holds a value, dotted; of a race's cells the section that holds them."""
    for key, value in content.items():
        if isinstance(value, dict) and before != "race.":
            yield from _keys(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"


if __name__ == "__main__":
    run(main)
