"""Values that the text of an option refers to: variables of the notebook, and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llm_magic.attachments import TABLE_ROWS, attach, of_value
from llm_magic.errors import InvalidOption
from llm_magic.types import Attachment


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """The part of a notebook that an option can refer to. table_rows: limit on the rows of an attached DataFrame."""

    variables: Mapping[str, object]
    table_rows: int = TABLE_ROWS


def unquoted(text: str) -> str:
    """Return an argument of a magic without its quotes, which IPython leaves in place."""
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'" else text


def variable(name: str, text: str, notebook: Notebook) -> object:
    if text not in notebook.variables:
        raise InvalidOption(name, text, "the name of a variable in the notebook")
    return notebook.variables[text]


def schema(name: str, text: str, notebook: Notebook) -> object:
    return text if text.lstrip().startswith("{") else variable(name, text, notebook)


def attachment(name: str, text: str, notebook: Notebook) -> Attachment:
    if not (text.startswith("{{") and text.endswith("}}")):
        return attach([text], rows=notebook.table_rows)[0]
    variable_name = text[2:-2].strip()
    return of_value(variable_name, variable(name, variable_name, notebook), rows=notebook.table_rows)
