"""The requests that real endpoints refuse: a table of rules for each, with the source of each rule.

A rule gets the body of a request and returns the endpoint's refusal, or None.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.support import schema_rules

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    message: str
    status: int = 400
    code: str | None = None
    param: str | None = None
    kind: str = "invalid_request_error"


@dataclass(frozen=True, kw_only=True)
class Rule:
    name: str
    source: str
    check: Callable[[Body], Refusal | None]


def refusal_of(flavor: str, body: Body) -> Refusal | None:
    """Return the first refusal of an endpoint."""
    return next((refusal for rule in RULES[flavor] if (refusal := rule.check(body)) is not None), None)


# The limits that the documents of the models state.
MAX_OUTPUT = {
    "claude-opus-5-5": 128_000,
    "claude-sonnet-5-5": 128_000,
    "claude-haiku-5-5": 128_000,
    "claude-opus-4-7": 128_000,
    "claude-sonnet-4-6": 128_000,
    "gpt-6.1-terra": 128_000,
    "gpt-6.1-sol": 128_000,
    "gpt-6-luna": 128_000,
    "gpt-5.5": 128_000,
    "deepseek-flash": 393_216,
    "deepseek-v4-pro": 393_216,
    "deepseek-v3": 8_192,
}
MAX_INPUT = {
    **dict.fromkeys(("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"), 1_000_000),
    **dict.fromkeys(("claude-opus-4-7", "claude-sonnet-4-6"), 1_000_000),
    **dict.fromkeys(("gpt-6.1-terra", "gpt-6.1-sol", "gpt-6-luna"), 922_000),
    **dict.fromkeys(("deepseek-flash", "deepseek-v4-pro"), 1_000_000),
}
"""In tokens; a word is one."""
WITHOUT_IMAGES = ("deepseek-v4-pro", "deepseek-v3")


def words(text: str) -> set[str]:
    return set(text.split())


ANTHROPIC_PARAMETERS = words(
    "cache_control container diagnostics inference_geo max_tokens messages metadata model output_config "
    "service_tier speed stop_sequences stream system temperature thinking tool_choice tools top_k top_p "
    "user_profile_id workspace_id"
)
OPENAI_PARAMETERS = words(
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens "
    "messages metadata modalities model moderation n parallel_tool_calls prediction presence_penalty "
    "prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort response_format "
    "safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools "
    "top_logprobs top_p user verbosity web_search_options"
)
MISTRAL_PARAMETERS = words(
    "frequency_penalty guardrails max_tokens messages metadata model n parallel_tool_calls prediction "
    "presence_penalty prompt_cache_key prompt_mode random_seed reasoning_effort response_format safe_prompt stop "
    "stream temperature tool_choice tools top_p"
)
GEMINI_PARAMETERS = words(
    "max_completion_tokens max_tokens messages model n reasoning_effort response_format seed stop stream "
    "stream_options temperature tool_choice tools top_p user"
)
GROQ_PARAMETERS = words(
    "citation_options compound_custom disable_tool_validation documents frequency_penalty include_reasoning "
    "max_completion_tokens max_tokens messages metadata model n parallel_tool_calls presence_penalty "
    "reasoning_effort reasoning_format response_format search_settings seed service_tier stop store stream "
    "stream_options temperature tool_choice tools top_p user"
)


def version_of(model: str) -> tuple[int, int]:
    """`claude-opus-4-7` is (4, 7), `gpt-6.1-terra` is (6, 1)."""
    numbers = [*re.findall(r"\d+", model.partition("@")[0])[:2], "0", "0"]
    return int(numbers[0]), int(numbers[1])


def is_gpt(body: Body) -> bool:
    return str(body.get("model", "")).startswith("gpt-")


def unknown(parameters: set[str], refuse: Callable[[str], Refusal]) -> Callable[[Body], Refusal | None]:
    def check(body: Body) -> Refusal | None:
        extra = sorted(body.keys() - parameters)
        return refuse(extra[0]) if extra else None

    return check


def one_of(path: str, *values: object, refuse: Callable[[Any], Refusal]) -> Callable[[Body], Refusal | None]:
    """Accept a parameter with one of these values only."""

    def check(body: Body) -> Refusal | None:
        value: Any = body
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return None if value is None or value in values else refuse(value)

    return check


def missing(*names: str, refuse: Callable[[str], Refusal]) -> Callable[[Body], Refusal | None]:
    def check(body: Body) -> Refusal | None:
        return next((refuse(name) for name in names if not body.get(name)), None)

    return check


def messages(body: Body) -> list[Body]:
    return list(body.get("messages") or ())


def blocks(body: Body) -> Iterator[Body]:
    """The parts of all contents, and those of Claude's system prompt."""
    for content in (body.get("system"), *(message.get("content") for message in messages(body))):
        if isinstance(content, list):
            yield from content


