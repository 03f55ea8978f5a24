"""The text of a column: the parts that all rows share, and the places of a row's cells."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llm_magic import placeholders
from llm_magic.errors import RequestError

_BRACES = re.compile(r"\{\{([^{}\n]+)\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    column: int
    attributes: tuple[str, ...] = ()
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A text with the cells of a row in it, or followed by the row's value if it mentions no cell."""

    parts: tuple[str | Cell, ...]
    columns: tuple[str, ...]
    routing_text: str
    """The text without values, which decides the tier."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(part for part in self.parts if isinstance(part, Cell))

    @property
    def used(self) -> tuple[int, ...]:
        """The numbers of the columns whose cells are sent."""
        return tuple(sorted({cell.column for cell in self.cells})) or tuple(range(len(self.columns)))

    @property
    def shared_chars(self) -> int:
        """The length of the beginning of the text that is the same for all rows."""
        if not self.cells:
            return sum(len(str(part)) for part in self.parts)
        first = self.parts[0]
        return len(first) if isinstance(first, str) else 0

    def fill(self, cells: Mapping[int, object]) -> str:
        """Return the text of a row. cells: by the number of the column; None for a missing one."""
        if self.cells:
            return "".join(part if isinstance(part, str) else _text(part, cells[part.column]) for part in self.parts)
        return f"{''.join(map(str, self.parts))}\n\n{_row_value(self.columns, cells)}"


def parse(
    text: str, columns: Sequence[str], aliases: Mapping[str, int], names: Mapping[str, object] | None = None
) -> Template:
    """Find the cells in a text. names: the variables of the notebook, for names that are not columns.

    Braces around anything but a column or a name are text. Raises RequestError for a name that does not exist, or
    that several columns have.
    """
    numbers = {name: number for number, name in enumerate(columns)}
    numbers |= {name: number for name, number in aliases.items() if name not in numbers}
    repeated = {name: count for name, count in Counter(columns).items() if count > 1}
    parts: list[str | Cell] = []
    literals: list[str] = []
    end = 0
    for braces in _BRACES.finditer(text):
        part = _part(braces.group(1).strip(), numbers, names)
        if part is None:
            continue
        if isinstance(part, Cell) and (count := repeated.get(columns[part.column])):
            name = columns[part.column]
            raise RequestError(
                f"{{{{{part.name}}}}} in the text: {count} columns have this name: rename one of {name!r}"
            )
        literal = text[end : braces.start()]
        literals.append(literal)
        parts += [literal, part]
        end = braces.end()
    literals.append(text[end:])
    parts.append(text[end:])
    joined = tuple(part for part in parts if part != "")
    return Template(parts=joined, columns=tuple(columns), routing_text=" ".join(literals))


def literal(text: str, columns: Sequence[str]) -> Template:
    return Template(parts=(text,), columns=tuple(columns), routing_text=text)


def _part(name: str, columns: Mapping[str, int], names: Mapping[str, object] | None) -> str | Cell | None:
    if name in columns:
        return Cell(column=columns[name], name=name)
    if not placeholders.PATH.fullmatch(name):
        return None
    first, *attributes = name.split(".")
    if first in columns:
        return Cell(column=columns[first], attributes=tuple(attributes), name=name)
    if names is None or first not in names:
        raise RequestError(_unknown(name, columns, with_names=names is not None))
    return placeholders.as_text(placeholders.attribute(names[first], name), name)


def _unknown(name: str, columns: Iterable[str], *, with_names: bool) -> str:
    nearest = difflib.get_close_matches(name, list(columns), n=1)
    hint = f"did you mean {{{{{nearest[0]}}}}}?" if nearest else f"the columns are {', '.join(list(columns)[:20])}"
    also = " or variable" if with_names else ""
    return f"{{{{{name}}}}} in the text: no column{also} {name!r} exists; {hint}"


def _attribute(value: object, attributes: Sequence[str], name: str) -> object:
    for attribute in attributes:
        if attribute.startswith("_") or not hasattr(value, attribute):
            raise RequestError(f"{{{{{name}}}}} in the text: a value has no attribute {attribute!r}")
        value = getattr(value, attribute)
    return value


def _text(cell: Cell, value: object) -> str:
    if value is None:
        return ""
    return str(_attribute(value, cell.attributes, cell.name) if cell.attributes else value)


def _row_value(columns: Sequence[str], cells: Mapping[int, object]) -> str:
    present = [(columns[number], value) for number, value in cells.items() if value is not None]
    if len(columns) == 1:
        return "".join(str(value) for _, value in present)
    return "\n".join(f"{name}: {value}" for name, value in present)
