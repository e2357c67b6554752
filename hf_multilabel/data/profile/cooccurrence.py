"""Which labels stand in the same rows, and how much more often than chance."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix, triu

from hf_multilabel.data.profile.facts import CoOccurrence, LabelPair

# A pair is listed if it stands in so many rows, and in such a share of them: two labels of one shared row have the
# highest lift there can be.
LEAST, LEAST_SHARE = 5, 0.001


def measure_cooccurrence(matrix: csr_matrix, names: tuple[str, ...], shown: int = 30, pairs: int = 15) -> CoOccurrence:
    """Count how often labels stand together.

    Args:
        matrix: Where labels hold, (N, L).
        names: Of the labels.
        shown: Most frequent labels whose counts are kept.
        pairs: Pairs listed by lift, and by Jaccard similarity.

    Returns:
        Lift is n_ab N / (n_a n_b), Jaccard similarity n_ab / (n_a + n_b - n_ab).

    Cost: sum of squared label set sizes; never L x L.
    """
    rows, _ = matrix.shape
    ones = csr_matrix((np.ones(matrix.nnz, np.int64), matrix.indices, matrix.indptr), shape=matrix.shape)
    frequency = ones.getnnz(axis=0)
    top = np.argsort(-frequency, kind="stable")[:shown]
    top = top[frequency[top] > 0]
    few = ones[:, top]
    least = max(LEAST, int(np.ceil(rows * LEAST_SHARE)))
    # labels too rare to be listed are left out before the product: they are most of a large set
    often = np.flatnonzero(frequency >= least)
    both = triu(ones[:, often].T @ ones[:, often], k=1).tocoo()
    kept = both.data >= least
    first, second, together = often[both.row[kept]], often[both.col[kept]], both.data[kept]
    lift = together * rows / (frequency[first] * frequency[second])
    jaccard = together / (frequency[first] + frequency[second] - together)

    def listed(score: np.ndarray) -> tuple[LabelPair, ...]:
        order = np.lexsort((-together, -score))[:pairs]
        return tuple(_pair(i, first, second, together, lift, jaccard, frequency, names) for i in order)

    counts = tuple(tuple(row) for row in (few.T @ few).toarray().tolist())
    return CoOccurrence(tuple(names[label] for label in top), counts, least, listed(lift), listed(jaccard))


def _pair(
    i: int,
    first: np.ndarray,
    second: np.ndarray,
    together: np.ndarray,
    lift: np.ndarray,
    jaccard: np.ndarray,
    frequency: np.ndarray,
    names: tuple[str, ...],
) -> LabelPair:
    a, b = int(first[i]), int(second[i])
    if frequency[b] > frequency[a]:
        a, b = b, a
    return LabelPair(names[a], names[b], int(together[i]), float(lift[i]), float(jaccard[i]))
