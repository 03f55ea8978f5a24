"""Usage as endpoints report it: worked out where the numbers allow it, doubted where they contradict each other."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_magic.events import TextDelta
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport
from llm_magic.providers.token_counts import parse_count
from llm_magic.providers.usage import CompletionsUsage, MessagesUsage
from llm_magic.types import Usage
from tests.support import builders
from tests.support.builders import model
from tests.support.fuzzing import examples

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """The usage objects of an answer, in order, and what they amount to.

    counts: input, cached, written, output, reasoning. exact: nothing about the report is doubted.
    """

    name: str
    source: str
    reports: tuple[Body, ...]
    counts: tuple[int, int, int, int, int]
    exact: bool = True

    @property
    def usage(self) -> Usage:
        return Usage(
            input_tokens=self.counts[0],
            cached_input_tokens=self.counts[1],
            cache_write_tokens=self.counts[2],
            output_tokens=self.counts[3],
            reasoning_tokens=self.counts[4],
        )


def body(prompt: object, completion: object, total: object = None, **more: object) -> Body:
    """Make a usage object of the Chat Completions wire. `cached`, `written` and `reasoning` are put into details."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    details = {"cached": "cached_tokens", "written": "cache_write_tokens"}
    made: Body = {name: value for name, value in counts.items() if value is not None}
    if any(name in more for name in details):
        made["prompt_tokens_details"] = {field: more.pop(name) for name, field in details.items() if name in more}
    if "reasoning" in more:
        made["completion_tokens_details"] = {"reasoning_tokens": more.pop("reasoning")}
    return made | more


