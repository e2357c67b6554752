"""Ranking metrics that weigh a label by the inverse of its chance to be annotated: rare labels count more.

Both are normalised as in the Extreme Classification Repository: the sum over rows divided by the sum that the best
possible ranking reaches.

    p_l = 1 / (1 + C (N_l + B)^-A)     C = (ln N - 1) (B + 1)^A     N training texts, N_l of them with label l

Reference: Jain et al. 2016, Extreme Multi-label Loss Functions, section 3 and appendix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_multilabel.evaluation.averages import ratio
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.evaluation.ranking import best_gain, discounts, shared_places, sum_by_row

# Of Jain et al. for data without a fit of their own; Wikipedia has 0.5 and 0.4, Amazon 0.6 and 2.6.
A, B = 0.55, 1.5


def inverse_propensities(label_counts: Any, rows: int, a: float = A, b: float = B) -> NDArray[np.float64]:
    """1 / p_l of every label, at least 1.

    Args:
        label_counts: Training texts of each label, shape (L,).
        rows: Number of training texts; below 3, where C would be negative, all labels weigh 1.
        a: Exponent A.
        b: Offset B.

    Example:
        >>> inverse_propensities([0, 10, 1000], rows=1000).round(2)
        array([8.82, 3.55, 1.22])
    """
    scale = max(np.log(rows) - 1, 0) * (b + 1) ** a
    return 1 + scale * (np.asarray(label_counts, np.float64) + b) ** -a


def psp_at_k(outcome: Outcome, k: int) -> tuple[NDArray, NDArray]:
    """Propensity-scored precision: inverse propensities of the right labels among the k highest scores."""
    return _gains(outcome, np.ones(min(k, outcome.labels)))


def psndcg_at_k(outcome: Outcome, k: int) -> tuple[NDArray, NDArray]:
    """Propensity-scored nDCG: discounted inverse propensities over the row's best plain gain."""
    discount = discounts(k, outcome.labels)
    best = best_gain(discount, outcome.by_row.positive)
    reached, reachable = _gains(outcome, discount)
    return ratio(reached, best), ratio(reachable, best)


def _gains(outcome: Outcome, discount: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Discounted inverse propensities of each row's top k: reached by its ranking, and by the best one, (N,) each."""
    if outcome.label_counts is None or outcome.training_rows is None:
        raise ValueError("label_counts: expected the training texts of each label, found None. Give them and rows.")
    ranks = outcome.row_ranks
    weights = inverse_propensities(outcome.label_counts, outcome.training_rows)[outcome.targets.indices]  # (P,)
    reached = sum_by_row(ranks, weights * shared_places(ranks, discount), outcome.rows)
    heaviest = np.lexsort((-weights, ranks.row))
    place = np.arange(len(heaviest)) - outcome.targets.indptr[ranks.row]  # ranks.row is sorted, and so stays as it is
    kept = np.where(place < len(discount), discount[np.minimum(place, len(discount) - 1)], 0.0)
    return reached, sum_by_row(ranks, weights[heaviest] * kept, outcome.rows)
