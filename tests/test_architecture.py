"""docs/architecture.md is current, and what it says of the code is true."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from docs.architecture import cycle_in, drawing, imports, modules, packages, reduced, with_drawing

MOST_MODULES = 143
MOST_LINES = 400
MOST_FILES = 3  # to change for one purpose
SAME_NAME = {
    "__main__",  # every command has one
    "mistakes",  # of stage `mistakes`' tables, the figure and the page's part
    "tables",  # of the page, and of stage `mistakes`
}


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/architecture.md").read_text(encoding="utf-8")


def rows(page: str) -> list[tuple[str, str]]:
    lines = page.partition("| to change | open |")[2].splitlines()[2:]
    cells = [line.strip("|").split(" | ") for line in lines if line.startswith("|")]
    return [(what.strip(), where.strip()) for what, where in cells]


def test_the_drawing_is_that_of_the_code(root: Path, page: str) -> None:
    now = with_drawing(page, drawing(root))
    assert page == now, "run `python docs/architecture.py`"


def test_no_module_and_no_package_imports_one_that_imports_it(root: Path) -> None:
    graph = imports(modules(root))
    assert cycle_in(graph) == []
    assert cycle_in(packages(graph)) == []


def test_a_cycle_would_be_found() -> None:
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    mutual = {"pipeline.x.one": {"pipeline.y.two"}, "pipeline.y.two": {"pipeline.x.three"}}
    assert cycle_in(mutual | {"pipeline.x.three": set()}) == []
    assert cycle_in(packages(mutual | {"pipeline.x.three": set()})) == ["x", "y", "x"]


def test_arrows_that_follow_from_others_are_left_out() -> None:
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert reduced(graph) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_no_two_modules_have_one_name(root: Path) -> None:
    names = Counter(name.rpartition(".")[2] for name in modules(root))
    twice = {name for name, count in names.items() if count > 1}
    assert twice <= SAME_NAME


def test_modules_are_few_and_none_is_long(root: Path) -> None:
    found = modules(root)
    assert len(found) <= MOST_MODULES
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in found.items()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_ten_changes_and_more_have_a_row_and_none_needs_many_files(page: str) -> None:
    assert len(rows(page)) >= 10
    for what, where in rows(page):
        assert 1 <= where.count("`: `") <= MOST_FILES, what


def test_every_file_that_a_row_names_is_there_and_holds_the_name(root: Path, page: str) -> None:
    for what, where in rows(page):
        for file, name in re.findall(r"`([^`]+)`: `([^`]+)`", where):
            path = root / file
            assert path.is_file(), f"{what}: {file}"
            assert name in names_in(path), f"{what}: {file} has no {name}"


def names_in(path: Path) -> set[str]:
    """What a module defines at its top; the words of any other file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return set(re.findall(r"\w+", text))
    found: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets += [node.target] if isinstance(node, ast.AnnAssign) else []
        found |= {each.id for each in targets if isinstance(each, ast.Name)}
    return found
