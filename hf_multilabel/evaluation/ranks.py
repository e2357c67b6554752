"""Where the positives stand among all scores: the one quantity that ranking metrics and F1-optimal cuts need.

Only positives are looked up, in scores sorted chunk by chunk: exact under ties, one sort of the matrix, and no more
than a chunk of it copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

CHUNK = 1 << 22


@dataclass(frozen=True)
class Ranks:
    """For every positive, in CSR order of the targets, its place among the scores of its row.

    Args:
        row: Row of the positive, (P,).
        score: Its score, (P,).
        at_least: Scores in its row that are as high or higher, itself included, (P,).
        above: Scores in its row that are higher, (P,).
        below: The next lower score in its row, 0 if there is none, (P,).
    """

    row: NDArray[np.int64]
    score: NDArray[np.floating]
    at_least: NDArray[np.int64]
    above: NDArray[np.int64]
    below: NDArray[np.floating]


def rank_positives(scores: NDArray[np.floating], targets: sparse.csr_array) -> Ranks:
    """Rank every positive within its row; pass both transposed to rank within labels.

    Args:
        scores: Any layout, shape (N, L).
        targets: Canonical CSR (sorted, no explicit zeros), shape (N, L).

    Cost: one sort of the scores and O(P log L) for P positives; memory of one chunk and 5 P numbers.

    Example:
        >>> rank_positives(np.array([[0.2, 0.9, 0.2]]), sparse.csr_array([[True, False, False]])).at_least
        array([3])
    """
    width = scores.shape[1]
    row = np.repeat(np.arange(len(scores)), np.diff(targets.indptr))
    score = scores[row, targets.indices]
    at_least, above = np.empty(len(row), np.int64), np.empty(len(row), np.int64)
    below = np.zeros_like(score)
    for start, stop in row_chunks(len(scores), width):
        ordered = np.array(scores[start:stop], order="C")
        ordered.sort(axis=1)
        part = slice(targets.indptr[start], targets.indptr[stop])
        left = _search(ordered, row[part] - start, score[part], np.less)
        right = _search(ordered, row[part] - start, score[part], np.less_equal)
        at_least[part], above[part] = width - left, width - right
        below[part] = np.where(left > 0, ordered[row[part] - start, np.maximum(left - 1, 0)], 0)
    return Ranks(row, score, at_least, above, below)


def count_at_least(
    scores: NDArray[np.floating], values: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many scores of the whole matrix are at least each value, and how many are above it.

    Args:
        scores: Shape (N, L).
        values: Shape (V,).

    Cost: one sort of the scores and O(V log(N L)); memory of one chunk.
    """
    at_least, above = np.zeros(len(values), np.int64), np.zeros(len(values), np.int64)
    for start, stop in row_chunks(*scores.shape):
        ordered = np.sort(scores[start:stop], axis=None)
        at_least += ordered.size - np.searchsorted(ordered, values, side="left")
        above += ordered.size - np.searchsorted(ordered, values, side="right")
    return at_least, above


def _search(ordered: NDArray, row: NDArray, score: NDArray, passes: np.ufunc) -> NDArray[np.int64]:
    """Per entry, how many scores of its ordered row pass: binary search over all entries at once."""
    low = np.zeros(len(row), np.int64)
    high = np.full(len(row), ordered.shape[1], np.int64)
    for _ in range(ordered.shape[1].bit_length()):
        middle = (low + high) >> 1
        # a finished search has middle == high, which may lie one past the end
        goes_right = (low < high) & passes(ordered[row, np.minimum(middle, ordered.shape[1] - 1)], score)
        low = np.where(goes_right, middle + 1, low)
        high = np.where(goes_right, high, middle)
    return low


def row_chunks(rows: int, width: int) -> Iterator[tuple[int, int]]:
    """Row ranges of about CHUNK scores each."""
    step = max(1, CHUNK // max(1, width))
    return ((start, min(start + step, rows)) for start in range(0, rows, step))
