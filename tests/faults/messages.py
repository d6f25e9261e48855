"""Every error line that the code can print, found in its syntax tree: text with `…` for values."""

import ast
from dataclasses import dataclass
from pathlib import Path

KINDS = ("PipelineError", "TryAgain", "Faulty", "kind")
VALUE = "…"


@dataclass(frozen=True)
class Message:
    """The template of one message, and where it is made."""

    text: str
    where: str

    @property
    def pieces(self) -> list[str]:
        """What of it is the same each time, in order."""
        return [piece for piece in self.text.split(VALUE) if piece.strip()]


def messages_of(root: Path) -> list[Message]:
    """The messages of all errors made in `pipeline/`, in the order of files and lines."""
    found = []
    for path in sorted((root / "pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) in KINDS and node.args:
                text = _template(node.args[0])
                if text.strip(VALUE + " :"):
                    found.append(Message(text, f"{path.relative_to(root)}:{node.lineno}"))
    return found


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
