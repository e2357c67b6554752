"""Cuts from expected counts: calibrated probabilities of all rows say what a cut would catch, not the few positives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from hf_multilabel.decisions.counting import entries, scores_of
from hf_multilabel.decisions.cuts import logit
from hf_multilabel.decisions.logistic import FLOOR, STRENGTH, fit_counted, fit_levels
from hf_multilabel.evaluation.scores import Scores, TopScores

REACH = 12.0  # log-odds of the grid's ends; it goes lower where cuts may
WIDTH = 1 / 8  # of a bin: far below what a calibration knows
# Share of the positives whose scores are too low to be looked at, of all and of a label; docs/decisions.md
LOWEST, LOWEST_OF_LABEL = 0.05, 0.1
ROUNDS = 30  # two to five are enough
STEP = 1 / 4  # of log frequency: labels within it count as equally frequent, where their common calibration is fitted
BLOCK = 1 << 20  # bins of labels at a time: 100 MB
DENSE = 1 << 24  # bins of all labels counted at once; beyond, only those that hold a score


@dataclass(frozen=True)
class Axis:
    """Bins of log-odds that end at `REACH`; the outermost hold what lies beyond.

    Args:
        bins: How many, B.
    """

    bins: int

    @classmethod
    def down_to(cls, lowest: float) -> Axis:
        """From the log-odds of the lowest probability that may be a cut, at most from -`REACH`."""
        depth = max(REACH, -float(logit(np.array(lowest))))
        return cls(int(np.ceil((REACH + depth) / WIDTH)))

    @property
    def start(self) -> float:
        """Log-odds of the lowest edge."""
        return REACH - self.bins * WIDTH

    @cached_property
    def design(self) -> Tensor:
        """Features of a beta calibration at the middle of each bin, (3, B)."""
        odds = torch.from_numpy(self.start + (np.arange(self.bins) + 0.5) * WIDTH)
        return torch.stack([functional.logsigmoid(odds), functional.softplus(odds), torch.ones_like(odds)])

    def find(self, scores: NDArray[np.floating]) -> NDArray[np.int64]:
        """The bin of each score."""
        values = scores.astype(np.float64)
        with np.errstate(divide="ignore"):
            odds = np.log(values) - np.log1p(-values)
        return np.clip((odds - self.start) / WIDTH, 0, self.bins - 1).astype(np.int64)

    def edge(self, bins: NDArray[np.int64]) -> NDArray[np.float64]:
        """The probability at the lower edge of each bin."""
        return 1 / (1 + np.exp(-(self.start + bins * WIDTH)))


@dataclass(frozen=True)
class Grid:
    """Scores of the labels that have a positive, counted in bins of log-odds, and their calibration.

    Args:
        axis: The bins, B.
        labels: Ids, ascending, (G,).
        keys: Place in `labels` times B plus bin, ascending, (E,).
        counts: Scores there, (E,).
        extra: Scores that every label may have besides, where some were not kept, (B,).
        hits: Place in `labels` times B plus bin of each positive that is high enough.
        low: Positives of each label that are lower, (G,).
        theta: Parameters of the calibration, (G, 3).
    """

    axis: Axis
    labels: NDArray[np.int64]
    keys: NDArray[np.int64]
    counts: NDArray[np.int64]
    extra: NDArray[np.int64]
    hits: NDArray[np.int64]
    low: NDArray[np.int64]
    theta: Tensor

    @classmethod
    def count(cls, scores: Scores, held: sparse.csr_array, least: NDArray[np.floating]) -> Grid:
        """Count what is at least `least`, (L,), and fit the calibration."""
        axis = Axis.down_to(float(least.min()))
        labels, label = np.unique(held.indices, return_inverse=True)
        positive = scores_of(scores, held)
        high = positive >= least[held.indices]
        hits = label[high] * axis.bins + axis.find(positive[high])
        extra = np.zeros(axis.bins, np.int64)
        if isinstance(scores, TopScores) and scores.unstored_at_floor:
            floors = scores.floor[(scores.unstored > 0) & (scores.floor >= least.min())]
            extra = np.bincount(axis.find(floors), minlength=axis.bins)
        keys, counts = _tally(scores, least, labels, axis)
        low = np.bincount(label[~high], minlength=len(labels))
        grid = cls(axis, labels, keys, counts, extra, hits, low, torch.empty(0))
        return replace(grid, theta=grid.calibrate())

    def calibrate(self) -> Tensor:
        """A beta calibration of each label, drawn toward what labels of its frequency have in common, (G, 3)."""
        size, start, bound = self.axis.bins, [1.0, 1.0, 0.0], [FLOOR, FLOOR, -np.inf]
        positives = self.low + np.bincount(self.hits // size, minlength=len(self.labels))
        level = np.log(positives) - np.average(np.log(positives), weights=positives)
        _, group = np.unique(np.round(level / STEP), return_inverse=True)
        levels = np.bincount(group, weights=positives * level) / np.bincount(group, weights=positives)
        count = np.bincount(group)[:, None] * self.extra + _sum_bins(group, self.keys, self.counts, size)
        found = _sum_bins(group, self.hits, None, size)
        common = fit_levels(
            self.axis.design, *_tensors(levels, count, found), start=start, floor=bound, strength=STRENGTH
        )
        centre = common[:3].repeat(len(level), 1)
        centre[:, 2] += common[3] * torch.from_numpy(level)
        each = []
        for some in self.blocks():
            counted = _tensors(*self.dense(some), centre[some].numpy())
            each.append(fit_counted(self.axis.design, *counted, floor=bound, strength=STRENGTH))
        return torch.cat(each)

    def blocks(self) -> Iterator[slice]:
        """Ranges of the labels."""
        step = max(1, BLOCK // self.axis.bins)
        for start in range(0, len(self.labels), step):
            yield slice(start, min(start + step, len(self.labels)))

    def dense(self, some: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores and positives of some labels in every bin: (G, B), (G, B)."""
        size = self.axis.bins
        shape = (some.stop - some.start, size)
        ends = (some.start * size, some.stop * size)
        inside = slice(*np.searchsorted(self.keys, ends))
        count = np.zeros(shape[0] * size)
        count[self.keys[inside] - ends[0]] = self.counts[inside]
        hits = self.hits[(self.hits >= ends[0]) & (self.hits < ends[1])] - ends[0]
        positives = np.bincount(hits, minlength=len(count)).astype(np.float64)
        return count.reshape(shape) + self.extra, positives.reshape(shape)

    def expect(self, some: slice) -> Expected:
        """What cuts may expect, for some labels."""
        count, _ = self.dense(some)
        caught = _from_above((self.theta[some] @ self.axis.design).sigmoid().numpy() * count)
        return Expected(caught, _from_above(count), caught[:, 0] + self.low[some])


