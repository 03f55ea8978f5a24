"""One JupyterLab, browser and loopback server for all browser tests, and a page for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import loopback

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.lab import Lab, Notebook


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def server() -> Iterator[loopback.Server]:
    """The providers, on loopback."""
    with loopback.running() as running:
        yield running


@pytest.fixture(scope="session")
def lab(server: loopback.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    from tests.browser.lab import Lab

    running = Lab(tmp_path_factory.mktemp("lab"), {**server.environment(), "LLM_MAGIC_PROFILE": "article"})
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from tests.browser.lab import chromium

    with chromium() as running:
        yield running


@pytest.fixture
def opened(lab: Lab, browser: Browser) -> Iterator[Callable[..., Notebook]]:
    """Return a function that opens a notebook of these code cells, or an existing file."""
    from tests.browser.lab import Notebook

    pages = []

    def opened(name: str, *cells: str) -> Notebook:
        if cells:
            lab.write(name, *cells)
        pages.append(browser.new_page(viewport={"width": 1280, "height": 1000}))
        return Notebook(pages[-1], lab, name)

    yield opened
    for page in pages:
        page.context.close()
