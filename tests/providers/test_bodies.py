"""Bodies of responses in every framing and form that endpoints use: the same answer, read the same way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_magic import ProtocolError, ServerError, Usage
from llm_magic.errors import (
    AuthFailed,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    PaymentRequired,
    ProviderError,
    RateLimited,
    Refused,
)
from llm_magic.events import Progress, TextDelta
from llm_magic.providers import reading
from llm_magic.providers.anthropic import MessageReader
from llm_magic.providers.base import Finished, SignOfLife, UsageReport
from llm_magic.providers.http import Endpoint
from llm_magic.providers.openai import ChunkReader
from llm_magic.providers.reading import read_events
from llm_magic.providers.refused_parameters import SentRequest
from llm_magic.providers.sending import Sending
from llm_magic.providers.sse import BodyDecoder

ENDPOINT = Endpoint(base_url="http://localhost/v1", api_key="none")
SENT = SentRequest(url="", model="m", schema="", output_limit=100, parameters=(), renames={})
USAGE = Usage(input_tokens=9, output_tokens=4)
OPENAI_USAGE = {"prompt_tokens": 9, "completion_tokens": 4}
TEXT = "Zürich – 東京 🙂, it's “Paris”.\u2028"


@dataclass
class Response:
    """A response of the HTTP library, in reads of these bytes. It ends, raises `error`, or hangs."""

    reads: Sequence[bytes]
    content_type: str | None = "text/event-stream"
    error: Exception | None = None
    hangs: bool = False
    read_to_end: bool = field(default=False, init=False)
    is_closed: bool = field(default=False, init=False)

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.content_type is None else {"content-type": self.content_type}

    @property
    def stream(self) -> AsyncIterator[bytes]:
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        try:
            for data in self.reads:
                await asyncio.sleep(0)  # as when the next read has to wait
                yield data
            await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
            if self.hangs:
                await asyncio.Event().wait()
            self.read_to_end = True
        finally:
            self.is_closed = True


@dataclass(kw_only=True)
class Read:
    text: str = ""
    reasoning: str = ""
    usage: Usage | None = None
    finished: Finished | None = None
    signs_of_life: int = 0


async def read(response: Response, wire: str = "openai") -> Read:
    result = Read()
    reader = ChunkReader(ENDPOINT, SENT) if wire == "openai" else MessageReader(ENDPOINT, SENT)
    async with aclosing(read_events(response, reader)) as events:
        async for event in events:
            match event:
                case TextDelta():
                    result.text += event.text
                case Progress():
                    result.reasoning += event.reasoning
                    result.signs_of_life += not event.reasoning
                case UsageReport():
                    result.usage = event.usage
                case Finished():
                    result.finished = event
                case _:
                    result.signs_of_life += isinstance(event, SignOfLife)
    return result


def delta(content: object = None, *, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of Chat Completions."""
    part = more if content is None else {"content": content, **more}
    return {"model": "gpt", "choices": [{"index": 0, "delta": part, "finish_reason": finish}]}


def pieces(text: str, size: int = 3) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def openai_chunks(text: str = TEXT) -> list[dict[str, Any]]:
    usage = {"model": "gpt", "choices": [], "usage": OPENAI_USAGE}
    return [delta("", role="assistant"), *map(delta, pieces(text)), delta(finish="stop"), usage]


