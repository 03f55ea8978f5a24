"""The session's router: its models are read again after a change of models.toml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_magic import RegistryError, routing
from tests.support import builders

OWN = '[models.{name}]\nbase_url = "http://localhost:1/v1"\nprice = {{ input = 0, output = 0 }}\n'


@pytest.fixture
def models_file(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LLM_MAGIC_LEDGER", ":memory:")
    clean_environment.mkdir(parents=True, exist_ok=True)
    routing.reset_session()
    yield clean_environment / "models.toml"
    routing.reset_session()


def test_a_changed_models_toml_is_read_again_and_the_ledger_stays(models_file: Path) -> None:
    assert not routing.reload_models(), "no router was made yet"
    before = routing.session_router()
    before.set_budget(3)
    models_file.write_text(OWN.format(name="mine"))
    assert "mine" not in routing.session_router().registry
    assert routing.reload_models()
    after = routing.session_router()
    assert "mine" in after.registry
    assert (after.ledger, after.budget.session_usd) == (before.ledger, 3)
    assert not routing.reload_models()
    assert routing.session_router() is after, "nothing changed"
    models_file.unlink()
    assert routing.reload_models()
    assert "mine" not in routing.session_router().registry


def test_a_broken_models_toml_changes_nothing(models_file: Path) -> None:
    models_file.write_text(OWN.format(name="mine"))
    before = routing.session_router()
    models_file.write_text("[models.mine]\nprice = 3\n")
    with pytest.raises(RegistryError):
        routing.reload_models()
    assert routing.session_router() is before
    models_file.write_text(OWN.format(name="other"))
    assert routing.reload_models()
    assert "other" in routing.session_router().registry


def test_a_given_router_keeps_its_models(models_file: Path) -> None:
    own = routing.use_router(builders.router())
    models_file.write_text(OWN.format(name="mine"))
    assert not routing.reload_models()
    assert routing.session_router() is own
    routing.switch_profile("article")
    assert "mine" in routing.session_router().registry
    models_file.write_text(OWN.format(name="other"))
    assert routing.reload_models()
    assert routing.session_router().registry.profile == "article"
