"""Metrics of batches that come one by one: sums over rows and counts by label, so that nothing of a batch is kept.

All sums are of whole numbers, of parts of a row in units of 2^-52 and of shared places in units of 2^-32. They do not
depend on the order of the batches nor on who saw them: the merged states of several processes are the state of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_multilabel.evaluation.averages import LabelMetric, RowMetric
from hf_multilabel.evaluation.budget import SlotMetric
from hf_multilabel.evaluation.metrics import METRICS, metric_calls, needs_counts
from hf_multilabel.evaluation.outcomes import Counts, Outcome, as_label_counts
from hf_multilabel.evaluation.ranking import shared_places
from hf_multilabel.evaluation.slots import share_of_slot, top_pairs

SUMMED = (LabelMetric, RowMetric, SlotMetric)
# functions of nothing but how many rows, and how often each label holds
COUNTED = ("rows", "rows_without_labels", "labels_without_positives", "head_labels", "torso_labels", "tail_labels")
UNIT_BITS, HALF_BITS = 52, 26
SHARES = float(1 << 32)


def in_units(values: Any) -> int:
    """Sum of finite numbers, each rounded to a multiple of 2^-52, in units of 2^-52.

    Example:
        >>> in_units([0.5, 0.25]) / 2**52
        0.75
    """
    numbers = np.asarray(values, np.float64)
    whole = np.floor(numbers)
    rest = np.rint((numbers - whole) * 2.0**UNIT_BITS).astype(np.int64)
    high, low = rest >> HALF_BITS, rest & ((1 << HALF_BITS) - 1)  # halves, for their sums must stay below 2^63
    return (int(whole.astype(np.int64).sum()) << UNIT_BITS) + (int(high.sum()) << HALF_BITS) + int(low.sum())


class Totals(Outcome):
    """What the batches add up to, for metrics of nothing but the labels' counts."""

    complete = False

    def __init__(self, rows: int, by_label: Counts, label_counts: NDArray[np.int64] | None) -> None:
        self.rows, self.labels = rows, len(by_label.positive)
        self.label_counts = label_counts
        self.by_label = by_label