COMPLETIONS = [
    # Reasoning within the completion tokens, or outside of them
    Row(name="openai", source="developers.openai.com/api/docs/guides/reasoning",
        reports=(body(19, 10, 29, cached=0, reasoning=4),), counts=(19, 0, 0, 10, 4)),
    Row(name="xai", source="Wei-Shaw/sub2api issue 5771",
        reports=(body(10_120, 1_499, 14_428, cached=128, reasoning=2_809),), counts=(10_120, 128, 0, 4_308, 2_809)),
    Row(name="xai, little reasoning", source="sonami-tech/omni-llm-provider issue 49",
        reports=(body(279, 6, 374, reasoning=89),), counts=(279, 0, 0, 95, 89)),
    Row(name="xai, less reasoning than text", source="sonami-tech/omni-llm-provider issue 50",
        reports=(body(20, 7, 30, reasoning=3),), counts=(20, 0, 0, 10, 3)),
    Row(name="xai, within", source="promptfoo/promptfoo pull request 9507",
        reports=(body(500, 500, 1_000, reasoning=200),), counts=(500, 0, 0, 500, 200)),
    Row(name="gemini without details", source="mozilla-ai/any-llm issue 1290",
        reports=(body(20, 198, 623),), counts=(20, 0, 0, 603, 405)),
    Row(name="gemini, text in full", source="mozilla-ai/any-llm issue 1290",
        reports=(body("20", "198", "623"),), counts=(20, 0, 0, 603, 405)),
    Row(name="another name for reasoning", source="Perplexity: usage.reasoning_tokens",
        reports=(body(10, 5, 22, reasoning_tokens=7),), counts=(10, 0, 0, 12, 7)),
    Row(name="all of it reasoning", source="vercel/ai pull request 12425",
        reports=(body(12, 2, 331, reasoning=317),), counts=(12, 0, 0, 319, 317)),
    Row(name="reasoning outside, without a total", source="vercel/ai pull request 12425",
        reports=(body(12, 2, reasoning=317),), counts=(12, 0, 0, 319, 317), exact=False),
    Row(name="more reasoning than output, and a total that excludes it", source="contradiction",
        reports=(body(10, 5, 15, reasoning=7),), counts=(10, 0, 0, 12, 7), exact=False),
    Row(name="a total with an unexplained rest", source="contradiction",
        reports=(body(10, 5, 100, reasoning=3),), counts=(10, 0, 0, 90, 3), exact=False),
    Row(name="a total below the sum", source="contradiction",
        reports=(body(10, 5, 12),), counts=(10, 0, 0, 5, 0), exact=False),
    Row(name="cached or reasoning, both explain the total", source="contradiction",
        reports=(body(10, 5, 18, cached=3, reasoning=3),), counts=(10, 3, 0, 8, 3), exact=False),
    # Cached tokens within the prompt tokens, or outside of them
    Row(name="kimi", source="Bike4Mind/bike4mind pull request 1089",
        reports=(body(2_989, 7, 2_996, cached_tokens=2_989),), counts=(2_989, 2_989, 0, 7, 0)),
    Row(name="deepseek", source="api-docs.deepseek.com/guides/kv_cache",
        reports=(body(12, 3, 15, prompt_cache_hit_tokens=5, prompt_cache_miss_tokens=7),), counts=(12, 5, 0, 3, 0)),
    Row(name="deepseek without the sum", source="api-docs.deepseek.com/guides/kv_cache",
        reports=({"completion_tokens": 3, "prompt_cache_hit_tokens": 5, "prompt_cache_miss_tokens": 7},),
        counts=(12, 5, 0, 3, 0)),
    Row(name="gpt cache writes", source="mindroom-ai/mindroom pull request 2134",
        reports=(body(2_600, 9, 2_609, cached=2_000, written=400),), counts=(2_600, 2_000, 400, 9, 0)),
    Row(name="gateway with the names of Claude", source="litellm: usage of Claude models",
        reports=(body(100, 9, 109, cache_read_input_tokens=60, cache_creation_input_tokens=30),),
        counts=(100, 60, 30, 9, 0)),
    Row(name="cached outside, by the total", source="vercel/ai pull request 19515",
        reports=(body(10, 5, 1_015, cached=1_000),), counts=(1_010, 1_000, 0, 5, 0)),
    Row(name="cached outside, without a total", source="earendil-works/pi issue 2048",
        reports=(body(10, 5, cached=1_000),), counts=(1_010, 1_000, 0, 5, 0), exact=False),
    Row(name="a total without the cached tokens", source="contradiction",
        reports=(body(100, 5, 45, cached=60),), counts=(100, 60, 0, 5, 0)),
    Row(name="qwen cache writes", source="alibabacloud.com/help/en/model-studio/context-cache",
        reports=(body(2_600, 9, 2_609) | {"prompt_tokens_details": {"cached_tokens": 0, "cache_creation_input_tokens": 400}},),
        counts=(2_600, 0, 400, 9, 0)),
    # Forms of numbers, and missing ones
    Row(name="text and floats", source="gateways in Go and JavaScript",
        reports=(body("12", 5.0, "17.0", cached=" 3 "),), counts=(12, 3, 0, 5, 0)),
    Row(name="null parts", source="vLLM: prompt_tokens_details is null",
        reports=(body(12, 5, 17) | {"prompt_tokens_details": None, "completion_tokens_details": None},),
        counts=(12, 0, 0, 5, 0)),
    Row(name="parts of a wrong kind", source="contradiction",
        reports=(body(12, 5, 17) | {"prompt_tokens_details": [1], "completion_tokens_details": "none"},),
        counts=(12, 0, 0, 5, 0)),
    Row(name="negative cached tokens", source="AstrBotDevs/AstrBot issue 9905",
        reports=(body(12, 5, 17, cached=-3),), counts=(12, 0, 0, 5, 0), exact=False),
    Row(name="absurd cached tokens", source="contradiction",
        reports=(body(12, 5, 17, cached=10**15),), counts=(12, 0, 0, 5, 0), exact=False),
    Row(name="no prompt count", source="missing part",
        reports=(body(None, 5, 17),), counts=(12, 0, 0, 5, 0)),
    Row(name="a prompt count of zero", source="missing part",
        reports=(body(0, 5, 17),), counts=(12, 0, 0, 5, 0)),
    Row(name="no completion count", source="PaddlePaddle/FastDeploy pull request 3247, reversed",
        reports=(body(12, None, 17),), counts=(12, 0, 0, 5, 0)),
    Row(name="only the completion", source="missing part",
        reports=(body(None, 5),), counts=(0, 0, 0, 5, 0), exact=False),
    # Several reports
    Row(name="cumulative", source="vLLM: continuous_usage_stats",
        reports=(body(10, 1, 11), body(10, 2, 12), body(10, 50, 60)), counts=(10, 0, 0, 50, 0)),
    Row(name="zeros first", source="router-for-me/CLIProxyAPI pull request 3077",
        reports=(body(0, 0, 0), body(0, 0, 0), body(10, 50, 60)), counts=(10, 0, 0, 50, 0)),
    Row(name="zeros last", source="openai/openai-agents-js pull request 1474",
        reports=(body(10, 50, 60, cached=4), body(0, 0, 0)), counts=(10, 4, 0, 50, 0)),
    Row(name="nulls last", source="openai/openai-agents-js pull request 1474",
        reports=(body(10, 50, 60), {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}),
        counts=(10, 0, 0, 50, 0)),
    Row(name="the output blanked", source="openai/openai-agents-js pull request 1474",
        reports=(body(10, 50, 60), body(10, 0, 10)), counts=(10, 0, 0, 50, 0)),
    Row(name="the output lowered", source="contradiction",
        reports=(body(10, 50, 60), body(10, 20, 30)), counts=(10, 0, 0, 50, 0), exact=False),
    Row(name="a total of the first report only", source="missing part",
        reports=(body(10, 1, 11), body(10, 50)), counts=(10, 0, 0, 50, 0)),
    Row(name="parts in separate reports", source="missing part",
        reports=(body(10, None), body(None, 50)), counts=(10, 0, 0, 50, 0)),
    Row(name="a wrong count that is corrected", source="contradiction",
        reports=(body(-1, -1, -2), body(10, 50, 60)), counts=(10, 0, 0, 50, 0)),
]  # fmt: skip


