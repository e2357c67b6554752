"""Where a cut may lie: below the positives of a label, away from every score, and what each place takes and catches.

A gain is a function (caught, taken, positives) -> (V,) that never falls when more is caught or less is taken. Then the
best cut lies just below a positive: between two of them, cuts only take more negatives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hf_multilabel.decisions.counting import (
    LEVELS,
    Pairs,
    above_floors,
    at_or_above,
    count_by_label,
    count_levels,
    level,
    next_lower,
    pairs_above,
    round_up,
    scores_between,
    scores_of,
    unstored_at_least,
)
from hf_multilabel.evaluation import row_chunks
from hf_multilabel.evaluation.scores import Scores, TopScores

MARGIN = 1e-4  # above what float32 and the kernels of another machine change in a probability
# float32 tells no probabilities apart below the one and above the other
LOWEST, HIGHEST = float(np.finfo(np.float32).tiny), 1 - 1e-7
_ONE = np.uint64(0x3F800000)  # bits of 1.0

Gain = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Candidates:
    """Every cut just below a positive, label by label and highest first.

    Args:
        label: Label of the candidate, (C,).
        score: The lowest score it takes, a positive's, (C,).
        below: The next lower score of the label, NaN where it is not known, (C,).
        caught: Positives of the label taken by it, (C,).
        taken: Rows taken by it, (C,).
        positives: Positives of each label, (L,).
    """

    label: NDArray[np.int64]
    score: NDArray[np.floating]
    below: NDArray[np.floating]
    caught: NDArray[np.int64]
    taken: NDArray[np.int64]
    positives: NDArray[np.int64]

    @property
    def present(self) -> NDArray[np.int64]:
        """Labels with a positive, ascending."""
        return np.flatnonzero(self.positives)

    def gain(self, gain: Gain) -> NDArray[np.float64]:
        """Gain of each candidate: (C,)."""
        return gain(self.caught, self.taken, self.positives[self.label])

    def best(self, gain: NDArray[np.float64]) -> NDArray[np.int64]:
        """Candidate of the highest gain, of equals the highest cut, for each label with a positive, in label order."""
        many = np.bincount(self.label, minlength=len(self.positives))[self.present]
        first = np.cumsum(many) - many
        highest = np.repeat(np.maximum.reduceat(gain, first), many)
        return np.minimum.reduceat(np.where(gain == highest, np.arange(len(gain)), len(gain)), first)

    def place(self, scores: Scores, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Cuts of some candidates, of one label each: midway to the next lower score, (V,)."""
        score, below = self.score[chosen], self.below[chosen]
        unknown = np.isnan(below)
        if unknown.any():
            below[unknown] = next_lower(scores, score[unknown], self.label[chosen][unknown])
        return midway(score, above_floors(scores, score, below))


def find_candidates(scores: Scores, held: sparse.csr_array) -> Candidates:
    """All cuts worth looking at. `held` holds at least one positive.

    Cost: one pass over the scores, and one sort of those that are no lower than the lowest positive of their label.
    """
    positives = np.bincount(held.indices, minlength=held.shape[1])
    least = np.full(held.shape[1], np.inf, scores.dtype)
    np.minimum.at(least, held.indices, scores_of(scores, held))
    label, score, hit = _sorted(pairs_above(scores, held, least))
    reached = np.cumsum(hit)
    fresh = (label[1:] != label[:-1]) | (score[1:] != score[:-1])
    last = np.flatnonzero(np.append(fresh, True))  # of each run of equal scores
    last = last[np.diff(reached[last], prepend=0) > 0]
    of = label[last]
    counts = np.bincount(label, minlength=held.shape[1])
    taken = last + 1 - (np.cumsum(counts) - counts)[of]
    if isinstance(scores, TopScores):
        taken = np.minimum(taken + unstored_at_least(scores, score[last], by_label=True), scores.shape[0])
    follows = np.minimum(last + 1, len(label) - 1)
    below = np.where((label[follows] == of) & (follows > last), score[follows], np.nan).astype(scores.dtype)
    return Candidates(of, score[last], below, reached[last] - (np.cumsum(positives) - positives)[of], taken, positives)


