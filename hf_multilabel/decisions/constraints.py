"""Cuts for an operating point: a precision or recall to keep, costs of the two errors, or a number of labels.

`scope` says where that holds: `label`, for each label with a cut of its own, or `overall`, for all pairs with one
common cut. With scope label, a label without a positive gets the common cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.decisions.counting import count_levels, scores_between, unstored_at_least
from hf_multilabel.decisions.cuts import Gain, at_one, best_shared, find_candidates, place_shared
from hf_multilabel.evaluation.scores import Scores, TopScores

SCOPES = ("label", "overall")


def precision_at_least(
    scores: Scores, held: sparse.csr_array, *, precision: float, scope: str = "label"
) -> NDArray[np.float64]:
    """Of the cuts with at least this precision the one with the most recall, (L,); 1 where no cut has it. Exact.

    Holds on the fitted rows; a promise for others is `decision.risk`.

    Cost: as `macro_f1` (scope label) or `micro_f1` (overall).
    """

    def gain(caught: NDArray, taken: NDArray, positives: NDArray) -> NDArray[np.float64]:
        return np.where(caught / taken >= precision, caught, -np.inf)

    return _best_cuts(scores, held, gain, scope)


def recall_at_least(
    scores: Scores, held: sparse.csr_array, *, recall: float, scope: str = "label"
) -> NDArray[np.float64]:
    """Of the cuts with at least this recall the one with the most precision, (L,). Exact.

    Holds on the fitted rows; a promise for others is `decision.risk`. A cautious fit takes the highest cut with that
    recall: below the floors all scores that are not kept count as taken, and a lower cut would only seem to cost
    nothing.

    Cost: as `macro_f1` (scope label) or `micro_f1` (overall).
    """
    cautious = isinstance(scores, TopScores) and scores.unstored_at_floor

    def gain(caught: NDArray, taken: NDArray, positives: NDArray) -> NDArray[np.float64]:
        return np.where(caught / positives >= recall, -taken if cautious else caught / taken, -np.inf)

    return _best_cuts(scores, held, gain, scope)


def cost(
    scores: Scores,
    held: sparse.csr_array,
    *,
    false_positive_cost: float = 1.0,
    false_negative_cost: float = 1.0,
    scope: str = "label",
) -> NDArray[np.float64]:
    """The cuts of the lowest total cost of the errors on the fitted rows, (L,); 1 where predicting only costs. Exact.

    Cost: as `macro_f1` (scope label) or `micro_f1` (overall).
    """
    price, worth = false_positive_cost, false_positive_cost + false_negative_cost

    def gain(caught: NDArray, taken: NDArray, positives: NDArray) -> NDArray[np.float64]:
        return worth * caught - price * taken

    return _best_cuts(scores, held, gain, scope, nothing=price)


def cost_plug_in(
    scores: Scores, held: sparse.csr_array, *, false_positive_cost: float = 1.0, false_negative_cost: float = 1.0
) -> NDArray[np.float64]:
    """The cut a / (a + b) for every label, (L,): of least expected cost on calibrated probabilities. Fits nothing.

    Reference: Elkan 2001, equation 2.
    """
    cut = false_positive_cost / (false_positive_cost + false_negative_cost)
    return np.full(scores.shape[1], cut)


def prices_of(decision: Mapping[str, Any]) -> tuple[float, float] | None:
    """The prices of a wrong and of a missed label that a decision was made for; None where it was made for none.

    Example:
        >>> prices_of({"objective": "cost", "options": {"false_negative_cost": 4}})
        (1.0, 4)
    """
    if decision.get("objective") not in ("cost", "cost_plug_in"):
        return None
    options = decision.get("options", {})
    return options.get("false_positive_cost", 1.0), options.get("false_negative_cost", 1.0)


def cardinality(scores: Scores, held: sparse.csr_array, *, mean_labels: float | None = None) -> NDArray[np.float64]:
    """The common cut that comes nearest to so many labels a row on average, (L,); None: as many as are true. Exact.

    Of two equally near the higher one.

    Cost: a few passes over the scores and a sort of those near the cut.

    Reference: Read et al. 2011, equation 4 (label cardinality).
    """
    wanted = held.nnz if mean_labels is None else mean_labels * scores.shape[0]
    if isinstance(scores, TopScores):
        if scores.unstored_at_floor:
            return _nearest(scores, wanted, np.unique(np.append(scores.stored.data, scores.floor)), 0)
        if _may_lie_below(scores, wanted):
            return np.full(scores.shape[1], scores.ceiling)  # not known: `fit_cuts` starts again with safe counts
    taken = count_levels(scores)
    used = np.flatnonzero(np.diff(taken))
    if not len(used):  # no score was kept, and none at all is near enough
        return np.ones(scores.shape[1])
    middle = np.searchsorted(-taken[used], -wanted, side="right") - 1  # the highest level that takes enough
    low, high = used[max(middle - 1, 0)], used[min(max(middle, 0) + 1, len(used) - 1)]
    return _nearest(scores, wanted, scores_between(scores, low, high), taken[high + 1])


def _may_lie_below(scores: TopScores, wanted: float) -> bool:
    """Whether a cut at a floor or below, where scores are not known, may come nearer to `wanted` than all above.

    What the other rules gain only falls when more is taken, so that counts too low hide no better cut below. Here more
    may be nearer: a cut below takes at least the next score, and any number beyond.
    """
    if scores.ceiling < 0:
        return False
    ceiling = np.float64(scores.ceiling)
    above = int(np.count_nonzero(scores.stored.data > ceiling))
    next_taken = above + max(int(np.count_nonzero(scores.stored.data == ceiling)), 1)
    return above < wanted and next_taken - wanted < wanted - above


def _nearest(scores: Scores, wanted: float, between: NDArray[np.floating], above: int) -> NDArray[np.float64]:
    """The cut at the one of ascending scores that takes nearest to `wanted`: (L,)."""
    values, first = np.unique(between, return_index=True)
    taken = above + len(between) - first
    if isinstance(scores, TopScores) and scores.unstored_at_floor:
        kept = np.sort(scores.stored.data)
        taken = len(kept) - np.searchsorted(kept, values) + unstored_at_least(scores, values, by_label=False)
    distance = np.abs(taken - wanted)
    if abs(wanted) <= distance.min() and values[-1] < 1:
        return np.ones(scores.shape[1])  # none at all is as near
    best = np.flatnonzero(distance == distance.min())[-1]
    return np.full(scores.shape[1], place_shared(scores, values[best], values[:best]))


def _best_cuts(
    scores: Scores, held: sparse.csr_array, gain: Gain, scope: str, nothing: float | None = None
) -> NDArray[np.float64]:
    """Cuts of the highest gain, (L,); 1 where there is none.

    Args:
        scores: Shape (N, L).
        held: Shape (N, L).
        gain: -inf marks a cut that is not allowed.
        scope: One of `SCOPES`.
        nothing: Price of each score of 1, which even a cut of 1 takes; None: that cut is a last resort.
    """
    least = np.full(scores.shape[1], -np.inf) if nothing is None else -nothing * at_one(scores)  # (L,)
    shared = 1.0
    found = None if scope == "overall" or not held.nnz else find_candidates(scores, held)
    if found is None or not found.positives.all():
        shared = _best_or_one(scores, held, gain, least.sum())
    cuts = np.full(scores.shape[1], shared)
    if found is not None:
        value = found.gain(gain)
        best = found.best(value)
        cuts[found.present] = np.where(value[best] > least[found.present], found.place(scores, best), 1.0)
    return cuts


def _best_or_one(scores: Scores, held: sparse.csr_array, gain: Gain, least: float) -> float:
    """The shared cut of the highest gain, or 1 if no cut gains more than `least`, as where nothing is true."""
    if not held.nnz:
        return 1.0

    def bounded(caught: NDArray, taken: NDArray, positives: NDArray) -> NDArray[np.float64]:
        value = gain(caught, taken, positives)
        return np.where(value > least, value, -np.inf)

    cut = best_shared(scores, held, bounded)
    return 1.0 if cut is None else cut
