"""The command line: `llm-magic`, or `python -m llm_magic`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from llm_magic.errors import InvalidOption, LLMMagicError

EXIT_CODE_INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. An error is printed as one line on stderr, with exit code 1."""
    args = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int | None] = args.run
    try:
        return run(args) or 0
    except InvalidOption as error:
        from llm_magic.routing.keywords import message_as_typed

        print(f"llm-magic: {message_as_typed(error)}", file=sys.stderr)
        return 1
    except LLMMagicError as error:
        print(f"llm-magic: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"\nllm-magic: {interrupt or 'stopped'}", file=sys.stderr)
        return EXIT_CODE_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    from llm_magic import commands as asking
    from llm_magic.lab.evaluate import command as evaluate
    from llm_magic.lab.prompts import has_training_prompts
    from llm_magic.lab.simulate import command as simulate

    parser = argparse.ArgumentParser(prog="llm-magic", description="Command-line tools of llm_magic.")
    parser.add_argument("--version", action="version", version=f"llm-magic {version('llm-magic')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help_text: str, run: Callable[[argparse.Namespace], int | None]) -> argparse.ArgumentParser:
        shown: dict[str, Any] = {} if name == "train" and not has_training_prompts() else {"help": help_text}
        command = commands.add_parser(name, **shown, description=f"{help_text}.")
        command.set_defaults(run=run)
        return command

    asking.add_ask_options(add("ask", "Send a prompt to the cheapest capable model", asking.ask))
    asking.add_plan_options(add("plan", "Show the models and the cost of a prompt, and send nothing", asking.plan))
    asking.add_map_options(add("map", "Send a prompt for every row of a file", asking.map_file))
    add("pull", "Download the weights of the embedded model, so that its first use is fast", _pull)
    simulate.add_options(
        add("simulate", "Estimate what routing saves, on recorded outcomes or your ledger", simulate.run)
    )
    evaluate.add_eval_options(
        add("eval", "Evaluate routing on recorded outcomes, or tiers on labeled prompts", evaluate.run_eval)
    )
    evaluate.add_train_options(add("train", "Train the classifier's weights", evaluate.run_train))
    return parser


def _pull(_: argparse.Namespace) -> None:
    from llm_magic.providers.local import download

    is_terminal = sys.stderr.isatty()
    last_message = ""

    def show_progress(message: str, fraction: float | None) -> None:
        nonlocal last_message
        if is_terminal:
            percent = "" if fraction is None else f" {fraction:4.0%}"
            print(f"\r\x1b[K{message}{percent}", end="", file=sys.stderr, flush=True)
        elif message != last_message:
            print(message, file=sys.stderr)
        last_message = message

    path = download.pull(show_progress)
    if is_terminal:
        print("\r\x1b[K", end="", file=sys.stderr)
    print(path)


if __name__ == "__main__":
    raise SystemExit(main())
