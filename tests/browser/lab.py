"""JupyterLab and Notebook 7 in a headless Chromium: open a notebook, run it from the menu, read it, press buttons, save it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import nbformat
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

ROOT = Path(__file__).parent.parent.parent
WAIT_S = 60.0
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_SETTINGS = {
    # Cells that are scrolled off keep their outputs in the page.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
Interface = Literal["lab", "notebook"]
_CURRENT = "window.jupyterapp.shell.currentWidget"
_PENDING = """() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
    .filter(prompt => prompt.textContent.includes('*')).length"""


class Lab:
    """A JupyterLab server with its own home. Its kernels have `environment` and can import the test modules."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home, self.files = home, home / "files"
        runtime = home / "runtime"
        settings = home / "settings" / "@jupyterlab"
        self.files.mkdir(parents=True)
        for name, values in _SETTINGS.items():
            file = settings / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        places = {
            "JUPYTER_CONFIG_DIR": home / "config",
            "JUPYTER_DATA_DIR": home / "data",
            "JUPYTER_RUNTIME_DIR": runtime,
            "JUPYTERLAB_SETTINGS_DIR": home / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
            "IPYTHONDIR": home / "ipython",
            "LLM_MAGIC_HOME": home / "llm_magic",
            "PYTHONPATH": ROOT,
        }
        self.log = home / "lab.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0", "--ip=127.0.0.1",
                    "--IdentityProvider.token=", f"--ServerApp.root_dir={self.files}",
                    "--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True",
                ],
                env={
                    **os.environ, **{name: str(place) for name, place in places.items()},
                    "JUPYTER_PREFER_ENV_PATH": "1", "LLM_MAGIC_LOCAL": "0", **environment,
                },
                stdout=log, stderr=log, cwd=home,
            )  # fmt: skip
        self.url = self._address(runtime)

    def _address(self, runtime: Path) -> str:
        for _ in range(int(WAIT_S / 0.1)):
            for file in runtime.glob("jpserver-*.json"):
                if text := file.read_text():
                    return str(json.loads(text)["url"])
            assert self._process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(f"JupyterLab did not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def write(self, name: str, *cells: str) -> Path:
        """Write a notebook of code cells."""
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=nbformat.from_dict(kernel)
        )
        path = self.files / name
        nbformat.write(notebook, path)
        return path


class Watch:
    """Records what a page must not do: open dialogs, send requests to other hosts, set globals."""

    def __init__(self, page: Page, home: str) -> None:
        self.dialogs: list[str] = []
        self.requests: list[str] = []
        self._page = page
        page.on("dialog", self._dialog)
        page.context.on("request", lambda request: self._request(request.url, home))
        page.context.route(lambda url: not _own(url, home), lambda route: route.abort())

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _request(self, url: str, home: str) -> None:
        if not _own(url, home) or "evil" in url:
            self.requests.append(url)

    def globals(self) -> list[str]:
        """Return the globals that payloads set, in any frame."""
        names = "Object.keys(window).filter(name => name.startsWith('pwned'))"
        return [name for frame in self._page.frames for name in frame.evaluate(names)]

    def seen(self) -> dict[str, list[str]]:
        return {"dialogs": self.dialogs, "requests": self.requests, "globals": self.globals()}


def _own(url: str, home: str) -> bool:
    return url.startswith((home, home.replace("http", "ws", 1), "data:", "blob:", "about:"))


