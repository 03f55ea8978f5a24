"""Curves of cost and success over both dials."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic.__main__ import main
from llm_magic.lab.simulate.dials import KNOWN, SETTINGS, Figures, Setting, compare_dials, cost_at, to_json, to_text
from llm_magic.lab.simulate.dials_plots import plot_dials
from llm_magic.lab.simulate.efforts import Interval
from llm_magic.lab.simulate.thinkers import World
from llm_magic.types import DEFAULT_QUALITY

FEW = (
    Setting(quality=0.0),
    Setting(quality=DEFAULT_QUALITY),
    Setting(quality=1.0),
    Setting(worth_usd=Decimal("0.0001")),
    Setting(worth_usd=Decimal("0.1")),
    Setting(worth_usd=Decimal(5)),
)
RECORDED = ("zeroeval", "mmlupro", "routerbench")


def exactly(value: float) -> Interval:
    return Interval(value=value, low=value, high=value)


def curve(*points: tuple[float, float], dial: str = "quality") -> dict[Setting, Figures]:
    return {
        Setting(quality=number / 10) if dial == "quality" else Setting(worth_usd=Decimal(number + 1)): Figures(
            cost=exactly(cost), success=exactly(success), lost=exactly(0.0)
        )
        for number, (cost, success) in enumerate(points)
    }


def test_the_cost_of_a_target_is_interpolated_along_one_dial() -> None:
    figures = {**curve((0.1, 0.8), (0.5, 1.0)), **curve((0.1, 0.8), (0.2, 0.9), dial="worth")}
    assert cost_at(figures, "--quality", 0.9) == pytest.approx(0.3)
    assert cost_at(figures, "--quality", 1.0) == 0.5
    assert cost_at(figures, "--worth", 0.85) == pytest.approx(0.15)
    assert cost_at(figures, "--worth", 0.95) is None
    assert cost_at(figures, "--quality", 0.5) == 0.1


def test_the_cheapest_crossing_of_a_curve_that_falls_again_counts() -> None:
    figures = curve((0.1, 0.8), (0.2, 1.0), (0.3, 0.9), (0.9, 1.0))
    assert cost_at(figures, "--quality", 0.95) == pytest.approx(0.175)


@pytest.mark.lab
def test_both_dials_buy_success_with_cost() -> None:
    curves = compare_dials(World(prompts=60), users=2, settings=FEW, resamples=20)
    assert set(RECORDED) < set(curves)
    for source, figures in curves.items():
        for dial in ("--quality", "--worth"):
            costs = [own.cost.value for setting, own in figures.items() if setting.dial == dial]
            assert costs == sorted(costs), source
            successes = [own.success.value for setting, own in figures.items() if setting.dial == dial]
            assert successes[0] < successes[-1], source
        assert figures[FEW[1]].lost == exactly(0.0)
        assert figures[FEW[0]].lost.value > 0
    for source in RECORDED[1:]:
        assert curves[source][FEW[2]].cost.value == pytest.approx(1), "the top model is the best one everywhere"


@pytest.mark.lab
def test_curves_are_reproducible_and_drawn(tmp_path: Path) -> None:
    world = World(prompts=10)
    one, same, other = (compare_dials(world, users=1, seed=seed, settings=FEW, resamples=5) for seed in (1, 1, 2))
    assert to_text(one, world, 1) == to_text(same, world, 1) != to_text(other, world, 1)
    assert to_json(one)[KNOWN][1]["value"] == f"{DEFAULT_QUALITY:g}"
    path = plot_dials(one, tmp_path / "plots")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.read_bytes() == plot_dials(same, tmp_path / "again").read_bytes()


@pytest.mark.lab
def test_the_command_prints_both_dials_with_what_is_assumed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["simulate", "--dials", "--users", "1", "--prompts", "3"])
    shown = capsys.readouterr().out
    for text in (
        "65% routine",
        "standard deviations",
        f"--quality {DEFAULT_QUALITY:g} (default)",
        "--worth 0.5",
        *RECORDED,
    ):
        assert text in shown
    assert shown.count("(default)") == 5
    assert shown.count("cost at 98.3% of the success") == 5


def test_the_default_is_one_of_the_settings() -> None:
    assert [setting.is_default for setting in SETTINGS].count(True) == 1
    assert all((setting.quality is None) != (setting.worth_usd is None) for setting in SETTINGS)
    assert dataclasses.replace(SETTINGS[0], quality=0.9).dial == "--quality"
