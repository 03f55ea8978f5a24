"""Cascades that plans choose for everyday prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_magic.__main__ import main
from llm_magic.lab.simulate.looks import everyday_prompts, planned


def test_a_fifth_of_everyday_prompts_has_a_cheaper_cascade_at_the_wanted_quality() -> None:
    confirmed = planned(everyday_prompts()[::3], "any")
    assert confirmed.share >= 0.2
    assert confirmed.cost < 0.9
    assert confirmed.quality > 0.99
    assert 0 < min(confirmed.tiers.values()) < confirmed.share < max(confirmed.tiers.values()) <= 1


def test_the_command_prints_the_share_and_what_is_assumed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main(["simulate", "--cascades", "--json", str(tmp_path / "out.json")])
    text = capsys.readouterr().out
    assert "Assumed, not measured" in text
    assert set(json.loads((tmp_path / "out.json").read_text())) == {"default", "any"}
