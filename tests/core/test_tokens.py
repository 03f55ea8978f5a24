"""Token counts: offline, official ranks, and a bound that no byte-level tokenizer passes."""

from __future__ import annotations

import gzip
import inspect
import os
import tempfile
from pathlib import Path

import pytest
import tiktoken_ext.openai_public
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import tokens
from llm_magic.types import Message
from tests.support.builders import model


def test_counts_are_tiktokens_own() -> None:
    assert tokens.count_o200k("The capital of France is Paris.") == 7
    assert tokens.count_o200k("") == 0


def test_ranks_come_from_the_installed_wheel_and_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tiktoken
    import tiktoken.registry

    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "/the/users/own")
    tokens._encoding.cache_clear()
    encoding = tokens._encoding()  # the network guard would fail a download, and tiktoken a wrong hash
    assert encoding.encode("hello world") == [24912, 2375]
    assert os.environ["TIKTOKEN_CACHE_DIR"] == "/the/users/own"
    assert list(tmp_path.glob("llm_magic-*")) == []


def test_broken_ranks_are_refused_before_tiktoken_would_download_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip, "decompress", lambda _: b"broken")
    tokens._encoding.cache_clear()
    with pytest.raises(RuntimeError, match="reinstall it"):
        tokens._encoding()


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