def completions(*chunks: Body) -> UsageReport | None:
    usage = CompletionsUsage()
    for chunk in chunks:
        usage.read(chunk)
    return usage.report(final=True)


@pytest.mark.parametrize("row", COMPLETIONS, ids=lambda row: row.name)
def test_usage_of_the_completions_wire_is_worked_out(row: Row) -> None:
    report = completions(*({"usage": usage} for usage in row.reports))
    assert report is not None
    assert report.final
    assert report.usage == row.usage
    assert (report.doubt == "") is row.exact


PLACES: list[tuple[str, str, Body]] = [
    ("groq", "console.groq.com/docs/api-reference: x_groq", {"x_groq": {"id": "r", "usage": body(4, 5, 9)}}),
    ("groq, both", "the same", {"x_groq": {"usage": body(4, 5, 9)}, "usage": body(4, 5, 9)}),
    ("moonshot", "northes/go-moonshot issue 17", {"choices": [{"index": 0, "delta": {}, "usage": body(4, 5, 9)}]}),
    ("llama.cpp", "llama.cpp: tools/server, timings", {"timings": {"prompt_n": 4, "cache_n": 0, "predicted_n": 5}}),
    ("llama.cpp, cached", "the same", {"timings": {"prompt_n": 1, "cache_n": 3, "predicted_n": 5}}),
    ("llama.cpp, both", "the same", {"timings": {"prompt_n": 1, "predicted_n": 5}, "usage": body(4, 5, 9)}),
    ("ollama", "ollama: docs/api.md", {"prompt_eval_count": 4, "eval_count": 5, "done": True}),
    ("responses names", "SDK: responses/response_usage.py", {"usage": {"input_tokens": 4, "output_tokens": 5}}),
    ("bedrock", "docs.aws.amazon.com/bedrock: API_runtime_TokenUsage", {"usage": {"inputTokens": 4, "outputTokens": 5}}),
    ("bedrock, cached", "the same", {"usage": {"inputTokens": 1, "outputTokens": 5, "cacheReadInputTokens": 3}}),
    ("gemini", "ai.google.dev/api/generate-content: UsageMetadata", {
        "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 9},
    }),
    ("gemini, snake case", "google-genai: types.py", {
        "usage_metadata": {"prompt_token_count": 4, "candidates_token_count": 5, "total_token_count": 9},
    }),
    ("gemini, thinking only", "router-for-me/CLIProxyAPI issue 5733", {"usage": body(4, 0, 9)}),
    ("clarifai", "Clarifai/clarifai-python PR 978", {"usage": body(4, 2, 9)}),
    ("cohere", "docs.cohere.com/reference/chat: usage", {
        "usage": {"billed_units": {"input_tokens": 4, "output_tokens": 5}, "tokens": {"input_tokens": 70}},
    }),
    ("in a message", "a gateway", {"choices": [{"index": 0, "message": {"content": "x", "usage": body(4, 5, 9)}}]}),
    ("in a delta", "a gateway", {"choices": [{"index": 0, "delta": {"usage": body(4, 5, 9)}}]}),
    ("in a list", "a gateway", {"usage": [body(4, 5, 9)]}),
    ("claude by a gateway", "BerriAI/litellm: anthropic pass-through", {
        "usage": {"input_tokens": 1, "output_tokens": 5, "cache_read_input_tokens": 3},
    }),
]  # fmt: skip


