"""Answers: the data that a schema asks for, and whether two answers agree."""

from llm_magic.answers.schema import parse, parse_json, schema_of

__all__ = ["parse", "parse_json", "schema_of"]
