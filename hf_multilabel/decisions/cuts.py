"""Where a cut may lie: below the positives of a label, away from every score, and what each place takes and catches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hf_multilabel.evaluation import rank_positives, row_chunks

MARGIN = 1e-4  # above what float32 and the kernels of another machine change in a probability
_EXTREME = 1e-7  # float32 resolves no probability closer to 1


@dataclass(frozen=True)
class Candidates:
    """Every cut just below a positive, label by label and highest first.

    Args:
        label: Label of the candidate, (P,).
        cut: Midway to the next lower score of the label, (P,).
        caught: Positives of the label taken by it, (P,). Too few, never too many, on all but the last of tied scores.
        taken: Rows taken by it, (P,).
        f1: The label's F1, (P,).
        positives: Positives of each label, (L,).
    """

    label: NDArray[np.int64]
    cut: NDArray[np.float64]
    caught: NDArray[np.int64]
    taken: NDArray[np.int64]
    f1: NDArray[np.float64]
    positives: NDArray[np.int64]

    def best(self, gain: NDArray[np.float64]) -> NDArray[np.int64]:
        """Candidate of the highest gain, of equals the highest cut, for each label with a positive, in label order.

        A gain must grow with `caught`: then a tied score's undercounted copies lose against its last one, or equal it.
        """
        present = self.positives[self.positives > 0]
        first = np.cumsum(present) - present
        highest = np.repeat(np.maximum.reduceat(gain, first), present)
        return np.minimum.reduceat(np.where(gain == highest, np.arange(len(gain)), len(gain)), first)


def find_candidates(probs: NDArray[np.floating], targets: sparse.csr_array) -> Candidates:
    """All cuts worth looking at, from one sort of the scores. `targets` holds at least one positive."""
    ranks = rank_positives(probs.T, targets.T.tocsr())
    positives = np.bincount(ranks.row, minlength=probs.shape[1])
    order = np.lexsort((-ranks.score, ranks.row))
    label = ranks.row[order]
    before = (np.cumsum(positives) - positives)[label]
    caught = np.arange(1, len(label) + 1) - before
    taken = ranks.at_least[order]
    f1 = 2 * caught / (taken + positives[label])
    return Candidates(label, midway(ranks.score[order], ranks.below[order]), caught, taken, f1, positives)


def logit(cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of cuts, finite also at 0 and 1: (L,) -> (L,)."""
    inside = np.clip(cuts, _EXTREME, 1 - _EXTREME)
    return np.log(inside) - np.log1p(-inside)


def keep_distance(probs: NDArray, cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each cut moved away from the scores next to it, past none of them: (L,)."""
    below, above = np.zeros(len(cuts)), np.ones(len(cuts))
    for start, stop in row_chunks(*probs.shape):
        block = probs[start:stop].astype(np.float64)
        taken = block >= cuts
        below = np.maximum(below, np.where(taken, 0, block).max(axis=0))
        above = np.minimum(above, np.where(taken, block, 1).min(axis=0))
    margin = np.minimum(MARGIN, (above - below) / 2)
    moved = np.clip(cuts, below + margin, above - margin)
    return np.where(moved > below, moved, above)


def midway(score: ArrayLike, below: ArrayLike) -> NDArray[np.float64]:
    """The mean, or the score itself where float64 has no number between the two."""
    score, below = np.asarray(score, np.float64), np.asarray(below, np.float64)
    middle = (score + below) / 2
    return np.where(middle > below, middle, score)