class StreamingMetrics:
    """The metrics of `evaluate_predictions` from batches of rows, as far as sums give them.

    Left out is what needs all scores of a label, `curves.ALL_SCORES`, and a function that was added to `METRICS`, which
    may read any part of the rows. An added `RowMetric`, `LabelMetric` or `SlotMetric` is not.

    Args:
        labels: L.
        k: Depths of the `_at_k` metrics.
        metrics: Keys of `METRICS`; None means all but those left out.
        betas: Weights of recall in the `_f_beta` metrics.
        label_counts: Training texts of each label, shape (L,); as in `evaluate_predictions`.
        rows: Number of training texts, beside `label_counts`.

    Raises:
        ValueError: If a metric is unknown, needs all scores of a label, or needs counts that are missing, a k is below
            1, or a beta not above 0.

    Cost: 12 L bytes, 16 L for each k where macro metrics at k are asked for; a batch costs about as much as
    `evaluate_predictions` of its rows.

    Example:
        >>> state = StreamingMetrics(2, metrics=["micro_f1", "lrap"])
        >>> state.update([[0.9, 0.2]], [[1, 1]], [[1, 0]])
        >>> state.update([[0.1, 0.3]], [[0, 0]], [[0, 1]])
        >>> state.compute()
        {'micro_f1': 0.5, 'lrap': 1.0}
    """

    def __init__(
        self,
        labels: int,
        k: Sequence[int] = (1, 3, 5),
        metrics: Iterable[str] | None = None,
        betas: Sequence[float] = (),
        label_counts: Any = None,
        rows: int | None = None,
    ) -> None:
        counted = label_counts is not None
        self.labels, self.rows, self.training_rows = labels, 0, rows
        self.label_counts = as_label_counts(label_counts, rows, labels) if counted else None
        summed = [name for name, metric in METRICS.items() if isinstance(metric, SUMMED) or name in COUNTED]
        able = [name for name in summed if counted or not needs_counts(name)]
        self.calls = list(metric_calls(able if metrics is None else metrics, k, betas))
        for _, name, _ in self.calls:
            if name not in summed:
                raise ValueError(
                    f"metrics: expected some that sums over rows give, found {name!r}, which needs all rows at once. "
                    "Leave it out, or keep all scores."
                )
            if name not in able:
                raise ValueError(
                    f"label_counts: expected the training texts of each label, which {name} needs, found None. "
                    "Give label_counts and rows."
                )
        self.counts = np.zeros((3, labels), np.int32)
        of_slots = [parameters for _, name, parameters in self.calls if isinstance(METRICS[name], SlotMetric)]
        depths = {min(int(depth), labels) for (depth,) in of_slots}
        self.slots = {depth: np.zeros((2, labels), np.int64) for depth in sorted(depths)}
        self.sums = {shown: [0, 0] for shown, name, _ in self.calls if isinstance(METRICS[name], RowMetric)}
        self.rows_without_labels = 0

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        return self.counts.nbytes + sum(slots.nbytes for slots in self.slots.values())

    def update(self, probs: Any, predictions: Any, targets: Any) -> None:
        """Take a batch in.

        Args:
            probs: Probabilities, array or tensor, shape (n, L).
            predictions: Decided label sets, dense or CSR, shape (n, L).
            targets: True label sets, dense or CSR, shape (n, L).

        Raises:
            ValueError: If shapes or values are wrong.
        """
        outcome = Outcome(probs, predictions, targets, self.label_counts, self.training_rows)
        if outcome.labels != self.labels:
            raise ValueError(f"probs: expected {self.labels} labels, found {outcome.labels}. Pass all labels.")
        self.rows += outcome.rows
        self.rows_without_labels += int((outcome.by_row.positive == 0).sum())
        for total, field in zip(self.counts, vars(outcome.by_label).values(), strict=True):
            total += field.astype(np.int32)
        for shown, name, parameters in self.calls:
            if shown in self.sums:
                numerator, denominator = METRICS[name].parts(outcome, *parameters)  # type: ignore[attr-defined]
                self.sums[shown][0] += in_units(numerator)
                self.sums[shown][1] += in_units(np.broadcast_to(denominator, numerator.shape))
        self._count_slots(outcome)

    def _count_slots(self, outcome: Outcome) -> None:
        """How often each label is among the k highest scores of a row, and rightly so."""
        if not self.slots:
            return
        _, label, above, tied = top_pairs(outcome.probs, max(self.slots))
        for k, (found, given) in self.slots.items():
            right = shared_places(outcome.row_ranks, np.ones(k))
            for total, ids, shares in (
                (found, outcome.targets.indices, right),
                (given, label, share_of_slot(k, above, tied)),
            ):
                total += np.bincount(ids, np.rint(shares * SHARES), minlength=self.labels).astype(np.int64)

    def merge(self, other: StreamingMetrics) -> None:
        """Take in what another state has seen.

        Raises:
            ValueError: If it counts other labels or metrics, or was given other training texts.
        """
        if (self.labels, self.calls) != (other.labels, other.calls):
            raise ValueError(
                f"other: expected a state of the same {self.labels} labels and metrics, found one of {other.labels} "
                "labels. Build both alike."
            )
        counts = [np.asarray(state.label_counts) for state in (self, other)]  # of None, too
        if self.training_rows != other.training_rows or not np.array_equal(counts[0], counts[1]):
            raise ValueError(
                f"other: expected a state with the same label_counts and rows ({self.training_rows}), found others "
                f"({other.training_rows} rows). Build both alike."
            )
        self.rows += other.rows
        self.rows_without_labels += other.rows_without_labels
        self.counts += other.counts
        for k, slots in other.slots.items():
            self.slots[k] += slots
        for shown, (numerator, denominator) in other.sums.items():
            self.sums[shown][0] += numerator
            self.sums[shown][1] += denominator

    def compute(self) -> dict[str, float | int]:
        """All metrics of the rows seen: name to plain float or int; one without a value is left out.

        Raises:
            ValueError: If no row was seen.
        """
        if not self.rows:
            raise ValueError("rows: expected some, found none. Update with a batch first.")
        totals = Totals(self.rows, Counts(*self.counts.astype(np.int64)), self.label_counts)
        values = {shown: self._value(totals, shown, name, parameters) for shown, name, parameters in self.calls}
        return {shown: value for shown, value in values.items() if value is not None}

    def _value(self, totals: Totals, shown: str, name: str, parameters: tuple[float, ...]) -> float | int | None:
        if shown in self.sums:
            numerator, denominator = self.sums[shown]
            if denominator:
                return numerator / denominator
            return None if METRICS[name].present else 0.0  # type: ignore[attr-defined]
        metric = METRICS[name]
        if isinstance(metric, SlotMetric):
            found, given = self.slots[min(int(parameters[0]), self.labels)] / SHARES
            return float(metric.values(totals, Counts(found, given, totals.by_label.positive)))
        return self.rows_without_labels if name == "rows_without_labels" else metric(totals, *parameters)
