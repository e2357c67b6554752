"""How uneven the labels of a dataset are, and which of them are rare."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix


def imbalance_ratios(label_matrix: csr_matrix) -> np.ndarray:
    """Rows of the most frequent label over those of each label, "IRLbl".

    Args:
        label_matrix: Where a label holds, shape (N, L).

    Returns:
        At least 1, shape (L,), float64; NaN for a label without a row.

    Example:
        >>> imbalance_ratios(csr_matrix([[1, 0, 0], [1, 1, 0]]))
        array([ 1.,  2., nan])

    Reference: Charte et al. 2015, Addressing imbalance in multilabel classification, section 3.
    """
    counts = label_matrix.getnnz(axis=0).astype(np.float64)
    counts[counts == 0] = np.nan
    return np.nanmax(counts) / counts if np.isfinite(counts).any() else counts


def minority_labels(label_matrix: csr_matrix) -> np.ndarray:
    """Ids of the labels whose ratio is above the mean ratio: those the remedies are for.

    Example:
        >>> minority_labels(csr_matrix([[1, 0], [1, 1]])).tolist()
        [1]
    """
    ratios = imbalance_ratios(label_matrix)
    return np.flatnonzero(ratios > np.nanmean(ratios)) if np.isfinite(ratios).any() else np.zeros(0, np.int64)


def measure_imbalance(label_matrix: csr_matrix) -> dict[str, Any]:
    """Imbalance of a dataset in a few numbers.

    Args:
        label_matrix: Where a label holds, shape (N, L).

    Returns:
        `mean_ir` and `max_ir` (mean and largest ratio of `imbalance_ratios`), `cvir` (their standard deviation, over
        their number less one, divided by their mean), `scumble` (how far rare and frequent labels stand in the same
        rows, see `scumble`) and `minority_labels`, their number. Labels without a row are left out; 0 where there are
        none with one.

    Example:
        >>> measure_imbalance(csr_matrix([[1, 0], [1, 1]]))["mean_ir"]
        1.5

    Reference: Charte et al. 2015, Addressing imbalance in multilabel classification, section 3.
    """
    ratios = imbalance_ratios(label_matrix)
    ratios = ratios[np.isfinite(ratios)]
    mean = float(ratios.mean()) if len(ratios) else 0.0
    spread = float(ratios.std(ddof=1)) if len(ratios) > 1 else 0.0
    found = {
        "mean_ir": mean,
        "max_ir": float(ratios.max()) if len(ratios) else 0.0,
        "cvir": spread / mean if mean else 0.0,
        "scumble": float(scumble(label_matrix).mean()) if label_matrix.shape[0] else 0.0,
    }
    rounded: dict[str, Any] = {name: round(value, 4) for name, value in found.items()}
    return {**rounded, "minority_labels": len(minority_labels(label_matrix))}


def scumble(label_matrix: csr_matrix) -> np.ndarray:
    """How unlike in frequency the labels of each row are: 1 - geometric over arithmetic mean of their ratios.

    Where it is high, remedies that copy a row for its rare label copy a frequent one along.

    Args:
        label_matrix: Where a label holds, shape (N, L).

    Returns:
        In [0, 1), shape (N,), float64; 0 for rows with fewer than two labels.

    Reference: Charte et al. 2014, Concurrence among imbalanced labels; as in the authors' package mldr, the means run
    over the labels of the row.
    """
    ratios = imbalance_ratios(label_matrix)[label_matrix.indices]
    held = np.diff(label_matrix.indptr)
    row = np.repeat(np.arange(len(held)), held)
    size = np.maximum(held, 1)
    arithmetic = np.bincount(row, ratios, len(held)) / size
    geometric = np.exp(np.bincount(row, np.log(ratios), len(held)) / size)
    return np.where(held > 1, np.maximum(1 - geometric / np.where(held > 0, arithmetic, 1), 0), 0.0)
