"""The k highest scores of every row, counted by label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hf_multilabel.evaluation.ranks import row_chunks


def count_slots(scores: NDArray[np.floating], depth: int) -> NDArray[np.float64]:
    """In how many rows each label is among the k highest scores, for every k up to a depth; ties in equal parts.

    Args:
        scores: Shape (N, L).
        depth: The largest k, at most L.

    Returns:
        Rows by k and label, shape (depth, L); fractions where ties share the last places.

    Cost: one partition of the scores and O(depth (N depth + L)); memory of one chunk and the result.

    Example:
        >>> count_slots(np.array([[0.9, 0.5, 0.5]]), 2)
        array([[1. , 0. , 0. ],
               [1. , 0.5, 0.5]])
    """
    slots = np.zeros((depth, scores.shape[1]))
    for start, stop in row_chunks(*scores.shape):
        label, above, tied = top_pairs(scores[start:stop], depth)
        for k in range(1, depth + 1):
            slots[k - 1] += np.bincount(label, np.clip(k - above, 0, tied) / tied, minlength=scores.shape[1])
    return slots


def top_pairs(
    scores: NDArray[np.floating], depth: int
) -> tuple[NDArray[np.integer], NDArray[np.int64], NDArray[np.int64]]:
    """`rank_pairs` of the scores that are no lower than the depth-th highest of their row, (n, L)."""
    row, label = np.nonzero(scores >= np.partition(scores, -depth, axis=1)[:, -depth, None])
    return rank_pairs(row, label, scores[row, label])


def rank_pairs(
    row: NDArray[np.integer], label: NDArray[np.integer], score: NDArray[np.floating]
) -> tuple[NDArray[np.integer], NDArray[np.int64], NDArray[np.int64]]:
    """Some (row, label) pairs, the rows ascending, by descending score within the row.

    Returns:
        Label of each pair, how many pairs of its row score higher, and how many as high, itself included: (E,) each.
    """
    order = np.lexsort((-score, row))
    label, score = label[order], score[order]  # row is sorted already
    if not len(row):
        return label, np.zeros(0, np.int64), np.zeros(0, np.int64)
    is_first = np.r_[True, (np.diff(row) != 0) | (np.diff(score) != 0)]
    group, first = np.cumsum(is_first) - 1, np.flatnonzero(is_first)
    tied = np.diff(np.r_[first, len(row)])[group]
    return label, first[group] - np.searchsorted(row, row), tied
