"""Run the quickstart notebook in a real kernel, then print the ledger.

Writes build/quickstart.ipynb and build/quickstart.html. API keys are hidden from the kernel unless --keys is given: the
demo then runs on the embedded model and costs nothing.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert.exporters import HTMLExporter
from traitlets import default

from llm_magic import Ledger

ROOT = Path(__file__).resolve().parent.parent
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "DEEPSEEK_API_KEY")
LEDGER_COLUMNS = ["tier", "model", "outcome", "input_tokens", "output_tokens", "cost_usd", "baseline_usd", "latency_s"]


class Progress:
    """Print one line per cell: its number and first line when it starts, and its duration when it ends."""

    def __init__(self, notebook):
        code = (index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code")
        self.numbers = {index: number for number, index in enumerate(code, 1)}
        self.started = 0.0

    def start(self, cell, cell_index):
        if cell_index in self.numbers and cell.source.strip():
            self.started = time.monotonic()
            number, first = f"[{self.numbers[cell_index]}/{len(self.numbers)}]", cell.source.strip().splitlines()[0]
            print(f"{number:>8} {first[:80]:<80}", end=" ", flush=True)

    def end(self, cell, cell_index, execute_reply):
        status = "ok" if execute_reply["content"]["status"] == "ok" else "FAILED"
        print(f"{status} {time.monotonic() - self.started:6.1f} s", flush=True)


class ThisPythonKernel(AsyncKernelManager):
    """A kernel on this interpreter. Without kernel folders, `python3` always means `sys.executable`."""

    @default("kernel_spec_manager")
    def _without_kernel_folders(self):
        return KernelSpecManager(kernel_dirs=[])


def run(source: Path, build: Path, *, timeout: float) -> str | None:
    """Execute `source`, write the result to `build` even if a cell fails, and return the error's text or None."""
    notebook = nbformat.read(source, as_version=4)
    progress = Progress(notebook)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        kernel_manager_class=ThisPythonKernel,
        extra_arguments=["--log-level=ERROR"],  # hide warnings about transports
        timeout=timeout,
        startup_timeout=120,
        resources={"metadata": {"path": str(source.parent)}},
        on_cell_start=progress.start,
        on_cell_executed=progress.end,
    )
    try:
        client.execute()
    except CellExecutionError as exc:
        return str(exc)
    except CellTimeoutError as exc:
        return f"\n{exc}\nThe limit is {timeout:.0f} s per cell; change it with --timeout."
    except DeadKernelError as exc:
        return f"\nThe kernel died: {exc}"
    finally:
        build.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, build / "quickstart.ipynb")
        (build / "quickstart.html").write_text(HTMLExporter().from_notebook_node(notebook)[0], encoding="utf-8")
    return None


def print_ledger(path: Path) -> None:
    frame = Ledger(str(path)).to_frame()
    print(f"\nThe ledger: {len(frame)} attempts, ${frame['cost_usd'].sum():.6f} spent")
    with pd.option_context("display.width", 160, "display.max_columns", None, "display.max_rows", 50):
        print(frame[LEDGER_COLUMNS].to_string(index=False))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", nargs="?", type=Path, default=ROOT / "notebooks" / "quickstart.ipynb")
    parser.add_argument("--keys", action="store_true", help="let the kernel use your API keys, which costs money")
    parser.add_argument("--timeout", type=float, default=900, help="seconds per cell (default: %(default)s)")
    options = parser.parse_args()

    build = ROOT / "build"
    ledger = build / "demo-ledger.db"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{ledger}{suffix}").unlink(missing_ok=True)
    build.mkdir(exist_ok=True)
    os.environ["LLM_MAGIC_LEDGER"] = str(ledger)
    os.environ["IPYTHONDIR"] = str(build / "ipython")  # without the user's startup files and history
    if not options.keys:
        hidden = [key for key in KEYS if os.environ.pop(key, None)]
        if hidden:
            print(f"{', '.join(hidden)} hidden from the demo, so it costs nothing (ARGS=--keys uses them)")

    print(f"Running {options.notebook} (on first use, the weights of the embedded model are downloaded)", flush=True)
    started = time.monotonic()
    error = run(options.notebook, build, timeout=options.timeout)
    if error:
        print(f"\n{error}", file=sys.stderr)
        print(f"\nThe demo failed; the cells that ran are in {build / 'quickstart.html'}", file=sys.stderr)
        return 1
    print_ledger(ledger)
    print(f"\n{time.monotonic() - started:.0f} s. Open {build / 'quickstart.html'} or the .ipynb.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
