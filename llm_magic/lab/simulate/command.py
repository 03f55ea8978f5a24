"""`llm-magic simulate`: its options, and what it prints."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from llm_magic.errors import EvaluationError


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `llm-magic simulate`."""
    days = parser.add_argument_group("days of requests over recorded outcomes")
    days.add_argument("--source", default="zeroeval", help="zeroeval, mmlupro or routerbench (default: %(default)s)")
    days.add_argument("--requests", type=int, default=200, metavar="N", help="a day (default: %(default)s)")
    days.add_argument(
        "--routine", default="0.6-0.7", metavar="LOW-HIGH", help="share of routine requests (default: %(default)s)"
    )
    days.add_argument(
        "--faults", type=float, default=0.02, metavar="SHARE", help="of tries that fail (default: %(default)s)"
    )
    days.add_argument(
        "--outages", type=float, default=0.005, metavar="SHARE", help="of a provider's hours (default: %(default)s)"
    )
    days.add_argument("--quality", type=float, metavar="Q", help="the router's dial, 0..1")
    days.add_argument(
        "--same-mistake", type=float, metavar="SHARE", help="of shared mistakes on which a cascade's cheap models agree"
    )
    days.add_argument("--months", type=int, metavar="N", help="how many to play")
    days.add_argument("--seed", type=int, default=0)
    days.add_argument("--plots", type=Path, metavar="FOLDER", help="draw the figures there")
    own = parser.add_argument_group("your own ledger, replayed")
    own.add_argument("--ledger", metavar="WHERE", help="a path or address: price its runs anew instead")
    own.add_argument("--profile", metavar="NAME", help="the models that would be asked: current or article")
    own.add_argument("--prices", type=Path, metavar="TOML", help="a models.toml with other prices or models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")


def run(args: argparse.Namespace) -> None:
    """Simulate or replay, print the table, write what is asked for. Raises EvaluationError for what can't be."""
    if args.ledger is None and (args.profile or args.prices):
        raise EvaluationError("--profile and --prices are for --ledger")
    text, data = _days(args) if args.ledger is None else _replay(args)
    if args.json is not None:
        args.json.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    sys.stdout.write(f"{text}\n")


def _days(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    from llm_magic.lab.simulate import report
    from llm_magic.lab.simulate.simulator import Scenario

    given = {"quality": args.quality, "same_mistake": args.same_mistake}
    world = Scenario(requests=args.requests, routine=_range(args.routine), faults=args.faults, outages=args.outages)
    world = dataclasses.replace(world, **{name: value for name, value in given.items() if value is not None})
    if not (0 < args.requests <= 100_000 and (args.months is None or 0 < args.months <= 10_000)):
        raise EvaluationError("--requests and --months must be whole numbers above zero, and not absurd")
    for name in ("faults", "outages", "quality", "same_mistake"):
        if not 0 <= getattr(world, name) <= 1:
            raise EvaluationError(f"--{name.replace('_', '-')} {getattr(world, name)!r} must be between 0 and 1")
    simulated = report.simulate(args.source, world, months=args.months or report.MONTHS, seed=args.seed)
    if args.plots is not None:
        report.plot(simulated, args.plots)
    return report.as_text(simulated), report.as_json(simulated)


def _replay(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    from llm_magic.ledger import Ledger
    from llm_magic.registry import PROFILES, Registry
    from llm_magic.tuning import replay
    from llm_magic.types import DEFAULT_QUALITY

    if "://" not in args.ledger and not Path(args.ledger).expanduser().exists():
        raise EvaluationError(f"no ledger at {args.ledger}")
    registry = Registry.load(args.profile, user_file=args.prices)
    ledger = Ledger(args.ledger)
    try:
        rows = ledger.rows()
    finally:
        ledger.close()
    quality = DEFAULT_QUALITY if args.quality is None else args.quality
    replayed = replay.replay(rows, registry, quality=quality, known=[Registry.load(name) for name in PROFILES])
    return replay.as_text(replayed, registry.profile), replay.as_json(replayed, registry.profile)


def _range(text: str) -> tuple[float, float]:
    try:
        low, _, high = text.partition("-")
        shares = float(low), float(high or low)
    except ValueError:
        raise EvaluationError(f"--routine {text!r}: write a share or two, such as 0.6-0.7") from None
    if not 0 <= shares[0] <= shares[1] <= 1:
        raise EvaluationError(f"--routine {text!r} must be between 0 and 1, the lower one first")
    return shares
