"""The registry: packaged models, a user's additions, and errors at load that name the file and the key."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from llm_magic import Registry, RegistryError, Router, TaskTier, Usage, prices
from llm_magic.registry import PROFILES
from llm_magic.types import Effort, Price


def write(home: Path, text: str) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    (home / "models.toml").write_text(text, encoding="utf-8")
    return home / "models.toml"


def test_article_profile_has_the_figures_of_the_article() -> None:
    registry = Registry.load("article")
    figures = {
        spec.id: (spec.tiers, spec.price.input, spec.price.output, spec.fallback_id)
        for spec in registry
        if spec.price is not None and spec.provider != "local"
    }
    assert figures == {
        "claude-opus-4-7": ((TaskTier.COMPLEX,), 5, 25, "claude-sonnet-4-6"),
        "claude-sonnet-4-6": ((TaskTier.STANDARD,), 3, 15, "gpt-5.5"),
        "gpt-5.5": ((TaskTier.STRUCTURED,), 3, 12, "claude-sonnet-4-6"),
        "deepseek-v3": ((TaskTier.BULK,), Decimal("0.27"), Decimal("1.10"), "gpt-5.5"),
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_every_tier_is_served_and_every_chain_ends(profile: str) -> None:
    registry = Registry.load(profile)
    for tier in TaskTier:
        assert registry.first_choices(tier)
    for spec in registry:
        chain = registry.chain(spec.id)
        assert len({link.id for link in chain}) == len(chain)
        assert spec.source


def test_a_fallback_cycle_is_a_warning() -> None:
    (warning,) = Registry.load("article").warnings
    assert "claude-sonnet-4-6 → gpt-5.5 → claude-sonnet-4-6" in warning


def test_the_environment_names_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MAGIC_PROFILE", "article")
    assert "deepseek-v3" in Registry.load()
    monkeypatch.setenv("LLM_MAGIC_PROFILE", "nope")
    with pytest.raises(RegistryError, match="no profile 'nope': choose one of current, article"):
        Registry.load()


def test_four_lines_add_an_endpoint(clean_environment: Path) -> None:
    write(
        clean_environment,
        """
        [models."llama3.2"]
        base_url = "http://localhost:11434/v1"
        tiers = ["bulk"]
        price = { input = 0, output = 0 }
        """,
    )
    registry = Registry.load()
    spec = registry["llama3.2"]
    assert spec.tiers == (TaskTier.BULK,)
    assert spec.api_model == "llama3.2"
    assert registry.providers[spec.provider].base_url == "http://localhost:11434/v1"
    assert Router(registry=registry).plan("Translate to French: hello").candidates[0].model.id == "llama3.2"


def test_a_user_overrides_single_keys(clean_environment: Path) -> None:
    write(clean_environment, '[models."gpt-5.5"]\nprice = { input = 5, output = 30 }\n')
    spec = Registry.load("article")["gpt-5.5"]
    assert spec.price == Price(input=Decimal(5), output=Decimal(30))
    assert spec.fallback_id == "claude-sonnet-4-6"


def test_a_model_can_be_turned_off(clean_environment: Path) -> None:
    write(
        clean_environment,
        '[models."deepseek-v3"]\nenabled = false\n',
    )
    assert "deepseek-v3" not in Registry.load("article")


def test_a_fallback_that_is_turned_off_is_replaced_by_its_own_fallback(clean_environment: Path) -> None:
    off = ["claude-opus-5-5", "gpt-6.1-sol"]
    write(clean_environment, 'baseline = "local"\n' + "".join(f'[models."{name}"]\nenabled = false\n' for name in off))
    registry = Registry.load("current")
    assert registry["gpt-6.2-astra"].fallback_id == "deepseek-v4-pro"
    write(
        clean_environment,
        "".join(f'[models."{name}"]\nenabled = false\n' for name in ("claude-haiku-5-5", "deepseek-flash")),
    )
    assert Registry.load("current")["gpt-6-luna"].fallback_id is None, "the cycle of three has one model left"


def test_prices_are_exact(clean_environment: Path) -> None:
    write(clean_environment, '[models.x]\nbase_url = "http://localhost/v1"\nprice = { input = 0.1, output = 0.3 }\n')
    price = Registry.load()["x"].price
    assert price is not None
    assert price.input == Decimal("0.1")


PRICED = '[models.x]\nprovider = "openai"\n[models.x.price]\ninput = 1\noutput = 1\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models = 3", "models must hold tables"),
        ("[models", "not valid TOML"),
        ('[models.x]\nprovider = "openai"\nfallback_id = "nope"', "models.x.fallback_id = 'nope' is not a known model"),
        ('[models.x]\nprovider = "openai"\ntiers = ["HARD"]', "models.x.tiers: 'HARD' is not a valid TaskTier"),
        ('[models.x]\nprovider = "openai"\ntiers = "BULK"', "models.x.tiers = 'BULK' must be a list"),
        ('[models.x]\nprovider = "openai"\nprice = { input = -1, output = 1 }', "models.x.price.input = -1 must be"),
        ('[models.x]\nprovider = "openai"\nprice = { input = nan, output = 1 }', "models.x.price.input = NaN must be"),
        ('[models.x]\nprovider = "openai"\nprice = { input = inf, output = 1 }', "price.input = Infinity must be"),
        ('[models.x]\nprovider = "openai"\nprice = { input = 1e-7, output = 1 }', "more than six decimals"),
        ('[models.x]\nprovider = "openai"\nprice = { input = "1", output = 1 }', "price.input = '1' is not a number"),
        ('[models.x]\nprovider = "openai"\nprice = { input = 1 }', "models.x.price has no 'output'"),
        ('[models.x]\nprovider = "openai"\nprice = 3', "models.x.price = 3 must be a table"),
        ('[models.x]\nprovider = "openai"\nwindow = 3', "models.x: unknown key 'window'"),
        ('[models.x]\nprovider = "openai"\ncontext_window = 0', "models.x.context_window = 0 must be a whole number"),
        ('[models.x]\nprovider = "openai"\ntoken_ratio = 0', "token_ratio must be above zero"),
        ('[models.x]\nprovider = "openai"\nparams = 1', "models.x.params = 1 must be a table"),
        ('[models.x]\nprovider = "openai"\njson_mode = "maybe"', "models.x.json_mode = 'maybe': choose one of"),
        ('[models.x]\nprovider = "openai"\nenabled = 1', "models.x.enabled = 1 is neither"),
        (
            '[models.x]\nprovider = "anthropic"\nparams = { temperature = 0.5 }',
            "params.temperature: provider 'anthropic' rejects",
        ),
        *(
            (
                f"[models.x]\nprovider = 'openai'\nparams = {{ {name} = 1 }}",
                f"params.{name} is not possible: .* no hold covers",
            )
            for name in ("tools", "web_search_options", "plugins", "search_parameters", "enable_search", "modalities")
        ),
        ("[providers.x]\nparams = { tools = [] }", "providers.x.params.tools is not possible"),
        ("[models.'gpt-6-luna'.effort]\nlow = { tools = [] }", "effort.low.tools is not possible"),
        ("[models.'x:online']\nbase_url = 'http://localhost/v1'", "'x:online' searches the web, .*: use 'x'"),
        ("[models.x]\nprovider = 'openai'\nmax_input_tokens = 0", "max_input_tokens = 0 must be a whole number"),
        ("[models.x]\nprovider = 'openai'\nendpoint = 2", "unknown key 'endpoint'"),
        (PRICED + "long_prompt = 3", "price.long_prompt = 3 must be a table"),
        (
            PRICED + "long_prompt = { above_tokens = 5 }",
            "price.long_prompt must have the keys above_tokens, input_factor",
        ),
        (
            PRICED + "long_prompt = { above_tokens = 0, input_factor = 1, output_factor = 1 }",
            "above_tokens = 0 must be",
        ),
        (
            PRICED + "long_prompt = { above_tokens = 5, input_factor = -1, output_factor = 1 }",
            "input_factor = -1 must be",
        ),
        (PRICED + "request = -1", "price.request = -1 must be"),
        (PRICED + "factors = 2", "price.factors = 2 must be a table"),
        (PRICED + "factors = { flex = nan }", "price.factors.flex = NaN must be"),
        ("[models.x]\ntiers = []", "models.x needs a provider or a base_url"),
        ('[models.x]\nbase_url = "here"', "models.x.base_url = 'here' is not an http"),
        ('[providers.x]\napi = "soap"', "providers.x.api = 'soap': choose one of anthropic, openai, local"),
        ("[providers.x]\nrejected_params = 'n'", "providers.x.rejected_params = 'n' must be a list of names"),
        ("[providers.x]\nparams = { model = 'y' }", "providers.x.params.model: it is set for each request"),
        ('[providers.x]\nbase_url = "localhost:8000/v1"', "providers.x.base_url = 'localhost:8000/v1' is not an http"),
        ('[providers.x]\nbase_url = "ws://localhost/v1"', "providers.x.base_url = 'ws://localhost/v1' is not an http"),
        ('[providers.x]\nbase_url = "me:word@host/v1"', "providers.x.base_url = 'host/v1' is not an http"),
        ('[models.x]\nbase_url = "http:///v1"', "models.x.base_url = 'http:///v1' is not an http"),
        ("[providers.x]\nbase_url = 3", "providers.x.base_url = 3 must be text"),
        ("[providers.x]\nconcurrency = 0", "providers.x.concurrency = 0 must be"),
        ("[models.gpt-5.5]\nprice = 1", r'a name with dots needs quotes: \[models."gpt-5.5"\]'),
        ("[models.llama3.2.effort]\ndefault = 'low'", r'a name with dots needs quotes: \[models."llama3.2"\]'),
        ("[providers.llm.example.com]\nbase_url = 'x'", r'needs quotes: \[providers."llm.example.com"\]'),
        (
            "[models.llama3.2:8b]\nprice = 1",
            r'not valid TOML: .*; a name like this needs quotes: \[models."llama3.2:8b"\]',
        ),
        (
            "[models.meta/llama]\nprice = 1",
            r'not valid TOML: .*; a name like this needs quotes: \[models."meta/llama"\]',
        ),
        ("[models.x]\nprovider = 'opnai'", "models.x.provider = 'opnai' is not a provider: did you mean 'openai'"),
        ("[models.x]\nprovider = 'Anthropic'", "provider = 'Anthropic' is not a provider: did you mean 'anthropic'"),
        (
            "[models.x]\nprovider = 'acme'",
            r"provider = 'acme' is not a provider: add \[providers.acme\], or choose one of",
        ),
        ("[models.'gpt-6-luna']\nprovider = 3", "models.gpt-6-luna.provider = 3 is not a provider"),
        ("[modles.x]\n", "unknown key 'modles'"),
        ('baseline = "nope"', "baseline = 'nope' is not a model"),
    ],
)
def test_an_error_names_the_file_and_the_key(clean_environment: Path, text: str, message: str) -> None:
    path = write(clean_environment, text)
    with pytest.raises(RegistryError, match=message) as caught:
        Registry.load()
    assert str(path) in str(caught.value)


def test_a_binary_file_is_an_error(clean_environment: Path) -> None:
    path = write(clean_environment, "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RegistryError, match="can't be read"):
        Registry.load()


def test_an_unknown_model_id_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(RegistryError, match="no model 'gpt-1': the registry has claude-opus-5-5"):
        Registry.load()["gpt-1"]


@pytest.mark.parametrize("key", ["max_tokens", "n", "stream", "model"])
def test_a_parameter_that_is_set_for_each_request_is_rejected(tmp_path: Path, key: str) -> None:
    path = tmp_path / "models.toml"
    path.write_text(f'[models."gpt-6-luna"]\nparams = {{ {key} = 4 }}\n')
    with pytest.raises(RegistryError, match=rf"models.gpt-6-luna.params.{key}: it is set for each request"):
        Registry.load("current", user_file=path)


def test_a_models_params_override_its_providers(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(
        """
        [providers.lab]
        params = { seed = 1, service_tier = "flex" }
        [models.plain]
        provider = "lab"
        [models.own]
        provider = "lab"
        params = { seed = 2 }
        """
    )
    registry = Registry.load(user_file=path)
    assert registry["plain"].params == {"seed": 1, "service_tier": "flex"}
    assert registry["own"].params == {"seed": 2, "service_tier": "flex"}


EFFORT = """
[models.own]
base_url = "http://localhost:1234/v1"
price = { input = 1, output = 2 }

