"""Whether the labels of two splits come from the same rows: shares compared label by label."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control, hypergeom

from hf_multilabel.data.profile.facts import LabelShift, ShiftedLabel

LEVEL = 0.05
SHOWN = 5


def compare_splits(matrices: Mapping[str, csr_matrix], names: tuple[str, ...]) -> dict[str, LabelShift]:
    """The shift between every two splits, by `first/second`.

    Args:
        matrices: Split to where labels hold, (N, L).
        names: Of the labels.
    """
    pairs = itertools.combinations(matrices, 2)
    return {f"{a}/{b}": measure_shift(matrices[a], matrices[b], names) for a, b in pairs}


def measure_shift(first: csr_matrix, second: csr_matrix, names: tuple[str, ...]) -> LabelShift:
    """Compare the share of every label.

    Args:
        first: Where labels hold, (N, L).
        second: The same of the other split, (M, L).
        names: Of the labels.

    Returns:
        p-values are those of Fisher's exact test, doubled from the smaller side; how many labels differ is
        controlled at 5% of false discoveries (Benjamini and Hochberg 1995).
    """
    ours, theirs = first.getnnz(axis=0), second.getnnz(axis=0)
    rows, others = first.shape[0], second.shape[0]
    shares, other_shares = ours / max(rows, 1), theirs / max(others, 1)
    seen = np.flatnonzero(ours + theirs)
    p = exact_p_values(ours[seen], rows, theirs[seen], others)
    significant = false_discovery_control(p) < LEVEL if len(p) else np.zeros(0, bool)
    order = np.lexsort((-np.abs(shares - other_shares)[seen], p))[:SHOWN]
    largest = tuple(
        ShiftedLabel(names[seen[i]], float(shares[seen[i]]), float(other_shares[seen[i]]), float(p[i])) for i in order
    )
    return LabelShift(
        cardinality=float(theirs.sum() / max(others, 1) - ours.sum() / max(rows, 1)),
        mean_difference=float(np.abs(shares - other_shares)[seen].mean()) if len(seen) else 0.0,
        labels=len(seen),
        significant=int(significant.sum()),
        largest=largest,
    )


def exact_p_values(ours: np.ndarray, rows: int, theirs: np.ndarray, others: int) -> np.ndarray:
    """Two-sided p-values of shares ours / rows and theirs / others, shape (L,).

    Example:
        >>> exact_p_values(np.array([3]), 3, np.array([0]), 3).round(3)  # 1 of the 20 draws on each side
        array([0.1])
    """
    law = hypergeom(rows + others, ours + theirs, rows)
    return np.minimum(1, 2 * np.minimum(law.cdf(ours), law.sf(ours - 1)))
