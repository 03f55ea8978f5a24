"""JSON Schemas in the few keywords that the structured outputs of the providers have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote

Json = dict[str, Any]

# The only property of the object around an answer that is not an object.
WRAPPER_KEY = "value"

_NOT_PORTABLE = {
    "$dynamicRef", "$recursiveRef", "dependencies", "dependentSchemas", "else", "if", "patternProperties",
    "then", "unevaluatedItems",
}  # fmt: skip
_DEFINITIONS = ("$defs", "definitions")
_DROPPED = {
    *_DEFINITIONS, "$anchor", "$comment", "$dynamicAnchor", "$id", "$recursiveAnchor", "$schema", "$vocabulary",
    "nullable",
}  # fmt: skip
_KEYWORDS = {
    "object": ("properties", "required", "additionalProperties", "unevaluatedProperties", "minProperties"),
    "array": ("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"),
    "string": ("pattern", "format", "minLength", "maxLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_KEYWORDS["integer"] = _KEYWORDS["number"]
_MAX_REFS = 20
_ENCODED = re.compile(r"[^A-Za-z0-9_.-]+")


class NotPortable(Exception):
    """The schema has a part that structured outputs can't express, such as an object whose keys are data."""


def portable(json_schema: Mapping[str, Any]) -> Json:
    """Rewrite a JSON Schema with `type`, `properties`, `items`, `anyOf`, `enum`, `const`, `$ref` and constraints alone.

    Objects are closed. Raises NotPortable.
    """
    rewriter = _Rewriter(json_schema)
    schema = rewriter.rewrite(json_schema)
    definitions: Json = {}
    while pending := [ref for ref, name in rewriter.names.items() if name not in definitions]:
        for ref in pending:
            definitions[rewriter.names[ref]] = rewriter.rewrite(resolved(json_schema, ref))
    return schema | {"$defs": definitions} if definitions else schema


def subschemas(schema: Json) -> Iterator[Json]:
    yield from schema.get("properties", {}).values()
    yield from schema.get("anyOf", ())
    if "items" in schema:
        yield schema["items"]


def all_parts(schema: Json) -> Iterator[Json]:
    yield schema
    for part in (*subschemas(schema), *schema.get("$defs", {}).values()):
        yield from all_parts(part)


def definition(schema: Json, ref: str) -> Json:
    return schema if ref == "#" else schema["$defs"][ref.removeprefix("#/$defs/")]


def is_recursive(schema: Json) -> bool:
    """True if a portable schema, or one of its definitions, refers to itself."""
    pending, closed = ["#"], set[str]()
    path: list[str] = []
    while pending:
        ref = pending.pop()
        if ref == "":  # the end of a definition
            closed.add(path.pop())
        elif ref in path:
            return True
        elif ref not in closed:
            path.append(ref)
            pending += ["", *_references(definition(schema, ref))]
    return False


def _references(part: Json) -> list[str]:
    if "$ref" in part:
        return [part["$ref"]]
    return [ref for inner in subschemas(part) for ref in _references(inner)]


def is_object(json_schema: Mapping[str, Any]) -> bool:
    """True if every answer that fits is a JSON object."""
    schema = as_mapping(json_schema)
    for _ in range(_MAX_REFS):
        if "$ref" not in schema:
            return schema.get("type") == "object"
        schema = as_mapping(resolved(json_schema, schema["$ref"]))
    return False


def resolved(root: object, ref: object) -> object:
    """Return the part of a JSON Schema that a local reference points to, or None."""
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        return None
    part = root
    for step in ref.split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(part, list):
            part = dict(enumerate(cast("list[object]", part))).get(int(key) if key.isdecimal() else -1)
        else:
            part = as_mapping(part).get(key)
    return part


def as_mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def wrapped(json_schema: Mapping[str, Any]) -> Json:
    """Return the schema of an object whose only property is the answer. Local references stay valid."""
    inner = {key: value for key, value in json_schema.items() if key not in (*_DEFINITIONS, "$schema")}
    wrapper: Json = {"type": "object", "properties": {WRAPPER_KEY: inner}, "required": [WRAPPER_KEY]}
    definitions = {key: json_schema[key] for key in _DEFINITIONS if key in json_schema}
    return cast("Json", _rebased({**wrapper, "additionalProperties": False, **definitions}))


def _rebased(value: object) -> object:
    if isinstance(value, list):
        return [_rebased(item) for item in cast("list[object]", value)]
    if not isinstance(value, Mapping):
        return value
    schema = {key: _rebased(item) for key, item in cast("Mapping[str, object]", value).items()}
    ref = schema.get("$ref")
    if (
        isinstance(ref, str)
        and (ref == "#" or ref.startswith("#/"))
        and ref.split("/")[1:2] not in (["$defs"], ["definitions"])
    ):
        schema["$ref"] = f"#/properties/{WRAPPER_KEY}{ref[1:]}"
    return schema


