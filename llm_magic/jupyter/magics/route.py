"""`%%route` and the magics that send prompts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from traitlets import Bool, Enum, Float, Int, List, TraitError, Unicode, validate

from llm_magic import conversations, routing
from llm_magic.attachments import TABLE_ROWS
from llm_magic.columns import Column, ColumnPlan
from llm_magic.errors import LLMMagicError
from llm_magic.jupyter.display import run_view
from llm_magic.jupyter.display.column_view import choose_column_view
from llm_magic.jupyter.magics import namespace, options, scope, words
from llm_magic.jupyter.render.run_state import Verbosity
from llm_magic.jupyter.run import background, columns, comparison, foreground, history, next_cell
from llm_magic.jupyter.run.background import BackgroundRun
from llm_magic.jupyter.run.short_errors import short_errors
from llm_magic.registry import PROFILES
from llm_magic.types import DEFAULT_QUALITY, Comparison, Effort, OnRefusal, Plan, RouteResult

if TYPE_CHECKING:
    import pandas as pd

    from llm_magic.routing import Router


Value = Plan | RouteResult | BackgroundRun | Comparison | Column | ColumnPlan


@magics_class
class RouteMagics(Magics):
    """Settings of the magics: `%config RouteMagics.freeze = False`."""

    profile = Enum(
        PROFILES,
        default_value=None,
        allow_none=True,
        help="The set of models: 'current' or 'article'. None: that of LLM_MAGIC_PROFILE, else current.",
    ).tag(config=True)
    freeze = Bool(
        True, help="Replace the live widget with static output at the end, so that saved notebooks contain the answer."
    ).tag(config=True)
    verbosity = Enum(
        get_args(Verbosity),
        default_value="normal",
        help="Facts under an answer: 'normal' shows one line and folds the rest away, 'full' shows all, 'quiet' shows "
        "them after a fallback, an estimate, or a failure only.",
    ).tag(config=True)
    table_rows = Int(
        TABLE_ROWS, min=1, help="Maximum number of rows of an attached DataFrame that are sent: 1 or more."
    ).tag(config=True)
    thread_tokens = Int(
        conversations.THREAD_TOKENS,
        min=100,
        help="Maximum number of tokens of a thread's history that are sent: 100 or more.",
    ).tag(config=True)
    cache = Bool(False, help="Reuse stored answers, as --cache does. The text of answers is stored.").tag(config=True)
    quality = Float(
        None,
        allow_none=True,
        help="Minimum share of the best expected quality, from 0 (the cheapest) to 1 (the best). None: that of the "
        f"router, {DEFAULT_QUALITY:g} by default.",
    ).tag(config=True)

    worth = Float(
        None,
        allow_none=True,
        help="Worth of a good answer in USD, above 0, as for --worth. None: that of the router, none by default.",
    ).tag(config=True)
    flex = Bool(False, help="Use the cheaper, slower service tier, as --flex does.").tag(config=True)
    effort = Enum(
        [str(effort) for effort in Effort],
        default_value=None,
        allow_none=True,
        help="How much models reason: 'none', 'low', 'medium', 'high' or 'max'. None: the cheapest level that is good "
        "enough.",
    ).tag(config=True)
    last_resort = Unicode(
        "",
        help="The model to ask if no other one answers, as --last-resort does: local, for the embedded one. '': none.",
    ).tag(config=True)
    on_refusal = Enum(
        get_args(OnRefusal),
        default_value=None,
        allow_none=True,
        help="After a refusal: 'fallback' asks one other provider, 'stop' ends the run. None: that of the router, "
        "'fallback' by default.",
    ).tag(config=True)

    shadow = Float(
        None,
        allow_none=True,
        help="Share of runs whose answer is compared, in the background, with that of another model: 0 to 1. "
        "%route_budget --shadow caps their cost. None: that of the router, 0 by default.",
    ).tag(config=True)
    shadow_judge = Unicode("", help="The model that compares answers. '': a third model, chosen for each run.").tag(
        config=True
    )
    shadow_never_tags = List(Unicode(), help="Runs with one of these tags are never sent to another model.").tag(
        config=True
    )
    shadow_never_regex = Unicode(
        "", help="Runs with a match in anything that was sent, or in the answer, are never sent to another model."
    ).tag(config=True)

    explore = Bool(
        None,
        allow_none=True,
        help="Let the choice among models that are good enough vary with what was learned about them. None: if shadow "
        "runs are on.",
    ).tag(config=True)

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._shell = shell
        self._adopted_for: Router | None = None

    @validate("profile")
    def _switch_profile(self, proposal: Any) -> str | None:
        """Switch the models, or keep the setting and the models if the profile can't be loaded."""
        try:
            routing.switch_profile(proposal["value"])
        except LLMMagicError as error:
            raise TraitError(f"the 'profile' trait can't become {proposal['value']!r}: {error}") from error
        return proposal["value"]

    @validate("quality", "shadow")
    def _check_share(self, proposal: Any) -> float | None:
        """Check the range here: the bounds of a trait accept NaN."""
        name, value = proposal["trait"].name, proposal["value"]
        if value is not None and not 0 <= value <= 1:
            raise TraitError(f"the {name!r} trait can't become {value!r}: it must be from 0 to 1, or None")
        return value

    @validate("shadow_never_regex")
    def _check_shadow_never_regex(self, proposal: Any) -> str:
        value = proposal["value"]
        try:
            re.compile(value)
        except re.error as error:
            raise TraitError(f"the 'shadow_never_regex' trait can't become {value!r}: {error}") from error
        return value

    @validate("worth")
    def _check_worth(self, proposal: Any) -> float | None:
        value = proposal["value"]
        if value is not None and not 0 < value < 1e6:
            raise TraitError(
                f"the 'worth' trait can't become {value!r}: it must be above 0 and below a million, or None"
            )
        return value

    @magic_arguments("%route")
    @options.request_arguments
    @argument(
        "--out",
        metavar="NAME",
        help="Bind the RouteResult to this name as well as to _route. Same as %%%%route NAME << [options].",
    )
    @argument(
        "--over",
        metavar="TABLE",
        help="Send the text for every row of a DataFrame, Series, list or iterable of the notebook, with {{column}} or "
        "{{value}} for the row's cell. --out gets the table with the answers, _route the result.",
    )
    @argument("--plan", action="store_true", help="Dry run: show the candidates and their costs, and send nothing.")
    @argument("--no-stream", action="store_true", help="Show the answer when it is complete.")
    @argument(
        "--compare",
        metavar=words.LISTED,
        help="Send the prompt to several models at once and show their answers side by side: model ids separated by "
        "commas, or tiers.",
    )
    @argument(
        "--background",
        action="store_true",
        help="Return at once. The answer appears here while other cells run; %%route_jobs lists, awaits and cancels.",
    )
    @argument(
        "--insert",
        action="store_true",
        help="Write the Python code of the answer into a new cell below. It is not run.",
    )
    @argument("--no-interpolate", action="store_true", help="Leave {{name}} in the text and in options as it is.")
    @line_cell_magic
    @no_var_expand
    def route(self, line: str, cell: str | None = None) -> Value | None:
        """Send the cell, or the rest of the line, to the cheapest capable model, under the budget.

        {{name}} and {{name.attribute}} in the text are replaced by their values in the notebook. The result is bound
        to _route. %config RouteMagics lists the settings.

        Examples:
          %%route --tier bulk --out answer
          Translate to French: {{text}}

          %%route answer << --schema Person --max-cost 0.02
          Who wrote this? {{letter}}

          %%route --over reviews --into topic --max-cost 0.50
          Which topic is this review about? {{text}}

          answer = %route --model claude-opus-5-5 Prove that there are infinitely many primes.
        """
        if line.strip() in ("--help", "-h"):
            print(self.route.__doc__)  # noqa: T201 - a magic answers in the cell
            return None
        if cell is None:
            value = self.send(*options.parsed(line, self.route, self._shell.user_ns, takes_text=True))
        else:
            line, cell = namespace.join_lines(line, cell)
            name, given = namespace.split_name(line)
            args, _ = options.parsed(given, self.route, self._shell.user_ns, takes_text=False)
            value = self.send(args, cell.rstrip("\r\n"), name)
        return unless_shown(value)

    @line_cell_magic
    @no_var_expand
    def route_plan(self, line: str, cell: str | None = None) -> Value | None:
        """Dry run: show the tier with its reasons, the candidates, their costs, and the budget.

        Sends nothing and needs no key.

        Usage: %route_plan [options of %%route] text, or %%route_plan with the text below it.

        Example: %route_plan --quality 1 Prove that there are infinitely many primes.
        """
        args, text = options.parsed(f"--plan {line}", self.route, self._shell.user_ns, takes_text=cell is None)
        return self.send(args, text if cell is None else cell.rstrip("\r\n"))

    @magic_arguments()
    @argument(
        "action",
        nargs="?",
        choices=["wait", "cancel", "now"],
        help="Wait for the runs, cancel them, or send now what waits for lower prices.",
    )
    @argument("runs", nargs="*", type=int, metavar="N", help="Only these runs. Default: all.")
    @line_magic
    def route_jobs(self, line: str) -> pd.DataFrame | None:
        """Return the background runs as a DataFrame; or wait for them, cancel them, or send now those that wait.

        Examples:
          %route_jobs
          %route_jobs wait
          %route_jobs cancel 3 4
          %route_jobs now 5
        """
        args = words.parse(self.route_jobs, line)
        with short_errors():
            self._adopt(routing.session_router())
            runs = background.select(args.runs)
            if args.action == "wait" and runs:
                return background.wait(runs)
            if args.action == "now":
                background.send_now(runs)
            for run in runs if args.action == "cancel" else ():
                run.cancel()
        if args.action is not None and runs:
            return None
        from llm_magic.jupyter.render import frames

        return frames.jobs(background.frame(runs))

    def _column(self, router: Router, args: Any, text: str) -> Column | ColumnPlan:
        column = options.column_of(router, args, text, scope.visible(self._shell.user_ns), self)
        if args.plan:
            return column.plan
        view = choose_column_view(self._shell, background=args.background)
        if args.background:
            return background.start_column(column, view, self._shell.user_ns, namespace.names(args.out))

        def bind(column: Column) -> None:
            self._shell.push({history.RESULT_NAME: column})
            if args.out is not None:
                self._shell.push({args.out: column.frame})

        return columns.run(column, view, bind)

    def _adopt(self, router: Router) -> None:
        """Continue the jobs that waited in kernels that have ended, once per router."""
        if self._adopted_for is router:
            return
        self._adopted_for = router
        how: dict[str, Any] = {"freeze": self.freeze, "stream": True, "verbosity": self.verbosity, "background": True}
        jobs = background.adopt(
            router,
            self._shell.user_ns,
            lambda: run_view.choose_view(self._shell, **how),
            lambda: choose_column_view(self._shell, background=True),
        )
        if jobs:
            count = f"{len(jobs)} job{'s' * (len(jobs) != 1)} that waited in kernels that have ended"
            print(f"continued: {count}. %route_jobs lists, cancels, and sends them")  # noqa: T201 - as above

    def send(self, args: Any, text: str, out: str | None = None) -> Value:
        if out is not None and args.out is not None:
            raise UsageError(f"{out} << and --out {args.out} both name the result: give one of them")
        args.out = args.out if out is None else out
        with short_errors():
            router = routing.session_router()
            self._adopt(router)
            options.check_column_options(args)
            args.background = args.background or args.when == "cheap"
            options.check_insert(args)
            if args.over is not None:
                return self._column(router, args, text)
            request = options.request_of(router, args, text, scope.visible(self._shell.user_ns), self)
            if args.plan and args.compare is None:
                return router.plan(request)
            how: dict[str, Any] = {"freeze": self.freeze, "stream": not args.no_stream, "verbosity": self.verbosity}
            names = namespace.names(args.out)

            def bind(value: RouteResult | Comparison) -> None:
                self._shell.push(dict.fromkeys(names, value))

            if args.compare is not None:
                return comparison.run(
                    router, self._shell, request, options.compared_models(args, router.registry), **how, bind=bind
                )
            if args.background:
                view = run_view.choose_view(self._shell, **how, background=True)
                return background.start(router, request, view, self._shell.user_ns, names)
            result = foreground.run(router, request, run_view.choose_view(self._shell, **how), bind)
            if args.insert:
                next_cell.insert_code(self._shell, result.text)
            return result


def unless_shown(value: Value) -> Value | None:
    """Return the value of a magic, or None if IPython would display it a second time."""
    return None if not isinstance(value, Plan | ColumnPlan) and namespace.is_displayed() else value
