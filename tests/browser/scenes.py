"""What the kernels of the browser tests load: sessions with scripted models."""

from __future__ import annotations

import dataclasses
from typing import Any

from llm_magic import Overloaded, use_router
from llm_magic.providers.base import ProviderRequest
from llm_magic.providers.scripted import Failure, Reply
from tests.helpers import model, router
from tests.payloads import PAYLOADS

BATCH = 10


def hostile() -> None:
    """A session whose first model fails with payload N as its message, and whose second answers with it.

    The payload's number is the prompt's last word. The model that served is called as the payload says, too.
    """

    def reply(request: ProviderRequest) -> Reply | Failure:
        payload = PAYLOADS[int(request.messages[-1].content.split()[-1])]
        if request.model.id == "failing":
            return Failure(error=Overloaded(payload, retry_after_s=99))
        half = len(payload) // 2
        return Reply(chunks=(payload[:half], payload[half:]), served_model=payload)

    # Circuits stay closed: each payload is to be an error as well.
    ours = router(model("failing", price="0.1/0.5", fallback_id="answering"), model("answering"), replies=reply)
    ours._means.health.failed = lambda *_, **__: None  # type: ignore[method-assign]
    use_router(ours)


def hostile_names() -> Any:
    """A session whose models are called after payloads; returns a plan and a result whose reasons are payloads."""
    evil = [payload for payload in PAYLOADS if payload.startswith("<img")][:4]
    ours = use_router(router(*(model(name) for name in evil)))
    plan = ours.plan("hello")
    result = ours.route_sync("hello", tags=(evil[0],))
    reasons = tuple(PAYLOADS)
    classification = dataclasses.replace(plan.classification, reasons=reasons)
    return (
        dataclasses.replace(plan, classification=classification),
        dataclasses.replace(result, reasons=reasons, notes=reasons, finish_reason=evil[0]),
    )


def batches(magic: str) -> list[str]:
    """Cells that ask for every payload."""
    lines = [f"{magic} payload {number}" for number in range(len(PAYLOADS))]
    return ["\n".join(lines[start : start + BATCH]) for start in range(0, len(lines), BATCH)]
