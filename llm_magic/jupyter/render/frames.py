"""DataFrames that are displayed as a short table, one screen wide. Their data is complete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

import pandas as pd

from llm_magic.budget import short_usd
from llm_magic.jupyter.render.grid import grid, scrolling, words
from llm_magic.jupyter.render.markdown import fenced
from llm_magic.jupyter.render.style import styled
from llm_magic.types import Outcome

_LEDGER_ROWS = 20
_MAX_CELL_CHARS = 60
_MAX_STATUS_CHARS = 32


class SummaryFrame(pd.DataFrame):
    """A DataFrame with a short table and a caption for its display. What pandas makes of it is a DataFrame."""

    _metadata: ClassVar[list[str]] = ["short_table", "caption", "figures", "texts"]  # pyright: ignore[reportIncompatibleVariableOverride]
    short_table: pd.DataFrame
    caption: str
    figures: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        if self.empty:
            return {"text/plain": self.caption}
        plain = f"{self.short_table.to_string(index=False)}\n{self.caption}"
        table = grid(
            list(self.short_table), self.short_table.to_numpy().tolist(), figures=self.figures, texts=self.texts
        )
        html = styled(f'{scrolling(table, self.caption)}<div class="llmr-caption">{words(self.caption)}</div>')
        return {"text/html": html, "text/markdown": fenced(plain), "text/plain": plain}


def ledger(frame: pd.DataFrame, tags: Sequence[str] = ()) -> SummaryFrame:
    newest = frame.tail(_LEDGER_ROWS)
    short = pd.DataFrame(
        {
            "when": [_moment(at.to_pydatetime()) for at in newest["started_at"]],
            "model": [_joined(row) for row in zip(newest["model"], newest["effort"], strict=True)],
            "outcome": [Outcome(outcome).words for outcome in newest["outcome"]],
            "tokens in": [f"{count:,}" for count in newest["input_tokens"]],
            "out": [f"{count:,}" for count in newest["output_tokens"]],
            "cost": [_dollars(cost) for cost in newest["cost_usd"]],
            "tags": [_text(tags) for tags in newest["tags"]],
        }
    )
    last = (
        f"the last {len(newest):,} of {len(frame):,} rows"
        if len(newest) < len(frame)
        else f"{len(frame):,} row{'s' * (len(frame) != 1)}"
    )
    caption = f"{last}; rows = %route_ledger has all {len(frame.columns)} columns"
    empty = no_rows(tags) or "the ledger has no rows yet: run a %%route cell"
    return _summary(
        frame, short, caption if len(frame) else empty, figures=("tokens in", "out", "cost"), texts=("tags",)
    )


def no_rows(tags: Sequence[str]) -> str:
    """Return that no row has all of the tags; empty without tags."""
    if not tags:
        return ""
    return f"no rows with the tag{'s' * (len(tags) > 1)} {' and '.join(map(repr, tags))}"


def models(frame: pd.DataFrame) -> SummaryFrame:
    short = pd.DataFrame(
        {
            "model": list(frame.index),
            "tiers": list(frame["tiers"]),
            "in": [_price(amount) for amount in frame["input"]],
            "out": [_price(amount) for amount in frame["output"]],
            "can be used": [
                "✓" if usable else f"– {_text(reason)}"
                for usable, reason in zip(frame["usable"], frame["why_not"], strict=True)
            ],
        }
    )
    caption = (
        "in, out: price of a million tokens at this hour; models = %route_models has "
        f"{len(frame.columns)} columns: effort, circuit, context, fallbacks, sources"
    )
    return _summary(frame, short, caption, figures=("in", "out"), texts=("can be used",))


def jobs(frame: pd.DataFrame) -> SummaryFrame:
    short = frame.reset_index()
    short["cost_usd"] = [_dollars(cost) for cost in short["cost_usd"]]
    short["prompt"] = [_text(prompt) for prompt in short["prompt"]]
    short["status"] = [_text(status, _MAX_STATUS_CHARS) for status in short["status"]]
    short = short.rename(columns={"cost_usd": "cost"})
    short = short.astype(object).where(short.notna(), "").astype(str)
    caption = "%route_jobs wait, %route_jobs cancel RUN, %route_jobs now RUN"
    empty = "no background runs: %%route --background starts one"
    return _summary(frame, short, caption if len(frame) else empty, figures=("run", "cost"), texts=("prompt",))


def checks(frame: pd.DataFrame) -> SummaryFrame:
    short = pd.DataFrame(
        {
            "model": list(frame.index),
            "provider": list(frame["provider"]),
            "status": list(frame["status"]),
            "detail": [_text(text) for text in frame["detail"]],
            "differs in": [_text(text) for text in frame["differs"]],
        }
    )
    caption = "checked = %route_models --check has the whole texts"
    empty = "no provider with a key could be asked"
    return _summary(frame, short, caption if len(frame) else empty, figures=(), texts=("detail", "differs in"))


def threads(frame: pd.DataFrame) -> SummaryFrame:
    short = pd.DataFrame(
        {
            "thread": list(frame.index),
            "exchanges": [f"{count:,}" for count in frame["exchanges"]],
            "tokens": [f"{count:,}" for count in frame["tokens"]],
            "left out": [f"{count:,}" for count in frame["left_out"]],
            "model": list(frame["model"]),
            "last": [_moment(at.to_pydatetime()) for at in frame["last"]],
        }
    )
    caption = "left out: the oldest exchanges, which are not sent; %route_threads THREAD shows one thread"
    empty = "no threads yet: %%route --thread NAME starts one"
    figures = ("exchanges", "tokens", "left out")
    return _summary(frame, short, caption if len(frame) else empty, figures=figures, texts=("thread",))


def thread(frame: pd.DataFrame, name: str) -> SummaryFrame:
    short = pd.DataFrame(
        {
            "when": [_moment(at.to_pydatetime(warn=False)) for at in frame["at"]],  # without a warning on nanoseconds
            "prompt": [_text(prompt) for prompt in frame["prompt"]],
            "answer": [_text(answer) for answer in frame["answer"]],
            "model": list(frame["model"]),
            "tokens": [f"{count:,}" for count in frame["tokens"]],
            "sent": ["✓" if is_sent else "–" for is_sent in frame["sent"]],
        }
    )
    caption = f"sent: goes along with the next prompt; exchanges = %route_threads {name} has the whole texts"
    return _summary(frame, short, caption, figures=("tokens",), texts=("prompt", "answer"))


def _summary(
    frame: pd.DataFrame, short: pd.DataFrame, caption: str, *, figures: tuple[str, ...], texts: tuple[str, ...]
) -> SummaryFrame:
    summary = SummaryFrame(frame)
    summary.short_table, summary.caption, summary.figures, summary.texts = short, caption, figures, texts
    return summary


def _moment(at: datetime) -> str:
    local = at.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == datetime.now().astimezone().date() else f"{local:%Y-%m-%d %H:%M}"


def _joined(parts: tuple[Any, Any]) -> str:
    return " · ".join(str(part) for part in parts if not pd.isna(part) and part)


def _text(value: Any, max_chars: int = _MAX_CELL_CHARS) -> str:
    text = "" if value is None or value is pd.NA else str(value)
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"


def _dollars(amount: Any) -> str:
    return "–" if pd.isna(amount) else short_usd(Decimal(str(float(amount))))


def _price(amount: float) -> str:
    return "?" if pd.isna(amount) else f"${amount:g}"
