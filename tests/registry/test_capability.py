"""Assumed capabilities of models that state none."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_magic import Registry, TaskTier
from llm_magic.registry import capability
from llm_magic.testing import scripted_model
from llm_magic.tuning.estimation import posterior_mode
from llm_magic.tuning.evidence import Evidence, Signal

OWN = """
[models."{name}"]
base_url = "http://localhost:11434/v1"
tiers = ["BULK"]
price = {{ input = 0, output = 0 }}
"""


def own(tmp_path: Path, name: str, more: str = "") -> Registry:
    path = tmp_path / "models.toml"
    path.write_text(OWN.format(name=name) + more)
    return Registry.load("current", user_file=path)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("llama-3.1-8b-instruct", 8), ("llama3:70b", 70), ("mixtral-8x7b", 56), ("qwen3:0.6b", 0.6),
        ("qwen3-30b-a3b", 30), ("gemma3:270m", 0.27), ("GPT-OSS-120B", 120), ("org/Qwen2.5-7B-Instruct-1M", 7),
        ("llama3.2", None), ("phi-4", None), ("webb", None), ("claude-1m", None), ("0b", None),
    ],
)  # fmt: skip
def test_the_size_in_a_name_is_read(name: str, billions: float | None) -> None:
    assert capability.billions_of(name) == billions


def test_a_larger_model_is_assumed_to_be_better_on_every_tier() -> None:
    small, large, huge = (capability.from_size(billions) for billions in (1, 70, 2_000))
    assert all(small[tier] < large[tier] < huge[tier] <= capability.BEST_CAPABILITY for tier in TaskTier)


def test_the_packaged_small_model_agrees_with_the_assumption_for_its_size() -> None:
    stated = Registry.load("current")["local"].capability
    assumed = capability.from_size(0.5)
    assert all(abs(assumed[tier] - stated[tier]) < 0.5 for tier in TaskTier)


@pytest.mark.parametrize("name", ["llama3.2", "llama3.1:8b", "mistral", "qwen3:32b"])
def test_a_free_model_of_ones_own_is_not_assumed_as_good_as_a_hosted_one(tmp_path: Path, name: str) -> None:
    registry = own(tmp_path, name)
    assert registry[name].capability[TaskTier.BULK] < 1.9
    assert registry.assumed_ids == registry.with_models(registry).assumed_ids == {name}


def test_an_unknown_capability_is_said_and_a_stated_one_is_kept(tmp_path: Path) -> None:
    assert own(tmp_path, "llama3.2")["llama3.2"].capability_source.startswith("not known: assumed for 8 billion")
    assert own(tmp_path, "x:70b")["x:70b"].capability_source == "assumed for the 70 billion parameters in its name"
    stated = own(tmp_path, "llama3.2", "capability = { bulk = 2.0 }\n")
    assert stated["llama3.2"].capability_source == "stated"
    assert not stated.assumed_ids


def test_a_known_model_behind_another_endpoint_is_as_capable(tmp_path: Path) -> None:
    registry = own(tmp_path, "via-router", 'api_model = "anthropic/claude-sonnet-5-5"\n')
    assert registry["via-router"].capability == registry["claude-sonnet-5-5"].capability
    assert registry["via-router"].capability_source == "assumed: that of claude-sonnet-5-5, by its name"


def test_a_paid_model_without_a_size_is_assumed_from_its_tiers() -> None:
    model = Registry(models=[scripted_model("paid", tiers=(TaskTier.BULK,))])["paid"]
    assert model.capability == capability.from_tiers((TaskTier.BULK,))


def test_ratings_move_an_assumed_capability_further_than_a_stated_one() -> None:
    evidence = Evidence()
    for _ in range(10):
        evidence = evidence.add(Signal.RATED_BAD, 0.0)
    levels, collected = {"own": 1.3}, {"own": evidence}
    _, stated = posterior_mode(levels, collected)
    _, assumed = posterior_mode(levels, collected, ["own"])
    assert assumed["own"] < stated["own"] < 0
