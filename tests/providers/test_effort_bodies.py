"""The parameters that are sent at each level of effort, for every shipped model.

Sources: E platform.claude.com/docs/en/build-with-claude/effort, R developers.openai.com/api/docs/guides/reasoning and
litellm discussion 52347 (6.1-sol refuses none), M the models' pages at developers.openai.com/api/docs/models, L docs.oxen.ai and docs.litellm.ai on gpt-6-luna (none to max, medium by
default), D api-docs.deepseek.com/guides/thinking_mode (medium is served as high).
"""

from __future__ import annotations

from typing import Any

import pytest

from llm_magic import Registry
from llm_magic.providers import anthropic, openai
from llm_magic.providers.base import ProviderRequest
from llm_magic.types import Effort, Message


def claude(level: str) -> dict[str, Any]:
    return {"output_config": {"effort": level}}


def gpt(level: str) -> dict[str, Any]:
    return {"service_tier": "default", "reasoning_effort": level}


NO_THINKING = {"thinking": {"type": "disabled"}}

TABLE: list[tuple[str, str, dict[str, Any], str]] = [
    ("claude-opus-5-5", "low", claude("low"), "E"),
    ("claude-opus-5-5", "medium", claude("medium"), "E"),
    ("claude-opus-5-5", "high", claude("high"), "E"),
    ("claude-opus-5-5", "max", claude("max"), "E"),
    ("claude-sonnet-5-5", "low", claude("low"), "E"),
    ("claude-sonnet-5-5", "medium", claude("medium"), "E"),
    ("claude-sonnet-5-5", "high", claude("high"), "E"),
    ("claude-sonnet-5-5", "max", claude("max"), "E"),
    ("claude-haiku-5-5", "none", NO_THINKING, "E"),
    ("claude-haiku-5-5", "low", claude("low"), "E"),
    ("claude-haiku-5-5", "medium", claude("medium"), "E"),
    ("claude-haiku-5-5", "high", claude("high"), "E"),
    ("claude-fable-5-2", "low", claude("low"), "E"),
    ("claude-fable-5-2", "medium", claude("medium"), "E"),
    ("claude-fable-5-2", "high", claude("high"), "E"),
    ("claude-fable-5-2", "max", claude("max"), "E"),
    ("gpt-6.1-terra", "none", gpt("none"), "R"),
    ("gpt-6.1-terra", "low", gpt("low"), "R"),
    ("gpt-6.1-terra", "medium", gpt("medium"), "R"),
    ("gpt-6.1-terra", "high", gpt("high"), "R"),
    ("gpt-6.1-terra", "max", gpt("max"), "R"),
    ("gpt-6.1-sol", "low", gpt("low"), "R"),
    ("gpt-6.1-sol", "medium", gpt("medium"), "R"),
    ("gpt-6.1-sol", "high", gpt("high"), "R"),
    ("gpt-6.1-sol", "max", gpt("max"), "R"),
    ("gpt-6.2-sol", "low", gpt("low"), "M"),
    ("gpt-6.2-sol", "medium", gpt("medium"), "M"),
    ("gpt-6.2-sol", "high", gpt("high"), "M"),
    ("gpt-6.2-astra", "low", gpt("low"), "M"),
    ("gpt-6.2-astra", "medium", gpt("medium"), "M"),
    ("gpt-6.2-astra", "high", gpt("high"), "M"),
    ("gpt-6-luna", "none", gpt("none"), "L"),
    ("gpt-6-luna", "low", gpt("low"), "L"),
    ("gpt-6-luna", "medium", gpt("medium"), "L"),
    ("gpt-6-luna", "high", gpt("high"), "L"),
    ("gpt-6-luna", "max", gpt("max"), "L"),
    ("deepseek-flash", "none", NO_THINKING, "D"),
    ("deepseek-flash", "low", {"reasoning_effort": "low"}, "D"),
    ("deepseek-flash", "high", {"reasoning_effort": "high"}, "D"),
    ("deepseek-flash", "max", {"reasoning_effort": "max"}, "D"),
    ("deepseek-v4-pro", "none", NO_THINKING, "D"),
    ("deepseek-v4-pro", "low", {"reasoning_effort": "low"}, "D"),
    ("deepseek-v4-pro", "high", {"reasoning_effort": "high"}, "D"),
    ("deepseek-v4-pro", "max", {"reasoning_effort": "max"}, "D"),
]
DEFAULTS = {
    "claude-opus-5-5": "medium",
    "claude-sonnet-5-5": "high",
    "claude-haiku-5-5": "medium",
    "claude-fable-5-2": "high",
    "gpt-6.1-terra": "medium",
    "gpt-6.1-sol": "medium",
    "gpt-6.2-sol": "medium",
    "gpt-6.2-astra": "medium",
    "gpt-6-luna": "medium",
    "deepseek-flash": "high",
    "deepseek-v4-pro": "high",
}


