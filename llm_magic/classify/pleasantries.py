"""Words around a request that say nothing of it: greetings, thanks, haste, praise, how hard or important it is.

They must not decide what kind of task it is. A sentence at either end goes where all of its words are such words, or
fill in between them, and something is left; no word in the middle of a text is touched.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = {
    "courtesy": """
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
    "filling": """
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
_COURTESY, _FILLING = (frozenset(words.split()) for words in _WORDS.values())
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_FIRST = re.compile(r"\s*(?:[>*#\[({<-]+ ?)?([^.!?:,;\n]{1,120})(?:[.!?:,;)\]}>*]+(?:\s+|$)|\s*\n\s*)")
_LAST = re.compile(r"(?:(?<!\s\w)[.!?;)\]}]\s|[(\n]|^)([^.!?;(\[\n]{1,120})[.!?)\]}\s:]*\Z")
_THANKS = re.compile(
    r"(?<![:\"'«“])[\s,.!;-]+"
    r"(?:(?:many |a lot of )?thanks|thank you|thx|cheers|please|pls|plz|danke|merci|gracias|grazie|спасибо)"
    r"(?: you| a lot| so much| very much| in advance| again| im voraus| d'avance)*[\s.!:)]*\Z"
)
_SIGNED = re.compile(r"\n--+ ?\n[^\n]{1,80}\s*\Z")
_ENDS, _MOST, _LOOKED = 160, 3, 1_000
"""Characters of each end that are looked at, sentences that may go there, and how far a word is looked for in what is
left."""


def strip_pleasantries(text: str) -> str:
    """The text without the sentences at its ends that say nothing of the task; all of it where that is nothing."""
    start, end = 0, len(text)
    for _ in range(_MOST):
        found = _FIRST.match(text, start, min(end, start + _ENDS))
        if not found or not _says_nothing(found[1]):
            break
        start = found.end()
    if start >= end:
        return text
    for _ in range(_MOST):
        kept = _without_end(text[max(start, end - _ENDS) : end])
        if kept is None:
            break
        end = max(start, end - _ENDS) + kept
    rest = text[start:end]
    return rest if _WORD.search(rest[:_LOOKED]) else text


def _without_end(tail: str) -> int | None:
    """How much of the end of a text is left without its last words, where these say nothing."""
    lowered = tail.lower()
    for pattern in (_SIGNED, _THANKS):
        if (found := pattern.search(lowered)) and found.start():
            return found.start()
    if (found := _LAST.search(lowered)) and found.start(1) and _says_nothing(found[1]):
        return len(lowered[: found.start(1)].rstrip(" \n([")) or None
    return None


def _says_nothing(sentence: str) -> bool:
    words = _WORD.findall(sentence.lower().replace("’", "'"))
    return not _COURTESY.isdisjoint(words) and all(word in _COURTESY or word in _FILLING for word in words)
