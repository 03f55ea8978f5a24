"""Concern 1: what kind of task a prompt is. Deterministic, no model, well under a millisecond.

Each signal that is found in the prompt adds its weight to one tier; a softmax makes probabilities of the sums. The
signals look at what is asked for (verbs, requested format) and at how the prompt is built (code, mathematics,
several parts, constraints, length), in the head and the tail of it: that is where instructions stand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from llm_magic.types import Classification, TaskTier

ABSTAIN_BELOW = 0.5
"""Confidence below which the harder of the two likeliest tiers is taken: a wrong answer costs more than a model."""

_HEAD, _TAIL = 3_000, 1_500
"""Characters looked at from each end."""

C, S, F, B = TaskTier.COMPLEX, TaskTier.STANDARD, TaskTier.STRUCTURED, TaskTier.BULK


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something found in a prompt, the tier it speaks for, and how loudly."""

    tier: TaskTier
    weight: float
    reason: str


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(words)  # matched against lower-cased text, which is faster than IGNORECASE


# Ordered by tier. The reason may name what was found: {0}.
_PATTERNS: tuple[tuple[re.Pattern[str], Signal], ...] = tuple(
    (_pattern(words), Signal(tier=tier, weight=weight, reason=reason))
    for words, tier, weight, reason in (
        (r"\b(?:prove|proof|disprove|derive|derivation|theorem|lemma)\b", C, 2.6, "asks for a proof ({0})"),
        (
            r"\b(?:integral|eigenvalue|differential equation|polynomial|convex|asymptotic|stochastic|bayesian|"
            r"topolog\w+|combinatori\w+|probability that|primes?|modulo|matrix|matrices|quantum|thermodynamic\w*)\b",
            C, 1.7, "advanced mathematics or science ({0})",
        ),
        (r"\\(?:frac|sum|int|sqrt|mathbb|begin|leq|geq|cdot)\b|[∑∫√∀∃≤≥]", C, 1.6, "mathematical notation"),
        (
            r"\b(?:architect(?:ure)?|trade-?offs?|scalab\w+|distributed|concurren\w+|thread-?safe|race condition|deadlock|"
            r"fault[- ]toleran\w+|consensus|migrat(?:e|ion)|kubernetes|terraform|microservices?|multi-tenant|consistency model)\b",
            C, 1.7, "systems design ({0})",
        ),
        (
            r"\b(?:implement|refactor|debug|optimi[sz]e|fix (?:the|this|my)|rewrite (?:the|this|my) (?:code|function|script|class)|"
            r"write (?:me )?(?:a|an|the|some) (?:[\w+#.-]+ ){0,4}(?:code|program|script|function|class|app|application|game|api|query|module|parser|algorithm|server|bot|library|compiler|test suite))\b",
            C, 1.9, "programming task ({0})",
        ),
        (
            r"\b(?:step[- ]by[- ]step|root cause|in depth|rigorous\w*|comprehensive\w*|critically|evaluate the|formal(?:ly)? (?:model|verif\w+)|"
            r"reason(?:ing)? (?:about|through)|strategy for|diagnos\w+|differential diagnosis|legal\w* (?:analysis|implications|brief)|statute|contract clause)\b",
            C, 1.3, "careful reasoning ({0})",
        ),
        (r"\b(?:design|architect|devise|plan) (?:a|an|the|out)\b", C, 1.2, "asks for a design ({0})"),
        (
            r"\b(?:explain|describe|compare|discuss|outline|summari[sz]e the (?:main|key|arguments)|advise|recommend|suggest|brainstorm|"
            r"how (?:do|does|did|can|should|would|to)|why (?:do|does|did|is|are|was|were))\b",
            S, 1.0, "explanation or advice ({0})",
        ),
        (
            r"\b(?:write|draft|compose|create|tell me) (?:me )?(?:a|an|the|some) (?:[\w'-]+ ){0,3}(?:email|e-mail|letter|essay|blog|post|article|story|poem|speech|"
            r"paragraph|report|review|message|description|introduction|dialogue|song|toast|haiku|announcement)\b",
            S, 1.5, "a piece of writing ({0})",
        ),
        (r"\b(?:rewrite|rephrase|paraphrase|improve|edit|proofread|polish)\b", S, 1.0, "editing ({0})"),
        (r"\bfunctions?:\s*\[\s*\{|\"parameters\"\s*:\s*\{|\btool[_ ]call", F, 4.2, "function definitions"),
        (
            r"\b(?:as|in|into|to|return|output|valid|respond with|produce|emit|give me|a|only) (?:a |an |valid |only |pure |strict |one |minified |single )*"
            r"(?:json|yaml|xml|csv|toml|markdown table|html table|sql)\b|\bjson (?:object|array|schema|list|with|only|format)\b",
            F, 3.0, "a requested format ({0})",
        ),
        (
            r"\b(?:extract|parse|fill (?:in|out)|populate|convert|transform|normali[sz]e) (?:the |all |this |these |every |each |an? |it |following )*"
            r"(?:\w+[, ]+){0,6}?(?:from|into|to|as|fields?|table|schema|columns?|entities|names?|dates?|values?)\b",
            F, 1.7, "extraction or conversion ({0})",
        ),
        (r"\bkeys?\s*[:=]?\s*(?:\(|\[|\"|`|')|\bfields? (?:named|called)\b|\bschema\b", F, 1.3, "named fields"),
        (
            r"\b(?:exact(?:ly)? (?:this )?(?:template|format)|your (?:response|answer|entire \w+) (?:must|should|has to)|must (?:contain|include|have|start|end|not)\b|"
            r"in (?:all )?(?:lowercase|uppercase|capital letters)|no (?:commas|more than \d+)|at least \d+ (?:words|sentences|times)|"
            r"(?:bullet points|placeholders|sentences?|words?) (?:must|should|denoted|represented)|use (?:the|this) (?:exact )?(?:template|format|structure))",
            F, 2.0, "formal constraints ({0})",
        ),
        (
            r"\b(?:classify|categori[sz]e|label|tag|detect (?:the )?language|sentiment|spam|positive or negative|true or false|yes or no|"
            r"which (?:category|label|class)|does the (?:headline|text|sentence|review|email|message))\b",
            B, 2.6, "labelling ({0})",
        ),
        (r"\btranslat(?:e|ion)\b", B, 2.2, "translation"),
        (
            r"\b(?:in (?:one|a single|1|a|two|three|2|3) (?:short )?(?:word|sentence|line)s?|one[- ](?:word|line|sentence)|tl;?dr|keywords?|"
            r"title for|headline|subject line|shorten|fix (?:the )?(?:typos?|spelling|grammar)|capitali[sz]e|lowercase|uppercase|"
            r"(?:just|only) (?:the|a) (?:word|number|name|answer|letter|label))\b",
            B, 1.9, "a short routine answer ({0})",
        ),
        (r"\bsummari[sz]e\b|\bsummary\b", B, 1.2, "summary"),
        (r"\A\s*(?:hi|hello|hey|thanks|thank you|say|repeat|echo|ping|test)\b", B, 1.8, "small talk or an echo ({0})"),
        (
            r"\A\s*(?:what(?:'s| is| are| was)|who(?:'s| is| was)|when (?:is|was|did)|where (?:is|was)|how (?:many|old|tall|far|much)|"
            r"name (?:a|an|one|two|three|\d+|the)|list (?:\d+|two|three|five|ten)|define|spell)\b",
            B, 1.4, "a lookup ({0})",
        ),
    )
)  # fmt: skip

