"""Codes and words of the errors of providers, by what they mean. All in lower case."""

from __future__ import annotations

import re


def any_of(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives))


IN_SENTENCE = r"(?:[^.:]|[.:](?=\S))"
"""A character within a sentence. A point or colon is within one if text follows, as in `gpt-6.1` or `qwen3:8b`."""
ALTERNATIVES = any_of(
    r"(?:expected|(?:must|should) be) one of:?[^.;]{0,2000}",
    r"(?<!not )\b(?:supported|valid|allowed|permitted|known|available) "
    r"(?:parameters|fields|arguments|keys|names|values)(?: are| include)?:?[^.;]{0,2000}",
)
"""Lists of what an endpoint takes, which name parameters that are not at fault."""
NO_CREDIT_CODES = frozenset(
    {
        "1110",
        "1111",
        "1112",
        "1113",
        "1121",
        "1309",
        "1313",
        "access_terminated",
        "account_deactivated",
        "account_suspended",
        "arrearage",
        "billing_disabled",
        "billing_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "budget_exceeded",
        "consumer_suspended",
        "contract_spend_limit_reached",
        "credit_balance_exhausted",
        "credit_balance_too_low",
        "credits_exhausted",
        "enforced_spend_limit_reached",
        "exceeded_current_quota_error",
        "insufficient_balance",
        "insufficient_balance_error",
        "insufficient_credits",
        "insufficient_funds",
        "insufficient_quota",
        "insufficient_user_quota",
        "linked_organization_billing_unavailable",
        "linked_organization_spend_limit_reached",
        "organization_deactivated",
        "not_enough_balance",
        "organization_on_hold",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "payment_required",
        "project_spend_limit_exceeded",
        "spend_limit_exceeded",
        "spend_limit_reached",
        "usage_limit_reached",
        "user_profile_not_billable",
    }
)
_MONEY = (
    r"(?:credits?|(?<!load )(?<!to )balance|funds|billing|payment|wallet|deposit|spend(?:ing)?|usage (?:cap|allowance)"
    r"|(?<!thinking )(?<!token )(?<!retry )(?<!retries )(?<!time )(?<!error )budget)"
)
_LACKING = (
    r"(?:insufficient|not enough|no (?:usable|active|valid|available|remaining|payment)|out of|need|low|negative|zero"
    r"|exhausted|exceeded|depleted|used up|used all|hit|reached"
    r"|don't have any|doesn't have any|not have any|enable|verify|update|failed|overdue|unpaid|outstanding)"
)
_LACKED = (
    r"(?:insufficient|exhausted|depleted|empty|negative|too low|run out|ran out|required|exceeded|used up|declined"
    r"|below zero|consumed|failed|overdue|expired|not enabled|inactive|ended|reached|full|: \$?0)"
)
LACKS_MONEY = any_of(
    rf"\b{_LACKING}(?: \w+){{0,3}} {_MONEY}\b",
    rf"\b{_MONEY}(?:[ _](?:\w+ ){{0,4}})?{_LACKED}(?:\b|$)",
    r"card (?:was |is |has )?(?:been )?(?:declined|expired)",
)
"""Words that also describe a failure of a server, such as an exhausted budget of time."""
NO_CREDIT = any_of(
    r"no active subscription|subscription (?:is )?(?:required|inactive|ended)|hard limit[\w ]{0,20} billing",
    r"credit balance (?:is|too)",
    r"insufficient (?:account )?(?:balance|credits?|funds|quota)|balance (?:is )?(?:insufficient|not enough|exhausted)",
    r"(?:negative|zero|not enough|insufficient|low)[ _]balance|key limit exceeded",
    r"(?:out of|not enough|used all available|insufficient) (?:credits?|extra usage)|draw from your extra usage",
    r"no credits? (?:left|remain|available)",
    r"requires? more credits|plans & billing|(?:used up your|not enough) points|purchase (?:more )?credits",
    r"add (?:more )?(?:credits|funds)|top[ -]up|recharge",
    r"credits?\b[\w ]{0,40}(?:depleted|exhausted|used up|expired|restricted)|prepa(?:id|yment) credits?",
    r"(?:exceeded|used|spent) (?:all )?(?:of )?(?:your|the) [\w ]{0,20}credits",
    r"(?:api|specified|workspace|organization) usage limits?|insufficient_quota",
    r"spend(?:ing)?[ _](?:limit|cap)|(?:billing )?hard limit has been reached|billing hard limit",
    r"credit limit (?:exceeded|reached|has been reached)",
    r"payment (?:is )?(?:required|method|overdue|failed)|past[ -]due|(?:unpaid|outstanding) (?:invoice|balance|bill)",
    r"(?:billing|account|organization|project|team|workspace|subscription)[\w ,'`\"-]{0,40}"
    r"(?:not active|inactive|disabled|suspended|deactivated|on hold|overdue|restricted|terminated|delinquent|archived)",
    r"limits of your (?:\w+ )?plan",
    r"free (?:tier|quota|trial)[\w ]{0,40}(?:exhausted|expired|ended|used up)|exhausted (?:its|your|the) free\b",
    r"(?:trial|subscription|plan|package|account)\b[\w ]{0,20}(?:has |is )expired",
    r"account (?:is |was |has been )?(?:locked|closed)",
    r"fair[ -]us(?:e|age) policy|余额|余量|额度(?:不足|失败|已?(?:用尽|用完|耗尽))|欠费|充值",
    r"resource pack[\w ]{0,30} exhausted|(?:套餐|资源包|账[户号])已?(?:过期|到期|用尽|停用|冻结|封禁)",
)
UNCLEAR_QUOTA = any_of(r"exceeded your current quota")
ALIBABA_QUOTA = any_of(r"error-code#(?:token|rate)-limit")
BAD_KEY_CODES = frozenset(
    {
        "api_key_invalid",
        "cmek_key_disabled",
        "authentication_error",
        "incorrect_api_key",
        "invalid_api_key",
        "invalid_authentication",
        "invalid_authentication_error",
        "organization_type_not_supported",
        "parent_organization_required",
        "unauthenticated",
        "unsupported_country_region_territory",
    }
)
BAD_KEY = any_of(
    r"(?:invalid|incorrect|wrong|missing|expired|no) (?:api|authentication|auth|x-api)[ -]?(?:key|token|credentials)",
    r"api[ _]?key[\w ]{0,40}(?:not valid|invalid|is incorrect|not found|expired|revoked|disabled)",
    r"credentials? (?:is|are) (?:only|not) (?:authorized|valid)",
    r"user location is not supported|country, region,? or territory|not available in your (?:country|region)",
)
REFUSED_KEY = any_of(
    r"insufficient permissions|missing scopes|ip (?:address )?is not (?:authorized|allowed)",
    r"\b(?:key|credentials?|access token|auth token|bearer token|token has) (?:has |have |is |was )?(?:been )?"
    r"(?:expired|disabled|revoked|deleted|deactivated)",
    r"authentication failed|could not (?:authenticate|validate (?:your )?credentials)|re-authenticate|api_key_",
    r"(?:令牌|密钥|key)[^。]{0,8}(?:无效|过期|错误|不正确|失效)|无效的?(?:令牌|密钥|key)|(?:鉴权|认证)失败",
)
INVALID_TOKEN = any_of(r"invalid (?:access )?token\.?$")
UNKNOWN_PARAMETER = any_of(
    r"(?:unknown|unsupported|unrecognized|unexpected)(?: request)?[_ ](?:parameter|argument|field)"
)
FILTER_CODES = frozenset(
    {
        "1301",
        "bio_policy",
        "content_blocked",
        "content_filter",
        "content_moderation",
        "content_policy",
        "content_policy_violation",
        "cyber_policy",
        "data_inspection_failed",
        "datainspectionfailed",
        "guardrail_intervened",
        "invalid_prompt",
        "misalignment_policy_violation",
        "moderation_blocked",
        "policy_violation",
        "prohibited_content",
        "prompt_blocked",
        "refusal",
        "responsibleaipolicyviolation",
        "unsafe_content",
    }
)
FILTER_CODE = any_of(r"sensitive|content_?filter(?!_error)|content_?(?:policy|blocked)|moderation|guardrail|jailbreak")
FILTER_CATEGORY_CODES = frozenset({"bio_policy", "cyber_policy", "misalignment_policy_violation", "prohibited_content"})
FILTERED = any_of(
    r"content exists risk|risk control|high risk|敏感|违规|违禁|安全检查|不当内容|审核|不合规|不安全|高风险|内容安全",
    r"prompt injection|jailbreak|self-harm|\bas unsafe|unsafe content|content (?:is )?not allowed",
    r"(?:new_|\bbe |contains? |containing )sensitive|sensitive (?:content|information|words?)",
    r"content ?(?:management |usage |safety )?(?:polic|filter|moderation)|content\b[\w ]{0,40}\bblocked",
    r"(?:usage|acceptable use) (?:guidelines|polic)|violat\w+ (?:our|the|of)[\w ]{0,20}(?:polic|guideline|terms)",
    r"(?:prompt|input|output|response) (?:was |is |has been )?blocked|unsafe (?:prompt|input)|harmful content|\bnsfw\b",
    r"toxic content|disallowed content|content violation|content_filter|trusted access for cyber",
    r"due to safety|safety (?:reasons|classifier)|by moderation",
    r"flagged (?:as|by|for|due)|was flagged",
    r"(?:requires?|failed) moderation|moderation (?:on|failed|blocked|guardrail|system|service|polic)|guardrails?\b",
    r"safety (?:system|filter|polic)|responsible ai|inappropriate content|prohibited[ _]content",
    r"blocked (?:due to|by|for) \w*(?:safety|prohibited|content|polic|guardrail)",
)
NO_MODEL_CODES = frozenset(
    {
        "accessdeniedexception",
        "deploymentnotfound",
        "invalid_model",
        "model_decommissioned",
        "model_deprecated",
        "model_not_available",
        "model_not_exist",
        "model_not_found",
        "model_not_supported",
        "model_terms_required",
        "model_unavailable",
        "modelnotfound",
        "no_such_model",
        "resourcenotfoundexception",
        "unknown_model",
        "unsupported_model",
    }
)
NOT_INCLUDED_CODES = frozenset(
    {
        "1220",
        "1311",
        "key_model_access_denied",
        "model.accessdenied",
        "model_access_denied",
        "model_not_supported_on_free_tier",
    }
)
"""The account may not use this model, but may use others."""
NOT_INCLUDED = any_of(
    r"(?:not|n't) (?:allowed|permitted|authorized|entitled) to (?:use|access|call)[\w ]{0,20} model",
    rf"access to (?:the |this )?model\b{IN_SENTENCE}{{0,60}}?(?:denied|forbidden|restricted)",
    r"(?:plan|subscription|package)\b[\w ]{0,40}(?:not|n't)\b[\w ]{0,20}(?:include|cover)",
    r"(?:plan|subscription)\b[\w ]{0,20}not support model\b(?! [a-z]+\b(?![-/\d]))",
    r"model[\w ]{0,20} not (?:available|supported) (?:on|in) (?:the|your) [\w ]{0,10}(?:tier|plan)",
    r"not activated (?:the |this )?model",
    r"model requires an? [\w ]{0,20}(?:subscription|plan)|model is gated|no access to (?:the )?model",
    rf"\bmodel\b{IN_SENTENCE}{{0,60}}?\bblocked (?:at|by|for) (?:\w+ )?(?:organization|project|team|workspace|account)",
    rf"\bmodel\b{IN_SENTENCE}{{0,40}}?not available in (?:your|this) (?:country|region)",
    r"无权(?:限)?(?:访问|使用|调用)[^。]{0,6}模型|没有权限(?:访问|使用|调用)[^。]{0,6}模型|模型[^。]{0,20}未(?:开通|授权)",
)
NO_MODEL = any_of(
    rf"models?\b{IN_SENTENCE}{{0,80}}?(?:not found|does ?n[o']t exist|not exist|not a valid|is not valid|is invalid"
    r"|not served"
    r"|decommissioned|deprecated|no longer (?:available|supported)|not available|unavailable"
    r"|not enabled|(?:has been|is|was) (?:removed|retired|sunset|discontinued|shut down)|has crashed)",
    r"\bmodels?(?: \S*[\d`'\"/:-]\S*)? (?:(?:has been|is)(?: currently)? )?disabled\b",
    r"(?:unknown|invalid|no such|unsupported|unrecognized) model|not a valid model|model identifier is invalid",
    r"(?:does not|don't|do not|not) have (?:permission to )?access to (?:the |this )?"
    r"(?:[`\"']?\w[\w./:-]*[`\"']? )?(?:model|`)",
    r"permission to (?:use|access)[\w ]{0,20}model|no models? (?:is |are )?loaded",
    r"模型[^。]{0,20}(?:不存在|已?下[线架]|不可用|未找到|不支持)|不支持[该的此]?模型",
    rf"models?\b{IN_SENTENCE}{{0,60}}?(?:not compatible with chat|not servable|not supported in the v1/)",
    r"preview period of .{1,60} has ended",
    r"must be verified to|deployment for this resource does not exist|not found, try pulling",
    r"deployment not found|no such (?:engine|deployment)",
    rf"(?:endpoint|deployment|function)\b(?:{IN_SENTENCE}|:){{0,80}}?(?:not found for|does not exist)",
    r"degraded function",
    r"does ?n[o']t work with the specified model|failed to load model",
    r"model is unloaded|multiple models are loaded|throughput is.?n.?t supported|end of (?:its )?life",
    r"only (?:\w+ )?supported in (?:the )?v1/",
)
NO_CHANNEL = any_of(
    r"no available channels? for|无可用渠道|no (?:allowed providers|endpoints?) (?:are )?(?:available|found)"
)
ABOUT_A_PARAMETER = any_of(
    r"param|argument|field|property|参数|supported with this model|schema|response_format|format\b|to stream\b"
)
