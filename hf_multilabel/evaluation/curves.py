"""Areas under the ROC and precision-recall curves, per label and pooled; tied scores are one step of the curve.

They need all scores of a label: an outcome that knows only some gives them no value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.evaluation.ranking import count_true_as_high

# Left out where only some scores are known: the metrics of this file, and those of `calibration`.
CURVES = ("macro_auc", "macro_auc_skipped", "micro_auc", "macro_ap", "macro_ap_present", "micro_ap")
ALL_SCORES = (*CURVES, "classwise_ece", "brier_score")


def label_auc(outcome: Outcome) -> NDArray[np.float64]:
    """Area under each label's ROC curve, tied pairs counting half: (L,), NaN for labels with one class only."""
    if not outcome.complete:
        return np.full(outcome.labels, np.nan)
    ranks, positive = outcome.label_ranks, outcome.by_label.positive
    beaten = 2 * outcome.rows - ranks.at_least - ranks.above  # twice the rows below plus the tied ones, itself too
    summed = np.bincount(ranks.row, weights=beaten, minlength=outcome.labels)
    pairs = (positive * (outcome.rows - positive)).astype(np.float64)
    with np.errstate(invalid="ignore"):  # one class: 0 / 0
        return (summed - positive**2) / 2 / pairs


def macro_auc(outcome: Outcome) -> float | None:
    """Mean AUC over the labels that have both classes in these rows; None if there are none."""
    found = label_auc(outcome)
    return float(np.nanmean(found)) if not np.isnan(found).all() else None


def macro_auc_skipped(outcome: Outcome) -> int | None:
    """Labels that `macro_auc` leaves out because they hold on no row or on every row."""
    if not outcome.complete:
        return None
    return int(np.isin(outcome.by_label.positive, (0, outcome.rows)).sum())


def micro_auc(outcome: Outcome) -> float | None:
    """Area under the ROC curve of all (row, label) pairs pooled; None if they are of one class."""
    if not outcome.complete:
        return None
    pairs, positive = outcome.rows * outcome.labels, len(outcome.row_ranks.score)
    if positive in (0, pairs):
        return None
    ranks = outcome.pooled_ranks
    beaten = int(((2 * pairs - ranks.at_least - ranks.above) * ranks.positives).sum())
    return (beaten - positive**2) / 2 / (positive * (pairs - positive))


def label_ap(outcome: Outcome) -> NDArray[np.float64]:
    """Average precision of each label, the mean over its positives of the precision at their score: (L,).

    NaN for labels without a positive; 1 for those that hold on every row.
    """
    if not outcome.complete:
        return np.full(outcome.labels, np.nan)
    ranks, positive = outcome.label_ranks, outcome.by_label.positive
    reached = count_true_as_high(ranks, positive, outcome.rows) / ranks.at_least
    with np.errstate(invalid="ignore"):  # no positive: 0 / 0
        return np.bincount(ranks.row, weights=reached, minlength=outcome.labels) / positive


def macro_ap(outcome: Outcome) -> float | None:
    """Mean of the labels' average precision over all L labels; one without a positive counts 0 (scikit-learn's)."""
    return float(np.nan_to_num(label_ap(outcome)).mean()) if outcome.complete else None


def macro_ap_present(outcome: Outcome) -> float | None:
    """Mean of the labels' average precision over the labels with a positive in these rows; None if there are none."""
    found = label_ap(outcome)
    return float(np.nanmean(found)) if not np.isnan(found).all() else None


def micro_ap(outcome: Outcome) -> float | None:
    """Average precision of all (row, label) pairs pooled; None if none of them is true."""
    if not outcome.complete:
        return None
    ranks, positive = outcome.pooled_ranks, len(outcome.row_ranks.score)
    if not positive:
        return None
    as_high = np.cumsum(ranks.positives[::-1])[::-1]  # the scores ascend
    return float((ranks.positives * as_high / ranks.at_least).sum() / positive)
