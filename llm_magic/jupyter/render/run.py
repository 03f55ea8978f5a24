"""A run as HTML, as Markdown and as plain text: the same facts thrice."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from llm_magic.budget import part_line, show_usd
from llm_magic.jupyter.render.markdown import escape, fenced, markdown_to_html
from llm_magic.jupyter.render.run_state import RunState
from llm_magic.jupyter.render.style import NOTHING, styled
from llm_magic.types import Candidate, Classification, Outcome, Plan, RouteResult, Skipped, Step

_INERT = "llmr mathjax_ignore tex2jax_ignore"
_WORDS = ' class="llmr-words"'
_SIGNS = {
    "ok": "✓", "cached": "✓", "agreed": "✓", "judged": "✓", "superseded": "–", "skipped": "–", "running": "…",
}  # fmt: skip


def bundle(state: RunState) -> dict[str, str]:
    """The finished run, for a saved notebook: it needs no kernel, no widget and no network. Empty if none began."""
    if state.plan is None and state.result is None and not state.unwatched:
        return NOTHING
    twin = plain(state)
    return {
        "text/html": styled(f"{head(state)}{body(shown(state))}"),
        "text/markdown": fenced(twin),
        "text/plain": twin,
    }


def unfinished(asked: Sequence[str]) -> dict[str, str]:
    """What a notebook says of a run whose kernel died under it. `asked` are the models that were asked."""
    who = f"{' and '.join(asked)} {'was' if len(asked) == 1 else 'were'} asked. " if asked else ""
    text = (
        f"{who}This run did not end: its kernel was stopped or has died. "
        "What it had reserved stays charged, as uncertain, until you reconcile it: see %route_budget."
    )
    return {"text/html": f"<p>{escape(text)}</p>", "text/markdown": fenced(text), "text/plain": text}


def head(state: RunState) -> str:
    """Everything but the answer."""
    rows = [_title(state), _path(state.path())]
    if phase := state.phase():
        rows.append(f'<div class="llmr-row" role="status"><span>… {escape(phase)}</span></div>')
    if state.ended:
        rows.append(f'<div class="llmr-row" role="status"><b>{escape(state.ended)}</b></div>')
    if state.result is not None:
        facts = "".join(f"<span>{escape(fact)}</span>" for fact in facts_of(state.result) if fact != cost(state))
        rows.append(f'<div class="llmr-row">{facts}</div>')
    rows += [f'<div class="llmr-row"><span>{escape(note)}</span></div>' for note in state.notes]
    rows.append(_session(state))
    return f'<div class="llmr-head" role="group" aria-label="How this was answered">{"".join(rows)}</div>'


def body(text: str) -> str:
    """The answer."""
    return f'<div class="llmr-body jp-RenderedHTMLCommon {_INERT}">{markdown_to_html(text)}</div>'


def shown(state: RunState) -> str:
    """The answer as Markdown: as the model wrote it, or as code where JSON was asked for."""
    if state.plan is None or state.plan.request.schema is None:
        return state.text
    return fenced(state.text, "json")


def plain(state: RunState) -> str:
    """The run in a few lines of text, the answer last."""
    return "\n".join([*summary(state), "", state.text]).rstrip()


def summary(state: RunState) -> list[str]:
    """The facts in lines of text, without the answer."""
    lines: list[str] = []
    if (of := _why(state)) is not None:
        lines.append(f"{model_name(state)}  [{of.tier} {of.confidence:.2f}: {'; '.join(of.reasons)}]")
        path = " -> ".join(_said(step) for step in state.path())
        lines.append(f"path: {path}")
    if state.ended:
        lines.append(state.ended)
    if state.result is not None:
        lines.append(" | ".join(facts_of(state.result)))
    lines += state.notes
    lines.append(session_line(state))
    return lines


def facts_of(result: RouteResult) -> list[str]:
    """Tokens, cost, savings and times of an answer, in words."""
    usage = result.usage
    cached = f" ({usage.cached_input_tokens:,} cached)" if usage.cached_input_tokens else ""
    thought = f" ({usage.reasoning_tokens:,} reasoning)" if usage.reasoning_tokens else ""
    facts = [
        "from the cache: nothing was sent"
        if result.cached
        else f"{usage.input_tokens:,}{cached} in, {usage.output_tokens:,}{thought} out tokens",
        _cost(result.cost_usd, estimated=result.cost_estimated),
        savings(result.savings_usd, result.baseline_usd, result.baseline_model),
    ]
    first = "" if result.ttft_s is None else f"first token {result.ttft_s:.1f} s, "
    facts.append(f"{first}total {result.latency_s:.1f} s")
    if result.finish_reason == "length":
        facts.append("cut off at the output limit: allow more with --max-tokens")
    if result.served_model not in (result.model, ""):
        facts.append(f"served by {result.served_model}")
    return facts


def savings(amount: Decimal, baseline: Decimal, top: str) -> str:
    if baseline == 0:
        return f"{show_usd(amount)} against {top}"
    word = "saved" if amount >= 0 else "spent"
    more = "" if amount >= 0 else " more"
    return f"{word} {show_usd(abs(amount))}{more} against {top} ({abs(amount) / baseline:.0%})"


def session_line(state: RunState) -> str:
    """What the session has cost, against its cap."""
    spent = f"session {show_usd(state.session_usd)}"
    return spent if state.cap_usd is None else f"{spent} of {show_usd(state.cap_usd)}"


def plan_lines(plan: Plan) -> list[str]:
    """A dry run in lines of text."""
    of = plan.classification
    lines = [f"{of.tier} {of.confidence:.2f}: {'; '.join(of.reasons)}"]
    for entry in plan.ranked:
        if isinstance(entry, Skipped):
            lines.append(f"  – {entry.model.id}: skipped, {entry.reason}")
        else:
            costs = " / ".join(show_usd(cost) for cost in (entry.low_usd, entry.expected_usd, entry.worst_usd))
            quality = f"quality {entry.expected_quality:.0%}"
            lines.append(f"  → {entry.model.id}: {costs} (low / expected / worst), {quality}, {entry.why}")
    return [*lines, *map(part_line, plan.extras), *cascade_lines(plan), _after(plan)]


def cascade_lines(plan: Plan) -> list[str]:
    """What is asked before the candidates, in a line; or why nothing is although it was asked for."""
    if plan.cascade is None:
        return [f"no cascade: {plan.no_cascade}"] if plan.no_cascade else []
    of = plan.cascade
    names = " and ".join(each.model.id for each in of.cheap)
    kept = {
        "agree": "kept where they agree",
        "twice": "kept where they agree",
        "schema": "kept where it fits the schema",
        "check": "kept where the check passes it",
        "judge": f"kept where {of.judge.model.id if of.judge else ''} finds it good",
    }[of.mode]
    return [
        f"cascade: {names} first, {kept} (about {of.acceptance_rate:.0%}), else {of.strong.model.id}: "
        f"{show_usd(of.expected_usd)} expected, {show_usd(of.worst_usd)} at worst, "
        f"quality {of.expected_quality:.0%}; {of.why}"
    ]


def plan_html(plan: Plan) -> str:
    """A dry run as a table."""
    of = plan.classification
    rows = "".join(f"<tr>{_plan_row(entry)}</tr>" for entry in plan.ranked)
    names = ("model", "place", "expected quality", "tokens in", "most tokens out", "low", "expected", "worst")
    after = "".join(
        f'<div class="llmr-row"><span>{escape(line)}</span></div>'
        for line in (*map(part_line, plan.extras), *cascade_lines(plan), _after(plan))
    )
    header = "".join(f'<th scope="col"{_WORDS if name == "place" else ""}>{name}</th>' for name in names)
    return styled(
        '<div class="llmr-head"><div class="llmr-row">'
        f"{_tier(of)}</div>"
        f"{after}</div>"
        '<div class="jp-RenderedHTMLCommon llmr-plan" tabindex="0" role="region" aria-label="The candidates">'
        f"<table><thead><tr>{header}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _plan_row(entry: Candidate | Skipped) -> str:
    if isinstance(entry, Skipped):
        return f'<td>{escape(entry.model.id)}</td><td{_WORDS} colspan="7">skipped: {escape(entry.reason)}</td>'
    costs = "".join(f"<td>{show_usd(cost)}</td>" for cost in (entry.low_usd, entry.expected_usd, entry.worst_usd))
    return (
        f"<td><b>{escape(entry.model.id)}</b></td><td{_WORDS}>{escape(entry.why)}</td>"
        f"<td>{entry.expected_quality:.0%}</td>"
        f"<td>{entry.input_tokens:,}</td><td>{entry.max_output_tokens:,}</td>{costs}"
    )


def _after(plan: Plan) -> str:
    top = f"on {plan.baseline_model.id} alone: {show_usd(plan.baseline_usd)} expected"
    if plan.left_usd is None:
        return f"no cap is set; {top}; nothing was sent"
    if plan.expected_usd is None:
        return f"{show_usd(plan.left_usd)} left: nothing fits; {top}; nothing was sent"
    after = plan.left_usd - plan.expected_usd
    return f"{show_usd(plan.left_usd)} left, {show_usd(after)} expected after; {top}; nothing was sent"


def _title(state: RunState) -> str:
    if (of := _why(state)) is None:
        return ""
    return (
        f'<div class="llmr-row"><span class="llmr-model">{escape(model_name(state))}</span>'
        f"{_tier(of)}"
        f'<span class="llmr-cost">{escape(cost(state))}</span></div>'
    )


def _tier(of: RouteResult | Classification) -> str:
    """The tier, how sure that is, and why."""
    sure = "" if of.confidence == 1 else f"{min(of.confidence, 0.99):.0%} sure: "
    return f'<span><span class="llmr-tier">{of.tier}</span> {sure}{escape("; ".join(of.reasons))}</span>'


def cost(state: RunState) -> str:
    """What this run has cost so far, in words; empty while nothing is settled."""
    if state.result is not None:
        return _cost(state.result.cost_usd, estimated=state.result.cost_estimated)
    if not state.attempts:
        return ""
    return _cost(state.cost_usd, estimated=any(attempt.cost_estimated for attempt in state.attempts))


def _cost(amount: Decimal, *, estimated: bool) -> str:
    return f"this cell {show_usd(amount)}{' (estimated)' if estimated else ''}"


def _why(state: RunState) -> RouteResult | Classification | None:
    """Whatever knows the tier, the confidence and the reasons."""
    return state.result or (state.plan.classification if state.plan is not None else None)


def model_name(state: RunState) -> str:
    if state.result is not None:
        return state.result.model
    return state.current.model.id if state.current is not None else "no model yet"


def _path(steps: tuple[Step, ...]) -> str:
    if not steps:
        return ""
    items = "".join(
        f'<li><span class="{"ok" if step.outcome in ("ok", "cached") else "" if step.outcome in _SIGNS else "bad"}" '
        f'title="{escape(step.detail)}">{escape(_said(step))}</span></li>'
        for step in steps
    )
    return f'<ol class="llmr-path" aria-label="Path of this run">{items}</ol>'


def _said(step: Step) -> str:
    sign = _SIGNS.get(step.outcome, "✗")
    if step.outcome == Outcome.OK:
        return f"{sign} {step.model}"
    why = step.detail if step.outcome == Outcome.SKIPPED else step.outcome.replace("_", " ")
    return f"{sign} {step.model}: {why}"


def _session(state: RunState) -> str:
    line = escape(session_line(state))
    if state.cap_usd is None:
        return f'<div class="llmr-row"><span>{line}</span></div>'
    bar = meter(state.session_usd, state.cap_usd, session_line(state))
    return f'<div class="llmr-row"><span>{line} {bar}</span></div>'


def meter(spent: Decimal, cap: Decimal, label: str) -> str:
    """A bar of what is spent of a cap, with its share."""
    share = float(min(Decimal(1), spent / cap)) if cap else 1.0
    return (
        f'<meter min="0" max="1" low="0.8" high="0.95" optimum="0" value="{share:.4f}" '
        f'aria-label="{escape(label)}, {share:.0%} of the cap"></meter> {share:.0%}'
    )
