"""The registry: which models there are, what they cost, and who follows whom. Read from TOML, checked at load."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, cast
from urllib.parse import urlsplit

from llm_magic.errors import RegistryError
from llm_magic.home import home
from llm_magic.types import ModelSpec, Price, ProviderSpec, TaskTier

log = logging.getLogger("llm_magic")

PROFILES = ("current", "article")
Record = TypeVar("Record")
BEST_CAPABILITY = 2.2
"""In logits: nine good answers in ten to a typical prompt of its kind."""
CAPABILITY_STEP = 0.75
"""From one price role to the next, in logits: the mean of pairs of 2024 that were measured, 0.35 (gpt-4o-mini to
gpt-4o, mathematics and code), 0.7 (Mixtral to GPT-4, MMLU), 0.7 (Llama 3.1 8B to 70B, MMLU-Pro), 1.25 (Claude 3
Haiku to Claude 3.5 Sonnet, mathematics and code)."""
_REFUSED_BY_ANTHROPIC = {"temperature", "top_p", "top_k"}
_OURS = {
    "best_of",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "stream",
    "stream_options",
    "system",
}
"""Not for `params`: they are of each request, and money is held for what they say."""


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
        self._models = {model.id: _complete(model, origin) for model in models}
        specs = packaged_providers() if providers is None else providers
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
        packaged = _packaged()
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
            baseline = _merge_user(_read(path), origin, models, providers) or baseline
        return cls(
            models=[_model(name, entry, origin) for name, entry in models.items() if _enabled(name, entry, origin)],
            providers=[_provider(name, entry, origin) for name, entry in providers.items()],
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
            raise RegistryError(f"no model {model_id!r}: the registry has {', '.join(self._models)}") from None

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


def packaged_providers() -> list[ProviderSpec]:
    """The providers that ship: anthropic, openai, deepseek, local."""
    return [_provider(name, entry, "models.toml") for name, entry in _packaged()["providers"].items()]


def _packaged() -> dict[str, Any]:
    return _parse(resources.files("llm_magic").joinpath("models.toml").read_text("utf-8"), "models.toml")


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"{path}: can't be read: {error}") from error
    return _parse(text, str(path))


def _parse(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise RegistryError(f"{origin}: not valid TOML: {error}") from error


def _merge_user(
    user: dict[str, Any], origin: str, models: dict[str, dict[str, Any]], providers: dict[str, dict[str, Any]]
) -> str | None:
    """Lay the user's tables over the packaged ones. Returns the user's baseline, if stated."""
    if unknown := user.keys() - {"models", "providers", "baseline"}:
        raise RegistryError(
            f"{origin}: unknown key {min(unknown)!r}; known are models, providers and baseline "
            '(a name with dots needs quotes: [models."gpt-5.5"])'
        )
    for kind, known in (("providers", providers), ("models", models)):
        tables: Any = user.get(kind, {})
        if not _is_table(tables) or not all(_is_table(table) for table in tables.values()):
            raise RegistryError(f"{origin}: {kind} must hold tables, [{kind}.NAME]")
        for name, table in tables.items():
            known[name] = {**known.get(name, {}), **table}
    for name, entry in models.items():
        _own_endpoint(name, entry, origin, providers)
    baseline = user.get("baseline")
    if baseline is not None and not isinstance(baseline, str):
        raise RegistryError(f"{origin}: baseline = {baseline!r} is no model id")
    return baseline


def _own_endpoint(name: str, entry: dict[str, Any], origin: str, providers: dict[str, dict[str, Any]]) -> None:
    """Turn a model's own `base_url` into a provider named after the address, or after the model's stated one."""
    if "base_url" not in entry:
        if "provider" not in entry:
            raise RegistryError(f"{origin}: models.{name} needs a provider or a base_url")
        return
    endpoint = {key: entry.pop(key) for key in ("base_url", "api_key_env", "api", "concurrency") if key in entry}
    host = urlsplit(str(endpoint["base_url"])).netloc.rpartition("@")[2]
    if not host:
        raise RegistryError(f"{origin}: models.{name}.base_url = {endpoint['base_url']!r} is no http(s) address")
    entry.setdefault("provider", host)
    providers[entry["provider"]] = {**providers.get(entry["provider"], {}), **endpoint}


def _enabled(name: str, entry: dict[str, Any], origin: str) -> bool:
    enabled = entry.pop("enabled", True)
    if not isinstance(enabled, bool):
        raise RegistryError(f"{origin}: models.{name}.enabled = {enabled!r} is neither true nor false")
    return enabled


def _provider(name: str, entry: dict[str, Any], origin: str) -> ProviderSpec:
    where = f"{origin}: providers.{name}"
    _known_keys(entry, ProviderSpec, where)
    spec = _typed(lambda: ProviderSpec(name=name, **entry), where)
    for key in ("base_url", "base_url_env", "api_key_env"):
        if (value := getattr(spec, key)) is not None and not isinstance(value, str):
            raise RegistryError(f"{where}.{key} = {value!r} must be text")
    if spec.api not in ("anthropic", "openai", "local"):
        raise RegistryError(f"{where}.api = {spec.api!r}: choose anthropic, openai or local")
    _whole(spec.concurrency, f"{where}.concurrency")
    return spec


def _model(name: str, entry: dict[str, Any], origin: str) -> ModelSpec:
    where = f"{origin}: models.{name}"
    _known_keys(entry, ModelSpec, where)
    fields: dict[str, Any] = {"context_window": 32_768, "max_output_tokens": 4_096, **entry}
    fields["tiers"] = _tiers(fields.get("tiers", []), f"{where}.tiers")
    if "price" in fields:
        fields["price"] = _price(fields["price"], f"{where}.price")
    if "token_ratio" in fields:
        ratio = _decimal(fields["token_ratio"], f"{where}.token_ratio")
        if ratio == 0:
            raise RegistryError(f"{where}.token_ratio must be above zero")
        fields["token_ratio"] = float(ratio)
    if not isinstance(fields.get("params", {}), dict):
        raise RegistryError(f"{where}.params = {fields['params']!r} must be a table")
    if "capability" in fields:
        fields["capability"] = _capability(fields["capability"], f"{where}.capability")
    fields["params"] = {key: _plain(value) for key, value in fields.get("params", {}).items()}
    return _typed(lambda: ModelSpec(id=name, **fields), where)


def _complete(model: ModelSpec, origin: str) -> ModelSpec:
    """The spec with what it leaves out filled in, checked."""
    where = f"{origin}: models.{model.id}"
    for key in ("context_window", "max_output_tokens"):
        _whole(getattr(model, key), f"{where}.{key}")
    for key, known in (
        ("max_tokens_param", ("max_tokens", "max_completion_tokens")),
        ("json_mode", ("schema", "object", "none")),
    ):
        if getattr(model, key) not in known:
            raise RegistryError(f"{where}.{key} = {getattr(model, key)!r}: choose one of {', '.join(known)}")
    for key in ("provider", "api_model", "source", "capability_source"):
        if not isinstance(getattr(model, key), str):
            raise RegistryError(f"{where}.{key} = {getattr(model, key)!r} must be text")
    if isinstance(model.image_tokens, bool) or not isinstance(model.image_tokens, int) or model.image_tokens < 0:  # pyright: ignore[reportUnnecessaryIsInstance] - it comes from a file
        raise RegistryError(f"{where}.image_tokens = {model.image_tokens!r} must be a whole number of zero or more")
    if model.price is not None:
        for part in dataclasses.fields(Price):
            if (amount := getattr(model.price, part.name)) is not None:
                _decimal(amount, f"{where}.price.{part.name}")
    if taken := _OURS & model.params.keys():
        raise RegistryError(f"{where}.params.{min(taken)}: it is set for each request, not for a model")
    if model.provider == "anthropic" and (refused := _REFUSED_BY_ANTHROPIC & model.params.keys()):
        raise RegistryError(f"{where}.params.{min(refused)}: Anthropic's models of today refuse it")
    for tier, logit in model.capability.items():
        if not math.isfinite(logit):
            raise RegistryError(f"{where}.capability.{tier} = {logit!r} must be a finite number")
    return dataclasses.replace(
        model,
        api_model=model.api_model or model.id,
        capability=model.capability or assumed_capability(model.tiers),
        capability_source=model.capability_source or ("stated" if model.capability else "assumed from its tiers"),
    )


def assumed_capability(tiers: tuple[TaskTier, ...]) -> dict[TaskTier, float]:
    """What is taken for granted of a model that nobody has measured.

    On the hardest tier that it serves, and on easier ones, it is as good as the best; on each harder one a step less
    good than on the one before. A model that serves none starts a step below them all.
    """
    kinds = list(TaskTier)
    hardest = min((kinds.index(tier) for tier in tiers), default=len(kinds))
    return {tier: BEST_CAPABILITY - CAPABILITY_STEP * max(0, hardest - place) for place, tier in enumerate(kinds)}


def _capability(value: Any, where: str) -> dict[TaskTier, float]:
    if not _is_table(value):
        raise RegistryError(f"{where} = {value!r} must be a table {{ TIER = logit }}")
    found: dict[TaskTier, float] = {}
    for name, logit in value.items():
        (tier,) = _tiers([name], where)
        if isinstance(logit, bool) or not isinstance(logit, int | Decimal):
            raise RegistryError(f"{where}.{name} = {logit!r} is not a number")
        found[tier] = float(logit)
    return found


def _tiers(value: Any, where: str) -> tuple[TaskTier, ...]:
    if not isinstance(value, list):
        raise RegistryError(f"{where} = {value!r} must be a list of tiers")
    try:
        return tuple(TaskTier(tier) for tier in cast("list[Any]", value))
    except ValueError as error:
        raise RegistryError(f"{where}: {error}; the tiers are {', '.join(TaskTier)}") from None


def _price(value: Any, where: str) -> Price:
    if not _is_table(value):
        raise RegistryError(f"{where} = {value!r} must be a table {{ input = USD, output = USD }} per million tokens")
    _known_keys(value, Price, where)
    if missing := {"input", "output"} - value.keys():
        raise RegistryError(f"{where} has no {min(missing)!r}; unknown is not zero, write 0 where it is free")
    return Price(**{key: _decimal(amount, f"{where}.{key}") for key, amount in value.items()})


def _decimal(value: Any, where: str) -> Decimal:
    """A finite amount >= 0 with at most six decimals, so that a token's price is exact in the ledger's units."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise RegistryError(f"{where} = {value!r} is not a number")
    amount = Decimal(value)
    if not amount.is_finite() or not 0 <= amount < 1_000_000:
        raise RegistryError(f"{where} = {value} must be a finite amount of zero or more, below a million")
    if amount != round(amount, 6):
        raise RegistryError(f"{where} = {value} has more than six decimals")
    return amount


def _is_table(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _whole(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RegistryError(f"{where} = {value!r} must be a whole number above zero")


def _known_keys(entry: dict[str, Any], record: type[Any], where: str) -> None:
    known = {part.name for part in dataclasses.fields(record)} - {"id", "name"}
    if unknown := entry.keys() - known:
        raise RegistryError(f"{where}: unknown key {min(unknown)!r}; known are {', '.join(sorted(known))}")


def _typed(build: Callable[[], Record], where: str) -> Record:
    try:
        return build()
    except TypeError as error:
        raise RegistryError(f"{where}: {error}") from error