@pytest.mark.parametrize(("source", "chunk"), [row[1:] for row in PLACES], ids=[row[0] for row in PLACES])
def test_usage_is_found_where_an_endpoint_puts_it(source: str, chunk: Body) -> None:
    report = completions({"choices": []}, chunk, {"usage": None})
    assert report is not None
    assert (report.usage.input_tokens, report.usage.output_tokens) == (4, 5), source
    assert report.doubt == ""


@pytest.mark.parametrize(
    "usage",
    [{}, body(None, None, 9), body("many", "few"), body(-1, -2, -3), body(True, False), body(10**15, 10**15),
     body(float("nan"), float("inf")), body([4], {"a": 5}), body("1e3", "0x1"), body(1.5, 2.5), "12", [], 7],
)  # fmt: skip
def test_a_report_without_any_count_is_none(usage: Any) -> None:
    assert completions({"usage": usage}) is None


@pytest.mark.parametrize("usage", [body(12, None), body(12, "few"), body(12, -5), body(12, 1.5), body(12, 10**15)])
def test_a_report_without_an_output_is_not_final_and_keeps_its_input(usage: Body) -> None:
    report = completions({"usage": usage})
    assert report is not None
    assert not report.final
    assert report.usage == Usage(input_tokens=12)
    assert report.doubt


STATED_COSTS: list[tuple[str, Body, str | None]] = [
    ("OpenRouter: usage.cost", {"cost": 0.00014}, "0.00014"),
    ("OpenRouter with the user's own key", {
        "cost": 0.0001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.002},
    }, "0.0021"),
    ("OpenRouter with the user's own key, in parts", {
        "cost": 0, "is_byok": True, "cost_details": {
            "upstream_inference_cost": None, "upstream_inference_prompt_cost": 0.001, "upstream_inference_completions_cost": 0.002,
        },
    }, "0.003"),
    ("OpenRouter, details only", {"cost": 0.002, "cost_details": {"upstream_inference_cost": 0.002}}, "0.002"),
    ("Wei-Shaw/sub2api issue 5771", {"cost_in_usd_ticks": 232_856_000}, "0.0232856"),
    ("ticks as text", {"cost_in_usd_ticks": "232856000"}, "0.0232856"),
    ("Perplexity: usage.cost", {"cost": {"input_tokens_cost": 0.001, "total_cost": 0.006}}, "0.006"),
    ("a cost in another currency", {"cost": {"total_cost": 0.006, "currency": "CNY"}}, None),
    ("DeepInfra: usage.estimated_cost", {"estimated_cost": 2.68e-05}, "0.0000268"),
    ("text", {"cost": "0.0045"}, "0.0045"),
    ("free", {"cost": 0}, "0"),
    ("negative", {"cost": -0.5}, None),
    ("negative ticks", {"cost_in_usd_ticks": -5}, None),
    ("not a number", {"cost": float("nan")}, None),
    ("infinite", {"cost": float("inf")}, None),
    ("absurd", {"cost": 1e9}, None),
    ("absurd ticks", {"cost_in_usd_ticks": 10**30}, None),
    ("a flag", {"cost": True}, None),
    ("a list", {"cost": [0.5]}, None),
    ("words", {"cost": "cheap"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "usd"), [row[1:] for row in STATED_COSTS], ids=[row[0] for row in STATED_COSTS])
