"""Schemas for the strict mode of OpenAI's structured outputs.

Its keywords and limits: https://developers.openai.com/api/docs/guides/structured-outputs#supported-schemas
"""

from __future__ import annotations

import json
import re
from typing import Any

from llm_magic.answers.portable import Json, NotPortable, all_parts, definition, portable, subschemas

_SUPPORTED = {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
    "title", "description",
}  # fmt: skip
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
_UNSUPPORTED_PATTERN = re.compile(r"\(\?(?!:)|\\[\dbBkpPAZzG]")
_NOT_DESCRIBED = {
    "$ref", "$defs", "additionalProperties", "anyOf", "const", "discriminator", "enum", "items",
    "properties", "required", "type", "deprecated", "readOnly", "writeOnly",
}  # fmt: skip
_MAX_DEPTH, _MAX_PROPERTIES, _MAX_ENUM_VALUES = 10, 5_000, 1_000
_MAX_PARTS = 20_000
_MAX_NAME_CHARS, _MAX_LARGE_ENUM, _MAX_LARGE_ENUM_CHARS = 120_000, 250, 15_000


def strict_schema(json_schema: Json) -> Json:
    """Rewrite the JSON Schema of an object for strict mode. Raises NotPortable.

    Constraints that it does not support become part of the descriptions. A property that may be missing becomes
    required if it has a default or may be null.
    """
    source = portable(json_schema)
    rewriter = _Rewriter(source)
    root = rewriter.rewrite(source, ("#",))
    if "$ref" in root:
        root = rewriter.rewrite(definition(source, root["$ref"]), ("#",))
    if root.get("type") != "object":
        raise NotPortable("a root that is not an object")
    definitions = {name: rewriter.rewrite(part, ()) for name, part in source.get("$defs", {}).items()}
    schema = root | {"$defs": definitions} if definitions else root
    _check_limits(schema)
    return schema


class _Rewriter:
    def __init__(self, root: Json) -> None:
        self._root = root
        self._parts = 0

    def rewrite(self, schema: Json, inside: tuple[str, ...]) -> Json:
        """Rewrite a part of the schema. `inside`: the references that it was copied from."""
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise NotPortable("a schema above the limits of strict mode")
        if "$ref" in schema:
            siblings = {key: part for key, part in schema.items() if key not in ("$ref", "$defs")}
            if not siblings or schema["$ref"] in inside:
                return {"$ref": schema["$ref"]}
            target = definition(self._root, schema["$ref"])
            return self.rewrite({**target, **siblings}, (*inside, schema["$ref"]))
        strict: Json = {key: part for key, part in schema.items() if key in _SUPPORTED}
        if "anyOf" in schema:
            strict["anyOf"] = [self.rewrite(part, inside) for part in schema["anyOf"]]
        elif "enum" in schema or "const" in schema:
            strict |= _literals(schema)
        else:
            strict["type"] = schema["type"]
        if "items" in schema:
            strict["items"] = self.rewrite(schema["items"], inside)
        if "properties" in schema:
            strict |= self._properties(schema, inside)
        strict |= _string_keywords(schema)
        return _described(strict, schema)

    def _properties(self, schema: Json, inside: tuple[str, ...]) -> Json:
        for name in schema["properties"].keys() - set(schema.get("required", ())):
            part = schema["properties"][name]
            if "default" not in part and not self._accepts_null(part):
                raise NotPortable("a property that may be missing")
        properties = {name: self.rewrite(part, inside) for name, part in schema["properties"].items()}
        return {"properties": properties, "required": list(properties), "additionalProperties": False}

    def _accepts_null(self, part: Json, inside: tuple[str, ...] = ()) -> bool:
        if "$ref" in part:
            ref = part["$ref"]
            return ref not in inside and self._accepts_null(definition(self._root, ref), (*inside, ref))
        if "anyOf" in part:
            return any(self._accepts_null(option, inside) for option in part["anyOf"])
        return part.get("type") == "null" or None in part.get("enum", ()) or part.get("const", ...) is None


def _literals(schema: Json) -> Json:
    values: list[Any] = schema.get("enum", [schema.get("const")])
    kinds = list(dict.fromkeys(map(_kind, values)))
    literals = {key: schema[key] for key in ("enum", "const") if key in schema}
    return {"type": kinds[0] if len(kinds) == 1 else kinds, **literals}


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "number"
        case _:
            raise NotPortable("a list of values that are objects or arrays")


def _string_keywords(schema: Json) -> Json:
    keywords: Json = {}
    if schema.get("format") in _FORMATS:
        keywords["format"] = schema["format"]
    if "pattern" in schema and not _UNSUPPORTED_PATTERN.search(schema["pattern"]):
        keywords["pattern"] = schema["pattern"]
    return keywords


def _described(strict: Json, schema: Json) -> Json:
    missing = {
        key: value
        for key, value in schema.items()
        if key not in strict and key not in _NOT_DESCRIBED and not (key == "default" and value is None)
    }
    if missing:
        constraints = json.dumps(missing, ensure_ascii=False, default=str)
        strict["description"] = f"{strict['description']}\n\n{constraints}" if "description" in strict else constraints
    return strict


def _check_limits(schema: Json) -> None:
    parts = list(all_parts(schema))
    names = [name for part in parts for name in (*part.get("properties", {}), *part.get("$defs", {}))]
    enums = [part["enum"] for part in parts if "enum" in part]
    texts = [str(value) for enum in enums for value in enum] + [str(part["const"]) for part in parts if "const" in part]
    if (
        sum(len(part.get("properties", ())) for part in parts) > _MAX_PROPERTIES
        or sum(map(len, enums)) > _MAX_ENUM_VALUES
        or sum(map(len, (*names, *texts))) > _MAX_NAME_CHARS
        or any(len(enum) > _MAX_LARGE_ENUM and sum(len(str(v)) for v in enum) > _MAX_LARGE_ENUM_CHARS for enum in enums)
        or _depth(schema, schema, {}) > _MAX_DEPTH
    ):
        raise NotPortable("a schema above the limits of strict mode")


def _depth(part: Json, root: Json, depths: dict[str, int]) -> int:
    if "$ref" in part:
        ref = part["$ref"]
        if ref not in depths:
            depths[ref] = 1
            depths[ref] = _depth(definition(root, ref), root, depths)
        return depths[ref]
    inner = max((_depth(subschema, root, depths) for subschema in subschemas(part)), default=0)
    return inner + (part.get("type") in ("object", "array"))
