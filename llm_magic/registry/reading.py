"""TOML to specs: the packaged models.toml, with the user's file on top. Errors name the file and the key."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, cast
from urllib.parse import urlsplit

from llm_magic.errors import RegistryError
from llm_magic.registry.pricing import exact_amount, parse_price
from llm_magic.registry.rules import Rule, parse_rules
from llm_magic.types import Effort, EffortLevels, ModelSpec, ProviderSpec, TaskTier

PACKAGED = "models.toml"
_ENDPOINT_KEYS = ("base_url", "api_key_env", "api", "concurrency")
_UNQUOTED = re.compile(r"\s*\[(models|providers)\.([^\"'\]]*[^\w.\-\"'\]][^\"'\]]*)\]\s*(?:#.*)?")
DERIVED_KEYS = ("endpoint", "capability_width", "capability_margin")
_DEFAULTS = {"context_window": 32_768, "max_output_tokens": 4_096}
_Table = dict[str, Any]
_Record = TypeVar("_Record")


@dataclasses.dataclass(kw_only=True)
class ProfileTables:
    models: dict[str, _Table]
    providers: dict[str, _Table]
    baseline: str
    origin: str
    rules: tuple[Rule, ...] = ()

    def model_specs(self) -> list[ModelSpec]:
        tables = self.models
        enabled = [name for name, table in tables.items() if _enabled(table, f"{self.origin}: models.{name}")]
        for name in enabled:
            _skip_disabled(name, tables.keys() - set(enabled), tables)
        return [_model(name, tables[name], f"{self.origin}: models.{name}") for name in enabled]

    def provider_specs(self) -> list[ProviderSpec]:
        return [_provider(name, table, f"{self.origin}: providers.{name}") for name, table in self.providers.items()]


def packaged(profile: str) -> ProfileTables:
    document = _parse(_packaged_text(), PACKAGED)
    profiles = document["profiles"]
    if profile not in profiles:
        raise RegistryError(f"no profile {profile!r}: choose one of {', '.join(profiles)}")
    return ProfileTables(
        models=profiles[profile]["models"],
        providers=document["providers"],
        baseline=profiles[profile]["baseline"],
        origin=PACKAGED,
    )


def effort_tables() -> tuple[dict[TaskTier, float], dict[Effort, dict[TaskTier, float]]]:
    """Return the capability gained by one level of effort, by tier, and the reasoning tokens of each level."""
    tables = _parse(_packaged_text(), PACKAGED)["effort"]
    where = f"{PACKAGED}: effort"
    tokens = {
        Effort(level): _by_tier(table, f"{where}.reasoning_tokens.{level}")
        for level, table in tables["reasoning_tokens"].items()
    }
    return _by_tier(tables["capability_step"], f"{where}.capability_step"), tokens


@lru_cache(maxsize=1)
def _packaged_text() -> str:
    return resources.files("llm_magic").joinpath(PACKAGED).read_text("utf-8")


def overlaid(tables: ProfileTables, path: Path) -> ProfileTables:
    """Lay the user's file over the tables, key by key. Raises RegistryError."""
    origin = str(path)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"{origin}: can't be read: {error}") from error
    user = _parse(text, origin)
    if unknown := user.keys() - {"models", "providers", "rules", "baseline"}:
        raise RegistryError(
            f"{origin}: unknown key {min(unknown)!r}; known are models, providers, rules and baseline "
            '(a name with dots needs quotes: [models."gpt-5.5"])'
        )
    baseline = user.get("baseline", tables.baseline)
    if not isinstance(baseline, str):
        raise RegistryError(f"{origin}: baseline = {baseline!r} is not a model id")
    merged = ProfileTables(
        models=_merged(tables.models, user.get("models", {}), f"{origin}: models", ModelSpec),
        providers=_merged(tables.providers, user.get("providers", {}), f"{origin}: providers", ProviderSpec),
        baseline=baseline,
        origin=origin,
        rules=parse_rules(user.get("rules", []), origin),
    )
    for name, model in merged.models.items():
        _extract_endpoint(name, model, merged)
        if model.get("enabled", True):
            _check_provider_name(model["provider"], merged.providers, f"{origin}: models.{name}.provider")
    return merged