def test_the_providers_own_cost_is_read(usage: Body, usd: str | None) -> None:
    report = completions({"usage": body(12, 5, 17) | usage})
    assert report is not None
    assert report.cost_usd == (None if usd is None else Decimal(usd))


def test_a_stated_cost_is_kept_when_a_later_chunk_leaves_it_out() -> None:
    report = completions({"usage": body(12, 5, cost=0.5)}, {"usage": body(12, 6)})
    assert report is not None
    assert (report.usage.output_tokens, report.cost_usd) == (6, Decimal("0.5"))


def test_reports_of_the_output_since_the_last_one_are_summed_and_doubted() -> None:
    def part(prompt: int, completion: int, content: str) -> Body:
        return {"choices": [{"delta": {"content": content}}], "usage": body(prompt, completion, prompt + completion)}

    parts = [part(10, 3, "one"), part(0, 2, "two"), part(0, 3, "three"), part(0, 1, "")]
    report = completions(*parts)
    assert report is not None
    assert (report.usage.input_tokens, report.usage.output_tokens) == (10, 9)
    assert report.doubt
    whole = completions(*parts, {"usage": body(10, 9, 19)})
    assert whole is not None
    assert (whole.usage.output_tokens, whole.doubt) == (9, "")


@pytest.mark.parametrize("prompt", [0, None])
@pytest.mark.parametrize(
    ("outputs", "charged", "in_parts"),
    [
        ([n for n in range(1, 301) for _ in range(2)][:-1], 300, False),
        ([1, 1, 2], 2, False),
        ([5, 5, 5, 6], 6, False),
        ([1, 1, 1, 1], 4, True),
        ([2, 4, 1], 7, True),
    ],
)
def test_output_counts_that_never_fall_and_grow_are_cumulative(
    prompt: int | None, outputs: list[int], charged: int, in_parts: bool
) -> None:
    chunks = [{"choices": [{"delta": {"content": "word"}}], "usage": body(prompt, count)} for count in outputs]
    report = completions(*chunks)
    assert report is not None
    assert report.usage.output_tokens == charged
    assert ("their sum is charged" in report.doubt) is in_parts
    final = completions(*chunks, {"usage": body(10, charged, 10 + charged)})
    assert final is not None
    assert (final.usage.output_tokens, final.doubt) == (charged, "")


def test_a_part_that_is_reported_in_two_places_of_a_chunk_counts_once() -> None:
    report = completions({"choices": [{"delta": {"content": "word"}, "usage": body(0, 5)}], "usage": body(0, 5)})
    assert report is not None
    assert report.usage.output_tokens == 5


def claude(fresh: object = None, output: object = None, read: object = None, written: object = None) -> Body:
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return {name: value for name, value in zip(names, (fresh, output, read, written), strict=True) if value is not None}


