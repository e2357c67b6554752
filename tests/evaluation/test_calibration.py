"""Calibration measures against loops over labels and bins, and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import brier_score_loss

from hf_multilabel.evaluation.calibration import (
    BINS,
    brier_score,
    classwise_ece,
    measure_reliability,
    reliability_report,
)


def scored(rows: int = 300, labels: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probs = rng.beta(0.4, 2, (rows, labels)).astype(np.float32)
    targets = rng.random((rows, labels)) < probs**1.5
    probs[:4, 0] = [0, 1, 1 / 3, 2 / 3]  # on the edges of bins
    targets[:, -1] = False
    return probs, targets


def slow_ece(p: np.ndarray, y: np.ndarray, bins: int) -> float:
    total = 0.0
    for b in range(bins):
        inside = (p >= b / bins) & ((p < (b + 1) / bins) | (b == bins - 1))
        if inside.any():
            total += inside.mean() * abs(p[inside].mean() - y[inside].mean())
    return total


@pytest.mark.parametrize("bins", [1, 10, BINS])
def test_every_label_equals_a_loop_over_bins(bins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_multilabel.evaluation.ranks.CHUNK", 100)
    probs, targets = scored()
    found = measure_reliability(probs, sparse.csr_array(targets), bins)
    wide = probs.astype(np.float64)
    expected = [slow_ece(p, y, bins) for p, y in zip(wide.T, targets.T, strict=True)]
    np.testing.assert_allclose(found.ece(), expected, atol=1e-12)
    assert classwise_ece(probs, targets, bins) == pytest.approx(np.mean(expected))


def test_brier_equals_scikit_learn() -> None:
    probs, targets = scored()
    expected = [brier_score_loss(y, p.astype(float), pos_label=True) for p, y in zip(probs.T, targets.T, strict=True)]
    np.testing.assert_allclose(measure_reliability(probs, targets).brier(), expected, rtol=1e-6)
    assert brier_score(probs, targets) == pytest.approx(np.mean(expected), rel=1e-6)


def test_report_tells_head_torso_and_tail_apart() -> None:
    probs, targets = scored()
    counts = np.array([100, 100, 50, 40, 30, 20, 10, 9, 8, 7, 6, 0])
    found = reliability_report(probs, targets, counts)
    assert list(found) == ["all", "head", "torso", "tail"]
    assert sum(found[part]["labels"] for part in ("head", "torso", "tail")) == found["all"]["labels"] == 12
    tail = found["tail"]
    ids = slice(12 - tail["labels"], 12)
    assert tail["share"] == pytest.approx(targets[:, ids].mean())
    assert tail["mean_probability"] == pytest.approx(probs[:, ids].mean(), rel=1e-5)
    assert tail["pooled_ece"] == pytest.approx(
        slow_ece(probs[:, ids].ravel().astype(float), targets[:, ids].ravel(), BINS)
    )
    assert sum(point["count"] for point in tail["bins"]) == 300 * tail["labels"]
    assert all(point["count"] for point in tail["bins"])
    assert set(reliability_report(probs[:, :1], targets[:, :1])) == {"all", "head"}


def test_perfect_probabilities_have_no_error() -> None:
    targets = np.eye(4, dtype=bool)
    assert classwise_ece(targets.astype(float), targets) == 0
    assert brier_score(targets.astype(float), targets) == 0


def test_wrong_input_is_refused() -> None:
    probs, targets = scored(5, 3)
    with pytest.raises(ValueError, match=r"bins: expected a whole number above 0, found 0"):
        measure_reliability(probs, targets, 0)
    with pytest.raises(ValueError, match=r"label_counts: expected 3 entries, found shape \(2,\)"):
        reliability_report(probs, targets, [1, 2])
    with pytest.raises(ValueError, match=r"probs: expected values in \[0, 1\]"):
        classwise_ece(probs - 1, targets)
