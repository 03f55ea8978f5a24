"""Simulated months as a text table, with the assumptions behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llm_magic.answers.agreement import SAME_MISTAKE, SAME_RIGHT
from llm_magic.lab.simulate.lineups import LINEUPS
from llm_magic.lab.simulate.months import CLAIMED, Simulated, Spread
from llm_magic.lab.simulate.simulator import BACKOFFS_S, FAILED_TRY_S, SPEED

_HEADER = (
    "approach", "monthly cost", "of top", "latency p50 (assumed)", "success", "of top's", "answered", "fallbacks",
    "escalated",
)  # fmt: skip


def to_text(simulated: Simulated) -> str:
    rows = [_HEADER, *(_row(name, spreads) for name, spreads in simulated.approaches.items()), _claimed_row()]
    scenario = simulated.scenario
    routine = "–".join(f"{share:.0%}" for share in scenario.routine)
    lines = [
        f"{simulated.source}: {simulated.months} months of {scenario.days} days of {scenario.requests} requests, "
        f"{routine} of each day routine ({', '.join(LINEUPS[simulated.source].routine_tasks)}); "
        "in brackets the interval of 95% of the months",
        "",
        *_align(rows),
        "",
        *_assumptions(simulated),
    ]
    return "\n".join(lines)


def _row(name: str, spreads: Mapping[str, Spread]) -> tuple[str, ...]:
    return (
        name,
        _usd(spreads["cost_usd"]),
        _percent(spreads["cost_share"]),
        f"{spreads['p50_s'].value:.1f} s",
        _percent(spreads["success"]),
        _percent(spreads["success_share"]),
        f"{spreads['answered'].value:.2%}",
        f"{spreads['fallbacks'].value:.2%}",
        f"{spreads['escalated'].value:.0%}" if spreads["escalated"].high else "",
    )


def _claimed_row() -> tuple[str, ...]:
    return (
        "claimed for routing",
        "",
        f"{1 - CLAIMED['cost_saved']:.0%}",
        f"{CLAIMED['latency']:.0%} of top",
        f"{CLAIMED['success']:.1%}",
        f"{CLAIMED['success'] / CLAIMED['top_success']:.1%}",
        "",
        f"{CLAIMED['fallbacks']:.1%}",
        "",
    )


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _assumptions(simulated: Simulated) -> list[str]:
    scenario = simulated.scenario
    speeds = ", ".join(f"{first:g} and {rate:g} ({role})" for role, (first, rate) in SPEED.items())
    origin = "as set" if scenario.same_mistake != SAME_MISTAKE else "as measured for a cascade over full answers"
    bounds = "; if ".join(
        f"{name}: {_percent(spreads['cost_share'])} of top's cost, {_percent(spreads['success'])} success"
        for name, spreads in simulated.cascade_bounds.items()
    )
    return [
        "Success is the recorded score. "
        f"Faults: {scenario.faults:.1%} of tries, {scenario.outages:.1%} of a provider's hours.",
        "Costs are list prices of the time.",
        "No times are recorded: latency is the recorded length at an assumed speed, "
        f"seconds to the first token and tokens per second being {speeds};",
        f"a failed try takes {FAILED_TRY_S:g} s, the waits after it {BACKOFFS_S[0]:g} and {BACKOFFS_S[1]:g} s.",
        f"No answers are recorded: two cheap models are assumed to agree in {SAME_RIGHT:.1%} of the cases where both "
        f"are right and {scenario.same_mistake:.0%} of those where both are wrong, {origin}.",
        f"If {bounds}.",
    ]


def _usd(spread: Spread) -> str:
    return f"${spread.value:.2f} ({spread.low:.2f}–{spread.high:.2f})"


def _percent(spread: Spread) -> str:
    return f"{spread.value:.1%} ({spread.low:.1%}–{spread.high:.1%})"
