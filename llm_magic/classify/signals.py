"""Signals of a tier that can be explained in words: verbs, requested formats, code, mathematics, constraints, length.

They give the reasons of a classification, and are features of the learned heads, which weigh them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from llm_magic.classify.request import MATERIAL_KINDS, Request
from llm_magic.types import TaskTier

C, S, F, B = TaskTier.COMPLEX, TaskTier.STANDARD, TaskTier.STRUCTURED, TaskTier.BULK


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """feature_name: empty if the signal is a reason only, such as the size of what is pasted."""

    tier: TaskTier
    weight: float
    reason: str
    feature_name: str


_HEAD_CHARS, _TAIL_CHARS = 800, 500


# Matched against lowercased text, which is faster than IGNORECASE. {0} in a reason is the matched text. The last column
# lists the prefixes of the words that a match can begin with: trying a pattern at these words only makes it fast. If it
# is empty, the whole text is searched.
PATTERNS: tuple[tuple[str, frozenset[str], Signal], ...] = tuple(
    (
        pattern,
        frozenset(prefixes.split()),
        Signal(tier=tier, weight=weight, reason=reason, feature_name=f"signal {reason}"),
    )
    for pattern, tier, weight, reason, prefixes in (
        (r"\b(?:prove|proof|disprove|derive|derivation|theorem|lemma)\b", C, 2.6, "asks for a proof ({0})", "pro dis der the lem"),
        (
            r"\b(?:integral|eigenvalue|differential equation|polynomial|convex|asymptotic|stochastic|bayesian|"
            r"topolog\w+|combinatori\w+|probability that|primes?|modulo|matrix|matrices|quantum|thermodynamic\w*)\b",
            C, 1.7, "advanced mathematics or science ({0})", "int eig dif pol con asy sto bay top com pro pri mod mat qua the",
        ),
        (r"\\(?:frac|sum|int|sqrt|mathbb|begin|leq|geq|cdot)\b|[∑∫√∀∃≤≥]", C, 1.6, "mathematical notation", ""),
        (
            r"\b(?:architect(?:ure)?|trade-?offs?|scalab\w+|distributed|concurren\w+|thread-?safe|race condition|deadlock|"
            r"fault[- ]toleran\w+|consensus|migrat(?:e|ion)|kubernetes|terraform|microservices?|multi-tenant|consistency model)\b",
            C, 1.7, "systems design ({0})", "arc tra sca dis con thr rac dea fau mig kub ter mic mul",
        ),
        (
            r"\b(?:implement|refactor|debug|optimi[sz]e|fix (?:the|this|my)|rewrite (?:the|this|my) (?:code|function|script|class)|"
            r"write (?:me )?(?:a|an|the|some) (?:[\w+#.-]+ ){0,4}(?:code|program|script|function|class|app|application|game|api|query|module|parser|algorithm|server|bot|library|compiler|test suite))\b",
            S, 1.2, "programming task ({0})", "imp ref deb opt fix rew wri",
        ),
        (
            r"\b(?:step[- ]by[- ]step|root cause|in depth|rigorous\w*|comprehensive\w*|critically|evaluate the|formal(?:ly)? (?:model|verif\w+)|"
            r"reason(?:ing)? (?:about|through)|strategy for|diagnos\w+|differential diagnosis|legal\w* (?:analysis|implications|brief)|statute|contract clause)\b",
            C, 1.3, "careful reasoning ({0})", "ste roo in rig com cri eva for rea str dia dif leg sta con",
        ),
        (r"\b(?:design|architect|devise|plan) (?:a|an|the|out)\b", C, 1.2, "asks for a design ({0})", "des arc dev pla"),
        (
            r"\b(?:justify|argue|rule out|weigh|pros? and cons? of each|recommend (?:one|a)|zero[- ]downtime|go through|walk through|"
            r"counterexample|identif(?:y|iab\w+)|sensitivity|lower bound|correctness|trade-?offs?)\b",
            C, 1.1, "weighs several possibilities ({0})", "jus arg rul wei pro rec zer go wal cou ide sen low cor tra",
        ),
        (
            r"\b(?:plot|chart|histogram|scatter|heatmap|subplots?|legend|seaborn|matplotlib|ggplot|plotly)\b",
            S, 1.4, "a plot ({0})", "plo cha his sca hea sub leg sea mat ggp",
        ),
        (
            r"\b(?:pandas|dataframe|df|groupby|pivot|merge|numpy|polars|dplyr|excel|spreadsheet|csv)\b",
            S, 0.9, "everyday data work ({0})", "pan dat df gro piv mer num pol dpl exc spr csv",
        ),
        (
            r"\b(?:type hints?|docstrings?|one[- ]liner|comprehension|regex|unit tests?|pytest|bash|shell|cron\w*|makefile|dockerfile|git|"
            r"gitignore|decorator|argparse|f-strings?|variable names?)\b",
            S, 1.0, "everyday code ({0})", "typ doc one com reg uni pyt bas she cro mak git dec arg f var",
        ),
        (
            r"\b(?:explain|describe|compare|discuss|outline|summari[sz]e the (?:main|key|arguments)|advise|recommend|suggest|brainstorm|"
            r"how (?:do|does|did|can|should|would|to)|why (?:do|does|did|is|are|was|were))\b",
            S, 1.0, "explanation or advice ({0})", "exp des com dis out sum adv rec sug bra how why",
        ),
        (
            r"\b(?:write|draft|compose|create|tell me) (?:me )?(?:a|an|the|some) (?:[\w'-]+ ){0,3}(?:email|e-mail|letter|essay|blog|post|article|story|poem|speech|"
            r"paragraph|report|review|message|description|introduction|dialogue|song|toast|haiku|announcement)\b",
            S, 1.5, "a piece of writing ({0})", "wri dra com cre tel",
        ),
        (r"\b(?:rewrite|rephrase|paraphrase|improve|edit|proofread|polish)\b", S, 1.0, "editing ({0})", "rew rep par imp edi pro pol"),
        (
            r"\b(?:as|in|into|to|return|output|valid|respond with|produce|emit|give me|a|only) (?:a |an |valid |only |pure |strict |one |minified |single )*"
            r"(?:json|yaml|xml|csv|toml|markdown table|html table|sql)\b|\bjson (?:object|array|schema|list|with|only|format)\b",
            F, 3.0, "a requested format ({0})", "as in int to ret out val res pro emi giv a onl jso",
        ),
        (
            r"\b(?:extract|parse|fill (?:in|out)|populate|convert|transform|normali[sz]e) (?:the |all |this |these |every |each |an? |it |following )*"
            r"(?:\w+[, ]+){0,6}?(?:from|into|to|as|fields?|table|schema|columns?|entities|names?|dates?|values?)\b",
            F, 1.7, "extraction or conversion ({0})", "ext par fil pop con tra nor",
        ),
        (r"\bkeys? ?(?:[:=]|\(|\[|\w+(?:,| and\b))|\bfields? (?:named|called)\b|\bschema\b", F, 1.3, "named fields", "key fie sch"),
        (
            r"\b(?:exact(?:ly)? (?:this )?(?:template|format)|your (?:response|answer|entire \w+) (?:must|should|has to)|must (?:contain|include|have|start|end|not)\b|"
            r"in (?:all )?(?:lowercase|uppercase|capital letters)|no (?:commas|more than \d+)|at least \d+ (?:words|sentences|times)|"
            r"(?:bullet points|placeholders|sentences?|words?) (?:must|should|denoted|represented)|use (?:the|this) (?:exact )?(?:template|format|structure))",
            F, 2.0, "formal constraints ({0})", "exa you mus in no at bul pla sen wor use",
        ),
        (
            r"\b(?:classify|categori[sz]e|label|tag|detect (?:the )?language|sentiment|spam|positive or negative|true or false|yes or no|"
            r"which (?:category|label|class)|does the (?:headline|text|sentence|review|email|message))\b",
            B, 2.6, "labelling ({0})", "cla cat lab tag det sen spa pos tru yes whi doe",
        ),
        (r"\btranslat(?:e|ion)\b", B, 2.2, "translation", "tra"),
        (
            r"\b(?:in (?:one|a single|1|a|two|three|2|3) (?:short )?(?:word|sentence|line)s?|one[- ](?:word|line|sentence)|tl;?dr|keywords?|"
            r"title for|headline|subject line|shorten|fix (?:the )?(?:typos?|spelling|grammar)|capitali[sz]e|lowercase|uppercase|"
            r"(?:just|only) (?:the|a) (?:word|number|name|answer|letter|label))\b",
            B, 1.9, "a short routine answer ({0})", "in one tl tld key tit hea sub sho fix cap low upp jus onl",
        ),
        (r"\bsummari[sz]e\b|\bsummary\b", B, 1.2, "summary", "sum"),
        (r"\A\s*(?:hi|hello|hey|thanks|thank you|say|repeat|echo|ping|test)\b", B, 1.8, "small talk or an echo ({0})", ""),
        (
            r"\A\s*(?:what(?:'s| is| are| was)|who(?:'s| is| was)|when (?:is|was|did)|where (?:is|was)|how (?:many|old|tall|far|much)|"
            r"name (?:a|an|one|two|three|\d+|the)|list (?:\d+|two|three|five|ten)|define|spell)\b",
            B, 1.4, "a lookup ({0})", "",
        ),
    )
)  # fmt: skip

_ANYWHERE = [index for index, (_, prefixes, _) in enumerate(PATTERNS) if not prefixes]
_BY_PREFIX = {
    prefix: [index for index, (_, prefixes, _) in enumerate(PATTERNS) if prefix in prefixes]
    for prefix in frozenset[str]().union(*(prefixes for _, prefixes, _ in PATTERNS))
}


def _prefix_pattern() -> re.Pattern[str]:
    """Build a pattern for the first three letters of a word, or all of a shorter one, if a pattern may begin there."""
    by_letter: dict[str, list[str]] = {}
    for prefix in sorted(_BY_PREFIX):
        by_letter.setdefault(prefix[0], []).append(prefix[1:] if len(prefix) == 3 else rf"{prefix[1:]}(?![a-z])")
    return re.compile(
        r"\b(?:" + "|".join(f"{letter}(?:{'|'.join(rests)})" for letter, rests in by_letter.items()) + ")"
    )


_PREFIX = _prefix_pattern()


@functools.cache
def _pattern(index: int) -> re.Pattern[str]:
    """Compile a pattern at first use: compiling all of them takes as long as a hundred decisions."""
    return re.compile(PATTERNS[index][0])


_INLINE_CODE = re.compile(r"\w\(\w*[,)]|\w\[\w+\]|\w\.\w+\(|</?\w{1,20}>|\);|\)\{|[^\W\d]\w* = \S")
_FUNCTION_DEFINITIONS = re.compile(
    r'\bfunctions?"?: ?\[ ?\{|\bparameters"? ?: ?\{|\btool[_ ]call|\bname"?: ?[^,{}]{1,80}, ?"?description"?:'
)
_LIST_ITEM = re.compile(r"^(?:\d+[.)]|[-*•]|\([a-z]\))\s", re.MULTILINE)


def detect_signals(request: Request, text_length: int) -> Iterator[Signal]:
    """Find the signals of a request. text_length: characters of the whole prompt."""
    asked = request.asked
    if len(asked) > _HEAD_CHARS + _TAIL_CHARS:
        asked = f"{asked[:_HEAD_CHARS]}\n{asked[-_TAIL_CHARS:]}"
    yield from _matched_patterns(asked)
    if "name" in request.whole and _FUNCTION_DEFINITIONS.search(request.whole):
        reason = "function definitions"
        yield Signal(tier=F, weight=4.2, reason=reason, feature_name=f"signal {reason}")
    pasted = [kind for kind in MATERIAL_KINDS if kind in request.material]
    for kind in pasted:
        yield Signal(tier=S, weight=0.5, reason=f"pasted {kind}", feature_name=f"signal pasted {kind}")
    if not pasted and _INLINE_CODE.search(asked):
        yield Signal(tier=S, weight=0.6, reason="contains code", feature_name="signal contains code")
    points = len(_LIST_ITEM.findall(asked))
    if points >= 3:
        reason = f"{points} listed points"
        yield Signal(tier=C, weight=min(1.2, 0.25 * points), reason=reason, feature_name="signal listed points")
    if asked.count("?") >= 3:
        yield Signal(tier=C, weight=0.6, reason="several questions", feature_name="signal several questions")
    word_count = len(asked.split())
    if word_count <= 12 and not pasted:
        yield Signal(tier=B, weight=0.7, reason="very short", feature_name="signal very short")
    elif word_count > 120:
        weight = min(1.5, word_count / 250)
        yield Signal(tier=C, weight=weight, reason="long instructions", feature_name="signal long instructions")
    if text_length > 20_000:
        reason = f"long text ({text_length:,} characters)"
        yield Signal(tier=S, weight=0.8, reason=reason, feature_name="")


def _matched_patterns(lowered: str) -> Iterator[Signal]:
    matches = {index: match for index in _ANYWHERE if (match := _pattern(index).search(lowered))}
    for word in _PREFIX.finditer(lowered):
        for index in _BY_PREFIX.get(word[0], ()):
            if index not in matches and (match := _pattern(index).match(lowered, word.start())):
                matches[index] = match
    for index in sorted(matches):
        signal = PATTERNS[index][2]
        if "{0}" not in signal.reason:
            yield signal
            continue
        matched_text = " ".join(matches[index][0].split())[:40]
        yield Signal(
            tier=signal.tier,
            weight=signal.weight,
            reason=signal.reason.format(matched_text),
            feature_name=signal.feature_name,
        )
