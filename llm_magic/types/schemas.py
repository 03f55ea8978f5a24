from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A JSON Schema, and a function that builds an instance of the Python class it was made from out of JSON text."""

    json_schema: Mapping[str, Any]
    build: Callable[[str], Any] | None = field(default=None, repr=False, compare=False)

    @property
    def text(self) -> str:
        return json.dumps(self.json_schema, ensure_ascii=False)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def has_only_short_values(self, max_chars: int) -> bool:
        """True if each text is from a list, of a stated format or pattern, or at most `max_chars` long.

        False for a schema with keywords other than the common ones.
        """
        return _has_only_short_values(self.json_schema, max_chars)


def _has_only_short_values(value: Any, max_chars: int) -> bool:
    if not isinstance(value, Mapping):
        return False
    schema = cast("Mapping[str, Any]", value)
    if schema.keys() & {"enum", "const"}:
        return True
    match schema.get("type"):
        case "string":
            longest = schema.get("maxLength")
            stated = bool(schema.keys() & {"format", "pattern"})
            return stated or (isinstance(longest, int) and longest <= max_chars)
        case "object":
            properties = schema.get("properties")
            if not isinstance(properties, Mapping):
                return False
            values = cast("Mapping[str, Any]", properties).values()
            return all(_has_only_short_values(item, max_chars) for item in values)
        case "array":
            return _has_only_short_values(schema.get("items"), max_chars)
        case kind:
            return kind in ("number", "integer", "boolean")
