"""The repository's own source, as syntax trees, for the tests in tests/project."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "llm_magic"
TESTS = ROOT / "tests"


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def docstrings(module: ast.Module) -> Iterator[ast.Constant]:
    """Docstrings of modules, classes and functions, and the strings that follow attributes."""
    for node in ast.walk(module):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and text_of(statement.value) is not None:
                assert isinstance(statement.value, ast.Constant)
                yield statement.value


def code_lines(path: Path) -> int:
    """The number of lines that aren't blank."""
    return sum(1 for line in path.read_text("utf-8").splitlines() if line.strip())