[models.own.effort]
default = "low"
none = { think = false }
low = { think = true, options = { budget = 100 } }
"""


def test_a_model_of_the_user_states_its_levels_of_effort(clean_environment: Path) -> None:
    write(clean_environment, EFFORT)
    levels = Registry.load()["own"].effort
    assert levels is not None
    assert (levels.default, list(levels)) == (Effort.LOW, [Effort.NONE, Effort.LOW])
    assert levels.capability_steps[Effort.NONE][TaskTier.COMPLEX] < 0
    assert levels.capability_steps[Effort.LOW][TaskTier.COMPLEX] == 0
    assert levels.reasoning_tokens[Effort.NONE][TaskTier.COMPLEX] == 0


def test_a_user_overrides_one_level_and_removes_another(clean_environment: Path) -> None:
    write(clean_environment, '[models."gpt-6-luna".effort]\nmax = false\nlow = { reasoning_effort = "minimal" }\n')
    luna = Registry.load()["gpt-6-luna"]
    assert luna.effort is not None
    assert Effort.MAX not in luna.effort.params
    assert luna.params_at(Effort.LOW)["reasoning_effort"] == "minimal"
    assert luna.params_at(Effort.HIGH)["reasoning_effort"] == "high"


def test_params_of_the_user_fix_the_effort_that_they_state(clean_environment: Path) -> None:
    write(clean_environment, '[models."gpt-6-luna"]\nparams = { reasoning_effort = "high" }\n')
    luna = Registry.load()["gpt-6-luna"]
    assert luna.effort is not None
    assert list(luna.effort) == [Effort.HIGH]
    assert luna.effort.capability_steps[Effort.HIGH][TaskTier.COMPLEX] > 0, "harder than the provider's default"


def test_params_that_match_no_level_win_and_leave_the_effort_unknown(clean_environment: Path) -> None:
    write(clean_environment, '[models."claude-opus-5-5"]\nparams = { output_config = { effort = "xhigh" } }\n')
    opus = Registry.load()["claude-opus-5-5"]
    assert opus.effort is None
    assert opus.params_at(None) == {"output_config": {"effort": "xhigh"}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('default = "low"', r"models\.own\.effort\.default = 'low' must be one of the levels: none set"),
        ('default = "huge"\nlow = {}', r"models\.own\.effort\.default = 'huge' must be one of the levels: low"),
        ('default = "low"\nlow = {}\nhuge = {}', r"models\.own\.effort: unknown key 'huge'; known are default, source"),
        ('default = "low"\nlow = 3', r"models\.own\.effort\.low = 3 must be a table"),
        (
            'default = "low"\nlow = { max_tokens = 3 }',
            r"models\.own\.effort\.low\.max_tokens: it is set for each request",
        ),
    ],
)
def test_an_error_in_the_levels_names_file_and_key(clean_environment: Path, line: str, message: str) -> None:
    path = write(
        clean_environment,
        f'[models.own]\nbase_url = "http://localhost:1234/v1"\nprice = {{ input = 1, output = 2 }}\n[models.own.effort]\n{line}\n',
    )
    with pytest.raises(RegistryError, match=message) as caught:
        Registry.load()
    assert str(path) in str(caught.value)


def test_the_limits_of_todays_models_are_those_of_their_providers() -> None:
    registry = Registry.load("current")
    limits = {model.id: (model.context_window, model.input_limit, model.max_output_tokens) for model in registry}
    for model_id in ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-2"):
        assert limits[model_id] == (1_000_000, 1_000_000, 128_000)
    for model_id in ("gpt-6.1-terra", "gpt-6.1-sol", "gpt-6-luna", "gpt-6.2-sol", "gpt-6.2-astra"):
        assert limits[model_id] == (1_050_000, 922_000, 128_000)
    for model_id in ("deepseek-flash", "deepseek-v4-pro"):
        assert limits[model_id] == (1_000_000, 1_000_000, 384_000)
    assert registry["deepseek-flash"].image_tokens == 384
    assert registry["deepseek-v4-pro"].image_tokens == 0


def test_a_prompt_above_the_input_limit_is_not_sent_although_the_window_is_larger() -> None:
    assert Registry.load("current")["gpt-6.1-terra"].output_space(922_000) == 128_000
    assert Registry.load("current")["gpt-6.1-terra"].output_space(922_001) == 0


@pytest.mark.parametrize(
    ("model_id", "short_usd", "long_usd", "source"),
    [
        ("gpt-6.2-sol", "12", "19", "models.toml: developers.openai.com/api/docs/models/gpt-6.2-sol, 2026-11-27"),
        ("gpt-6.2-astra", "48", "76", "models.toml: developers.openai.com/api/docs/models/gpt-6.2-astra, 2026-11-18"),
        ("claude-fable-5-2", "48", "48", "genai-prices 0.2.3"),
    ],
)
def test_the_newest_models_have_prices_with_their_source(
    model_id: str, short_usd: str, long_usd: str, source: str
) -> None:
    spec, at = Registry.load("current")[model_id], datetime(2026, 11, 27, 12, tzinfo=UTC)
    short, long = (prices.cost(spec, Usage(input_tokens=count, output_tokens=10**6), at) for count in (272_000, 10**6))
    assert short.usd + Decimal(10**6 - 272_000) / 10**6 * short.input_price == Decimal(short_usd)
    assert (long.usd, long.price_source) == (Decimal(long_usd), source)