def anthropic_events(text: str = TEXT) -> list[dict[str, Any]]:
    def block(piece: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}

    return [
        {"type": "message_start", "message": {"model": "claude", "usage": {"input_tokens": 9, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *map(block, pieces(text)),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
        {"type": "message_stop"},
    ]


EVENTS = {"openai": openai_chunks, "anthropic": anthropic_events}
MODEL = {"openai": "gpt", "anthropic": "claude"}
NEWLINES = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}


def sse(
    events: Sequence[object],
    *,
    newline: str = "\n",
    prefix: str = "data: ",
    start: str = "",
    between: str = "",
    end: str = "data: [DONE]\n\n",
    indent: int | None = None,
    escapes: bool = False,
) -> bytes:
    """Server-sent events. `indent` spreads each event over several lines of data."""
    texts = [json.dumps(event, ensure_ascii=escapes, indent=indent) for event in events]
    lines = ["\n".join(prefix + line for line in text.split("\n")) for text in texts]
    return "".join([start, *(f"{line}\n\n{between}" for line in lines), end]).replace("\n", newline).encode()


def _event_with_its_type_as_name(event: dict[str, Any]) -> bytes:
    data = {name: value for name, value in event.items() if name != "type"}
    return f"event: {event.get('type', 'chunk')}\ndata: {json.dumps(data)}\n\n".encode()


FRAMINGS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "plain": sse,
    "without a space": lambda events: sse(events, prefix="data:"),
    "more spaces": lambda events: sse(events, prefix="data:   "),
    "an indented name": lambda events: sse(events, prefix=" data: "),
    "a capitalized name": lambda events: sse(events, prefix="Data: "),
    "a repeated name": lambda events: sse(events, prefix="data: data: "),
    "types as names of events": lambda events: b"".join(map(_event_with_its_type_as_name, events)),
    "several lines of data": lambda events: sse(events, indent=1),
    "escaped": lambda events: sse(events, escapes=True),
    "byte-order mark": lambda events: sse(events, start="\ufeff"),
    "comments": lambda events: sse(events, start=": connected\n\n", between=": keep-alive\n\n"),
    "empty data": lambda events: sse(events, between="data:\n\ndata: \n\n"),
    "data without JSON": lambda events: sse(events, between="event: keepalive\ndata: ping\n\n"),
    "events without data": lambda events: sse(events, between="event: ping\n\nid: 7\nretry: 10\n\n"),
    "an empty object": lambda events: sse(events, between="data: {}\n\n"),
    "no empty lines": lambda events: sse(events).replace(b"\n\n", b"\n"),
    "no [DONE]": lambda events: sse(events, end=""),
    "no end of the last line": lambda events: sse(events, end="").rstrip(b"\n"),
    "bytes after [DONE]": lambda events: sse([*events], end="data: [DONE]\n\ndata: {broken\n\n: bye\n"),
    "empty choices": lambda events: sse([{"choices": []}, {"choices": None}, *events]),
    "JSON objects in lines": lambda events: "".join(f"{json.dumps(event)}\n" for event in events).encode(),
    "an end in lower case": lambda events: sse(events, end="data: [done]\n\n"),
    "an end in quotes": lambda events: sse(events, end='data: "[DONE]"\n\n'),
    "a JSON array": lambda events: json.dumps(events, indent=1).encode(),
}


def split(body: bytes, sizes: list[int]) -> list[bytes]:
    """Cut a body into reads of these sizes, in turn."""
    reads: list[bytes] = []
    while body:
        size = sizes[len(reads) % len(sizes)]
        reads.append(body[:size])
        body = body[size:]
    return reads


async def assert_answer_is_read(wire: str, response: Response, text: str = TEXT) -> None:
    result = await read(response, wire)
    assert result.text == text
    assert result.usage == USAGE
    assert result.finished == Finished(finish_reason="stop", served_model=MODEL[wire])


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("newline", NEWLINES)
@pytest.mark.parametrize("wire", EVENTS)
async def test_every_framing_gives_the_same_answer(wire: str, newline: str, framing: str) -> None:
    body = FRAMINGS[framing](EVENTS[wire]()).replace(b"\n", NEWLINES[newline].encode())
    for sizes in ([len(body)], [1], [7, 2, 64]):
        await assert_answer_is_read(wire, Response(split(body, sizes)))


@given(
    text=st.text(min_size=1, max_size=60),
    wire=st.sampled_from(sorted(EVENTS)),
    framing=st.sampled_from(sorted(FRAMINGS)),
    newline=st.sampled_from(sorted(NEWLINES)),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_any_text_is_the_same_in_any_framing_and_any_reads(
    text: str, wire: str, framing: str, newline: str, sizes: list[int]
) -> None:
    body = FRAMINGS[framing](EVENTS[wire](text)).replace(b"\n", NEWLINES[newline].encode())
    asyncio.run(assert_answer_is_read(wire, Response(split(body, sizes)), text.replace("\0", "\ufffd")))


@pytest.mark.parametrize(
    "content_type",
    [None, "", "Text/Event-Stream; charset=UTF-8", "application/json", "text/plain", "application/octet-stream"],
)
@pytest.mark.parametrize("wire", EVENTS)
async def test_the_content_type_does_not_matter(wire: str, content_type: str | None) -> None:
    await assert_answer_is_read(wire, Response([sse(EVENTS[wire]())], content_type))


OPENAI_WHOLE: dict[str, Any] = {
    "model": "gpt",
    "choices": [{"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}],
    "usage": OPENAI_USAGE,
}
ANTHROPIC_WHOLE: dict[str, Any] = {
    "type": "message",
    "model": "claude",
    "content": [{"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 9, "output_tokens": 4},
}


@pytest.mark.parametrize(("wire", "whole"), [("openai", OPENAI_WHOLE), ("anthropic", ANTHROPIC_WHOLE)])
@pytest.mark.parametrize("content_type", [None, "Application/JSON", "text/event-stream", "text/plain"])
async def test_a_whole_answer_instead_of_a_stream_is_read(
    wire: str, whole: dict[str, Any], content_type: str | None
) -> None:
    for body in (json.dumps(whole), json.dumps(whole, indent=2, ensure_ascii=False), "\ufeff\n" + json.dumps(whole)):
        await assert_answer_is_read(wire, Response(split(body.encode(), [11]), content_type))


async def test_a_claude_message_with_its_content_as_text_is_read() -> None:
    whole = ANTHROPIC_WHOLE | {"content": TEXT}
    await assert_answer_is_read("anthropic", Response([json.dumps(whole).encode()]))


PARTS = [{"type": "text", "text": "Pa"}, {"type": "text", "text": "ris."}]


@pytest.mark.parametrize(
    ("chunks", "text", "reasoning"),
    [
        ([delta([{"type": "text", "text": "Pa"}]), delta(["ris", "."])], "Paris.", ""),
        ([delta({"type": "text", "text": "Paris."})], "Paris.", ""),
        ([delta([{"type": "output_text", "text": "Paris."}])], "Paris.", ""),
        ([delta([{"type": "text", "text": {"value": "Paris."}}])], "Paris.", ""),
        (
            [delta([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]), delta("Paris.")],
            "Paris.",
            "hm",
        ),
        ([delta([{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "Paris."}])], "Paris.", "hm"),
        ([delta([{"type": "image_url", "image_url": {}}, None, 7]), delta("Paris.")], "Paris.", ""),
        ([delta(reasoning="h"), delta(reasoning="m"), delta("Paris.")], "Paris.", "hm"),
        ([delta(reasoning_content="hm", content=None), delta("Paris.", reasoning_content=None)], "Paris.", "hm"),
        ([delta("Pa", reasoning_content="h"), delta("ris.", reasoning="m")], "Paris.", "hm"),
        (
            [delta(reasoning="hm", reasoning_details=[{"type": "reasoning.text", "text": "hm"}]), delta("Paris.")],
            "Paris.",
            "hm",
        ),
        ([delta(reasoning_details=[{"type": "reasoning.summary", "summary": "hm"}]), delta("Paris.")], "Paris.", "hm"),
        ([delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "x="}]), delta("Paris.")], "Paris.", ""),
        ([delta(reasoning={"content": "hm"}), delta("Paris.")], "Paris.", "hm"),
        ([delta(reasoning_text="hm"), delta("Paris.")], "Paris.", "hm"),
        ([delta(thought="hm"), delta("Paris.")], "Paris.", "hm"),
        ([delta("hm", extra_content={"google": {"thought": True}}), delta("Paris.")], "Paris.", "hm"),
        ([{"choices": [{"text": "Pa"}]}, {"choices": [{"text": "ris."}]}], "Paris.", ""),
        (
            [{"choices": [{"message": {"content": "Pa"}}]}, {"choices": [{"message": {"content": "ris."}}]}],
            "Paris.",
            "",
        ),
        ([{"choices": [{"message": {"content": PARTS}}]}], "Paris.", ""),
        ([delta("Pa"), {"choices": [{"index": 1, "delta": {"content": "Lon"}}]}, delta("ris.")], "Paris.", ""),
        ([{"choices": [{"index": 1, "delta": {"content": "B"}}, *delta("Paris.")["choices"]]}], "Paris.", ""),
        ([{"choices": [{"index": "0", "delta": {"content": "Paris."}}]}], "Paris.", ""),
        ([delta(7), delta(True), delta("Paris.")], "Paris.", ""),
        ([delta("Pa"), delta(finish="stop"), delta("ris."), delta(finish="stop")], "Paris.", ""),
        ([{"choices": {"0": {"delta": {"content": "Lon"}}}}, delta("Paris.")], "Paris.", ""),
        ([delta("\ud83d"), delta("\ude42")], "🙂", ""),
        ([delta("\ud83d"), delta("!")], "\ufffd!", ""),
        ([{"choices": [None, "x", {"delta": None}]}, delta("Paris.")], "Paris.", ""),
        ([{"choices": {"index": 0, "delta": {"content": "Paris."}}}], "Paris.", ""),
        ([{"choices": {"message": {"content": "Paris."}, "finish_reason": "stop"}}], "Paris.", ""),
        ([{"code": 200, "msg": "ok", "data": delta("Paris.")}], "Paris.", ""),
        ([{"output": delta("Paris."), "request_id": "1"}], "Paris.", ""),
        ([{"result": delta("Paris."), "success": True, "errors": []}], "Paris.", ""),
        ([{"choices": [{"index": 0, "delta": "Paris."}]}], "Paris.", ""),
        ([{"choices": [{"index": 0, "delta": {"text": "Paris."}}]}], "Paris.", ""),
        ([{"choices": [{"index": 0, "message": "Paris."}]}], "Paris.", ""),
    ],
)
async def test_content_is_read_in_every_form(chunks: list[dict[str, Any]], text: str, reasoning: str) -> None:
    result = await read(Response([sse([*chunks, delta(finish="stop")], escapes=True)]))
    assert (result.text, result.reasoning) == (text, reasoning)
    assert result.finished is not None


@pytest.mark.parametrize("form", ["message", "text"])
async def test_text_that_repeats_the_deltas_is_not_read_twice(form: str) -> None:
    def choice(text: str, *, finish: str | None = None, **more: Any) -> dict[str, Any]:
        repeated = {"message": {"content": text}} if form == "message" else {"text": text}
        return {"choices": [{"index": 0, "finish_reason": finish, **repeated, **more}]}

    whole = "Paris is the capital of France."
    at_the_end = [*map(delta, pieces(whole)), choice(whole, finish="stop")]
    growing = [choice(whole[:size]) for size in range(3, len(whole) + 3, 3)]
    both = [choice(whole[: end + 3], delta={"content": whole[end : end + 3]}) for end in range(0, len(whole), 3)]
    for chunks in (at_the_end, [*growing, choice(whole, finish="stop")], [*both, choice(whole, finish="stop")]):
        assert (await read(Response([sse(chunks)]))).text == whole


async def test_a_body_in_the_form_of_ollama_is_read() -> None:
    chunks = [
        {"model": "gpt", "message": {"role": "assistant", "thinking": "hm", "content": ""}, "done": False},
        *({"model": "gpt", "message": {"role": "assistant", "content": piece}, "done": False} for piece in pieces(TEXT)),
        {"model": "gpt", "message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 4},
    ]  # fmt: skip
    whole = chunks[-1] | {"message": {"role": "assistant", "content": TEXT}}
    for bodies in (chunks, [whole]):
        lines = "".join(f"{json.dumps(body)}\n" for body in bodies).encode()
        await assert_answer_is_read("openai", Response([lines], "application/x-ndjson"))
    cut = await read(Response([sse([whole | {"done_reason": "length"}])]))
    assert cut.finished == Finished(finish_reason="length", served_model="gpt")


@pytest.mark.parametrize("reason", [{"finishReason": "stop"}, {"finish_reason": {"type": "stop"}}, {"finish_details": {"type": "stop"}}, {"finish_reason": None, "native_finish_reason": "STOP"}])  # fmt: skip
async def test_a_finish_reason_is_read_in_every_form(reason: dict[str, Any]) -> None:
    result = await read(Response([sse([delta("Paris."), {"choices": [{"index": 0, "delta": {}, **reason}]}])]))
    assert result.finished == Finished(finish_reason="stop", served_model="gpt")


async def test_an_answer_with_the_usage_of_the_whole_at_its_end_needs_no_finish_reason() -> None:
    usage = {"model": "gpt", "choices": [], "usage": OPENAI_USAGE}
    whole = await read(Response([sse([delta("Paris."), usage])]))  # adolfousier/opencrabs issue 694
    assert whole.finished == Finished(finish_reason="stop", served_model="gpt")
    cut = await read(Response([sse([usage, delta("Paris.")])]))
    assert cut.finished is None
    empty = await read(Response([sse([usage])]))
    assert empty.finished is None


async def test_a_message_that_ends_with_its_usage_needs_no_stop_reason() -> None:
    def end(usage: dict[str, Any] | None) -> list[dict[str, Any]]:
        changed = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": usage}
        return [
            *(event for event in anthropic_events() if event["type"] not in ("message_delta", "message_stop")),
            changed,
        ]

    stop = {"type": "message_stop"}
    whole = await read(Response([sse([*end({"output_tokens": 4}), stop])]), "anthropic")
    assert whole.finished == Finished(finish_reason="stop", served_model="claude")
    for cut in ([*end(None), stop], end({"output_tokens": 4})):
        assert (await read(Response([sse(cut)]), "anthropic")).finished is None


@pytest.mark.parametrize("placeholder", ["None", "null", "", "none", False])
async def test_a_placeholder_for_a_finish_reason_is_not_an_end(placeholder: object) -> None:
    def choice(text: str, finish: object) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}

    body = sse([choice("Pa", placeholder), choice("ris.", placeholder)])
    assert (await read(Response([body]))).finished is None
    finished = await read(Response([sse([choice("Paris.", placeholder), choice("", "stop")])]))
    assert finished.finished == Finished(finish_reason="stop", served_model="")


@pytest.mark.parametrize("tier", ["default", "auto", "standard", "on_demand", "", None, {"tier": "flex"}, 7])
async def test_the_usual_service_tier_has_many_names(tier: object) -> None:
    result = await read(Response([sse([delta("Paris."), delta(finish="stop") | {"service_tier": tier}])]))
    assert result.finished == Finished(finish_reason="stop", served_model="gpt", service_tier=None)


TOOL_CALL = {"index": 0, "id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"tool_calls": [TOOL_CALL]}, "tool calls"),
        ({"function_call": {"name": "search", "arguments": "{}"}}, "tool calls"),
        ({"audio": {"id": "a", "data": "AA==", "transcript": "Paris"}}, "audio"),
        ({"images": [{"type": "image_url", "image_url": {"url": "data:,"}}]}, "images"),
        ({"tool_calls": []}, ""),
    ],
)
async def test_content_other_than_text_is_named(part: dict[str, Any], named: str) -> None:
    whole = {"choices": [{"index": 0, "message": {"content": None, **part}, "finish_reason": "stop"}]}
    for body in (sse([delta(**part), delta(finish="stop")]), json.dumps(whole).encode()):
        result = await read(Response([body]))
        assert result.finished is not None
        assert result.finished.other_content == named


async def test_a_tool_use_of_claude_is_named() -> None:
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": "f", "input": {}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}
    whole = ANTHROPIC_WHOLE | {"content": [{"type": "tool_use", "name": "f", "input": {}}]}
    for body in (sse([block, end]), json.dumps(whole).encode()):
        result = await read(Response([body]), "anthropic")
        assert result.finished is not None
        assert result.finished.other_content == "tool calls"


@pytest.mark.parametrize("name", ["input_sensitive", "output_sensitive"])
async def test_an_answer_that_minimax_marks_as_sensitive_is_a_refusal(name: str) -> None:
    """https://platform.minimax.io/docs/api-reference/text-openai-api."""
    marks = {"input_sensitive": False, "output_sensitive": False, name: True, f"{name}_type": 3}
    whole = {"choices": [{"index": 0, "message": {"content": ""}, "finish_reason": "stop"}], **marks}
    result = await read(Response([json.dumps(whole).encode()]))
    assert result.finished == Finished(finish_reason="refusal", served_model="", refusal=name)


@pytest.mark.parametrize("end", ["data: {broken\n\n", 'data: {"error": {"message": "late", "code": 500}}\n\n'])
@pytest.mark.parametrize("wire", EVENTS)
async def test_errors_after_the_finish_reason_do_not_break_the_answer(wire: str, end: str) -> None:
    events = EVENTS[wire]()
    events = events[:-1] if wire == "anthropic" else events  # without its message_stop, after which nothing is read
    await assert_answer_is_read(wire, Response([sse(events, end=end)]))


async def test_an_error_after_the_end_of_a_broken_answer_is_raised() -> None:
    with pytest.raises(ServerError, match="late"):
        await read(Response([sse([delta("Pa"), delta(finish="error"), {"error": {"message": "late"}}])]))
    with pytest.raises(Refused):
        await read(Response([sse([*openai_chunks(), {"error": {"code": "content_filter", "message": "late"}}])]))


async def test_the_message_of_groq_at_a_broken_end_is_kept() -> None:
    end = delta(finish="error") | {"x_groq": {"id": "1", "error": "no luck"}}
    with pytest.raises(ServerError, match="no luck"):
        await read(Response([sse([delta("Pa"), end])]))


async def test_a_refusal_is_text_and_the_reason_of_the_end() -> None:
    result = await read(Response([sse([delta(refusal="I "), delta(refusal="won't."), delta(finish="stop")])]))
    assert result.text == "I won't."
    assert result.finished == Finished(finish_reason="refusal", served_model="gpt")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'data: {"error": {"message": "no luck"}}\n\n', "no luck"),
        (b'data: {"error": "no luck"}\n\n', "no luck"),
        (b'data: [{"error": {"message": "no luck"}}]\n\n', "no luck"),
        (b"event: error\ndata: no luck\n\n", "no luck"),
        (b'event: error\ndata: {"message": "no luck"}\n\n', "no luck"),
        (b'event: error\ndata: {"type": "error", "error": {"message": "no luck"}}\n\n', "no luck"),
        (b'[{"error": {"message": "no luck"}}]', "no luck"),
        (b'{"error": "no luck"}', "no luck"),
        (b'{"error": "invalid_request", "message": "no luck"}', "no luck"),
        (b'{"error": true, "message": "no luck"}', "no luck"),
        (b'data: {"error": 1, "msg": "no luck", "choices": []}\n\n', "no luck"),
        (b'{"errors": ["no luck"]}', "no luck"),
        (b'{"fault": {"faultstring": "no luck", "detail": {"errorcode": "steps.Failed"}}}', "no luck"),
        (b'{"Message": "no luck", "__type": "InternalServerException"}', "no luck"),
        (b'{"Response": {"Error": {"Code": "InternalError", "Message": "no luck"}, "RequestId": "1"}}', "no luck"),
        (b'"no luck"', "no luck"),
        (b'{"message": "no luck"}', "no luck"),
        (b'{"code": 20015, "message": "no luck", "data": null}', "no luck"),
        (b'{"error_code": 336000, "error_msg": "no luck"}', "no luck"),
        (b'{"success": false, "result": null, "errors": [{"code": 1031, "message": "no luck"}]}', "no luck"),
        (b'{"detail": "no luck"}', "no luck"),
        (b'{"id": "1", "choices": null, "base_resp": {"status_code": 1000, "status_msg": "no luck"}}', "no luck"),
        (b'data: {"choices": [], "base_resp": {"status_code": 1024, "status_msg": "no luck"}}\n\n', "no luck"),
        (b'data: {"code": 10013, "message": "no luck", "sid": "1"}\n\n', "no luck"),
    ],
)
@pytest.mark.parametrize("wire", EVENTS)
async def test_an_error_in_a_body_is_raised_in_every_form(wire: str, body: bytes, says: str) -> None:
    with pytest.raises(ServerError, match=says) as caught:
        await read(Response([body]), wire)
    assert caught.value.accepted


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ({"finish_reason": "error", "error": {"code": 502, "message": "no luck"}}, ServerError),
        ({"delta": {}, "error": {"code": 429, "message": "no luck"}}, RateLimited),
        ({"message": {"content": "Pa"}, "finish_reason": "error", "error": "no luck"}, ServerError),
    ],
)
async def test_an_error_in_a_choice_has_its_kind(choice: dict[str, Any], kind: type[ProviderError]) -> None:
    """As OpenRouter reports that the provider behind it failed."""
    for body in (sse([delta("Pa"), {"choices": [choice]}]), json.dumps({"choices": [choice]}).encode()):
        with pytest.raises(kind, match="no luck"):
            await read(Response([body]))