def text_of(body: Body) -> str:
    texts = [message["content"] for message in messages(body) if isinstance(message.get("content"), str)]
    return " ".join((*texts, *(block.get("text", "") for block in blocks(body))))


def overflow(refuse: Callable[[int, int], Refusal]) -> Callable[[Body], Refusal | None]:
    """Refuse a prompt with more words than the model reads tokens."""

    def check(body: Body) -> Refusal | None:
        count, limit = len(text_of(body).split()), MAX_INPUT.get(body.get("model", ""))
        return None if limit is None or count <= limit else refuse(count, limit)

    return check


def image_size(data: bytes) -> tuple[int, int] | None:
    """The width and height of a PNG or a GIF; None for other formats."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data.startswith(b"GIF8") and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    return None


# --- Anthropic ------------------------------------------------------------------------------------------------------


def claude_output_limit(body: Body) -> Refusal | None:
    limit, asked = MAX_OUTPUT.get(body["model"]), body["max_tokens"]
    if not isinstance(asked, int) or asked < 1:
        return Refusal(message="max_tokens: Input should be greater than or equal to 1")
    if limit is None or asked <= limit:
        return None
    message = f"max_tokens: {asked} > {limit}, which is the maximum allowed number of output tokens for {body['model']}"
    return Refusal(message=message)


def claude_sampling(body: Body) -> Refusal | None:
    if version_of(body["model"]) < (4, 7):
        return None
    name = next((name for name in ("temperature", "top_p", "top_k") if name in body), None)
    return None if name is None else Refusal(message=f"`{name}` is deprecated for this model.")


def claude_thinking(body: Body) -> Refusal | None:
    thinking, model = body.get("thinking") or {}, body["model"]
    kind = thinking.get("type")
    if "display" in thinking and (kind == "disabled" or thinking["display"] not in ("summarized", "omitted")):
        return Refusal(message="thinking.display: Input should be 'summarized' or 'omitted'")
    if kind is None or version_of(model) < (5, 0):
        return None
    allowed = {"adaptive", "between_tools"} if "sonnet" in model else {"adaptive"}
    if "haiku" in model:
        allowed.add("disabled")
    if kind not in allowed:
        return Refusal(message=f'"thinking.type.{kind}" is not supported for this model. Use "thinking.type.adaptive"')
    effort = (body.get("output_config") or {}).get("effort")
    if kind == "disabled" and effort in ("xhigh", "max"):
        return Refusal(message=f"thinking can't be disabled with effort {effort!r}")
    return None


def claude_schema(body: Body) -> Refusal | None:
    answer_format = (body.get("output_config") or {}).get("format")
    if answer_format is None:
        return None
    if answer_format.get("type") != "json_schema" or answer_format.keys() - {"type", "schema"}:
        return Refusal(message="output_config.format: Input should be a valid json_schema format")
    complaint = schema_rules.claude(answer_format["schema"])
    return None if complaint is None else Refusal(message=complaint)


def claude_roles(body: Body) -> Refusal | None:
    roles = [message.get("role") for message in messages(body)]
    for role in roles:
        if role not in ("user", "assistant"):
            return Refusal(message=f'messages: Unexpected role "{role}". Allowed roles are "user" or "assistant".')
    if roles[0] != "user":
        return Refusal(message='messages: first message must use the "user" role')
    if roles[-1] == "assistant" and version_of(body["model"]) >= (4, 6):
        return Refusal(
            message="This model does not support assistant message prefill. The conversation must end with a user message."
        )
    return None


def claude_content(body: Body) -> Refusal | None:
    if any(not message.get("content") for message in messages(body)):
        return Refusal(message="messages.0: all messages must have non-empty content")
    texts = [block.get("text", "") for block in blocks(body) if block.get("type") == "text"]
    texts += [message["content"] for message in messages(body) if isinstance(message["content"], str)]
    if any(not text.strip() for text in texts):
        return Refusal(message="messages: text content blocks must contain non-whitespace text")
    return None


def claude_cache(body: Body) -> Refusal | None:
    count = sum("cache_control" in block for block in blocks(body)) + ("cache_control" in body)
    if count > 4:
        return Refusal(message=f"A maximum of 4 blocks with cache_control may be provided. Found {count}.")
    for block in blocks(body):
        control = block.get("cache_control")
        if control is not None and (control.get("type") != "ephemeral" or control.get("ttl", "5m") not in ("5m", "1h")):
            return Refusal(message="cache_control: Input should be 'ephemeral' with a ttl of '5m' or '1h'")
    return None


def claude_images(body: Body) -> Refusal | None:
    images = [block["source"] for block in blocks(body) if block.get("type") == "image"]
    if len(images) > 100:
        return Refusal(message="messages: too many images (limit: 100)")
    longest = 2_000 if len(images) > 20 else 8_000
    for source in images:
        if source.get("media_type") not in ("image/jpeg", "image/png", "image/gif", "image/webp"):
            return Refusal(message="image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', ...")
        data = base64.b64decode(source["data"])
        if len(source["data"]) > 10 * 1024 * 1024:
            return Refusal(message="image exceeds 10 MB maximum")
        size = image_size(data)
        if size is not None and max(size) > longest:
            return Refusal(message=f"At least one of the image dimensions exceed max allowed size: {longest} pixels")
        if size is not None and min(size) < 1:
            return Refusal(message="Could not process image")
    return None


SDK_ANTHROPIC = "anthropic 2.14: types/message_create_params.py"
ANTHROPIC = (
    Rule(
        name="unknown parameters",
        source=SDK_ANTHROPIC,
        check=unknown(ANTHROPIC_PARAMETERS, lambda name: Refusal(message=f"{name}: Extra inputs are not permitted")),
    ),
    Rule(
        name="required parameters",
        source=SDK_ANTHROPIC,
        check=missing("model", "max_tokens", "messages", refuse=lambda n: Refusal(message=f"{n}: Field required")),
    ),
    Rule(
        name="output limit",
        source="platform.claude.com/docs/en/models: table of limits",
        check=claude_output_limit,
    ),
    Rule(
        name="overflow",
        source="platform.claude.com/docs/en/build-with-claude/context-windows: prompt is too long",
        check=overflow(lambda count, limit: Refusal(message=f"prompt is too long: {count} tokens > {limit} maximum")),
    ),
    Rule(
        name="sampling parameters",
        source="github.com/anomalyco/models.dev/pull/1468; github.com/The-PR-Agent/pr-agent/issues/2456",
        check=claude_sampling,
    ),
    Rule(
        name="thinking types",
        source="platform.claude.com/docs/en/models/opus-5/overview and haiku-5-5/overview: `thinking` by model",
        check=claude_thinking,
    ),
    Rule(
        name="effort levels",
        source="anthropic 2.14: types/output_config_param.py",
        check=one_of(
            "output_config.effort",
            "low",
            "medium",
            "high",
            "xhigh",
            "max",
            refuse=lambda value: Refusal(
                message=f"output_config.effort: Input should be 'low', 'medium', ...: {value!r}"
            ),
        ),
    ),
    Rule(
        name="schemas",
        source="platform.claude.com/docs/en/build-with-claude/structured-outputs; github.com/vercel/ai/pull/17268",
        check=claude_schema,
    ),
    Rule(
        name="roles",
        source=f"{SDK_ANTHROPIC}; no prefill since 4.6: github.com/ericc-ch/copilot-api/pull/261",
        check=claude_roles,
    ),
    Rule(
        name="empty content",
        source="github.com/anthropics/anthropic-sdk-python/issues/461; github.com/anthropics/claude-code/issues/59812",
        check=claude_content,
    ),
    Rule(
        name="cache breakpoints",
        source="platform.claude.com/docs/en/build-with-claude/prompt-caching; github.com/continuedev/continue/pull/6937",
        check=claude_cache,
    ),
    Rule(
        name="images",
        source="platform.claude.com/docs/en/build-with-claude/vision: limits",
        check=claude_images,
    ),
    Rule(
        name="service tier",
        source=SDK_ANTHROPIC,
        check=one_of(
            "service_tier",
            "auto",
            "standard_only",
            refuse=lambda value: Refusal(message=f"service_tier: Input should be 'auto' or 'standard_only': {value!r}"),
        ),
    ),
)

COUNTED_PARAMETERS = words(
    "cache_control messages model output_config speed system thinking tool_choice tools user_profile_id workspace_id"
)
ANTHROPIC_COUNT = (
    Rule(
        name="unknown parameters",
        source="anthropic 2.14: types/message_count_tokens_params.py",
        check=unknown(COUNTED_PARAMETERS, lambda name: Refusal(message=f"{name}: Extra inputs are not permitted")),
    ),
    *(rule for rule in ANTHROPIC if rule.name not in ("unknown parameters", "required parameters", "output limit")),
)
"""Of `/v1/messages/count_tokens`."""

# --- OpenAI's wire --------------------------------------------------------------------------------------------------


def gpt_max_tokens(body: Body) -> Refusal | None:
    if not is_gpt(body) or "max_tokens" not in body:
        return None
    return Refusal(
        message="Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        code="unsupported_parameter",
        param="max_tokens",
    )


def gpt_output_limit(body: Body) -> Refusal | None:
    asked, limit = body.get("max_completion_tokens"), MAX_OUTPUT.get(body.get("model", ""))
    if asked is None or limit is None or 1 <= asked <= limit:
        return None
    return Refusal(
        message=f"max_tokens is too large: {asked}. This model supports at most {limit} completion tokens, whereas you "
        f"provided {asked}.",
        code="invalid_value",
        param="max_completion_tokens",
    )


def gpt_sampling(body: Body) -> Refusal | None:
    defaults = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
    if not is_gpt(body):
        return None
    for name in ("logprobs", "top_logprobs", "logit_bias"):
        if name in body:
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            return Refusal(message=message, code="unsupported_parameter", param=name)
    for name, default in defaults.items():
        if body.get(name, default) != default:
            message = (
                f"Unsupported value: '{name}' does not support {body[name]} with this model. Only the default ({default}) "
                "value is supported."
            )
            return Refusal(message=message, code="unsupported_value", param=name)
    return None


def gpt_effort(body: Body) -> Refusal | None:
    effort, model = body.get("reasoning_effort"), body.get("model", "")
    if effort is None:
        return None
    levels = {"none", "minimal", "low", "medium", "high", "xhigh", "max"}
    if model.startswith(("gpt-6.1-sol", "gpt-6.2")):
        levels -= {"none", "minimal"}
    if effort in levels:
        return None
    message = f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model."
    return Refusal(message=message, code="unsupported_value", param="reasoning_effort")


def openai_format(body: Body) -> Refusal | None:
    answer_format = body.get("response_format")
    if answer_format is None or answer_format.get("type") == "text":
        return None
    if answer_format.get("type") == "json_object":
        return needs_the_word_json(body)
    if answer_format.get("type") != "json_schema":
        return Refusal(message="Invalid value: 'response_format.type'", param="response_format.type")
    stated = answer_format.get("json_schema") or {}
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", stated.get("name", "")):
        return Refusal(message="Invalid 'response_format.json_schema.name'", param="response_format.json_schema.name")
    check = schema_rules.openai_strict if stated.get("strict") else schema_rules.openai_loose
    complaint = check(stated.get("schema", {}))
    return None if complaint is None else Refusal(message=complaint, param="response_format")


def needs_the_word_json(body: Body) -> Refusal | None:
    if (body.get("response_format") or {}).get("type") != "json_object" or "json" in text_of(body).lower():
        return None
    return Refusal(
        message="'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        param="messages",
    )


def openai_roles(body: Body) -> Refusal | None:
    for number, message in enumerate(messages(body)):
        if message.get("role") not in ("system", "developer", "user", "assistant", "tool"):
            where = f"messages[{number}].role"
            return Refusal(message=f"Invalid value: '{message.get('role')}'.", code="invalid_value", param=where)
        if message.get("content") is None and message.get("role") != "assistant":
            where = f"messages.[{number}].content"
            return Refusal(message="Invalid value for 'content': expected a string, got null.", param=where)
    return None


def openai_images(body: Body) -> Refusal | None:
    for block in blocks(body):
        image = block.get("image_url")
        if image is None:
            continue
        if image.get("detail", "auto") not in ("auto", "low", "high", "original"):
            return Refusal(message="Invalid value for 'detail'", code="invalid_value", param="messages")
        kind, _, data = image["url"].partition(";base64,")
        if kind.removeprefix("data:image/") not in ("png", "jpeg", "gif", "webp"):
            return Refusal(message="You uploaded an unsupported image.", code="invalid_image_format")
        if min(image_size(base64.b64decode(data)) or (1, 1)) < 1:
            return Refusal(
                message="The image data you provided does not represent a valid image.", code="invalid_image"
            )
    return None


def openai_stream_options(body: Body) -> Refusal | None:
    if "stream_options" not in body or body.get("stream"):
        return None
    message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    return Refusal(message=message, param="stream_options")


def gpt_cache_options(body: Body) -> Refusal | None:
    if "prompt_cache_options" not in body or not is_gpt(body) or version_of(body["model"]) >= (5, 6):
        return None
    message = "Unsupported parameter: 'prompt_cache_options' is not supported with this model."
    return Refusal(message=message, code="unsupported_parameter", param="prompt_cache_options")


def without_images(body: Body) -> Refusal | None:
    if body.get("model") not in WITHOUT_IMAGES or not any("image_url" in block for block in blocks(body)):
        return None
    message = "Failed to deserialize the JSON body into the target type: unknown variant `image_url`, expected `text`"
    return Refusal(message=message, status=400, code="invalid_request_error")


def deepseek_output_limit(body: Body) -> Refusal | None:
    asked, limit = body.get("max_tokens"), MAX_OUTPUT.get(body.get("model", ""))
    if asked is None or limit is None or 1 <= asked <= limit:
        return None
    return Refusal(
        message=f"Invalid max_tokens value, the valid range of max_tokens is [1, {limit}]", code="invalid_request_error"
    )


def mistral_extra(name: str) -> Refusal:
    return Refusal(
        status=422,
        message=f"body.{name}: Extra inputs are not permitted",
        code="extra_forbidden",
        param=name,
    )


def mistral_last_role(body: Body) -> Refusal | None:
    last = messages(body)[-1]
    if last.get("role") in ("user", "tool") or last.get("prefix"):
        return None
    message = "Expected last role User or Tool (or Assistant with prefix True) for serving but got " + last.get(
        "role", ""
    )
    return Refusal(message=message, code="3230", kind="invalid_request_message_order")


def groq_messages(body: Body) -> Refusal | None:
    for number, message in enumerate(messages(body)):
        if "reasoning" in message or "reasoning_content" in message:
            return Refusal(message=f"'messages.{number}' : property 'reasoning_content' is unsupported")
    return None


def groq_schema_stream(body: Body) -> Refusal | None:
    if (body.get("response_format") or {}).get("type") != "json_schema" or not body.get("stream"):
        return None
    return Refusal(message="response_format` does not support streaming")


def context_of(body: Body) -> int | None:
    """The context window that a model's name ends with, such as `own-4k`."""
    size = re.search(r"-(\d+)k$", str(body.get("model", "")))
    return None if size is None else int(size[1]) * 1_024


