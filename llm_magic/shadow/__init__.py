"""Shadow runs: a share of answers is compared, in the background, with the answer of another model."""

from llm_magic.shadow.runs import Shadows

__all__ = ["Shadows"]
