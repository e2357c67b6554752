"""Areas under the ROC and precision-recall curves, per label and pooled; tied scores are one step of the curve.

They need all scores of a label: an outcome that knows only some gives them no value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


def macro_auc_skipped(outcome: Outcome) -> int | None:
    """Labels that `macro_auc` leaves out because they hold on no row or on every row."""
    if not outcome.complete:
        return None
    return int(np.isin(outcome.by_label.positive, (0, outcome.rows)).sum())


def pooled_auc(outcome: Outcome) -> NDArray[np.float64]:
    """Area under the ROC curve of all (row, label) pairs pooled: (1,), NaN if they are of one class."""
    pairs, positive = outcome.rows * outcome.labels, outcome.targets.nnz
    if not outcome.complete or positive in (0, pairs):
        return np.full(1, np.nan)
    ranks = outcome.pooled_ranks
    beaten = int(((2 * pairs - ranks.at_least - ranks.above) * ranks.positives).sum())
    return np.array([(beaten - positive**2) / 2 / (positive * (pairs - positive))])


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


def pooled_ap(outcome: Outcome) -> NDArray[np.float64]:
    """Average precision of all (row, label) pairs pooled: (1,), NaN if none of them is true."""
    if not outcome.complete or not outcome.targets.nnz:
        return np.full(1, np.nan)
    ranks = outcome.pooled_ranks
    as_high = np.cumsum(ranks.positives[::-1])[::-1]  # the scores ascend
    return np.array([(ranks.positives * as_high / ranks.at_least).sum() / outcome.targets.nnz])


def mean_known(areas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the curves that have an area, NaN if there are none: (..., G) -> (...)."""
    with np.errstate(invalid="ignore"):  # none: 0 / 0
        return np.divide(np.nansum(areas, axis=-1), (~np.isnan(areas)).sum(-1))


def mean_all(areas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over all G curves; one without an area counts 0: (..., G) -> (...)."""
    return np.asarray(np.nan_to_num(areas).mean(-1))


# Areas of each label's curve, (L,), and of the one of all pairs, (1,).
AREAS: dict[str, tuple[Callable[[Outcome], NDArray[np.float64]], Callable[[Outcome], NDArray[np.float64]]]] = {
    "auc": (label_auc, pooled_auc),
    "ap": (label_ap, pooled_ap),
}


@dataclass(frozen=True)
class CurveMetric:
    """A mean of areas under curves, so that resampling needs the order of the scores and no sort anew (`steps`).

    Args:
        area: Key of `AREAS`.
        average: `mean_known` (labels without an area are left out) or `mean_all` (they count 0, scikit-learn's).
        pooled: One curve of all pairs instead of one a label.
    """

    area: str
    average: Callable[[NDArray[np.float64]], NDArray[np.float64]] = mean_known
    pooled: bool = False

    def defined(self, outcome: Outcome) -> bool:
        """Whether all scores are known."""
        return outcome.complete

    def __call__(self, outcome: Outcome) -> float | None:
        """The metric's value, None if it has none here."""
        if not self.defined(outcome):
            return None
        value = float(self.average(AREAS[self.area][self.pooled](outcome)))
        return None if np.isnan(value) else value