def body_of(
    model_id: str, effort: Effort | None, *, is_brief: bool = False, shows_thinking: bool = False
) -> dict[str, Any]:
    registry = Registry.load("current")
    model = registry[model_id]
    request = ProviderRequest(
        model=model,
        messages=(Message(role="user", content="Hello"),),
        max_output_tokens=100,
        effort=effort,
        is_brief=is_brief,
        shows_thinking=shows_thinking,
    )
    wire = anthropic if registry.providers[model.provider].api == "anthropic" else openai
    return wire.request_body(request)


@pytest.mark.parametrize(("model_id", "level", "sent", "source"), TABLE)
def test_the_body_at_each_level_of_each_shipped_model(
    model_id: str, level: str, sent: dict[str, Any], source: str
) -> None:
    assert body_of(model_id, Effort(level))["extra_body"] == sent
    assert source in (__doc__ or "")


def test_the_table_has_every_level_that_ships() -> None:
    registry = Registry.load("current")
    shipped = {(model.id, str(effort)) for model in registry for effort in model.effort or ()}
    assert {(model_id, level) for model_id, level, _, _ in TABLE} == shipped
    assert {model.id: model.effort.default for model in registry if model.effort} == DEFAULTS


def test_without_an_effort_nothing_is_sent_about_it() -> None:
    for model_id in DEFAULTS:
        assert not {"reasoning_effort", "thinking", "output_config"} & body_of(model_id, None)["extra_body"].keys()


def test_short_answers_are_requested_where_the_wire_has_verbosity() -> None:
    assert body_of("gpt-6-luna", Effort.NONE, is_brief=True)["extra_body"]["verbosity"] == "low"
    assert "verbosity" not in body_of("gpt-6-luna", Effort.NONE)["extra_body"]
    assert "verbosity" not in body_of("claude-haiku-5-5", Effort.NONE, is_brief=True)["extra_body"]


SUMMARIZED = {"type": "adaptive", "display": "summarized"}


def test_a_watched_answer_of_claude_has_a_summary_of_its_thinking() -> None:
    """Billed like omitted thinking: platform.claude.com/docs/en/build-with-claude/thinking#controlling-thinking-display."""
    for model_id in (model_id for model_id in DEFAULTS if model_id.startswith("claude")):
        sent = body_of(model_id, Effort.LOW, shows_thinking=True)["extra_body"]
        assert sent == {"thinking": SUMMARIZED, "output_config": {"effort": "low"}}
    assert body_of("claude-haiku-5-5", Effort.NONE, shows_thinking=True)["extra_body"] == NO_THINKING


def test_a_watched_answer_of_the_other_wire_is_sent_nothing_about_thinking() -> None:
    for model_id in (model_id for model_id in DEFAULTS if not model_id.startswith("claude")):
        watched = body_of(model_id, Effort.LOW, shows_thinking=True)
        assert watched == body_of(model_id, Effort.LOW)


def test_a_schema_and_an_effort_share_the_output_config_of_claude() -> None:
    from llm_magic import answers

    registry = Registry.load("current")
    request = ProviderRequest(
        model=registry["claude-opus-5-5"],
        messages=(Message(role="user", content="Hello"),),
        max_output_tokens=100,
        schema=answers.schema_of({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}),
        effort=Effort.LOW,
    )
    output_config = anthropic.request_body(request)["extra_body"]["output_config"]
    assert output_config["effort"] == "low"
    assert output_config["format"]["type"] == "json_schema"
