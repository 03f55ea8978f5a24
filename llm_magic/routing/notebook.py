"""Values that the text of an option refers to: variables of the notebook, and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llm_magic import placeholders
from llm_magic.attachments import TABLE_ROWS, attach, of_value
from llm_magic.errors import InvalidOption, RequestError
from llm_magic.routing.type_expressions import type_expression
from llm_magic.types import Attachment


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """The part of a notebook that an option can refer to. table_rows: limit on the rows of an attached DataFrame."""

    variables: Mapping[str, object]
    table_rows: int = TABLE_ROWS


def variable(name: str, text: str, notebook: Notebook) -> object:
    if text not in notebook.variables:
        raise InvalidOption(name, text, "the name of a variable in the notebook")
    return notebook.variables[text]


def schema(name: str, text: str, notebook: Notebook) -> object:
    if text.lstrip().startswith("{"):
        return text
    if text in notebook.variables:
        return notebook.variables[text]
    try:
        return type_expression(text, notebook.variables)
    except (ValueError, TypeError, SyntaxError, RecursionError) as error:
        reason = "" if text.isidentifier() or isinstance(error, SyntaxError) else f" ({error})"
        wanted = "the name of a variable in the notebook, or a type such as list[Person]"
        raise InvalidOption(name, text, f"{wanted}{reason}") from None


def attachment(name: str, text: str, notebook: Notebook) -> Attachment:
    if not (text.startswith("{{") and text.endswith("}}")):
        try:
            return attach([text], rows=notebook.table_rows)[0]
        except RequestError as error:
            if text in notebook.variables:
                raise RequestError(f"{error}. For the variable {text}, write --attach {{{{{text}}}}}") from None
            raise
    path = text[2:-2].strip()
    first = path.partition(".")[0]
    if first not in notebook.variables or not placeholders.PATH.fullmatch(path):
        near = placeholders.nearest_variable(first, notebook.variables)
        hint = f". Did you mean {{{{{near}}}}}?" if near else ""
        raise InvalidOption(name, path, f"the name of a variable in the notebook, or of its attribute{hint}")
    return of_value(path, placeholders.attribute(notebook.variables[first], path), rows=notebook.table_rows)
