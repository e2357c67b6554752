"""Two runs on the same rows: is one better, and on which labels?

Both runs are resampled with the same rows, so what makes a row hard cancels out. The label tests ask, label by label,
whether the rows that only one run decided rightly fall to one side; they are corrected for being as many as the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from hf_multilabel.evaluation.averages import f_beta
from hf_multilabel.evaluation.intervals import GROUPS, check_resampling, widen
from hf_multilabel.evaluation.metrics import as_names
from hf_multilabel.evaluation.outcomes import Counts, Outcome, check_outcome
from hf_multilabel.evaluation.resampling import Resampler, block_rows, draw_weights, leave_out, resample

# A p-value below this is called a difference.
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Difference:
    """How two runs differ in a metric.

    Args:
        first: Value of the first run.
        second: Value of the second run.
        difference: second - first.
        low: Lower end of the difference's bootstrap interval.
        high: Its upper end.
        p_value: Two-sided, of the hypothesis that the runs do not differ.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float


def tell_difference(metric: str, found: Mapping[str, float], first: str, second: str) -> str:
    """What a comparison finds of a metric of which more is better.

    Args:
        metric: Its name.
        found: The values of a `Difference`.
        first: What the first run is called.
        second: What the second one is.

    Example:
        >>> tell_difference("micro F1", {"difference": -0.02, "p_value": 0.004}, "the first", "the second")
        'micro F1: the first is better by 0.0200 (p 0.004)'
    """
    if found["p_value"] >= SIGNIFICANT:
        return f"{metric}: no difference found (p {found['p_value']:.3f})"
    better = second if found["difference"] > 0 else first
    return f"{metric}: {better} is better by {abs(found['difference']):.4f} (p {found['p_value']:.3f})"


def compare_runs(
    first: Outcome,
    second: Outcome,
    metrics: Iterable[str] | None = None,
    *,
    k: Sequence[int] = (1, 3, 5),
    level: float = 0.95,
    resamples: int = 1000,
    method: str = "bootstrap",
    seed: int = 0,
) -> dict[str, Difference]:
    """Differences between two runs on the same rows, with their intervals and p-values.

    Args:
        first: The run to compare with.
        second: The run that may be better.
        metrics: Keys of `METRICS`, as `Resampler` takes them; None means all of those.
        k: Depths of the `_at_k` metrics.
        level: Confidence of the intervals.
        resamples: Resamples B; no p-value is below 1 / (B + 1), and none below 2^(1 - m) where the runs differ in m
            rows: then the interval holds 0, too, unless its confidence allows that.
        method: Where the p-value comes from: `bootstrap` (how often the resampled difference, moved to mean 0, is as
            large) or `randomisation` (how often it is as large when each row's decisions change sides by a coin).
            Metrics of scores change sides with them; AUC and average precision, which rank rows against each other,
            can't: swaps would mix the scores of two models.
        seed: Of the draws.

    Returns:
        Name -> `Difference`. A metric without a value in either run, or in any resample, is left out.

    Raises:
        ValueError: If the truths differ, a metric can't be resampled, or an argument leaves its range.

    Cost: as `confidence_intervals`, for both runs.

    Reference: Yeh 2000, More accurate tests for the statistical significance of result differences; Berg-Kirkpatrick
    et al. 2012, An Empirical Investigation of Statistical Significance in NLP.
    """
    check_resampling(level, resamples)
    check_same_rows(first, second)
    if method not in ("bootstrap", "randomisation"):
        raise ValueError(f"method: expected bootstrap or randomisation, found {method!r}. Choose one of them.")
    metrics = None if metrics is None else as_names(metrics)
    runs = [Resampler(outcome, metrics, k, linear=method == "randomisation") for outcome in (first, second)]
    ours, theirs = (run.whole() for run in runs)
    drawn = resample(runs, draw_weights(first, resamples, seed))
    left_out = resample(runs, leave_out(first, GROUPS))
    differing = runs[0].rows_that_differ(runs[1])
    swapped = swap_rows(runs[0], runs[1], resamples, seed) if method == "randomisation" else {}
    found = {}
    for name in ours.keys() & theirs.keys():
        difference = theirs[name] - ours[name]
        spread = drawn[1][name] - drawn[0][name]
        spread = spread[~np.isnan(spread)]
        if not spread.size:
            continue
        spread = widen(spread - spread.mean(), left_out[1][name] - left_out[0][name])
        low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2]) + difference
        null = swapped.get(name, spread)
        null = null[~np.isnan(null)]  # swaps may leave a run nothing that the metric counts
        # rounding must not make a difference out of equal ones
        extreme = np.count_nonzero(np.abs(null) >= abs(difference) - 1e-12)
        # a bootstrap of a few rows is too sure: if a coin had decided whose m rows are whose, as large by 2 of 2^m
        by_chance = 2.0 ** min(0, 1 - differing[name])
        p_value = max(by_chance, (extreme + 1) / (len(null) + 1))
        if by_chance > 1 - level:
            low, high = min(low, 0.0), max(high, 0.0)
        found[name] = Difference(ours[name], theirs[name], difference, float(low), float(high), p_value)
    return {name: found[name] for name in ours if name in found}


