"""Wires: a provider class that is registered serves the models of a user's models.toml."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from llm_magic import Ledger, Registry, RegistryError, Router, Usage, providers, register_wire
from llm_magic.events import TextDelta
from llm_magic.providers.base import Finished, ProviderEvent, ProviderRequest, UsageReport
from llm_magic.types import ProviderSpec

MODELS = """
[providers.parrots]
api = "squawk"
base_url = "squawk://cage"

[models.polly]
provider = "parrots"
tiers = ["BULK"]
price = { input = 1, output = 2 }
"""


class Parrot:
    """Repeats the prompt. One token for each word, in and out."""

    closed: list[str]

    def __init__(self, spec: ProviderSpec) -> None:
        self.spec = spec
        self.closed = []

    def unavailable(self) -> str | None:
        return None

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        text = request.messages[-1].content
        yield TextDelta(text=f"{self.spec.base_url}: {text}")
        words = len(text.split())
        yield UsageReport(usage=Usage(input_tokens=words, output_tokens=words))
        yield Finished(finish_reason="stop", served_model=request.model.api_model)

    async def aclose(self) -> None:
        self.closed.append(self.spec.name)


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(MODELS)
    return path


def test_a_registered_wire_serves_a_model_of_a_user_file(user_file: Path) -> None:
    register_wire("squawk", Parrot)
    router = Router(registry=Registry.load(user_file=user_file), ledger=Ledger(":memory:"))
    result = router.route_sync("pretty bird", model="polly")
    assert result.text == "squawk://cage: pretty bird"
    assert result.cost_usd * 1_000_000 == 2 * 1 + 2 * 2
    assert (result.model, result.attempts[0].provider) == ("polly", "parrots")


def test_an_unregistered_wire_is_an_error_with_the_file_the_key_and_the_known_wires(user_file: Path) -> None:
    user_file.write_text(MODELS.replace("squawk", "smoke signals"))
    with pytest.raises(RegistryError) as caught:
        Registry.load(user_file=user_file)
    problem, _, hint = str(caught.value).partition("choose one of anthropic, openai, local")
    assert problem == f"{user_file}: providers.parrots.api = 'smoke signals': "
    assert hint.endswith("(llm_magic.register_wire adds others)")


def test_a_wire_can_be_registered_again(user_file: Path) -> None:
    """As when a notebook cell with the class is run again."""

    class Louder(Parrot):
        pass

    register_wire("squawk", Parrot)
    register_wire("squawk", Louder)
    connected = providers.connect(Registry.load(user_file=user_file).providers)
    assert type(connected["parrots"]) is Louder


async def test_a_provider_with_connections_is_closed(user_file: Path) -> None:
    register_wire("squawk", Parrot)
    connected = providers.connect(Registry.load(user_file=user_file).providers)
    await providers.aclose()
    parrot = connected["parrots"]
    assert isinstance(parrot, Parrot)
    assert parrot.closed == ["parrots"]
