"""The text of a column: the parts that all rows share, and the places of a row's cells."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from llm_magic import placeholders
from llm_magic.columns.source import is_missing
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

    def fill(self, cells: Mapping[int, object]) -> str | RequestError:
        """Return the text of a row, or the error of a row without one. cells: by the number of the column."""
        try:
            if self.cells:
                return "".join(
                    part if isinstance(part, str) else _text(part, cells[part.column]) for part in self.parts
                )
            return f"{''.join(map(str, self.parts))}\n\n{_row_value(self.columns, cells)}"
        except RequestError as error:
            return error.with_traceback(None)
        except Exception as error:  # noqa: BLE001 - raised by the code of a cell
            return RequestError(f"a cell has no text: {type(error).__name__}: {error}")

    def lacks_value(self, cells: Mapping[int, object]) -> bool:
        """Return True if a mentioned cell has no value; of a text that mentions none, if no cell has one."""
        if not self.cells:
            return all(value is None for value in cells.values())
        return any(value is None for value in cells.values()) or any(
            cell.attributes and _is_none(cell, cells[cell.column]) for cell in self.cells
        )


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


def _attribute(cell: Cell, value: object) -> object:
    """Return the value of an attribute, or of a key of a mapping; None if a mapping does not have it."""
    for attribute in cell.attributes:
        if value is None:
            return None
        if isinstance(value, Mapping):
            value = cast("Mapping[object, object]", value).get(attribute)
        elif attribute.startswith("_") or not hasattr(value, attribute):
            kind = type(value).__name__
            raise RequestError(f"{{{{{cell.name}}}}} in the text: a {kind} has no attribute {attribute!r}")
        else:
            value = getattr(value, attribute)
    return None if is_missing(value) else value


def _is_none(cell: Cell, value: object) -> bool:
    try:
        return _attribute(cell, value) is None
    except Exception:  # noqa: BLE001 - the row has an error then
        return False


def _text(cell: Cell, value: object) -> str:
    inner = _attribute(cell, value) if cell.attributes else value
    return "" if inner is None else placeholders.as_text(inner, cell.name)


def _row_value(columns: Sequence[str], cells: Mapping[int, object]) -> str:
    present = [
        (columns[number], placeholders.as_text(value, columns[number]))
        for number, value in cells.items()
        if value is not None
    ]
    if len(columns) == 1:
        return "".join(text for _, text in present)
    return "\n".join(f"{name}: {text}" for name, text in present)
