"""Who plays which part: for each source, the models that the approaches are made of, and which tasks are routine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["top", "mid", "cheap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """A model of a source."""

    model: str
    provider: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The models of one source, and its routine tasks."""

    players: tuple[Player, ...]
    routine: tuple[str, ...]
    """Tasks that make up the routine share of a day; the other tasks are the demanding share."""

    def models(self, role: Role | None = None) -> tuple[str, ...]:
        return tuple(player.model for player in self.players if role in (None, player.role))

    def provider(self, model: str) -> str:
        return next(player.provider for player in self.players if player.model == model)


def _cast(routine: tuple[str, ...], *players: tuple[str, str, Role]) -> Cast:
    return Cast(
        routine=routine,
        players=tuple(Player(model=model, provider=provider, role=role) for model, provider, role in players),
    )


CASTS = {
    "zeroeval": _cast(
        ("gsm",),
        ("claude-3-5-sonnet-20241022", "anthropic", "top"),
        ("gpt-4o-2024-08-06", "openai", "top"),
        ("claude-3-5-haiku-20241022", "anthropic", "mid"),
        ("gemini-1.5-pro", "google", "mid"),
        ("llama-3.1-70b-instruct", "open weights", "mid"),
        ("gpt-4o-mini-2024-07-18", "openai", "cheap"),
        ("deepseek-v2.5-0908", "deepseek", "cheap"),
        ("gemini-1.5-flash", "google", "cheap"),
    ),
    "mmlupro": _cast(
        ("biology", "health", "history", "other", "psychology"),
        ("gemini-1.5-pro-002", "google", "top"),
        ("llama-3.1-70b-instruct", "open weights", "mid"),
        ("jamba-1.5-large", "ai21", "mid"),
        ("gemini-1.5-flash-002", "google", "cheap"),
        ("mixtral-8x7b-instruct-v0.1", "mistral", "cheap"),
        ("llama-3.1-8b-instruct", "open weights", "cheap"),
    ),
    "routerbench": _cast(
        ("arc_challenge", "winograde"),
        ("gpt-4-1106-preview", "openai", "top"),
        ("claude-v1", "anthropic", "mid"),
        ("gpt-3.5-turbo-1106", "openai", "cheap"),
        ("zero-one-ai/yi-34b-chat", "open weights", "cheap"),
        ("mistralai/mixtral-8x7b-chat", "mistral", "cheap"),
    ),
}
"""By source. The first of a role stands for it; the cheap ones are in the order of their scores on other prompts."""
