"""The k highest scores of every row: who they are, and how often each label is among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

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
        _, label, above, tied = top_pairs(scores[start:stop], depth)
        for k in range(1, depth + 1):
            slots[k - 1] += np.bincount(label, share_of_slot(k, above, tied), minlength=scores.shape[1])
    return slots


def share_slots(scores: NDArray[np.floating], k: int) -> sparse.csr_array:
    """What share of a slot each label has among the k highest scores of each row, CSR (N, L); the rows sum to k.

    Cost: one partition of the scores; memory of one chunk and N k shares, more where scores tie.

    Example:
        >>> share_slots(np.array([[0.9, 0.5, 0.5]]), 2).toarray()
        array([[1. , 0.5, 0.5]])
    """
    parts = []
    for start, stop in row_chunks(*scores.shape):
        row, label, above, tied = top_pairs(scores[start:stop], k)
        parts.append(slot_array(row, label, share_of_slot(k, above, tied), (stop - start, scores.shape[1])))
    return sparse.vstack(parts, format="csr")


def share_of_slot(k: int, above: NDArray[np.int64], tied: NDArray[np.int64]) -> NDArray[np.float64]:
    """The part of one of k slots that each of some scores gets, of those higher and as high in its row: (E,)."""
    return np.clip(k - above, 0, tied) / tied


def slot_array(
    row: NDArray[np.integer], label: NDArray[np.integer], share: NDArray[np.float64], shape: tuple[int, int]
) -> sparse.csr_array:
    """Shares of slots as a matrix, those of 0 left out, CSR (n, L)."""
    held = share > 0
    return sparse.csr_array((share[held], (row[held], label[held])), shape=shape)


def top_pairs(
    scores: NDArray[np.floating], depth: int
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.int64], NDArray[np.int64]]:
    """Row and `rank_pairs` of the scores that are no lower than the depth-th highest of their row, (n, L)."""
    row, label = np.nonzero(scores >= np.partition(scores, -depth, axis=1)[:, -depth, None])
    return row, *rank_pairs(row, label, scores[row, label])


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
