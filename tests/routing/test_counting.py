"""Token counts by the provider: requested only where they decide, and never needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llm_magic import BudgetExceeded, Ledger, Registry, Router
from tests.support import loopback
from tests.support.loopback import Answer

CURRENT = Registry.load("current")
LONG = "Summarize: " + "lorem ipsum dolor sit amet " * 15_000
# 9 bytes a word, and one token for the server.
TIGHT = "Summarize: " + "consider " * 20_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[loopback.Server]:
    with loopback.running() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


def router(**options: Any) -> Router:
    return Router(registry=CURRENT, ledger=Ledger(":memory:"), **options)


@pytest.mark.parametrize("options", [{}, {"max_cost": "0.50"}, {"system": "Be brief."}])
@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-haiku-5-5"])
def test_an_ordinary_cell_requests_no_count(server: loopback.Server, model: str, options: dict[str, Any]) -> None:
    router().route_sync("What is 6 times 7?", model=model, **options)
    assert server.counted == []
    assert len(server.journal) == 1


def test_a_long_prompt_is_counted_by_its_provider(server: loopback.Server) -> None:
    routed = router()
    result = routed.route_sync(LONG, model="claude-sonnet-5-5", effort="low")
    (counted,) = server.counted
    assert counted.keys() == {"model", "messages"}
    words = len(LONG.split())
    assert result.text == "The answer is 42."
    assert routed.ledger.rows()[0].expected_usd < Decimal("0.2")
    assert words == 75_001


def test_a_prompt_that_a_cap_refuses_by_its_bytes_is_counted_and_sent(server: loopback.Server) -> None:
    # 180,075 bytes at $2 per MTok are $0.36, 20,001 tokens are $0.04.
    result = router().route_sync(TIGHT, model="claude-sonnet-5-5", max_output_tokens=256, max_cost="0.20")
    assert result.model == "claude-sonnet-5-5"
    assert len(server.counted) == len(server.journal) == 1


@pytest.mark.parametrize("status", [404, 429, 500])
def test_without_a_count_the_bound_by_bytes_stays(server: loopback.Server, status: int) -> None:
    server.count_fault = status
    alone = Registry(models=[dataclasses.replace(CURRENT["claude-sonnet-5-5"], fallback_id=None)])
    with pytest.raises(BudgetExceeded):
        Router(registry=alone, ledger=Ledger(":memory:")).route_sync(
            TIGHT, model="claude-sonnet-5-5", max_output_tokens=256, max_cost="0.20"
        )
    assert server.journal == []


def test_a_prompt_that_can_not_fit_by_any_count_is_not_counted(server: loopback.Server) -> None:
    with pytest.raises(BudgetExceeded):
        router().route_sync(TIGHT, model="claude-sonnet-5-5", max_output_tokens=256, max_cost="0.001")
    assert server.counted == []


def test_a_prompt_with_an_image_is_counted(server: loopback.Server, tmp_path: Path) -> None:
    path = tmp_path / "square.png"
    Image.new("RGB", (10, 10)).save(path)
    router().route_sync("What is this?", model="claude-haiku-5-5", attach=[path])
    assert len(server.counted) == 1


def test_other_wires_are_not_asked_for_a_count(server: loopback.Server) -> None:
    server.script("gpt-6.1-terra", Answer())
    router().route_sync(LONG, model="gpt-6.1-terra", effort="none")
    assert server.counted == []


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (405, 1), (429, 2), (500, 2)])
def test_an_endpoint_that_does_not_count_is_asked_for_a_count_once(
    server: loopback.Server, status: int, requests: int
) -> None:
    server.count_fault = status
    for _ in range(2):
        Router(registry=CURRENT, ledger=Ledger(":memory:")).route_sync(LONG, model="claude-sonnet-5-5", effort="low")
    assert len(server.counted) == requests
