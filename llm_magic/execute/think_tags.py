"""Reasoning that a model writes into its text: `<think>...</think>` at the start of an answer."""

from __future__ import annotations

_FINAL = "<|channel|>final<|message|>"
_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",  # Kimi
    "<seed:think>": "</seed:think>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    # The channels of gpt-oss, from a server that does not parse them.
    "<|channel|>analysis<|message|>": _FINAL,
    "<|channel|>commentary<|message|>": _FINAL,
    "<|start|>assistant<|channel|>analysis<|message|>": _FINAL,
    _FINAL: "",
}


class ThinkTags:
    """Splits the text of one attempt into reasoning and answer.

    Only tags before the first other character of the answer count: later ones, and those in code, are text. Without an
    end tag, everything is reasoning.
    """

    def __init__(self) -> None:
        self.in_answer = False
        self._held: str = ""
        self._end_tag: str = ""
        self._after_reasoning = False

    def split(self, text: str) -> tuple[str, str]:
        """Return the reasoning and the answer in the next piece of text. Parts of a tag are held back."""
        if self.in_answer:
            return "", text
        reasoning: list[str] = []
        self._held += text
        while True:
            if self._end_tag:
                start = self._held.lower().find(self._end_tag)
                if start < 0:
                    kept = self._possible_tag_chars()
                    reasoning.append(self._held[: len(self._held) - kept])
                    self._held = self._held[len(self._held) - kept :]
                    return "".join(reasoning), ""
                reasoning.append(self._held[:start])
                self._held = self._held[start + len(self._end_tag) :]
                self._end_tag, self._after_reasoning = "", True
            start_text = self._held.lstrip("\ufeff \t\r\n")
            lowered = start_text[: max(map(len, _TAGS))].lower()
            tag = next((tag for tag in _TAGS if lowered.startswith(tag)), None)
            if tag is None:
                if any(tag.startswith(lowered) for tag in _TAGS):
                    return "".join(reasoning), ""
                self.in_answer = True
                answer, self._held = (start_text if self._after_reasoning else self._held), ""
                return "".join(reasoning), answer
            self._held, self._end_tag = start_text[len(tag) :], _TAGS[tag]

    def end(self) -> tuple[str, str]:
        held, self._held = self._held, ""
        if self._end_tag:
            return held, ""
        return "", held.lstrip() if self._after_reasoning else held

    def _possible_tag_chars(self) -> int:
        lowered = self._held[-len(self._end_tag) :].lower()
        sizes = range(min(len(lowered), len(self._end_tag) - 1), 0, -1)
        return next((size for size in sizes if self._end_tag.startswith(lowered[-size:])), 0)
