"""Quotients of counts (precision, recall, F-beta, Jaccard) and how they are averaged over pairs, labels or rows.

All functions take `Counts` whose last axis is the labels, so that (L,) counts of one evaluation and (B, L) counts of B
resamples go the same way. Where a denominator is 0 the quotient is 0, as in scikit-learn with `zero_division=0`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_multilabel.evaluation.outcomes import Counts, Outcome

Quotient = Callable[..., NDArray[np.float64]]
Average = Callable[..., NDArray[np.float64]]


def ratio(numerator: Any, denominator: Any) -> NDArray[np.float64]:
    """The quotient, 0 where the denominator is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom != 0)


def precision(counts: Counts) -> NDArray[np.float64]:
    """Right ones among the predicted."""
    return ratio(counts.true_positive, counts.predicted)


def recall(counts: Counts) -> NDArray[np.float64]:
    """Right ones among the true."""
    return ratio(counts.true_positive, counts.positive)


def f_beta(counts: Counts, beta: float = 1.0) -> NDArray[np.float64]:
    """(1 + beta^2) P R / (beta^2 P + R): recall counts beta times as much as precision."""
    squared = beta * beta
    return ratio((1 + squared) * counts.true_positive, counts.predicted + squared * counts.positive)


def jaccard(counts: Counts) -> NDArray[np.float64]:
    """Right ones among those predicted or true."""
    return ratio(counts.true_positive, counts.predicted + counts.positive - counts.true_positive)


def micro(quotient: Quotient, counts: Counts, *parameters: float) -> NDArray[np.float64]:
    """The quotient of all (row, label) pairs pooled: frequent labels dominate. (..., L) -> (...)."""
    fields = (counts.true_positive, counts.predicted, counts.positive)
    return quotient(Counts(*(field.sum(-1) for field in fields)), *parameters)


def macro(quotient: Quotient, counts: Counts, *parameters: float) -> NDArray[np.float64]:
    """Mean of the labels' quotients over all L labels; one without a positive counts 0. (..., L) -> (...)."""
    return np.asarray(quotient(counts, *parameters).mean(-1))


def macro_present(quotient: Quotient, counts: Counts, *parameters: float) -> NDArray[np.float64]:
    """Mean of the quotients over the labels with a positive; NaN if there are none. (..., L) -> (...)."""
    present = counts.positive > 0
    with np.errstate(invalid="ignore"):  # no label present: 0 / 0
        return np.divide((quotient(counts, *parameters) * present).sum(-1), present.sum(-1))


def weighted(quotient: Quotient, counts: Counts, *parameters: float) -> NDArray[np.float64]:
    """Mean of the labels' quotients, weighted by their positives. (..., L) -> (...)."""
    return ratio((quotient(counts, *parameters) * counts.positive).sum(-1), counts.positive.sum(-1))


@dataclass(frozen=True)
class LabelMetric:
    """A metric of nothing but the labels' counts, so that resampling needs the counts and no decision anew.

    Args:
        average: `micro`, `macro`, `macro_present` or `weighted`.
        quotient: `precision`, `recall`, `f_beta` or `jaccard`.
        part: `head`, `torso` or `tail`: only these labels, by training frequency; None: all.

    Example:
        >>> LabelMetric(micro, f_beta)(Outcome([[0.9, 0.2]], [[1, 1]], [[1, 0]]))
        0.6666666666666666
    """

    average: Average
    quotient: Quotient
    part: str | None = None

    def defined(self, outcome: Outcome) -> bool:
        """Whether the part is known and has labels."""
        return self.part is None or (outcome.label_counts is not None and outcome.part(self.part).size > 0)

    def values(self, outcome: Outcome, counts: Counts, *parameters: float) -> NDArray[np.float64]:
        """The metric of each set of counts, (..., L) -> (...), NaN where it has no value."""
        return self.average(
            self.quotient, counts if self.part is None else counts[outcome.part(self.part)], *parameters
        )

    def __call__(self, outcome: Outcome, *parameters: float) -> float | None:
        """The metric's value, None if it has none here."""
        if not self.defined(outcome):
            return None
        value = float(self.values(outcome, outcome.by_label, *parameters))
        return None if np.isnan(value) else value


@dataclass(frozen=True)
class RowMetric:
    """A metric that is one sum over rows divided by another, so that resampling needs the rows' parts only.

    Args:
        parts: From an outcome, and k or beta where the metric has one, to each row's part of the numerator, (N,), and
            of the denominator: (N,), or one number for all rows.
        counted: Whether it needs the labels' counts in training.
        present: Whether it is of the rows that count alone: without one it has no value, others are then 0.
    """

    parts: Callable[..., tuple[NDArray[Any], Any]]
    counted: bool = False
    present: bool = False

    def defined(self, outcome: Outcome) -> bool:
        """Whether what it needs of the training split is known."""
        return not self.counted or outcome.label_counts is not None

    def values(self, numerator: Any, denominator: Any) -> NDArray[np.float64]:
        """The metric of each pair of sums, NaN where it has no value."""
        found = ratio(numerator, denominator)
        return np.where(np.asarray(denominator) == 0, np.nan, found) if self.present else found

    def __call__(self, outcome: Outcome, *parameters: float) -> float | None:
        """The metric's value, None if it has none here."""
        if not self.defined(outcome):
            return None
        numerator, denominator = self.parts(outcome, *parameters)
        value = float(self.values(numerator.sum(), np.broadcast_to(denominator, numerator.shape).sum()))
        return None if np.isnan(value) else value


def samples_precision(outcome: Outcome) -> tuple[NDArray, int]:
    """Each row's precision; a row without predicted labels counts 0."""
    return precision(outcome.by_row), 1


def samples_recall(outcome: Outcome) -> tuple[NDArray, int]:
    """Each row's recall; a row without true labels counts 0."""
    return recall(outcome.by_row), 1


def samples_precision_present(outcome: Outcome) -> tuple[NDArray, NDArray]:
    """Each row's precision, and whether it has predicted labels: what `decision.risk` promises of a precision."""
    return precision(outcome.by_row), outcome.by_row.predicted > 0


def samples_recall_present(outcome: Outcome) -> tuple[NDArray, NDArray]:
    """Each row's recall, and whether it has true labels: what `decision.risk` promises of a recall."""
    return recall(outcome.by_row), outcome.by_row.positive > 0


def samples_f_beta(outcome: Outcome, beta: float = 1.0) -> tuple[NDArray, int]:
    """Each row's F-beta; a row with neither true nor predicted labels counts 0, scikit-learn's convention."""
    return f_beta(outcome.by_row, beta), 1


def samples_jaccard(outcome: Outcome) -> tuple[NDArray, int]:
    """Each row's Jaccard index; a row with neither true nor predicted labels counts 0."""
    return jaccard(outcome.by_row), 1


def subset_accuracy(outcome: Outcome) -> tuple[NDArray, int]:
    """Whether a row's label set is exactly right."""
    counts = outcome.by_row
    return (counts.true_positive == counts.predicted) & (counts.true_positive == counts.positive), 1


def hamming_loss(outcome: Outcome) -> tuple[NDArray, int]:
    """The wrongly decided among a row's L labels."""
    counts = outcome.by_row
    return counts.predicted + counts.positive - 2 * counts.true_positive, outcome.labels


def predicted_per_row(outcome: Outcome) -> tuple[NDArray, int]:
    """The size of a row's predicted label set."""
    return outcome.by_row.predicted, 1
