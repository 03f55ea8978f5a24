"""Input transformers: a cell magic below comments or code, and a line that ends in a question mark."""

from __future__ import annotations

import ast
import re
from typing import Any

from IPython.core.inputtransformer2 import (
    TokenTransformBase,
    assemble_continued_line,
    find_end_of_continued_line,
)

_CELL_MAGIC = re.compile(r"\s*%%(\w+)\b(?!\?)(.*)")
# A copied cell may have a byte order mark or a zero-width character first, and spaces at which IPython does not split.
_COPIED_START = re.compile(r"[\ufeff\u200b\u2060]*(\s*%%?route\w*)([^\S \r\n]+)?(?![\w?])")
_ROUTE = ("route", "route_plan")
_LINE_MAGIC = re.compile(
    r"(?P<indent>\s*)(?P<target>[^=%'\"()]+=\s*)?%(?P<name>route|route_plan)\s+(?P<text>\S.*\?)\s*$"
)


def _leads_to_route(lines: list[str]) -> bool:
    """Return True if lines begin with `%%route`, or with other cell magics above it, such as `%%time`."""
    for line in lines:
        magic = _CELL_MAGIC.fullmatch(line.rstrip("\n"))
        if magic is None or magic.group(1) in _ROUTE:
            return magic is not None
    return False


class LateCellMagic:
    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def __call__(self, lines: list[str]) -> list[str]:
        if lines and (start := _COPIED_START.match(lines[0])):
            lines = [start[1] + (" " if start[2] else "") + lines[0][start.end() :], *lines[1:]]
        if lines and lines[0].startswith("%%"):
            return lines
        for number, line in enumerate(lines):
            if (magic := _CELL_MAGIC.fullmatch(line.rstrip("\n"))) is None or not _leads_to_route(lines[number:]):
                continue
            if not self._is_code("".join(lines[:number])):
                return lines
            name, options = magic.group(1), magic.group(2).strip()
            text = "".join(lines[number + 1 :])
            return [*lines[:number], f"get_ipython().run_cell_magic({name!r}, {options!r}, {text!r})\n"]
        return lines

    def _is_code(self, text: str) -> bool:
        # False within a string literal, or a cell that is not Python: there, `%%route` is text.
        try:
            ast.parse(self._shell.transform_cell(text))
        except SyntaxError:
            return False
        return True


class Question(TokenTransformBase):
    priority = 1  # before IPython's help, which has 5 and would look up the last word

    @classmethod
    def find(cls, tokens_by_line: Any) -> Question | None:
        for line in tokens_by_line:
            first = next((token for token in line if token.string.strip()), None)
            if first is None:
                continue
            text = first.line.rstrip() if first.start[0] == first.end[0] else ""
            # If the line continues, `transform` looks at all of it.
            if _LINE_MAGIC.match(f"{text}?" if text.endswith("\\") else text):
                return cls(first.start)
        return None

    def transform(self, lines: list[str]) -> list[str]:
        end = find_end_of_continued_line(lines, self.start_line)
        line = assemble_continued_line(lines, (self.start_line, 0), end)
        match = _LINE_MAGIC.match(line)
        if match is None:
            raise SyntaxError(line)  # the other transformers are tried
        target, name, text = match.group("target") or "", match.group("name"), match.group("text")
        call = f"{match.group('indent')}{target}get_ipython().run_line_magic({name!r}, {text!r})\n"
        return [*lines[: self.start_line], call, *lines[end + 1 :]]


def add(shell: Any) -> list[tuple[list[Any], Any]]:
    """Add the transformers to a shell. Return each with its list, for `remove`."""
    manager = shell.input_transformer_manager
    added: list[tuple[list[Any], Any]] = [
        (manager.cleanup_transforms, LateCellMagic(shell)),
        (manager.token_transformers, Question),
    ]
    for transformers, transformer in added:
        transformers.append(transformer)
    return added


def remove(added: list[tuple[list[Any], Any]]) -> None:
    for transformers, transformer in added:
        transformers[:] = [other for other in transformers if other is not transformer]