def best_shared(scores: Scores, held: sparse.csr_array, gain: Gain) -> float | None:
    """The one cut for all labels of the highest gain over all pairs, of equals the highest; None if none exceeds -inf.

    Counts on coarse levels of the scores bound the gain of each level; only levels that may hold the best cut are
    sorted. Exact.

    Cost: a few passes over the scores, and a sort of the positives' and of those near the best cut.
    """
    positive = scores_of(scores, held)
    total = np.array(held.nnz)
    taken, caught = count_levels(scores), at_or_above(np.bincount(level(positive), minlength=LEVELS))
    if isinstance(scores, TopScores) and scores.unstored_at_floor:
        spare = np.zeros(LEVELS, np.int64)
        np.add.at(spare, level(scores.floor), scores.unstored)
        most = taken + at_or_above(spare)
    else:
        most = taken
    held_here = np.flatnonzero(np.diff(caught))
    reached = gain(caught[held_here], most[held_here], total).max()
    bound = gain(caught[held_here], np.maximum(most[held_here + 1], 1), total)
    near = held_here[(bound >= reached) & (bound > -np.inf)]
    if not len(near):
        return None
    low, high = near[0], near[-1]
    between = scores_between(scores, low, high)
    values, repeats = np.unique(positive[(level(positive) >= low) & (level(positive) <= high)], return_counts=True)
    place = np.searchsorted(between, values, side="left")
    above = taken[high + 1] + len(between) - place
    if isinstance(scores, TopScores):
        above = above + unstored_at_least(scores, values, by_label=False)
    gains = gain(caught[high + 1] + at_or_above(repeats)[:-1], above, total)
    best = len(gains) - 1 - np.argmax(gains[::-1])
    if gains[best] == -np.inf:
        return None
    return place_shared(scores, values[best], between[: place[best]])


def place_shared(scores: Scores, score: np.floating, lower: NDArray[np.floating]) -> float:
    """Midway from a score to the next lower one of all labels, which is the last of `lower` unless that is empty."""
    if len(lower):
        below = lower[-1]
    elif isinstance(scores, TopScores):
        below = scores.stored.data.max(initial=0, where=scores.stored.data < score)
    else:
        below = scores.max(initial=0, where=scores < score)
    one = np.array([score])
    return float(midway(one, above_floors(scores, one, np.array([below], one.dtype)))[0])


def logit(cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of cuts, finite also at 0 and 1: (L,) -> (L,)."""
    inside = np.clip(cuts, LOWEST, HIGHEST)
    return np.log(inside) - np.log1p(-inside)


def keep_distance(scores: Scores, cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each cut moved away from the scores next to it, past none of them: (L,)."""
    below, above = (near.astype(np.float64) for near in _neighbours(scores, round_up(cuts, scores.dtype)))
    margin = np.minimum(MARGIN, (above - below) / 2)
    moved = np.clip(cuts, below + margin, above - margin)
    return np.where(moved > below, moved, above)


def _neighbours(scores: Scores, cut: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """The nearest score of each label below its cut, or 0, and the nearest no lower, or 1: (L,) -> (L,), (L,)."""
    below, above = np.zeros(len(cut), scores.dtype), np.ones(len(cut), scores.dtype)
    if isinstance(scores, TopScores):
        ids, data = scores.stored.indices, scores.stored.data
        taken = data >= cut[ids]
        np.maximum.at(below, ids[~taken], data[~taken])
        np.minimum.at(above, ids[taken], data[taken])
        # past the floors there is nothing known to keep away from
        return np.where(cut > scores.ceiling, np.maximum(below, scores.ceiling), below).astype(scores.dtype), above
    for start, stop in row_chunks(*scores.shape):
        block = scores[start:stop]
        taken = block >= cut
        below = np.maximum(below, np.where(taken, 0, block).max(axis=0))
        above = np.minimum(above, np.where(taken, block, 1).min(axis=0))
    return below, above


def midway(score: ArrayLike, below: ArrayLike) -> NDArray[np.float64]:
    """The mean, or the score itself where float64 has no number between the two."""
    score, below = np.asarray(score, np.float64), np.asarray(below, np.float64)
    middle = (score + below) / 2
    return np.where(middle > below, middle, score)


def _sorted(pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.floating], NDArray[np.bool_]]:
    """Labels, scores and hits: labels ascending, scores of a label descending."""
    if pairs.score.dtype != np.float32 or (len(pairs.label) and pairs.label.max() >= 1 << 31):
        order = np.lexsort((-pairs.score, pairs.label))
        return pairs.label[order], pairs.score[order], pairs.hit[order]
    # one number a pair sorts several times as fast: 31 bits of label, 32 of 1 - score, 1 of hit
    bits = np.ascontiguousarray(pairs.score).view(np.uint32) & np.uint32(0x7FFFFFFF)
    key = (pairs.label.astype(np.uint64) << np.uint64(32)) | ((_ONE - bits) << np.uint64(1)) | pairs.hit
    key.sort()
    score = (_ONE - ((key >> np.uint64(1)) & np.uint64(0x7FFFFFFF))).astype(np.uint32).view(np.float32)
    return (key >> np.uint64(32)).astype(np.int64), score, (key & np.uint64(1)).astype(np.bool_)


def at_one(scores: Scores) -> NDArray[np.int64]:
    """Scores of each label that even a cut of 1 takes: (L,)."""
    return count_by_label(scores, np.ones(scores.shape[1]))
