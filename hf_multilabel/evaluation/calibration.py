"""Do probabilities mean what they say? Class-wise calibration error, Brier score, reliability by label frequency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_multilabel.evaluation.frequency import split_by_frequency
from hf_multilabel.evaluation.outcomes import Outcome, as_label_sets, as_probabilities
from hf_multilabel.evaluation.ranks import row_chunks

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Each label's rows by bins of equal width, [0, 1/B), ..., [1 - 1/B, 1].

    Args:
        count: Rows in the bin, (L, B).
        predicted: Sum of their probabilities, (L, B).
        observed: Rows among them on which the label holds, (L, B).
        squares: Sum of (p - y)^2 over all rows, (L,).
    """

    count: NDArray[np.int64]
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    squares: NDArray[np.float64]

    @property
    def rows(self) -> int:
        """Rows of each label."""
        return int(self.count[0].sum())

    def ece(self) -> NDArray[np.float64]:
        """Expected calibration error of each label: sum over bins of |predicted - observed| / N, (L,)."""
        return np.abs(self.predicted - self.observed).sum(axis=1) / self.rows

    def brier(self) -> NDArray[np.float64]:
        """Brier score of each label, (L,)."""
        return self.squares / self.rows


def measure_reliability(probs: Any, targets: Any, bins: int = BINS) -> Reliability:
    """Sort probabilities into bins, label by label.

    Args:
        probs: Probabilities in [0, 1], shape (N, L), array or tensor.
        targets: 1 where the label holds, else 0, shape (N, L), dense or CSR.
        bins: Bins of equal width, B.

    Raises:
        ValueError: If shapes or values are wrong, or there is no bin.

    Cost: a few passes over the scores; memory of one chunk and 3 L B numbers.
    """
    if bins < 1:
        raise ValueError(f"bins: expected a whole number above 0, found {bins!r}. Try {BINS}.")
    scores = as_probabilities(probs)
    held = as_label_sets(targets, scores.shape, "targets")
    labels, size = scores.shape[1], scores.shape[1] * bins
    count, predicted, observed = np.zeros(size, np.int64), np.zeros(size), np.zeros(size)
    squares = np.zeros(labels)
    for start, stop in row_chunks(*scores.shape):
        block = scores[start:stop].astype(np.float64)
        place = np.minimum((block * bins).astype(np.int64), bins - 1) + np.arange(labels) * bins
        row, label = held[start:stop].nonzero()
        count += np.bincount(place.ravel(), minlength=size)
        predicted += np.bincount(place.ravel(), weights=block.ravel(), minlength=size)
        observed += np.bincount(place[row, label], minlength=size)
        # (p - 1)^2 = p^2 + (1 - 2 p)
        squares += (block**2).sum(axis=0)
        squares += np.bincount(label, weights=1 - 2 * block[row, label], minlength=labels)
    shape = (labels, bins)
    return Reliability(count.reshape(shape), predicted.reshape(shape), observed.reshape(shape), squares)


def classwise_ece(probs: Any, targets: Any, bins: int = BINS) -> float:
    """Mean over labels of the expected calibration error, as `Reliability.ece` defines it. Kull et al. 2019.

    Example:
        >>> classwise_ece([[0.75, 0.25], [0.75, 0.25]], [[1, 0], [1, 0]])
        0.25
    """
    return float(measure_reliability(probs, targets, bins).ece().mean())


def brier_score(probs: Any, targets: Any) -> float:
    """Mean over labels and rows of (p - y)^2."""
    return float(measure_reliability(probs, targets, 1).brier().mean())


def calibration_error(outcome: Outcome) -> float | None:
    """`classwise_ece` of an outcome; None where only some scores are known."""
    return classwise_ece(outcome.probs, outcome.targets) if outcome.complete else None


def squared_error(outcome: Outcome) -> float | None:
    """`brier_score` of an outcome; None where only some scores are known."""
    return brier_score(outcome.probs, outcome.targets) if outcome.complete else None


def reliability_report(
    probs: Any, targets: Any, label_counts: Any | None = None, bins: int = BINS
) -> dict[str, dict[str, Any]]:
    """Calibration over all labels and by their frequency, with the points of the reliability diagrams.

    Args:
        probs: Probabilities in [0, 1], shape (N, L), array or tensor.
        targets: 1 where the label holds, else 0, shape (N, L), dense or CSR.
        label_counts: Training texts of each label, (L,); None: their positives among these rows.
        bins: Bins of equal width.

    Returns:
        `all`, `head`, `torso` and `tail` (parts without a label are left out), each with `labels`, `classwise_ece`,
        `pooled_ece` (bins over all labels of the part together), `brier`, `mean_probability`, `share` of positives,
        and `bins`, each `count`, `predicted` and `observed` (means; bins without a score are left out).

    Raises:
        ValueError: As `measure_reliability`, or if there is not one count a label.
    """
    found = measure_reliability(probs, targets, bins)
    labels = len(found.count)
    counts = found.observed.sum(axis=1).astype(np.int64) if label_counts is None else np.asarray(label_counts)
    if counts.shape != (labels,):
        raise ValueError(f"label_counts: expected {labels} entries, found shape {counts.shape}. Give one a label.")
    parts = {"all": np.arange(labels), **split_by_frequency(counts)}
    return {part: _describe(found, ids) for part, ids in parts.items() if len(ids)}


def _describe(found: Reliability, ids: NDArray[np.int64]) -> dict[str, Any]:
    count, predicted, observed = (table[ids].sum(axis=0) for table in (found.count, found.predicted, found.observed))
    total = count.sum()
    points = [
        {"count": int(n), "predicted": float(p / n), "observed": float(y / n)}
        for n, p, y in zip(count, predicted, observed, strict=True)
        if n
    ]
    return {
        "labels": len(ids),
        "classwise_ece": float(found.ece()[ids].mean()),
        "pooled_ece": float(np.abs(predicted - observed).sum() / total),
        "brier": float(found.brier()[ids].mean()),
        "mean_probability": float(predicted.sum() / total),
        "share": float(observed.sum() / total),
        "bins": points,
    }