def _parse(text: str, origin: str) -> _Table:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        headers = (_UNQUOTED.fullmatch(line) for line in text.splitlines())
        hint = next((f'; a name like this needs quotes: [{match[1]}."{match[2]}"]' for match in headers if match), "")
        raise RegistryError(f"{origin}: not valid TOML: {error}{hint}") from error


def _merged(base: Mapping[str, _Table], user: Any, where: str, record: type[Any]) -> dict[str, _Table]:
    kind = where.rpartition(" ")[2]
    if not _is_table(user) or not all(_is_table(table) for table in user.values()):
        raise RegistryError(f"{where} must hold tables, [{kind}.NAME]")
    known = {field.name for field in dataclasses.fields(record)} | {"enabled"}
    for name, table in user.items():
        full_name, inner = name, table
        while (
            key := next((key for key, value in inner.items() if _is_table(value) and key not in known), None)
        ) is not None:
            full_name, inner = f"{full_name}.{key}", inner[key]
        if full_name != name:
            raise RegistryError(f'{where}.{full_name}: a name with dots needs quotes: [{kind}."{full_name}"]')
    return {**base, **{name: _with_effort(base.get(name, {}), table) for name, table in user.items()}}


def _with_effort(base: _Table, user: _Table) -> _Table:
    """Lay a user's table over a packaged one; of its effort, level by level."""
    merged = {**base, **user}
    if _is_table(base.get("effort")) and _is_table(user.get("effort")):
        merged["effort"] = {**base["effort"], **user["effort"]}
    return merged


def _extract_endpoint(name: str, model: _Table, tables: ProfileTables) -> None:
    """Move a model's own `base_url` into a provider, named by the model's `provider` or else by the host."""
    where = f"{tables.origin}: models.{name}"
    if "base_url" not in model:
        if "provider" not in model:
            raise RegistryError(f"{where} needs a provider or a base_url")
        return
    endpoint = {key: model.pop(key) for key in _ENDPOINT_KEYS if key in model}
    url = str(endpoint["base_url"]).rpartition("@")[2]  # without a password
    host = urlsplit(str(endpoint["base_url"])).netloc.rpartition("@")[2]
    if not host:
        raise RegistryError(f"{where}.base_url = {url!r} is not an http(s) URL, such as https://llm.example.com/v1")
    provider = model.setdefault("provider", host)
    tables.providers[provider] = {**tables.providers.get(provider, {}), **endpoint}


def _check_provider_name(name: Any, providers: Mapping[str, _Table], where: str) -> None:
    if isinstance(name, str) and name in providers:
        return
    nearest = difflib.get_close_matches(str(name).lower(), providers, n=1)
    hint = (
        f"did you mean {nearest[0]!r}?"
        if nearest
        else f"add [providers.{name}], or choose one of {', '.join(providers)}"
    )
    raise RegistryError(f"{where} = {name!r} is not a provider: {hint}")


def _enabled(table: _Table, where: str) -> bool:
    enabled = table.pop("enabled", True)
    if not isinstance(enabled, bool):
        raise RegistryError(f"{where}.enabled = {enabled!r} is neither true nor false")
    return enabled


def _skip_disabled(name: str, disabled: set[str], tables: Mapping[str, _Table]) -> None:
    visited = {name}
    while (fallback := tables[name].get("fallback_id")) in disabled:
        visited.add(fallback)
        following = tables[fallback].get("fallback_id")
        tables[name]["fallback_id"] = None if following in visited else following


def _provider(name: str, table: _Table, where: str) -> ProviderSpec:
    _check_keys(table, ProviderSpec, where)
    return _build(ProviderSpec, {"name": name, **_converted(table, where)}, where)