def vllm_context(body: Body) -> Refusal | None:
    context, count, asked = context_of(body), len(text_of(body).split()), body.get("max_tokens") or 0
    if context is None or count + asked <= context:
        return None
    start = f"'max_tokens' or 'max_completion_tokens' is too large: {asked}. " if count < context else ""
    return Refusal(
        message=f"{start}This model's maximum context length is {context} tokens and your request has {count} input tokens "
        f"({asked} > {context} - {count})."
    )


def together_context(body: Body) -> Refusal | None:
    context, count, asked = context_of(body), len(text_of(body).split()), body.get("max_tokens") or 0
    if context is None or count + asked <= context:
        return None
    message = (
        f"Input validation error: `inputs` tokens + `max_new_tokens` must be <= {context + 1}. Given: {count} `inputs` "
        f"tokens and {asked} `max_new_tokens`"
    )
    return Refusal(status=422, message=message)


def azure_cache_options(body: Body) -> Refusal | None:
    if "prompt_cache_options" not in body:
        return None
    name = "prompt_cache_options"
    return Refusal(message=f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)


def nvidia_parameters(body: Body) -> Refusal | None:
    if "stream_options" not in body:
        return None
    detail = "{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted'}"
    return Refusal(message=f'Your request cannot be validated, it is incorrect. detail={detail}"')


