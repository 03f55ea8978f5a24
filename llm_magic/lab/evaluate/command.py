"""The commands `llm-magic eval` and `llm-magic train`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_magic.errors import EvaluationError

if TYPE_CHECKING:
    from llm_magic.lab.data import Labeled

_TASK_OPTIONS = (
    "prompts", "outcomes", "train_prompts", "train_outcomes", "mode", "weak", "strong", "source", "resamples",
)  # fmt: skip


def add_eval_options(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("outcomes (.parquet, .jsonl or .csv; see llm_magic/lab/evaluate/README.md)")
    files.add_argument("--prompts", type=Path, metavar="FILE", help="Columns prompt_id, group_id, source, task, prompt")
    files.add_argument(
        "--outcomes", type=Path, metavar="FILE", help="Columns prompt_id, model, score, output_tokens, cost_usd"
    )
    files.add_argument("--train-prompts", type=Path, metavar="FILE", help="Prompts to learn from in adapted mode")
    files.add_argument("--train-outcomes", type=Path, metavar="FILE", help="Outcomes of --train-prompts")
    parser.add_argument(
        "--tiers",
        type=Path,
        metavar="FILE",
        help="Evaluate the tiers of your own labeled prompts instead. Columns prompt, tier, and optionally source; "
        "--prompts without --outcomes does the same",
    )
    parser.add_argument(
        "--mode",
        choices=("shipped", "adapted"),
        default="shipped",
        help="Evaluate the shipped heads, or heads adapted to the training files (default: %(default)s)",
    )
    parser.add_argument("--weak", metavar="MODEL", help="The weak model (known for the published sources)")
    parser.add_argument("--strong", metavar="MODEL", help="The strong model (known for the published sources)")
    parser.add_argument("--source", metavar="SOURCE", help="Evaluate only this source")
    parser.add_argument(
        "--labels", type=int, nargs="+", default=[], metavar="N", help="Compute a learning curve at these sizes"
    )
    parser.add_argument(
        "--resamples", type=int, default=1_000, metavar="N", help="Bootstrap resamples (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the report to this file")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="Write plots to this folder (needs matplotlib)")


def run_eval(args: argparse.Namespace) -> None:
    from llm_magic.lab.data import read_tiers
    from llm_magic.lab.evaluate.report import Task, evaluate
    from llm_magic.lab.evaluate.tables import outcomes_table

    if args.tiers is not None:
        report, text = _evaluate_labeled(read_tiers(args.tiers), args.resamples)
    elif args.prompts is None:
        raise EvaluationError("give --prompts and --outcomes, or --tiers")
    elif args.outcomes is None:
        report, text = _evaluate_labeled(_read_labeled_prompts(args.prompts), args.resamples)
    else:
        options = {name: getattr(args, name) for name in _TASK_OPTIONS}
        report = evaluate(Task(learning_sizes=tuple(args.labels), **options))
        text = outcomes_table(report)
    if args.plots is not None:
        from llm_magic.lab.evaluate.plots import plot_report

        plot_report(report, args.plots)
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    sys.stdout.write(f"{text}\n")


def _evaluate_labeled(labeled: Labeled, resamples: int) -> tuple[dict[str, Any], str]:
    from llm_magic.lab.evaluate.cross_validation import robustness
    from llm_magic.lab.evaluate.tables import robustness_table, tiers_table
    from llm_magic.lab.evaluate.tiers import evaluate_tiers

    tiers = {**evaluate_tiers(labeled, resamples=resamples), "robustness": robustness(labeled)}
    return {"format": 2, "tiers": tiers}, f"{tiers_table(tiers)}\n{robustness_table(tiers['robustness'])}"


def _read_labeled_prompts(path: Path) -> Labeled:
    from llm_magic.lab.data import read_tiers

    try:
        return read_tiers(path)
    except EvaluationError as error:
        raise EvaluationError(f"give --prompts and --outcomes, or --tiers (--prompts alone: {error})") from error


def add_train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="Folder with train_prompts, train_outcomes, and tiers (.parquet, .jsonl or .csv)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("weights.npz"), metavar="FILE", help="Weights file (default: %(default)s)"
    )
    parser.add_argument(
        "--figures", type=Path, metavar="FILE", help="Cross-validate too, and write the figures to this file"
    )


def run_train(args: argparse.Namespace) -> None:
    """Train, write the weights, and report whether they equal the shipped ones. Raises EvaluationError."""
    from llm_magic.lab.fit.train import shipped_bytes, train

    weights = train(args.data)
    args.out.write_bytes(weights)
    comparison = "the same as" if weights == shipped_bytes() else "different from"
    sys.stdout.write(f"{args.out}: {len(weights):,} bytes, {comparison} the shipped weights\n")
    if args.figures is not None:
        from llm_magic.lab.evaluate.ablation import ablation_table
        from llm_magic.lab.evaluate.cross_validation import measure

        figures = measure(args.data, weights)
        args.figures.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        sys.stdout.write(f"{ablation_table(figures['ablation'])}\n")
