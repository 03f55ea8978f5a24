"""Types as text, resolved without evaluating code."""

from __future__ import annotations

import datetime
import typing
from typing import Any

import pytest

from llm_magic.errors import InvalidOption
from llm_magic.routing import notebook
from llm_magic.routing.notebook import Notebook


class Person:
    pass


VARIABLES = {"Person": Person, "datetime": datetime, "typing": typing, "numbers": [1, 2], "call": lambda: int}


def resolved(text: str) -> object:
    return notebook.schema("schema", text, Notebook(variables=VARIABLES))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Person", Person), ("int", int), ("list[int]", list[int]), ("list[Person]", list[Person]),
        ("dict[str, Person]", dict[str, Person]), ("Person | None", Person | None), ("tuple[int, ...]", tuple[int, ...]),
        ("list[datetime.date|None]", list[datetime.date | None]), ("typing.Optional[Person]", Person | None),
    ],
)  # fmt: skip
def test_a_type_of_names_is_resolved(text: str, value: Any) -> None:
    assert resolved(text) == value


def test_a_variable_hides_a_builtin_type() -> None:
    assert notebook.schema("schema", "list", Notebook(variables={"list": Person})) is Person


@pytest.mark.parametrize(
    "text",
    ["nothing", "list[nothing]", "call()", "list[call()]", "Person.__class__", "numbers[0]", "numbers[Person]", "1",
     "list[", "print", "datetime.nothing", "Person & int", "numbers | None", "[Person]", "lambda: 1", "'int'"],
)  # fmt: skip
def test_anything_else_is_rejected(text: str) -> None:
    with pytest.raises(InvalidOption, match="must be the name of a variable in the notebook, or a type such as"):
        resolved(text)
