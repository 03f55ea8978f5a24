"""Codes and words of errors about limits: of rates, of capacity, and of the context window. All in lower case."""

from __future__ import annotations

from llm_magic.providers.error_words import IN_SENTENCE, any_of

PER_MINUTE = any_of(r"(?:requests|tokens) per min|\brpm\b|\btpm\b")
RATE_CODES = frozenset(
    {
        "1302",
        "1303",
        "1305",
        "limit_burst_rate",
        "rate_limit",
        "rate_limit_error",
        "rate_limit_exceeded",
        "rate_limited",
        "ratelimited",
        "ratelimitreached",
        "servicequotaexceededexception",
        "slow_down",
        "throttling",
        "throttlingexception",
        "too_many_requests",
        "toomanyrequestsexception",
    }
)
RATE_CODE = any_of(r"throttl|rate_?limit|request_?limit|too_?many_?requests|concurren")
RATE = any_of(
    r"rate[ _-]?limit|too many (?:requests|tokens, please wait)|tokens per minute|\btpm\b|throttl",
    r"(?:request|usage|qps|rpm|daily|weekly|monthly|session) limit (?:reached|exceeded|exhausted)"
    r"|(?:reached|exceeded|exhausted) your (?!\w* ?(?:context|token|prompt|input|size))[\w ]{0,30}"
    r"(?:quota|limit)\b|quota[_ ](?:has been |is )?exceeded|并发|过于频繁|请求过多|限流|流控|频率",
)
TOO_LARGE_FOR_RATE = any_of(
    r"request too large|extra usage is required",
    r"(?:single )?request (?:exceeds|is larger than) (?:the |your )?(?:rate )?limit",
)
UPGRADE = any_of(r"(?:quota|usage)[^.]{0,40}upgrade|upgrade[^.]{0,40}(?:quota|usage)")
NO_SHORT_WAIT = any_of(
    r"(?:per[-_ ]?|/ ?)(?:day|month|week)\b|(?:per|by)day|\b(?:tpd|rpd)\b|daily|monthly|quota of the day",
    r"(?:hourly|weekly|session)[\w ]{0,12}(?:limit|quota)|usage limit",
    r"使用上限|日流控|当日|今日|每[日天月]|当天|[本当]月",
    r"exhausted (?:your|the) [\w ]{0,30}quota|has been paused|\blimit: 0\b",
    r"quota (?:of [\w ]{1,30})?(?:has been|is|was) (?:exhausted|used up)",
)
OVERLOADED_CODES = frozenset(
    {
        "capacity_exceeded",
        "engine_overloaded",
        "engine_overloaded_error",
        "flex_capacity_exceeded",
        "modelnotreadyexception",
        "over_capacity",
        "overloaded",
        "overloaded_error",
        "resource_unavailable",
        "server_is_overloaded",
        "server_overloaded",
        "service_unavailable",
        "unavailable",
    }
)
OVERLOADED = any_of(
    r"overload|over capacity|at capacity|capacity (?:is )?exceeded|currently (?:busy|unavailable)",
    r"繁忙|过载|负载|访问量过大",
    rf"model\b{IN_SENTENCE}{{0,60}}?\bis (?:currently |still )?loading",
)
TOO_LONG_CODES = frozenset(
    {
        "1261",
        "context_length_exceeded",
        "context_window_exceeded",
        "exceed_context_size_error",
        "input_too_long",
        "max_context_length_exceeded",
        "model_context_window_exceeded",
        "model_max_prompt_tokens_exceeded",
        "prompt_too_long",
        "string_above_max_length",
        "tokens_limit_reached",
    }
)
TOO_LONG = any_of(
    r"(?:prompt|input|context|message|conversation|text)s? (?:\w+ ){0,3}too (?:long|large)(?: for|\b)",
    r"request (?:is |was )?too long|message[\w ]{0,20}too long",
    r"max(?:imum)? length of[\w ]{0,30}(?:question|prompt|input)",
    rf"(?:exceed|overflow|surpass|greater|longer|larger|beyond|more|over)\w*{IN_SENTENCE}{{0,60}}"
    r"(?:context|prompt|input)[ _-]?(?:length|window|size|limit|tokens?)",
    rf"(?:context|prompt|input)[ _-]?(?:length|window|size|limit){IN_SENTENCE}{{0,60}}"
    r"(?:exceed|overflow|surpass|greater|longer|larger|is only|at most|too (?:long|small|large))",
    r"max(?:imum)? (?:context|prompt|input|model)[ _-]?(?:length|window|size|tokens)?\b",
    r"context (?:window|length|size)",
    r"max(?:imum)? allowed (?:input|prompt) tokens|range of input length|input token(?: count)?|prompt token count",
    r"reduce (?:the |your )?(?:length|prompt|input|number of tokens)",
    r"exceeded model token limit|tokens in (?:the )?request more than|token limit exceeded",
    r"exceeds? (?:the )?(?:maximum|limit of) (?:number of )?(?:allowed )?(?:input )?(?:length|tokens|\d+ tokens)",
    r"must have less than \d+ tokens|`inputs` tokens|too many (?:input |prompt )?tokens|prompt is [\d,]+ tokens long",
    r"max_(?:completion_)?tokens must be at least 1, got -\d",
    rf"exceed\w* {IN_SENTENCE}{{0,40}}context\b|> n_ctx|n_ctx_slot|max_model_len",
    r"slot context|exceeds? max length|truncating input|tokens?\b[\w ()+]{0,30} exceeds? (?:the )?(?:max|model)",
    r"context overflow|(?:超出|超过|压缩)[^。]{0,10}上下文",
    r"(?:上下文|输入|(?<!输出)长度|字数|提示词|tokens?)[^。]{0,20}(?:超出|超过|超限|超长|过长|太长|过大|上限)|超长|过长",
)
NOT_TOO_LONG = any_of(r"per minute|per day|\btpm\b|rate limit|please wait|pixels|image dimension|too many requests")
