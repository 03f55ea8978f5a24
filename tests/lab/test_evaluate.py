"""Evaluation and training on small generated data, compared with hand calculations."""

from __future__ import annotations

import csv
import dataclasses
import functools
import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic import TaskTier
from llm_magic.__main__ import main
from llm_magic.answers.agreement import SAME_MISTAKE, SAME_RIGHT
from llm_magic.classify import LinearClassifier, features_of
from llm_magic.classify.features import BUCKETS, family_scales
from llm_magic.classify.heads import DIFFICULTY_SCALES, TIER_SCALES, Heads
from llm_magic.lab.data import Labeled, Recorded, read_outcomes, read_tiers
from llm_magic.lab.evaluate import ablation, multi_model
from llm_magic.lab.evaluate.cascades import (
    CascadeColumns,
    MeasuredCascade,
    agreement_probability,
    anchor,
    candidate_cascades,
    expected_outcome,
)
from llm_magic.lab.evaluate.cross_validation import tier_change_rates
from llm_magic.lab.evaluate.metrics import auc, bootstrap, calibration_error, reliability, routing_curve
from llm_magic.lab.evaluate.tiers import FOLDS, SUPPORT_SOURCES, cross_validate
from llm_magic.lab.fit import train, train_tiers
from llm_magic.lab.fit.adapt import adapt, fit_kind_model
from llm_magic.lab.fit.linear import Matrix, ridge, softmax
from llm_magic.lab.prompts import own_prompts

EASY = ("Add {a} and {b}.", "sums")
HARD = ("Prove that every group of order {a} has a subgroup of order {b}.", "proofs")


def prompts_of(source: str, count: int) -> list[dict[str, Any]]:
    """Make easy sums and hard proofs in equal parts."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        text, task = (EASY, HARD)[number % 2]
        prompt = text.format(a=number * 7 + 3, b=number + 11)
        rows.append(
            {
                "prompt_id": f"{source}{number}",
                "group_id": f"{source}{number // 2}",
                "source": source,
                "task": task,
                "prompt": prompt,
            }
        )
    return rows


def outcomes_of(prompts: list[dict[str, Any]], chance: random.Random) -> list[dict[str, Any]]:
    """Score every model right on sums, and mostly the strong one on proofs."""
    right = {"weak": (0.95, 0.1), "middle": (0.95, 0.5), "strong": (0.97, 0.9)}
    price = {"weak": 0.0001, "middle": 0.001, "strong": 0.01}
    return [
        {
            "prompt_id": row["prompt_id"], "model": model, "output_tokens": 50, "cost_usd": price[model],
            "score": float(chance.random() < right[model][row["task"] == "proofs"]),
        }
        for row in prompts for model in right
    ]  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training and evaluation files with prompts, outcomes and tiers: two sources, and a third for evaluation only."""
    folder = tmp_path_factory.mktemp("data")
    chance = random.Random(1)  # noqa: S311
    for split, count in (("train", 60), ("dev", 40)):
        prompts = [row for source in ("zeroeval", "fusion", "own") for row in prompts_of(source, count)]
        write(folder / f"{split}_prompts.jsonl", prompts)
        write(folder / f"{split}_outcomes.csv", outcomes_of(prompts, chance))
    tiers = [
        {"id": str(number), "source": f"s{number % 2}", "prompt": text.format(number), "tier": tier}
        for number in range(20)
        for text, tier in (
            ("Prove theorem number {}.", "complex"), ("Translate word {} to French.", "bulk"),
            ("Write a poem about the number {}.", "standard"), ("Return {} as JSON.", "structured"), ("Odd {}.", None),
        )
    ]  # fmt: skip
    write(folder / "tiers.jsonl.gz", tiers)
    return folder


# The figures


def test_apgr_equals_a_hand_calculation() -> None:
    weak, strong = np.array([1.0, 0.0, 0.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.0])
    best = routing_curve(np.array([0.0, 2.0, 1.0, -1.0]), weak, strong)
    assert list(best.pgr) == [0, 1, 2, 2, 1]
    assert best.apgr == pytest.approx((0.5 + 1.5 + 2 + 1.5) / 4)
    assert best.threshold(0.5) == pytest.approx(0.125)
    assert best.threshold(1.0) == pytest.approx(0.25)
    assert np.isnan(best.threshold(2.5))


