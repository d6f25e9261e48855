"""dvc.yaml, conf/ and the code agree: imports are dependencies, configurations compose."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.configuration import hydra_app
from pipeline.core.command import amount, documented, parser_of
from pipeline.core.errors import PipelineError
from pipeline.finetune.recipe import recipe_of

ROOT = Path(__file__).parent.parent
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
STAGES |= {name: stage["do"] for name, stage in STAGES.items() if "do" in stage}
CONF = ROOT / "conf"
RACED = "_raced"  # a stage's twin, for the datasets that a race has taken over


def modules_of(file: Path) -> set[Path]:
    """The project's modules that `file` imports, at its top or inside functions."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        for name in names:
            if name.split(".")[0] == "pipeline":
                found |= {path for path in _files_of(name) if path.is_file()}
    return found


def _files_of(name: str) -> list[Path]:
    path = ROOT / name.replace(".", "/")
    return [path.with_suffix(".py"), path / "__init__.py"]


def reached_from(file: Path) -> set[Path]:
    """`file` and every module of the project that it imports, directly or not."""
    seen: set[Path] = set()
    todo = [file]
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += modules_of(module)
    return seen


def test_packages_hold_nothing_but_a_docstring() -> None:
    """So that importing from a package depends on the module alone."""
    for file in (ROOT / "pipeline").rglob("__init__.py"):
        assert [type(node) for node in ast.parse(file.read_text()).body] == [ast.Expr], file


def covered(file: Path, deps: list[str]) -> bool:
    relative = file.relative_to(ROOT).as_posix()
    return any(relative == dep or relative.startswith(f"{dep}/") for dep in deps)


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_imports_is_a_dependency(stage: str) -> None:
    assert f"python -m pipeline.{stage.removesuffix(RACED)} " in str(STAGES[stage]["cmd"])
    deps = STAGES[stage]["deps"]
    missing = [
        file.relative_to(ROOT).as_posix()
        for file in sorted(reached_from(_entry(stage)))
        if file.name != "__init__.py" and not covered(file, deps)
    ]
    assert not missing, f"dvc.yaml: {stage}: add to deps: {missing}"


@pytest.mark.parametrize("stage", STAGES)
def test_every_dependency_on_code_is_one_that_the_stage_uses(stage: str) -> None:
    used = {path.relative_to(ROOT).as_posix() for path in reached_from(_entry(stage))}
    for dep in STAGES[stage]["deps"]:
        if dep.startswith("pipeline/") and dep.endswith(".py"):
            assert dep in used, f"dvc.yaml: {stage}: {dep} is not imported"
        elif dep.startswith("pipeline/") and (ROOT / dep).is_dir():
            assert any(each.startswith(f"{dep}/") for each in used), f"{stage}: {dep} is not used"


def _entry(stage: str) -> Path:
    module = ROOT / "pipeline" / stage.removesuffix(RACED)
    return module / "__main__.py" if module.is_dir() else module.with_suffix(".py")


def test_every_stage_says_what_it_is() -> None:
    for name, stage in STAGES.items():
        assert stage["desc"], name


def test_no_stage_that_trains_depends_on_code_that_draws_or_merges() -> None:
    """Editing a figure or the merge must not cost a single fine-tune."""
    for dep in STAGES["finetune"]["deps"]:
        for other in ("figures", "page", "merge", "aggregate", "plot", "report", "download"):
            assert other not in dep, dep