def cerebras_effort(body: Body) -> Refusal | None:
    if body.get("reasoning_effort", "low") in ("low", "medium", "high"):
        return None
    message = "1 validation error for ChatCompletionServerRequest\nreasoning_effort\n Input should be 'low', 'medium' or 'high'"
    return Refusal(message=message, code="wrong_api_format", param="validation_error")


SDK_OPENAI = "openai 3.57: types/chat/completion_create_params.py"
REQUIRED = Rule(
    name="required parameters",
    source=SDK_OPENAI,
    check=missing(
        "model",
        "messages",
        refuse=lambda name: Refusal(
            message=f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name
        ),
    ),
)
ROLES = Rule(name="roles and content", source=SDK_OPENAI, check=openai_roles)
IMAGES = Rule(
    name="images",
    source="developers.openai.com/api/docs/guides/images-vision: image input requirements",
    check=openai_images,
)
WORD_JSON = Rule(
    name="the word JSON",
    source="developers.openai.com/api/docs/guides/structured-outputs#json-mode; api-docs.deepseek.com/guides/json_mode",
    check=needs_the_word_json,
)
FORMATS = Rule(
    name="schemas",
    source="developers.openai.com/api/docs/guides/structured-outputs#supported-schemas",
    check=openai_format,
)
STREAM_OPTIONS = Rule(name="stream options", source=SDK_OPENAI, check=openai_stream_options)
OPENAI = (
    Rule(
        name="unknown parameters",
        source=SDK_OPENAI,
        check=unknown(
            OPENAI_PARAMETERS,
            lambda name: Refusal(message=f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name),
        ),
    ),
    REQUIRED,
    ROLES,
    STREAM_OPTIONS,
    Rule(
        name="name of the output limit",
        source="developers.openai.com/api/docs/guides/reasoning: max_completion_tokens; openai 3.57 on `max_tokens`",
        check=gpt_max_tokens,
    ),
    Rule(
        name="output limit", source="developers.openai.com/api/docs/models: max output tokens", check=gpt_output_limit
    ),
    Rule(
        name="overflow",
        source="developers.openai.com/api/docs/guides/error-codes: context_length_exceeded",
        check=overflow(
            lambda count, limit: Refusal(
                message=f"Input tokens exceed the configured limit of {limit} tokens. Your messages resulted in {count} "
                "tokens.",
                code="context_length_exceeded",
                param="messages",
            )
        ),
    ),
    Rule(
        name="sampling parameters",
        source="developers.openai.com/api/docs/guides/latest-model: not supported parameters",
        check=gpt_sampling,
    ),
    Rule(
        name="effort levels",
        source="github.com/BerriAI/litellm discussion 52347: gpt-6.1-sol and 6.2 refuse none and minimal",
        check=gpt_effort,
    ),
    Rule(
        name="verbosity",
        source=SDK_OPENAI,
        check=one_of(
            "verbosity",
            "low",
            "medium",
            "high",
            refuse=lambda value: Refusal(message=f"Invalid value: '{value}'.", code="invalid_value", param="verbosity"),
        ),
    ),
    Rule(
        name="service tier",
        source=SDK_OPENAI,
        check=one_of(
            "service_tier",
            "auto",
            "default",
            "flex",
            "scale",
            "priority",
            "fast",
            refuse=lambda value: Refusal(
                message=f"Invalid value: '{value}'.", code="invalid_value", param="service_tier"
            ),
        ),
    ),
    Rule(
        name="cache options of older models",
        source="developers.openai.com/api/docs/guides/prompt-caching: GPT-5.6 and later",
        check=gpt_cache_options,
    ),
    FORMATS,
    IMAGES,
)
AZURE = (
    Rule(
        name="no cache options",
        source="github.com/langchain4j: older models and other endpoints refuse prompt_cache_options",
        check=azure_cache_options,
    ),
    Rule(
        name="no flex tier",
        source="learn.microsoft.com/azure/ai-foundry/openai: service_tier is auto, default, or priority",
        check=one_of(
            "service_tier",
            "auto",
            "default",
            "priority",
            refuse=lambda value: Refusal(
                message=f"Invalid value: '{value}'.", code="invalid_value", param="service_tier"
            ),
        ),
    ),
    *OPENAI,
)
DEEPSEEK = (
    REQUIRED,
    ROLES,
    Rule(
        name="no schemas",
        source="api-docs.deepseek.com/api/create-chat-completion: response_format",
        check=one_of(
            "response_format.type",
            "text",
            "json_object",
            refuse=lambda _: Refusal(
                message="This response_format type is unavailable now", code="invalid_request_error"
            ),
        ),
    ),
    WORD_JSON,
    Rule(
        name="output limit",
        source="api-docs.deepseek.com/api/create-chat-completion: max_tokens",
        check=deepseek_output_limit,
    ),
    Rule(
        name="overflow",
        source="github.com/evalstate/fast-agent/issues/621",
        check=overflow(
            lambda count, limit: Refusal(
                message=f"This model's maximum context length is {limit} tokens. However, you requested {count} tokens",
                code="invalid_request_error",
            )
        ),
    ),
    Rule(
        name="effort levels",
        source="api-docs.deepseek.com/guides/thinking_mode",
        check=one_of(
            "reasoning_effort",
            "low",
            "medium",
            "high",
            "xhigh",
            "max",
            refuse=lambda value: Refusal(message=f"unknown variant `{value}`", code="invalid_request_error"),
        ),
    ),
    Rule(
        name="thinking types",
        source="api-docs.deepseek.com/guides/thinking_mode",
        check=one_of(
            "thinking.type",
            "enabled",
            "disabled",
            refuse=lambda value: Refusal(message=f"unknown variant `{value}`", code="invalid_request_error"),
        ),
    ),
    Rule(name="images", source="github.com/esengine/DeepSeek-Reasonix/issues/7859", check=without_images),
)
MISTRAL = (
    Rule(
        name="unknown parameters",
        source="github.com/yetone/avante.nvim issue 2347, openai/openai-agents-python issue 442: stream_options is 422",
        check=unknown(MISTRAL_PARAMETERS, mistral_extra),
    ),
    REQUIRED,
    ROLES,
    Rule(
        name="last role",
        source="github.com/langchain-ai/langchain/issues/23703; github.com/avante-corp/avante.nvim/pull/2695",
        check=mistral_last_role,
    ),
    WORD_JSON,
    FORMATS,
)
GROQ = (
    Rule(
        name="unknown parameters",
        source="github.com/fanenr/chatbot/issues/21; github.com/vercel/ai/pull/1578",
        check=unknown(GROQ_PARAMETERS, lambda name: Refusal(message=f"property '{name}' is unsupported")),
    ),
    REQUIRED,
    ROLES,
    Rule(name="reasoning in messages", source="github.com/janhq/jan/issues/8136", check=groq_messages),
    Rule(
        name="service tier",
        source="console.groq.com/docs/service-tiers",
        check=one_of(
            "service_tier",
            "auto",
            "on_demand",
            "flex",
            "performance",
            refuse=lambda value: Refusal(message=f"service_tier must be one of auto, on_demand, flex: {value!r}"),
        ),
    ),
    Rule(
        name="no schemas in streams",
        source="github.com/jgravelle/GroqApiLibrary/pull/33; github.com/langchain-ai/langchain/issues/23629",
        check=groq_schema_stream,
    ),
    WORD_JSON,
    FORMATS,
)
GEMINI = (
    Rule(
        name="unknown parameters",
        source="github.com/MinLL/SkyrimNet-GamePlugin/issues/77; github.com/FuzzAnything/PromptFuzz/issues/42",
        check=unknown(
            GEMINI_PARAMETERS,
            lambda name: Refusal(
                message=f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.',
                code="INVALID_ARGUMENT",
            ),
        ),
    ),
    REQUIRED,
    ROLES,
)
XAI = (
    REQUIRED,
    ROLES,
    Rule(
        name="parameters of other models",
        source="github.com/n8n-io/n8n/issues/14581; github.com/langchain-ai/langchain/pull/38335",
        check=lambda body: next(
            (
                Refusal(
                    message=f"Argument not supported on this model: {name}", code="Client specified an invalid argument"
                )
                for name in ("presence_penalty", "frequency_penalty", "stop")
                if name in body
            ),
            None,
        ),
    ),
    WORD_JSON,
)
VLLM = (
    REQUIRED,
    ROLES,
    STREAM_OPTIONS,
    Rule(name="context", source="vllm: entrypoints/openai, _validate_input", check=vllm_context),
)
TOGETHER = (
    REQUIRED,
    ROLES,
    Rule(
        name="context",
        source="github.com/stanford-crfm/helm/pull/2079",
        check=together_context,
    ),
)
NVIDIA = (
    REQUIRED,
    ROLES,
    Rule(
        name="no stream options", source="github.com/CortexReach/memory-lancedb-pro/issues/578", check=nvidia_parameters
    ),
)
CEREBRAS = (
    REQUIRED,
    ROLES,
    Rule(name="effort levels", source="github.com/egoist/chatwise-releases/issues/1325", check=cerebras_effort),
)
LM_STUDIO = (
    REQUIRED,
    ROLES,
    Rule(
        name="schemas, but no JSON mode",
        source="lmstudio.ai/docs/developer/openai-compat/structured-output",
        check=one_of(
            "response_format.type",
            "json_schema",
            "text",
            refuse=lambda _: Refusal(message="'response_format.type' must be 'json_schema' or 'text'"),
        ),
    ),
)
RULES: dict[str, tuple[Rule, ...]] = {
    "anthropic": ANTHROPIC,
    "openai": OPENAI,
    "azure": AZURE,
    "deepseek": DEEPSEEK,
    "mistral": MISTRAL,
    "groq": GROQ,
    "gemini": GEMINI,
    "xai": XAI,
    "openrouter": (REQUIRED, ROLES, WORD_JSON),
    "together": TOGETHER,
    "nvidia": NVIDIA,
    "cerebras": CEREBRAS,
    "lmstudio": LM_STUDIO,
    "vllm": VLLM,
    "ollama": (REQUIRED, ROLES),
}


