"""The magics: each parses its line into a request and hands it on."""

from __future__ import annotations

import re
from argparse import BooleanOptionalAction
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from traitlets import Bool, Enum, Float, Int

from llm_magic import conversation, routing
from llm_magic.attachments import TABLE_ROWS, attach, of_value
from llm_magic.errors import BudgetError, RequestError
from llm_magic.jupyter import binding, budget, compare, jobs, screens
from llm_magic.jupyter.interpolate import interpolate
from llm_magic.jupyter.jobs import BackgroundRun
from llm_magic.jupyter.watch import short_errors, watch
from llm_magic.ledger import Ledger
from llm_magic.registry import PROFILES
from llm_magic.types import Attachment, Comparison, Plan, Request, RouteResult

if TYPE_CHECKING:
    import pandas as pd

    from llm_magic.ledger.report import Report

_WORD = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[^\s"'])+)""")


@magics_class
class RouteMagics(Magics):
    """Settings of the magics: `%config RouteMagics.freeze = False`."""

    profile = Enum(PROFILES, default_value=None, allow_none=True, help="The set of models: current or article.").tag(
        config=True
    )
    freeze = Bool(
        True, help="Replace the live widget by static output at the end, so that saved notebooks are whole."
    ).tag(config=True)

    table_rows = Int(TABLE_ROWS, min=1, help="How many rows of an attached DataFrame are sent at the most.").tag(
        config=True
    )
    thread_tokens = Int(
        conversation.THREAD_TOKENS, min=100, help="How many tokens of a thread's history are sent along at the most."
    ).tag(config=True)
    cache = Bool(
        False, help="Answer from the cache what was asked before, as --cache does. It keeps the text of answers."
    ).tag(config=True)

    quality = Float(
        None,
        allow_none=True,
        min=0.0,
        max=1.0,
        help="The least share of the best expected quality that will do, from 0 (the cheapest) to 1 (the best).",
    ).tag(config=True)

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._shell = shell
        self._compared: Comparison | None = None
        self.observe(self._switch_profile, "profile")
        if self.profile is not None:
            self._switch_profile({"new": self.profile})

    @magic_arguments("%route")
    @argument("--tier", metavar="TIER", help="complex, standard, structured or bulk; else classified from the text")
    @argument("--model", metavar="ID", help="ask this model first; its fallbacks stay")
    @argument("--quality", type=float, metavar="SHARE", help="0 (the cheapest) to 1 (the best): how good is enough")
    @argument("--system", metavar="TEXT", help="the system prompt")
    @argument("--max-tokens", type=int, metavar="N", help="the most output tokens, reasoning included")
    @argument("--max-cost", metavar="USD", help="the most that this run may cost")
    @argument(
        "--schema",
        metavar="NAME",
        help="a JSON Schema, Pydantic model or dataclass in the notebook: the answer is its JSON",
    )
    @argument("--out", metavar="NAME", help="bind the RouteResult to this name, beside _route")
    @argument("--tag", action="append", metavar="WORD", help="a word for the ledger's tags; may be repeated")
    @argument(
        "--hedge",
        type=float,
        metavar="SECONDS",
        help="ask the next model too when the first token takes longer than this; both are billed",
    )
    @argument("--plan", action="store_true", help="a dry run: who would be asked, at what cost; nothing is sent")
    @argument("--no-stream", action="store_true", help="show the answer when it is complete")
    @argument(
        "--cache",
        action=BooleanOptionalAction,
        help="where the very same was asked before, show that answer at no cost; else keep this one",
    )
    @argument(
        "--attach",
        action="append",
        metavar="WHAT",
        help="send a text file, an image, or {{name}}, a DataFrame or text of the notebook, along; may be repeated",
    )
    @argument(
        "--thread", metavar="NAME", help="go on with this conversation: its text is kept in the ledger's database"
    )
    @argument("--compare", metavar="IDS", help="ask several models at once: their ids with commas between, or tiers")
    @argument("--background", action="store_true", help="return at once; the answer arrives here while other cells run")
    @argument(
        "--cascade",
        nargs="?",
        const=True,
        metavar="HOW",
        help="ask cheap models first, and the plan's leader only where they do not agree; --cascade=twice asks one of "
        "them twice, --cascade=schema keeps what fits the schema",
    )
    @argument("--check", metavar="NAME", help="a function in the notebook: keep a cheap answer whose text it passes")
    @argument("--judge", metavar="ID", help="keep a cheap answer that this model finds good enough")
    @argument("--no-interpolate", action="store_true", help="leave {{name}} in the text as it is")
    @line_cell_magic
    @no_var_expand
    def route(self, line: str, cell: str | None = None) -> Plan | RouteResult | BackgroundRun | Comparison | None:
        """Send the cell (or the rest of the line) to the cheapest capable model, under the budget."""
        came = self._route(*((line, cell.rstrip("\n")) if cell is not None else split_options(line)))
        shown = not isinstance(came, Plan) and (cell is not None or binding.is_a_statement())
        return None if shown else came

    @line_magic
    @no_var_expand
    def route_plan(self, line: str) -> Plan | RouteResult | BackgroundRun | Comparison | None:
        """A dry run: the tier and the reasons, the chain, the cost, the budget after. Needs no key, sends nothing.

        Usage: %route_plan [options of %%route] text
        """
        return self._route(*split_options(f"--plan {line}"))

    @magic_arguments("%route_budget")
    @argument("amount", nargs="*", metavar="AMOUNT", help="the session's cap in USD, such as 5 or 0.50; or off")
    @argument("--run", metavar="USD", help="the most that each run may cost; or off")
    @argument("--day", metavar="USD", help="the most that all sessions of this ledger may spend on a day (UTC); or off")
    @argument("--month", metavar="USD", help="the same for a month (UTC); or off")
    @argument("--model", action="append", metavar="ID=USD", help="the most for one model in this session; or ID=off")
    @argument("--tag", action="append", metavar="WORD=USD", help="the most for one tag in this session; or WORD=off")
    @argument(
        "--reconcile",
        choices=("charge", "release"),
        help="close the attempts of processes that died: count what they hold as spent, or as never billed",
    )
    @line_magic
    @no_var_expand
    def route_budget(self, line: str) -> None:
        """Cap what may be spent, or see where every cap stands."""
        args = parse_argstring(self.route_budget, line)
        args.amount = " ".join(args.amount) or None
        with short_errors():
            router = routing.session_router()
            try:
                budget.change(router, args)
            except BudgetError as error:
                raise UsageError(str(error)) from None
            done = [budget.reconcile(router, args.reconcile)] if args.reconcile else []
            print("\n".join([*done, *budget.stands(router)]))  # noqa: T201 - a magic answers in the cell

    @magic_arguments("%route_ledger")
    @argument("--session", action="store_true", help="this session's rows only")
    @argument("--tag", action="append", metavar="WORD", help="only rows with this tag; may be repeated")
    @line_magic
    def route_ledger(self, line: str) -> pd.DataFrame:
        """The ledger as a DataFrame: one row an attempt."""
        args = parse_argstring(self.route_ledger, line)
        with short_errors():
            ledger = routing.session_router().ledger
            return ledger.to_frame(**_rows_of(args, ledger))

    @magic_arguments("%route_report")
    @argument("--session", action="store_true", help="on this session only")
    @argument("--tag", action="append", metavar="WORD", help="only on rows with this tag; may be repeated")
    @line_magic
    def route_report(self, line: str) -> Report:
        """Spend over time, by model and by tier, against the top model: a plot, and the numbers as DataFrames."""
        from llm_magic.jupyter import tables

        args = parse_argstring(self.route_report, line)
        with short_errors():
            ledger = routing.session_router().ledger
            report = ledger.report(**_rows_of(args, ledger))
            tables.show_plot(self._shell, report)
        return report

    @line_magic
    def route_pick(self, line: str) -> None:
        """Keep the best answer of the last comparison: rated good in the ledger, and bound to _route.

        Usage: %route_pick N    the number of its column, or its label
        """
        if self._compared is None:
            raise UsageError("%route_pick: compare first, with %%route --compare")
        with short_errors():
            picked = compare.pick(routing.session_router(), self._compared, line.strip())
        self._shell.push({"_route": picked}, interactive=False)
        print(f"picked {picked.model}")  # noqa: T201 - as above

    @magic_arguments("%route_threads")
    @argument("name", nargs="?", metavar="NAME", help="show what was said in this thread")
    @argument("--purge", action="store_true", help="forget the thread, or without a name all of them")
    @line_magic
    def route_threads(self, line: str) -> pd.DataFrame | None:
        """The conversations that are kept, or one of them, as a DataFrame; or forget them."""
        from llm_magic.jupyter.tables import thread_frame, threads_frame

        args = parse_argstring(self.route_threads, line)
        name = _unquoted(args.name)
        with short_errors():
            threads = routing.session_router().ledger.threads
            if name is not None and not threads.turns(name):
                raise RequestError(f"no thread {name!r}: there are {', '.join(threads.names()) or 'none'}")
            if not args.purge:
                return threads_frame(threads) if name is None else thread_frame(threads, name)
            count = threads.purge(name)
        print(f"forgot {count:,} exchange{'s' * (count != 1)}")  # noqa: T201 - as above
        return None

    @magic_arguments("%route_cache")
    @argument("--purge", action="store_true", help="forget every answer")
    @line_magic
    def route_cache(self, line: str) -> None:
        """What the cache keeps, the text of answers, and where; or forget it."""
        args = parse_argstring(self.route_cache, line)
        with short_errors():
            ledger = routing.session_router().ledger
            count, size = ledger.cache.size()
            if args.purge:
                ledger.cache.purge()
        done = "forgot" if args.purge else "holds the text of"
        print(f"the cache in {ledger.location} {done} {count:,} answer{'s' * (count != 1)}, {size:,} bytes")  # noqa: T201 - as above

    @magic_arguments("%route_jobs")
    @argument("action", nargs="?", choices=["wait", "cancel"], help="wait until they are over, or cancel them")
    @argument("runs", nargs="*", type=int, metavar="N", help="of these runs; else of all")
    @line_magic
    def route_jobs(self, line: str) -> pd.DataFrame | None:
        """The runs in the background as a DataFrame; or wait for them, or cancel them."""
        args = parse_argstring(self.route_jobs, line)
        with short_errors():
            runs = jobs.chosen(args.runs)
            if args.action == "wait":
                return jobs.wait(runs)
            for run in runs if args.action == "cancel" else ():
                run.cancel()
        return jobs.frame(runs) if args.action is None else None

    @magic_arguments("%route_tune")
    @argument("--apply", action="store_true", help="use it from now on, also in later sessions")
    @argument("--reset", action="store_true", help="take it back")
    @line_magic
    def route_tune(self, line: str) -> None:
        """Learn from the ledger: its ratings, escalations, failed checks. Shows what would change; --apply does it."""
        args = parse_argstring(self.route_tune, line)
        if args.apply and args.reset:
            raise UsageError("--apply or --reset, not both")
        from llm_magic import tuning
        from llm_magic.jupyter import tune

        with short_errors():
            taken_back = tuning.reset() if args.reset else None  # before a file that can't be read gets in the way
            router = routing.session_router()
            if taken_back is None:
                said = tune.apply(router) if args.apply else tune.show(router)
            else:
                router.retune()
                said = (
                    "Taken back: the packaged figures count again." if taken_back else "There is nothing to take back."
                )
        print(said)  # noqa: T201 - as above

    @line_magic
    def route_models(self, line: str) -> pd.DataFrame:
        """The registry as a DataFrame: every model, its price at this hour, whether it can be used now and why not."""
        if line.strip():
            raise UsageError("%route_models takes no arguments")
        from llm_magic.jupyter.tables import models_frame

        with short_errors():
            return models_frame(routing.session_router())

    def _route(self, options: str, text: str) -> Plan | RouteResult | BackgroundRun | Comparison:
        args = parse_argstring(self.route, options)
        with short_errors():
            router = routing.session_router()
            request = self._request(args, text)
            if args.plan and args.compare is None:
                return router.plan(request)
            how = {"freeze": self.freeze, "stream": not args.no_stream}
            names = ("_route", *([args.out] if args.out else []))
            if args.compare is not None:
                self._compared = compare.run(router, self._shell, request, self._to_compare(args))
                self._shell.push(dict.fromkeys(names, self._compared), interactive=False)
                return self._compared
            if args.background:
                screen = screens.in_background(self._shell, **how)
                return jobs.start(router, request, screen, self._shell.user_ns, names)
            result = watch(router, request, screens.choose(self._shell, **how))
        self._shell.push(dict.fromkeys(names, result), interactive=False)
        return result

    def _to_compare(self, args: Any) -> list[str]:
        """The models that `--compare` names, or tiers."""
        given = {"--thread": args.thread, "--model": args.model, "--plan": args.plan, "--background": args.background}
        if clashing := next((name for name, value in given.items() if value), None):
            raise UsageError(f"--compare does not go together with {clashing}")
        return [model.strip() for model in (_unquoted(args.compare) or "").split(",") if model.strip()]

    def _request(self, args: Any, text: str) -> Request:
        """The typed request that a magic's options and text stand for."""
        names = self._shell.user_ns
        prompt, routing_text = (text, None) if args.no_interpolate else interpolate(text, names)
        binding.check_name(args.out)
        if args.quality is not None and not 0 <= args.quality <= 1:
            raise UsageError(f"--quality {args.quality}: must be from 0 (the cheapest) to 1 (the best)")
        if args.max_tokens is not None and args.max_tokens < 1:
            raise UsageError(f"--max-tokens {args.max_tokens}: must be at least 1")
        schema = _unquoted(args.schema)
        if schema is not None and not schema.lstrip().startswith("{"):
            schema = self._named("--schema", schema)
        try:
            return routing.session_router().request(
                prompt,
                tier=args.tier,
                quality=self.quality if args.quality is None else args.quality,
                model=_unquoted(args.model),
                system=_unquoted(args.system),
                max_output_tokens=args.max_tokens,
                max_cost=_unquoted(args.max_cost),
                schema=schema,
                tags=tuple(_unquoted(tag) or "" for tag in args.tag or ()),
                routing_text=routing_text,
                hedge_s=args.hedge,
                attach=[self._attached(what) for what in args.attach or ()],
                thread=_unquoted(args.thread),
                thread_tokens=self.thread_tokens,
                cache=self.cache if args.cache is None else args.cache,
                cascade=args.cascade,
                check=self._named("--check", args.check),
                judge=_unquoted(args.judge),
            )
        except BudgetError as error:
            raise UsageError(f"--max-cost: {error}") from None
        except RequestError as error:
            raise UsageError(str(error)) if re.match(r"no (tier|cascade) ", str(error)) else error from None

    def _attached(self, what: str) -> Attachment:
        """What `--attach` names: a variable between double braces, or a path."""
        what = _unquoted(what) or ""
        if not (what.startswith("{{") and what.endswith("}}")):
            return attach([what], rows=self.table_rows)[0]
        name = what[2:-2].strip()
        return of_value(name, self._named("--attach", name), rows=self.table_rows)

    def _named(self, option: str, name: str | None) -> Any:
        """What a name that an option gives stands for in the notebook."""
        if (name := _unquoted(name)) is None:
            return None
        if name not in self._shell.user_ns:
            raise UsageError(f"{option} {name}: no such name in the notebook")
        return self._shell.user_ns[name]

    def _switch_profile(self, change: Any) -> None:
        if change["new"] is not None:
            routing.switch_profile(change["new"])


def _rows_of(args: Any, ledger: Ledger) -> dict[str, Any]:
    """Which rows `--tag` and `--session` choose."""
    tags = [_unquoted(tag) or "" for tag in args.tag or ()]
    return {"tags": tags, "session_id": ledger.session_id if args.session else None}


def split_options(line: str) -> tuple[str, str]:
    """The options at the head of a line, and the text behind them exactly as it was typed."""
    flags = {
        name
        for action in RouteMagics.route.parser._actions
        if action.nargs in (0, "?")
        for name in action.option_strings
    }
    at = 0
    while (word := _WORD.match(line, at)) and word.group(1).startswith("--"):
        at = word.end()
        if word.group(1) in flags or "=" in word.group(1):
            continue
        if value := _WORD.match(line, at):
            at = value.end()
    return line[:at], line[at:].strip()


def _unquoted(value: str | None) -> str | None:
    """IPython leaves the quotes in an argument."""
    if value is not None and len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
