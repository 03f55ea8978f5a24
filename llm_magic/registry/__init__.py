"""The registry: which models there are, what they cost, and who follows whom. Read from TOML, checked at load."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llm_magic.errors import RegistryError
from llm_magic.home import home
from llm_magic.registry import reading
from llm_magic.registry.validation import complete
from llm_magic.types import ModelSpec, ProviderSpec, TaskTier

log = logging.getLogger("llm_magic")

PROFILES = ("current", "article")


class Registry:
    """A frozen set of models and their providers.

    Iterating gives the `ModelSpec`s in their stated order; `registry["gpt-5.5"]` one of them. `warnings` holds, in
    words, what is odd but works: a cycle of fallbacks, for one.
    """

    def __init__(
        self,
        *,
        models: Iterable[ModelSpec],
        providers: Iterable[ProviderSpec] | None = None,
        baseline_id: str | None = None,
        profile: str = "custom",
        origin: str = "Registry(...)",
    ) -> None:
        self.profile = profile
        self._models = {model.id: complete(model, origin) for model in models}
        specs = reading.packaged_providers() if providers is None else providers
        self.providers: Mapping[str, ProviderSpec] = {spec.name: spec for spec in specs}
        if not self._models:
            raise RegistryError(f"{origin}: no models")
        baseline = baseline_id or next(iter(self._models))
        if baseline not in self._models:
            raise RegistryError(f"{origin}: baseline = {baseline!r} is no model of profile {profile!r}")
        self.baseline = self._models[baseline]
        for model in self:
            if model.fallback_id is not None and model.fallback_id not in self._models:
                raise RegistryError(
                    f"{origin}: models.{model.id}.fallback_id = {model.fallback_id!r} is no known model"
                )
        self.warnings = tuple(self._cycles())
        for warning in self.warnings:
            log.info("%s: %s", origin, warning)

    @classmethod
    def load(cls, profile: str | None = None, *, user_file: Path | None = None) -> Registry:
        """The packaged models of a profile, with the user's additions and overrides.

        profile: `current` or `article`; else `LLM_MAGIC_PROFILE`; else `current`.
        user_file: else `models.toml` in `LLM_MAGIC_HOME`, where there is one.
        """
        chosen = profile or os.environ.get("LLM_MAGIC_PROFILE") or "current"
        packaged = reading.packaged()
        profiles = packaged["profiles"]
        if chosen not in profiles:
            raise RegistryError(f"no profile {chosen!r}: choose one of {', '.join(profiles)}")
        models: dict[str, dict[str, Any]] = profiles[chosen]["models"]
        providers: dict[str, dict[str, Any]] = packaged["providers"]
        baseline: str = profiles[chosen]["baseline"]
        origin = "models.toml"
        path = user_file or home() / "models.toml"
        if user_file is not None or path.exists():
            origin = str(path)
            baseline = reading.merge_user(reading.read(path), origin, models, providers) or baseline
        return cls(
            models=[
                reading.model_of(name, entry, origin)
                for name, entry in models.items()
                if reading.enabled(name, entry, origin)
            ],
            providers=[reading.provider_of(name, entry, origin) for name, entry in providers.items()],
            baseline_id=baseline,
            profile=chosen,
            origin=origin,
        )

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, model_id: object) -> bool:
        return model_id in self._models

    def __getitem__(self, model_id: str) -> ModelSpec:
        try:
            return self._models[model_id]
        except KeyError:
            raise RegistryError(self.lacks(model_id)) from None

    def lacks(self, model_id: str) -> str:
        """What to say of an id that it does not have."""
        return f"no model {model_id!r}: the registry has {', '.join(self._models)}"

    def serving(self, tier: TaskTier) -> tuple[ModelSpec, ...]:
        """The models that are a first choice for `tier`."""
        return tuple(model for model in self if tier in model.tiers)

    def with_models(self, models: Iterable[ModelSpec]) -> Registry:
        """The same with other specs of its models."""
        return Registry(
            models=models,
            providers=self.providers.values(),
            baseline_id=self.baseline.id,
            profile=self.profile,
            origin=f"profile {self.profile!r}",
        )

    def is_local(self, model: ModelSpec) -> bool:
        """Whether a model runs inside this machine's own kernel: free, small, always there."""
        provider = self.providers.get(model.provider)
        return provider is not None and provider.api == "local"

    def chain(self, model_id: str) -> tuple[ModelSpec, ...]:
        """The model, its fallback, that one's fallback and so on; a cycle ends the walk."""
        visited: dict[str, ModelSpec] = {}
        at: str | None = model_id
        while at is not None and at not in visited:
            visited[at] = self[at]
            at = visited[at].fallback_id
        return tuple(visited.values())

    def _cycles(self) -> Iterator[str]:
        told: set[str] = set()
        for model in self:
            chain = [spec.id for spec in self.chain(model.id)]
            back = self[chain[-1]].fallback_id
            if back is not None and back not in told:
                cycle = chain[chain.index(back) :]
                told.update(cycle)
                yield f"fallback cycle {' → '.join([*cycle, back])}: a chain ends where it would come round"
