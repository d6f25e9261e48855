"""The graph of packages in docs/architecture.md, drawn from the imports in `pipeline`.

`python docs/architecture.py` writes it between the two markers; a test fails where it is old.
An arrow goes from a package to one that it imports. Arrows that follow from others are left out:
where a imports b and b imports c, nobody needs to see that a imports c too.
"""

import ast
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- made by docs/architecture.py -->", "<!-- end -->"
Graph = dict[str, set[str]]


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of `pipeline`, by its dotted name."""
    paths = sorted((root / "pipeline").rglob("*.py"))
    return {".".join(path.relative_to(root).with_suffix("").parts): path for path in paths}


def imports(found: Mapping[str, Path]) -> Graph:
    """Which of these modules each of them imports, at its top or inside functions.

    Imports for type checkers alone do not count: nothing runs because of them.
    """
    graph: Graph = {}
    for name, path in found.items():
        named: set[str] = set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if not _is_for_types(node)]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                named |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
            elif isinstance(node, ast.Import):
                named |= {each.name for each in node.names}
        graph[name] = (named & found.keys()) - {name}
    return graph


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def packages(graph: Graph) -> Graph:
    """The same between packages; a module that lies in `pipeline` itself is one of its own."""
    found: Graph = {}
    for name, used in graph.items():
        here = package_of(name)
        found.setdefault(here, set()).update(package_of(each) for each in used)
        found[here].discard(here)
    found.pop("__init__", None)
    return found


def package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def cycle_in(graph: Graph) -> list[str]:
    """The names along a cycle; empty where there is none."""
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for each in sorted(graph[name]):
            if found := visit(each, [*trail, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def reduced(graph: Graph) -> Graph:
    """Without the arrows that follow from others."""

    def below(name: str) -> set[str]:
        return {name}.union(*(below(each) for each in graph[name]))

    return {
        name: {each for each in used if not any(each in below(other) for other in used - {each})}
        for name, used in graph.items()
    }


def drawing(root: Path = ROOT) -> str:
    """The graph as Mermaid has it: commands on top, what they share below."""
    found = modules(root)
    graph = reduced(packages(imports(found)))
    commands = {name for name in graph if f"pipeline.{name}.__main__" in found}
    used = set().union(*graph.values())
    lines = ["```mermaid", "graph TD"]
    lines += [f"    {name}([{name}])" for name in sorted(commands)]
    lines += [f"    {name}[{name}]" for name in sorted((graph.keys() | used) - commands)]
    lines += [f"    {name} --> {each}" for name in sorted(graph) for each in sorted(graph[name])]
    return "\n".join([*lines, "```"])


def with_drawing(text: str, drawn: str) -> str:
    """The page's text with this drawing between the markers."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{drawn}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_drawing(PAGE.read_text(encoding="utf-8"), drawing()), encoding="utf-8")