IN_BAND: list[tuple[str, dict[str, Any], type[ProviderError]]] = [
    ("MiniMax", {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "no"}}, PaymentRequired),
    ("MiniMax", {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "no"}}, RateLimited),
    ("MiniMax", {"choices": None, "base_resp": {"status_code": 2049, "status_msg": "no"}}, AuthFailed),
    ("MiniMax", {"base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}}, Refused),
    ("MiniMax", {"base_resp": {"status_code": 2013, "status_msg": "invalid params"}}, BadRequest),
    ("SiliconFlow", {"code": 30001, "message": "Sorry, your account balance is insufficient"}, PaymentRequired),
    ("Alibaba", {"code": "DataInspectionFailed", "message": "no", "request_id": "1"}, Refused),
    ("Alibaba", {"code": "InvalidApiKey", "message": "Invalid API-key provided."}, AuthFailed),
    ("Baidu", {"error_code": 336104, "error_msg": "the prompt may be sensitive"}, Refused),
    ("Baidu", {"error_code": 17, "error_msg": "Open api daily request limit reached"}, RateLimited),
    ("Cloudflare", {"success": False, "errors": [{"message": "context window limit exceeded"}]}, ContextTooLong),
    ("a gateway", {"status": 402, "message": "no"}, PaymentRequired),
    ("a gateway", {"detail": "Model x does not exist"}, ModelNotFound),
    ("a gateway", {"msg": "Too many requests"}, RateLimited),
    ("a gateway", {"detail": "Not Found"}, ModelNotFound),
    ("a gateway", {"error": "Unauthorized", "message": "The key is invalid", "statusCode": 401}, AuthFailed),
    ("a gateway", {"error": True, "message": "exceeded your current quota"}, PaymentRequired),
    ("Apigee", {"fault": {"faultstring": "Rate limit quota violation. Quota limit exceeded"}}, RateLimited),
    ("Tencent", {"Response": {"Error": {"Code": "AuthFailure", "Message": "Invalid API key"}}}, AuthFailed),
    ("a gateway", {"message": "Unauthorized"}, AuthFailed),
    ("a gateway", {"detail": "Method Not Allowed"}, BadRequest),
    ("a gateway", {"msg": "Forbidden"}, AuthFailed),
    ("a gateway", {"message": "Payment Required"}, PaymentRequired),
    ("Z.ai", {"code": 500, "msg": "404 NOT_FOUND", "success": False}, ModelNotFound),
    ("Groq", {"x_groq": {"id": "1", "error": "over capacity"}}, Overloaded),
    ("Groq", {"choices": [], "x_groq": {"error": {"message": "Rate limit reached"}}}, RateLimited),
]


@pytest.mark.parametrize(("body", "error"), [row[1:] for row in IN_BAND], ids=[row[0] for row in IN_BAND])
@pytest.mark.parametrize("wire", EVENTS)
@pytest.mark.parametrize("framing", ["whole", "event"])
async def test_an_error_in_a_body_with_status_200_has_its_kind(
    framing: str, wire: str, body: dict[str, Any], error: type[ProviderError]
) -> None:
    data = json.dumps(body)
    with pytest.raises(error):
        await read(Response([data.encode() if framing == "whole" else f"data: {data}\n\n".encode()]), wire)


@pytest.mark.parametrize(
    "extra",
    [
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {"code": 0, "message": "Success"},
        {"error": None},
        {"msg": ""},
    ],
)
async def test_a_status_of_success_in_a_body_is_not_an_error(extra: dict[str, Any]) -> None:
    choices = [{"index": 0, "message": {"content": "42"}, "finish_reason": "stop"}]
    result = await read(Response([json.dumps({"choices": choices, **extra}).encode()]), "openai")
    assert result.text == "42"


async def test_a_prompt_that_azure_filters_without_an_error_is_a_refusal() -> None:
    filters = {"hate": {"filtered": True, "severity": "high"}, "violence": {"filtered": False, "severity": "safe"}}
    results = [{"prompt_index": 0, "content_filter_results": filters}]
    body = json.dumps({"choices": [], "prompt_filter_results": results})
    result = await read(Response([body.encode()]), "openai")
    assert result.finished == Finished(finish_reason="refusal", served_model="", refusal="hate")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>hello</html>", "expected a stream of events, got text/html"),
        (b"\x1f\x8b\x08\x00", "expected a stream of events"),
        (b"try later", "expected a stream of events"),
        (b"data: {broken\n\n", "invalid JSON"),
        (b'{"choices": [', "invalid JSON"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "invalid JSON"),
    ],
)
@pytest.mark.parametrize("wire", EVENTS)
async def test_a_body_that_is_not_an_answer_is_a_protocol_error(wire: str, body: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        await read(Response([body], "text/html"), wire)


@pytest.mark.parametrize(
    "page",
    [
        "<html><title>登录</title>".encode() + "请登录".encode() * 500,
        "<html><title>登录</title></html>".encode("gbk"),
        "<html><title>Café</title></html>".encode("latin-1"),
        "\ufeff\n<html><title>登录</title>".encode() + "请".encode() * 1_000,
    ],
)
@pytest.mark.parametrize("wire", EVENTS)
async def test_a_page_in_any_encoding_is_not_billed(wire: str, page: bytes) -> None:
    with pytest.raises(ProtocolError, match="whether the network asks for a login") as caught:
        await read(Response([page], "text/html"), wire)
    assert (caught.value.billed, caught.value.retryable) == (False, False)


def test_an_event_without_an_end_is_bounded() -> None:
    decoder = BodyDecoder()
    megabyte = b"x" * 1024**2
    list(decoder.feed(b"data: "))
    for _ in range(31):
        assert not list(decoder.feed(megabyte))
    with pytest.raises(ProtocolError, match="more than 32 MiB"):
        list(decoder.feed(2 * megabyte))


async def test_deltas_that_arrive_together_are_one_event_with_its_pieces() -> None:
    chunks = [delta("Pa"), delta("ris"), delta(reasoning="hm"), delta("."), delta(finish="stop")]
    events = read_events(Response([sse(chunks)]), ChunkReader(ENDPOINT, SENT))
    texts = [(event.text, event.pieces) async for event in events if isinstance(event, TextDelta)]
    assert texts == [("Paris", ("Pa", "ris")), (".", ())]


async def test_a_flood_of_text_is_decoded_in_parts_with_turns_for_other_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_magic.turns.TURN_S", 0.0)
    body = sse([delta("word ")] * 2_000)
    reads = [body[start : start + 4_096] for start in range(0, len(body), 4_096)]
    turns, done = 0, 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def receive() -> None:
        nonlocal done
        parts = list[tuple[int, str]]()
        async for event in read_events(Response(reads), ChunkReader(ENDPOINT, SENT)):
            if isinstance(event, TextDelta):
                parts.append((turns, event.text))
        assert "".join(text for _, text in parts) == "word " * 2_000
        assert len({turn for turn, _ in parts}) == len(parts)
        done += 1

    ticking = asyncio.create_task(tick())
    await asyncio.gather(*(receive() for _ in range(3)))
    ticking.cancel()
    assert done == 3


async def test_a_reader_that_waits_for_its_turn_closes_the_body_when_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llm_magic.turns.TURN_S", 0.0)
    response = Response([sse([delta("word ")], end="")] * 1_000)
    async with aclosing(read_events(response, ChunkReader(ENDPOINT, SENT))) as events:
        assert isinstance(await anext(events), TextDelta)
    assert response.is_closed
    assert not response.read_to_end


async def test_the_share_of_a_body_that_was_not_read_is_known_when_it_is_closed() -> None:
    text = sse([delta("word ")] * 1_000, end="")
    sending, response = Sending(), Response([text, text, text])
    async with aclosing(read_events(response, ChunkReader(ENDPOINT, SENT), sending)) as events:
        assert isinstance(await anext(events), TextDelta)
        for _ in range(10):
            await asyncio.sleep(0)
    assert sending.unread_share == 2.0


async def test_text_that_arrives_with_an_error_is_kept() -> None:
    body = sse([delta("Pa"), delta("ris")], end='data: {"error": "no luck"}\n\n')
    events, texts = read_events(Response([body]), ChunkReader(ENDPOINT, SENT)), list[str]()

    async def collect() -> None:
        async for event in events:
            texts.extend([event.text] if isinstance(event, TextDelta) else [])

    with pytest.raises(ServerError):
        await collect()
    assert texts == ["Paris"]


ODD = st.sampled_from(
    [None, "", "x", "stop", "\ud83d", "error", 0, 1, 0.0, True, False, [], {}, [None], ["x"], {"text": "x"}]
)
PARTS = ("content", "role", "reasoning_content", "reasoning", "reasoning_details", "refusal", "tool_calls")
DELTAS = st.dictionaries(st.sampled_from(PARTS), ODD, max_size=3).flatmap(
    lambda part: st.sampled_from([part, {"content": "x", **part}, {**part, "content": "y"}])
)
CHOICES = st.builds(
    lambda part, more: {"delta": part} | more,
    DELTAS | ODD,
    st.dictionaries(
        st.sampled_from(["index", "finish_reason", "message", "text", "usage", "logprobs"]), ODD, max_size=2
    ),
)
CHUNKS = st.builds(
    lambda choices, more: {"choices": choices} | more,
    st.lists(CHOICES, max_size=2) | st.lists(CHOICES, min_size=1, max_size=1) | ODD,
    st.dictionaries(
        st.sampled_from(["model", "object", "usage", "service_tier", "error", "timings", "x_groq", "created", "id"]),
        ODD | st.just(OPENAI_USAGE),
        max_size=2,
    ),
)


@given(chunks=st.lists(CHUNKS, max_size=6))
@example([{"choices": [{"delta": {"content": "x"}, "finish_reason": 0}]}])
@example([{"choices": [{"delta": {"content": "x", "tool_calls": "x"}, "finish_reason": "stop"}]}])
def test_a_plain_chunk_is_read_like_one_with_more_in_it(chunks: list[dict[str, Any]]) -> None:
    """A chunk with a field that is not known is read in full; plain ones are read in a shorter way."""

    async def outcome(body: bytes) -> tuple[list[object], str]:
        events: list[object] = []
        try:
            async for event in read_events(Response([body]), ChunkReader(ENDPOINT, SENT)):
                events += [event.pieces or event.text] if isinstance(event, TextDelta) else [event]
        except ProviderError as error:
            return events, repr(error)
        return events, ""

    unusual = [chunk | {"a_new_field": 1} for chunk in chunks]
    assert asyncio.run(outcome(sse(chunks, escapes=True))) == asyncio.run(outcome(sse(unusual, escapes=True)))


@pytest.mark.parametrize("wire", EVENTS)
async def test_a_cut_body_has_no_finish(wire: str) -> None:
    body = sse(EVENTS[wire]())
    for end in range(0, body.index(b"stop"), 5):
        assert (await read(Response([body[:end]]), wire)).finished is None


@pytest.mark.parametrize("wire", EVENTS)
async def test_a_break_after_the_finish_reason_keeps_the_answer(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "END_WAIT_S", 0.01)
    events = [event for event in EVENTS[wire]() if event.get("type") != "message_stop"]
    body = sse(events, end="")
    for response in (Response([body], error=ConnectionResetError()), Response([body], hangs=True)):
        await assert_answer_is_read(wire, response)


@pytest.mark.parametrize("wire", EVENTS)
async def test_a_break_before_the_finish_reason_is_raised(wire: str) -> None:
    with pytest.raises(ConnectionResetError):
        await read(Response([sse(EVENTS[wire]()[:5], end="")], error=ConnectionResetError()), wire)


@pytest.mark.parametrize("wire", EVENTS)
async def test_a_response_is_read_to_its_end_within_bounds(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "DRAIN_S", 0.01)
    body = sse(EVENTS[wire]())
    short = Response([body, b"\n", b": bye\n"])
    await assert_answer_is_read(wire, short)
    assert short.read_to_end
    for endless in (
        Response([body, *[b"x" * 10_000] * 100]),
        Response([body], hangs=True),
        Response([body], error=ConnectionResetError()),
    ):
        await assert_answer_is_read(wire, endless)
        assert not endless.read_to_end


@pytest.mark.parametrize(
    ("wire", "data"),
    [
        ("openai", b": keep-alive\n\n"),
        ("openai", b": OPENROUTER PROCESSING\n\n"),
        ("openai", b"data:\n\n"),
        ("openai", sse([delta("", role="assistant")], end="")),
        ("openai", sse([delta(reasoning_content="")], end="")),
        ("openai", sse([{"choices": []}], end="")),
        ("openai", sse([delta(tool_calls=[{"index": 0}])], end="")),
        ("openai", b"dat"),
        ("anthropic", b"event: ping\ndata: {}\n\n"),
        ("anthropic", sse([{"type": "ping"}], end="")),
        ("anthropic", sse([{"type": "content_block_delta", "delta": {"type": "signature_delta"}}], end="")),
        (
            "anthropic",
            sse([{"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": ""}}], end=""),
        ),
        ("anthropic", sse([{"type": "content_block_start", "content_block": {"type": "redacted_thinking"}}], end="")),
        ("anthropic", sse([{"type": "a_new_type"}], end="")),
    ],
)
async def test_a_read_without_text_is_a_sign_of_life(wire: str, data: bytes) -> None:
    assert (await read(Response([data, data]), wire)) == Read(signs_of_life=2)
