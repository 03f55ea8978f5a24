"""The public names of the package, which are imported at first use."""

from __future__ import annotations

import ast
from pathlib import Path

import llm_magic


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    tree = ast.parse(Path(llm_magic.__file__).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert sorted([*seen, "router"]) == sorted(llm_magic.__all__)
    for name, module in seen.items():
        exported = getattr(llm_magic, name)
        assert exported.__module__.startswith(module or ""), name
