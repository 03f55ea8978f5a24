"""Take the README's picture of a cell: `python -m scripts.screenshot`.

JupyterLab runs in a headless Chromium (`make test-browser` installs it). The provider is the tests' loopback server, so
the answer is scripted; everything else in the picture is computed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.browser.lab import Lab, Notebook, chromium
from tests.support import loopback

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "cell.png"
CELLS = (
    "%load_ext llm_magic\n%route_budget 5.00\n%route --tier bulk Hello",  # the first request also opens a connection
    "%%route\nTranslate to French: where is the library?",
)
ANSWER = loopback.Answer(chunks=("Où est ", "la **bibliothèque** ?"))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="llm_magic-") as folder, loopback.running() as server:
        for model in ("gpt-6-luna", "deepseek-flash", "claude-haiku-5-5"):
            server.script(model, ANSWER)
        lab = Lab(Path(folder), server.environment())
        try:
            with chromium() as browser:
                page = browser.new_page(viewport={"width": 940, "height": 900}, device_scale_factor=1.5)
                lab.write("picture.ipynb", *CELLS)
                notebook = Notebook(page, lab, "picture.ipynb")
                notebook.command("application:toggle-left-area")
                notebook.run_all()
                TARGET.parent.mkdir(parents=True, exist_ok=True)
                page.locator(".jp-CodeCell").nth(1).screenshot(path=TARGET)
        finally:
            lab.stop()
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
