"""Magics for past runs: the panel, running a prompt again, ratings."""

from __future__ import annotations

from typing import Any, Literal

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments

from llm_magic import routing
from llm_magic.jupyter.display import run_view
from llm_magic.jupyter.magics import namespace, words
from llm_magic.jupyter.render.text import printable
from llm_magic.jupyter.run import comparison, foreground, history
from llm_magic.jupyter.run.short_errors import short_errors
from llm_magic.routing import Router, validation
from llm_magic.types import Request

_RATINGS: dict[str, Literal[1, -1] | None] = {"up": 1, "down": -1, "clear": None}


@magics_class
class SessionMagics(Magics):
    """Magics for past runs. `settings` are those of `RouteMagics`."""

    def __init__(self, shell: Any, settings: Any) -> None:
        super().__init__(shell)
        self._shell, self._settings = shell, settings
        self._panel: Any = None

    @line_magic
    def route_panel(self, line: str) -> None:
        """Show the session's cost, the state of the models, and the last runs, to run again, rate or copy."""
        if line.strip():
            raise UsageError("%route_panel takes no arguments")
        with short_errors():
            if not run_view.is_attended(self._shell):
                _show_once(self._shell)
                return
            if self._panel is None:
                from llm_magic.jupyter.panel import Panel

                self._panel = Panel(self._shell)
                history.watchers.add(self._panel.refresh)
                self._shell.events.register("post_run_cell", self._after_cell)
            self._panel.show()

    @magic_arguments()
    @argument("--tier", metavar="TIER", help="Use this tier instead.")
    @argument("--model", metavar="MODEL", help="Ask this model instead.")
    @argument("--out", metavar="NAME", help="Bind the RouteResult to this name as well as to _route.")
    @line_magic
    def route_again(self, line: str) -> None:
        """Repeat the last prompt, or run it as the options state.

        The ledger links the new run to the one before. A repeat is not a complaint about the answer.

        Examples:
          %route_again
          %route_again --tier complex --out better
        """
        args = words.parse(self.route_again, line)
        namespace.check_name(args.out)
        with short_errors():
            tier = None if args.tier is None else validation.tier(args.tier)
            self._run(routing.session_router(), history.again(history.last(), tier=tier, model=args.model), args.out)

    @magic_arguments()
    @argument("--out", metavar="NAME", help="Bind the RouteResult to this name as well as to _route.")
    @line_magic
    def route_escalate(self, line: str) -> None:
        """Send the last prompt to the same model at its default effort if that is higher, or to the next better model.

        The ledger links the new run to the one before, and %route_tune counts it against the model before.

        Example: %route_escalate --out better
        """
        args = words.parse(self.route_escalate, line)
        namespace.check_name(args.out)
        with short_errors():
            router = routing.session_router()
            self._run(router, history.escalated(router, history.last()), args.out)

    def _run(self, router: Router, request: Request, out: str | None) -> None:
        view = run_view.choose_view(
            self._shell, freeze=self._settings.freeze, stream=True, verbosity=self._settings.verbosity
        )
        names = namespace.names(out)
        foreground.run(router, request, view, lambda result: self._shell.push(dict.fromkeys(names, result)))

    @magic_arguments()
    @argument("rating", choices=[*_RATINGS], help="Your rating of the last answer. clear removes it.")
    @line_magic
    def route_rate(self, line: str) -> None:
        """Rate the last answer. The rating is stored in the ledger, as 1 or -1.

        Example: %route_rate up
        """
        args = words.parse(self.route_rate, line)
        with short_errors():
            done = history.last(answered=True)
            history.rate(routing.session_router(), done, _RATINGS[args.rating])
        change = "no longer rated" if args.rating == "clear" else f"rated {args.rating}"
        print(f"run {done.number}, {done.model}: {change}")  # noqa: T201 - a magic answers in the cell

    @line_magic
    def route_pick(self, line: str) -> None:
        """Pick the best answer of the last comparison: it is rated good in the ledger, and bound to _route.

        Usage: %route_pick N, where N is the number of its column, or its label.

        Example: %route_pick 2
        """
        with short_errors():
            picked = comparison.pick(routing.session_router(), line.strip())
        self._shell.push({history.RESULT_NAME: picked})
        print(f"picked {picked.model}")  # noqa: T201 - a magic answers in the cell

    def _after_cell(self, _: Any = None) -> None:
        """Refresh the panel: Python code may have spent money, too."""
        if self._panel is not None:
            self._panel.refresh()

    def close(self) -> None:
        comparison.close_views()
        if self._panel is not None:
            history.watchers.discard(self._panel.refresh)
            self._shell.events.unregister("post_run_cell", self._after_cell)
            self._panel.close()
            self._panel = None


def _show_once(shell: Any) -> None:
    from IPython.display import display

    from llm_magic.jupyter import panel

    bundle = panel.bundle(routing.session_router())
    if getattr(shell, "kernel", None) is None:
        print(printable(bundle["text/plain"]))  # noqa: T201 - a terminal shows no other kind
    else:
        display(bundle, raw=True)
