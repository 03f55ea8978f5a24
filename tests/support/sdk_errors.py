"""Errors of the OpenAI SDK that contain a planted key wherever they can, translated as the wires translate them."""

from __future__ import annotations

import openai

from llm_magic.errors import ProviderError
from llm_magic.providers.errors import translate
from llm_magic.providers.http import Endpoint
from llm_magic.providers.refused_parameters import SentRequest
from llm_magic.providers.sending import http_library
from tests.support.planted import KEY, PASSWORD

_URL = "https://own.example/v1"
_STATUSES = {"AuthFailed": 401, "RateLimited": 429, "ServerError": 500, "Overloaded": 529}


def sdk_error(kind: str) -> Exception | None:
    """Return the SDK's error that is translated into a ProviderError of this class; None if there is none."""
    http = http_library(openai)
    text = f"failed for {KEY}"
    request = http.Request("POST", _URL, headers={"Authorization": f"Bearer {KEY}", "X-Own": PASSWORD})
    if kind in _STATUSES:
        response = http.Response(_STATUSES[kind], json={"error": {"message": text}}, request=request)
        return openai.APIStatusError(text, response=response, body=None)
    if kind == "TimedOut":
        return openai.APITimeoutError(request=request)
    if kind == "StreamBroken":
        return http.ReadError(text, request=request)
    if kind == "ConnectionFailed":
        error = openai.APIConnectionError(message=text, request=request)
        error.__cause__ = http.ConnectError(text, request=request)
        return error
    return None


def translated(error: Exception, *, accepted: bool) -> ProviderError:
    endpoint = Endpoint(base_url=_URL, api_key=KEY, basic_auth=f"bob:{PASSWORD}")
    sent = SentRequest(url=_URL, model="model", schema="", output_limit=100, parameters=(), renames={})
    try:
        raise error
    except Exception as caught:  # noqa: BLE001 - with a traceback, as the wires catch it
        original = caught
    return translate(original, openai, endpoint, sent, accepted=accepted)
