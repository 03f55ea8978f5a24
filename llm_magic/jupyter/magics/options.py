"""Conversion of a magic's options and text into a request."""

from __future__ import annotations

import dataclasses
from argparse import BooleanOptionalAction
from collections.abc import Callable, Mapping
from typing import Any, cast

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument

from llm_magic import placeholders
from llm_magic.columns import Column
from llm_magic.errors import InvalidOption, RequestError
from llm_magic.jupyter.magics import namespace, scope, words
from llm_magic.jupyter.magics.interpolation import interpolate
from llm_magic.registry import Registry
from llm_magic.routing import Router
from llm_magic.routing.column_options import COLUMN_OPTIONS, ColumnOptions
from llm_magic.routing.columns import Variables
from llm_magic.routing.keywords import check_amounts, from_arguments
from llm_magic.routing.notebook import Notebook
from llm_magic.routing.option import Option
from llm_magic.routing.options import OPTIONS, RequestOptions
from llm_magic.types import Request, Shadowing


def request_arguments(method: Callable[..., Any]) -> Callable[..., Any]:
    for name, option in reversed([*OPTIONS.items(), *COLUMN_OPTIONS.items()]):
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
    given = _given(args, notebook, settings)
    given.setdefault("thread_tokens", settings.thread_tokens)
    given.setdefault("cache", settings.cache)
    given["routing_text"] = routing_text
    request = router.request(prompt, **given)
    if settings.quality is not None and "quality" not in given:
        request = dataclasses.replace(request, quality=settings.quality)
    return dataclasses.replace(request, shadowing=_shadowing(router, settings))


def _shadowing(router: Router, settings: Any) -> Shadowing:
    """Return the router's settings of shadow runs, with those that the notebook states in their place."""
    stated: dict[str, Any] = {}
    if settings.shadow is not None:
        stated["share"] = settings.shadow
    if settings.explore is not None:
        stated["explore"] = settings.explore
    if settings.shadow_judge:
        stated["judge"] = settings.shadow_judge
    if settings.shadow_never_tags:
        stated["never_tags"] = tuple(settings.shadow_never_tags)
    if settings.shadow_never_regex:
        stated["never_regex"] = settings.shadow_never_regex
    return dataclasses.replace(router.shadowing, **stated)


def _given(args: Any, notebook: Notebook, settings: Any) -> RequestOptions:
    given = from_arguments(vars(args), notebook)
    check_amounts(given)
    given.setdefault("flex", settings.flex)
    if settings.effort is not None:
        given.setdefault("effort", settings.effort)
    if settings.worth is not None and "quality" not in given:
        given.setdefault("worth", settings.worth)
    if settings.last_resort:
        given.setdefault("last_resort", settings.last_resort)
    given.setdefault("on_refusal", settings.on_refusal)
    return given


def _interpolated(arguments: list[str], variables: Mapping[str, Any]) -> list[str]:
    filled: list[str] = []
    for argument_text in arguments:
        option, _, value = argument_text.partition("=")
        if option in _NAMES_OF_VARIABLES and value.startswith("{{") and value.endswith("}}"):
            argument_text = f"{option}={value[2:-2].strip()}"
        elif "{{" in value and option not in ("--attach", "--out", *_NAMES_OF_VARIABLES):
            try:
                argument_text = f"{option}={interpolate(value, variables)[0]}"
            except RequestError as error:
                raise UsageError(f"{option}: {error}") from None
        filled.append(argument_text)
    return filled


def column_of(router: Router, args: Any, text: str, variables: Mapping[str, Any], settings: Any) -> Column:
    """Return the column that parsed options and a text describe, not started yet."""
    namespace.check_name(args.out)
    if args.over not in variables:
        near = placeholders.nearest_variable(args.over, variables)
        hint = f" (did you mean {near}?)" if near else ""
        raise UsageError(f"invalid --over {args.over}: must be the name of a variable in the notebook{hint}")
    notebook = Notebook(variables=variables, table_rows=settings.table_rows)
    given: dict[str, Any] = dict(_given(args, notebook, settings))
    if settings.quality is not None:
        given.setdefault("quality", settings.quality)
    given |= {name: getattr(args, name) for name in COLUMN_OPTIONS}
    how: Variables = {"names": variables, "interpolate": not args.no_interpolate}
    return router.column(text, variables[args.over], cast("ColumnOptions", given), **how)


def check_column_options(args: Any) -> None:
    """Raise UsageError for options that do not fit together with --over, or that need it."""
    if args.over is None:
        if needing := next(
            (COLUMN_OPTIONS[name].flag for name in COLUMN_OPTIONS if getattr(args, name) is not None), None
        ):
            raise UsageError(f"{needing} needs --over NAME")
    elif args.compare is not None:
        raise UsageError("--over can't be combined with --compare")


def check_insert(args: Any) -> None:
    given = {"--over": args.over, "--compare": args.compare, "--background": args.background}
    if args.insert and (clashing := next((name for name, value in given.items() if value), None)):
        raise UsageError(f"--insert can't be combined with {clashing}")


def compared_models(args: Any, registry: Registry) -> list[str]:
    given = {
        "--thread": args.thread,
        "--model": args.model,
        "--plan": args.plan,
        "--when": args.when == "cheap",
        "--background": args.background,
    }
    if clashing := next((name for name, value in given.items() if value), None):
        raise UsageError(f"--compare can't be combined with {clashing}")
    models = [model.strip() for model in args.compare.split(",") if model.strip()]
    for model in models if models != ["tiers"] else ():
        try:
            registry.check_known("model", model)
        except InvalidOption as error:
            raise UsageError(f"invalid --compare {model}: must be tiers, or {error.requirement}") from None
    return models


_NAMES_OF_VARIABLES = ("--schema", "--check", "--over")


def parsed(
    line: str, magic: Any, notebook: Mapping[str, Any], *, takes_text: bool, needs_text: bool = True
) -> tuple[Any, str]:
    """Return the options of a line, and the text after them exactly as it was typed. Raises UsageError."""
    arguments, text = words.split(line, magic, takes_text=takes_text)
    if rest := [argument for argument in arguments if not words.is_option(argument)]:
        raise UsageError(f"unrecognized arguments: {' '.join(rest)} (the prompt goes below the first line)")
    if "{{" in line and "--no-interpolate" not in arguments:
        arguments = _interpolated(arguments, scope.visible(notebook))
    if takes_text and needs_text and not text:
        raise UsageError("the prompt is empty: write it after the options, or below %%route, with two percent signs")
    return magic.parser.parse_args(arguments), text