MESSAGES = [
    Row(name="claude", source="platform.claude.com: streaming",
        reports=(claude(25, 1, 0, 0), {"output_tokens": 15}), counts=(25, 0, 0, 15, 0)),
    Row(name="cached", source="platform.claude.com: prompt caching",
        reports=(claude(21, 1, 1_536, 2_048), claude(21, 187, 1_536, 2_048)), counts=(3_605, 1_536, 2_048, 187, 0)),
    Row(name="zero at the start", source="BerriAI/litellm issue 41406",
        reports=(claude(0, 0, 0, 0), claude(11, 5)), counts=(11, 0, 0, 5, 0)),
    Row(name="zero at the end", source="envoyproxy/ai-gateway pull request 1631",
        reports=(claude(15, 1), claude(0, 9)), counts=(15, 0, 0, 9, 0)),
    Row(name="only an output at the end", source="earendil-works/pi issue 1045",
        reports=(claude(9, 1), claude(None, 12)), counts=(9, 0, 0, 12, 0)),
    Row(name="no start", source="missing part",
        reports=({}, claude(None, 12)), counts=(0, 0, 0, 12, 0), exact=False),
    Row(name="no start, but all counts at the end", source="cline/cline issue 4346",
        reports=({}, claude(9, 12, 3)), counts=(12, 3, 0, 12, 0)),
    Row(name="a part of the input moved to the cache", source="cline/cline issue 4346",
        reports=(claude(100, 1), claude(10, 12, 90)), counts=(100, 90, 0, 12, 0)),
    Row(name="text and floats", source="gateways in Go and JavaScript",
        reports=(claude("9", "1"), claude("9", 12.0, "3")), counts=(12, 3, 0, 12, 0)),
    Row(name="the output blanked", source="openai/openai-agents-js pull request 1474",
        reports=(claude(9, 40), claude(9, 0)), counts=(9, 0, 0, 40, 0), exact=False),
    Row(name="the output lowered", source="contradiction",
        reports=(claude(9, 40), claude(9, 20)), counts=(9, 0, 0, 40, 0), exact=False),
    Row(name="negative cached tokens", source="huggingface/tau pull request 617",
        reports=(claude(9, 1), claude(9, 12, -3)), counts=(9, 0, 0, 12, 0), exact=False),
    Row(name="thinking", source="SDK: types/message_delta_usage.py",
        reports=(claude(9, 1), claude(9, 12) | {"output_tokens_details": {"thinking_tokens": 8}}),
        counts=(9, 0, 0, 12, 8)),
    Row(name="more thinking than output", source="contradiction",
        reports=(claude(9, 1), claude(9, 12) | {"output_tokens_details": {"thinking_tokens": 20}}),
        counts=(9, 0, 0, 32, 20), exact=False),
    Row(name="a cache kept for an hour, without the sum", source="SDK: types/cache_creation.py",
        reports=(claude(9, 1), claude(9, 12) | {"cache_creation": {"ephemeral_5m_input_tokens": 4}}),
        counts=(13, 0, 4, 12, 0)),
]  # fmt: skip


def messages(*reports: Body) -> UsageReport | None:
    usage = MessagesUsage()
    for report in reports:
        usage.read(report)
    return usage.report(final=True)


@pytest.mark.parametrize("row", MESSAGES, ids=lambda row: row.name)
def test_usage_of_the_messages_wire_is_worked_out(row: Row) -> None:
    report = messages(*row.reports)
    assert report is not None
    assert report.usage == row.usage
    assert (report.doubt == "") is row.exact


def test_a_cache_kept_for_an_hour_is_counted_within_the_written_tokens() -> None:
    report = messages(claude(9, 12, 0, 10) | {"cache_creation": {"ephemeral_1h_input_tokens": 6}})
    assert report is not None
    assert (report.usage.cache_write_tokens, report.usage.cache_write_1h_tokens) == (10, 6)


junk = st.one_of(
    st.none(), st.booleans(), st.integers(-10, 10), st.integers(), st.floats(), st.text(max_size=5),
    st.integers(0, 500).map(str), st.integers(0, 500).map(float), st.lists(st.integers(), max_size=2),
)  # fmt: skip
fields = st.sampled_from(
    ["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens", "cost",
     "cache_read_input_tokens", "cache_creation_input_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens",
     "cost_in_usd_ticks", "reasoning_tokens"],
)  # fmt: skip
details = st.dictionaries(
    st.sampled_from(["cached_tokens", "cache_write_tokens", "reasoning_tokens", "thinking_tokens"]), junk
)
usages = st.builds(
    dict[str, Any].__or__,
    st.dictionaries(fields, junk),
    st.dictionaries(
        st.sampled_from(["prompt_tokens_details", "completion_tokens_details", "output_tokens_details"]),
        details | junk,
    ),
)


