"""Reasoning in think tags, which some models write into their text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import AllAttemptsFailed
from llm_magic.events import Progress, TextDelta
from llm_magic.execute.think_tags import ThinkTags
from llm_magic.testing import Reply
from llm_magic.types import Usage
from tests.support import builders
from tests.support.builders import model

FORMS = [
    ("<think>hm, 2</think>Paris.", "hm, 2", "Paris."),
    ("<think>\nhm\n</think>\n\nParis.", "\nhm\n", "Paris."),
    ("\n <think>hm</think>Paris.", "hm", "Paris."),
    ("\ufeff<think>hm</think>Paris.", "hm", "Paris."),
    ("<thinking>hm</thinking>Paris.", "hm", "Paris."),
    ("<thought>hm</thought>Paris.", "hm", "Paris."),
    ("<THINK>hm</Think>Paris.", "hm", "Paris."),
    ("[THINK]hm[/THINK]Paris.", "hm", "Paris."),
    ("◁think▷hm◁/think▷Paris.", "hm", "Paris."),
    ("<seed:think>hm</seed:think>Paris.", "hm", "Paris."),
    ("<|begin_of_thought|>hm<|end_of_thought|>\n\nParis.", "hm", "Paris."),
    ("<|channel|>analysis<|message|>hm<|channel|>final<|message|>Paris.", "hm", "Paris."),
    (
        "<|start|>assistant<|channel|>analysis<|message|>hm<|end|><|channel|>final<|message|>Paris.",
        "hm<|end|>",
        "Paris.",
    ),
    ("<|channel|>final<|message|>Paris.", "", "Paris."),
    ("<|channel|>analysis<|message|>it never ends", "it never ends", ""),
    ("<|channel|>other", "", "<|channel|>other"),
    ("<think></think>\n\nParis.", "", "Paris."),
    ("<think>a</think>\n<think>b</think>Paris.", "ab", "Paris."),
    ("<think>2 < 3, </thin, <b></b></think>Paris.", "2 < 3, </thin, <b></b>", "Paris."),
    ("<think>hm</think>```\n<think>code</think>\n```", "hm", "```\n<think>code</think>\n```"),
    ("<think>it never ends", "it never ends", ""),
    ("<think>it never ends </thi", "it never ends </thi", ""),
    ("Paris.", "", "Paris."),
    ("  Paris.", "", "  Paris."),
    ("`<think>` is a tag.", "", "`<think>` is a tag."),
    ("```xml\n<think>code</think>\n```", "", "```xml\n<think>code</think>\n```"),
    ("Use <think>x</think> so.", "", "Use <think>x</think> so."),
    ("<thinner>a</thinner>", "", "<thinner>a</thinner>"),
    ("<b>bold</b>", "", "<b>bold</b>"),
    ("<", "", "<"),
    ("<thin", "", "<thin"),
    ("", "", ""),
]


@pytest.mark.parametrize(("text", "reasoning", "answer"), FORMS)
@pytest.mark.parametrize("size", [1, 2, 5, 1_000])
def test_reasoning_and_answer_are_split_wherever_the_text_is_cut(
    text: str, reasoning: str, answer: str, size: int
) -> None:
    tags = ThinkTags()
    parts = [tags.split(text[start : start + size]) for start in range(0, len(text), size)]
    parts.append(tags.end())
    assert "".join(part for part, _ in parts) == reasoning
    assert "".join(part for _, part in parts) == answer


@given(text=st.text(), sizes=st.lists(st.integers(1, 9), min_size=1))
def test_a_text_without_tags_is_unchanged(text: str, sizes: list[int]) -> None:
    text = "Answer: " + text
    tags, answer = ThinkTags(), ""
    while text[len(answer) :]:
        piece = text[len(answer) :][: sizes[len(answer) % len(sizes)]]
        assert tags.split(piece) == ("", piece)
        answer += piece
    assert tags.end() == ("", "")


async def test_think_tags_are_never_part_of_the_answer_and_are_billed() -> None:
    reply = Reply(chunks=("<thi", "nk>carry ", "the 1</th", "ink>\n", "The answer ", "is 4."), usage=None)
    router = builders.router(model("only"), replies=[reply])
    events = [event async for event in router.stream("2+2?", cascade=False)]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "The answer is 4."
    assert "".join(event.reasoning for event in events if isinstance(event, Progress)) == "carry the 1"
    (row,) = router.ledger.rows()
    assert row.usage.reasoning_tokens >= 3
    assert row.usage.output_tokens >= row.usage.reasoning_tokens + 4
    assert (await router.route("2+2?", cascade=False)).text == "The answer is 4."


async def test_an_answer_that_is_only_reasoning_is_empty_and_billed() -> None:
    reply = Reply(chunks=("<think>carry the 1",), usage=Usage(input_tokens=10, output_tokens=5))
    router = builders.router(model("only"), replies=[reply])
    with pytest.raises(AllAttemptsFailed, match="reasoning without an answer"):
        await router.route("2+2?", cascade=False)
    (row,) = router.ledger.rows()
    assert row.cost_usd > 0


async def test_a_schema_is_filled_from_the_text_after_the_reasoning() -> None:
    reply = Reply(chunks=('<think>maybe {"x": 1}</think>', '{"x": 2}'))
    router = builders.router(model("only"), replies=[reply])
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    result = await router.route("x?", cascade=False, schema=schema)
    assert result.data == {"x": 2}
    assert len(router.ledger.rows()) == 1