_CODE = re.compile(
    r"```|^[ \t]*(?:def|class|import|from|const|let|var|function|public|private|#include|SELECT|fn|package|async)\b"
    r"|[;{]$|^\s*\}\s*$|\)[;{]|</\w{1,20}>|Traceback \(most recent",
    re.MULTILINE,
)
_PARTS = re.compile(r"^\s*(?:\d+[.)]|[-*•]|\([a-z]\))\s", re.MULTILINE)
_PRIOR = {C: -0.05, S: 0.6, F: -0.5, B: 0.0}


def classify(text: str) -> Classification:
    """The tier of a prompt, with a confidence in 0..1 and the reasons, in words.

    Below `ABSTAIN_BELOW` it abstains upward: it takes the harder of the two likeliest tiers and says so. Looks at no
    more than the first 3,000 and the last 1,500 characters, so that its time is bounded.
    """
    signals = tuple(_signals(text))
    scores = dict(_PRIOR)
    for signal in signals:
        scores[signal.tier] += signal.weight
    total = sum(math.exp(score) for score in scores.values())
    likeliest = sorted(TaskTier, key=lambda tier: -scores[tier])
    first, second = likeliest[:2]
    confidence = math.exp(scores[first]) / total
    tier = first
    reasons = [signal.reason for signal in sorted(signals, key=lambda signal: -signal.weight) if signal.tier == first]
    if confidence < ABSTAIN_BELOW:
        tier = min(first, second, key=list(TaskTier).index)
        confidence = math.exp(scores[tier]) / total
        reasons = [signal.reason for signal in signals if signal.tier in (first, second)]
        reasons.append(f"unsure between {first} and {second}: took the harder, {tier}")
    return Classification(tier=tier, confidence=round(confidence, 3), reasons=tuple(reasons) or ("nothing special",))


def _signals(text: str) -> Iterator[Signal]:
    whole = len(text)
    if whole > _HEAD + _TAIL:
        text = f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    lowered = text.lower()
    for pattern, signal in _PATTERNS:
        if found := pattern.search(lowered):
            said = " ".join(found.group(0).split())[:40]
            yield Signal(tier=signal.tier, weight=signal.weight, reason=signal.reason.format(said))
    code = len(_CODE.findall(text))
    if code:
        yield Signal(tier=C, weight=min(2.2, 0.8 + 0.2 * code), reason="contains code")
    parts = len(_PARTS.findall(text))
    if parts >= 3:
        yield Signal(tier=C, weight=min(1.2, 0.25 * parts), reason=f"{parts} listed points")
    if text.count("?") >= 3:
        yield Signal(tier=C, weight=0.6, reason="several questions")
    words = len(text.split())
    if words <= 12 and not code:
        yield Signal(tier=B, weight=0.7, reason="very short")
    elif words > 120:
        yield Signal(tier=C, weight=min(1.5, words / 250), reason="long instructions")
    if whole > 20_000:
        yield Signal(tier=S, weight=0.8, reason=f"long text ({whole:,} characters)")
