"""Sessions with scripted models, loaded by the kernels of the browser tests."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.core.getipython import get_ipython

from llm_magic import ModelNotFound, Overloaded, use_router
from llm_magic.attachments import attach, of_value
from llm_magic.jupyter.display.run_view import choose_view
from llm_magic.jupyter.display.static_view import StaticView
from llm_magic.jupyter.run import background, foreground
from llm_magic.providers.base import ProviderRequest
from llm_magic.routing import session_router
from llm_magic.testing import Failure, Reply
from tests.support.builders import model, router
from tests.support.payloads import PAYLOADS

BATCH = 10


def hostile() -> None:
    """Use a session whose first model fails with a payload as its error, and whose second answers with it.

    The payload's number is the last word of the prompt. The payload is also the name of the served model. ModelNotFound
    opens no circuit, so that each payload appears as an error.
    """

    def reply(request: ProviderRequest) -> Reply | Failure:
        payload = PAYLOADS[int(request.messages[-1].content.split()[-1])]
        if request.model.id == "failing":
            return Failure(error=ModelNotFound(payload))
        half = len(payload) // 2
        return Reply(chunks=(payload[:half], payload[half:]), served_model=payload)

    use_router(router(model("failing", price="0.1/0.5", fallback_id="answering"), model("answering"), replies=reply))


def hostile_names() -> Any:
    """Use a session whose models are named after payloads. Return a plan and a result whose reasons are payloads."""
    evil = [payload for payload in PAYLOADS if payload.startswith("<img")][:4]
    session = use_router(router(*(model(name) for name in evil)))
    plan = session.plan("hello")
    result = session.route_sync("hello", tags=(evil[0],))
    reasons = tuple(PAYLOADS)
    classification = dataclasses.replace(plan.classification, reasons=reasons)
    return (
        dataclasses.replace(plan, classification=classification),
        dataclasses.replace(result, reasons=reasons, notes=reasons, finish_reason=evil[0]),
    )


def hostile_everywhere() -> None:
    """Use a session whose models are named after payloads. Every third run fails once, with its payload as error."""
    failed: set[str] = set()

    def reply(request: ProviderRequest) -> Reply | Failure:
        payload = request.model.id
        if PAYLOADS.index(payload) % 3 == 0 and payload not in failed:
            failed.add(payload)
            return Failure(error=Overloaded(payload))
        return Reply(chunks=(payload.replace("\0", "\ufffd"),), served_model=payload)  # as providers' words come in

    use_router(router(*(model(payload) for payload in PAYLOADS), replies=reply))


def runs_named(start: int, stop: int) -> None:
    """Run with each payload as prompt, system prompt, tag, thread, and as name of a file, a variable and a column."""
    shell = get_ipython()
    session = session_router()
    for number, payload in list(enumerate(PAYLOADS))[start:stop]:
        request = session.request(
            payload.replace("\0", ""), model=payload, system=payload.replace("\0", ""), **named_after(payload)
        )
        if number % 5 == 0:
            view = choose_view(shell, freeze=True, stream=True, background=True)
            background.start(session, request, view, {}, [payload])
        else:
            is_live = number % 5 == 1
            view = choose_view(shell, freeze=True, stream=True) if is_live else StaticView()
            foreground.run(session, request, view)


def named_after(payload: str) -> dict[str, Any]:
    """Return the options of a request that contain names, all named after a payload."""
    word = payload.replace("\0", "")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / word.replace("/", "\N{DIVISION SLASH}")[:60]
        file.write_text("hello")
        table = pd.DataFrame({word: [word], "b": [1]}, index=[word])
        attached = attach([file, of_value(word, "hello"), of_value(word, table)])
    thread = "".join(filter(str.isprintable, word))[:100].strip()
    return {"attach": attached, "tags": (word.replace(",", ";"),), "thread": thread}


def batches(magic: str) -> list[str]:
    """Return cells that request every payload."""
    lines = [f"{magic} payload {number}" for number in range(len(PAYLOADS))]
    return ["\n".join(lines[start : start + BATCH]) for start in range(0, len(lines), BATCH)]
