"""The study that params.yaml names: its cells, and where the record of each cell is.

Its values become parts of shell commands and file names: every text in it must be a plain word. The
surprising fact: `dvc exp run -S` loses, without a word, an override of a mapping that an alias
repeats, and turns an alias of a list into a copy of the old list. So a mapping must not be aliased,
and models to time must be models of the grid.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.core.errors import PipelineError, near_matches
from pipeline.core.files import read_yaml

if TYPE_CHECKING:
    from pipeline.records import Record

_WORD = re.compile(r"-|[\w./~][\w.:/@%+,=~-]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
MAX_CHARACTERS = 200
RATE_KEYS = {"name", "rate_of", "lr", "lr_mult"}  # in which rates of one recipe may differ
MODE_NAMES = {"infer": "inference", "train": "training"}  # of benchmarks and charts
MODES = tuple(MODE_NAMES)
RUNS = Path("data/runs")  # where dvc.yaml has the records
THRESHOLDS = ("half", "f2")  # of an exported model
_KINDS: dict[Any, str] = {
    int: "a whole number",
    str: "text",
    list: "a list",
    dict: "names with values",
    (int, float): "a number",
}


@dataclass(frozen=True)
class Cell:
    """One fine-tune of the grid."""

    dataset: str
    model: str
    recipe: str
    seed: int

    @classmethod
    def of(cls, record: "Record") -> "Cell":
        """The cell that this record is of."""
        return cls(record.dataset, record.model, record.recipe, record.seed)

    @property
    def name(self) -> str:
        """As DVC calls the cell in the names of its stages: `digits-resnet18.a1_in1k-short-0`."""
        return raced_name(asdict(self))

    def path(self, runs: Path) -> Path:
        """The path of its record in the folder of runs."""
        return runs / self.dataset / self.model / self.recipe / f"{self.seed}.json"


@dataclass(frozen=True)
class Study:
    """What runs, and what its tables and charts need to know.

    `weights` names where they come from; `charts` maps infer and train to the published benchmark
    file shown with ImageNet accuracy; `overhead_seconds` is the constant of
    score = error_rate * (steady_fit_seconds + overhead).

    `datasets` are the grid's and, after them, those that `pipeline.race` has taken over, whose
    cells are `raced`; `models` are the grid's and then those that only a race has run.
    """

    path: Path
    timm_source: str
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    image_size: int
    weights: str
    charts: dict[str, str]
    overhead_seconds: float
    grid_models: tuple[str, ...] = ()  # () where all models are the grid's
    raced_datasets: tuple[str, ...] = ()
    raced: tuple[Cell, ...] = ()
    probed: tuple[tuple[str, str], ...] = ()  # dataset and model of the raced probes

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of dvc.yaml that make baselines and fits of this study."""
        of_grid = set(self.datasets) > set(self.raced_datasets) and bool(self.grid_models)
        found = ["baseline", "finetune"] if of_grid else []
        found += ["baseline_raced"] * bool(self.probed) + ["finetune_raced"] * bool(self.raced)
        return tuple(found)

    def cells(self) -> Iterator[Cell]:
        """Every cell: the grid's in params.yaml's order, then what races have decided."""
        datasets = [each for each in self.datasets if each not in self.raced_datasets]
        models = self.grid_models or self.models
        for values in itertools.product(datasets, models, self.recipes, self.seeds):
            yield Cell(*values)
        yield from self.raced


def read_study(path: Path) -> Study:
    """Read and check params.yaml; raises `PipelineError` for missing keys and wrong types, and for
    recipes beside it, in conf/recipe, that are no rates of the recipe they name.
    """
    study = study_of(path, read_yaml(path))
    refuse_aliased_mappings(path)
    folder = path.parent / "conf" / "recipe"
    files = [folder / f"{name}.yaml" for name in study.recipes]
    found = {file.stem: _mapping(read_yaml(file)) for file in files if file.is_file()}
    for name, settings in list(found.items()):
        if isinstance(recipe := settings.get("rate_of"), str):
            file = folder / f"{recipe}.yaml"
            if not file.is_file():
                raise PipelineError(f"recipe {name}: rate_of: {recipe}: there is no {file}")
            found.setdefault(recipe, _mapping(read_yaml(file)))
    refuse_unlike_rates(found)
    return study


