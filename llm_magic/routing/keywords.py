"""The keywords of the methods of `Router`: their names checked, and their values converted."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, cast

from llm_magic.budget import AMOUNT, Amount, usd
from llm_magic.errors import BudgetError, InvalidOption, RequestError, UnknownOption
from llm_magic.routing.column_options import COLUMN_OPTIONS
from llm_magic.routing.notebook import Notebook
from llm_magic.routing.options import OPTIONS, RequestOptions
from llm_magic.types import Request


class Caps(TypedDict, total=False):
    """The keywords of `Router.set_budget`: the fields of `Budget`. None removes a cap."""

    run_usd: Amount | None
    day_usd: Amount | None
    month_usd: Amount | None
    models_usd: Mapping[str, Amount]
    tags_usd: Mapping[str, Amount]
    shadow_usd: Amount | None


def check_names(method: str, given: Mapping[str, object], known: Iterable[str] = OPTIONS) -> None:
    """Raise UnknownOption for a keyword that a method does not take, naming the nearest one."""
    for name in given:
        if name not in known:
            longer = [option for option in known if option.endswith(f"_{name}")]
            nearest = longer or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"the options are {', '.join(known)}"
            raise UnknownOption(f"{method}() has no option {name!r}: {hint}")


def check_call(method: str, prompt: str | Request, given: RequestOptions) -> None:
    """Raise UnknownOption for an unknown keyword, and RequestError for any keyword with a finished request."""
    check_names(method, given)
    if isinstance(prompt, Request) and given:
        raise RequestError(f"{method}() takes no {min(given)} with a Request: give it to router.request(...)")


def fields_of(given: RequestOptions) -> dict[str, Any]:
    """Return the checked values by the field of `Request` that takes them. Raises RequestError."""
    values = cast("Mapping[str, object]", given)
    return {
        option.field or name: option.check(value)
        for name, option in OPTIONS.items()
        if (value := values.get(name)) is not None
    }


def from_arguments(arguments: Mapping[str, Any], context: Notebook) -> RequestOptions:
    """Return the options that the parsed arguments of a magic state, by keyword. Raises RequestError."""
    given: dict[str, object] = {}
    for name, option in OPTIONS.items():
        value = arguments.get(name)
        if option.flag is None or value is None:
            continue
        if (resolve := option.resolve) is not None:
            value = (
                [resolve(name, text, context) for text in value]
                if option.is_repeatable
                else resolve(name, value, context)
            )
        given[name] = value
    return cast("RequestOptions", given)


def check_amounts(given: Mapping[str, object]) -> None:
    """Raise InvalidOption for an option that should be an amount of USD and is not."""
    for name, option in OPTIONS.items():
        if option.check is usd and (value := given.get(name)) is not None:
            try:
                option.check(value)
            except BudgetError:
                raise InvalidOption(name, value, AMOUNT) from None


def message_as_typed(error: InvalidOption) -> str:
    option = {**OPTIONS, **COLUMN_OPTIONS}[error.option]
    return f"invalid {option.flag} {error.value}: must be {error.requirement}" if option.flag else str(error)


def markdown_table() -> str:
    """Return every option as a Markdown table, for the documentation."""
    lines = ["| `%%route` | Python | Meaning | Default |", "|---|---|---|---|"]
    for name, option in OPTIONS.items():
        flag = "" if option.flag is None else f"`{' '.join(filter(None, (option.flag, option.metavar)))}`"
        lines.append(f"| {flag} | `{name}` | {option.help} | {option.default} |")
    return "\n".join(lines) + "\n"
