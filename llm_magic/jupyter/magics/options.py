"""Conversion of a magic's options and text into a request."""

from __future__ import annotations

import dataclasses
import re
from argparse import BooleanOptionalAction
from collections.abc import Callable, Mapping
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument

from llm_magic.errors import BudgetError, InvalidOption
from llm_magic.jupyter.magics import namespace
from llm_magic.jupyter.magics.interpolation import interpolate
from llm_magic.routing import Router
from llm_magic.routing.notebook import Notebook, unquoted
from llm_magic.routing.options import OPTIONS, Option, from_arguments
from llm_magic.types import Request

_WORD = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[^\s"'])+)""")


def request_arguments(method: Callable[..., Any]) -> Callable[..., Any]:
    for name, option in reversed(list(OPTIONS.items())):
        if option.flag is not None:
            help_text = option.full_help.replace("%", "%%")
            method = argument(option.flag, dest=name, help=help_text, **_action(option))(method)
    return method


def _action(option: Option) -> dict[str, Any]:
    if option.metavar is None:
        return {"action": BooleanOptionalAction}
    value: dict[str, Any] = {"metavar": option.metavar, "type": option.parse}
    if option.is_repeatable:
        return {"action": "append", **value}
    return value if option.bare is None else {"nargs": "?", "const": option.bare, **value}


def request_of(router: Router, args: Any, text: str, variables: Mapping[str, Any], settings: Any) -> Request:
    """Return the request that parsed options and a text describe. `settings` are those of `RouteMagics`."""
    prompt, routing_text = (text, None) if args.no_interpolate else interpolate(text, variables)
    namespace.check_name(args.out)
    notebook = Notebook(variables=variables, table_rows=settings.table_rows)
    try:
        given = from_arguments(vars(args), notebook)
        given.setdefault("thread_tokens", settings.thread_tokens)
        given.setdefault("cache", settings.cache)
        if settings.effort is not None:
            given.setdefault("effort", settings.effort)
        if settings.last_resort:
            given.setdefault("last_resort", settings.last_resort)
        given.setdefault("on_refusal", settings.on_refusal)
        given["routing_text"] = routing_text
        request = router.request(prompt, **given)
    except BudgetError as error:
        raise UsageError(f"--max-cost: {error}") from None
    except InvalidOption as error:
        raise usage_error(error) from None
    if settings.quality is not None and "quality" not in given:
        request = dataclasses.replace(request, quality=settings.quality)
    return request


def usage_error(error: InvalidOption) -> UsageError:
    return UsageError(f"invalid {OPTIONS[error.option].flag} {error.value}: must be {error.requirement}")


def compared_models(args: Any) -> list[str]:
    given = {"--thread": args.thread, "--model": args.model, "--plan": args.plan, "--background": args.background}
    if clashing := next((name for name, value in given.items() if value), None):
        raise UsageError(f"--compare can't be combined with {clashing}")
    return [model.strip() for model in unquoted(args.compare).split(",") if model.strip()]


def split_options(line: str, magic: Any) -> tuple[str, str]:
    """Split a line into the options at its beginning and the text after them, exactly as it was typed."""
    flags = {name for action in magic.parser._actions if action.nargs in (0, "?") for name in action.option_strings}
    end = 0
    while (word := _WORD.match(line, end)) and word.group(1).startswith("--"):
        end = word.end()
        if word.group(1) in flags or "=" in word.group(1):
            continue
        if value := _WORD.match(line, end):
            end = value.end()
    return line[:end], line[end:].strip()
