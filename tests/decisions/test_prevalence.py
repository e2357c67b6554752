"""Prevalences of unlabelled texts against plain EM, against the truth of a simulation, and at their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from hf_multilabel.decisions.calibration import fit_calibration
from hf_multilabel.decisions.prevalence import LEVELLING, fit_prevalence
from hf_multilabel.decisions.prior_shift import estimate_prevalence

HERE, THERE = np.array([0.05, 0.2, 0.2, 0.4]), np.array([0.2, 0.05, 0.2, 0.1])
NAMES = ["a", "b", "c", "d"]


def draw(share: np.ndarray, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose slope and level are off, as a loss that weighs positives leaves them, and the truth."""
    rng = np.random.default_rng(seed)
    targets = rng.random((rows, len(share))) < share
    return 1.5 * (rng.normal(size=targets.shape) + 2.5 * targets - 1.25) + 0.7, targets


def plain_em(logits: np.ndarray, there: np.ndarray, slope: float, intercept: float) -> float:
    """Saerens et al. 2002, equations 4.1 to 4.4, one text at a time."""
    here = [float(expit(slope * z + intercept)) for z in logits]
    prior = share = sum(here) / len(here)
    for _ in range(400):
        total = 0.0
        for z in there:
            p = float(expit(slope * z + intercept))
            yes, no = p * share / prior, (1 - p) * (1 - share) / (1 - prior)
            total += yes / (yes + no)
        share = total / len(there)
    return share


def test_the_estimate_is_that_of_plain_expectation_maximisation() -> None:
    (logits, targets), there = draw(HERE, 300, 0), draw(THERE, 80, 1)[0]
    fitted = fit_calibration(logits, targets, "platt")["parameters"]
    found = fit_prevalence(logits, targets, there, "platt", resamples=2).estimated
    for label in range(4):
        line = fitted["slope"][label], fitted["intercept"][label]
        assert found[label] == pytest.approx(plain_em(logits[:, label], there[:, label], *line), abs=1e-4)


@pytest.mark.parametrize("method", LEVELLING)
def test_true_shares_are_found_where_only_they_changed(method: str) -> None:
    logits, targets = draw(HERE, 4000, 0)
    there, truth = draw(THERE, 4000, 1)
    found = fit_prevalence(logits, targets, there, method, resamples=2)
    np.testing.assert_allclose(found.labelled, targets.mean(axis=0))
    np.testing.assert_allclose(found.estimated, truth.mean(axis=0), atol=0.03)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held, share = [], np.tile(THERE, 8)
    for seed in range(3):
        (logits, targets), there = draw(np.tile(HERE, 8), 800, seed), draw(share, 200, seed + 100)[0]
        found = fit_prevalence(logits, targets, there, resamples=40)
        held.append((found.low <= share) & (found.high >= share))
    assert 0.85 <= np.mean(held) < 1


def test_a_level_that_is_not_calibrated_is_taken_for_a_prevalence() -> None:
    logits, there = draw(HERE, 4000, 0)[0], draw(THERE, 4000, 1)[0]
    found = estimate_prevalence(logits, there)
    assert found[0] - THERE[0] > 0.3, found


def test_estimates_given_as_prevalence_are_the_shift_that_texts_give() -> None:
    (logits, targets), there = draw(HERE, 500, 0), draw(THERE, 300, 1)[0]
    known = fit_prevalence(logits, targets, there, resamples=2).known(NAMES)
    given = fit_calibration(logits, targets, prevalence=known, labels=NAMES)["parameters"]["offset"]
    np.testing.assert_allclose(given, fit_calibration(logits, targets, unlabelled=there)["parameters"]["offset"], 1e-4)


def test_at_the_edges_nothing_is_more_certain_than_the_texts_are_many() -> None:
    targets = np.zeros((2000, 4), bool)
    targets[:800, 0], targets[:20, 1], targets[:, 3] = True, True, True
    logits = np.where(targets, 8.0, -8.0)
    found = fit_prevalence(logits, targets, np.full((50, 4), -8.0), resamples=5)
    # of frequent labels half a text; of a label rarer than that, its own share
    np.testing.assert_allclose(found.estimated[:2], [0.01, 0.01])
    assert found.high[0] == pytest.approx(1 - 0.025 ** (1 / 50))
    np.testing.assert_allclose(found.estimated[2:], np.nan)
    assert set(found.known(NAMES)) == set(found.intervals(NAMES)) == {"a", "b"}
    rare = fit_prevalence(logits[10:], targets[10:], np.full((50, 4), -8.0), resamples=5)
    assert rare.estimated[1] == pytest.approx(10 / 1990)
    lines = found.lines(NAMES)
    assert lines[0] == {"label": "a", "labelled": 0.4, "estimated": 0.01, "low": found.low[0], "high": found.high[0]}


def test_labels_of_a_handful_of_rows_are_not_estimated() -> None:
    """Of a label that one row had, all texts were said to be, with an interval that left out the truth."""
    rng = np.random.default_rng(0)
    targets = np.zeros((300, 4), bool)
    targets[:9, 0], targets[:10, 1], targets[9:, 2], targets[10:, 3] = True, True, True, True
    found = fit_prevalence(rng.normal(size=(300, 4)), targets, rng.normal(size=(80, 4)), resamples=3)
    assert np.isnan([found.estimated, found.low, found.high]).tolist() == [[True, False, True, False]] * 3


@pytest.mark.parametrize("method", LEVELLING)
@pytest.mark.parametrize("score", [-2.0, -0.5, 0.4, 3.0])
def test_of_scores_that_are_all_the_same_nothing_is_estimated(method: str, score: float) -> None:
    """Rounding decided whether all texts have the label or none."""
    (logits, targets), there = draw(HERE, 200, 0), draw(THERE, 80, 1)[0]
    logits[:, 1], there[:, 1] = score, score
    found = fit_prevalence(logits, targets, there, method, resamples=3)
    assert np.isnan([found.estimated, found.low, found.high]).tolist() == [[False, True, False, False]] * 3
    offset = fit_calibration(logits, targets, method, unlabelled=there)["parameters"]["offset"]
    assert offset[1] == 0
    assert all(np.delete(offset, 1))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"method": "temperature"}, r"method: expected one of platt, beta, isotonic, found 'temperature'"),
        ({"unlabelled": [[0.0]]}, r"unlabelled: expected 2 labels, found 1"),
        ({"unlabelled": [[0.0, np.inf]]}, r"unlabelled: expected finite numbers"),
        ({"level": 1.0}, r"level"),
        ({"resamples": 0}, r"resamples"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], match: str) -> None:
    right = {"logits": [[0.0, 1.0], [1.0, 0.0]], "targets": [[1, 0], [0, 1]], "unlabelled": [[0.0, 0.0]]}
    with pytest.raises(ValueError, match=match):
        fit_prevalence(**{**right, **change})
