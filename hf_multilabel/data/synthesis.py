"""Rows of features that no text has, between those of texts with the same rare label."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix, vstack

from hf_multilabel.data.imbalance import minority_labels

# Distances computed together: bounds memory at BLOCK * rows of a label * 4 bytes.
BLOCK = 1024


def mlsmote(
    features: np.ndarray, label_matrix: csr_matrix, neighbors: int = 5, seed: int = 0
) -> tuple[np.ndarray, csr_matrix]:
    """One synthetic row for every row of every rare label.

    A row's neighbours are the nearest rows with the same rare label. The synthetic row lies between the row and one of
    them, by another share in every dimension, and has the labels that more than half of the row and its neighbours
    hold. A text cannot be made of it: in this project it only feeds the linear probe that the head starts from, where
    features are frozen.

    Args:
        features: Shape (N, D).
        label_matrix: Where a label holds, shape (N, L).
        neighbors: Nearest rows that are looked at; fewer where a label has fewer.
        seed: Chooses the neighbour and the shares.

    Returns:
        Features (M, D), float32, and labels (M, L), bool, of the synthetic rows, label by label; M is the number of
        rows held by rare labels (`minority_labels`) with at least two rows.

    Raises:
        ValueError: If `neighbors` is below 1, or the numbers of rows differ.

    Cost: O(n^2 D) for the n rows of a rare label, label by label.

    Reference: Charte et al. 2015, MLSMOTE, algorithms 1 and 2, with label ranking.
    """
    if neighbors < 1:
        raise ValueError(f"neighbors: expected a number of at least 1, found {neighbors!r}. Try 5.")
    if len(features) != label_matrix.shape[0]:
        raise ValueError(
            f"features: expected {label_matrix.shape[0]} rows, one a row of labels, found {len(features)}. Score them."
        )
    features = np.asarray(features, dtype=np.float32)
    rng = np.random.default_rng(seed)
    by_label = label_matrix.tocsc()
    made = [np.zeros((0, features.shape[1]), np.float32)]
    labels = [csr_matrix((0, label_matrix.shape[1]), dtype=bool)]
    for label in minority_labels(label_matrix).tolist():
        rows = by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]
        if len(rows) > 1:
            nearest = rows[_nearest(features[rows], neighbors)]  # (n, k)
            made.append(_between(features, rows, nearest, rng))
            labels.append(_held_by_most(label_matrix, np.column_stack([rows, nearest])))
    return np.concatenate(made), vstack(labels, format="csr", dtype=bool)


def _nearest(points: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k nearest other points of each point, nearest first: (n, D) -> (n, k)."""
    k = min(k, len(points) - 1)
    squares = np.einsum("nd,nd->n", points, points)
    found = np.empty((len(points), k), dtype=np.int64)
    for start in range(0, len(points), BLOCK):
        block = slice(start, min(start + BLOCK, len(points)))
        distances = squares[None] - 2 * points[block] @ points.T  # and the block's own squares, which order nothing
        distances[np.arange(block.stop - start), np.arange(start, block.stop)] = np.inf
        found[block] = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return found


def _between(features: np.ndarray, rows: np.ndarray, nearest: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One point a row in the box between it and one of its neighbours: (n, D)."""
    others = nearest[np.arange(len(rows)), rng.integers(nearest.shape[1], size=len(rows))]
    shares = rng.random((len(rows), features.shape[1]), dtype=np.float32)
    return features[rows] + (features[others] - features[rows]) * shares


def _held_by_most(label_matrix: csr_matrix, groups: np.ndarray) -> csr_matrix:
    """Labels that more than half of the rows of each group hold: (n, members) -> (n, L)."""
    count, members = groups.shape
    ends = np.arange(0, groups.size + 1, members)
    picked = csr_matrix((np.ones(groups.size, np.int64), groups.ravel(), ends), shape=(count, label_matrix.shape[0]))
    held = picked @ label_matrix.astype(np.int64)
    held.data = held.data > members / 2
    held.eliminate_zeros()
    return held.astype(bool)
