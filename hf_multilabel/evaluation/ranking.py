"""How well each row's labels are ordered by their scores, as parts of a sum over rows.

Tied labels share their places: every `_at_k` metric is the mean over all orders of the tied ones. A row without true
labels counts 0 in the `_at_k` metrics, in `coverage_error` and in `ranking_loss`, and 1 in `lrap` and in `one_error`.
k beyond L means L.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hf_multilabel.evaluation.averages import ratio
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.evaluation.ranks import Ranks

Parts = tuple[NDArray[np.float64], NDArray[np.float64] | int]


def shared_places(ranks: Ranks, discount: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean discount of each positive over the places it shares with its ties, none beyond k: (k,) -> (P,)."""
    k = len(discount)
    reached = np.concatenate([[0.0], np.cumsum(discount)])
    return (reached[np.minimum(ranks.at_least, k)] - reached[np.minimum(ranks.above, k)]) / (
        ranks.at_least - ranks.above
    )


def sum_by_row(ranks: Ranks, values: NDArray, rows: int) -> NDArray[np.float64]:
    """The positives' values added up row by row, (P,) -> (N,)."""
    return np.bincount(ranks.row, weights=values, minlength=rows).astype(np.float64, copy=False)


def count_true_as_high(ranks: Ranks, positive: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """How many positives of its row score as high as each positive or higher, itself included, (P,).

    Args:
        ranks: Of P positives in N rows.
        positive: Positives of each row, (N,).
        width: Scores of a row.

    Cost: O(P log P).
    """
    key = ranks.row * (width + 1) + ranks.at_least
    start = np.cumsum(positive) - positive
    return np.searchsorted(np.sort(key), key, side="right") - start[ranks.row]


def discounts(k: int, labels: int) -> NDArray[np.float64]:
    """1 / log2(place + 1) of the first k places."""
    return 1 / np.log2(np.arange(2, min(k, labels) + 2))


def best_gain(discount: NDArray[np.float64], positive: NDArray[np.int64]) -> NDArray[np.float64]:
    """The gain of a row that has all its true labels first, (k,) and (N,) -> (N,)."""
    return np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(positive, len(discount))]


def _gain(outcome: Outcome, discount: NDArray[np.float64]) -> NDArray[np.float64]:
    """Discounted true labels among each row's top k, (k,) -> (N,)."""
    return sum_by_row(outcome.row_ranks, shared_places(outcome.row_ranks, discount), outcome.rows)


def precision_at_k(outcome: Outcome, k: int) -> Parts:
    """Share of true labels among the k highest scores."""
    k = min(k, outcome.labels)
    return _gain(outcome, np.ones(k)), k


def recall_at_k(outcome: Outcome, k: int) -> Parts:
    """Share of a row's true labels found among its k highest scores."""
    return ratio(_gain(outcome, np.ones(min(k, outcome.labels))), outcome.by_row.positive), 1


def r_precision_at_k(outcome: Outcome, k: int) -> Parts:
    """Right labels among the k highest scores over the most there could be: min(k, true labels of the row).

    Reference: Chalkidis et al. 2019, Large-Scale Multi-Label Text Classification on EU Legislation, section 4.
    """
    k = min(k, outcome.labels)
    return ratio(_gain(outcome, np.ones(k)), np.minimum(outcome.by_row.positive, k)), 1


def ndcg_at_k(outcome: Outcome, k: int) -> Parts:
    """Gain discounted by 1 / log2(place + 1) of the k highest scores over the best possible one."""
    discount = discounts(k, outcome.labels)
    return ratio(_gain(outcome, discount), best_gain(discount, outcome.by_row.positive)), 1


def lrap(outcome: Outcome) -> Parts:
    """Label ranking average precision: over a row's true labels, the share of true ones among those ranked as high.

    A row without true labels, or with all, counts 1. Reference: Tsoumakas et al. 2010, section 7.3.
    """
    ranks, positive = outcome.row_ranks, outcome.by_row.positive
    as_high = count_true_as_high(ranks, positive, outcome.labels)
    summed = sum_by_row(ranks, as_high / ranks.at_least, outcome.rows)
    return np.where(positive > 0, summed / np.maximum(positive, 1), 1.0), 1


def coverage_error(outcome: Outcome) -> Parts:
    """How far down its ranking a row's true labels reach, ties counted: 1 at best for rows with one true label."""
    deepest = np.zeros(outcome.rows)
    np.maximum.at(deepest, outcome.row_ranks.row, outcome.row_ranks.at_least)
    return deepest, 1


def ranking_loss(outcome: Outcome) -> Parts:
    """Share of a row's (true, false) label pairs in which the false one scores as high or higher."""
    ranks, positive = outcome.row_ranks, outcome.by_row.positive
    false_as_high = ranks.at_least - count_true_as_high(ranks, positive, outcome.labels)
    return ratio(sum_by_row(ranks, false_as_high, outcome.rows), positive * (outcome.labels - positive)), 1


def one_error(outcome: Outcome) -> Parts:
    """Whether a row's highest score belongs to a label that does not hold."""
    return 1 - _gain(outcome, np.ones(1)), 1
