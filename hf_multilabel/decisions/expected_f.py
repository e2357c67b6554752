"""Cuts from calibrated probabilities alone: what F-measure they promise, and the cut that promises most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.decisions.counting import round_up
from hf_multilabel.evaluation import row_chunks
from hf_multilabel.evaluation.scores import Scores, TopScores

PASSES = 50  # the search ends by itself, mostly after five to ten


def f_star_half(scores: Scores, held: sparse.csr_array, *, scope: str = "label") -> NDArray[np.float64]:
    """Half the highest expected F1 that a cut reaches, per label or over all pairs, (L,). Exact.

    The expected F1 of a cut, as a ratio of expectations, is 2 (sum of the probabilities taken) / (number taken + sum of
    all). The best cut is half the best value, F* / 2: a pair is worth taking when its probability is at least that.
    From any cut the step to half of its F1 moves closer, until nothing moves. True labels are not looked at: they
    belong to the calibration, and rare labels get a cut that is no matter of chance.

    Cost: five to ten passes over the scores.

    Reference: Lipton et al. 2014, theorem 1; Dinkelbach 1967.
    """
    if isinstance(scores, TopScores):
        raise ValueError("objective f_star_half: expected all scores, found a part of each row. Pass them dense.")
    labels = scores.shape[1]
    total = np.sum(scores, axis=0, dtype=np.float64)  # (L,)
    expected = np.zeros(labels)
    for _ in range(PASSES):
        mass, taken = _taken(scores, expected / 2)
        if scope == "overall":
            mass, taken, whole = mass.sum(), taken.sum(), total.sum()
        else:
            whole = total
        # no probability at all: nothing is worth a label
        better = np.broadcast_to(np.where(whole > 0, 2 * mass / np.maximum(taken + whole, 1e-300), 2.0), labels)
        if (better <= expected).all():
            break
        expected = np.maximum(better, expected)
    return expected / 2


def _taken(scores: NDArray[np.floating], cuts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum and number of each label's scores no lower than its cut: (L,) -> (L,), (L,)."""
    cut = round_up(cuts, scores.dtype)
    mass, taken = np.zeros(len(cuts)), np.zeros(len(cuts), np.int64)
    for start, stop in row_chunks(*scores.shape):
        block = scores[start:stop]
        chosen = block >= cut
        mass += np.sum(block, axis=0, where=chosen, dtype=np.float64)
        taken += np.count_nonzero(chosen, axis=0)
    return mass, taken
