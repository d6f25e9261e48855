"""The error messages of the code, from its syntax trees, with `…` for values."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KINDS = ("PipelineError", "TryAgain", "Faulty", "kind")
VALUE = "…"


@dataclass(frozen=True)
class Message:
    """The template of one message, and where it is made."""

    text: str
    where: str


def messages_of(root: Path) -> list[Message]:
    """The messages of all errors made in `pipeline/`, in the order of files and lines."""
    found = []
    for where, node in _nodes(root):
        if isinstance(node, ast.Call) and _name(node.func) in KINDS and node.args:
            text = _template(node.args[0])
            if text.strip(VALUE + " :"):
                found.append(Message(text, where))
    return found


def texts_of(root: Path) -> list[str]:
    """Every text in `pipeline/`: messages, and the parts they are put together from."""
    kinds = (ast.Constant, ast.JoinedStr, ast.BinOp)
    return [_template(node) for _, node in _nodes(root) if isinstance(node, kinds)]


def _nodes(root: Path) -> Iterator[tuple[str, ast.AST]]:
    for path in sorted((root / "pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}", node


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def _template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(each) for each in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _template(node.left) + _template(node.right)
    return VALUE
