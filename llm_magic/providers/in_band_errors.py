"""Errors in bodies with status 200: the object that some endpoints send instead of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from llm_magic.providers.error_body import parse_body
from llm_magic.providers.payload import json_object

ERROR_KEYS = ("error", "base_resp", "x_groq")
"""Keys under which an error can be next to a part of an answer."""
_ANSWER_KEYS = ("choices", "usage", "timings", "x_groq", "prompt_filter_results", "done")
_ANSWER_OBJECTS = ("chat.completion", "text_completion")
_MESSAGE_KEYS = ("message", "msg", "detail", "error_msg", "error_message", "errmsg", "status_msg")
_CODE_KEYS = ("error_code", "errcode", "err_code", "errors")
# https://platform.minimax.io/docs/api-reference/errorcode
_MINIMAX_STATUS = {
    1001: 504,
    1002: 429,
    1004: 401,
    1008: 402,
    1026: 400,
    1027: 400,
    1039: 429,
    1041: 429,
    1042: 400,
    2013: 400,
    2049: 401,
    2056: 429,
    2061: 403,
}


def in_band_error(body: Mapping[str, Any]) -> object | None:
    """Return the error that a JSON object of a response consists of or contains; None for a part of an answer."""
    error: object = body.get("error") or json_object(body.get("x_groq")).get("error")
    if error:
        return cast("object", error) if isinstance(error, dict | list) else _beside_answer(body, error)
    if (base := json_object(body.get("base_resp"))).get("status_code"):
        return {"message": base.get("status_msg"), "code": _MINIMAX_STATUS.get(base["status_code"], 500)}
    if body.get("object") == "error":
        return body
    if any(body.get(key) for key in _ANSWER_KEYS) or str(body.get("object", "")).startswith(_ANSWER_OBJECTS):
        return None
    has_message = any(isinstance(text := body.get(key), str) and text for key in _MESSAGE_KEYS)
    return body if has_message or any(body.get(key) for key in _CODE_KEYS) else None


def nested_error(body: Mapping[str, Any]) -> object | None:
    """Return the body if it has an error's message at any depth, and nothing of an answer."""
    if "type" in body or any(key in body for key in _ANSWER_KEYS):
        return None
    return body if parse_body(body).message else None


def _beside_answer(body: Mapping[str, Any], error: object) -> dict[str, Any]:
    scalars = {name: value for name, value in body.items() if isinstance(value, str | int) and name != "model"}
    return scalars | {"error": error}
