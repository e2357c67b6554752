"""Intervals: the fast resamples against evaluations of copied rows, and coverage by simulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hf_multilabel.evaluation import METRICS, Outcome, compare_runs, confidence_intervals, evaluate_outcome
from hf_multilabel.evaluation.curves import CurveMetric
from hf_multilabel.evaluation.intervals import INTERVALS, bca
from hf_multilabel.evaluation.resampling import LINEAR, Resampler, draw_weights, leave_out, resample

RESAMPLED = [name for name, metric in METRICS.items() if isinstance(metric, (*LINEAR, CurveMetric))]
SETS = ("micro_f1", "macro_f1", "samples_f1", "micro_precision", "micro_recall", "macro_recall_present", "hamming_loss")
SETS += ("micro_auc", "macro_auc", "micro_ap", "macro_ap", "macro_f1_at_k")
COUNTS, ROWS = [60, 40, 10, 3, 0], 100


def make_outcome(rows: int, seed: int, tied: bool = True, counted: bool = True) -> Outcome:
    rng = np.random.default_rng(seed)
    targets = rng.random((rows, 5)) < [0.6, 0.4, 0.2, 0.05, 0.0]
    probs = np.clip(0.3 * targets + 0.7 * rng.random((rows, 5)), 0, 1)
    probs = np.round(probs, 1) if tied else probs
    return Outcome(probs, probs >= 0.5, targets, *((COUNTS, ROWS) if counted else ()))


def taken(outcome: Outcome, rows: np.ndarray) -> Outcome:
    return Outcome(
        outcome.probs[rows],
        outcome.predictions[rows],
        outcome.targets[rows],
        outcome.label_counts,
        outcome.training_rows,
    )


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 12), seed=st.integers(0, 10_000), tied=st.booleans())
def test_every_resample_equals_an_evaluation_of_its_rows(rows: int, seed: int, tied: bool) -> None:
    outcome = make_outcome(rows, seed, tied)
    weights = next(draw_weights(outcome, 3, seed))
    found = resample([Resampler(outcome, k=[2], betas=[2])], [weights])[0]
    assert len(found) == len(RESAMPLED)
    for place, weight in enumerate(weights):
        expected = evaluate_outcome(taken(outcome, np.repeat(np.arange(rows), weight.astype(int))), [2], RESAMPLED, [2])
        drawn = {name: values[place] for name, values in found.items() if not np.isnan(values[place])}
        assert drawn == pytest.approx(expected, abs=1e-12)


def test_the_rows_as_they_are_give_the_metrics_themselves() -> None:
    outcome = make_outcome(60, 0)
    found = Resampler(outcome, betas=[2]).whole()
    assert found == pytest.approx(evaluate_outcome(outcome, metrics=RESAMPLED, betas=[2]), abs=1e-12)


def test_weights_are_draws_with_replacement_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = make_outcome(7, 0)
    monkeypatch.setattr("hf_multilabel.evaluation.resampling.BLOCK", 20)
    blocks = list(draw_weights(outcome, 5, 0))
    assert [block.shape for block in blocks] == [(2, 7), (2, 7), (1, 7)]
    assert all((block.sum(1) == 7).all() for block in blocks)
    left = np.concatenate(list(leave_out(outcome, 200)))
    np.testing.assert_array_equal(left, 1 - np.eye(7))
    assert np.concatenate(list(leave_out(outcome, 3))).sum(1).tolist() == [4, 5, 5]


def test_intervals_cover_what_they_promise() -> None:
    rng = np.random.default_rng(7)
    rates, size, sets = np.array([0.5, 0.3, 0.2, 0.1]), 150, 300

    def draw() -> Outcome:
        targets = rng.random((size, 4)) < rates
        seen = targets * 1.8 + rng.normal(size=(size, 4)) + 0.5 * rng.normal(size=(size, 1))
        return Outcome(1 / (1 + np.exp(-seen)), seen >= 1.1, targets)

    many = [evaluate_outcome(draw(), [1], SETS) for _ in range(600)]
    covered = dict.fromkeys(many[0], 0)
    truth = {name: np.mean([found[name] for found in many]) for name in covered}
    for seed in range(sets):
        found = confidence_intervals(draw(), SETS, k=[1], resamples=200, seed=seed)
        for name, (low, high) in found.items():
            covered[name] += low <= truth[name] <= high
    for name, times in covered.items():
        assert 0.90 <= times / sets <= 0.99, name


def test_labels_with_one_positive_need_the_centred_interval() -> None:
    targets = np.eye(200, 300, dtype=bool)  # every label present has one positive
    predictions = targets & (np.arange(200) % 2 == 0)[:, None]
    outcome = Outcome(None, predictions, targets)
    value = METRICS["macro_f1"](outcome)
    found = {method: confidence_intervals(outcome, ["macro_f1"], method=method)["macro_f1"] for method in INTERVALS}
    assert found["percentile"][1] < value
    assert found["centred"][0] < value < found["centred"][1]
    # the share of 200 rows that are right, times 200/300: its interval is known
    known = stats.binom.interval(0.95, 200, 0.5)
    assert found["centred"] == pytest.approx((known[0] / 300, known[1] / 300), rel=0.03)


def test_bca_equals_scipy() -> None:
    sample = np.random.default_rng(0).exponential(size=60)
    rng = np.random.default_rng(1)
    drawn = sample[rng.integers(0, 60, (20_000, 60))].mean(1)
    left_out = np.array([np.delete(sample, row).mean() for row in range(60)])
    expected = stats.bootstrap((sample,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    assert bca(sample.mean(), drawn, 0.95, left_out) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_intervals_are_reproducible_and_widen_with_the_level() -> None:
    outcome = make_outcome(40, 0)
    wide, narrow = (confidence_intervals(outcome, level=level, resamples=200) for level in (0.99, 0.5))
    assert wide == confidence_intervals(outcome, level=0.99, resamples=200)
    assert {"psp_at_3", "tail_macro_f1", "macro_f1_present", "ndcg_at_1"} <= wide.keys()
    for name, (low, high) in wide.items():
        assert low <= narrow[name][0] <= narrow[name][1] <= high, name


@pytest.mark.parametrize("method", INTERVALS)
@pytest.mark.parametrize("rows", [1, 3])
def test_of_perfect_decisions_no_interval_of_no_width_is_given(method: str, rows: int) -> None:
    targets = np.ones((rows, 2), bool)
    outcome = Outcome(targets * 0.9, targets, targets)
    found = confidence_intervals(outcome, resamples=50, method=method)
    assert "micro_f1" not in found  # it is 1 in every resample, and may be less on other rows
    assert all(np.isfinite(ends).all() and ends[0] < ends[1] for ends in found.values())


def test_metrics_without_a_value_are_left_out() -> None:
    none = np.zeros((3, 2), bool)
    found = confidence_intervals(Outcome(none * 0.5, none, none), resamples=20)
    assert "macro_f1_present" not in found
    assert "psp_at_1" not in found
    assert "micro_f1" not in found
    some = np.array([[True, False], [False, False], [False, False]])
    found = confidence_intervals(Outcome(some * 0.5, some, none), resamples=20)
    assert not {"micro_f1", "samples_f1", "recall_at_1"} & found.keys()
    assert found["hamming_loss"][1] > 0


def test_a_metric_without_a_value_in_any_resample_is_left_out() -> None:
    outcome = Outcome([[0.9], [0.2]], [[1], [0]], [[1], [0]])
    drawn = [next(draw_weights(outcome, 2, seed)) for seed in range(50)]
    # either row alone, twice
    seed = next(seed for seed, weights in enumerate(drawn) if sorted(weights[:, 0]) == [0, 2])
    assert confidence_intervals(outcome, ["macro_auc", "micro_f1"], resamples=2, seed=seed).keys() == {"micro_f1"}
    assert compare_runs(outcome, outcome, ["macro_auc"], resamples=2, seed=seed) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ["rows"]}, "metrics: expected metrics that can be resampled, found 'rows'. Leave rows out"),
        ({"metrics": ["f1"]}, "metrics: expected keys of METRICS, found 'f1'. Did you mean micro_f1, macro_f1"),
        ({"metrics": ["psp_at_k"]}, "label_counts: expected the training texts of each label, which psp_at_k needs"),
        ({"level": 95}, "level: expected a confidence above 0 and below 1, found 95"),
        ({"resamples": 1}, "resamples: expected 2 or more, found 1"),
        ({"method": "normal"}, "method: expected one of centred, percentile, bca, found 'normal'"),
    ],
)
def test_wrong_arguments_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confidence_intervals(make_outcome(5, 0, counted=False), **change)


@pytest.mark.parametrize("measure", [confidence_intervals, evaluate_outcome])
def test_arrays_are_no_outcome(measure: Callable) -> None:
    with pytest.raises(ValueError, match="outcome: expected an Outcome, found ndarray. Pass Outcome"):
        measure(np.zeros((2, 2)))
