"""From TOML to specs: what a file says, laid over what ships. Raises RegistryError, naming file and key."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, cast
from urllib.parse import urlsplit

from llm_magic.errors import RegistryError
from llm_magic.registry.validation import decimal_of, whole
from llm_magic.types import ModelSpec, Price, ProviderSpec, TaskTier

Record = TypeVar("Record")


def packaged_providers() -> list[ProviderSpec]:
    """The providers that ship: anthropic, openai, deepseek, local."""
    return [provider_of(name, entry, "models.toml") for name, entry in packaged()["providers"].items()]


def packaged() -> dict[str, Any]:
    return _parse(resources.files("llm_magic").joinpath("models.toml").read_text("utf-8"), "models.toml")


def read(path: Path) -> dict[str, Any]:
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


def merge_user(
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


def enabled(name: str, entry: dict[str, Any], origin: str) -> bool:
    enabled = entry.pop("enabled", True)
    if not isinstance(enabled, bool):
        raise RegistryError(f"{origin}: models.{name}.enabled = {enabled!r} is neither true nor false")
    return enabled


def provider_of(name: str, entry: dict[str, Any], origin: str) -> ProviderSpec:
    where = f"{origin}: providers.{name}"
    _known_keys(entry, ProviderSpec, where)
    spec = _typed(lambda: ProviderSpec(name=name, **entry), where)
    for key in ("base_url", "base_url_env", "api_key_env"):
        if (value := getattr(spec, key)) is not None and not isinstance(value, str):
            raise RegistryError(f"{where}.{key} = {value!r} must be text")
    if spec.api not in ("anthropic", "openai", "local"):
        raise RegistryError(f"{where}.api = {spec.api!r}: choose anthropic, openai or local")
    whole(spec.concurrency, f"{where}.concurrency")
    return spec


def model_of(name: str, entry: dict[str, Any], origin: str) -> ModelSpec:
    where = f"{origin}: models.{name}"
    _known_keys(entry, ModelSpec, where)
    fields: dict[str, Any] = {"context_window": 32_768, "max_output_tokens": 4_096, **entry}
    fields["tiers"] = _tiers(fields.get("tiers", []), f"{where}.tiers")
    if "price" in fields:
        fields["price"] = _price(fields["price"], f"{where}.price")
    if "token_ratio" in fields:
        ratio = decimal_of(fields["token_ratio"], f"{where}.token_ratio")
        if ratio == 0:
            raise RegistryError(f"{where}.token_ratio must be above zero")
        fields["token_ratio"] = float(ratio)
    if not isinstance(fields.get("params", {}), dict):
        raise RegistryError(f"{where}.params = {fields['params']!r} must be a table")
    if "capability" in fields:
        fields["capability"] = _capability(fields["capability"], f"{where}.capability")
    fields["params"] = {key: _plain(value) for key, value in fields.get("params", {}).items()}
    return _typed(lambda: ModelSpec(id=name, **fields), where)


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
    return Price(**{key: decimal_of(amount, f"{where}.{key}") for key, amount in value.items()})


def _is_table(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _known_keys(entry: dict[str, Any], record: type[Any], where: str) -> None:
    known = {part.name for part in dataclasses.fields(record)} - {"id", "name"}
    if unknown := entry.keys() - known:
        raise RegistryError(f"{where}: unknown key {min(unknown)!r}; known are {', '.join(sorted(known))}")


def _typed(build: Callable[[], Record], where: str) -> Record:
    try:
        return build()
    except TypeError as error:
        raise RegistryError(f"{where}: {error}") from error
