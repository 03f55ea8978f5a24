"""Correction of typos in words that matter to a classification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic.classify.spelling import correct_spelling, correct_word, valid_words, vocabulary
from llm_magic.lab.fit.vocabulary import frequent_words


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("clasify", "classify"),
        ("classsify", "classify"),
        ("tranlsate", "translate"),
        ("sentoment", "sentiment"),
        ("histogarm", "histogram"),
        ("theorem", "theorem"),
        ("xqzwv", "xqzwv"),
        ("plto", "plot"),
        ("whhy", "why"),
        ("wirte", "write"),
        ("pyhtno", "python"),
        ("exat", "exact"),
        # Endings that look like forms of words, the first letter, and short words.
        ("letterr", "letter"),
        ("changs", "changes"),
        ("alculate", "calculate"),
        ("hav", "have"),
        ("giv", "give"),
        ("iin", "in"),
        ("plaesee", "please"),
        ("dasbhoarrd", "dashboard"),
        # Words that are not in the vocabulary, but are not typos either.
        ("settings", "settings"),
        ("liked", "liked"),
        ("simpler", "simpler"),
        ("renting", "renting"),
        ("raining", "raining"),
        ("barking", "barking"),
        ("unclear", "unclear"),
    ],
)
def test_a_word_is_corrected_if_letters_are_swapped_doubled_missing_added_or_changed(typed: str, meant: str) -> None:
    assert correct_word(typed) == meant


def test_only_whole_words_are_corrected() -> None:
    assert (
        correct_spelling("clasify the sentoment, plese: unclasifyable")
        == "classify the sentiment, please: unclasifyable"
    )
    assert correct_spelling("größe_clasify") == correct_spelling("größe_clasify")
    assert correct_spelling("") == ""


@given(st.lists(st.sampled_from(sorted(vocabulary() | valid_words())), max_size=8))
def test_words_of_the_vocabulary_stay(words: list[str]) -> None:
    assert correct_spelling(" ".join(words)) == " ".join(words)


@given(st.text(max_size=200))
def test_correction_is_stable(text: str) -> None:
    once = correct_spelling(text)
    assert correct_spelling(once) == once


@pytest.mark.lab
def test_the_vocabulary_has_the_frequent_words_of_the_training_prompts() -> None:
    """If this fails: write `frequent_words()` to classify/vocabulary.txt and `words_to_keep()` of the recorded prompts to
    classify/valid_words.txt, then train again."""
    assert list(vocabulary()) == frequent_words()
