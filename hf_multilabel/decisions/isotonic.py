"""Isotonic calibration that keeps rankings: a strictly growing broken line through pooled blocks of rows.

A step function ties all rows of a block and gives 0 and 1 at its ends. Here a block's rows only say by which factor
Platt's odds are wrong there:

    log-odds of a block = Platt's + log((pos + c) / (E pos + c)) - log((neg + c) / (E neg + c))

with its positives and negatives, those that Platt's fit expects, and c pseudo-counts. Straight lines through the
blocks, with Platt's slope beyond the first and the last: strictly growing, finite, and Platt's itself where rows are
few.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import isotonic_regression
from scipy.special import expit, logit

from hf_multilabel.evaluation import row_chunks

LEAST = 1e-12  # of a probability, before its log-odds
GAP = 1e-6  # least distance of two knots, relative: stored digits keep them apart


def fit_knots(
    logits: NDArray[np.floating],
    targets: sparse.csr_array,
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
    strength: float,
) -> dict[str, Any]:
    """Knots of all labels, one label after the other.

    Args:
        logits: Shape (N, L).
        targets: Canonical CSR, shape (N, L).
        slope: Platt's, (L,).
        intercept: Platt's, (L,).
        strength: c, the pseudo-counts of a block.

    Returns:
        `size`, knots of each label, (L,); `x` and `y`, their logits and log-odds, (K,); `slope` beyond them, (L,).

    Cost: one sort of the scores, and a pass of `scipy.optimize.isotonic_regression` a label with a positive.
    """
    by_label = targets.T.tocsr()
    xs, ys = [], []
    for start, stop in row_chunks(logits.shape[1], len(logits)):
        block = np.ascontiguousarray(logits[:, start:stop].T, dtype=np.float64)  # (l, N)
        order = np.argsort(block, axis=1)
        for label, (scores, rank) in enumerate(zip(block, order, strict=True), start):
            held = np.zeros(len(scores))
            held[by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]] = 1
            line = slope[label] * scores + intercept[label]
            counts = _pool(scores[rank], held[rank], expit(line[rank]))
            places, values = _strictly_growing(counts, strength)
            xs.append((places - intercept[label]) / slope[label])
            ys.append(values)
    size = np.array([len(x) for x in xs])
    return {"size": size, "x": np.concatenate(xs), "y": np.concatenate(ys), "slope": slope}


def _pool(scores: NDArray[np.float64], held: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows, positives and expected positives of the blocks that adjacent violators pool to, ascending: (B, 3)."""
    rows = np.stack([np.ones(len(scores)), held, expected], axis=1)
    first = np.flatnonzero(np.diff(scores, prepend=-np.inf) > 0)
    distinct = np.add.reduceat(rows, first, axis=0)  # equal scores are one row
    if not held.any():
        return distinct.sum(axis=0, keepdims=True)
    blocks = isotonic_regression(distinct[:, 1] / distinct[:, 0], weights=distinct[:, 0]).blocks
    return np.add.reduceat(distinct, blocks[:-1], axis=0)


def _strictly_growing(counts: NDArray[np.float64], strength: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Platt's and the corrected log-odds of each block, blocks joined until both grow: (B,), (B,)."""
    kept: list[tuple[NDArray[np.float64], float, float]] = []
    for block in counts:
        place, value = _knot(block, strength)
        while kept and not (
            value - kept[-1][2] > GAP * (1 + abs(value)) and place - kept[-1][1] > GAP * (1 + abs(place))
        ):
            block = kept.pop()[0] + block
            place, value = _knot(block, strength)
        kept.append((block, place, value))
    return np.array([place for _, place, _ in kept]), np.array([value for _, _, value in kept])


def _knot(block: NDArray[np.float64], strength: float) -> tuple[float, float]:
    """Where a block lies by Platt's log-odds, and what they become."""
    rows, positives, expected = block
    place = float(logit(np.clip(expected / rows, LEAST, 1 - LEAST)))
    least = max(strength, LEAST)
    more = np.log((positives + least) / (expected + least))
    less = np.log((rows - positives + least) / (rows - expected + least))
    return place, float(place + more - less)
