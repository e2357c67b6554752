"""Splits that keep the share of every label: iterative stratification on sparse labels, and folds."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_matrix


def iterative_stratification(label_matrix: csr_matrix, fractions: Sequence[float], seed: int = 0) -> list[np.ndarray]:
    """Distribute rows over parts so that each part has its share of every label.

    The label with the fewest rows left goes first: each of its rows goes to the part that lacks most of that label,
    then most rows at all, then by chance. Rows without labels fill up last.

    Args:
        label_matrix: Where a label holds, shape (N, L).
        fractions: Share of each part, in sum 1.
        seed: Decides between equals; the same seed gives the same parts.

    Returns:
        Row numbers of each part, ascending; together they are all rows.

    Raises:
        ValueError: If fractions are not positive or do not sum to 1.

    Cost: O(V log V) for V labels held by all rows; never N x L.

    Example:
        >>> parts = iterative_stratification(csr_matrix([[1], [1], [0], [0]]), [0.5, 0.5])
        >>> [len(part) for part in parts]
        [2, 2]

    Reference: Sechidis, Tsoumakas and Vlahavas 2011, On the Stratification of Multi-Label Data.
    """
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.ndim != 1 or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-9:
        raise ValueError(f"fractions: expected positive numbers that sum to 1, found {list(fractions)}. Correct them.")
    matrix = csr_matrix(label_matrix, dtype=bool, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return _Stratification(matrix, shares, np.random.default_rng(seed)).run()


class _Stratification:
    """The state of one run. Plain lists, since single elements of arrays are slow to reach."""

    def __init__(self, matrix: csr_matrix, shares: np.ndarray, rng: np.random.Generator) -> None:
        rows, labels = matrix.shape
        self.rng = rng
        self.parts = range(len(shares))
        self.part_of = np.full(rows, -1, dtype=np.int64)
        self.labels_of = np.split(matrix.indices, matrix.indptr[1:-1]) if rows else []
        by_label = matrix.tocsc()
        self.rows_of = np.split(by_label.indices, by_label.indptr[1:-1])
        counts = np.diff(by_label.indptr)
        self.left = counts.tolist()
        # chance decides between labels with as many rows left
        self.tie = rng.permutation(labels).tolist()
        self.wanted_rows = (rows * shares).tolist()
        self.wanted = np.outer(counts, shares).tolist()  # (L, parts)

    def run(self) -> list[np.ndarray]:
        heap = [(count, self.tie[label], label) for label, count in enumerate(self.left) if count]
        heapq.heapify(heap)
        while heap:
            count, _, label = heapq.heappop(heap)
            if count != self.left[label]:
                # counted down since it was pushed: back with the true count
                if self.left[label]:
                    heapq.heappush(heap, (self.left[label], self.tie[label], label))
                continue
            rows = self.rows_of[label]
            for row in self.rng.permutation(rows[self.part_of[rows] < 0]).tolist():
                self._assign(row, self._neediest(self.wanted[label]))
        for row in self.rng.permutation(np.flatnonzero(self.part_of < 0)).tolist():
            self._assign(row, self._neediest(self.wanted_rows))
        return [np.flatnonzero(self.part_of == part) for part in self.parts]

    def _neediest(self, wanted: list[float]) -> int:
        most = max(wanted)
        best = [part for part in self.parts if wanted[part] == most]
        if len(best) > 1:
            most = max(self.wanted_rows[part] for part in best)
            best = [part for part in best if self.wanted_rows[part] == most]
        return best[0] if len(best) == 1 else best[int(self.rng.integers(len(best)))]

    def _assign(self, row: int, part: int) -> None:
        self.part_of[row] = part
        self.wanted_rows[part] -= 1
        for label in self.labels_of[row].tolist():
            self.wanted[label][part] -= 1
            self.left[label] -= 1


def split_rows(
    label_matrix: csr_matrix,
    fractions: Sequence[float],
    seed: int = 0,
    groups: np.ndarray | None = None,
    training_only: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Stratified parts for training (the first) and evaluation, without leaks.

    Rows of one group stay together, and a label with rows at all has one in the first part: what is seen in evaluation
    only can't be learned.

    Args:
        label_matrix: Where a label holds, shape (N, L).
        fractions: Share of each part, in sum 1; training first.
        seed: Decides between equals.
        groups: Equal numbers for rows with the same text, shape (N,).
        training_only: Rows that must not be evaluated on, and with them their groups, bool, shape (N,).

    Returns:
        Row numbers of each part, ascending.
    """
    parts = iterative_stratification(label_matrix, fractions, seed)
    part_of = np.empty(label_matrix.shape[0], dtype=np.int64)
    for number, rows in enumerate(parts):
        part_of[rows] = number
    if groups is None:
        groups = np.arange(len(part_of))
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    part_of = part_of[first][group]
    if training_only is not None:
        part_of[np.isin(group, group[training_only])] = 0
    by_label = csr_matrix(label_matrix, dtype=bool, copy=True).tocsc()
    seen = label_matrix[part_of == 0].getnnz(axis=0) > 0
    for label in np.flatnonzero(~seen & (by_label.getnnz(axis=0) > 0)):
        rows = by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]
        if not (part_of[rows] == 0).any():
            part_of[group == group[rows[0]]] = 0
    return [np.flatnonzero(part_of == number) for number in range(len(parts))]


