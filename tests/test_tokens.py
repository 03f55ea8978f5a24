"""Token counts: offline, official ranks, and a bound that no byte-level tokenizer passes."""

from __future__ import annotations

import hashlib
import inspect
import os
from pathlib import Path

import pytest
import tiktoken_ext.openai_public
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import tokens
from llm_magic.types import Message
from tests.helpers import model


def test_counts_are_tiktokens_own() -> None:
    assert tokens.count_o200k("The capital of France is Paris.") == 7
    assert tokens.count_o200k("") == 0


def test_ranks_come_from_the_installed_wheel_under_tiktokens_name(clean_environment: Path) -> None:
    tokens._encoding.cache_clear()
    try:
        tokens._encoding()  # the network guard would fail a download
    finally:
        tokens._encoding.cache_clear()
    name = hashlib.sha1(tokens._RANKS_URL.encode(), usedforsecurity=False).hexdigest()
    cached = clean_environment / "tiktoken" / name
    assert hashlib.sha256(cached.read_bytes()).hexdigest() == tokens._RANKS_SHA256
    assert "TIKTOKEN_CACHE_DIR" not in os.environ


def test_a_home_that_can_not_be_written_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LLM_MAGIC_HOME", str(blocked))
    tokens._encoding.cache_clear()
    try:
        assert tokens._encoding().name == "o200k_base"
    finally:
        tokens._encoding.cache_clear()


def test_address_and_hash_are_the_ones_tiktoken_uses() -> None:
    source = inspect.getsource(tiktoken_ext.openai_public)
    assert tokens._RANKS_URL in source
    assert tokens._RANKS_SHA256 in source


def test_a_family_is_estimated_by_its_ratio_upward() -> None:
    text = "one two three four five six seven eight nine ten"
    assert tokens.estimate(text, model("plain")) == 10
    assert tokens.estimate(text, model("other", token_ratio=1.61)) == 17


@given(text=st.text(max_size=2_000), system=st.none() | st.text(max_size=200))
def test_the_bound_holds(text: str, system: str | None) -> None:
    messages = (Message(role="user", content=text),)
    counted = tokens.count_o200k(text) + (tokens.count_o200k(system) if system else 0)
    bound = tokens.bound_input(messages, system)
    assert counted <= len(text.encode()) + len((system or "").encode())
    assert counted < bound


@pytest.mark.parametrize("text", ["a" * 3_000_000, "word " * 600_000, "\u4e2d" * 1_000_000])
def test_huge_texts_take_bounded_work(text: str) -> None:
    exact_share = tokens.count_o200k(text[: tokens._SLICE]) / tokens._SLICE
    assert tokens.count_o200k(text) == pytest.approx(exact_share * len(text), rel=0.05)
