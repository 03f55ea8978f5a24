"""The training prompts of the tier head, and its recall on held-out prompts."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from llm_magic import TaskTier
from llm_magic.classify import classify
from llm_magic.classify.lexicon import task_kinds
from llm_magic.lab.data import Recorded
from llm_magic.lab.evaluate.tiers import SUPPORT_SOURCES, evaluate_tiers
from llm_magic.lab.prompts import (
    NOTEBOOK,
    NOTEBOOK_BATCHES,
    OWN_SOURCE_PREFIX,
    NotebookPrompt,
    fresh_prompts,
    is_held_out,
    label_agreement,
    notebook_prompts,
    own_prompts,
    read_prompt_file,
)
from llm_magic.lab.prompts.composed import composed_prompts, parts, with_format
from llm_magic.lab.prompts.tasks import PROMPTS_PER_SUBJECT, PROMPTS_PER_TASK, prompts_by_task, tier_of_task
from llm_magic.lab.prompts.variants import surroundings, variants

# What there is to learn from


@pytest.mark.lab
def test_held_out_prompts_are_not_trained_on() -> None:
    trained, judged = own_prompts(), own_prompts(held_out=True)
    seen = {text for part in (trained, composed_prompts()) for text in part.prompts}
    assert seen.isdisjoint(judged.prompts)
    assert 0.1 < len(judged.prompts) / (len(trained.prompts) + len(judged.prompts)) < 0.25
    assert set(judged.tiers) == set(TaskTier)
    assert set(SUPPORT_SOURCES) <= set(judged.sources)


@pytest.mark.lab
def test_prompts_are_distinct_and_not_empty() -> None:
    texts = [text for part in (own_prompts(), own_prompts(held_out=True), composed_prompts()) for text in part.prompts]
    assert all(map(str.strip, texts))
    assert not [text for text, times in Counter(texts).items() if times > 1]


def test_fresh_prompts_are_not_trained_on() -> None:
    fresh = fresh_prompts()
    assert Counter(fresh.tiers) == dict.fromkeys(TaskTier, 40)
    others = {text.casefold() for held_out in (False, True) for text in own_prompts(held_out=held_out).prompts}
    assert others.isdisjoint(text.casefold() for text in fresh.prompts)


def test_notebook_prompts_are_many_and_of_every_tier_in_every_large_batch() -> None:
    prompts = notebook_prompts()
    assert len(prompts) >= 800
    assert {prompt.batch for prompt in prompts} == set(NOTEBOOK_BATCHES)
    assert min(Counter(prompt.tier for prompt in prompts).values()) >= 150
    assert len({prompt.text for prompt in prompts}) == len(prompts)
    assert 0.12 < sum(is_held_out(prompt.text) for prompt in prompts) / len(prompts) < 0.22


def test_the_two_labelings_agree_and_disagreements_are_decided() -> None:
    prompts = notebook_prompts()
    agreed, kappa = label_agreement(prompts)
    assert 0.9 <= kappa < agreed < 1
    assert all(prompt.tier in prompt.labels for prompt in prompts)
    rows = [row for batch in NOTEBOOK_BATCHES for row in read_prompt_file(f"{NOTEBOOK}_{batch}")["prompts"]]
    assert all(({"tier", "why"} <= set(row)) == (len(set(row["labels"])) == 2) for row in rows)


def test_kappa_is_agreement_beyond_chance() -> None:
    both = [(TaskTier.BULK, TaskTier.BULK)] * 2 + [
        (TaskTier.COMPLEX, TaskTier.COMPLEX),
        (TaskTier.COMPLEX, TaskTier.BULK),
    ]
    prompts = [NotebookPrompt(text="x", batch="y", labels=labels, tier=labels[0]) for labels in both]
    assert label_agreement(prompts) == pytest.approx((0.75, 0.5))


def test_composed_prompts_have_every_part_filled_in() -> None:
    composed = composed_prompts()
    short = {"labels": TaskTier.BULK} | dict.fromkeys(("calls", "queries", "extraction"), TaskTier.STRUCTURED)
    briefs = {"build": TaskTier.COMPLEX, "problems": TaskTier.COMPLEX, "imagine": TaskTier.STANDARD}
    pasted = {(f"long {material}", tier) for material in ("code", "prose", "figures") for tier in TaskTier}
    assert {(source.removeprefix(f"{OWN_SOURCE_PREFIX} composed "), tier) for source, tier in zip(composed.sources, composed.tiers, strict=True)} == {
        *short.items(), *briefs.items(), *pasted
    }  # fmt: skip
    for name in ("ask", "ask_small", "text", "other", "label", "labels", "asked", "created", "listed", "fields"):
        assert not [text for text in composed.prompts if f"{{{name}}}" in text]


@pytest.mark.lab
def test_neither_length_nor_pasted_material_reveals_the_tier() -> None:
    composed = composed_prompts()
    sizes: dict[TaskTier, list[int]] = {tier: [] for tier in TaskTier}
    for text, tier, source in zip(composed.prompts, composed.tiers, composed.sources, strict=True):
        if source.startswith(f"{OWN_SOURCE_PREFIX} composed long "):
            sizes[tier].append(len(text))
    middle = {tier: float(np.median(lengths)) for tier, lengths in sizes.items()}
    assert min(map(len, sizes.values())) >= 50
    assert min(middle.values()) > 500
    assert max(middle.values()) < 1.5 * min(middle.values()), middle


@pytest.mark.parametrize("demand", parts()["formats"])
def test_a_required_format_has_no_placeholder_left(demand: str) -> None:
    class First(random.Random):
        def choice(self, seq):
            return demand if demand in seq else seq[0]

    text = with_format("Why is the sea salty?", First(1))
    assert "Why is the sea salty?" in text
    assert not [part for part in ("{n}", "{m}", "{word}") if part in text]


def test_variants_keep_the_tier_unless_a_format_is_required() -> None:
    text = "Explain how a lock on a canal works."
    made = list(variants(text, TaskTier.STANDARD, 7))
    assert made == list(variants(text, TaskTier.STANDARD, 7))
    assert made != list(variants(text, TaskTier.STANDARD, 8))
    assert made[0] == (text, TaskTier.STANDARD)
    assert Counter(tier for _, tier in made) == {TaskTier.STANDARD: len(made) - 1, TaskTier.STRUCTURED: 1}
    assert len(made) == 10
    assert {tier for _, tier in variants(text, TaskTier.BULK, 7)} == {TaskTier.BULK}
    assert len(list(variants("word " * 1_000, TaskTier.BULK, 7))) == 1


def test_robustness_is_measured_with_words_that_are_not_in_training() -> None:
    from llm_magic.lab.evaluate.cross_validation import AFTER, BEFORE, TALK

    trained = {words.strip() for kind in ("BEFORE", "AFTER", "TALK") for words in surroundings()[kind]}
    assert trained.isdisjoint(words.strip() for words in BEFORE + AFTER + TALK)


def test_robustness_is_the_share_of_tiers_that_noise_changes() -> None:
    from llm_magic.lab.evaluate.cross_validation import robustness

    fresh = fresh_prompts()
    rates = robustness(fresh.take(range(0, 160, 8)))
    assert rates["white_space"] == rates["capitals"] == rates["small_letters"] == 0
    assert 0 <= rates["talk"] <= 0.2
    is_bulk = [row for row, tier in enumerate(fresh.tiers) if tier is TaskTier.BULK]
    assert robustness(fresh.take(is_bulk[:2]))["commands_before_complex"] is None


def test_recorded_prompts_get_the_tier_of_their_task() -> None:
    tiers = {
        ("bfcl", "simple"): TaskTier.STRUCTURED,
        ("zeroeval", "math-l5"): TaskTier.COMPLEX,
        ("mmlupro", "computer science"): TaskTier.COMPLEX,
        ("mmlupro", "history"): TaskTier.COMPLEX,
        ("routellm", "mmlu/abstract_algebra"): TaskTier.COMPLEX,
        ("fusion", "mmlu"): None,
        ("routellm", "mtbench/coding"): None,
        ("fusion", "trivia_qa"): TaskTier.BULK,
        ("fusion", "mbpp"): TaskTier.STANDARD,
        ("fusion", "commongen"): None,
        ("routerbench", "mbpp"): None,
    }
    assert {key: tier_of_task(*key) for key in tiers} == tiers


def test_prompts_of_a_task_are_sampled_evenly() -> None:
    tasks = ("gsm",) * 200 + ("math-l5",) * 3
    nothing = np.zeros((len(tasks), 0))
    names = tuple(map(str, range(len(tasks))))
    recorded = Recorded(
        source="zeroeval", ids=names, groups=names, tasks=tasks, prompts=names, models=(), scores=nothing,
        costs=nothing, output_tokens=nothing,
    )  # fmt: skip
    sampled = prompts_by_task([recorded])
    assert len(sampled.prompts) == PROMPTS_PER_TASK + 3 > PROMPTS_PER_SUBJECT
    assert sampled.prompts[:2] == ("0", "3")
    assert set(sampled.tiers) == {TaskTier.COMPLEX}


def test_kinds_of_words_are_found_in_any_script() -> None:
    assert {"programming language 1+", "starts programming language"} <= set(task_kinds("python", ["python"]))
    assert "programming 2+" in task_kinds("用java编写代码", list("用编写代码"))
    assert task_kinds("zzz", ["zzz"]) == ["no kind"]


# How the shipped head judges the project's own prompts that it never saw


def test_recall_on_held_out_prompts_is_sufficient() -> None:
    judged = own_prompts(held_out=True)
    report = evaluate_tiers(judged, resamples=1)
    recall = {wanted: row[wanted] / sum(row.values()) for wanted, row in report["confusion"].items()}
    assert min(recall.values()) >= 0.75, report["confusion"]
    assert report["calibration_error"]["pooled"]["value"] <= 0.07


def test_customer_messages_are_seldom_classified_as_complex() -> None:
    judged = own_prompts(held_out=True)
    written = [text for text, source in zip(judged.prompts, judged.sources, strict=True) if source in SUPPORT_SOURCES]
    assert len(written) >= 15
    alarms = [text for text in written if classify(text).tier is TaskTier.COMPLEX]
    assert len(alarms) / len(written) <= 0.10, alarms
