"""Token counts: offline with the official ranks, and the upper bound for any byte-level tokenizer."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
import tiktoken_ext.openai_public
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import tokens
from llm_magic.types import Message
from tests.support.builders import model


def test_counts_equal_those_of_tiktoken() -> None:
    assert tokens.count_o200k("The capital of France is Paris.") == 7
    assert tokens.count_o200k("") == 0


@pytest.fixture
def unloaded_encoding() -> Iterator[None]:
    tokens.load_encoding.cache_clear()
    yield
    tokens.load_encoding.cache_clear()


def test_ranks_come_from_an_installed_wheel_without_a_download(unloaded_encoding: None) -> None:
    assert tokens.load_encoding().encode("hello world") == [24912, 2375]  # the network guard would fail a download


def test_broken_ranks_are_refused(monkeypatch: pytest.MonkeyPatch, unloaded_encoding: None) -> None:
    monkeypatch.setattr(gzip, "decompress", lambda _: b"broken")
    with pytest.raises(RuntimeError, match="reinstall it"):
        tokens.load_encoding()


def test_pattern_and_hash_equal_those_of_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes: list[str] = []
    monkeypatch.setattr(
        tiktoken_ext.openai_public, "load_tiktoken_bpe", lambda _, expected_hash: hashes.append(expected_hash) or {}
    )
    assert tiktoken_ext.openai_public.o200k_base()["pat_str"] == tokens.PATTERN
    assert hashes == [tokens.RANKS_SHA256]


def test_an_estimate_is_the_count_times_the_familys_ratio_rounded_up() -> None:
    text = "one two three four five six seven eight nine ten"
    assert tokens.estimate(text, model("plain")) == 10
    assert tokens.estimate(text, model("other", token_ratio=1.61)) == 17


@given(text=st.text(max_size=2_000), system=st.none() | st.text(max_size=200))
def test_the_bound_is_never_below_the_count(text: str, system: str | None) -> None:
    messages = (Message(role="user", content=text),)
    counted = tokens.count_o200k(text) + (tokens.count_o200k(system) if system else 0)
    bound = tokens.bound_input(messages, system)
    assert counted <= len(text.encode()) + len((system or "").encode())
    assert counted < bound


@pytest.mark.parametrize("text", ["a" * 3_000_000, "word " * 600_000, "\u4e2d" * 1_000_000])
def test_huge_texts_take_bounded_work(text: str) -> None:
    exact_share = tokens.count_o200k(text[: tokens.SLICE_CHARS]) / tokens.SLICE_CHARS
    assert tokens.count_o200k(text) == pytest.approx(exact_share * len(text), rel=0.05)