def study_of(path: Path, params: Any) -> Study:
    """The study of params.yaml's content, checked; `path` is named in errors."""
    refuse_odd_values(path, params)
    refuse_other_models_to_time(path, params)
    raced_datasets, raced, probed = _raced(path, params)
    grid = {
        key: _grid_list(path, params, key, int if key == "seeds" else str, bool(raced_datasets))
        for key in ("datasets", "models", "recipes", "seeds")
    }
    _refuse_one_name_for_two(path, grid)
    if both := sorted(set(grid["datasets"]) & set(raced_datasets)):
        raise PipelineError(
            f"{path}: {both[0]} is in grid.datasets and in race.datasets: delete it from race, "
            "with its cells in race.fits and race.probes: DVC's cache has their runs for the grid"
        )
    grid_models = grid["models"]
    grid["datasets"] += raced_datasets
    grid["models"] = tuple(dict.fromkeys([*grid_models, *(cell.model for cell in raced)]))
    study = Study(
        path=path,
        timm_source=_value(path, params, "timm.source", str),
        **grid,
        image_size=_value(path, params, "image_size", int),
        weights=_value(path, params, "weights", str),
        charts={mode: _value(path, params, f"charts.{mode}", str) for mode in MODES},
        overhead_seconds=float(_value(path, params, "score.overhead_seconds", (int, float))),
        grid_models=grid_models,
        raced_datasets=raced_datasets,
        raced=raced,
        probed=probed,
    )
    refuse_impossible_values(path, params)  # last: what is of a wrong kind is told as that
    return study


def _raced(
    path: Path, params: Any
) -> tuple[tuple[str, ...], tuple[Cell, ...], tuple[tuple[str, str], ...]]:
    """The datasets, fits and probes of races; a study without the section has none."""
    if not isinstance(params, dict) or params.get("race") is None:
        return (), (), ()
    datasets = _items(path, params, "race.datasets", str)
    for kind in ("fits", "probes"):
        for name, values in _value(path, params, f"race.{kind}", dict).items():
            _check_raced(path, f"race.{kind}.{name}", values, datasets)
    cells = tuple(Cell(**each) for each in params["race"]["fits"].values())
    probes = tuple((each["dataset"], each["model"]) for each in params["race"]["probes"].values())
    return datasets, cells, probes


def _check_raced(path: Path, key: str, values: Any, datasets: tuple[str, ...]) -> None:
    """Raise for a raced cell whose values do not make its name, or whose dataset is not raced."""
    kinds: dict[str, type] = {"dataset": str, "model": str}
    if key.startswith("race.fits."):
        kinds |= {"recipe": str, "seed": int}
    types = {name: type(each) for name, each in _mapping(values).items()}
    if types != kinds or raced_name(values) != key.split(".", 2)[2]:
        raise PipelineError(f"{path}: {key}: not as `python -m pipeline.race` writes it: delete it")
    if values["dataset"] not in datasets:
        raise PipelineError(f"{path}: {key}: its dataset is not in race.datasets: delete it")


def raced_name(values: Mapping[str, Any]) -> str:
    """`Cell.name` of a fit's values, or dataset and model of a probe's."""
    keys = ("dataset", "model", "recipe", "seed")
    return "-".join(str(values[key]) for key in keys if key in values)


def threads_of(params: Any) -> int:
    """Threads of each fine-tune in params.yaml's content; 1 where it says `auto` or nothing."""
    threads = params.get("threads") if isinstance(params, dict) else None
    return threads if isinstance(threads, int) and not isinstance(threads, bool) else 1


