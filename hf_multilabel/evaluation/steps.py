"""Areas under ROC and precision-recall curves as functions of row weights: the scores are put in order once.

A curve has a step at every distinct score of a positive. What its area needs there is the weight of the rows that score
higher, and as high: one sparse product with the weights and a cumulative sum, for many weights at once. Pairs below
every positive change no area and are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.evaluation.averages import ratio
from hf_multilabel.evaluation.outcomes import Outcome

# Numbers of one block of weights: smaller ones than those of sums are faster, for they stay in the cache.
BLOCK = 1 << 18
# Up to here curves are resampled without being asked for: 1,000 resamples take a second for each million, three where
# rows are very many.
WORK = 2_500_000
STEP = 80  # a true pair, which makes a step, takes about as long as so many others


def steps_work(outcome: Outcome) -> int:
    """What resampling the curves of an outcome costs: N L + 80 P for P true pairs."""
    return outcome.rows * outcome.labels + STEP * outcome.targets.nnz


def place_pairs(outcome: Outcome, width: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Where each pair of row and label stands among the steps of its curve, the highest score first.

    Args:
        outcome: All scores, and truths.
        width: Labels of one curve: 1 or L.

    Returns:
        Place of each pair, (N, L): 2 v where it scores between the steps v - 1 and v, 2 v + 1 where it stands on v, -1
        below all; steps are counted through from curve to curve. Steps of each curve, (L / width,).

    Example:
        >>> place_pairs(Outcome([[0.9, 0.5, 0.7, 0.2]], [[0] * 4], [[0, 1, 1, 0]]), 4)
        (array([[ 0,  3,  1, -1]], dtype=int32), array([2]))
    """
    held = outcome.targets.toarray()
    place, sizes = np.empty(held.shape, np.int32), np.zeros(outcome.labels // width, np.int64)
    for curve in range(len(sizes)):
        part = slice(curve * width, (curve + 1) * width)
        scores = -outcome.probs[:, part]
        steps = np.unique(scores[held[:, part]])
        found = np.searchsorted(steps, scores, "left") + np.searchsorted(steps, scores, "right")
        place[:, part] = np.where(found < 2 * len(steps), found + 2 * sizes.sum(), -1)
        sizes[curve] = len(steps)
    return place, sizes


class Steps:
    """The curves of an outcome, and their areas under row weights.

    Args:
        outcome: All scores, and truths.
        pooled: One curve of all (row, label) pairs instead of one a label.

    Cost: a binary search for each of N L pairs; memory of 12 bytes a pair, four times that while it is built.
    """

    def __init__(self, outcome: Outcome, pooled: bool = False) -> None:
        self._width = outcome.labels if pooled else 1
        place, self._sizes = place_pairs(outcome, self._width)
        curves, steps, rows = len(self._sizes), int(self._sizes.sum()), outcome.rows
        row, label = outcome.targets.nonzero()
        on_step = (np.ones(len(row)), (place[row, label] // 2, row))
        self._positives = sparse.csr_array(on_step, shape=(steps, rows))
        kept = place >= 0
        bounds = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
        pairs = sparse.csc_array((np.ones(bounds[-1]), place[kept], bounds), shape=(2 * steps, rows))
        self._pairs = sparse.csr_array(pairs)
        self._pairs.sum_duplicates()
        bounds = np.concatenate([[0], np.cumsum(self._sizes)])
        self._by_curve = sparse.csr_array((np.ones(steps), np.arange(steps), bounds), shape=(curves, steps))

    def areas(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """`auc` and `ap` of G curves under each of B weights, (B, N) -> (B, G); NaN where a curve has none.

        Without weight on either class there is no AUC, without weight on a positive no average precision. Weights are
        whole numbers, whose sums are exact.

        Cost: O(B (N L + P)) for P true pairs; memory of a few blocks and 2 B G numbers.
        """
        size = max(4, BLOCK // max(self._pairs.shape))
        blocks = [self._areas(weights[start : start + size].T) for start in range(0, len(weights), size)]
        return {name: np.concatenate([block[name].T for block in blocks]) for name in ("auc", "ap")}

    def _areas(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """The areas under a block of weights, (N, b) -> (G, b)."""
        positive = self._positives @ weights  # (V, b), as all that follows
        reached = self._reached(self._pairs @ weights, 2)
        above, at_least = reached[::2], reached[1::2]
        total, held = self._width * weights.sum(axis=0), self._by_curve @ positive
        beaten = self._by_curve @ (positive * (2 * total - at_least - above))  # as `curves.label_auc` counts them
        precise = self._by_curve @ (positive * ratio(self._reached(positive, 1), at_least))
        with np.errstate(invalid="ignore"):  # one class, no positive: 0 / 0
            return {"auc": (beaten - held**2) / 2 / (held * (total - held)), "ap": precise / held}

    def _reached(self, sums: NDArray[np.float64], places: int) -> NDArray[np.float64]:
        """Cumulative sums within each curve, so many places a step, (V places, b)."""
        reached = np.cumsum(sums, axis=0)
        starts = places * (np.cumsum(self._sizes) - self._sizes)
        before = np.concatenate([np.zeros((1, sums.shape[1])), reached])[starts]
        return reached - np.repeat(before, places * self._sizes, axis=0)