def test_the_cost_is_read_at_the_recovered_share_of_the_gap() -> None:
    weak, strong = np.array([0.0, 0.0]), np.array([1.0, 1.0])
    drawn = routing_curve(np.array([2.0, 1.0]), weak, strong, np.array([1.0, 1.0]), np.array([3.0, 5.0]))
    assert drawn.cost_at(0.5) == pytest.approx((3 + 1) / 2)
    assert drawn.cost_at(1.0) == pytest.approx((3 + 5) / 2)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=30))
def test_equal_scores_count_in_expectation(outcomes: list[tuple[int, int]]) -> None:
    weak, strong = (np.array(side, float) for side in zip(*outcomes, strict=True))
    if weak.sum() == strong.sum():
        return
    assert routing_curve(np.zeros(len(weak)), weak, strong).apgr == pytest.approx(0.5)


def test_auc_equals_a_hand_calculation() -> None:
    weak, strong = np.array([0.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0])
    assert auc(np.array([3.0, 2.0, 1.0]), weak, strong) == pytest.approx(0.5)
    assert auc(np.array([3.0, 1.0, 1.0]), weak, strong) == pytest.approx(0.75)
    assert np.isnan(auc(np.zeros(3), strong, strong))


def test_calibration_error_equals_a_hand_calculation() -> None:
    assert calibration_error(np.array([0.95, 0.95]), np.array([1.0, 0.0])) == pytest.approx(0.45)
    assert calibration_error(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == pytest.approx(0.0)


def test_reliability_equals_a_hand_calculation() -> None:
    result = reliability(np.array([0.95, 0.91, 0.1, 1.0]), np.array([1.0, 0.0, 0.0, 1.0]))
    assert result == [
        {"prompts": 1, "confidence": 0.1, "right": 0.0},
        {"prompts": 3, "confidence": pytest.approx(2.86 / 3, abs=1e-6), "right": pytest.approx(2 / 3, abs=1e-6)},
    ]


def test_without_costs_only_ordering_metrics_are_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = prompts_of("own", 12)
    answered = outcomes_of(prompts, random.Random(4))  # noqa: S311
    rows = [{key: row[key] for key in ("prompt_id", "model", "score")} for row in answered]
    files = write(tmp_path / "p.jsonl", prompts), write(tmp_path / "o.csv", rows)
    fixed = ["--weak", "weak", "--strong", "strong", "--resamples", "5"]
    assert main(["eval", "--prompts", str(files[0]), "--outcomes", str(files[1]), *fixed]) == 0
    output = capsys.readouterr().out
    assert "APGR" in output
    assert "cost share" not in output


def test_the_bootstrap_resamples_whole_groups_deterministically() -> None:
    seen: list[Any] = []

    def mean(rows: Any) -> Any:
        seen.append(sorted(rows))
        return np.array([rows.mean()])

    first = bootstrap(mean, ("a", "a", "b", "c"), resamples=50)
    assert all((0 in rows) == (1 in rows) and list(rows).count(0) == list(rows).count(1) for rows in seen)
    assert first == bootstrap(mean, ("a", "a", "b", "c"), resamples=50)
    assert first[0]["low"] <= first[0]["value"] <= first[0]["high"]


# Fitting


def test_ridge_is_the_solution_of_its_equations() -> None:
    matrix = Matrix.from_features(
        [features_of(row["prompt"]) for row in prompts_of("x", 12)], family_scales(structure=1.0)
    )
    target = np.arange(12.0)
    weights, level = ridge(matrix, target, alpha=0.5, iterations=200)
    dense = np.zeros((12, BUCKETS))
    row = np.repeat(np.arange(matrix.rows), np.diff([*matrix.row_starts, len(matrix.values)]))
    np.add.at(dense, (row, matrix.columns[matrix.column_of_entry]), matrix.values)
    residual = target - dense @ weights - level
    assert np.abs(dense.T @ residual - 0.5 * weights).max() < 1e-4
    assert abs(residual.sum()) < 1e-4


def test_softmax_separates_separable_classes() -> None:
    rows = prompts_of("x", 40)
    matrix = Matrix.from_features([features_of(row["prompt"]) for row in rows], family_scales(words=1.0))
    labels = np.array([int(row["task"] == "proofs") for row in rows])
    weights, bias = softmax(matrix, labels, 2, weight=np.ones(40), alpha=0.1)
    assert list((matrix.times(weights) + bias).argmax(axis=1)) == list(labels)


def test_a_prompt_without_any_feature_is_a_row_of_zeros() -> None:
    matrix = Matrix.from_features([features_of(""), features_of("word")], family_scales(words=1.0))
    assert list(matrix.times(np.ones(BUCKETS))) == [0.0, pytest.approx(1.0)]


def test_the_adapted_head_finds_where_the_strong_model_gains() -> None:
    rows = prompts_of("x", 80)
    features = [features_of(row["prompt"]) for row in rows]
    proofs = np.array([float(row["task"] == "proofs") for row in rows])
    for kinds in (None, [row["task"] for row in rows]):
        head = adapt(features[:60], 1 - proofs[:60], np.ones(60), difficulty=np.zeros(60), kinds=kinds and kinds[:60])
        score = head.scores(features[60:], np.zeros(20))
        assert score[proofs[60:] == 1].min() > score[proofs[60:] == 0].max()


def test_with_two_outcomes_the_adapted_head_orders_as_the_shipped_one() -> None:
    features = [features_of(row["prompt"]) for row in prompts_of("x", 12)]
    difficulty = np.linspace(-1, 1, 12)
    head = adapt(features[:2], np.array([1.0, 1.0]), np.array([1.0, 1.0]), difficulty=difficulty[:2])
    assert list(np.argsort(head.scores(features, difficulty))) == list(range(12))


def test_kinds_of_task_are_predicted_with_the_certainty_that_held_out_prompts_support() -> None:
    rows = prompts_of("x", 60)
    features = [features_of(row["prompt"]) for row in rows]
    apart = fit_kind_model(features, [row["task"] for row in rows])
    chances = apart.probabilities(Matrix.from_features(features, apart.scales))
    assert list(chances.argmax(axis=1)) == list(apart.labels)
    drawn = random.Random(3)  # noqa: S311
    guessed = fit_kind_model(features, [drawn.choice(("one", "other")) for _ in rows])
    assert guessed.probabilities(Matrix.from_features(features, guessed.scales)).max() < 0.8 < chances.max(axis=1).min()
    assert fit_kind_model(features[:1], ["alone"]).probabilities(
        Matrix.from_features(features[:1], apart.scales)
    ) == pytest.approx(1.0)


# Training


def few_own_prompts(monkeypatch: pytest.MonkeyPatch) -> Labeled:
    """Train on a few own prompts and on none that are composed, to be quick."""
    own = own_prompts()
    few = own.take(range(0, len(own.prompts), 60))
    monkeypatch.setattr(train_tiers, "own_prompts", lambda: few)
    monkeypatch.setattr(train_tiers, "composed_prompts", lambda: few.take([]))
    return few


def test_a_difficulty_head_is_fitted_on_all_sources_and_without_each(data: Path) -> None:
    recorded = read_outcomes(data / "train_prompts.jsonl", data / "train_outcomes.csv")
    sources = [recorded["zeroeval"], recorded["fusion"]]
    features = {source.source: [features_of(prompt) for prompt in source.prompts] for source in sources}
    heads = train.fit_difficulty_heads(sources, features)
    assert set(heads) == {"", "zeroeval", "fusion"}
    easy, hard = (features_of(text.format(a=5, b=7)) for text, _ in (EASY, HARD))
    for head in heads.values():
        assert head.score(hard, DIFFICULTY_SCALES) > head.score(easy, DIFFICULTY_SCALES)


def test_hardness_is_a_rank_in_which_equal_prompts_are_equal() -> None:
    scores = np.array([[1.0, 1.0], [1.0, 0.9], [1.0, 0.9], [0.0, 0.1]])
    hard = train.hardness(scores)
    assert hard.mean() == pytest.approx(0)
    assert hard.std() == pytest.approx(1)
    assert hard[1] == hard[2] == pytest.approx(0)
    assert hard[3] == pytest.approx(-hard[0])


def test_a_tier_head_is_fitted_without_the_parts_that_are_left_out(data: Path) -> None:
    labeled = read_tiers(data / "tiers.jsonl.gz").take(range(40))
    is_complex = np.array([tier is TaskTier.COMPLEX for tier in labeled.tiers])
    full, without_complex = train_tiers.fit_without_parts(labeled, [np.zeros(40, bool), is_complex], 1.0)
    features = features_of("Prove theorem number 99.")
    complex_place = list(TaskTier).index(TaskTier.COMPLEX)
    assert int(np.argmax(full.scores(features, TIER_SCALES))) == complex_place
    assert int(np.argmax(without_complex.scores(features, TIER_SCALES))) != complex_place


@pytest.mark.lab
def test_training_gives_the_same_bytes_twice(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few_own_prompts(monkeypatch)
    out = tmp_path / "weights.npz"
    assert main(["train", "--data", str(data), "--out", str(out)]) == 0
    assert "different from the shipped weights" in capsys.readouterr().out
    assert out.read_bytes() == train.train(data)
    heads = Heads.load(io.BytesIO(out.read_bytes()))
    assert set(heads.difficulty) == {"", "zeroeval", "fusion"}
    assert LinearClassifier(heads).classify("Prove theorem number 99.").tier is TaskTier.COMPLEX
    easy, hard = (features_of(text.format(a=5, b=7)) for text, _ in (EASY, HARD))
    assert heads.difficulty_of(hard) > heads.difficulty_of(easy)


@pytest.mark.lab
def test_a_left_out_head_does_not_depend_on_the_outcomes_of_its_source(data: Path, tmp_path: Path) -> None:
    recorded = read_outcomes(data / "train_prompts.jsonl", data / "train_outcomes.csv")
    labelled = read_tiers(data / "tiers.jsonl.gz")
    both = train.fit_heads([recorded["zeroeval"], recorded["fusion"]], labelled)
    turned = dataclasses.replace(recorded["zeroeval"], scores=1 - recorded["zeroeval"].scores)
    other = train.fit_heads([turned, recorded["fusion"]], labelled)
    prompts = [features_of(row["prompt"]) for row in prompts_of("x", 6)]
    # The scale is common to all heads; the order is each one's own.
    orders = [
        np.argsort([heads.difficulty_of(features, without="zeroeval") for features in prompts])
        for heads in (both, other)
    ]
    assert list(orders[0]) == list(orders[1])
    orders = [np.argsort([heads.difficulty_of(features) for features in prompts]) for heads in (both, other)]
    assert list(orders[0]) != list(orders[1])


@pytest.mark.lab
def test_cross_validation_classifies_only_prompts_left_out_of_training(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = read_tiers(data / "tiers.jsonl.gz")
    few = few_own_prompts(monkeypatch)
    everything = train_tiers.tier_prompts(labelled, {})
    trained: list[set[str]] = []
    fitted = train_tiers.Examples.fit

    def spy(self: train_tiers.Examples, kept: Any) -> Any:
        trained.append({prompt for prompt, seen in zip(everything.prompts, kept, strict=True) if seen})
        return fitted(self, kept)

    monkeypatch.setattr(train_tiers.Examples, "fit", spy)
    report = cross_validate(labelled, {}, Heads.load(io.BytesIO(train.shipped_bytes())), 5)
    assert set(report) == {"folds", "source_left_out", "support_left_out", "held_out"}
    folds, sources, support = trained[:FOLDS], trained[FOLDS:-1], trained[-1]
    for part, seen in enumerate(folds):
        assert seen.isdisjoint(labelled.prompts[part::FOLDS])
    for name, seen in zip(("s0", "s1"), sources, strict=True):
        held_out = {text for text, source in zip(labelled.prompts, labelled.sources, strict=True) if source == name}
        assert seen.isdisjoint(held_out)
        assert seen >= set(few.prompts) | set(labelled.prompts) - held_out
    written = {text for text, source in zip(few.prompts, few.sources, strict=True) if source in SUPPORT_SOURCES}
    assert written
    assert support == (set(few.prompts) | set(labelled.prompts)) - written
    assert report["support_left_out"]["prompts"] == len(written)


def test_weights_of_another_version_are_rejected(data: Path) -> None:
    arrays = dict(np.load(io.BytesIO(train.shipped_bytes())))
    file = io.BytesIO()
    np.savez(file, **{**arrays, "version": np.array([99])})
    file.seek(0)
    with pytest.raises(ValueError, match="version 99"):
        Heads.load(file)


def test_the_shipped_weights_are_small_and_plain() -> None:
    made = train.shipped_bytes()
    assert len(made) < 5_000_000
    again = io.BytesIO()
    Heads.load(io.BytesIO(made)).save(again)
    assert again.getvalue() == made
    assert set(Heads.load(io.BytesIO(made)).difficulty) == {"", *train.TRAINING_SOURCES}


# The command


def run(data: Path, tmp_path: Path, *more: str) -> dict[str, Any]:
    out = tmp_path / "report.json"
    files = ["--prompts", str(data / "dev_prompts.jsonl"), "--outcomes", str(data / "dev_outcomes.csv")]
    learned = [
        "--train-prompts",
        str(data / "train_prompts.jsonl"),
        "--train-outcomes",
        str(data / "train_outcomes.csv"),
    ]
    fixed = ["--weak", "weak", "--strong", "strong", "--resamples", "40", "--json", str(out)]
    assert main(["eval", *files, *learned, *fixed, *more]) == 0
    return json.loads(out.read_text())


def test_eval_in_adapted_mode_reports_all_routers_and_a_learning_curve(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(data, tmp_path, "--source", "own", "--mode", "adapted", "--labels", "0", "40")
    assert report["mode"] == "adapted"
    assert report["apgr"] == report["routers"]["ours"]["apgr"]
    routers = report["routers"]
    assert set(routers) == {"ours", "ours_shipped", "random", "length", "oracle", "task_prior"}
    assert routers["random"]["apgr"]["value"] == pytest.approx(0.5)
    assert routers["oracle"]["apgr"]["value"] >= routers["ours"]["apgr"]["value"] > 0.65
    assert report["apgr"]["low"] < report["apgr"]["value"] < report["apgr"]["high"]
    assert routers["oracle"]["cpt50"]["value"] < routers["random"]["cpt50"]["value"]
    assert [point["labels"] for point in report["learning_curve"]] == [0, 40]
    models = report["k_models"]
    assert models["best_single"]["model"] == "strong"
    assert models["best_fixed_cheap"]["model"] == "middle"
    assert models["cost_share_to_match"]["value"] < 0.7
    assert [point["quality"] for point in models["dial"]][-1] == 1.0
    output = capsys.readouterr().out
    assert "own: 40 prompts" in output
    assert "APGR of llm_magic, mean of 1" in output


@pytest.mark.lab
def test_eval_shipped_over_several_sources_gives_the_mean(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(data, tmp_path, "--labels", "0", "40")
    assert set(report["sources"]) == {"zeroeval", "fusion", "own"}
    values = [source["routers"]["ours"]["apgr"]["value"] for source in report["sources"].values()]
    assert report["apgr"]["value"] == pytest.approx(np.mean(values), abs=1e-5)
    assert report["sources"]["zeroeval"]["trained_without_source"]
    assert report["macro"]["ours"]["apgr"] == report["apgr"]
    assert set(report["macro"]) == {"ours", "ours_adapted", "random", "length", "oracle", "task_prior"}
    costs = [report["macro"]["oracle"][f"cost_share_at_pgr_{pgr}"]["value"] for pgr in (0.5, 0.8, 0.95, 1.0)]
    assert costs == sorted(costs)
    assert all(
        source["calibration_error"]["low"] < source["calibration_error"]["high"]
        for source in report["sources"].values()
    )
    none, some = report["learning_curve"]
    assert (none["labels"], none["apgr"]) == (0, report["apgr"])
    learned = [source["learning_curve"][1]["apgr"]["value"] for source in report["sources"].values()]
    assert some["apgr"]["value"] == pytest.approx(np.mean(learned), abs=1e-5)
    output = capsys.readouterr().out
    assert f"APGR after 40 labels, mean: {some['apgr']['value']:.3f}" in output
    assert "cost share at PGR 0.95" in output
    assert "mean of 3 sources" in output


def test_eval_reports_recall_and_confusion_of_tiers(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tiers.json"
    assert main(["eval", "--tiers", str(data / "tiers.jsonl.gz"), "--json", str(out), "--resamples", "20"]) == 0
    report = json.loads(out.read_text())["tiers"]
    assert report["prompts"] == 80
    assert set(report["sources"]) == {"s0", "s1"}
    assert sum(sum(row.values()) for row in report["confusion"].values()) == 80
    source = report["sources"]["s0"]
    assert source["recall"]["BULK"]["value"] > 0.8
    for wanted, row in source["confusion"].items():
        recall = source["recall"][wanted]
        assert (sum(row.values()), row[wanted] / recall["prompts"]) == (
            recall["prompts"],
            pytest.approx(recall["value"]),
        )
    alarms = sum(row["COMPLEX"] for wanted, row in source["confusion"].items() if wanted != "COMPLEX")
    assert source["false_alarms"]["value"] == pytest.approx(alarms / 30, abs=1e-6)
    assert source["calibration_error"]["low"] <= report["calibration_error"]["mean_of_sources"]["high"]
    assert sum(part["prompts"] for part in report["reliability"]) == 80
    assert "expected \\ got" in capsys.readouterr().out


@pytest.mark.lab
def test_plots_are_written_as_files(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = tmp_path / "plots"
    run(data, tmp_path, "--source", "own", "--plots", str(drawn))
    assert main(["eval", "--tiers", str(data / "tiers.jsonl.gz"), "--resamples", "5", "--plots", str(drawn)]) == 0
    assert sorted(path.name for path in drawn.iterdir()) == ["own-models.png", "own-routers.png", "tiers.png"]


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["--prompts", "p.jsonl"], "give --prompts and --outcomes, or --tiers"),
        (["--prompts", "gone.jsonl", "--outcomes", "gone.csv"], "gone.jsonl: can't be read"),
        (["--prompts", "p.txt", "--outcomes", "o.csv"], "not .parquet, .jsonl or .csv"),
        (["--prompts", "p.jsonl", "--outcomes", "o.csv", "--mode", "adapted"], "learns from --train-prompts"),
        (["--prompts", "p.jsonl", "--outcomes", "o.csv", "--source", "nowhere"], "no source 'nowhere'; there are own"),
        (["--prompts", "p.jsonl", "--outcomes", "o.csv"], "say which models to route between"),
        (["--prompts", "p.jsonl", "--outcomes", "o.csv", "--weak", "weak", "--strong", "nobody"], "no outcomes of 'nobody'"),
        (["--prompts", "p.jsonl", "--outcomes", "o.csv", "--weak", "weak", "--strong", "weak"], "no gap to recover"),
        (["--prompts", "o.csv", "--outcomes", "p.jsonl"], "no column 'source'"),
    ],
)  # fmt: skip
def test_invalid_input_is_reported_with_its_cause(
    arguments: list[str],
    output: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    prompts = prompts_of("own", 8)
    write(tmp_path / "p.jsonl", prompts)
    write(tmp_path / "o.csv", outcomes_of(prompts, random.Random(2)))  # noqa: S311
    (tmp_path / "p.txt").write_text("")
    assert main(["eval", *arguments]) == 1
    assert output in capsys.readouterr().err


def test_a_model_costs_nothing_to_match_when_the_cheap_one_is_as_good(data: Path) -> None:
    recorded = read_outcomes(data / "train_prompts.jsonl", data / "train_outcomes.csv")["own"]
    recorded = dataclasses.replace(recorded, scores=np.ones_like(recorded.scores))
    result = multi_model.evaluate_many_models(recorded, recorded, 10)
    assert result is not None
    assert (
        result["best_single"]["model"] == result["best_fixed_cheap"]["model"]
        or result["cost_share_to_match"]["value"] < 1
    )


def test_correct_answers_mostly_agree_and_wrong_ones_by_chance() -> None:
    one, two = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])
    assert list(agreement_probability(one, two, 0.3)) == [SAME_RIGHT, 0.0, 0.0, 0.3]


SCORES = np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
COSTS = np.tile([1.0, 2.0, 10.0], (4, 1))


def test_a_cascade_equals_a_hand_calculation() -> None:
    got, paid = expected_outcome(CascadeColumns(one=0, two=1, strong=2), SCORES, COSTS, 0.5)
    assert list(got) == [1.0, 1.0, 0.5, 0.0]
    assert list(paid) == [pytest.approx(3.0 + (1 - SAME_RIGHT) * 10), 13.0, 8.0, 8.0]


def test_a_cheap_model_that_a_cheaper_one_equals_starts_no_cascade() -> None:
    scores = np.hstack([SCORES, [[1.0], [0.0], [0.0], [0.0]]])
    costs = np.hstack([COSTS, np.full((4, 1), 3.0)])
    result = candidate_cascades(scores, costs, [0, 1, 3])
    assert result == (CascadeColumns(one=0, two=1, strong=2),), "the fourth is no better than the second and costs more"
    assert candidate_cascades(scores, costs, [0]) == ()


def test_a_cascade_counts_as_one_more_model() -> None:
    rows = [(f"count the words {place}", "easy") for place in range(30)] + [
        (f"prove that {place} is prime", "hard") for place in range(30)
    ]
    scores = np.array(
        [[1.0, 1.0, 1.0] if kind == "easy" else [0.0, float(row % 2), 1.0] for row, (_, kind) in enumerate(rows)]
    )
    recorded = Recorded(
        source="mine",
        ids=tuple(str(place) for place in range(60)),
        groups=tuple(str(place) for place in range(60)),
        tasks=tuple(kind for _, kind in rows),
        prompts=tuple(prompt for prompt, _ in rows),
        models=("one", "two", "strong"),
        scores=scores,
        costs=np.tile([1.0, 2.0, 10.0], (60, 1)),
        output_tokens=np.full((60, 3), np.nan),
    )
    asked = CascadeColumns(one=0, two=1, strong=2)
    alone = multi_model.expect(recorded, recorded.prompts, [0, 1, 2])
    weighed = multi_model.expect(recorded, recorded.prompts, [0, 1, 2], [asked])
    assert np.array_equal(weighed.quality[:, :3], alone.quality)
    assert np.array_equal(weighed.cost[:, :3], alone.cost)
    easy, hard = weighed.cost[:30, 3].mean(), weighed.cost[30:, 3].mean()
    assert 3 < easy < hard < 13, "both cheap ones always, the strong one more often where they differ"
    assert weighed.quality[30:, 0].mean() < weighed.quality[30:, 3].mean() < weighed.quality[30:, 2].mean()


def test_agreement_rates_are_solved_from_the_measured_cascade() -> None:
    """Of 8 prompts, both cheap models answer 4 right and 2 wrong; the strong one answers 3 of the 4 and both of the 2 right."""
    both = [[1.0, 1.0, 1.0]] * 3 + [[1.0, 1.0, 0.0]] + [[0.0, 0.0, 1.0]] * 2 + [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    recorded = Recorded(
        source="mine",
        ids=tuple("abcdefgh"),
        groups=tuple("abcdefgh"),
        tasks=("t",) * 8,
        prompts=("p",) * 8,
        models=("one", "two", "strong"),
        scores=np.array(both),
        costs=np.tile([1.0, 2.0, 10.0], (8, 1)),
        output_tokens=np.full((8, 3), np.nan),
    )
    right, wrong = 0.75, 0.5
    measured = MeasuredCascade(
        source="mine",
        one="one",
        two="two",
        strong="strong",
        accuracy=(6 + right * 1 - wrong * 2) / 8,
        cost_share=0.3 + (8 - right * 4 - wrong * 2) / 8,
    )
    result = anchor(recorded, measured=measured)
    assert result is not None
    assert result["would_match"] == {"same_right": right, "same_mistake": wrong}
    assert result["simulated"] == {
        "accuracy": pytest.approx((6 + SAME_RIGHT - SAME_MISTAKE * 2) / 8, abs=1e-6),
        "cost_share": pytest.approx(0.3 + (8 - SAME_RIGHT * 4 - SAME_MISTAKE * 2) / 8, abs=1e-6),
    }
    assert (result["prompts"], result["strong_accuracy"]) == (8, 0.75)
    assert anchor(recorded) is None, "another source"
    assert anchor(recorded, measured=dataclasses.replace(measured, two="nobody")) is None


def test_the_report_prints_the_anchor_of_the_cascade(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = MeasuredCascade(source="own", one="weak", two="middle", strong="strong", accuracy=0.9, cost_share=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multi_model, "anchor", functools.partial(anchor, measured=measured))
        result = run(data, tmp_path, "--source", "own")["k_models"]["cascade"]["anchor"]
    assert result["models"] == ["weak", "middle", "strong"]
    output = capsys.readouterr().out
    assert "over full answers accuracy 0.900 at 50%" in output
    assert f"{result['would_match']['same_mistake']:.3f} of common mistakes" in output


@pytest.mark.lab
def test_the_cost_of_a_cascade_is_reported_with_its_bounds(data: Path, tmp_path: Path) -> None:
    result = run(data, tmp_path, "--source", "own")["k_models"]["cascade"]
    assert sorted(result["asked_first"]) == ["middle", "weak"]
    assert result["then"] == ["strong"]
    shares = [result["same_mistake"][name]["cost_share_to_match"]["value"] for name in ("never", "assumed", "always")]
    assert set(result["same_mistake"]) == {"assumed", "never", "always"}
    assert shares == sorted(shares)


# What each family of features buys


@pytest.mark.parametrize("option", ["--tiers", "--prompts"])
def test_eval_of_a_users_own_labeled_file_needs_prompts_and_tiers_only(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text('prompt,tier\n"What is 2 + 2?",bulk\nProve that 2 is prime.,complex\nskip me,\n')
    assert main(["eval", option, str(file), "--resamples", "5"]) == 0
    printed = capsys.readouterr().out
    assert "mine: recall COMPLEX 1.000" in printed
    assert "falsely COMPLEX, share of all prompts: 0.000" in printed
    file.write_text("prompt,tier\nhello,easy\n")
    assert main(["eval", "--tiers", str(file)]) == 1
    assert "unknown tier" in capsys.readouterr().err


@pytest.mark.lab
def test_the_ablation_reports_every_family_of_features(data: Path) -> None:
    recorded = read_outcomes(data / "train_prompts.jsonl", data / "train_outcomes.csv")
    known = {name: dataclasses.replace(outcomes, source=name) for name, outcomes in recorded.items() if name != "own"}
    pairs = dict.fromkeys(known, ("weak", "strong"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "MODEL_PAIRS", pairs)
        report = ablation.run_ablation(known, resamples=5)
    assert set(report) == set(ablation.scale_variants())
    assert report["structure alone"]["across"]["value"] > 0.6
    assert report["structure alone"]["within"]["value"] > 0.6
    assert ablation.scale_variants()["structure and all pairs (shipped)"] == DIFFICULTY_SCALES
    table = ablation.ablation_table(report)
    assert len(table.splitlines()) == 1 + len(report)
    assert f"{report['everything']['within']['value']:.3f}" in table


# How steady the tier is, on prompts that the test wrote itself


@pytest.mark.lab
def test_words_around_a_prompt_seldom_change_its_tier() -> None:
    own = [prompt for prompt in own_prompts(held_out=True).prompts if len(prompt) > 20]
    shares = tier_change_rates(own)
    assert shares["small_letters"] <= 0.10
    assert shares["typos"] <= 0.10
    assert max(shares["before_mean"], shares["after_mean"]) <= 0.05
