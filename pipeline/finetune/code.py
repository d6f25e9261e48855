"""Which code made a record: a hash of what the trainer's modules do, not of how they are written.

Comments, docstrings and line breaks do not count, so a re-formatted file makes no second version.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PIPELINE = Path(__file__).parent.parent
MODULES = ("dataset/prepared.py", "finetune/*.py", "hardware/*.py", "names/*.py")


@cache
def code_version() -> str:
    """Twelve digits that are equal for records that can be compared."""
    files = [path for pattern in MODULES for path in sorted(PIPELINE.glob(pattern))]
    told = [meaning_of(path.read_text(encoding="utf-8")) for path in files]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def meaning_of(source: str) -> str:
    """The syntax tree of Python source as text, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [each for each in node.body if not _is_docstring(each)]
    return ast.dump(tree)


def _is_docstring(node: ast.stmt) -> bool:
    constant = node.value if isinstance(node, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)