class Notebook:
    """A notebook that is open in a page of JupyterLab or of Notebook 7, which the same server has."""

    def __init__(self, page: Page, lab: Lab, name: str, interface: Interface = "lab") -> None:
        self.page, self.lab, self.name, self.interface = page, lab, name, interface
        self.watch = Watch(page, lab.url)
        self.open()

    def open(self, *, kernel: bool = True) -> None:
        """Open or reopen the notebook, and wait until its kernel is ready."""
        path = f"lab/tree/{self.name}?reset" if self.interface == "lab" else f"notebooks/{self.name}"
        self.page.goto(f"{self.lab.url}{path}")
        self.page.wait_for_function(f"window.jupyterapp && {_CURRENT}?.context?.isReady", timeout=WAIT_S * 1000)
        if kernel:
            self.wait_for_kernel()
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for()

    def wait_for_kernel(self) -> None:
        self.page.wait_for_function(
            f"{_CURRENT}.sessionContext.isReady && {_CURRENT}.sessionContext.session?.kernel"
            f"?.connectionStatus === 'connected' && {_CURRENT}.sessionContext.session.kernel.status === 'idle'",
            timeout=WAIT_S * 1000,
        )

    def run_all(self, *, wait: bool = True) -> None:
        """Run > Run All Cells."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).click()
        if wait:
            self.wait()

    def run_in_turn(self) -> None:
        """Run one code cell after the other.

        Run All with hundreds of runs makes a kernel send faster than a busy server reads. The page would then wait for
        messages that ZeroMQ has dropped.
        """
        for number in range(self.page.locator(".jp-CodeCell").count()):
            self.run(number)
            self.wait()

    def wait(self) -> None:
        """Wait until every cell has run, or one has failed."""
        self.page.wait_for_function(
            f"() => ({_PENDING})() === 0 && {_CURRENT}.sessionContext.session.kernel.status === 'idle'",
            timeout=4 * WAIT_S * 1000,
            polling=250,  # polling at every frame would leave a long page no time to draw
        )

    @staticmethod
    def wait_for_count(locator: Locator, number: int) -> None:
        expect(locator).to_have_count(number)

    def pending(self) -> int:
        """Count the cells that run or are queued. The kernel's status does not tell: widget messages change it."""
        return int(self.page.evaluate(_PENDING))

    def command(self, name: str, **args: Any) -> None:
        self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, args])

    def run(self, number: int) -> None:
        """Start one code cell, without waiting for it."""
        self.page.locator(".jp-CodeCell").nth(number).locator(".jp-InputArea").click()
        # The command's promise resolves when the cell has ended.
        self.page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:run-cell') }")

    def value(self, expression: str) -> str:
        """Return the repr of an expression in the kernel."""
        code = """async expression => {
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            const late = new Promise((_, reject) => setTimeout(() => reject(Error('no reply: ' + expression)), 30000));
            const reply = await Promise.race([late, kernel.requestExecute(
                {code: 'pass', store_history: false, user_expressions: {value: expression}}).done]);
            return reply.content.user_expressions.value}"""
        reply = self.page.evaluate(code, expression)
        assert reply["status"] == "ok", reply
        return str(reply["data"]["text/plain"])

    def pasted(self) -> str:
        """Paste the clipboard and return its text. Reading it by script would wait for a permission forever."""
        self.page.evaluate(
            "() => {const area = document.createElement('textarea'); area.id = 'pasted';"
            "document.body.append(area); area.focus()}"
        )
        self.page.keyboard.press("Control+V")
        self.page.wait_for_function("document.querySelector('#pasted').value")
        return str(
            self.page.evaluate("() => {const a = document.querySelector('#pasted'); a.remove(); return a.value}")
        )

    def accessible(self, within: str) -> None:
        """Check with axe, contrast included, for wide and narrow pages and both themes."""
        from axe_playwright_python.sync_playwright import Axe

        for width, theme in itertools.product((1280, 480), ("light", "dark")):
            self.page.set_viewport_size({"width": width, "height": 1000})
            self.theme(theme)
            report = Axe().run(self.page, context=within, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
            wrong = [
                (width, theme, violation["id"], node["html"][:200], node["failureSummary"][:300])
                for violation in report.response["violations"]
                for node in violation["nodes"]
            ]
            assert not wrong, repr(wrong)
        self.page.set_viewport_size({"width": 1280, "height": 1000})
        self.theme("light")

    def cell(self, number: int) -> Locator:
        """Return the outputs of a code cell, counted from 0."""
        return self.page.locator(".jp-CodeCell").nth(number).locator(".jp-OutputArea").first

    def errors(self) -> list[str]:
        """Return the texts of the error outputs."""
        return self.page.locator(
            ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']"
        ).all_inner_texts()

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook and read the file."""
        self.command("docmanager:save")
        self.page.wait_for_function(f"!{_CURRENT}.context.model.dirty", timeout=WAIT_S * 1000)
        return nbformat.read(self.lab.files / self.name, as_version=4)

    def theme(self, name: str) -> None:
        """`light` or `dark`."""
        self.command("apputils:change-theme", theme=f"JupyterLab {name.title()}")
        dark = "false" if name == "dark" else "true"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{dark}']", state="attached")
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")


@contextmanager
def chromium() -> Iterator[Browser]:
    assert CHROMIUM, "no Chromium on the PATH: run `make test-browser`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()
