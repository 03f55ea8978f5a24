"""Magics for budgets, the ledger, reports, threads, cache, tuning and models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from llm_magic import routing
from llm_magic.errors import BudgetError, RequestError
from llm_magic.jupyter.display.report_plot import show_plot
from llm_magic.jupyter.magics import budget, words
from llm_magic.jupyter.run.short_errors import short_errors
from llm_magic.ledger import Ledger

if TYPE_CHECKING:
    import pandas as pd

    from llm_magic.ledger.report import Report

_session_option = argument("--session", action="store_true", help="Only this session's rows. Default: all.")
_tag_option = argument(
    "--tag",
    action="append",
    metavar="WORD",
    help="Only rows with this tag. Repeated: rows with all of the tags.",
)


@magics_class
class LedgerMagics(Magics):
    """Magics that send nothing. `settings` are those of `RouteMagics`."""

    def __init__(self, shell: Any, settings: Any) -> None:
        super().__init__(shell)
        self._shell, self._settings = shell, settings

    @magic_arguments()
    @argument("amount", nargs="*", metavar="AMOUNT", help="The session's cap in USD, such as 5 or 0.50, or off.")
    @argument("--run", metavar="USD", help="Maximum cost of each run, or off.")
    @argument("--day", metavar="USD", help="Maximum spending of all sessions of this ledger per day (UTC), or off.")
    @argument("--month", metavar="USD", help="Maximum spending of all sessions of this ledger per month (UTC), or off.")
    @argument("--model", action="append", metavar="ID=USD", help="Maximum spending on a model in this session, or off.")
    @argument("--tag", action="append", metavar="WORD=USD", help="Maximum spending on a tag in this session, or off.")
    @argument("--shadow", metavar="USD", help="Maximum spending on shadow runs in this session, or off.")
    @argument(
        "--reconcile",
        choices=("charge", "release"),
        metavar="HOW",
        help="charge or release: close the attempts of dead processes, and count their held amounts as spent, or as "
        "never billed.",
    )
    @line_magic
    @no_var_expand
    def route_budget(self, line: str) -> None:
        """Set spend caps, or show the status of every cap.

        Caps that are not named stay as they are. Without an argument nothing changes.

        Examples:
          %route_budget
          %route_budget 5 --run 0.50
          %route_budget --day 10 --model claude-opus-5-5=2 --tag draft=1
          %route_budget off --day off
        """
        args = words.parse(self.route_budget, line)
        args.amount = " ".join(args.amount) or None
        with short_errors():
            router = routing.session_router()
            try:
                budget.change(router, args)
            except BudgetError as error:
                raise UsageError(str(error)) from None
            done = [budget.reconcile(router, args.reconcile)] if args.reconcile else []
            print("\n".join([*done, *budget.status_lines(router, self._settings.shadow)]))  # noqa: T201 - a magic answers in the cell

    @magic_arguments()
    @_session_option
    @_tag_option
    @line_magic
    def route_ledger(self, line: str) -> pd.DataFrame:
        """Return the ledger as a DataFrame with one row per attempt.

        Example: rows = %route_ledger --session --tag draft
        """
        args = words.parse(self.route_ledger, line)
        with short_errors():
            from llm_magic.jupyter.render import frames

            ledger = routing.session_router().ledger
            return frames.ledger(ledger.to_frame(**_row_filters(args, ledger)), args.tag or ())

    @magic_arguments()
    @_session_option
    @_tag_option
    @line_magic
    def route_report(self, line: str) -> Report | None:
        """Report spending over time, by model and by tier, against the top model, as a plot and DataFrames.

        The plot needs the extra "plots": pip install "llm-magic[plots]".

        Example: report = %route_report --tag draft
        """
        args = words.parse(self.route_report, line)
        with short_errors():
            ledger = routing.session_router().ledger
            report = ledger.report(**_row_filters(args, ledger))
            if args.tag and not len(report.rows):
                from llm_magic.jupyter.render import frames

                print(frames.no_rows(args.tag))  # noqa: T201 - a magic answers in the cell
                return None
            show_plot(self._shell, report)
        return report

    @magic_arguments()
    @argument("name", nargs="?", metavar="THREAD", help="Show the exchanges of this thread.")
    @argument("--purge", action="store_true", help="Delete the thread, or all threads if no name is given.")
    @line_magic
    def route_threads(self, line: str) -> pd.DataFrame | None:
        """Show the stored conversations, or one of them, as a DataFrame; or delete them.

        If a thread is longer than %config RouteMagics.thread_tokens, its oldest exchanges are not sent.

        Examples:
          %route_threads
          %route_threads trip --purge
        """
        from llm_magic.jupyter.render import frames
        from llm_magic.jupyter.render.tables import thread_frame, threads_frame

        args = words.parse(self.route_threads, line)
        name = args.name
        with short_errors():
            threads = routing.session_router().conversations
            if name is not None and not threads.exchanges(name):
                raise RequestError(f"no thread {name!r}: there are {', '.join(threads.names()) or 'none'}")
            if not args.purge:
                limit = self._settings.thread_tokens
                if name is None:
                    return frames.threads(threads_frame(threads, limit))
                return frames.thread(thread_frame(threads, name, limit), name)
            count = threads.purge(name)
        print(f"deleted {count:,} exchange{'s' * (count != 1)}")  # noqa: T201 - as above
        return None

    @magic_arguments()
    @argument("--purge", action="store_true", help="Delete every answer.")
    @line_magic
    def route_cache(self, line: str) -> None:
        """Show the number of answers in the cache, with those of columns, and its location; or delete them.

        Example: %route_cache --purge
        """
        args = words.parse(self.route_cache, line)
        with short_errors():
            router = routing.session_router()
            cache = router.cache
            count, size = cache.count_and_bytes()
            kept = router.column_store.count()
            if args.purge:
                router.cache.purge()
                router.column_store.purge()
        done = "deleted" if args.purge else "holds the text of"
        columns = f"; {done} {kept:,} answer{'s' * (kept != 1)} of columns" if kept else ""
        answers = f"{count:,} answer{'s' * (count != 1)}, {size:,} bytes"
        print(f"the cache in {router.ledger.location} {done} {answers}{columns}")  # noqa: T201 - as above

    @magic_arguments()
    @argument("--apply", action="store_true", help="Apply the change, also in later sessions.")
    @argument("--reset", action="store_true", help="Undo the applied change.")
    @line_magic
    def route_tune(self, line: str) -> None:
        """Learn model capabilities from the ratings, escalations and failed checks in the ledger.

        Shows the change; --apply applies it.

        Example: %route_tune --apply
        """
        args = words.parse(self.route_tune, line)
        if args.apply and args.reset:
            raise UsageError("--apply or --reset, not both")
        from llm_magic import tuning
        from llm_magic.jupyter.magics import tuning_report

        with short_errors():
            was_reset = tuning.reset() if args.reset else None  # before a file that can't be read gets in the way
            router = routing.session_router()
            if was_reset is None:
                message = tuning_report.apply(router) if args.apply else tuning_report.preview(router)
            else:
                router.retune()
                message = "Undone: the packaged estimates apply again." if was_reset else "There is nothing to undo."
        print(message)  # noqa: T201 - as above

    @magic_arguments()
    @argument(
        "--check",
        action="store_true",
        help="Ask each provider with a key for its models, which is free, and compare them with the registry.",
    )
    @line_magic
    def route_models(self, line: str) -> pd.DataFrame:
        """Return every model as a DataFrame: its price at this hour, and if not usable now, the reason.

        With --check: which models are available, retiring, gone or new at their providers, and where they differ.

        Examples:
          %route_models
          %route_models --check
        """
        args = words.parse(self.route_models, line)
        from llm_magic.jupyter.render import frames
        from llm_magic.jupyter.render.tables import checks_frame, models_frame
        from llm_magic.routing.model_check import check_models

        with short_errors():
            router = routing.session_router()
            if args.check:
                return frames.checks(checks_frame(check_models(router.base_registry, router.providers)))
            return frames.models(models_frame(router))


def _row_filters(args: Any, ledger: Ledger) -> dict[str, Any]:
    tags = args.tag or []
    return {"tags": tags, "session_id": ledger.session_id if args.session else None}