def _grid_list(
    path: Path, params: Any, key: str, kind: type, may_be_empty: bool
) -> tuple[Any, ...]:
    values = _items(path, params, f"grid.{key}", kind)
    if not values and not (may_be_empty and key in ("datasets", "models")):
        raise PipelineError(f"{path}: grid.{key} is empty: name at least one")
    if twice := sorted({str(value) for value in values if values.count(value) > 1}):
        raise PipelineError(f"{path}: grid.{key} names {', '.join(twice)} twice")
    return values


def _items(path: Path, params: Any, key: str, kind: type) -> tuple[Any, ...]:
    """A list's items, each of the kind: YAML reads an unquoted 2022 as a number."""
    values = tuple(_value(path, params, key, list))
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise PipelineError(f"{path}: {key} has {value!r}, not {_KINDS[kind]}")
    return values


def _value(path: Path, params: Any, key: str, kind: Any) -> Any:
    value = params
    for part in key.split("."):
        if not isinstance(value, dict) or value.get(part) is None:
            raise PipelineError(f"{path}: {key} is missing: give it {_KINDS[kind]}")
        value = value[part]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise PipelineError(f"{path}: {key} is {value!r}, not {_KINDS[kind]}")
    return value


def refuse_odd_words(path: Path) -> None:
    """Raise for values and aliases in the file at `path` that DVC would misread or lose."""
    params = read_yaml(path)
    refuse_odd_values(path, params)
    refuse_aliased_mappings(path)
    refuse_other_models_to_time(path, params)
    refuse_impossible_values(path, params)


def refuse_odd_values(path: Path, params: Any) -> None:
    """Raise for the first text that is unsafe as a word of a shell command or a file name."""
    for key, text in _texts(params, ""):
        rule = _NAME if key.startswith(("grid.", "race.", "benchmark.", "export.")) else _WORD
        if not rule.fullmatch(text) or len(text) > MAX_CHARACTERS:
            shown = text if len(text) <= 60 else f"{text[:60]}..."
            allowed = "letters, digits and _ . -" + ("" if rule is _NAME else " / : @ % + , = ~")
            raise PipelineError(
                f"{path}: {key} has {shown!r}, which becomes part of a shell command: write "
                f"{allowed} only, {MAX_CHARACTERS} of them at most"
            )


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text in `value` with its key; names of cells are texts too."""
    if isinstance(value, dict):
        for name, each in value.items():
            if key.startswith("race."):
                yield key, str(name)
            yield from _texts(each, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, key)
    elif isinstance(value, str):
        yield key, value


def refuse_aliased_mappings(path: Path) -> None:
    """Raise for an alias of a mapping, or a merge of one: `dvc exp run -S` (3.67.1) overrides keys
    of one of the two and runs with the old values of the other.
    """
    text = path.read_text(encoding="utf-8")
    seen: set[int] = set()
    waiting = [yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            if id(node) in seen:
                raise PipelineError(
                    f"{path}: the mapping in line {node.start_mark.line + 1} is repeated by an "
                    "alias, and `dvc exp run -S` would lose overrides of it: write it out"
                )
            seen.add(id(node))
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def refuse_other_models_to_time(path: Path, params: Any) -> None:
    """Raise for models of `benchmark` that are not in the grid. An override of the grid leaves them
    there if `benchmark.models` was an alias of its list.
    """
    to_time, of_grid = (_list(params, part, "models") for part in ("benchmark", "grid"))
    if others := [str(each) for each in to_time if each not in of_grid]:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise PipelineError(
            f"{path}: benchmark.models has {others[0]}{more}, not in grid.models (`dvc exp run -S` "
            "leaves the alias *models with the old list): give both lists, or change the grid with "
            "`python -m pipeline.change`"
        )


def refuse_impossible_values(path: Path, params: Any) -> None:
    """Raise for a value that a stage would refuse, some after all fits; missing ones are passed."""
    known = [*_list(params, "grid", "datasets"), *_list(params, "race", "datasets")]
    exported = _list(params, "export", "datasets")
    params = _mapping(params)
    size, threads = params.get("image_size", 1), params.get("threads", 1)
    overhead = _mapping(params.get("score")).get("overhead_seconds", 0)
    which = _mapping(params.get("export")).get("thresholds", "half")
    is_number = threads == "auto" or (type(threads) is int and threads >= 1)
    is_time = type(overhead) in (int, float) and 0 <= overhead < math.inf
    are_known = all(name in known for name in exported)
    for key, value, holds, what in (
        ("image_size", size, type(size) is int and 1 <= size <= 4096, "pixels, 1 to 4096"),
        ("threads", threads, is_number, "auto, or a number from 1"),
        ("score.overhead_seconds", overhead, is_time, "a number of seconds, 0 or more"),
        ("export.thresholds", which, which in THRESHOLDS, " or ".join(THRESHOLDS)),
        ("export.datasets", exported, are_known, "names of grid.datasets or race.datasets"),
    ):
        if not holds:
            raise PipelineError(f"{path}: {key} is {value!r}: write {what}")


def _list(params: Any, part: str, name: str) -> list[Any]:
    found = _mapping(_mapping(params).get(part)).get(name)
    return found if isinstance(found, list) else []


def _mapping(content: Any) -> dict[str, Any]:
    return content if isinstance(content, dict) else {}


def _refuse_one_name_for_two(path: Path, grid: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise where names with hyphens give two cells one name in DVC, which would make one only."""
    cells: dict[str, tuple[Any, ...]] = {}
    for cell in itertools.product(*grid.values()):
        name = "-".join(map(str, cell))
        other = cells.setdefault(name, cell)
        if other != cell:
            raise PipelineError(
                f"{path}: {' '.join(map(str, other))} and {' '.join(map(str, cell))} are both "
                f"called {name} in DVC: give one dataset, model or recipe a name without hyphens"
            )


