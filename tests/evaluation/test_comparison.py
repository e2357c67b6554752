"""Two runs compared: against scipy, exhaustive swaps and simulated runs that do not differ."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from hf_multilabel.evaluation import CORRECTIONS, Outcome, compare_labels, compare_runs
from hf_multilabel.evaluation.comparison import benjamini_hochberg, holm, sign_test


def make_runs(rows: int, gain: float, seed: int) -> tuple[Outcome, Outcome]:
    """Two runs on the same rows, the second with more signal."""
    rng = np.random.default_rng(seed)
    targets = rng.random((rows, 4)) < [0.5, 0.3, 0.2, 0.1]
    hardness = rng.normal(size=(rows, 1))
    scores = [targets * (1.5 + more) + hardness + 0.7 * rng.normal(size=(rows, 4)) for more in (0, gain)]
    probs = [1 / (1 + np.exp(-score + 1)) for score in scores]
    return Outcome(probs[0], probs[0] >= 0.5, targets), Outcome(probs[1], probs[1] >= 0.5, targets)


@pytest.mark.parametrize("method", ["bootstrap", "randomisation"])
def test_a_better_run_is_found_and_an_equal_one_is_not(method: str) -> None:
    first, second = make_runs(400, 1.0, 0)
    metrics = ["micro_f1", "macro_f1", "samples_f1", "lrap", "macro_recall_at_k"]
    metrics += ["micro_auc", "macro_auc", "macro_ap"] if method == "bootstrap" else []
    found = compare_runs(first, second, metrics, k=[2], resamples=300, method=method)
    assert len(found) == len(metrics)
    for difference in found.values():
        assert 0 < difference.low < difference.difference < difference.high
        assert difference.difference == difference.second - difference.first
        assert difference.p_value == pytest.approx(1 / 301)
    same = compare_runs(first, first, resamples=50, method=method)["micro_f1"]
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("method", ["bootstrap", "randomisation"])
def test_equal_runs_differ_as_rarely_as_promised(method: str) -> None:
    p_values = [
        compare_runs(*make_runs(100, 0.0, seed), ["micro_f1"], resamples=100, method=method, seed=seed)[
            "micro_f1"
        ].p_value
        for seed in range(200)
    ]
    assert 0.005 <= np.mean(np.array(p_values) <= 0.05) <= 0.09
    assert 0.4 <= np.median(p_values) <= 0.6


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
def test_few_rows_that_all_differ_alike_are_no_evidence(rows: int) -> None:
    """However few, resamples of them are all the same: p was 1 / (B + 1), the interval [1, 1]."""
    truth = np.ones((rows, 1), bool)
    found = compare_runs(Outcome(None, ~truth, truth), Outcome(None, truth, truth), ["micro_f1", "subset_accuracy"])
    for difference in found.values():
        assert difference.difference == 1
        assert difference.p_value == max(2.0 ** (1 - rows), 1 / 1001)
        assert (difference.low == 0) == (rows <= 5)


def test_only_rows_that_differ_count() -> None:
    truth = np.ones((200, 1), bool)
    some, scores = truth.copy(), np.full((200, 1), 0.9)
    some[:4] = False
    first, second = Outcome(scores, some, truth), Outcome(scores - 0.1, truth, truth)
    found = compare_runs(first, second, ["micro_f1", "subset_accuracy", "macro_f1"], resamples=200)
    assert all(difference.p_value >= 2**-3 and difference.low <= 0 for difference in found.values())


@pytest.mark.parametrize("rows", [2, 3, 5])
def test_equal_runs_of_few_rows_differ_as_rarely_as_promised(rows: int) -> None:
    runs = [make_runs(rows, 0.0, seed) for seed in range(60)]
    found = [compare_runs(*pair, ["micro_f1", "precision_at_k"], k=[1], resamples=50) for pair in runs]
    assert all(difference.p_value > 0.05 for differences in found for difference in differences.values())


def test_randomisation_equals_all_swaps() -> None:
    first, second = make_runs(7, 1.0, 3)
    truth, ours, theirs = (sets.toarray() for sets in (first.targets, first.predictions, second.predictions))
    difference = abs(sk.f1_score(truth, theirs, average="macro") - sk.f1_score(truth, ours, average="macro"))
    extreme = []
    for swap in itertools.product([False, True], repeat=7):
        chosen = np.array(swap)[:, None]
        one, other = np.where(chosen, theirs, ours), np.where(chosen, ours, theirs)
        scores = [sk.f1_score(truth, sets, average="macro", zero_division=0) for sets in (one, other)]
        extreme.append(abs(scores[1] - scores[0]) >= difference - 1e-12)
    found = compare_runs(first, second, ["macro_f1"], resamples=4000, method="randomisation")["macro_f1"]
    assert found.p_value == pytest.approx(np.mean(extreme), abs=0.03)


def test_a_swap_that_leaves_nothing_to_count_is_no_evidence() -> None:
    targets = [[1], [0]]
    first, second = Outcome(None, [[1], [0]], targets), Outcome(None, [[0], [1]], targets)
    found = compare_runs(first, second, ["samples_precision_present"], method="randomisation", resamples=200)
    assert found["samples_precision_present"].difference == -1
    assert found["samples_precision_present"].p_value == 1  # half of the swaps leave one run without predictions


def test_curves_are_not_swapped() -> None:
    first, second = make_runs(30, 0.5, 0)
    found, swapped = (compare_runs(first, second, resamples=20, method=m) for m in ("bootstrap", "randomisation"))
    assert found.keys() - swapped.keys() == {"micro_auc", "macro_auc", "micro_ap", "macro_ap", "macro_ap_present"}
    with pytest.raises(ValueError, match="expected metrics that are sums over rows, found 'macro_auc'"):
        compare_runs(first, second, ["macro_auc"], method="randomisation")


def test_slots_that_one_run_does_not_know_are_not_compared() -> None:
    first, second = make_runs(30, 0.5, 0)
    second.row_slots = lambda k: None
    for method in ("bootstrap", "randomisation"):
        assert "macro_f1_at_1" not in compare_runs(first, second, resamples=20, method=method)
        assert "macro_f1_at_1" not in compare_runs(second, first, resamples=20, method=method)


def test_pairing_makes_the_interval_narrower_than_that_of_either_run() -> None:
    first, second = make_runs(300, 0.2, 1)
    found = compare_runs(first, second, ["samples_f1"], resamples=300)["samples_f1"]
    spread = [
        np.std(2 * o.by_row.true_positive / np.maximum(o.by_row.predicted + o.by_row.positive, 1))
        for o in (first, second)
    ]
    assert found.high - found.low < 2 * 1.96 * np.hypot(*spread) / np.sqrt(300)


def test_label_table_equals_mcnemar_by_hand() -> None:
    first, second = make_runs(120, 0.8, 2)
    truth = first.targets.toarray()
    right = [run.predictions.toarray() == truth for run in (first, second)]
    for correction in CORRECTIONS:
        table = compare_labels(first, second, "abcd", correction)
        for label, line in enumerate(table):
            only_first = int((right[0] & ~right[1])[:, label].sum())
            only_second = int((right[1] & ~right[0])[:, label].sum())
            assert (line["label"], line["only_first"], line["only_second"]) == ("abcd"[label], only_first, only_second)
            expected = stats.binomtest(only_first, only_first + only_second).pvalue if only_first + only_second else 1
            assert line["p_value"] == pytest.approx(expected)
            f1 = [sk.f1_score(truth[:, label], run.predictions.toarray()[:, label]) for run in (first, second)]
            assert (line["first_f1"], line["second_f1"]) == pytest.approx(tuple(f1))
            assert line["difference"] == pytest.approx(f1[1] - f1[0])
            assert line["support"] == truth[:, label].sum()
        p_values = [line["p_value"] for line in table]
        assert [line["p_corrected"] for line in table] == pytest.approx(CORRECTIONS[correction](p_values).tolist())


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=8))
def test_sign_test_equals_scipy(falls: list[tuple[int, int]]) -> None:
    expected = [stats.binomtest(one, one + other).pvalue if one + other else 1 for one, other in falls]
    assert sign_test(*zip(*falls, strict=True)) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrections_equal_their_definitions(p_values: list[float]) -> None:
    tests = len(p_values)
    ordered = sorted(range(tests), key=lambda test: p_values[test])
    down, up = [0.0] * tests, [0.0] * tests
    for rank, test in enumerate(ordered):
        down[test] = min(1, max((tests - before) * p_values[ordered[before]] for before in range(rank + 1)))
        up[test] = min(1, min(tests / (after + 1) * p_values[ordered[after]] for after in range(rank, tests)))
    assert holm(p_values) == pytest.approx(down)
    assert benjamini_hochberg(p_values) == pytest.approx(up)
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values))


def test_wrong_arguments_are_named() -> None:
    first, second = make_runs(10, 0.0, 0)
    other = make_runs(10, 0.0, 1)[0]
    with pytest.raises(ValueError, match="second: expected the truths of the first run"):
        compare_runs(first, other)
    with pytest.raises(ValueError, match="second: expected the truths of the first run"):
        compare_labels(first, make_runs(9, 0.0, 0)[0], "abcd")
    with pytest.raises(ValueError, match="method: expected bootstrap or randomisation, found 'exact'"):
        compare_runs(first, second, method="exact")
    with pytest.raises(ValueError, match="second: expected an Outcome, found ndarray. Pass Outcome"):
        compare_runs(first, np.zeros((2, 2)), ["micro_f1"])
    with pytest.raises(ValueError, match="metrics: expected a list of names, found 'micro_f1'"):
        compare_runs(first, first, "micro_f1")
    with pytest.raises(ValueError, match="names: expected 4 entries, found 2"):
        compare_labels(first, second, "ab")
    with pytest.raises(ValueError, match="correction: expected one of holm, benjamini_hochberg, found 'none'"):
        compare_labels(first, second, "abcd", "none")
