"""Metrics under weights of the rows: resamples, left-out rows and swapped runs, without a score or a decision anew.

A resample is a vector of how often each row counts. A `RowMetric` needs only the weighted sums of its parts, a
`LabelMetric` only the labels' weighted counts, three sparse products. All of them are linear in the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.evaluation.averages import LabelMetric, RowMetric, ratio
from hf_multilabel.evaluation.metrics import METRICS, check_counts, metric_calls
from hf_multilabel.evaluation.outcomes import Counts, Outcome

# Numbers of one block of weights or counts.
BLOCK = 1 << 20


@dataclass(frozen=True)
class Sums:
    """Weighted sums of B resamples: the parts of M row metrics, (B, 2 M), and the labels' counts, (B, L)."""

    parts: NDArray[np.float64]
    counts: Counts | None

    def __add__(self, other: Sums) -> Sums:
        """The sums of both."""
        parts = self.parts + other.parts
        if self.counts is None or other.counts is None:
            return Sums(parts, None)
        pairs = zip(vars(self.counts).values(), vars(other.counts).values(), strict=True)
        return Sums(parts, Counts(*(mine + its for mine, its in pairs)))


class Resampler:
    """Some metrics of an outcome as functions of row weights.

    Args:
        outcome: Scores, decisions and truths.
        metrics: Keys of `METRICS` that are a `LabelMetric` or a `RowMetric`; None means all that are.
        k: Depths of the `_at_k` metrics.
        betas: Weights of recall in the `_f_beta` metrics.

    Raises:
        ValueError: If a metric is unknown, is neither of the two, or needs training counts that the outcome lacks.
    """

    def __init__(
        self,
        outcome: Outcome,
        metrics: Iterable[str] | None = None,
        k: Sequence[int] = (1, 3, 5),
        betas: Sequence[float] = (),
    ) -> None:
        able = [name for name, metric in METRICS.items() if isinstance(metric, LabelMetric | RowMetric)]
        self.outcome = outcome
        metrics = None if metrics is None else list(metrics)
        self._of_rows: list[str] = []
        self._of_labels: dict[str, tuple[LabelMetric, tuple[float, ...]]] = {}
        columns: list[NDArray[np.float64]] = []
        calls = metric_calls(able if metrics is None else metrics, k, betas)
        check_counts(outcome, metrics or ())
        for shown, name, parameters in calls:
            metric = METRICS[name]
            if not isinstance(metric, LabelMetric | RowMetric):
                known = ", ".join(able)
                raise ValueError(f"metrics: expected some of {known}, found {name!r}. Only these can be resampled.")
            if not metric.defined(outcome):
                continue
            if isinstance(metric, LabelMetric):
                self._of_labels[shown] = (metric, parameters)
            else:
                self._of_rows.append(shown)
                columns += [np.broadcast_to(part, outcome.rows) for part in metric.parts(outcome, *parameters)]
        self._columns = np.stack(columns, 1).astype(np.float64) if columns else np.zeros((outcome.rows, 0))
        self._sets = [
            sparse.csr_array(sets.T, dtype=np.float64)  # (L, N)
            for sets in (outcome.hits, outcome.predictions, outcome.targets)
            if self._of_labels
        ]

    def sums(self, weights: NDArray[np.float64]) -> Sums:
        """What the weighted rows add up to, (B, N)."""
        counts = Counts(*((sets @ weights.T).T for sets in self._sets)) if self._sets else None
        return Sums(weights @ self._columns, counts)

    def values(self, sums: Sums) -> dict[str, NDArray[np.float64]]:
        """Every metric of every resample: name to (B,), NaN where it has no value."""
        found = dict(zip(self._of_rows, ratio(sums.parts[:, ::2], sums.parts[:, 1::2]).T, strict=True))
        if sums.counts is not None:
            for name, (metric, parameters) in self._of_labels.items():
                found[name] = metric.values(self.outcome, sums.counts, *parameters)
        return found

    def whole(self) -> dict[str, float]:
        """Every metric of the rows as they are; those without a value are left out."""
        found = self.values(self.sums(np.ones((1, self.outcome.rows))))
        return {name: float(value[0]) for name, value in found.items() if not np.isnan(value[0])}


def resample(runs: Sequence[Resampler], weights: Iterable[NDArray[np.float64]]) -> list[dict[str, NDArray[np.float64]]]:
    """The metrics of several runs on the same resamples, from blocks of weights (b, N): for each run name to (B,)."""
    blocks = [[run.values(run.sums(block)) for run in runs] for block in weights]
    return [
        {name: np.concatenate([block[place][name] for block in blocks]) for name in blocks[0][place]}
        for place in range(len(runs))
    ]


def block_rows(outcome: Outcome) -> int:
    """How many resamples go into one block."""
    return max(1, BLOCK // max(outcome.rows, outcome.labels))


def draw_weights(outcome: Outcome, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Blocks of bootstrap weights: how often each of N rows is among N draws, (b, N)."""
    rng, rows = np.random.default_rng(seed), outcome.rows
    for start in range(0, resamples, step := block_rows(outcome)):
        size = min(step, resamples - start)
        drawn = rng.integers(0, rows, (size, rows)) + rows * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)


def leave_out(outcome: Outcome, groups: int) -> Iterator[NDArray[np.float64]]:
    """Blocks of jackknife weights: every group of rows left out once, single rows where N is at most `groups`."""
    group = np.arange(outcome.rows) % groups
    for start in range(0, min(groups, outcome.rows), step := block_rows(outcome)):
        left_out = np.arange(start, min(start + step, groups, outcome.rows))
        yield (group != left_out[:, None]).astype(np.float64)
