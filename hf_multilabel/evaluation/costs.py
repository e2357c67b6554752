"""What errors cost at given prices: of a text on average, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hf_multilabel.evaluation.intervals import percentile
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.evaluation.resampling import draw_weights

COSTS = ("mean_cost", "wrong_labels", "missed_labels")


def count_costs(outcome: Outcome, prices: tuple[float, float]) -> dict[str, float | int]:
    """The mean cost of a text, and the numbers of wrong and of missed labels in all texts.

    Args:
        outcome: Decisions and truths.
        prices: Of a wrong and of a missed label.

    Example:
        >>> count_costs(Outcome(None, [[1, 1], [0, 0]], [[1, 0], [1, 1]]), (1, 5))
        {'mean_cost': 5.5, 'wrong_labels': 1, 'missed_labels': 2}
    """
    counts = outcome.by_row
    wrong = int((counts.predicted - counts.true_positive).sum())
    missed = int((counts.positive - counts.true_positive).sum())
    return dict(zip(COSTS, ((prices[0] * wrong + prices[1] * missed) / outcome.rows, wrong, missed), strict=True))


def mean_cost_interval(
    outcome: Outcome, prices: tuple[float, float], level: float = 0.95, resamples: int = 1000
) -> list[float]:
    """Bounds of `mean_cost`, from rows drawn anew, [low, high]: a mean over rows needs nothing but the percentiles."""
    counts = outcome.by_row
    wrong, missed = counts.predicted - counts.true_positive, counts.positive - counts.true_positive
    cost = prices[0] * wrong + prices[1] * missed  # (N,)
    drawn = np.concatenate([weights @ cost for weights in draw_weights(outcome, resamples, 0)]) / outcome.rows
    return percentile(cost.mean(), drawn, level, cost).tolist()


def without_costs(found: Mapping[str, Any]) -> dict[str, Any]:
    """Results without those at prices that no longer hold."""
    return {name: value for name, value in found.items() if name not in COSTS}
