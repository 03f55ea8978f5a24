"""Secrets that tests plant, and a search for them in everything that can be reached from an error."""

from __future__ import annotations

import gc
import types
from collections.abc import Mapping
from types import MappingProxyType

from llm_magic import Router

KEY = "sk-planted-key-0123456789"
PASSWORD = "hunter2secret"


def contains_secret(root: object, ignored: Mapping[str, str] = MappingProxyType({})) -> str:
    """Walk everything that an error tool can reach from an error; return the path to a secret, or an empty text."""
    seen: set[int] = {id(ignored)}
    queue: list[tuple[object, str, int]] = [(root, "error", 0)]
    while queue:
        value, path, depth = queue.pop()
        if id(value) in seen or isinstance(value, (types.ModuleType, type, types.FunctionType)):
            continue
        seen.add(id(value))
        if isinstance(value, (str, bytes)):
            text = value if isinstance(value, str) else value.decode("latin-1")
            if KEY in text or PASSWORD in text:
                return path
            continue
        if isinstance(value, BaseException):
            for name in ("__context__", "__cause__", "__dict__", "args", "exceptions"):
                queue.append((getattr(value, name, None), f"{path}.{name}", depth))
            traceback = value.__traceback__
            while traceback is not None:
                if (
                    "llm_magic" in traceback.tb_frame.f_code.co_filename
                    and "/tests/" not in traceback.tb_frame.f_code.co_filename
                ):
                    for name, local in traceback.tb_frame.f_locals.items():
                        queue.append((local, f"{path} {traceback.tb_frame.f_code.co_qualname}.{name}", depth))
                traceback = traceback.tb_next
        elif depth < 3 and not isinstance(value, Router):
            for part in gc.get_referents(value):
                queue.append((part, f"{path}>{type(part).__name__}", depth + 1))
    return ""