def check_same_rows(first: Outcome, second: Outcome) -> None:
    """Refuse two outcomes of other rows or labels.

    Raises:
        ValueError: If one is no outcome, or their truths differ.
    """
    for where, run in (("first", first), ("second", second)):
        check_outcome(run, where)
    if first.targets.shape != second.targets.shape or (first.targets != second.targets).nnz:
        raise ValueError(
            f"second: expected the truths of the first run, {first.targets.shape}, found others, "
            f"{second.targets.shape}. Compare runs on the same rows and labels, in the same order."
        )


def swap_rows(first: Resampler, second: Resampler, resamples: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """The differences when every row's results change sides by a coin: name to (B,)."""

    def coins() -> Iterator[NDArray[np.float64]]:
        rng = np.random.default_rng(seed)
        for start in range(0, resamples, step := block_rows(first.outcome)):
            size = min(step, resamples - start)
            yield rng.integers(0, 2, (size, first.outcome.rows)).astype(np.float64)

    blocks = []
    for coin in coins():
        one = first.values(first.sums(1 - coin) + second.sums(coin))
        other = second.values(first.sums(coin) + second.sums(1 - coin))
        blocks.append({name: other[name] - one[name] for name in one.keys() & other.keys()})
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def compare_labels(
    first: Outcome, second: Outcome, names: Sequence[str], correction: str = "holm"
) -> list[dict[str, Any]]:
    """McNemar's exact test label by label, corrected for the number of labels.

    Only rows that exactly one run decided rightly speak: under the null hypothesis they fall to either side like a
    fair coin, so the p-value is that of a sign test.

    Args:
        first: The run to compare with.
        second: The run that may be better.
        names: Label names, L of them.
        correction: Key of `CORRECTIONS` that `p_corrected` uses: `holm` bounds the chance of any false finding,
            `benjamini_hochberg` the expected share of false ones among the findings.

    Returns:
        One line a label, in the order of `names`: label, support, first_f1, second_f1, difference, only_first and
        only_second (rows that this run alone decided rightly), p_value, p_corrected.

    Raises:
        ValueError: If the truths differ, names are not one a label, or the correction is unknown.

    Cost: O(P) for P predicted or true pairs, and O(L log L).

    Reference: McNemar 1947; Holm 1979; Benjamini and Hochberg 1995.
    """
    check_same_rows(first, second)
    if len(names) != first.labels:
        raise ValueError(f"names: expected {first.labels} entries, found {len(names)}. Give one a label.")
    if correction not in CORRECTIONS:
        known = ", ".join(CORRECTIONS)
        raise ValueError(f"correction: expected one of {known}, found {correction!r}. Choose one of them.")
    ours, theirs = first.by_label, second.by_label
    # Where the runs disagree, exactly one of them is right.
    disagreed = (first.predictions != second.predictions).tocsr()
    at_stake = np.bincount(disagreed.indices[: disagreed.nnz], minlength=first.labels)
    gained = _right(theirs, first.rows) - _right(ours, first.rows)
    only_second = (at_stake + gained) // 2
    only_first = at_stake - only_second
    p_values = sign_test(only_first, only_second)
    before, after = f_beta(ours), f_beta(theirs)
    columns = {
        "label": [str(name) for name in names],
        "support": ours.positive.tolist(),
        "first_f1": before.tolist(),
        "second_f1": after.tolist(),
        "difference": (after - before).tolist(),
        "only_first": only_first.tolist(),
        "only_second": only_second.tolist(),
        "p_value": p_values.tolist(),
        "p_corrected": CORRECTIONS[correction](p_values).tolist(),
    }
    return [dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)]


def _right(counts: Counts, rows: int) -> NDArray[np.int64]:
    """Rows decided rightly, label by label."""
    return rows - counts.predicted - counts.positive + 2 * counts.true_positive


def sign_test(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """Two-sided exact p-values of a fair coin that fell `one` times to one side and `other` times to the other.

    Example:
        >>> sign_test([0, 1, 3], [0, 9, 3])
        array([1.        , 0.02148438, 1.        ])
    """
    less, total = np.minimum(one, other), np.add(one, other)
    return np.minimum(1.0, 2 * bdtr(less.astype(np.float64), total, 0.5))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """P-values of L tests, so corrected that the chance of any false finding stays below the level.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """P-values of L tests, so corrected that the expected share of false ones among the findings stays below the level.

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.03])
        array([0.03, 0.04, 0.04])
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)[::-1]
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1, np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1)))
    return corrected


CORRECTIONS: dict[str, Callable[[ArrayLike], NDArray[np.float64]]] = {
    "holm": holm,
    "benjamini_hochberg": benjamini_hochberg,
}
