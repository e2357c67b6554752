"""How far a decision can be trusted: what it will score on other rows, and where its cuts would lie on other rows.

The score. On the rows that cuts were fitted on they look better than they are: with few positives by many points. The
estimate here judges every row by cuts fitted on other rows (`cross_fit`), several times over other folds, and takes the
mean. Each fit sees a k-th part of the rows less than the stored one, so the mean is a little too low.

The interval is one for the score that as many other rows will give. Three things move it away from the estimate: the
choice of the judged rows, known by resampling those of all runs alike (`evaluation.intervals`); the choice of the other
rows, which moves it as much; and the choice of the fitted rows, known by the jackknife over the folds' decisions, all
of them judged on all rows. Without the last, fits that share rows make an interval too narrow (Bates et al. 2024);
without the second it would hold the mean over very many other rows, which nobody gets to see.

The cuts. The rule is fitted again on resampled rows; the interval holds the middle 95% of the cuts. It shows which cuts
are chance. It is no confidence interval: the best cut is the argmax of a step function, for which the bootstrap
overstates how well it is known (Abrevaya and Huang 2005).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.decisions.cross_validation import take_rows
from hf_multilabel.evaluation.intervals import ALIKE, GROUPS, check_resampling, widen
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.evaluation.resampling import Resampler, draw_weights, leave_out, resample
from hf_multilabel.evaluation.scores import Scores, TopScores

METRICS = ("micro_f1", "macro_f1", "macro_f1_present")
RESAMPLES = 100  # of the cuts; fewer where there are many scores
LEAST = 40  # with fewer, the 2.5th of 100 is no better than the lowest
WORK = 4e8  # scores that the refits may read, a handful of seconds: a bound in work gives the same cuts on any machine


def expected_scores(
    runs: Sequence[sparse.csr_array],
    targets: sparse.csr_array,
    *,
    errors: Mapping[str, float] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """What a decision scores on as many rows as these that it was not fitted on, with intervals.

    Args:
        runs: Label sets of all rows by cuts that did not see them, one for each way to draw the folds, CSR (N, L).
        targets: True label sets, CSR (N, L).
        errors: Standard error that the fitted rows add to each metric, see `errors_of_fits`.
        level: Confidence, above 0 and below 1.
        resamples: Bootstrap resamples of the rows.
        seed: Of the draws.

    Returns:
        `METRICS` to the mean over the runs, and `intervals`, from metric to [low, high]; one that all resamples agree
        on has none, for nothing tells how far other rows would move it.

    Raises:
        ValueError: If shapes, `level` or `resamples` are wrong.

    Cost: as `confidence_intervals`, once a run.
    """
    check_resampling(level, resamples)
    outcomes = [Outcome(None, sets, targets) for sets in runs]
    resamplers = [Resampler(outcome, METRICS) for outcome in outcomes]
    drawn = resample(resamplers, draw_weights(outcomes[0], resamples, seed))
    left_out = resample(resamplers, leave_out(outcomes[0], GROUPS))
    values = [run.whole() for run in resamplers]
    found: dict[str, Any] = {name: float(np.mean([value[name] for value in values])) for name in values[0]}
    bounds = {}
    for name, value in found.items():
        spread = np.mean([draws[name] for draws in drawn], axis=0)
        without = np.mean([draws[name] for draws in left_out], axis=0)
        spread = widen(spread[~np.isnan(spread)] - np.nanmean(spread), without)
        if not spread.size or np.ptp(spread) <= ALIKE:
            continue
        spread = spread * np.hypot(np.sqrt(2), errors[name] / spread.std() if errors else 0.0)
        ends = value + np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
        bounds[name] = np.clip(ends, 0.0, 1.0).tolist()
    return {**found, "intervals": bounds}


def errors_of_fits(sets: Sequence[sparse.csr_array], targets: sparse.csr_array) -> dict[str, float]:
    """Standard error of each metric by the choice of the fitted rows: the jackknife over the folds left out.

    Args:
        sets: Label sets of all rows by the decision of each fold, CSR (N, L).
        targets: True label sets, CSR (N, L).
    """
    values = [Resampler(Outcome(None, found, targets), METRICS).whole() for found in sets]
    return {name: float(np.sqrt((len(sets) - 1) * np.var([value[name] for value in values]))) for name in values[0]}


def resample_cuts(
    scores: Scores,
    targets: sparse.csr_array,
    fit: Callable[[Scores, sparse.csr_array], NDArray[np.float64]],
    *,
    level: float = 0.95,
    resamples: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Where the cuts lie when the rule is fitted on rows drawn anew from the rows.

    Args:
        scores: Probabilities, (N, L), all or kept in part.
        targets: True label sets, CSR (N, L).
        fit: Scores and label sets of some rows to cuts, (L,).
        level: Share of the cuts between `low` and `high`.
        resamples: Bootstrap resamples B; None: 100, down to 40 where there are many scores.
        seed: Of the draws.

    Returns:
        `level`, `resamples`, and `low` and `high`: lists of L numbers.

    Raises:
        ValueError: If `level` or `resamples` are wrong.

    Cost: B fits; 8 B L bytes.

    Reference: Efron and Tibshirani 1993, chapter 13; Abrevaya and Huang 2005 on what it can't promise.
    """
    rows = scores.shape[0]
    stored = scores.stored.nnz if isinstance(scores, TopScores) else scores.size
    drawn = int(np.clip(WORK // stored, LEAST, RESAMPLES)) if resamples is None else resamples
    check_resampling(level, drawn)
    rng = np.random.default_rng(seed)
    cuts = np.empty((drawn, scores.shape[1]))
    for number in range(drawn):
        again = np.sort(rng.integers(0, rows, rows))
        cuts[number] = fit(take_rows(scores, again), targets[again])
    low, high = np.quantile(cuts, [(1 - level) / 2, (1 + level) / 2], axis=0, method="inverted_cdf")
    return {"level": level, "resamples": drawn, "low": _short(low), "high": _short(high)}


def _short(values: NDArray[np.float64]) -> list[float]:
    """Four digits: the third is chance."""
    return [float(f"{value:.4g}") for value in values]