class _Rewriter:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self.names: dict[str, str] = {}  # of the definitions, by the references to them in the original

    def rewrite(self, value: object) -> Json:
        original = dict(as_mapping(value))
        if not original:
            raise NotPortable("a part that accepts everything or nothing")
        if (value is not self._root and "$id" in original) or _NOT_PORTABLE & original.keys():
            raise NotPortable("keywords without a counterpart in structured outputs")
        schema = self._without_all_of(original)
        schema = {key: part for key, part in schema.items() if key not in _DROPPED}
        if "$ref" in schema:
            return self._reference(schema)
        unions = schema.keys() & {"anyOf", "oneOf"}
        if unions:
            return self._union(schema, unions)
        if schema.keys() & {"enum", "const"}:
            return schema
        kinds = _types(schema)
        if len(kinds) > 1:
            return {
                "anyOf": [self.rewrite(_of_type(schema, kind)) for kind in kinds],
                **{key: part for key, part in schema.items() if key in ("title", "description", "default")},
            }
        schema["type"] = kinds[0]
        if schema["type"] == "object":
            return self._object(schema)
        return self._array(schema) if schema["type"] == "array" else schema

    def _reference(self, schema: Json) -> Json:
        ref = schema["$ref"]
        if not isinstance(resolved(self._root, ref), Mapping):
            raise NotPortable("a reference to a part outside of the schema")
        if schema.keys() & {"properties", "items", "anyOf", "oneOf", "enum", "const"}:
            raise NotPortable("a reference with more than constraints next to it")
        return schema | {"$ref": "#" if ref == "#" else f"#/$defs/{self._name(ref)}"}

    def _name(self, ref: str) -> str:
        if ref not in self.names:
            name = last = _ENCODED.sub("_", ref.split("/")[-1])
            while name in self.names.values():
                name = f"{last}_{len(self.names)}"
            self.names[ref] = name
        return self.names[ref]

    def _without_all_of(self, schema: Json, depth: int = 0) -> Json:
        if "allOf" not in schema:
            return dict(schema)
        elements = [as_mapping(part) for part in schema["allOf"]]
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        if len(elements) == 1 and "$ref" in elements[0]:
            return {**elements[0], **merged}
        for element in elements:
            part = as_mapping(resolved(self._root, element["$ref"]) if "$ref" in element else element)
            if not part or element.keys() > {"$ref"} or depth > _MAX_REFS:
                raise NotPortable("`allOf` with a part that can't be merged")
            _merge(merged, self._without_all_of(dict(part), depth + 1))
        return merged

    def _union(self, schema: Json, unions: set[str]) -> Json:
        if len(unions) > 1 or schema.keys() & {"properties", "items", "prefixItems", "enum", "const"}:
            raise NotPortable("a union with more than constraints next to it")
        options = schema.pop(unions.pop())
        kind = schema.pop("type", None)
        if not options:
            raise NotPortable("a union of nothing")
        parts = [option if kind is None or _states_type(option) else {"type": kind, **option} for option in options]
        return {"anyOf": [self.rewrite(part) for part in parts], **schema}

    def _object(self, schema: Json) -> Json:
        others = schema.get("additionalProperties", schema.pop("unevaluatedProperties", None))
        if others not in (None, False) or (others is None and "properties" not in schema):
            raise NotPortable("an object whose keys are data")
        properties: Json = schema.get("properties", {})
        if not properties.keys() >= set(schema.get("required", ())):
            raise NotPortable("a required property without a schema")
        rewritten = {name: self.rewrite(part) for name, part in properties.items()}
        return schema | {"properties": rewritten, "additionalProperties": False}

    def _array(self, schema: Json) -> Json:
        items = schema.get("items")
        if isinstance(items, list):  # before 2020-12, a list is what `prefixItems` is now
            schema = schema | {"prefixItems": items}
            items = schema.pop("additionalItems", None)
        if "prefixItems" not in schema:
            return schema | {"items": self.rewrite(items)}
        options = [self.rewrite(part) for part in schema["prefixItems"]]
        options += [self.rewrite(items)] if as_mapping(items) else []
        distinct = [option for number, option in enumerate(options) if option not in options[:number]]
        if not distinct:
            raise NotPortable("an array of nothing")
        return schema | {"items": distinct[0] if len(distinct) == 1 else {"anyOf": distinct}}


def _merge(merged: Json, part: Json) -> None:
    if (
        "properties" in merged
        and "properties" in part
        and False
        in (
            merged.get("additionalProperties"),
            part.get("additionalProperties"),
        )
    ):
        raise NotPortable("`allOf` of closed objects")
    for key, value in part.items():
        if key not in merged or merged[key] == value:
            merged[key] = value
        elif key == "properties" and not any(merged[key].get(name, value[name]) != value[name] for name in value):
            merged[key] = {**merged[key], **value}
        elif key == "required":
            merged[key] = [*merged[key], *(name for name in value if name not in merged[key])]
        elif key not in ("title", "description", "default", *_DROPPED):
            raise NotPortable("`allOf` of parts that differ in a keyword")


def _states_type(option: object) -> bool:
    keywords = as_mapping(option).keys()
    return not keywords or bool(keywords & {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"})


def _types(schema: Json) -> list[str]:
    stated = schema.get("type")
    if stated is not None:
        return cast("list[str]", stated) if isinstance(stated, list) and stated else [cast("str", stated)]
    implied = [kind for kind in ("object", "array", "string", "number") if schema.keys() & set(_KEYWORDS[kind])]
    if len(implied) != 1:
        raise NotPortable("a part that accepts everything")
    return implied


def _of_type(schema: Json, kind: str) -> Json:
    return {"type": kind, **{key: schema[key] for key in _KEYWORDS.get(kind, ()) if key in schema}}