def _model(name: str, table: _Table, where: str) -> ModelSpec:
    _check_keys(table, ModelSpec, where)
    return _build(ModelSpec, {"id": name, **_DEFAULTS, **_converted(table, where)}, where)


def _converted(table: _Table, where: str) -> _Table:
    return {
        key: convert(value, f"{where}.{key}") if (convert := _CONVERTERS.get(key)) else value
        for key, value in table.items()
    }


def _by_tier(value: Any, where: str) -> dict[TaskTier, float]:
    if not _is_table(value):
        raise RegistryError(f"{where} = {value!r} must be a table {{ TIER = number }}")
    numbers: dict[TaskTier, float] = {}
    for name, number in value.items():
        (tier,) = _tiers([name], where)
        if isinstance(number, bool) or not isinstance(number, int | Decimal):
            raise RegistryError(f"{where}.{name} = {number!r} is not a number")
        numbers[tier] = float(number)
    return numbers


def _effort(value: Any, where: str) -> EffortLevels:
    """Parse `{ default = LEVEL, LEVEL = { parameters }, source = TEXT }`. A level that is false is absent."""
    if not _is_table(value):
        raise RegistryError(f"{where} = {value!r} must be a table {{ default = LEVEL, LEVEL = {{ parameters }} }}")
    names = value.keys() - {"default", "source"}
    if unknown := names - set(Effort):
        raise RegistryError(f"{where}: unknown key {min(unknown)!r}; known are default, source, {', '.join(Effort)}")
    params = {Effort(name): _params(value[name], f"{where}.{name}") for name in names if value[name] is not False}
    default = value.get("default")
    if default not in params:
        raise RegistryError(
            f"{where}.default = {default!r} must be one of the levels: {', '.join(params) or 'none set'}"
        )
    return EffortLevels(default=Effort(default), params=params, source=str(value.get("source", "")))


def _tiers(value: Any, where: str) -> tuple[TaskTier, ...]:
    if not isinstance(value, list):
        raise RegistryError(f"{where} = {value!r} must be a list of tiers")
    try:
        return tuple(TaskTier(tier) for tier in cast("list[Any]", value))
    except ValueError as error:
        raise RegistryError(f"{where}: {error}; the tiers are {', '.join(TaskTier)}") from None


def _positive(value: Any, where: str) -> float:
    number = exact_amount(value, where)
    if number == 0:
        raise RegistryError(f"{where} must be above zero")
    return float(number)


def _params(value: Any, where: str) -> _Table:
    if not _is_table(value):
        raise RegistryError(f"{where} = {value!r} must be a table")
    return {key: _plain(param) for key, param in value.items()}


def _plain(param: Any) -> Any:
    if _is_table(param):
        return {key: _plain(part) for key, part in param.items()}
    return float(param) if isinstance(param, Decimal) else param


def _names(value: Any, where: str) -> tuple[str, ...]:
    names = cast("list[Any]", value)
    if not isinstance(value, list) or not all(isinstance(name, str) for name in names):
        raise RegistryError(f"{where} = {value!r} must be a list of names")
    return tuple(names)


_CONVERTERS: Mapping[str, Callable[[Any, str], Any]] = {
    "brief": _params,
    "capability": _by_tier,
    "effort": _effort,
    "params": _params,
    "price": parse_price,
    "rejected_params": _names,
    "summary": _params,
    "tiers": _tiers,
    "token_ratio": _positive,
    "tokens_per_s": _positive,
}


def _is_table(value: Any) -> TypeGuard[_Table]:
    return isinstance(value, dict)


def _check_keys(table: _Table, record: type[Any], where: str) -> None:
    known = {field.name for field in dataclasses.fields(record)} - {"id", "name", *DERIVED_KEYS}
    if unknown := table.keys() - known:
        raise RegistryError(f"{where}: unknown key {min(unknown)!r}; known are {', '.join(sorted(known))}")


def _build(record: type[_Record], fields: _Table, where: str) -> _Record:
    try:
        return record(**fields)
    except TypeError as error:  # a required key is missing
        raise RegistryError(f"{where}: {error}") from error
