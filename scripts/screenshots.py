"""Take pictures of every view: `python -m scripts.screenshots [lab|notebook]...`; those of the README with `readme`.

JupyterLab and Notebook 7 run in a headless Chromium (`make test-browser` installs it). The providers are the tests'
loopback server, so the answers are scripted; everything else in the pictures is computed. They are written to
build/screenshots, at 1280 and 480 pixels, in the light and the dark theme.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import threading
from pathlib import Path

from tests.browser.lab import ROOT, WAIT_S, Interface, Lab, Notebook, chromium
from tests.support import loopback

IMAGES = ROOT / "docs" / "images"
LOAD = "%load_ext llm_magic\n%route_budget 5.00"
TALL = 2600

SHORT = loopback.Answer(chunks=("Où est ", "la **bibliothèque** ?"))
LONG = loopback.Answer(
    chunks=tuple(
        """A *list comprehension* is the usual way:

```python
def squares(n: int) -> list[int]:
    return [i**2 for i in range(n)]  # 0, 1, 4, 9
```

| way | time | memory |
|:---|---:|---:|
| comprehension | 1.0 s | 80 MB |
| generator | 1.1 s | 1 MB |

Their sum is $\\sum_{i=0}^{n-1} i^2 = \\frac{(n-1)n(2n-1)}{6}$.
""".replace(" ", " \0").split("\0")
    )
)
BODY = "\n".join(f"Review {number}: the battery lasts {number} days." for number in range(12))
QUESTION = "How do I compute the first squares in Python?"
COLUMN = """reviews = [f"The battery lasts {n} days." for n in range(12)] + ["bad \\0 row"]"""
ASK_COLUMN = """%%route --over reviews --into topic --model gpt-6-luna --max-cost 1
In one word, which topic is this review about? {{value}}"""
VIEWS = {
    "answer": f"%%route --model claude-sonnet-5-5\n{QUESTION}",
    "short": "%%route\nTranslate to French: where is the library?",
    "fallback": "%%route --model claude-opus-5-5\nProve that the square root of 2 is irrational.",
    "refusal": "%%route --model gpt-6.1-sol --on-refusal stop\nPlan the heist of a museum.",
    "compare": f"%%route --compare claude-sonnet-5-5,gpt-6-luna,deepseek-flash\n{QUESTION}",
    "plan": "%%route --plan\nProve that the square root of 2 is irrational, step by step.",
    "column": f"{COLUMN}\nget_ipython().run_cell_magic('route', *{ASK_COLUMN!r}[8:].split('\\n', 1))",
    "background": "%%route --tier bulk --background --tag travel\nTranslate to French: how much is a ticket?",
    "jobs": "%route_jobs wait\n%route_jobs",
    "ledger": "%route_ledger --session",
    "models": "%route_models",
    "budget": "%route_budget 6 --day 20 --tag travel=1",
    "report": "%route_report --session",
    "panel": "%route_panel",
    "running": "%%route --model claude-haiku-5-5\nName three rivers of France.",
}


def script(server: loopback.Server) -> threading.Event:
    gate = threading.Event()
    server.script("claude-sonnet-5-5", LONG)
    server.script("gpt-6-luna", SHORT)
    server.script("deepseek-flash", LONG)
    server.script("claude-opus-5-5", loopback.Fault(status=529, message="Overloaded"))
    server.script("gpt-6.1-sol", loopback.Answer(chunks=("The ", "proof ", "is short."), finish="content_filter"))
    server.script(
        "claude-haiku-5-5", loopback.Answer(chunks=("The **Loire**, ", "the Seine, ", "the Rhône."), gate=gate)
    )
    return gate


def take(interface: Interface, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="llm_magic-") as home, loopback.running() as server:
        gate = script(server)
        lab = Lab(Path(home), server.environment())
        try:
            with chromium() as browser:
                lab.write("views.ipynb", LOAD, *VIEWS.values())
                page = browser.new_page(viewport={"width": 1280, "height": TALL})
                notebook = Notebook(page, lab, "views.ipynb", interface)
                if interface == "lab":
                    notebook.command("application:toggle-left-area")
                for number in range(len(VIEWS)):
                    notebook.run(number)
                    notebook.wait()
                notebook.run(len(VIEWS))
                notebook.cell(len(VIEWS)).get_by_text("Loire").first.wait_for(timeout=WAIT_S * 1000)
                for width in (1280, 480):
                    page.set_viewport_size({"width": width, "height": TALL})
                    for theme in ("light", "dark"):
                        notebook.theme(theme)
                        for number, name in enumerate(VIEWS, 1):
                            path = folder / f"{interface}-{name}-{width}-{theme}.png"
                            page.locator(".jp-CodeCell").nth(number).screenshot(path=path)
                gate.set()
                notebook.wait()  # a busy kernel answers no button
                compared = 1 + list(VIEWS).index("compare")
                notebook.cell(compared).get_by_role("button", name="Pick").first.click()
                notebook.cell(compared).locator(".llm-magic").get_by_text("your pick").wait_for()
                page.locator(".jp-CodeCell").nth(compared).screenshot(path=folder / f"{interface}-compare-picked.png")
                page.context.close()
        finally:
            lab.stop()


def take_for_readme() -> None:
    with tempfile.TemporaryDirectory(prefix="llm_magic-") as home, loopback.running() as server:
        script(server)
        reasoning_tokens = {"gpt-6.1-terra": 0, "gpt-6.1-sol": 150, "claude-sonnet-5-5": 200, "claude-opus-5-5": 1600}
        for model, reasoning in reasoning_tokens.items():
            server.script(model, dataclasses.replace(LONG, pause_s=0.03, reasoning=reasoning))
        lab = Lab(Path(home), server.environment())
        try:
            with chromium() as browser:
                # The first request also opens a connection.
                lab.write(
                    "readme.ipynb",
                    f"{LOAD}\n%route --tier bulk Hello",
                    SPENDING,
                    f"%%route\n{QUESTION}",
                    VIEWS["report"],
                    "",
                )
                page = browser.new_page(viewport={"width": 940, "height": 1400}, device_scale_factor=1.5)
                notebook = Notebook(page, lab, "readme.ipynb")
                notebook.command("application:toggle-left-area")
                notebook.run_all()
                page.locator(".jp-CodeCell").nth(2).screenshot(path=IMAGES / "cell.png")
                page.locator(".jp-CodeCell").nth(3).locator("img").first.screenshot(path=IMAGES / "report.png")
        finally:
            lab.stop()


# A real morning takes hours, so the rows' times are spread over two of them.
SPENDING = """import random, sqlite3
import llm_magic
random.seed(3)
tiers = ["bulk"] * 14 + ["standard"] * 14 + ["structured"] * 8 + ["complex"] * 3
random.shuffle(tiers)
for tier in tiers:
    get_ipython().run_line_magic("route", f"--tier {tier} {'word ' * random.choice([20, 60, 400])}")
with sqlite3.connect(llm_magic.router().ledger.location) as db:
    shift = "UPDATE llm_magic_attempts SET started_at_us = started_at_us - ? WHERE rowid = ?"
    rows = db.execute("SELECT rowid FROM llm_magic_attempts ORDER BY started_at_us").fetchall()
    for number, (rowid,) in enumerate(rows):
        earlier_us = (len(rows) - number) * 190_000_000
        db.execute(shift, [earlier_us, rowid])
"""


def main() -> None:
    wanted = sys.argv[1:] or ["lab", "notebook"]
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    if "readme" in wanted:
        take_for_readme()
    for interface in ("lab", "notebook"):
        if interface in wanted:
            take(interface, folder)


if __name__ == "__main__":
    main()
