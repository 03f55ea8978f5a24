"""The session's panel: its cost, its providers and its last runs."""

from llm_magic.jupyter.panel.panel import Panel
from llm_magic.jupyter.panel.text import bundle

__all__ = ["Panel", "bundle"]
