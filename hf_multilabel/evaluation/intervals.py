"""Confidence intervals of metrics: a bootstrap over rows by their weights; nothing is decided or sorted again.

Which interval. Labels with one or two positives break the plain bootstrap of `macro_f1` twice. A single positive is
missing from 37% of the resamples and then counts 0, which moves all of them down, often below the value itself; and
drawing it twice changes nothing, which makes them vary too little. The jackknife, which leaves rows out, sees the full
variance. `centred`, the default, takes the shape from the bootstrap, moves it up by value minus mean of the resamples,
and widens it to the jackknife's standard error where that is larger. `percentile` is the plain bootstrap, and `bca`
corrects bias and skewness to second order; both are for metrics of pairs and rows, and labels with many positives.

Curves. A resample is measured as any row set is: `macro_auc` leaves out the labels that have one class in it,
`macro_ap_present` those without a positive, and `macro_ap` counts these 0. Which labels are averaged then changes from
resample to resample, as it would from one row set to another; rare labels make the same trouble as in `macro_f1`, and
`centred` is what mends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.evaluation.resampling import Resampler, draw_weights, leave_out, resample

# Groups of rows of the jackknife: enough to know a standard error to 5%.
GROUPS = 200
ALIKE = 1e-12  # resamples that differ by less are the same but for rounding


def confidence_intervals(
    outcome: Outcome,
    metrics: Iterable[str] | None = None,
    *,
    k: Sequence[int] = (1, 3, 5),
    betas: Sequence[float] = (),
    level: float = 0.95,
    resamples: int = 1000,
    method: str = "centred",
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Bounds of what the metrics are on average over row sets of this size, drawn as this one was.

    They say how far the choice of the evaluated rows moves a score, not how far another training run would. For
    `macro_f1` the size matters: the fewer rows, the more labels are absent and count 0.

    Args:
        outcome: Scores, decisions and truths; its rows are taken as drawn independently.
        metrics: Keys of `METRICS` that are a `LabelMetric`, `RowMetric`, `SlotMetric` or `CurveMetric`; None means all
            that are, but AUC and average precision only where they take no more than some seconds: up to
            N L + 80 P = 2,500,000 for N rows, L labels and P true pairs (`steps.WORK`). Named, they are always given.
        k: Depths of the `_at_k` metrics.
        betas: Weights of recall in the `_f_beta` metrics.
        level: Confidence, above 0 and below 1.
        resamples: Bootstrap resamples B.
        method: Key of `INTERVALS`.
        seed: Of the draws.

    Returns:
        Name -> (low, high). A metric without a value here, or in any resample, is left out. So is one that all
        resamples agree on, for instance because all rows are decided rightly or no label holds on any: that does not
        say how far other rows would move it, and an interval of no width would say that they would not.

    Raises:
        ValueError: If a metric is unknown or can't be resampled, or an argument leaves its range.

    Cost: O(B (N + L + P)) for P predicted, true or top-k pairs, and O(B (N L + P)) for AUC and average precision;
    memory of a few blocks and B numbers a metric, and for these 60 bytes a pair of row and label.

    Example:
        >>> outcome = Outcome([[0.9], [0.8], [0.1], [0.2]], [[1], [1], [0], [0]], [[1], [0], [0], [0]])
        >>> confidence_intervals(outcome, ["subset_accuracy"], method="percentile")
        {'subset_accuracy': (0.25, 1.0)}

    Reference: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 13 and 14.
    """
    check_resampling(level, resamples)
    if method not in INTERVALS:
        raise ValueError(f"method: expected one of {', '.join(INTERVALS)}, found {method!r}. Choose one of them.")
    run = Resampler(outcome, metrics, k, betas)
    draws = resample([run], draw_weights(outcome, resamples, seed))[0]
    left_out = resample([run], leave_out(outcome, GROUPS))[0]
    intervals = {}
    for name, value in run.whole().items():
        drawn = draws[name][~np.isnan(draws[name])]  # a resample can miss all positives of a small split
        if drawn.size and np.ptp(drawn) > ALIKE:
            low, high = INTERVALS[method](value, drawn, level, left_out[name])
            intervals[name] = (float(low), float(high))
    return intervals


def check_resampling(level: float, resamples: int) -> None:
    """Refuse a confidence or a number of resamples out of range.

    Raises:
        ValueError: If `level` is not between 0 and 1, or `resamples` below 2.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a confidence above 0 and below 1, found {level!r}. Try 0.95.")
    if resamples < 2:
        raise ValueError(f"resamples: expected 2 or more, found {resamples!r}. Try 1000.")


def percentile(value: float, drawn: NDArray, level: float, left_out: NDArray) -> NDArray[np.float64]:
    """The outer quantiles of the resamples, (B,) -> (2,)."""
    return np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])


def centred(value: float, drawn: NDArray, level: float, left_out: NDArray) -> NDArray[np.float64]:
    """The percentiles about the value, widened to the jackknife's standard error, within what the metric can be."""
    spread = widen(drawn - drawn.mean(), left_out)
    ends = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2]) + value
    return np.clip(ends, min(0.0, value), max(1.0, drawn.max()))


def widen(spread: NDArray, left_out: NDArray) -> NDArray[np.float64]:
    """Centred resamples, scaled up to the standard error of the grouped jackknife where theirs is smaller, (B,)."""
    left_out = left_out[~np.isnan(left_out)]
    groups, bootstrap = len(left_out), spread.std()
    jackknife = np.sqrt((groups - 1) * left_out.var()) if groups else 0.0
    return spread * max(1.0, jackknife / bootstrap) if bootstrap else spread


def bca(value: float, drawn: NDArray, level: float, left_out: NDArray) -> NDArray[np.float64]:
    """Bias-corrected and accelerated: percentiles at levels moved by bias and skewness, (B,) and (G,) -> (2,).

    Reference: Efron 1987, Better Bootstrap Confidence Intervals.
    """
    share = ((drawn < value).sum() + 0.5 * (drawn == value).sum() + 0.5) / (len(drawn) + 1)
    bias, ends = ndtri(share), ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    left_out = left_out[~np.isnan(left_out)]
    spread = (left_out.mean() if left_out.size else 0.0) - left_out
    scale = 6 * (spread**2).sum() ** 1.5
    skew = (spread**3).sum() / scale if scale > 0 else 0.0
    moved = bias + (bias + ends) / (1 - skew * (bias + ends))
    return np.quantile(drawn, ndtr(moved))


INTERVALS: dict[str, Callable[[float, NDArray, float, NDArray], NDArray[np.float64]]] = {
    "centred": centred,
    "percentile": percentile,
    "bca": bca,
}
