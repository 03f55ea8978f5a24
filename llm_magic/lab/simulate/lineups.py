"""The models that the simulated approaches use on each source, and the source's routine tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["top", "mid", "cheap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineupModel:
    model: str
    provider: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineup:
    """The models of one source, in order of preference within a role.

    routine_tasks: tasks of the routine share of a day. The other tasks are the demanding share.
    """

    members: tuple[LineupModel, ...]
    routine_tasks: tuple[str, ...]

    def models(self, role: Role | None = None) -> tuple[str, ...]:
        return tuple(member.model for member in self.members if role in (None, member.role))

    def provider_of(self, model: str) -> str:
        return next(member.provider for member in self.members if member.model == model)


def _lineup(routine_tasks: tuple[str, ...], *members: tuple[str, str, Role]) -> Lineup:
    return Lineup(
        routine_tasks=routine_tasks,
        members=tuple(LineupModel(model=model, provider=provider, role=role) for model, provider, role in members),
    )


# The first model of a role represents it. Cheap models are ordered by their scores on other prompts.
LINEUPS = {
    "zeroeval": _lineup(
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
    "mmlupro": _lineup(
        ("biology", "health", "history", "other", "psychology"),
        ("gemini-1.5-pro-002", "google", "top"),
        ("llama-3.1-70b-instruct", "open weights", "mid"),
        ("jamba-1.5-large", "ai21", "mid"),
        ("gemini-1.5-flash-002", "google", "cheap"),
        ("mixtral-8x7b-instruct-v0.1", "mistral", "cheap"),
        ("llama-3.1-8b-instruct", "open weights", "cheap"),
    ),
    "routerbench": _lineup(
        ("arc_challenge", "winograde"),
        ("gpt-4-1106-preview", "openai", "top"),
        ("claude-v1", "anthropic", "mid"),
        ("gpt-3.5-turbo-1106", "openai", "cheap"),
        ("zero-one-ai/yi-34b-chat", "open weights", "cheap"),
        ("mistralai/mixtral-8x7b-chat", "mistral", "cheap"),
    ),
}
