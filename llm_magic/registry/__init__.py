"""The registry: the models, their prices and fallbacks. Read from TOML and checked at load."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from llm_magic.errors import InvalidOption, RegistryError
from llm_magic.home import home
from llm_magic.registry import efforts, reading
from llm_magic.registry.rules import Rule
from llm_magic.registry.validation import check_model, check_provider, with_defaults
from llm_magic.types import Accepted, Confirmation, ModelSpec, ProviderSpec, TaskTier

log = logging.getLogger("llm_magic")

PROFILES = ("current", "article")


class Registry:
    """A frozen set of models and their providers.

    Iteration gives the `ModelSpec`s in file order; `registry["gpt-5.5"]` returns one of them. `warnings` lists what is
    odd but works, such as a cycle of fallbacks.
    """

    def __init__(
        self,
        *,
        models: Iterable[ModelSpec],
        providers: Iterable[ProviderSpec] | None = None,
        rules: Iterable[Rule] = (),
        accepted: Mapping[Confirmation, Accepted] | None = None,
        proven: Mapping[Confirmation, Accepted] | None = None,
        baseline_id: str | None = None,
        profile: str = "custom",
        origin: str = "Registry(...)",
    ) -> None:
        self.profile = profile
        specs = reading.packaged(PROFILES[0]).provider_specs() if providers is None else tuple(providers)
        for spec in specs:
            check_provider(spec, origin)
        self.providers: Mapping[str, ProviderSpec] = {spec.name: spec for spec in specs}
        self._models: dict[str, ModelSpec] = {}
        specs_of_models = tuple(models)
        self.assumed_ids = frozenset(model.id for model in specs_of_models if not model.capability)
        """The models whose capability is not stated."""
        stated = {model.id: model.capability for model in specs_of_models if model.capability}
        for model in specs_of_models:
            provider = self.providers.get(model.provider)
            check_model(model, provider, origin)
            efforts.check_levels(model, provider, origin)
            self._models[model.id] = efforts.with_expectations(with_defaults(model, provider, stated))
        if not self._models:
            raise RegistryError(f"{origin}: no models")
        baseline = baseline_id or next(iter(self._models))
        if baseline not in self._models:
            raise RegistryError(f"{origin}: baseline = {baseline!r} is not a model in profile {profile!r}")
        self.baseline = self._models[baseline]
        for model in self:
            if model.fallback_id is not None and model.fallback_id not in self._models:
                raise RegistryError(
                    f"{origin}: models.{model.id}.fallback_id = {model.fallback_id!r} is not a known model"
                )
        self.accepted: Mapping[Confirmation, Accepted] = dict(accepted or {})
        """Learned acceptance of the confirmations of cascades."""
        self.proven: Mapping[Confirmation, Accepted] = dict(proven or {})
        """Cautious bounds of the learned acceptance that has enough evidence."""
        self.rules = tuple(rules)
        for rule in self.rules:
            if rule.then.model is not None and rule.then.model not in self._models:
                raise RegistryError(f"{origin}: {rule.key}.then.model: {self.unknown_model_message(rule.then.model)}")
        self.warnings = tuple(self._cycles())
        for warning in self.warnings:
            log.info("%s: %s", origin, warning)

    @classmethod
    def load(cls, profile: str | None = None, *, user_file: Path | None = None) -> Registry:
        """Load a profile's packaged models, with the user's additions and overrides.

        profile: `current` or `article`; default `LLM_MAGIC_PROFILE`, else `current`.
        user_file: default `models.toml` in `LLM_MAGIC_HOME`, if it exists.
        """
        profile = profile or os.environ.get("LLM_MAGIC_PROFILE") or PROFILES[0]
        tables = reading.packaged(profile)
        path = user_file or home() / "models.toml"
        if user_file is not None or path.exists():
            tables = reading.overlaid(tables, path)
        return cls(
            models=tables.model_specs(),
            providers=tables.provider_specs(),
            rules=tables.rules,
            baseline_id=tables.baseline,
            profile=profile,
            origin=tables.origin,
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
            raise RegistryError(self.unknown_model_message(model_id)) from None

    def unknown_model_message(self, model_id: str) -> str:
        return f"no model {model_id!r}: the registry has {self._known(model_id)}"

    def check_known(self, option: str, model_id: str) -> None:
        """Raise InvalidOption if the value of an option is not the id of a model."""
        if model_id not in self:
            requirement = f"one of {self._known(model_id)}"
            raise InvalidOption(option, model_id, requirement, message=self.unknown_model_message(model_id))

    def _known(self, model_id: str) -> str:
        several = model_id.split(",")
        if len(several) > 1 and all(part.strip() in self for part in several):
            return f"{', '.join(self._models)}. --compare {model_id} asks several"
        near = self._near(model_id)
        hint = f". Did you mean {' or '.join(near)}?" if near else ". Others are added in models.toml"
        return f"{', '.join(self._models)}{hint}"

    def _near(self, model_id: str) -> list[str]:
        name = re.split(r"[:/]", model_id.lower())[-1].strip()
        within = [known for known in self._models if name and name in known.lower()]
        return within[:3] or difflib.get_close_matches(name, self._models, 1, 0.5)

    def first_choices(self, tier: TaskTier) -> tuple[ModelSpec, ...]:
        return tuple(model for model in self if tier in model.tiers)

    def with_models(
        self,
        models: Iterable[ModelSpec],
        *,
        accepted: Mapping[Confirmation, Accepted] | None = None,
        proven: Mapping[Confirmation, Accepted] | None = None,
    ) -> Registry:
        changed = Registry(
            models=models,
            providers=self.providers.values(),
            rules=self.rules,
            accepted=self.accepted if accepted is None else accepted,
            proven=self.proven if proven is None else proven,
            baseline_id=self.baseline.id,
            profile=self.profile,
            origin=f"profile {self.profile!r}",
        )
        changed.assumed_ids |= self.assumed_ids
        return changed

    def is_local(self, model: ModelSpec) -> bool:
        provider = self.providers.get(model.provider)
        return provider is not None and provider.api == "local"

    def chain(self, model_id: str) -> tuple[ModelSpec, ...]:
        """Follow the fallbacks from a model, up to the first repetition."""
        visited: dict[str, ModelSpec] = {}
        next_id: str | None = model_id
        while next_id is not None and next_id not in visited:
            visited[next_id] = self[next_id]
            next_id = visited[next_id].fallback_id
        return tuple(visited.values())

    def _cycles(self) -> Iterator[str]:
        reported: set[str] = set()
        for model in self:
            chain = [spec.id for spec in self.chain(model.id)]
            first = self[chain[-1]].fallback_id
            if first is not None and first not in reported:
                cycle = chain[chain.index(first) :]
                reported.update(cycle)
                yield f"fallback cycle {' → '.join([*cycle, first])}: a chain ends before the first repetition"
