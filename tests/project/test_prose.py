"""Plain American English in docstrings, messages, documents and notebooks; CONTRIBUTING.md states the rules."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.source import PACKAGE, ROOT, TESTS, docstrings, python_files, relative, text_of, tree

OPENING = re.compile(r"\s*(What|Whether|Where|Of|How|It|The same|As|Who|Why|When|That)\b")
BANNED = {
    r"dear(er|est|ly)?": "expensive",
    r"(?<!-)mend(s|ed|ing)?": "fix",
    r"noughts?": "zeros",
    r"thrice": "three times",
    r"whoever": "the name of the one who",
    r"nobody": "nothing, or no one if it is a person",
    r"under way": "running, in flight",
    r"(comes?|came|coming) to": "totals, is",
    r"(?<!there )(is|are|was) no(?! longer\b)": "is not a",
    r"once more": "again",
    r"anew": "again",
    r"for want of": "without",
    r"costs? what (it|they) costs?": "the price",
    r"the books": "the ledger",
    r"besides": "in addition to",
    r"ours|theirs": "llm_magic's, the user's",
    r"at the (least|most)": "at least, at most",
    r"learnt": "learned",
    r"(colour|behaviour|favour|honour|neighbour|flavour|licence|catalogue|grey|centre)\w*": "American spelling",
    r"analys(e|ed|ing)": "American spelling",
    r"(sanit|recogn|serial|normal|initial|optim|summar|organ|priorit|real|token|util|minim|maxim|categor|capital|"
    r"custom|standard|featur|character|general|item|memo|random|synchron|author|emphas|visual|final)"
    r"is(e|es|ed|er|ers|ing|ation)": "the spelling -ize",
}
FORBIDDEN = re.compile(rf"\b({'|'.join(BANNED)})\b", re.IGNORECASE)
NAME = re.compile(r"test_(it|its|these|those|they|them|nor|so|whatever|whoever|who|what|where)_")
BANNED_IN_NAMES = re.compile(
    r"_(dear\w*|mend\w*|told|thrice|whoever|nobody|anew|once_more|under_way|is_no(?!_longer))(_|$)"
)
OUTPUT_KEYS = frozenset(["llm_magic/lab/simulate/simulator.py"])
"""Files with a banned word in the keys of a published output format."""
DATA = (
    "llm_magic/lab/prompts",
    "llm_magic/lab/evaluate/cross_validation.py",
    "llm_magic/classify/signals.py",
    "llm_magic/classify/pleasantries.py",
)
"""Prompts of people, and the patterns that recognize them."""


def is_exempt(path: Path, exempt: Iterable[str]) -> bool:
    name = relative(path)
    return any(name == each or name.startswith(f"{each}/") for each in exempt)


def package_files() -> list[Path]:
    return [path for path in python_files(PACKAGE) if not is_exempt(path, OUTPUT_KEYS)]


def messages(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string of at least two words that is not a docstring."""
    documented = {id(node) for node in docstrings(module)}
    for node in ast.walk(module):
        if id(node) not in documented and (text := text_of(node)) is not None and " " in text.strip():
            yield node.lineno, text


def without_code(text: str) -> str:
    """Drop code blocks, what is in backticks, and the targets of links."""
    text = re.sub(r"^```.*?^```|``[^`]+``|`[^`]+`", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"\]\([^)]*\)", "]", text)


def documents() -> Iterator[tuple[str, str]]:
    """The prose of every Markdown file, and of every Markdown cell of the notebooks."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]:
        if not is_exempt(path, OUTPUT_KEYS):
            yield relative(path), path.read_text("utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if not is_exempt(path, OUTPUT_KEYS):
            for number, cell in enumerate(json.loads(path.read_text("utf-8"))["cells"]):
                if cell["cell_type"] == "markdown":
                    yield f"{relative(path)}, cell {number}", "".join(cell["source"])


def names_of_tests(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            NAME.match(node.name) or (node.name.startswith("test_") and BANNED_IN_NAMES.search(node.name))
        ):
            yield f"{relative(path)}:{node.lineno}: {node.name}"


def banned_in(text: str) -> list[str]:
    return [match[0] for match in FORBIDDEN.finditer(text)]


def report(problems: list[str]) -> None:
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    report(
        [
            f"{relative(path)}:{node.lineno}: {node.value.strip().splitlines()[0]}"
            for path in package_files()
            for node in docstrings(tree(path))
            if OPENING.match(node.value)
        ]
    )


def test_names_of_tests_are_sentences_with_a_subject() -> None:
    files = python_files(TESTS)
    report([name for path in files for name in names_of_tests(path)])


def test_docstrings_have_no_banned_words() -> None:
    report(
        [
            f"{relative(path)}:{node.lineno}: {found}"
            for path in package_files()
            if not is_exempt(path, DATA)
            for node in docstrings(tree(path))
            if (found := banned_in(without_code(node.value)))
        ]
    )


def test_messages_have_no_banned_words() -> None:
    report(
        [
            f"{relative(path)}:{line}: {found} in {text.strip()[:80]!r}"
            for path in package_files()
            if not is_exempt(path, DATA)
            for line, text in messages(tree(path))
            if (found := banned_in(text))
        ]
    )


def test_documents_have_no_banned_words() -> None:
    report([f"{name}: {found}" for name, text in documents() if (found := banned_in(without_code(text)))])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The dearest model.", ["dearest"]),
        ("It is no number.", ["is no"]),
        ("It is no longer there.", []),
        ("Recommend it, append it, amend it.", []),
        ("The behaviour is serialised.", ["behaviour", "serialised"]),
        ("A precise promise is otherwise raised; revise the analysis.", []),
        ("Resources and hours of yours.", []),
    ],
)
def test_banned_words_are_whole_words(text: str, found: list[str]) -> None:
    assert banned_in(text) == found
