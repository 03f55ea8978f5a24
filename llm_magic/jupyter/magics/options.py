"""From a magic's options and text to the request that they stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from IPython.core.error import UsageError

from llm_magic.attachments import attach, of_value
from llm_magic.errors import BudgetError, RequestError
from llm_magic.jupyter.magics import namespace
from llm_magic.jupyter.magics.interpolation import interpolate
from llm_magic.routing import Router
from llm_magic.types import Attachment, Request

_WORD = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[^\s"'])+)""")


def request_of(router: Router, args: Any, text: str, names: Mapping[str, Any], settings: Any) -> Request:
    """The request of parsed options and a text. `names` are the notebook's, `settings` those of `RouteMagics`."""
    prompt, routing_text = (text, None) if args.no_interpolate else interpolate(text, names)
    namespace.check_name(args.out)
    if args.quality is not None and not 0 <= args.quality <= 1:
        raise UsageError(f"--quality {args.quality}: must be from 0 (the cheapest) to 1 (the best)")
    if args.max_tokens is not None and args.max_tokens < 1:
        raise UsageError(f"--max-tokens {args.max_tokens}: must be at least 1")
    schema = unquoted(args.schema)
    if schema is not None and not schema.lstrip().startswith("{"):
        schema = _named("--schema", schema, names)
    try:
        return router.request(
            prompt,
            tier=args.tier,
            quality=settings.quality if args.quality is None else args.quality,
            model=unquoted(args.model),
            system=unquoted(args.system),
            max_output_tokens=args.max_tokens,
            max_cost=unquoted(args.max_cost),
            schema=schema,
            tags=tuple(unquoted(tag) or "" for tag in args.tag or ()),
            routing_text=routing_text,
            hedge_s=args.hedge,
            attach=[_attached(what, names, settings.table_rows) for what in args.attach or ()],
            thread=unquoted(args.thread),
            thread_tokens=settings.thread_tokens,
            cache=settings.cache if args.cache is None else args.cache,
            cascade=args.cascade,
            check=_named("--check", args.check, names),
            judge=unquoted(args.judge),
        )
    except BudgetError as error:
        raise UsageError(f"--max-cost: {error}") from None
    except RequestError as error:
        raise UsageError(str(error)) if re.match(r"no (tier|cascade) ", str(error)) else error from None


def compared(args: Any) -> list[str]:
    """The models that `--compare` names, or tiers."""
    given = {"--thread": args.thread, "--model": args.model, "--plan": args.plan, "--background": args.background}
    if clashing := next((name for name, value in given.items() if value), None):
        raise UsageError(f"--compare does not go together with {clashing}")
    return [model.strip() for model in (unquoted(args.compare) or "").split(",") if model.strip()]


def split_options(line: str, magic: Any) -> tuple[str, str]:
    """The options of a magic at the head of a line, and the text behind them exactly as it was typed."""
    flags = {name for action in magic.parser._actions if action.nargs in (0, "?") for name in action.option_strings}
    at = 0
    while (word := _WORD.match(line, at)) and word.group(1).startswith("--"):
        at = word.end()
        if word.group(1) in flags or "=" in word.group(1):
            continue
        if value := _WORD.match(line, at):
            at = value.end()
    return line[:at], line[at:].strip()


def unquoted(value: str | None) -> str | None:
    """IPython leaves the quotes in an argument."""
    if value is not None and len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _attached(what: str, names: Mapping[str, Any], rows: int) -> Attachment:
    """What `--attach` names: a variable between double braces, or a path."""
    what = unquoted(what) or ""
    if not (what.startswith("{{") and what.endswith("}}")):
        return attach([what], rows=rows)[0]
    name = what[2:-2].strip()
    return of_value(name, _named("--attach", name, names), rows=rows)


def _named(option: str, name: str | None, names: Mapping[str, Any]) -> Any:
    """What a name that an option gives stands for in the notebook."""
    if (name := unquoted(name)) is None:
        return None
    if name not in names:
        raise UsageError(f"{option} {name}: no such name in the notebook")
    return names[name]