@settings(max_examples=examples(300), deadline=None)
@given(reports=st.lists(usages | junk, min_size=1, max_size=4), place=st.sampled_from(["usage", "x_groq", "choice"]))
def test_any_report_gives_counts_that_fit_each_other(reports: list[Any], place: str) -> None:
    chunks = {
        "usage": lambda usage: {"usage": usage},
        "x_groq": lambda usage: {"x_groq": {"usage": usage}},
        "choice": lambda usage: {"choices": [{"usage": usage}]},
    }
    given_usages = [report for report in reports if isinstance(report, dict)]
    for report in (completions(*map(chunks[place], reports)), messages(*given_usages)):
        if report is None:
            continue
        usage = report.usage
        assert 0 <= usage.cached_input_tokens + usage.cache_write_tokens <= usage.input_tokens
        assert 0 <= usage.cache_write_1h_tokens <= usage.cache_write_tokens
        assert 0 <= usage.reasoning_tokens <= usage.output_tokens
        assert report.cost_usd is None or 0 <= report.cost_usd <= 100_000


@settings(max_examples=examples(200))
@given(
    prompt=st.integers(1, 10**6), cached=st.integers(0, 10**6), completion=st.integers(0, 10**5),
    reasoning=st.integers(0, 10**5), is_within=st.booleans(),
    form=st.sampled_from([int, float, str, lambda count: f"{count}.0"]),
)  # fmt: skip
def test_counts_that_a_total_confirms_are_exact_with_reasoning_within_or_outside(
    prompt: int, cached: int, completion: int, reasoning: int, is_within: bool, form: Any
) -> None:
    cached, output = min(cached, prompt), completion + reasoning
    stated = output if is_within else completion
    usage = body(form(prompt), form(stated), form(prompt + output), cached=form(cached), reasoning=form(reasoning))
    report = completions({"usage": usage})
    assert report is not None
    assert report.usage.output_tokens == output
    if reasoning != cached or is_within:
        assert report.doubt == ""
        assert (report.usage.input_tokens, report.usage.cached_input_tokens) == (prompt, cached)


@pytest.mark.parametrize(
    ("value", "count"),
    [(7, 7), ("7", 7), (" 7 ", 7), (7.0, 7), ("7.0", 7), (7.5, None), ("7.5", None), (True, None), (None, None),
     (-1, None), ("-1", None), ("", None), ("٧", None), (10**9, None), ("9" * 5_000, None), (float("nan"), None)],
)  # fmt: skip
def test_a_count_is_an_integer_in_any_form(value: object, count: int | None) -> None:
    assert parse_count(value) == count


class Reporting:
    """A provider that answers with ten words, and one report."""

    def __init__(self, report: UsageReport | None) -> None:
        self.report = report

    def unavailable(self) -> None:
        return None

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        yield TextDelta(text="word " * 10)
        if self.report is not None:
            yield self.report
        yield Finished(finish_reason="stop", served_model="m")


@pytest.mark.parametrize("row", [*COMPLETIONS, *MESSAGES], ids=lambda row: row.name)
async def test_a_row_is_exact_or_flagged_and_never_free(row: Row) -> None:
    report = completions(*({"usage": usage} for usage in row.reports)) if row in COMPLETIONS else messages(*row.reports)
    router = builders.router(model("m", price="1/10"), providers={"cloud": Reporting(report)})
    (attempt,) = (await router.route("hello " * 8, cascade=False)).attempts
    assert attempt.cost_usd > 0
    assert attempt.usage.input_tokens > 0
    if row.exact and row.counts[3] >= 5:
        assert not attempt.cost_estimated
        assert attempt.usage == row.usage
    if not row.exact:
        assert attempt.cost_estimated
        assert attempt.usage.output_tokens >= row.counts[3]