def test_the_initial_study_is_the_quickstart() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert text == (ROOT / "studies/quickstart.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("study", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_study_names_configurations_that_exist(study: Path) -> None:
    params = yaml.safe_load(study.read_text(encoding="utf-8"))
    quickstart = yaml.safe_load((ROOT / "studies/quickstart.yaml").read_text(encoding="utf-8"))
    assert set(params) == set(quickstart)
    for dataset in params["grid"]["datasets"]:
        if study.stem == "own":  # its dataset is the user's, from `pipeline.dataset --new own PATH`
            assert dataset == "own"
            continue
        assert (CONF / "dataset" / f"{dataset}.yaml").is_file()
    for recipe in params["grid"]["recipes"]:
        assert (CONF / "recipe" / f"{recipe}.yaml").is_file()
    assert (CONF / "weights" / f"{params['weights']}.yaml").is_file()


@pytest.mark.parametrize("dataset", sorted(path.stem for path in (CONF / "dataset").glob("*.yaml")))
def test_every_dataset_composes_and_carries_the_name_of_its_file(dataset: str) -> None:
    config = hydra_app.compose("dataset", [f"dataset={dataset}", "image_size=64"])
    assert config.dataset.name == dataset


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (CONF / "recipe").glob("*.yaml")))
@pytest.mark.parametrize("weights", ["hub", "wheel", "folder weights.path=w"])
def test_every_recipe_and_source_of_weights_composes(recipe: str, weights: str) -> None:
    config = hydra_app.compose(
        "finetune",
        [
            *("dataset=digits", f"recipe={recipe}", "model=resnet18.a1_in1k", "seed=0"),
            *f"weights={weights}".split(),
        ],
    )
    assert recipe_of(config.recipe).name == recipe


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("dataset=digitz", "unknown dataset 'digitz': did you mean digits"),
        ("dataset=nope", "unknown dataset 'nope': choose from"),
        ("recipe=quikstart", "unknown recipe 'quikstart': did you mean quickstart"),
        ("weights=weel", "unknown weights 'weel': did you mean wheel"),
        ("recipe.lrr=1", "unknown key 'recipe.lrr': did you mean recipe.lr"),
        ("sed=1", "unknown key 'sed': did you mean seed"),
        ("seed=1,2", "seed=1,2: to run each of these, add --multirun"),
        ("seed=???", "seed=... must be given"),
        ("weights=folder", "weights.path=... must be given"),
    ],
)
def test_a_wrong_override_is_one_clear_line(override: str, line: str) -> None:
    given = {
        each.partition("=")[0]: each
        for each in ("dataset=digits", "recipe=quickstart", "model=x", "seed=0", override)
    }
    with pytest.raises(PipelineError) as caught:
        hydra_app.compose("finetune", list(given.values()))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_value_of_a_sweep_is_checked_before_the_first_run() -> None:
    with pytest.raises(PipelineError, match="unknown dataset 'digitz'"):
        hydra_app.compose("finetune", ["dataset=digits,digitz", "recipe=quickstart"], sweeps=True)
    sweep = ["dataset=digits,digit_mosaic", "recipe=quickstart", "model=x", "seed=range(3)"]
    hydra_app.compose("finetune", sweep, sweeps=True)


@pytest.mark.parametrize("app", ["finetune", "dataset"])
def test_help_lists_choices_and_keys(app: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"pipeline.{app}", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "dataset=digit_mosaic|digits|" in done.stdout
    assert "image_size: " in done.stdout
    assert "# pixels" in done.stdout


COMMANDS = [
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
    for path in sorted(ROOT.glob("pipeline/**/*.py"))
    if "\n    run(main)\n" in path.read_text(encoding="utf-8")
]


def test_every_command_is_found() -> None:
    assert {"pipeline.recommend.__main__", "pipeline.dataset.new"} < set(COMMANDS)
    assert len(COMMANDS) >= 25


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_each_argument_and_option_means(command: str) -> None:
    main = importlib.import_module(command).main
    description, texts = documented(main)
    assert description
    assert list(texts) == list(inspect.signature(main).parameters)
    shown = " ".join(parser_of(main).format_help().split())
    for text in texts.values():
        assert text.replace("%%", "%")[:20] in shown


def test_help_of_an_option_shows_its_kind_of_value_and_its_default() -> None:
    main = importlib.import_module("pipeline.recommend.__main__").main
    shown = " ".join(parser_of(main).format_help().split())
    assert "--top N how many models to name (default: 3)" in shown
    assert "--max-fit-time TEXT the longest fit, without its start-up, such as 2min" in shown
    assert "--results PATH" in shown
    assert "(default: None)" not in shown
    shown = " ".join(
        parser_of(importlib.import_module("pipeline.export.__main__").main).format_help().split()
    )
    assert "a label is given at 50 %;" in shown


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--price-per-hour", "0.5€"], "argument --price-per-hour: invalid float value: '0.5€'"),
        (
            ["--prise-per-hour", "1"],
            "unknown option --prise-per-hour: did you mean --price-per-hour?",
        ),
        (["--dataset"], "argument --dataset: expected one argument"),
        (["photos"], "unrecognized arguments: photos"),
    ],
)
def test_a_wrong_option_is_one_line(options: list[str], line: str, capsys):
    parser = parser_of(importlib.import_module("pipeline.recommend.__main__").main)
    with pytest.raises(SystemExit) as end:
        parser.parse_intermixed_args(["--dataset", "digits", *options])
    assert end.value.code == 2
    help_ = "`python -m pipeline.recommend --help` lists the options"
    assert capsys.readouterr().err == f"error: {line}; {help_}\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (0.0034, "0.0034"), (0.00999, "0.010"), (0.0999, "0.10"), (12.5, "12.50")],
)
def test_a_small_amount_of_money_has_two_digits_that_say_something(value: float, text: str):
    assert amount(value) == text


def test_names_may_stand_on_both_sides_of_an_option() -> None:
    parser = parser_of(importlib.import_module("pipeline.own.__main__").main)
    found = parser.parse_intermixed_args(["photos", "--image-size", "64", "maps"])
    assert (found.names, found.image_size) == (["photos", "maps"], 64)
