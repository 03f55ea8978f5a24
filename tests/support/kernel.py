"""Real kernels of this interpreter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager, KernelManager
from traitlets import HasTraits, default

from tests.support import loopback

WAIT_S = 60


class ThisPython(HasTraits):
    """Without kernel folders `python3` is this interpreter, whatever kernels the machine has."""

    @default("kernel_spec_manager")
    def _without_folders(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


class OneKernel(ThisPython, KernelManager):
    pass


class NotebookKernel(ThisPython, AsyncKernelManager):
    pass


class Kernel:
    """A kernel, and what its cells put out."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WAIT_S)

    def send(self, code: str) -> str:
        return self.client.execute(code, store_history=False, stop_on_error=False)

    def messages(self, of: str) -> Iterator[dict[str, Any]]:
        """What a cell puts out as it comes, until the kernel is idle again."""
        while True:
            message = self.client.get_iopub_msg(timeout=WAIT_S)
            if message["parent_header"].get("msg_id") != of:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
            yield message

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell that must work."""
        found = list(self.messages(self.send(code)))
        errors = [message["content"] for message in found if message["msg_type"] == "error"]
        assert not errors, "\n".join(errors[0]["traceback"])
        return found

    def value(self, expression: str) -> str:
        """The repr of an expression."""
        (result,) = [message for message in self.run(expression) if message["msg_type"] == "execute_result"]
        return result["content"]["data"]["text/plain"]


@contextmanager
def started(server: loopback.Server, home: Path) -> Iterator[Kernel]:
    """Start a kernel with the extension loaded, whose providers are `server`."""
    manager = OneKernel(kernel_name="python3")
    manager.start_kernel(
        env={
            **os.environ, **server.environment(), "LLM_MAGIC_HOME": str(home), "LLM_MAGIC_PROFILE": "article",
            "LLM_MAGIC_LEDGER": ":memory:", "LLM_MAGIC_LOCAL": "0", "IPYTHONDIR": str(home / "ipython"),
        }
    )  # fmt: skip
    kernel = None
    try:
        kernel = Kernel(manager)
        kernel.run("%load_ext llm_magic\nimport llm_magic")
        yield kernel
    finally:
        if kernel is not None:
            kernel.client.stop_channels()
        manager.shutdown_kernel(now=True)
        if kernel is not None:
            kernel.client.context.destroy()
