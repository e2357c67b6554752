"""Cuts that maximise an F-measure: pooled, per label, per row.

F-beta of c right ones among t taken and n true ones is (1 + beta^2) c / (t + beta^2 n); beta = 1 is F1, a larger one
weighs recall higher.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.decisions.counting import count_by_label, pairs_above, scores_of
from hf_multilabel.decisions.cuts import Gain, at_one, best_shared, find_candidates, place_shared
from hf_multilabel.evaluation.scores import Scores, TopScores


def f_gain(beta: float) -> Gain:
    """F-beta of counts."""
    weight = beta * beta
    return lambda caught, taken, positives: (1 + weight) * caught / (taken + weight * positives)


def micro_f1(scores: Scores, held: sparse.csr_array, *, beta: float = 1.0) -> NDArray[np.float64]:
    """The one cut for all labels that maximises micro-F-beta, (L,). Exact.

    Cost: a few passes over the scores and a sort of the positives' and of those near the cut.
    """
    cut = best_shared(scores, held, f_gain(beta))
    return np.full(scores.shape[1], cut, np.float64)


def macro_f1(scores: Scores, held: sparse.csr_array, *, beta: float = 1.0) -> NDArray[np.float64]:
    """Each label's own cut of the highest F-beta, (L,); the `micro_f1` cut for labels without a positive. Exact.

    Optimal on the rows it was fitted on only: one or two positives put a cut anywhere.

    Cost: one pass over the scores, one sort of those that are no lower than the lowest positive of their label, and
    `micro_f1` if a label has no positive.
    """
    found = find_candidates(scores, held)
    cuts = np.empty(scores.shape[1]) if found.positives.all() else micro_f1(scores, held, beta=beta)
    cuts[found.present] = found.place(scores, found.best(found.gain(f_gain(beta))))
    return cuts


def micro_f1_per_label(scores: Scores, held: sparse.csr_array, *, beta: float = 1.0) -> NDArray[np.float64]:
    """A cut for each label, together those of the highest micro-F-beta, (L,). Exact; starts at the `micro_f1` cut.

    Micro-F is a ratio of sums over labels, so that with F known each label maximises (1 + beta^2) c - F t on its own;
    F of the cuts so found is higher, until it is the highest there is (Dinkelbach 1967). Labels without a positive keep
    the `micro_f1` cut. A label that only costs gets a cut of 1.

    Cost: `micro_f1` and `macro_f1`, and a few passes over the candidates.
    """
    shared, found = micro_f1(scores, held, beta=beta), find_candidates(scores, held)
    labels, weight = found.present, beta * beta
    start = count_by_label(scores, shared)
    kept = start.sum() - start[labels].sum()  # taken of labels without a positive, whatever is chosen
    top_taken = at_one(scores)[labels]
    caught = np.count_nonzero(scores_of(scores, held).astype(np.float64) >= shared[0])
    value = (1 + weight) * caught / (start.sum() + weight * held.nnz)
    chosen, never = np.empty(0, np.int64), np.empty(0, np.bool_)
    while True:
        gain = (1 + weight) * found.caught - value * found.taken
        best = found.best(gain)
        costs = gain[best] <= -value * top_taken
        caught = found.caught[best][~costs].sum()
        taken = kept + found.taken[best][~costs].sum() + top_taken[costs].sum()
        better = (1 + weight) * caught / (taken + weight * held.nnz)
        if len(chosen) and better <= value:
            break
        value, chosen, never = max(better, value), best, costs
    cuts = shared.copy()
    cuts[labels] = np.where(never, 1.0, found.place(scores, chosen))
    return cuts


def samples_f1(scores: Scores, held: sparse.csr_array, *, beta: float = 1.0) -> NDArray[np.float64]:
    """The one cut for all labels that maximises the mean F-beta of the rows, (L,). Exact.

    A row with neither true nor predicted labels counts 0, as in `evaluation.samples_f1`. Only the cut is common: sets
    chosen row by row are the decision rule `expected_f1`.

    Cost: one pass over the scores and a sort of those that are no lower than the lowest positive.
    """
    positive = scores_of(scores, held)
    values = np.unique(positive)
    pairs = pairs_above(scores, held, np.full(scores.shape[1], values[0]))
    place = np.searchsorted(values, pairs.score, side="right") - 1  # the highest value that takes it
    weight, true = np.ones(len(place), np.int64), np.diff(held.indptr)
    row, hit = pairs.row, pairs.hit
    if isinstance(scores, TopScores) and scores.unstored_at_floor:
        low = np.flatnonzero((scores.unstored > 0) & (scores.floor >= values[0]))
        place = np.append(place, np.searchsorted(values, scores.floor[low], side="right") - 1)
        row, hit = np.append(row, low), np.append(hit, np.zeros(len(low), bool))
        weight = np.append(weight, scores.unstored[low])
    order = np.lexsort((-place, row))
    row, place = row[order], place[order]
    taken, caught = (_within(row, counts[order]) for counts in (weight, hit.astype(np.int64)))
    f = f_gain(beta)(caught, taken, true[row])
    first = np.append(True, row[1:] != row[:-1])
    step = f - np.where(first, 0, np.append(0, f[:-1]))
    total = np.cumsum(np.bincount(place, weights=step, minlength=len(values))[::-1])[::-1]
    # sums of the same rows in another order differ in the last digits: of equal means the highest cut
    best = np.flatnonzero(total >= total.max() - 1e-12 * len(true))[-1]
    return np.full(scores.shape[1], place_shared(scores, values[best], values[:0]))


def _within(row: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Running sums that start anew with each row: rows ascending, (E,) -> (E,)."""
    total = np.cumsum(counts)
    first = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
    before = total[first] - counts[first]
    return total - np.repeat(before, np.diff(np.append(first, len(row))))
