"""The rules of `models.toml`: conditions, actions, order, precedence, errors, and how a match is displayed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_magic import Registry, RegistryError, Router, routing
from llm_magic.providers.scripted import ScriptedProvider
from llm_magic.registry.rules import Then, When
from llm_magic.routing.plan_text import plan_text
from llm_magic.types import Message
from tests.support.builders import FakeClock, model
from tests.support.shell import Shell

EASY = "Translate to French: hello"


@pytest.fixture
def with_rules(tmp_path: Path) -> Callable[..., Router]:
    """A function that makes a router of three models and of a `models.toml` with the given text."""

    def make(text: str, provider: ScriptedProvider | None = None) -> Router:
        file = tmp_path / "models.toml"
        file.write_text(text)
        rules = Registry.load(user_file=file).rules if "model" not in text else _rules(text, file)
        registry = Registry(
            models=[
                model("strong", price="4/20", tiers=("COMPLEX", "STANDARD"), capability={"BULK": 5.0, "COMPLEX": 3.0}),
                model("cheap", price="0.1/0.5", tiers=("STRUCTURED", "BULK"), capability={"BULK": 2.0, "COMPLEX": 0.0}),
                model("odd", price="9/30", tiers=(), capability={"BULK": 1.0, "COMPLEX": 0.0}),
            ],
            rules=rules,
        )
        return Router(
            registry=registry,
            providers=dict.fromkeys(("cloud",), provider or ScriptedProvider()),
            clock=FakeClock().clock(),
        )

    return make


def _rules(text: str, file: Path) -> Any:
    """The rules of a file whose models are those of the test, not of the packaged registry."""
    import tomllib
    from decimal import Decimal

    from llm_magic.registry.rules import parse_rules

    return parse_rules(tomllib.loads(text, parse_float=Decimal)["rules"], str(file))


def rule(when: str, then: str = 'tier = "complex"') -> str:
    return f"[[rules]]\nwhen = {{ {when} }}\nthen = {{ {then} }}\n"


def test_the_packaged_models_have_no_rules() -> None:
    assert Registry.load().rules == Registry.load("article").rules == ()


@pytest.mark.parametrize(
    ("when", "prompt", "options", "is_match"),
    [
        ("regex = '(?i)french'", EASY, {}, True),
        ("regex = 'German'", EASY, {}, False),
        ("regex = 'German'", "German: hi", {"routing_text": EASY}, False),
        ("tag = 'legal'", EASY, {"tags": ("x", "legal")}, True),
        ("tag = 'legal'", EASY, {"tags": ("legalese",)}, False),
        ("tier = 'bulk'", EASY, {}, True),
        ("tier = 'STANDARD'", EASY, {}, False),
        ("min_tokens = 5", EASY, {}, True),
        ("min_tokens = 50", EASY, {}, False),
        ("max_tokens = 50", EASY, {}, True),
        ("max_tokens = 3", EASY, {}, False),
        ("min_tokens = 5, max_tokens = 50, tag = 'x', tier = 'bulk', regex = 'hello'", EASY, {"tags": "x"}, True),
        ("min_tokens = 5, tag = 'y'", EASY, {"tags": "x"}, False),
    ],
)
def test_a_rule_applies_if_all_of_its_conditions_hold(
    with_rules: Callable[..., Router], when: str, prompt: str, options: dict[str, Any], is_match: bool
) -> None:
    plan = with_rules(rule(when)).plan(prompt, **options)
    assert (plan.tier == "COMPLEX") is is_match
    assert bool(plan.request.rule) is is_match


def test_the_tokens_of_attachments_count(with_rules: Callable[..., Router], tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 100)
    router = with_rules(rule("min_tokens = 100"))
    assert router.plan(EASY).tier == "BULK"
    assert router.plan(EASY, attach=[tmp_path / "long.txt"]).tier == "COMPLEX"


def test_a_rule_sets_the_tier(with_rules: Callable[..., Router]) -> None:
    plan = with_rules(rule("tag = 'legal'")).plan(EASY, tags="legal")
    assert (plan.tier, plan.classification.confidence) == ("COMPLEX", 1.0)
    assert plan.classification.reasons == ("rule 1 in models.toml: tag 'legal'",)
    assert plan.candidates[0].model.id == "strong"


def test_a_rule_sets_the_model_and_is_the_reason_of_its_place(with_rules: Callable[..., Router]) -> None:
    plan = with_rules(rule("regex = 'hello'", "model = 'odd'")).plan(EASY)
    leader = plan.candidates[0]
    assert (leader.model.id, leader.why) == ("odd", "rule 1 in models.toml: regex 'hello'")
    assert plan.tier == "BULK", "as classified"
    assert plan.classification.reasons[-1] == "rule 1 in models.toml: regex 'hello'"


def test_a_rule_sets_the_quality(with_rules: Callable[..., Router]) -> None:
    router = with_rules(rule("max_tokens = 100", "quality = 1"))
    assert router.plan(EASY).request.quality == 1
    assert router.plan(EASY).candidates[0].model.id == "strong"


def test_the_first_match_wins(with_rules: Callable[..., Router]) -> None:
    text = rule("tag = 'a'", "model = 'odd'") + rule("tag = 'b'", "model = 'strong'") + rule("tag = 'a'", "quality = 0")
    plan = with_rules(text).plan(EASY, tags=("a", "b"))
    assert (plan.candidates[0].model.id, plan.request.rule) == ("odd", "rule 1 in models.toml: tag 'a'")
    assert with_rules(text).plan(EASY, tags="b").request.rule == "rule 2 in models.toml: tag 'b'"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tier": "bulk"}, {"tier": "BULK", "model": None}),
        ({"model": "cheap"}, {"tier": None, "model": "cheap"}),
        ({"quality": 0.5}, {"tier": "COMPLEX", "model": "odd", "quality": 0.5}),
        ({}, {"tier": "COMPLEX", "model": "odd", "quality": 0.25}),
    ],
)
def test_a_stated_option_beats_a_rule(
    with_rules: Callable[..., Router], options: dict[str, Any], expected: dict[str, Any]
) -> None:
    router = with_rules(rule("regex = 'hello'", "tier = 'complex', model = 'odd', quality = 0.25"))
    request = router.plan(EASY, **options).request
    assert {name: getattr(request, name) for name in expected} == expected


def test_a_plan_of_a_planned_request_is_the_same(with_rules: Callable[..., Router]) -> None:
    router = with_rules(rule("tier = 'bulk'", "tier = 'complex'") + rule("tier = 'complex'", "model = 'odd'"))
    plan = router.plan(EASY)
    assert router.plan(plan.request) == plan


def test_rules_survive_tuning(with_rules: Callable[..., Router]) -> None:
    registry = with_rules(rule("tag = 'x'")).registry
    assert registry.with_models(registry).rules == registry.rules != ()


def test_a_rule_reads_the_part_of_the_prompt_that_the_classifier_reads(with_rules: Callable[..., Router]) -> None:
    router = with_rules(rule("regex = 'needle'"))
    assert not router.plan("x" * 5_000 + " needle " + "x" * 5_000).request.rule
    assert router.plan("x" * 5_000 + " needle").request.rule


def test_a_pattern_takes_bounded_time_on_a_long_prompt(with_rules: Callable[..., Router]) -> None:
    router = with_rules(rule(r"regex = 'a.*a.*\d$'"))
    router.plan("warm up")
    prompt = "a short sentence without digits " * 30_000
    started = time.perf_counter()
    assert not router.plan(prompt).request.rule
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules = 3", "rules must be tables, [[rules]]"),
        ("[rules]\nwhen = 1", "rules must be tables, [[rules]]"),
        (rule("tag = 'x'") + "[[rules]]\nif = 1", "rules[1]: unknown key 'if'; known are when and then"),
        ("[[rules]]\nthen = { quality = 1 }", "rules[0].when must be a table with at least one of regex, tag, tier"),
        (rule(""), "rules[0].when must be a table with at least one of regex, tag, tier"),
        (rule("tag = 'x'", ""), "rules[0].then must be a table with at least one of tier, model, quality"),
        (rule("tags = 'x'"), "rules[0].when: unknown key 'tags'; known are regex, tag, tier, min_tokens, max_tokens"),
        (rule("tag = 'x'", "tiers = 'bulk'"), "rules[0].then: unknown key 'tiers'; known are tier, model, quality"),
        (rule("tag = 'x'") + rule("regex = '('"), "rules[1].when.regex = '(' is not a valid regular expression: "),
        (rule("regex = '(a+)+$'"), "rules[0].when.regex = '(a+)+$' repeats a repetition"),
        (rule("regex = '(?:x(a*|b))*?'"), "repeats a repetition"),
        (rule("regex = 'a*b+c*'"), "rules[0].when.regex = 'a*b+c*' has 3 long repetitions, more than 2: limit them"),
        (rule("regex = '(a{1,99}){1,99}'"), "repeats a repetition"),
        (rule("regex = 3"), "rules[0].when.regex = 3 must be text"),
        (rule("tag = ''"), "rules[0].when.tag = '' must be text"),
        (rule("tier = 'hard'"), "rules[0].when.tier = 'hard' must be one of COMPLEX, STANDARD, STRUCTURED, BULK"),
        (rule("min_tokens = -1"), "rules[0].when.min_tokens = -1 must be a whole number of zero or more"),
        (rule("max_tokens = true"), "rules[0].when.max_tokens = True must be a whole number of zero or more"),
        (rule("min_tokens = 9, max_tokens = 2"), "rules[0].when.min_tokens = 9 is above max_tokens = 2"),
        (rule("tag = 'x'", "tier = 7"), "rules[0].then.tier = 7 must be one of COMPLEX"),
        (rule("tag = 'x'", "model = 'gpt-1'"), "rules[0].then.model: no model 'gpt-1': the registry has "),
        (rule("tag = 'x'", "quality = 1.5"), "rules[0].then.quality = Decimal('1.5') must be a share from 0"),
        (rule("tag = 'x'", "quality = nan"), "rules[0].then.quality = Decimal('NaN') must be a share from 0"),
    ],
)
def test_an_invalid_rule_is_an_error_that_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "models.toml"
    file.write_text(text)
    with pytest.raises(RegistryError) as caught:
        Registry.load(user_file=file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("pattern", ["a+b*", "(ab){2,5}c+", "(a|b)+", "[a-z]+@[a-z]+", "(?i)^legal\\b"])
def test_ordinary_patterns_are_accepted(tmp_path: Path, pattern: str) -> None:
    file = tmp_path / "models.toml"
    file.write_text(rule(f"regex = '{pattern}'"))
    assert len(Registry.load(user_file=file).rules) == 1


def test_a_match_is_displayed_in_the_plan_and_in_the_cell(
    shell: Shell, with_rules: Callable[..., Router], scripted: ScriptedProvider
) -> None:
    router = routing.use_router(
        with_rules(rule("regex = 'nothing'") + rule("tag = 'legal'", "model = 'odd'"), scripted)
    )
    shell.run(f"plan = %route_plan --tag legal {EASY}")
    shell.run("%config RouteMagics.verbosity = 'full'")
    lines = plan_text(shell["plan"])
    assert "odd: " in lines
    assert lines.count("rule 2 in models.toml: tag 'legal'") == 2
    out = shell.run(f"%%route --tag legal\n{EASY}")
    assert "rule 2 in models.toml: tag 'legal'" in out
    assert shell["_route"].model == "odd"
    assert shell["_route"].reasons[-1] == "rule 2 in models.toml: tag 'legal'"
    assert scripted.requests[0].messages == (Message(role="user", content=EASY),)
    assert router.ledger.rows()[0].model == "odd"


def test_a_rule_beats_the_quality_setting_and_an_option_beats_the_rule(
    shell: Shell, with_rules: Callable[..., Router], scripted: ScriptedProvider
) -> None:
    routing.use_router(with_rules(rule("regex = 'hello'", "quality = 0.25"), scripted))
    shell.run("%config RouteMagics.quality = 0.75")
    shell.run(f"plan = %route_plan {EASY}")
    assert shell["plan"].request.quality == 0.25
    shell.run(f"plan = %route_plan --quality 0.5 {EASY}")
    assert shell["plan"].request.quality == 0.5
    shell.run("plan = %route_plan Translate to French: goodbye")
    assert shell["plan"].request.quality == 0.75


def test_every_key_of_a_rule_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "own-models.md").read_text("utf-8")
    keys = {field.name for record in (When, Then) for field in dataclasses.fields(record)}
    assert [key for key in keys if f"`{key}`" not in page] == []
