"""The commands that ask models: `llm-magic ask`, `plan`, and `map`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, cast

from llm_magic.budget import show_usd
from llm_magic.columns import Column, files
from llm_magic.columns.line import terminal_line
from llm_magic.errors import RequestError
from llm_magic.events import Postponed, RunEnded
from llm_magic.routing import session_router
from llm_magic.routing.column_options import COLUMN_OPTIONS, ColumnOptions
from llm_magic.routing.keywords import check_amounts
from llm_magic.routing.option import Option
from llm_magic.routing.options import OPTIONS, RequestOptions
from llm_magic.routing.plan_text import plan_text
from llm_magic.types import RouteResult
from llm_magic.waiting.off_peak import describe

EXIT_CODE_INCOMPLETE = 3
"""Some rows have no answer."""
_PROGRESS_S = 0.5
_WITHOUT_NOTEBOOK = ("schema", "check", "attach", "thread", "cache")


def add_ask_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help="The prompt. - reads it from stdin.")
    _add_request_options(parser)
    parser.add_argument("--json", action="store_true", help="Print the answer with its facts as JSON.")


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help="The prompt, with {{column}} for the cell of a row. - reads it from stdin.")
    parser.add_argument(
        "--over",
        metavar="FILE",
        type=Path,
        help="Plan the rows of this file: .csv, .parquet, .jsonl.",
    )
    _add_request_options(parser)
    _add_column_options(parser)


def add_map_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="The rows: .csv, .parquet, .jsonl, or - for JSON Lines from stdin.")
    parser.add_argument("--text", required=True, help="The prompt, with {{column}} for the cell of a row.")
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        type=Path,
        help="The file for the rows with answers. - writes them to stdout.",
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Use the answers that an earlier command has paid for. Default: --resume.",
    )
    parser.add_argument("--json", action="store_true", help="Print the progress as JSON, one object per line.")
    _add_request_options(parser)
    _add_column_options(parser)


def ask(args: argparse.Namespace) -> int:
    result: RouteResult | None = None
    for event in session_router().stream_sync(_text(args.text), **_request_options(args)):
        if isinstance(event, Postponed):
            print(f"llm-magic: {describe(event)}", file=sys.stderr, flush=True)
        elif isinstance(event, RunEnded):
            result = event.result
    assert result is not None, "a run ends with a result or an error"
    if not args.json:
        print(result.text)
        return 0
    facts = {"text": result.text, "model": result.model, "tier": str(result.tier), "run_id": result.run_id}
    data = {} if args.schema is None else {"data": result.data}
    print(json.dumps(facts | data | {"cost_usd": float(result.cost_usd)}, ensure_ascii=False, default=str))
    return 0


def plan(args: argparse.Namespace) -> int:
    router, text = session_router(), _text(args.text)
    if args.over is not None:
        print(router.plan_map(text, over=files.read(args.over), **_options(args)))
    else:
        _check_without_rows(args)
        print(plan_text(router.plan(text, **_request_options(args))))
    return 0


def map_file(args: argparse.Namespace) -> int:
    """Ask for every row of a file and write the rows with their answers, also if some have none."""
    files.check_out(args.out)
    if files.STANDARD not in (args.out, args.file) and args.out.resolve() == args.file.resolve():
        raise RequestError(f"--out {args.out} is the file of the rows: name another file")
    column = session_router().map(args.text, over=files.read(args.file), **_options(args))
    if not args.resume:
        column.forget_kept()
    error: BaseException | None = None
    try:
        _follow(column, args)
    except KeyboardInterrupt as interrupt:
        error = interrupt
        if args.json:
            _print_line(args, json.dumps(_facts(column) | {"stopped": "interrupted"}))
        raise KeyboardInterrupt(_interrupted(column, args)) from None
    except BaseException as failure:
        error = failure
        raise
    finally:
        if error is None or column.progress.answered:
            _write(column, args.out)
    column.release_kept()
    report = column.report()
    _print_line(args, json.dumps(_facts(column) | {"stopped": report.stopped}) if args.json else str(report))
    return 0 if report.is_whole else EXIT_CODE_INCOMPLETE


def _write(column: Column, out: Path) -> None:
    files.write(lambda: column.build_parts(files.WRITTEN_ROWS), out)


def _interrupted(column: Column, args: argparse.Namespace) -> str:
    again = "Repeat the command" if args.resume else "Repeat the command without --no-resume"
    cost = f"{show_usd(column.cost_usd)} so far"
    return f"stopped: {_counts(column)}, {cost}. {again} to ask the other rows; the answers are kept"


def _print_line(args: argparse.Namespace, line: str) -> None:
    """Print a line of progress, or the report, to the stream that does not have the rows."""
    print(line, file=sys.stderr if args.out == files.STANDARD else sys.stdout, flush=True)


def _follow(column: Column, args: argparse.Namespace) -> None:
    is_terminal = sys.stderr.isatty()
    waiting = ""
    try:
        column.prepare()
        column.start()
        while not column.join(_PROGRESS_S):
            if args.when == "cheap" and column.progress.waiting not in ("", waiting):
                waiting = column.progress.waiting
                print(f"llm-magic: {waiting}", file=sys.stderr, flush=True)
            if args.json:
                _print_line(args, json.dumps(_facts(column)))
            elif is_terminal:
                print(f"\r\x1b[K{terminal_line(column)}", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        column.cancel()
        column.join(5.0)
        raise
    if is_terminal and not args.json:
        print("\r\x1b[K", end="", file=sys.stderr)
    column.wait()


def _counts(column: Column) -> str:
    facts = _facts(column)
    return f"{facts['answered']:,} answered, {facts['failed']:,} failed, {facts['left']:,} left"


def _facts(column: Column) -> dict[str, Any]:
    progress, plan = column.progress, column.plan_before
    total = 0 if plan is None or plan.distinct is None else plan.distinct
    ended = progress.answered + progress.failed
    return {
        "answered": progress.answered,
        "failed": progress.failed,
        "left": max(0, total - ended),
        "resumed": progress.resumed,
        "cost_usd": float(column.cost_usd),
        "expected_usd": None if plan is None or plan.expected_usd is None else float(plan.expected_usd),
        "elapsed_s": round(column.elapsed_s, 1),
    }


def _text(text: str) -> str:
    return sys.stdin.read() if text == "-" else text


def _add_request_options(parser: argparse.ArgumentParser) -> None:
    for name, option in OPTIONS.items():
        if option.flag is not None and option.metavar is not None and name not in _WITHOUT_NOTEBOOK:
            _add_option(parser, name, option)
    parser.add_argument("--schema", metavar="FILE", help="A JSON Schema: a file, or the text itself.")


def _add_column_options(parser: argparse.ArgumentParser) -> None:
    for name, option in COLUMN_OPTIONS.items():
        _add_option(parser, name, option)


def _add_option(parser: argparse.ArgumentParser, name: str, option: Option) -> None:
    assert option.flag is not None
    how: dict[str, Any] = {"action": "append"} if option.is_repeatable else {}
    if option.bare is not None:
        how = {"nargs": "?", "const": option.bare}
    help_text = option.help.replace("%", "%%")
    parser.add_argument(option.flag, dest=name, metavar=option.metavar, type=option.parse, help=help_text, **how)


def _request_options(args: argparse.Namespace) -> RequestOptions:
    given = {name: value for name, value in vars(args).items() if name in OPTIONS and value is not None}
    if args.schema is not None and not args.schema.lstrip().startswith("{"):
        try:
            given["schema"] = Path(args.schema).read_text("utf-8")
        except OSError as error:
            raise RequestError(f"--schema {args.schema} can't be read: {error.strerror}") from error
    check_amounts(given)
    return cast("RequestOptions", given)


def _check_without_rows(args: argparse.Namespace) -> None:
    for name, option in COLUMN_OPTIONS.items():
        if getattr(args, name) is not None:
            raise RequestError(f"{option.flag} needs --over FILE")


def _options(args: argparse.Namespace) -> ColumnOptions:
    own = {name: value for name, value in vars(args).items() if name in COLUMN_OPTIONS and value is not None}
    return cast("ColumnOptions", {**_request_options(args), **own})