@dataclass(frozen=True)
class Expected:
    """What cuts at the lower edges of the bins take and may expect to catch, for some labels.

    Args:
        caught: Calibrated probability at or above each edge, (G, B).
        taken: Scores at or above each edge, (G, B).
        whole: Positives to be expected in all, (G,).
    """

    caught: NDArray[np.float64]
    taken: NDArray[np.float64]
    whole: NDArray[np.float64]

    def sums(self, bins: NDArray[np.int64]) -> NDArray[np.float64]:
        """Caught, taken and true pairs of all labels by cuts at some bins, (G,) -> (3,)."""
        rows = np.arange(len(bins))
        return np.array([self.caught[rows, bins].sum(), self.taken[rows, bins].sum(), self.whole.sum()])

    def best(self, labels: int, micro: float, pooled: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The bin of each label that adds most to micro- plus macro-F1, and how much: (G,), (G,).

        Args:
            labels: All labels, over which macro-F1 is a mean.
            micro: Micro-F1 of the current cuts, around which it is linear.
            pooled: Its denominator.
        """
        f1 = 2 * self.caught / np.maximum(self.taken + self.whole[:, None], 1e-300)
        gain = f1 / labels + (2 * self.caught - micro * self.taken) / pooled
        best = gain.argmax(1)
        return best, gain[np.arange(len(best)), best]


def expected_cuts(scores: Scores, held: sparse.csr_array) -> NDArray[np.float64]:
    """The cuts of the highest expected (micro-F1 + macro-F1) / 2 under calibrated probabilities, (L,).

    1. Scores below the lowest `LOWEST` of all positives' and the lowest `LOWEST_OF_LABEL` of the label's are left out:
       no cut goes there. That chooses by the score alone, so what is left says the same of it. Where scores are kept
       in part, they need not be known.
    2. The scores of each label with a positive are counted on a grid of log-odds, and a beta calibration is fitted to
       the counts, each label's drawn toward a common one whose intercept depends on the label's frequency: a loss that
       weighs positives, and a model that has seen few of them, move rare labels further than frequent ones.
    3. The expected F1 of a cut, as a ratio of expectations, is 2 (probability taken) / (number taken + all
       probability). Each label takes the cut that adds most to micro- plus macro-F1, micro-F1 linearised around the
       current cuts, all labels at once, until nothing moves.

    Such a cut rests on all rows of a label and on the common fit, so that one or two positives move it little; it is
    only as good as the calibration. A label for which no cut is worth anything gets 1, one without a positive too.

    Args:
        scores: Probabilities, (N, L).
        held: True label sets, (N, L), one at least.

    Returns:
        Shape (L,). Cuts at a floor of the scores, all the same, where that many scores were not kept.

    Cost: one pass over the scores; then O(L B) for B bins, 192 and more, in blocks of labels.

    Reference: Lipton et al. 2014, theorem 1; Kull et al. 2017 on beta calibration.
    """
    least = lowest_cuts(scores, held)
    if isinstance(scores, TopScores) and not scores.unstored_at_floor and not scores.knows(least):
        return least.astype(np.float64)
    grid = Grid.count(scores, held, least)
    best, gain = np.full(len(grid.labels), -1), np.zeros(len(grid.labels))
    micro, pooled = 0.0, np.inf  # the first round is macro-F1's
    for _ in range(ROUNDS):
        sums, previous = np.zeros(3), best.copy()
        for some in grid.blocks():
            found = grid.expect(some)
            best[some], gain[some] = found.best(scores.shape[1], micro, pooled)
            sums += found.sums(best[some])
        pooled = sums[1] + sums[2]
        micro = 2 * sums[0] / pooled
        if (best == previous).all():
            break
    cuts = np.ones(scores.shape[1])
    edges = np.maximum(grid.axis.edge(best), least[grid.labels])
    cuts[grid.labels] = np.where(gain > 0, edges, 1.0)
    return cuts


def lowest_cuts(scores: Scores, held: sparse.csr_array) -> NDArray[np.floating]:
    """The lowest cut each label may get, step 1 of `expected_cuts`; 1 for a label without a positive: (L,)."""
    positive = scores_of(scores, held)
    least = np.ones(scores.shape[1], positive.dtype)
    order = np.lexsort((positive, held.indices))
    labels, start, number = np.unique(held.indices[order], return_index=True, return_counts=True)
    own = positive[order][start + (LOWEST_OF_LABEL * (number - 1)).astype(np.int64)]
    least[labels] = np.minimum(own, np.quantile(positive, LOWEST, method="lower"))
    return least


def _tally(
    scores: Scores, least: NDArray[np.floating], labels: NDArray[np.int64], axis: Axis
) -> tuple[NDArray, NDArray]:
    """How many scores each label has in each bin: keys label * B + bin, ascending, and counts."""
    number = np.full(scores.shape[1], -1)
    number[labels] = np.arange(len(labels))
    size, parts = len(labels) * axis.bins, []
    total = np.zeros(size if size <= DENSE else 0, np.int64)
    for _, _, ids, values in entries(scores, least):
        mine = number[ids] >= 0
        keys = number[ids[mine]] * axis.bins + axis.find(values[mine])
        if len(total):
            total += np.bincount(keys, minlength=size)
        else:
            parts.append(np.unique(keys, return_counts=True))
    if len(total):
        keys = np.flatnonzero(total)
        return keys, total[keys]
    keys, place = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    return keys, np.bincount(place, weights=np.concatenate([part[1] for part in parts])).astype(np.int64)


def _tensors(*arrays: NDArray) -> list[Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def _sum_bins(
    group: NDArray[np.int64], keys: NDArray[np.int64], weights: NDArray[np.int64] | None, size: int
) -> NDArray[np.float64]:
    """What lies in each bin of each group of labels: (U, B)."""
    groups = int(group.max()) + 1
    counted = np.bincount(group[keys // size] * size + keys % size, weights=weights, minlength=groups * size)
    return counted.reshape(groups, size).astype(np.float64)


def _from_above(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums from each bin to the highest, (G, B)."""
    return np.cumsum(values[:, ::-1], axis=1)[:, ::-1]
