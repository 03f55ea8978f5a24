"""Columns of a router: their options, checked, and the parts of the router that they use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, Unpack, cast

from llm_magic.budget import Budget
from llm_magic.columns import Column
from llm_magic.columns.inputs import source_of
from llm_magic.columns.keep import ColumnStore
from llm_magic.columns.output import check_answer_names
from llm_magic.columns.preparation import ColumnContext, Postponing
from llm_magic.columns.rows import ColumnSpec
from llm_magic.columns.storage import restored_column
from llm_magic.columns.template import Template, literal, parse
from llm_magic.errors import LLMMagicError, RequestError
from llm_magic.execute import Services
from llm_magic.routing import keywords, validation
from llm_magic.routing.column_options import COLUMN_OPTIONS, DEFAULT_PILOT, ColumnOptions
from llm_magic.routing.options import OPTIONS, RequestOptions
from llm_magic.types import Plan, Request

_NOT_FOR_COLUMNS = ("thread", "history", "thread_tokens", "routing_text")


class Variables(TypedDict, total=False):
    """names: variables that a text may mention. interpolate: False leaves `{{name}}` as it is."""

    names: Mapping[str, object] | None
    interpolate: bool


def new_column(
    text: str,
    over: object,
    given: ColumnOptions,
    context: ColumnContext,
    **how: Unpack[Variables],
) -> Column:
    """Return a column that has not started. Raises RequestError."""
    keywords.check_names("map", given, (*OPTIONS, *COLUMN_OPTIONS))
    values = cast("Mapping[str, Any]", given)
    own: dict[str, Any] = {
        name: option.check(values[name]) for name, option in COLUMN_OPTIONS.items() if values.get(name) is not None
    }
    common = {name: value for name, value in values.items() if name not in COLUMN_OPTIONS and value is not None}
    if unusable := next((name for name in _NOT_FOR_COLUMNS if name in common), None):
        raise RequestError(f"a column takes no {unusable}: each row is a run of its own")
    source = source_of(over)
    checked = validation.prompt(text)
    is_literal = not how.get("interpolate", True)
    columns, aliases = source.columns, source.aliases
    template = literal(checked, columns) if is_literal else parse(checked, columns, aliases, how.get("names"))
    into = cast("str | None", own.get("into"))
    base, max_cost_usd = _base(context.request, template, checked, cast("RequestOptions", common))
    check_answer_names(into, base.schema, columns)
    spec = ColumnSpec(
        base=base,
        template=template,
        source=source,
        into=into,
        missing=own.get("missing", "skip"),
        pilot=own.get("pilot", DEFAULT_PILOT),
        keep_s=own.get("keep"),
    )
    return Column(spec, context, max_cost_usd=max_cost_usd)


def context(
    services: Services,
    store: ColumnStore,
    budget: Callable[[], Budget],
    make_plan: Callable[[Request], Plan],
    rejection: Callable[[Plan], LLMMagicError],
    request: Callable[..., Request],
    postponed: Postponing,
) -> ColumnContext:
    return ColumnContext(
        services=services,
        store=store,
        budget=budget,
        request_of=_row_request,
        make_plan=make_plan,
        rejection=rejection,
        request=request,
        postponed=postponed,
    )


def restored(content: str, context: ColumnContext) -> Column:
    spec, max_cost_usd = restored_column(content)
    return Column(spec, context, max_cost_usd=max_cost_usd)


def _row_request(base: Request, prompt: str) -> Request:
    return dataclasses.replace(base, prompt=validation.prompt(prompt))


def _base(request: Callable[..., Request], template: Template, text: str, given: RequestOptions) -> tuple[Request, Any]:
    """Return the request that all rows share, and the cap of the column."""
    base = request(text, **given)
    routing_text = template.routing_text if template.routing_text.strip() else None
    shared = dataclasses.replace(base, routing_text=routing_text, max_cost_usd=None, cache=False)
    return shared, base.max_cost_usd
