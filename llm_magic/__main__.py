"""The command line: `llm-magic`, or `python -m llm_magic`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from llm_magic.errors import LLMMagicError
from llm_magic.lab.evaluate import command as evaluation
from llm_magic.lab.simulate import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0, or 1 with one line on stderr that says what happened."""
    parser = argparse.ArgumentParser(prog="llm-magic", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    pull = commands.add_parser("pull", help="fetch the weights of the embedded model, so that its first use is quick")
    pull.set_defaults(run=_pull)
    simulate = commands.add_parser("simulate", help="what routing saves, on recorded outcomes or on your own ledger")
    command.add_options(simulate)
    simulate.set_defaults(run=command.run)
    judge = commands.add_parser("eval", help="judge the routing on recorded outcomes, or the tiers on labelled prompts")
    evaluation.add_eval_options(judge)
    judge.set_defaults(run=evaluation.run_eval)
    train = commands.add_parser("train", help="make the classifier's weights from recorded outcomes and tier labels")
    evaluation.add_train_options(train)
    train.set_defaults(run=evaluation.run_train)
    args = parser.parse_args(argv)
    try:
        args.run(args)
    except LLMMagicError as error:
        print(f"llm-magic: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nllm-magic: stopped", file=sys.stderr)
        return 130
    return 0


def _pull(_: argparse.Namespace) -> None:
    from llm_magic.providers.local import weights

    live = sys.stderr.isatty()
    said = ""

    def progress(message: str, fraction: float | None) -> None:
        nonlocal said
        if live:
            share = "" if fraction is None else f" {fraction:4.0%}"
            print(f"\r\x1b[K{message}{share}", end="", file=sys.stderr, flush=True)
        elif message != said:
            print(message, file=sys.stderr)
        said = message

    path = weights.pull(progress)
    if live:
        print("\r\x1b[K", end="", file=sys.stderr)
    print(path)


if __name__ == "__main__":
    raise SystemExit(main())
