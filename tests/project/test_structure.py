"""Limits on the shape of the code: short functions and files, no import cycles, no access to other objects' privates."""

from __future__ import annotations

import ast
import importlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source import (
    PACKAGE,
    ROOT,
    TESTS,
    code_lines,
    docstrings,
    python_files,
    relative,
    text_of,
    tree,
)

MAX_FUNCTION_LINES = 50
MAX_FILE_LINES = 300
MAX_DOCSTRINGS_PER_100_LINES = 5.4
DATA: frozenset[str] = frozenset()
"""Files that are tables, not code."""
PUBLIC_UNDERSCORES = {
    "_replace", "_asdict", "_fields", "_exit", "_getframe",
    "_render_traceback_", "_repr_mimebundle_", "_repr_html_", "_repr_markdown_",
    "_actions", "_custom_headers", "_showtraceback", "_ncallbacks", "_instance", "_walk_mro", "_allow_stdin",
}  # fmt: skip
"""Of the standard library; protocols of IPython; and names of argparse, openai, IPython, ipykernel and traitlets that have
no public counterpart."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in python_files(PACKAGE)}


def report(problems: list[str]) -> None:
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def long_functions(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if (lines := node.end_lineno - node.lineno + 1) > MAX_FUNCTION_LINES:
                yield f"{relative(path)}:{node.lineno}: {node.name} has {lines} lines"


def test_functions_are_short() -> None:
    problems = [problem for path in MODULES.values() for problem in long_functions(path)]
    report([each for each in problems if each.split(":")[0] not in UNFINISHED])


def test_files_are_short() -> None:
    counts = {relative(path): code_lines(path) for path in MODULES.values()}
    exempt = DATA | UNFINISHED
    report([f"{name}: {n} lines" for name, n in counts.items() if n > MAX_FILE_LINES and name not in exempt])


def test_test_modules_have_different_names() -> None:
    """pytest imports test modules by name alone: of two with one name, the second is an error of the collection."""
    names = Counter(path.name for path in Path(__file__).parents[1].rglob("test_*.py"))
    report([f"{name} exists {count} times" for name, count in names.items() if count > 1])


def test_docstrings_are_few() -> None:
    lines = sum(code_lines(path) for path in MODULES.values())
    count = sum(1 for path in MODULES.values() for _ in docstrings(tree(path)))
    assert 100 * count / lines <= MAX_DOCSTRINGS_PER_100_LINES, f"{count} docstrings in {lines} lines"


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"llm_magic.__main__"}))
def test_every_public_name_exists(name: str) -> None:
    module = importlib.import_module(name)
    assert [public for public in getattr(module, "__all__", ()) if not hasattr(module, public)] == []


def imported(name: str, node: ast.AST) -> Iterator[str]:
    """The modules of the package that a node imports, lazily or not; without those for type checking alone."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in MODULES)
    elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in MODULES else node.module
    for child in ast.iter_child_nodes(node):
        yield from imported(name, child)


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The sets of modules that reach each other."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        left = list(graph[start])
        while left:
            if (name := left.pop()) not in seen:
                seen.add(name)
                left.extend(graph[name])
        reached[start] = seen
    groups = {frozenset(b for b in graph if b in reached[a] and a in reached[b]) for a in graph if a in reached[a]}
    return sorted(map(sorted, groups))


def test_modules_do_not_import_each_other_in_cycles() -> None:
    graph = {name: set(imported(name, tree(path))) - {name} for name, path in MODULES.items()}
    report([" <-> ".join(group) for group in cycles(graph)])


def test_cycles_are_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_" and name not in PUBLIC_UNDERSCORES


def own_names(module: ast.Module) -> set[str]:
    """The private names that a file defines itself: functions, classes, variables, attributes of `self`."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            names.add(node.attr)
    return names


def is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def called(node: ast.Call) -> str:
    """The last part of the name of a called function."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def foreign_privates(path: Path) -> Iterator[str]:
    """Each use of a private name that another file defines."""
    own = own_names(tree(path))
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and not is_self(node.value):
            name = node.attr
        elif isinstance(node, ast.Call) and called(node) in ("getattr", "hasattr", "setattr", "delattr"):
            name = next((text for argument in node.args[:2] if (text := text_of(argument))), "")
            name = name.rsplit(".", 1)[-1]
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.lineno}: {alias.name}" for alias in node.names if is_private(alias.name))
            continue
        else:
            continue
        if is_private(name) and name not in own:
            yield f"{node.lineno}: {name}"


def counted(folder: Path) -> Counter[str]:
    return Counter({relative(path): len(list(foreign_privates(path))) for path in python_files(folder)})


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=["package", "tests"])
def test_private_names_are_used_in_their_own_file_alone(folder: Path) -> None:
    report(
        [
            f"{name}: {count} uses, {PRIVATES.get(name, 0)} allowed: " + "; ".join(foreign_privates(ROOT / name))
            for name, count in counted(folder).items()
            if count > PRIVATES.get(name, 0)
        ]
    )


# Still to do: each entry goes when its file is done.

UNFINISHED: frozenset[str] = frozenset()
PRIVATES: dict[str, int] = {
    "tests/ledger/test_caps_hold.py": 1,
}