def error_body(flavor: str, refusal: Refusal) -> Any:
    """Return the body of an error in the endpoint's own shape."""
    error: Body = {"message": refusal.message, "type": refusal.kind, "param": refusal.param, "code": refusal.code}
    match flavor:
        case "anthropic":
            error = {"type": refusal.kind, "message": refusal.message}
            return {"type": "error", "error": error, "request_id": "req_1"}
        case "mistral" if refusal.status == 422:
            detail = {"type": refusal.code, "loc": ["body", refusal.param], "msg": "Extra inputs are not permitted"}
            return {**error, "object": "error", "message": {"detail": [detail]}, "code": None, "param": None}
        case "mistral":
            return {**error, "object": "error"}
        case "gemini":
            stated = {"code": refusal.status, "message": refusal.message, "status": refusal.code or "INVALID_ARGUMENT"}
            return [{"error": stated}]
        case "xai":
            return {"code": refusal.code, "error": refusal.message}
        case "cerebras":
            return error
        case "nvidia" | "lmstudio":
            return {"error": refusal.message}
        case "vllm":
            return {"error": {**error, "type": "BadRequestError", "code": refusal.status}}
        case "openrouter":
            return {"error": {"code": refusal.status, "message": refusal.message}, "user_id": "user_1"}
        case _:
            return {"error": error}
