"""Removal of sentences around a request that say nothing about the task: greetings, thanks, urgency, praise.

A sentence at either end is dropped if all of its words are pleasantries or fillers and something remains. Text in the
middle is not changed.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = {
    "pleasantries": """
        abend advance advanced ai aide aider aidez aiutami aiuto ajuda amazing android apologies apologise
        appreciate appreciated appreciation asap assist assistance assistant assistants attention awesome
        ayuda ayúdame beaucoup best beste bitte bonjour bonne bot bother bothering brauche breath breeze
        brilliant busy bye cake capable care career careful carefully caution challenging chatbot cheers
        ciao clever cleverest complex complicated cordialement d'avance dank danke dear demanding depend
        depends difficult difficulty disturb e-mail easiest easily easy effort email excuse expert experts
        extremely fast favor fine forwarded fwd genius good goodbye gracias grateful gratitude grazie great
        greetings gruß grüße hallo hand hard hardest haste helfen hello help helped helper helpful helping
        helps hey hi hilf hilfe hiya hola hope howdy hurry importance important incredibly iphone job
        journée kind kindly lieben lovely luck lucky madam mail matter matters merci message mille moi
        muchas necesito nice note notice obliged obrigada obrigado ok okay olá pardon perfect plait plaît
        please pleased pls plz priority professional proud quick quickly re regards replies reply request
        requests respond reward rush saludos salut saluti sent serious seriously simple simplest simply
        sincerely sir smart smartest soon sorry specialist super tag task tasks team thank thanks thx tip
        tired tough tricky trivial trouble trust ty urgency urgent urgently viele vielen warm warning
        welcome wish wishes wonder wondered wonderful wondering здравствуйте пожалуйста помоги помогите
        привет спасибо""",
    "fillers": """
        a able above afternoon again ahead all always an and any are as at attached be been before believe
        below bit boss buddy buenas buenos but by can certain colleague could day deep device did do does
        don't down días early evening ever every everybody everyone feel following for friend friends from
        get give glad go going got had happy has have having he her here hers high his how i i'd i'll i'm
        i've ich if in is isn't it it'd it'll it's its just know late let let's level life like lot lots
        love low manager many me medium might mind minute mir mobile model models moment morning much my
        need needs never night no normal not now of off oh on one ones only or our ours out over own phone
        piece por possible possibly professor promise quite rather read really s'il say she should since so
        some someone something step still such sure system tablet tardes te teacher than that that's the
        their them then there there's these they this those though time times to today tonight too truly try
        up us user very vous was we we'd we'll we're we've weekend well were while who will with won't world
        world's would yes yet you you'd you'll you're you've your yours""",
}
_PLEASANTRIES, _FILLERS = (frozenset(words.split()) for words in _WORDS.values())
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_FIRST_SENTENCE = re.compile(r"\s*(?:[>*#\[({<-]+ ?)?([^.!?:,;\n]{1,120})(?:[.!?:,;)\]}>*]+(?:\s+|$)|\s*\n\s*)")
_LAST_SENTENCE = re.compile(r"(?:(?<!\s\w)[.!?;)\]}]\s|[(\n]|^)([^.!?;(\[\n]{1,120})[.!?)\]}\s:]*\Z")
_THANKS = re.compile(
    r"(?<![:\"'«“])[\s,.!;-]+"
    r"(?:(?:many |a lot of )?thanks|thank you|thx|cheers|please|pls|plz|danke|merci|gracias|grazie|спасибо)"
    r"(?: you| a lot| so much| very much| in advance| again| im voraus| d'avance)*[\s.!:)]*\Z"
)
_SIGNATURE = re.compile(r"\n--+ ?\n[^\n]{1,80}\s*\Z")
_CHARS_PER_END = 160
_SENTENCES_PER_END = 3
_WORD_WITHIN_CHARS = 1_000


def strip_pleasantries(text: str) -> str:
    start, end = 0, len(text)
    for _ in range(_SENTENCES_PER_END):
        match = _FIRST_SENTENCE.match(text, start, min(end, start + _CHARS_PER_END))
        if not match or not _is_pleasantry(match[1]):
            break
        start = match.end()
    if start >= end:
        return text
    for _ in range(_SENTENCES_PER_END):
        tail_start = max(start, end - _CHARS_PER_END)
        kept_chars = _strip_end(text[tail_start:end])
        if kept_chars is None:
            break
        end = tail_start + kept_chars
    rest = text[start:end]
    return rest if _WORD.search(rest[:_WORD_WITHIN_CHARS]) else text


def _strip_end(tail: str) -> int | None:
    lowered = tail.lower()
    for pattern in (_SIGNATURE, _THANKS):
        if (match := pattern.search(lowered)) and match.start():
            return match.start()
    if (match := _LAST_SENTENCE.search(lowered)) and match.start(1) and _is_pleasantry(match[1]):
        return len(lowered[: match.start(1)].rstrip(" \n([")) or None
    return None


def _is_pleasantry(sentence: str) -> bool:
    words = _WORD.findall(sentence.lower().replace("’", "'"))
    return not _PLEASANTRIES.isdisjoint(words) and all(word in _PLEASANTRIES or word in _FILLERS for word in words)
