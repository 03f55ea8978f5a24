"""The canonical form of prompts, and the separation of a request from the material and the noise around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic.classify import classify
from llm_magic.classify.noise import drop_floods, drop_talk
from llm_magic.classify.request import find_request, line_kind
from llm_magic.classify.text import canonical
from llm_magic.types import TaskTier

PROMPTS = (
    "Prove that there are infinitely many primes.",
    "Plot the mean of `sales` by month\nfrom df, with a legend",
    'Return a JSON object with the keys "title" and "year" for the film Alien.',
    "Translate to French: it's raining",
    "Was bedeutet dieser Fehler? KeyError: 'Größe'",
    "what does this do?\n\nfor x in range(3):\n    print(x)",
)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        str.lower,
        str.swapcase,
        lambda text: f" \n\t{text}  \n\n",
        lambda text: text.replace(" ", "   ").replace("\n", " \r\n\n"),
        lambda text: text.replace(" ", "\u00a0"),
        lambda text: text.replace('"', "”").replace("'", "’"),
        lambda text: f'"{text}"',
        lambda text: f"```\n{text}\n```",
        lambda text: f"~~~text\n{text}\n~~~\n",
    ],
    ids=["upper", "lower", "swapped case", "ends", "amounts", "no-break", "curly", "quoted", "fenced", "tildes"],
)
def test_case_white_space_quotes_and_fences_change_nothing(prompt: str, change) -> None:
    assert canonical(change(prompt)) == canonical(prompt)
    assert classify(change(prompt)) == classify(prompt)


@given(st.text(max_size=300))
def test_the_canonical_form_is_canonical(text: str) -> None:
    form, length = canonical(text)
    assert canonical(form) == (form, length) or "```" in form or "~~~" in form
    assert length == len(form)
    assert form == form.strip()


def test_only_the_ends_of_a_very_long_text_are_made_canonical() -> None:
    form, length = canonical("a " * 100_000)
    assert len(form) < 20_000 < length < 200_000


@pytest.mark.parametrize(
    ("text", "asked", "kinds"),
    [
        ("x = 5\ny = x +\n\nwhat is wrong?", "what is wrong?", {"code"}),
        ("traceback (most recent call last):\nkeyerror: 'a'\nhow do i fix it", "how do i fix it", {"log"}),
        ("a,b,c\n1,2,3\n4,5,6\nplot this please", "plot this please", {"data"}),
        ("explain this query\nselect a, b from t where a > 3;", "explain this query", {"code"}),
        ("translate to french: we prove the theorem.", "translate to french", set()),
    ],
)
def test_pasted_material_is_not_part_of_what_is_asked(text: str, asked: str, kinds: set[str]) -> None:
    request = find_request(text)
    assert request.asked == asked
    assert set(request.material) == kinds
    assert request.is_explicit


def test_without_a_request_all_of_the_prose_is_asked() -> None:
    request = find_request("scatter of price by area")
    assert request.asked == "scatter of price by area"
    assert not request.is_explicit
    assert find_request("x = 1;\ny = 2;").asked == "x = 1;\ny = 2;"


PASTED = (
    "although remote sensing has been used for decades, most products rely on one index. can it saturate? please see "
    "section 2. we combine backscatter with loggers at 23 sites. the error is 4 cm. it needs no calibration."
)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (f"one-sentence gist:\n{PASTED}", "one-sentence gist:"),
        (f"topic (one of: rates, water, other)\n{PASTED}", "topic (one of: rates, water, other)"),
        (f"{PASTED}\nshorter + friendlier", "shorter + friendlier"),
        (f"translate to french\n{PASTED}", "translate to french"),
        (f"{PASTED}\nwhat is the topic?", "what is the topic?"),
        (f'tag it: bug / feature\n"{PASTED}"', "tag it"),
        (f'"{PASTED}" shorter', "shorter"),
        ("same text but formal: hey guys, i will be ten minutes late, start without me", "same text but formal"),
        (f"kürzer:\n{PASTED}\n{PASTED}\nthanks for reading", "kürzer:"),
        (f"here is a mail.\n{PASTED}\nsort its points by date", "sort its points by date"),
        (f"help me with this:\n{PASTED}\nfind out why.", "help me with this:\nfind out why."),
    ],
)
def test_a_short_line_at_an_end_is_asked_and_not_what_is_pasted(text: str, asked: str) -> None:
    assert find_request(text).asked == asked


@pytest.mark.parametrize(
    "text",
    [
        "we run three replicas\nsince the upgrade the lag grows every night\nno jobs run at that time",
        "the import fails.\nits log is empty.",
        "polars: lazy scan parquet, filter by year, group by station",
        "一二三四五六七八九十" * 60 + "\n" + "一二三四五六七八九十" * 60,
    ],
)
def test_statements_and_long_lines_are_not_fragments(text: str) -> None:
    assert find_request(text).asked.replace("\n", "") == text.replace("\n", "")


@pytest.mark.parametrize(
    "line",
    [
        "wir möchten sie darauf hinweisen, dass die werte vorläufig sind, und sich noch ändern können",
        "合計を計算してください: 1,250 + 890 + 3,400",
    ],
)
def test_prose_of_another_language_is_not_data(line: str) -> None:
    assert line_kind(line) == ""


def test_a_list_of_instructions_is_asked_as_a_whole() -> None:
    text = "\n".join(
        ["build a small shop.", *[f"- add page number {n} please" for n in range(12)], "it is for a friend."]
    )
    assert find_request(text).asked == text


@pytest.mark.parametrize(
    "flood",
    [
        "proof theorem " * 20,
        "proof theorem lemma integral eigenvalue matrix ",
        "translate. classify. ",
        "summarize this. label it. extract. ",
        "spam, spam, spam, spam, spam: ",
    ],
)
def test_floods_of_words_before_a_request_are_dropped(flood: str) -> None:
    assert drop_floods(f"{flood}what is the capital of peru?") == "what is the capital of peru?"


def test_bare_commands_are_dropped_before_a_task_without_a_verb_and_kept_before_other_text() -> None:
    assert drop_floods("translate. classify. closed form for this integral") == "closed form for this integral"
    assert drop_floods("translate. summarize. guten morgen") == "translate. summarize. guten morgen"


def test_quotes_are_dropped_around_a_text_and_kept_at_one_end() -> None:
    assert canonical("\"'what is this?' \"") == ("what is this?", 13)
    assert canonical('"what is this?')[0] == '"what is this?'


@pytest.mark.parametrize(
    "text",
    [
        "translate.\nguten morgen",
        "translate. classify.",
        "ha ha",
        "proof theorem lemma integral eigenvalue matrix",
        "polars: lazy scan parquet, filter year 2023, group by station",
        "host 0.0.0.0, port 8443",
    ],
)
def test_other_texts_are_no_flood_and_stay(text: str) -> None:
    assert drop_floods(text) == text


@pytest.mark.parametrize(
    "talk",
    ["i'm on a train between basel and milan.", "our plumber comes at three.", "the stapler has gone missing again."],
)
def test_sentences_about_the_writer_or_the_place_are_dropped_at_both_ends(talk: str) -> None:
    request = "translate this to french: see you soon."
    assert drop_talk(f"{talk} {request}") == request
    assert drop_talk(f"{request}\n{talk}") == request
    assert drop_talk(f"{talk} {talk}\n{request} {talk}") == request


@pytest.mark.parametrize("question", ["why?", "what is wrong?", "any ideas?", "why"])
def test_a_statement_stays_before_or_behind_a_question_that_needs_it(question: str) -> None:
    statement = "our worker pool loses tasks when it is canceled under load."
    assert drop_talk(f"{statement} {question}") == f"{statement} {question}"
    assert drop_talk(f"{question} {statement}") == f"{question} {statement}"


@pytest.mark.parametrize(
    "talk",
    [
        "we are repainting the kitchen this weekend.",
        "i am wearing a raincoat.",
        "someone sat in front of our gate.",
        "a crow stole my lunch.",
        "my shoelace just snapped.",
    ],
)
@pytest.mark.parametrize(
    "request_text", ["regex for an email address", "type of 1/2 in python 3", "explain: [x for row in m for x in row]"]
)
def test_a_remark_behind_a_request_without_a_full_stop_is_dropped(request_text: str, talk: str) -> None:
    assert drop_talk(f"{request_text} {talk}") == request_text
    assert drop_talk(f"what is the capital of peru? {talk}") == "what is the capital of peru?"


@pytest.mark.parametrize(
    "text",
    [
        "i'm on a train between basel and milan.",
        "i have a list of 10 numbers. sort them.",
        "our kubernetes pods restart every night. why?",
        "tom buys a red hat. what color is it?",
        "translate: i'm on a train.",
        "list the months with 30 days, one a line, indented by four spaces.",
        "write a letter that praises the nurses who helped my mother.",
        "draft a reply for the customer who asked twice.",
    ],
)
def test_sentences_that_matter_stay(text: str) -> None:
    assert drop_talk(text) == text


def test_prose_is_not_material() -> None:
    assert line_kind("return the result as json with the keys a and b.") == ""
    assert line_kind("return self.x") == "code"
    assert line_kind("balance the budget, compare the plans, and explain why one of them is better") == ""
    assert line_kind("is a = b?") == ""


def test_a_prompt_of_interpolated_values_only_is_not_complex() -> None:
    for text in ("", " \n", "\u200b"):
        result = classify(text)
        assert result.tier is TaskTier.STANDARD
        assert result.reasons == ("nothing but interpolated values or attachments",)
        assert sum(result.probabilities.values()) == pytest.approx(1.0)