def refuse_unlike_rates(recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise for a recipe that differs from its `rate_of` in more than its learning rates.

    `recipes` are settings by name, without defaults. One without its `rate_of` is held against the
    other rates.
    """
    first: dict[str, str] = {}
    for name, settings in recipes.items():
        if (recipe := settings.get("rate_of")) is None:
            continue
        other = recipe if recipe in recipes else first.setdefault(recipe, name)
        if other == recipe and (of := recipes[other].get("rate_of")) is not None:
            raise PipelineError(
                f"recipe {name}: rate_of: {recipe}, which is itself a rate of {of}: name another"
            )
        from pipeline.finetune.recipe import changed_settings  # loads OmegaConf

        if apart := sorted({*changed_settings(recipes[other], settings)} - RATE_KEYS):
            raise PipelineError(
                f"recipe {name}: rate_of: {recipe}, but it differs from {other} in "
                f"{', '.join(apart)}, and only lr and lr_mult may: make them alike, or omit rate_of"
            )


def refuse_unknown_names(study: Study) -> None:
    """Raise for a dataset, recipe or source of weights that has no file in conf/, beside the study.

    `read_study` does not: tables of finished runs need no recipe.
    """
    n_grid = len(study.datasets) - len(study.raced_datasets)
    names = [
        *(("grid.datasets", "dataset", name) for name in study.datasets[:n_grid]),
        *(("race.datasets", "dataset", name) for name in study.raced_datasets),
        *(("grid.recipes", "recipe", name) for name in study.recipes),
        *(("race.fits", "recipe", cell.recipe) for cell in study.raced),
        ("weights", "weights", study.weights),
    ]
    project = study.path.parent
    for key, group, name in dict.fromkeys(names):
        if (project / "conf" / group).is_dir():  # a study of studies/ is checked when it runs
            refuse_unknown_name(project, group, name, f"{study.path}: {key}: ")


def refuse_unknown_name(project: Path, group: str, name: str, where: str = "") -> None:
    """Raise if there is no conf/GROUP/NAME.yaml in the folder `project`."""
    known = {path.stem for path in (project / "conf" / group).glob("*.yaml")}
    if name in known:
        return
    error = f"{where}unknown {group} {name!r}: {near_matches(name, known)} (conf/{group}/*.yaml)"
    if group == "dataset":
        error += f", or describe it first: `python -m pipeline.dataset --new {name} PATH`"
    raise PipelineError(error)
