"""The command `llm-magic simulate`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from llm_magic.errors import EvaluationError


def add_options(parser: argparse.ArgumentParser) -> None:
    days = parser.add_argument_group("days of requests over recorded outcomes")
    days.add_argument("--source", default="zeroeval", help="Outcomes of zeroeval (default), mmlupro, or routerbench")
    days.add_argument("--requests", type=int, default=200, metavar="N", help="Requests per day (default: %(default)s)")
    days.add_argument(
        "--routine", default="0.6-0.7", metavar="LOW-HIGH", help="Share of routine requests (default: %(default)s)"
    )
    days.add_argument(
        "--faults", type=float, default=0.02, metavar="SHARE", help="Share of tries that fail (default: %(default)s)"
    )
    days.add_argument(
        "--outages",
        type=float,
        default=0.005,
        metavar="SHARE",
        help="Share of a provider's hours with an outage (default: %(default)s)",
    )
    days.add_argument(
        "--quality", type=float, metavar="SHARE", help="Minimum expected quality, as a share of the best model's"
    )
    days.add_argument(
        "--same-mistake",
        type=float,
        metavar="SHARE",
        help="Share of common mistakes on which a cascade's cheap models agree",
    )
    days.add_argument("--months", type=int, metavar="N", help="Number of months to simulate")
    days.add_argument(
        "--seed", type=int, default=0, metavar="N", help="Seed of the random numbers (default: %(default)s)"
    )
    days.add_argument("--plots", type=Path, metavar="FOLDER", help="Write plots to this folder")
    _add_model_options(parser)
    own = parser.add_argument_group("replay of your own ledger")
    own.add_argument("--ledger", metavar="WHERE", help="Path or URL of a ledger: price its runs again instead")
    own.add_argument("--profile", metavar="NAME", help="The models to replay with: current or article")
    own.add_argument("--prices", type=Path, metavar="TOML", help="A models.toml with other prices or models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the results to this file")


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    efforts = parser.add_argument_group("effort on simulated models")
    efforts.add_argument("--efforts", action="store_true", help="Compare policies of effort, and print what is assumed")
    efforts.add_argument("--shadow", action="store_true", help="Compare routing before and after 300 shadow runs")
    efforts.add_argument(
        "--dials", action="store_true", help="Compare --quality with --worth, also on recorded outcomes"
    )
    efforts.add_argument(
        "--cascades", action="store_true", help="Show which cascades plans choose for the prompts of notebooks"
    )
    efforts.add_argument("--users", type=int, default=8, metavar="N", help="Simulated users (default: %(default)s)")
    efforts.add_argument(
        "--prompts", type=int, default=2_000, metavar="N", help="Prompts per user (default: %(default)s)"
    )
    efforts.add_argument(
        "--reasoning-scale", type=float, default=1.0, metavar="X", help="True reasoning, relative to what is assumed"
    )
    efforts.add_argument(
        "--step-scale", type=float, default=1.0, metavar="X", help="True gain of effort, relative to what is assumed"
    )


def run(args: argparse.Namespace) -> None:
    if args.ledger is None and (args.profile or args.prices):
        raise EvaluationError("--profile and --prices are for --ledger")
    play = _simulate if args.ledger is None else _replay
    on_models = {"--efforts": args.efforts, "--shadow": args.shadow, "--dials": args.dials, "--cascades": args.cascades}
    if args.quality is not None and (flag := next((flag for flag, is_set in on_models.items() if is_set), None)):
        raise EvaluationError(f"--quality can't be combined with {flag}, which uses the default quality")
    if args.efforts or args.shadow or args.dials:
        play = _on_simulated_models
    elif args.cascades:
        play = _planned_cascades
    text, data = play(args)
    if args.json is not None:
        args.json.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    sys.stdout.write(f"{text}\n")


def _on_simulated_models(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    from llm_magic.lab.simulate.efforts import compare, to_json, to_text
    from llm_magic.lab.simulate.thinkers import World

    if not (0 < args.users <= 1_000 and 0 < args.prompts <= 100_000):
        raise EvaluationError("--users must be 1 to 1,000, and --prompts 1 to 100,000")
    if not (0 <= args.reasoning_scale <= 100 and 0 <= args.step_scale <= 100):
        raise EvaluationError("--reasoning-scale and --step-scale must be between 0 and 100")
    world = World(prompts=args.prompts, reasoning_scale=args.reasoning_scale, step_scale=args.step_scale)
    if args.shadow:
        from llm_magic.lab.simulate.shadowing import report

        return report(world, users=args.users, seed=args.seed)
    if args.dials:
        from llm_magic.lab.simulate import dials

        curves = dials.compare_dials(world, users=args.users, seed=args.seed)
        if args.plots is not None:
            from llm_magic.lab.simulate.dials_plots import plot_dials

            plot_dials(curves, args.plots)
        return dials.to_text(curves, world, args.users), dials.to_json(curves)
    compared = compare(world, users=args.users, seed=args.seed)
    return to_text(compared), to_json(compared)


def _planned_cascades(_: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    from llm_magic.lab.simulate.looks import report

    return report()


def _simulate(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    from llm_magic.lab.simulate.months import MONTHS, simulate, to_json
    from llm_magic.lab.simulate.months_text import to_text
    from llm_magic.lab.simulate.simulator import Scenario

    scenario = Scenario(
        requests=args.requests, routine=_share_range(args.routine), faults=args.faults, outages=args.outages
    )
    optional = {"quality": args.quality, "same_mistake": args.same_mistake}
    scenario = dataclasses.replace(scenario, **{name: value for name, value in optional.items() if value is not None})
    if not (0 < args.requests <= 100_000 and (args.months is None or 0 < args.months <= 10_000)):
        raise EvaluationError("--requests must be 1 to 100,000, and --months 1 to 10,000")
    for name in ("faults", "outages", "quality", "same_mistake"):
        if not 0 <= getattr(scenario, name) <= 1:
            raise EvaluationError(f"--{name.replace('_', '-')} {getattr(scenario, name)!r} must be between 0 and 1")
    simulated = simulate(args.source, scenario, months=args.months or MONTHS, seed=args.seed)
    if args.plots is not None:
        from llm_magic.lab.simulate.months_plots import plot_months

        plot_months(simulated, args.plots)
    return to_text(simulated), to_json(simulated)


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


def _share_range(text: str) -> tuple[float, float]:
    try:
        low, _, high = text.partition("-")
        shares = float(low), float(high or low)
    except ValueError:
        raise EvaluationError(f"--routine {text!r}: write a share or a range of shares, such as 0.6-0.7") from None
    if not 0 <= shares[0] <= shares[1] <= 1:
        raise EvaluationError(f"--routine {text!r} must be between 0 and 1, the lower one first")
    return shares
