"""`llm-magic eval` and `llm-magic train`: their options, and what they print."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from llm_magic.errors import EvaluationError


def add_eval_options(parser: argparse.ArgumentParser) -> None:
    """The options of `llm-magic eval`."""
    files = parser.add_argument_group("outcomes (.parquet, .jsonl or .csv; see llm_magic/evaluate/README.md)")
    files.add_argument("--prompts", type=Path, metavar="P", help="prompt_id, group_id, source, task, prompt")
    files.add_argument("--outcomes", type=Path, metavar="O", help="prompt_id, model, score, output_tokens, cost_usd")
    files.add_argument("--train-prompts", type=Path, metavar="TP", help="prompts to learn from, in adapted mode")
    files.add_argument("--train-outcomes", type=Path, metavar="TO", help="their outcomes")
    parser.add_argument("--tiers", type=Path, metavar="T", help="judge the tiers instead: source, prompt, tier")
    parser.add_argument("--mode", choices=("shipped", "adapted"), default="shipped", help="what ours may have seen")
    parser.add_argument("--weak", metavar="M", help="the weak model; known for the published sources")
    parser.add_argument("--strong", metavar="M", help="the strong model")
    parser.add_argument("--source", metavar="S", help="only this source")
    parser.add_argument(
        "--labels", type=int, nargs="+", default=[], metavar="N", help="a learning curve at these sizes"
    )
    parser.add_argument("--resamples", type=int, default=1_000, metavar="N", help="of the bootstrap (default 1,000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the curves here (needs matplotlib)")


def run_eval(args: argparse.Namespace) -> None:
    """Judge, print the figures, write what is asked for. Raises EvaluationError for what can't be."""
    from llm_magic.lab.evaluate import report as reports
    from llm_magic.lab.evaluate.tables import outcomes_table, tiers_table
    from llm_magic.lab.evaluate.tiers import evaluate_tiers
    from llm_magic.lab.fit.train_tiers import read_tiers

    if args.tiers is not None:
        judged = evaluate_tiers(read_tiers(args.tiers), resamples=args.resamples)
        report, said = {"format": 2, "tiers": judged}, tiers_table(judged)
    elif args.prompts is None or args.outcomes is None:
        raise EvaluationError("give --prompts and --outcomes, or --tiers")
    else:
        names = (
            "prompts",
            "outcomes",
            "train_prompts",
            "train_outcomes",
            "mode",
            "weak",
            "strong",
            "source",
            "resamples",
        )
        task = reports.Task(labels=tuple(args.labels), **{name: getattr(args, name) for name in names})
        report = reports.evaluate(task)
        said = outcomes_table(report)
    if args.plots is not None:
        from llm_magic.lab.evaluate.plots import draw

        draw(report, args.plots)
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    sys.stdout.write(f"{said}\n")


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """The options of `llm-magic train`."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="holds train_prompts, train_outcomes and tiers"
    )
    parser.add_argument("--out", type=Path, default=Path("weights.npz"), metavar="FILE", help="default: weights.npz")
    parser.add_argument("--figures", type=Path, metavar="FILE", help="cross-validate too, and write the figures here")


def run_train(args: argparse.Namespace) -> None:
    """Train, write the weights, say whether they are the shipped ones."""
    from llm_magic.lab.fit import train

    made = train.train(args.data)
    args.out.write_bytes(made)
    same = "the same as" if made == train.shipped_bytes() else "other than"
    sys.stdout.write(f"{args.out}: {len(made):,} bytes, {same} the shipped weights\n")
    if args.figures is not None:
        from llm_magic.lab.evaluate.ablation import ablation_table
        from llm_magic.lab.evaluate.cross_validation import figures

        measured = figures(args.data, made)
        args.figures.write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
        sys.stdout.write(f"{ablation_table(measured['ablation'])}\n")
