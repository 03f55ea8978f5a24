"""The session's panel: its cost, its providers and its last runs."""

from llm_magic.jupyter.panel.output import bundle
from llm_magic.jupyter.panel.panel import Panel

__all__ = ["Panel", "bundle"]
