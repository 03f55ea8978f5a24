"""Whether two answers say the same."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_magic.answers import schema_of
from llm_magic.answers.agreement import agree, canonical_form
from tests.support.fuzzing import examples

PROSE = "The sea is salt because rivers carry minerals into it, and only the water leaves it again as vapour."
FUNCTION = "```python\ndef double(x):\n    return 2 * x\n```"

SAME = [
    ("1,000", "1000.0"), ("1,000,000.50", "1000000.5"), ("1e3", "1000"), ("−5", "-5"), ("$18", "18 dollars"),
    ("x = 18", "18"), ("She has 18 apples.", "18"), ("50%", "50"), ("0.5", "1/2"), ("３", "3"),
    ("Answer: B", "B"), ("**B**", "B"), ("(B)", "b."), ("B) Paris", "Answer: B"), ("The answer is (C).", "C"),
    ("The correct option is B because 3 > 2.", "B"), ("Yes.", "yes"), ("Not spam", "**not spam**"), ("'Paris'", "Answer: Paris"),
    ("(3, 5)", "(3,5)"), ("```\n42\n```", "42"), ("Answer: `B`", "B"), ("Antwort: B", "B"),
    (r"\boxed{\frac{1}{2}}", "0.5"), (r"We get $\boxed{12}$. I hope it is right.", "12"), ("It is\n**1,000**", "1000"), (r"\boxed{x^{2}}", r"$x^{2}$"),
    ("3 + 4 = 7\nSo she has 7 apples.", "7"), ("3 * 4 = 12\n12 + 5 = 17\n\nThe total is **$17.00**.", "#### 17"),
    ('{"a": 1, "b": [2, 3]}', '```json\n{"b": [2.0, 3], "a": 1.0}\n```'), ('Here it is:\n```json\n{"a": 1}\n```\nEnjoy!', '{"a":1}'),
    ('{"name": "Ada  Lovelace"}', '{"name": "Ada Lovelace"}'), (PROSE, PROSE.upper() + "\n"), (FUNCTION, FUNCTION.replace("python", "py")),
]  # fmt: skip
DIFFERENT = [
    ("1,000", "100"), ("1.5", "15"), ("5", "-5"), ("10²", "10"), ("2x", "2"), ("3 hours", "3 minutes"), ("50%", "0.5"),
    ("$0.50", "50 cents"), ("Apollo 11", "Windows 11"), ("It is not 5.", "5"), ("more than 5", "5"), ("x > 5", "x < 5"), ("3/4", "3"),
    ("A", "B"), ("Yes", "No"), ("A dog", "A"), ("The answer is (C).", "The answer is (D)."), ("spam", "not spam"),
    ('{"a": 1}', '{"a": true}'), ('{"a": 1}', '{"a": "1"}'), ('{"a": 1}', '{"a": 1, "b": null}'), ("[1, 2]", "[2, 1]"),
    (PROSE, PROSE.replace("rivers", "glaciers")), (PROSE + " It was so in 1969.", "Nobody knows, as of the year 1969."), (FUNCTION, FUNCTION.replace("2 *", "x *")),
    ("```python\n1\n```", "1\n2"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal_answers_agree(one: str, other: str) -> None:
    assert agree(one, other)
    assert agree(other, one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_answers_disagree(one: str, other: str) -> None:
    assert not agree(one, other)
    assert not agree(other, one)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("42", "number"),
        ("B", "label"),
        ("[1]", "json"),
        (FUNCTION, "code"),
        (PROSE, "text"),
        ("1/0", "label"),
        ("", "text"),
    ],
)
def test_an_answer_is_reduced_to_its_kind(text: str, kind: str) -> None:
    assert canonical_form(text).kind == kind
    assert canonical_form(text).comparable == (kind != "text")


def test_with_a_schema_both_answers_must_fit_it() -> None:
    schema = schema_of({"type": "object", "required": ["n"], "properties": {"n": {"type": "number"}}})
    assert agree('{"n": 1}', '```json\n{"n": 1.0}\n```', schema=schema)
    assert not agree('{"n": 1}', '{"n": 2}', schema=schema)
    assert not agree('{"m": 1}', '{"m": 1}', schema=schema)
    assert not agree("no JSON", "no JSON", schema=schema)


def test_code_agrees_if_both_pass_the_check() -> None:
    other = "```python\ndef double(x):\n    return x + x\n```"
    seen: list[str] = []

    def check(text: str) -> bool:
        seen.append(text)
        return "return" in text

    assert not agree(FUNCTION, other)
    assert agree(FUNCTION, other, check=check)
    assert seen == [FUNCTION, other]
    assert not agree(FUNCTION, other, check=lambda text: "x + x" in text)
    assert not agree("1", "2", check=lambda text: True), "a check compares code, not what can be compared without it"


numbers = st.one_of(
    st.integers(), st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9)
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(numbers)
def test_a_number_agrees_in_every_notation(number: Any) -> None:
    written = [
        f"{number}",
        f"{number:,}",
        f"Answer: {number}",
        f"**{number}**",
        f"\\boxed{{{number}}}",
        f"1 + 1 = 2\nso it is {number}",
    ]
    assert {canonical_form(text).value for text in written} == {canonical_form(str(number)).value}
    assert canonical_form(written[0]).kind == "number"


@given(numbers, numbers)
def test_numbers_agree_only_if_they_are_equal(one: Any, other: Any) -> None:
    assert agree(f"{one:,}", f"The answer is {other}.") == (one == other)


@settings(max_examples=examples(40))
@given(values.filter(lambda value: isinstance(value, dict | list)), st.randoms(use_true_random=False))
def test_json_agrees_in_any_order_and_formatting(value: Any, random: Any) -> None:
    def shuffled(part: Any) -> Any:
        if isinstance(part, dict):
            keys = list(part)
            random.shuffle(keys)
            return {key: shuffled(part[key]) for key in keys}
        return [shuffled(item) for item in part] if isinstance(part, list) else part

    assert agree(json.dumps(value), f"```json\n{json.dumps(shuffled(value), indent=2)}\n```")


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_texts_can_be_compared(one: str, other: str) -> None:
    assert agree(one, one)
    assert agree(one, other) == agree(other, one)


@pytest.mark.parametrize(
    "text",
    [
        "```\n" + " " * 300_000, "```\n" * 60_000, "answer is " * 30_000, "9" * 300_000, "1," * 150_000, "\\boxed{" * 40_000, "[" * 300_000,
        "1+" * 150_000 + "=", "**" * 150_000, "1e99999999", "(" * 50, "the " * 80_000, "{\"a\":" * 50_000,
    ],
)  # fmt: skip
def test_long_answers_are_compared_in_bounded_time(text: str) -> None:
    begun = time.process_time()
    canonical_form(text)
    assert time.process_time() - begun < 2
