"""The rules of the providers for the schemas of structured outputs, written from their documents, not from the package.

Each function returns the provider's complaint about a schema, or None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

# https://developers.openai.com/api/docs/guides/structured-outputs#supported-schemas; `default`, `oneOf`, `allOf` and
# `uniqueItems` "is not permitted": github.com/openai/openai-python issues 2743 and 3805, BerriAI/litellm and others.
OPENAI_KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"pattern", "format"},
    "number": {"multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "boolean": set[str](),
    "null": set[str](),
}
OPENAI_KEYWORDS["integer"] = OPENAI_KEYWORDS["number"]
OPENAI_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
OPENAI_ALWAYS = {"type", "title", "description", "enum", "const", "$defs"}
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations, and the messages of
# github.com/vercel/ai/pull/17268, elie222/inbox-zero issue 2323, agentjido/req_llm issue 302.
CLAUDE_KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems"},
    "string": {"pattern", "format"},
    "number": set[str](),
    "integer": set[str](),
    "boolean": set[str](),
    "null": set[str](),
}
CLAUDE_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
CLAUDE_ALWAYS = {"type", "title", "description", "enum", "const", "default", "$defs"}
LOOKAROUND = re.compile(r"\(\?<?[=!]|\\[1-9bB]")


class Complaint(Exception):
    pass


def openai_strict(schema: Schema) -> str | None:
    """Check a schema that is sent with `strict: true`."""
    try:
        if schema.get("type") != "object" or "anyOf" in schema:
            raise Complaint("schema must be a JSON Schema of 'type: \"object\"', got 'type: \"None\"'.")
        _Openai(schema).check(schema, ())
    except Complaint as complaint:
        return f"Invalid schema for response_format 'answer': {complaint}"
    return None


def openai_loose(schema: object) -> str | None:
    """Check a schema that is sent with `strict: false`: anything with an object at its root."""
    if not isinstance(schema, dict) or (schema.get("type") != "object" and "$ref" not in schema):
        return "Invalid schema for response_format 'answer': schema must be a JSON Schema of 'type: \"object\"'."
    return None


def claude(schema: Schema) -> str | None:
    try:
        checker = _Claude(schema)
        checker.check(schema, ())
        if checker.optional > 24:
            raise Complaint(f"Schemas contains too many optional parameters ({checker.optional}) (limit: 24).")
        if checker.unions > 16:
            raise Complaint(f"Schemas contains too many parameters with union types ({checker.unions}) (limit: 16).")
        if cycle := _cycle(schema):
            raise Complaint(f"Circular reference detected in schema definitions: {cycle}")
    except Complaint as complaint:
        return f"output_config.format.schema: {complaint}"
    return None


class _Openai:
    def __init__(self, root: Schema) -> None:
        self.root = root

    def check(self, schema: object, path: tuple[str, ...]) -> None:
        where = f"In context={path!r}"
        if not isinstance(schema, dict) or not schema:
            raise Complaint(f"{where}, schema must have a 'type' key.")
        if "$ref" in schema:
            if len(schema.keys() - {"$defs"}) > 1 and path:
                raise Complaint(f"{where}, $ref cannot have keywords {sorted(schema.keys() - {'$ref'})}.")
            _resolve(self.root, schema["$ref"])
        elif "anyOf" in schema:
            if extra := schema.keys() - {"anyOf", "title", "description", "$defs"}:
                raise Complaint(f"{where}, {min(extra)!r} is not permitted.")
            for number, option in enumerate(schema["anyOf"]):
                self.check(option, (*path, "anyOf", str(number)))
        else:
            self._typed(schema, path, where)
        for name, part in schema.get("$defs", {}).items():
            self.check(part, ("$defs", name))

    def _typed(self, schema: Schema, path: tuple[str, ...], where: str) -> None:
        if "type" not in schema:
            raise Complaint(f"{where}, schema must have a 'type' key.")
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        permitted = OPENAI_ALWAYS.union(*(OPENAI_KEYWORDS[kind] for kind in kinds))
        if extra := schema.keys() - permitted:
            raise Complaint(f"{where}, {min(extra)!r} is not permitted.")
        if schema.get("format", "date") not in OPENAI_FORMATS:
            raise Complaint(f"{where}, {schema['format']!r} is not a valid format.")
        if LOOKAROUND.search(schema.get("pattern", "")):
            raise Complaint(f"{where}, regex lookaround is not supported.")
        if "object" in kinds:
            if schema.get("additionalProperties", True) is not False:
                raise Complaint(f"{where}, 'additionalProperties' is required to be supplied and to be false.")
            properties: Schema = schema.get("properties", {})
            if set(schema.get("required", ())) != set(properties):
                raise Complaint(
                    f"{where}, 'required' is required to be supplied and to be an array including every key"
                )
            for name, part in properties.items():
                self.check(part, (*path, "properties", name))
        if "array" in kinds:
            if "items" not in schema:
                raise Complaint(f"{where}, array schema missing items.")
            self.check(schema["items"], (*path, "items"))


class _Claude:
    def __init__(self, root: Schema) -> None:
        self.root = root
        self.optional = self.unions = 0

    def check(self, schema: object, path: tuple[str, ...]) -> None:
        if not isinstance(schema, dict) or not schema:
            raise Complaint(f"{'.'.join(path)}: schema must have a 'type'")
        for name, part in schema.get("$defs", {}).items():
            self.check(part, ("$defs", name))
        if "$ref" in schema:
            _resolve(self.root, schema["$ref"])
        elif "anyOf" in schema:
            self.unions += 1
            if extra := schema.keys() - {"anyOf", "title", "description", "default", "$defs"}:
                raise Complaint(f"For 'anyOf', properties {', '.join(sorted(extra))} are not supported")
            for option in schema["anyOf"]:
                self.check(option, path)
        elif "enum" in schema or "const" in schema:
            values = schema.get("enum", [schema.get("const")])
            if schema.keys() & {"type"} and isinstance(schema["type"], list):
                raise Complaint("Enum value does not match declared type")
            if any(isinstance(value, dict | list) for value in values):
                raise Complaint("Enum values must be strings, numbers, booleans or null")
        else:
            self._typed(schema, path)

    def _typed(self, schema: Schema, path: tuple[str, ...]) -> None:
        kind = schema.get("type")
        if not isinstance(kind, str) or kind not in CLAUDE_KEYWORDS:
            raise Complaint(f"{'.'.join(path)}: type {kind!r} is not supported")
        if extra := schema.keys() - CLAUDE_KEYWORDS[kind] - CLAUDE_ALWAYS:
            raise Complaint(f"For {kind!r} type, properties {', '.join(sorted(extra))} are not supported")
        if schema.get("format", "date") not in CLAUDE_FORMATS:
            raise Complaint(f"For 'string' type, format {schema['format']!r} is not supported")
        if schema.get("minItems", 0) not in (0, 1):
            raise Complaint("For 'array' type, property 'minItems' may only be 0 or 1")
        if LOOKAROUND.search(schema.get("pattern", "")):
            raise Complaint("For 'string' type, property 'pattern' has an unsupported feature")
        if kind == "object":
            if schema.get("additionalProperties", True) is not False:
                raise Complaint("For 'object' type, 'additionalProperties' must be explicitly set to false")
            properties: Schema = schema.get("properties", {})
            self.optional += len(properties.keys() - set(schema.get("required", ())))
            for name, part in properties.items():
                self.check(part, (*path, name))
        if kind == "array":
            if "items" not in schema:
                raise Complaint("For 'array' type, 'items' is required")
            self.check(schema["items"], (*path, "items"))


def _resolve(root: Schema, ref: str) -> Schema:
    if ref == "#":
        return root
    name = ref.removeprefix("#/$defs/")
    if name == ref or name not in root.get("$defs", {}):
        raise Complaint(f"reference {ref!r} can't be resolved")
    return root["$defs"][name]


def _references(schema: Schema) -> Iterator[str]:
    if "$ref" in schema:
        yield schema["$ref"]
    for part in (*schema.get("properties", {}).values(), *schema.get("anyOf", ()), schema.get("items")):
        if isinstance(part, dict):
            yield from _references(part)


def _cycle(root: Schema) -> str | None:
    graph = {"#": set(_references(root))}
    graph |= {f"#/$defs/{name}": set(_references(part)) for name, part in root.get("$defs", {}).items()}
    for start in graph:
        seen, pending = set[str](), list(graph[start])
        while pending:
            if (ref := pending.pop()) not in seen:
                seen.add(ref)
                pending += graph.get(ref, ())
        if start in seen:
            return start
    return None
