"""The options of a request, as keywords, as flags, and in the documentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from llm_magic import RequestError, Router
from llm_magic.errors import InvalidOption, UnknownOption
from llm_magic.jupyter.magics.route import RouteMagics
from llm_magic.routing.column_options import COLUMN_OPTIONS
from llm_magic.routing.keywords import markdown_table
from llm_magic.routing.options import OPTIONS
from llm_magic.types import Request
from tests.support import builders


def test_every_option_fills_a_field_of_the_request() -> None:
    fields = {field.name for field in dataclasses.fields(Request)}
    assert {option.field or name for name, option in OPTIONS.items()} - fields == {"thread_tokens"}


def test_every_field_of_the_request_has_an_option() -> None:
    fields = {field.name for field in dataclasses.fields(Request)}
    assert fields - {option.field or name for name, option in OPTIONS.items()} == {
        "prompt",
        "rule",
        "model_reason",
        "is_quality_stated",
        "shared_chars",
        "shadowing",
    }


def test_the_magic_has_the_flags_of_every_option_and_its_own() -> None:
    flags = {flag for action in RouteMagics.route.parser._actions for flag in action.option_strings}
    own = {"--out", "--plan", "--no-stream", "--insert", "--compare", "--background", "--no-interpolate", "--over"}
    options = {option.flag for option in (*OPTIONS.values(), *COLUMN_OPTIONS.values()) if option.flag}
    assert flags == options | own | {"--no-cache", "--no-cache-prefix", "--no-flex"}


@pytest.mark.parametrize(
    "call",
    [
        Router.request, Router.plan, Router.stream, Router.stream_sync, Router.job, Router.route_sync,
        lambda router, prompt, **options: router.plans(prompt, models=["strong", "cheap"], **options),
    ],
)  # fmt: skip
def test_a_misspelled_option_is_rejected_by_the_called_method(call: Callable[..., Any]) -> None:
    name = getattr(call, "__name__", "").replace("<lambda>", "plans")
    with pytest.raises(UnknownOption, match=rf"^{name}\(\) has no option 'teir': did you mean 'tier'\?$") as caught:
        call(builders.router(), "hello", teir="bulk")
    assert isinstance(caught.value, RequestError)
    assert isinstance(caught.value, TypeError)


async def test_coroutines_reject_a_misspelled_option() -> None:
    with pytest.raises(UnknownOption, match=r"^route\(\) has no option 'max_tokens': did you mean 'max_"):
        await builders.router().route("hello", max_tokens=5)  # type: ignore[call-arg]
    with pytest.raises(UnknownOption, match=r"^compare\(\) has no option 'tag': did you mean 'tags'"):
        await builders.router().compare("hello", models=["strong", "cheap"], tag="x")  # type: ignore[call-arg]


def test_an_option_unlike_all_others_lists_them() -> None:
    with pytest.raises(UnknownOption, match="has no option 'zzz': the options are tier, model, quality"):
        builders.router().plan("hello", zzz=1)  # type: ignore[call-arg]


def test_a_misspelled_cap_is_rejected_and_changes_nothing() -> None:
    router = builders.router()
    before = router.budget
    with pytest.raises(UnknownOption, match=r"^set_budget\(\) has no option 'days_usd': did you mean 'day_usd'\?$"):
        router.set_budget(5, days_usd=1)  # type: ignore[call-arg]
    assert router.budget == before


def test_an_abbreviated_cap_suggests_the_cap_of_the_session() -> None:
    with pytest.raises(UnknownOption, match=r"^set_budget\(\) has no option 'usd': did you mean 'session_usd'\?$"):
        builders.router().set_budget(usd=5)  # type: ignore[call-arg]


def test_an_invalid_value_names_the_option_and_what_it_must_be() -> None:
    with pytest.raises(InvalidOption, match=r"^quality = 2 must be a share from 0") as caught:
        builders.router().plan("hello", quality=2)
    assert (caught.value.option, caught.value.value) == ("quality", 2)
    with pytest.raises(InvalidOption, match=r"^thread_tokens = 0 must be a whole number of at least 1"):
        builders.router().plan("hello", thread="x", thread_tokens=0)


def test_none_stands_for_the_default() -> None:
    router = builders.router()
    given: dict[str, Any] = dict.fromkeys(OPTIONS)
    assert router.request("hello", **given) == router.request("hello")


def test_the_table_has_a_row_for_every_option() -> None:
    head, rule, *rows = markdown_table().splitlines()
    assert head.count("|") == rule.count("|") == 5
    assert [row.split("|")[2].strip() for row in rows] == [f"`{name}`" for name in OPTIONS]
    assert all(row.count("|") == 5 for row in rows)
