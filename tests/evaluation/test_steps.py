"""Curves under row weights against scikit-learn, and macro metrics at k against a loop over rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from hf_multilabel.evaluation import METRICS, Outcome, confidence_intervals
from hf_multilabel.evaluation.curves import AREAS, CurveMetric
from hf_multilabel.evaluation.resampling import Resampler
from hf_multilabel.evaluation.steps import STEP, WORK, Steps, steps_work
from hf_multilabel.recipe.sections import EvaluationSection

CURVES = [name for name, metric in METRICS.items() if isinstance(metric, CurveMetric)]
AT_K = ("macro_precision_at_k", "macro_recall_at_k", "macro_f1_at_k")
LABELS = 6


def make_outcome(rows: int, seed: int, levels: int | None = 7) -> Outcome:
    """Label 0 never holds, label 1 always; scores of few levels tie."""
    rng = np.random.default_rng(seed)
    targets = rng.random((rows, LABELS)) < [0, 1, 0.1, 0.3, 0.5, 0.9]
    probs = (0.3 * targets + 0.7 * rng.random((rows, LABELS))).astype(np.float32)
    return Outcome(probs if levels is None else np.round(probs * levels) / levels, targets, targets)


def sk_areas(truth: NDArray, scores: NDArray, weights: NDArray) -> tuple[float, float]:
    """AUC and average precision of the rows with a weight; NaN where these rows have none."""
    truth, scores, weights = truth[weights > 0], scores[weights > 0], weights[weights > 0]
    auc = sk.roc_auc_score(truth, scores, sample_weight=weights) if 0 < truth.sum() < len(truth) else np.nan
    return auc, sk.average_precision_score(truth, scores, sample_weight=weights) if truth.any() else np.nan


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 25), seed=st.integers(0, 10_000), levels=st.sampled_from([1, 3, 7, None]))
def test_areas_equal_those_of_scikit_learn(rows: int, seed: int, levels: int | None) -> None:
    outcome = make_outcome(rows, seed, levels)
    weights = np.random.default_rng(seed).integers(0, 3, (3, rows)).astype(float)
    truth = outcome.targets.toarray()
    found, pooled = Steps(outcome).areas(weights), Steps(outcome, pooled=True).areas(weights)
    for place, weight in enumerate(weights):
        expected = [sk_areas(truth[:, label], outcome.probs[:, label], weight) for label in range(LABELS)]
        np.testing.assert_allclose(np.stack([found["auc"][place], found["ap"][place]], 1), expected, atol=1e-12)
        expected = sk_areas(truth.ravel(), outcome.probs.ravel(), np.repeat(weight, LABELS))
        np.testing.assert_allclose([pooled["auc"][place, 0], pooled["ap"][place, 0]], expected, atol=1e-12)


@pytest.mark.parametrize("pooled", [False, True])
def test_equal_weights_and_any_blocks_give_the_areas_of_the_outcome(
    pooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = make_outcome(300, 0)
    weights = np.random.default_rng(0).integers(0, 4, (11, 300)).astype(float)
    weights[0] = 1
    found = Steps(outcome, pooled).areas(weights)
    monkeypatch.setattr("hf_multilabel.evaluation.steps.BLOCK", 1)
    again = Steps(outcome, pooled).areas(weights)
    for name, areas in AREAS.items():
        np.testing.assert_allclose(found[name][0], areas[pooled](outcome), atol=1e-12)
        np.testing.assert_array_equal(found[name], again[name])


def test_without_a_positive_no_curve_has_an_area() -> None:
    outcome = Outcome([[0.3, 0.5], [0.2, 0.1]], np.zeros((2, 2)), np.zeros((2, 2)))
    for pooled in (False, True):
        assert all(np.isnan(areas).all() for areas in Steps(outcome, pooled).areas(np.ones((3, 2))).values())
    assert Resampler(outcome, CURVES).whole() == {"macro_ap": 0}


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 12), seed=st.integers(0, 10_000), k=st.integers(1, LABELS + 1))
def test_weighted_macro_metrics_at_k_equal_a_loop(rows: int, seed: int, k: int) -> None:
    outcome = make_outcome(rows, seed, 3)
    weights = np.random.default_rng(seed).integers(0, 3, (2, rows)).astype(float)
    found = Resampler(outcome, AT_K, [k]).weighted(weights)
    for place, weight in enumerate(weights):
        right, given_to, true = np.zeros((3, LABELS))
        for count, scores, truth in zip(weight, outcome.probs, outcome.targets.toarray(), strict=True):
            for label, score in enumerate(scores):
                above, tied = (scores > score).sum(), (scores == score).sum()
                share = min(max(min(k, LABELS) - above, 0), tied) / tied
                given_to[label] += count * share
                right[label] += count * share * truth[label]
                true[label] += count * truth[label]
        for name, bottom in zip(AT_K, (given_to, true, (given_to + true) / 2), strict=True):
            expected = np.mean([top / below if below else 0 for top, below in zip(right, bottom, strict=True)])
            assert found[f"{name[:-1]}{k}"][place] == pytest.approx(expected, abs=1e-12)


def test_curves_of_much_work_need_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = make_outcome(40, 0)
    assert steps_work(outcome) == 40 * LABELS + STEP * outcome.targets.nnz
    bounds = confidence_intervals(outcome, resamples=20)
    monkeypatch.setattr("hf_multilabel.evaluation.resampling.WORK", steps_work(outcome) - 1)
    less = confidence_intervals(outcome, resamples=20)
    assert bounds.keys() - less.keys() == set(CURVES)
    assert confidence_intervals(outcome, CURVES, resamples=20) == {name: bounds[name] for name in CURVES}


def test_the_bound_of_the_work_is_said_where_users_look() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    said = EvaluationSection.model_fields["intervals"].description
    for text in (docs, said, confidence_intervals.__doc__):
        assert f"{STEP} " in text
        assert f"{WORK:,}" in text