def kfold(label_matrix: ArrayLike | csr_matrix, k: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified folds.

    Args:
        label_matrix: Where a label holds, shape (N, L), dense or CSR.
        k: Number of folds, 2 to N.
        seed: Decides between equals.

    Returns:
        For each fold the rows to train on and the rows held out, both ascending.

    Raises:
        ValueError: If k does not fit the number of rows.

    Example:
        >>> [len(held_out) for _, held_out in kfold(csr_matrix([[1], [1], [0], [0]]), 2)]
        [2, 2]
    """
    rows = np.shape(label_matrix)[0]
    if not isinstance(k, (int, np.integer)) or not 2 <= k <= rows:
        raise ValueError(f"k: expected 2 to {rows} folds for {rows} rows, found {k!r}. Choose another number.")
    folds = iterative_stratification(label_matrix, [1 / k] * k, seed)
    return [(np.setdiff1d(np.arange(rows), held_out, assume_unique=True), held_out) for held_out in folds]


def balance_report(label_matrix: csr_matrix, parts: Sequence[np.ndarray]) -> dict[str, Any]:
    """How far parts are from their share of every label.

    Args:
        label_matrix: Where a label holds, shape (N, L).
        parts: Row numbers of each part.

    Returns:
        `rows` (of each part), `labels_missing` (of each part: labels with rows elsewhere, none here) and
        `label_distribution` (mean over labels and parts of |positive odds in the part - odds in all rows|, "LD" in the
        reference; 0 is perfect).

    Reference: Sechidis et al. 2011, section 4.
    """
    matrix = csr_matrix(label_matrix, dtype=bool, copy=True)
    total = matrix.getnnz(axis=0).astype(np.float64)
    held = total > 0
    odds = _odds(total[held], matrix.shape[0])
    counts = [matrix[rows].getnnz(axis=0)[held].astype(np.float64) for rows in parts]
    pairs = zip(counts, parts, strict=True)
    distances = [np.abs(_odds(count, len(rows)) - odds).mean() for count, rows in pairs if len(rows) and held.any()]
    return {
        "rows": [len(rows) for rows in parts],
        "labels_missing": [int((count == 0).sum()) for count in counts],
        "label_distribution": round(float(np.mean(distances)), 6) if distances else 0.0,
    }


def _odds(count: np.ndarray, rows: int) -> np.ndarray:
    # a label that holds everywhere has no finite odds; half a row keeps it comparable
    return count / np.maximum(rows - count, 0.5)
