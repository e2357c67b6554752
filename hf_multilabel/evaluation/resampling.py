"""Metrics under weights of the rows: resamples, left-out rows and swapped runs, without a score or a decision anew.

A resample is a vector of how often each row counts. A `RowMetric` needs only the weighted sums of its parts, a
`LabelMetric` and a `SlotMetric` only the labels' weighted counts, three sparse products. All of them are linear in the
weights. A `CurveMetric` is not: what a row adds depends on the rows that score higher.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.evaluation.averages import LabelMetric, RowMetric
from hf_multilabel.evaluation.budget import SlotMetric, slot_sets
from hf_multilabel.evaluation.curves import CurveMetric
from hf_multilabel.evaluation.metrics import METRICS, as_names, check_counts, metric_calls
from hf_multilabel.evaluation.outcomes import Counts, Outcome, check_outcome
from hf_multilabel.evaluation.steps import WORK, Steps, steps_work

# Numbers of one block of weights or counts.
BLOCK = 1 << 20

LINEAR = (LabelMetric, RowMetric, SlotMetric)
DECIDED = 0  # beside the k of slots: the decided label sets


@dataclass(frozen=True)
class Sums:
    """Weighted sums of B resamples: parts of M row metrics, (B, 2 M), and counts of the labels, (B, L).

    Args:
        parts: Numerators and denominators in turn.
        counts: Those of the decided label sets under `DECIDED`, those of k slots under k.
    """

    parts: NDArray[np.float64]
    counts: dict[int, Counts]

    def __add__(self, other: Sums) -> Sums:
        """The sums of both."""
        counts = {}
        for key in self.counts.keys() & other.counts.keys():
            pairs = zip(vars(self.counts[key]).values(), vars(other.counts[key]).values(), strict=True)
            counts[key] = Counts(*(one + its for one, its in pairs))
        return Sums(self.parts + other.parts, counts)


class Resampler:
    """Some metrics of an outcome as functions of row weights.

    Args:
        outcome: Scores, decisions and truths.
        metrics: Keys of `METRICS` that are a `LabelMetric`, `RowMetric`, `SlotMetric` or `CurveMetric`; None means all
            that are, without those of curves where `steps_work` is above `steps.WORK`.
        k: Depths of the `_at_k` metrics.
        betas: Weights of recall in the `_f_beta` metrics.
        linear: Without a `CurveMetric`: only what adds up over rows.

    Raises:
        ValueError: If a metric is unknown, is none of them, or needs training counts that the outcome lacks.
    """

    def __init__(
        self,
        outcome: Outcome,
        metrics: Iterable[str] | None = None,
        k: Sequence[int] = (1, 3, 5),
        betas: Sequence[float] = (),
        linear: bool = False,
    ) -> None:
        check_outcome(outcome)
        kinds = LINEAR if linear else (*LINEAR, CurveMetric)
        able = [name for name, metric in METRICS.items() if isinstance(metric, kinds)]
        if metrics is None and steps_work(outcome) > WORK:
            able = [name for name in able if not isinstance(METRICS[name], CurveMetric)]
        asked = able if metrics is None else as_names(metrics)
        calls = metric_calls(asked, k, betas)
        check_counts(outcome, () if metrics is None else asked)
        self.outcome = outcome
        self._of_rows: dict[str, RowMetric] = {}
        self._of_labels: dict[str, tuple[LabelMetric | SlotMetric, tuple[float, ...], int]] = {}
        self._of_curves: dict[str, CurveMetric] = {}
        self._sets: dict[int, tuple[sparse.csr_array, sparse.csr_array]] = {}  # right ones and all, (L, N)
        columns: list[NDArray[np.float64]] = []
        for shown, name, parameters in calls:
            metric = METRICS[name]
            if not isinstance(metric, kinds):
                why = "are sums over rows" if linear else "can be resampled"
                raise ValueError(f"metrics: expected metrics that {why}, found {name!r}. Leave {name} out.")
            if isinstance(metric, SlotMetric):
                self._add_counts(shown, metric, parameters, min(int(parameters[0]), outcome.labels))
            elif not metric.defined(outcome):
                continue
            elif isinstance(metric, LabelMetric):
                self._add_counts(shown, metric, parameters, DECIDED)
            elif isinstance(metric, RowMetric):
                self._of_rows[shown] = metric
                columns += [np.broadcast_to(part, outcome.rows) for part in metric.parts(outcome, *parameters)]
            else:
                self._of_curves[shown] = metric
        self._columns = np.stack(columns, 1).astype(np.float64) if columns else np.zeros((outcome.rows, 0))
        self._targets = by_label(outcome.targets) if self._sets else None
        self._steps = {pooled: Steps(outcome, pooled) for pooled in {m.pooled for m in self._of_curves.values()}}

    def _add_counts(
        self, shown: str, metric: LabelMetric | SlotMetric, parameters: tuple[float, ...], key: int
    ) -> None:
        """Take in a metric of the labels' counts, as decided or by k, unless those are not known."""
        if key not in self._sets:
            outcome = self.outcome
            sets = (outcome.hits, outcome.predictions) if key == DECIDED else slot_sets(outcome, key)
            if sets is None:
                return
            self._sets[key] = (by_label(sets[0]), by_label(sets[1]))
        self._of_labels[shown] = (metric, parameters, key)

    def rows_that_differ(self, other: Resampler) -> dict[str, int]:
        """In how many rows another run of the same rows gives a metric something else: name to number."""
        found = dict.fromkeys(self._of_curves.keys() & other._of_curves.keys(), self.outcome.rows)
        for name in self._of_rows.keys() & other._of_rows.keys():
            here, there = (run._columns[:, 2 * list(run._of_rows).index(name) :][:, :2] for run in (self, other))
            found[name] = np.count_nonzero((here != there).any(axis=1))
        by_sets = {
            key: len(np.unique((self._sets[key][1] != other._sets[key][1]).indices))
            for key in self._sets.keys() & other._sets.keys()
        }
        return found | {name: by_sets[key] for name, (_, _, key) in self._of_labels.items() if key in by_sets}

    def sums(self, weights: NDArray[np.float64]) -> Sums:
        """What the weighted rows add up to, (B, N)."""
        counts = {}
        if self._targets is not None:
            positive = (self._targets @ weights.T).T  # (B, L)
            counts = {
                key: Counts((right @ weights.T).T, (given @ weights.T).T, positive)
                for key, (right, given) in self._sets.items()
            }
        return Sums(weights @ self._columns, counts)

    def values(self, sums: Sums) -> dict[str, NDArray[np.float64]]:
        """Every metric of sums over rows, of every resample: name to (B,), NaN where it has no value."""
        parts = zip(self._of_rows.items(), sums.parts[:, ::2].T, sums.parts[:, 1::2].T, strict=True)
        found = {name: metric.values(numerator, denominator) for (name, metric), numerator, denominator in parts}
        for name, (metric, parameters, key) in self._of_labels.items():
            if key in sums.counts:  # of two runs added up, one may not know it
                found[name] = metric.values(self.outcome, sums.counts[key], *parameters)
        return found

    def weighted(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Every metric under each of B weights of the rows, (B, N): name to (B,), NaN where it has no value."""
        found = self.values(self.sums(weights))
        areas = {pooled: steps.areas(weights) for pooled, steps in self._steps.items()}
        return found | {name: m.average(areas[m.pooled][m.area]) for name, m in self._of_curves.items()}

    def whole(self) -> dict[str, float]:
        """Every metric of the rows as they are; those without a value are left out."""
        found = self.weighted(np.ones((1, self.outcome.rows)))
        return {name: float(value[0]) for name, value in found.items() if not np.isnan(value[0])}


def by_label(sets: sparse.csr_array) -> sparse.csr_array:
    """Label sets or shares of rows as those of labels, CSR (L, N) of float64."""
    return sparse.csr_array(sets.T, dtype=np.float64)


def resample(runs: Sequence[Resampler], weights: Iterable[NDArray[np.float64]]) -> list[dict[str, NDArray[np.float64]]]:
    """The metrics of several runs on the same resamples, from blocks of weights (b, N): for each run name to (B,)."""
    blocks = [[run.weighted(block) for run in runs] for block in weights]
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
