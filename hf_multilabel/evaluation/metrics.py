"""Multi-label metrics of one `Outcome`, and the registry that names them.

Where scikit-learn defines a metric, the value is scikit-learn's with `zero_division=0`. What it leaves open:

- A row without true labels counts 0 in the `samples_` and `_at_k` metrics and 1 in `lrap`, as in scikit-learn;
  `rows_without_labels` says how many there are.
- Labels without a positive count 0 in `macro_f1` and are left out of `macro_f1_present`.
- Labels with one class only have no AUC: `macro_auc` averages the others, `macro_auc_skipped` counts them.
- Tied scores: every `_at_k` metric is the mean over all orders of the tied labels (what `ndcg_score` does), so that
  the order of the labels never changes a result.
- `k` beyond L means L.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_multilabel.evaluation.outcomes import Counts, Outcome
from hf_multilabel.evaluation.ranks import count_at_least


def _ratio(numerator: Any, denominator: Any) -> NDArray[np.float64]:
    """The quotient, 0 where the denominator is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom != 0)


def _precision(counts: Counts) -> NDArray[np.float64]:
    return _ratio(counts.true_positive, counts.predicted)


def _recall(counts: Counts) -> NDArray[np.float64]:
    return _ratio(counts.true_positive, counts.positive)


def _f1(counts: Counts) -> NDArray[np.float64]:
    return _ratio(2 * counts.true_positive, counts.predicted + counts.positive)


def _pooled(counts: Counts) -> Counts:
    return Counts(counts.true_positive.sum(), counts.predicted.sum(), counts.positive.sum())


def micro_f1(outcome: Outcome) -> float:
    """F1 over all (row, label) pairs pooled: frequent labels dominate."""
    return float(_f1(_pooled(outcome.by_label)))


def micro_precision(outcome: Outcome) -> float:
    """Share of the predicted pairs that are true."""
    return float(_precision(_pooled(outcome.by_label)))


def micro_recall(outcome: Outcome) -> float:
    """Share of the true pairs that are predicted."""
    return float(_recall(_pooled(outcome.by_label)))


def macro_f1(outcome: Outcome) -> float:
    """Mean of the labels' F1 over all L labels; a label without a positive counts 0 (scikit-learn's convention)."""
    return float(_f1(outcome.by_label).mean())


def macro_f1_present(outcome: Outcome) -> float | None:
    """Mean of the labels' F1 over the labels with a positive in these rows; None if there are none."""
    present = outcome.by_label.positive > 0
    return float(_f1(outcome.by_label)[present].mean()) if present.any() else None


def macro_precision(outcome: Outcome) -> float:
    """Mean of the labels' precision over all L labels; a label never predicted counts 0."""
    return float(_precision(outcome.by_label).mean())


def macro_recall(outcome: Outcome) -> float:
    """Mean of the labels' recall over all L labels; a label without a positive counts 0."""
    return float(_recall(outcome.by_label).mean())


def weighted_f1(outcome: Outcome) -> float:
    """Mean of the labels' F1, weighted by their positives."""
    counts = outcome.by_label
    return float(_ratio((_f1(counts) * counts.positive).sum(), counts.positive.sum()))


def samples_f1(outcome: Outcome) -> float:
    """Mean of the rows' F1; a row with neither true nor predicted labels counts 0 (scikit-learn's convention)."""
    return float(_f1(outcome.by_row).mean())


def subset_accuracy(outcome: Outcome) -> float:
    """Share of rows whose label set is exactly right."""
    counts = outcome.by_row
    exact = (counts.true_positive == counts.predicted) & (counts.true_positive == counts.positive)
    return float(exact.mean())


def hamming_loss(outcome: Outcome) -> float:
    """Share of (row, label) pairs decided wrongly."""
    pooled = _pooled(outcome.by_label)
    return float((pooled.predicted + pooled.positive - 2 * pooled.true_positive) / (outcome.rows * outcome.labels))


def label_auc(outcome: Outcome) -> NDArray[np.float64]:
    """Area under each label's ROC curve, tied pairs counting half: (L,), NaN for labels with one class only."""
    ranks, positive = outcome.label_ranks, outcome.by_label.positive
    beaten = 2 * outcome.rows - ranks.at_least - ranks.above  # twice the rows below plus the tied ones, itself too
    summed = np.bincount(ranks.row, weights=beaten, minlength=outcome.labels)
    pairs = (positive * (outcome.rows - positive)).astype(np.float64)
    with np.errstate(invalid="ignore"):  # one class: 0 / 0
        return (summed - positive**2) / 2 / pairs


def macro_auc(outcome: Outcome) -> float | None:
    """Mean AUC over the labels that have both classes in these rows; None if there are none."""
    found = label_auc(outcome)
    return float(np.nanmean(found)) if not np.isnan(found).all() else None


def macro_auc_skipped(outcome: Outcome) -> int:
    """Labels that `macro_auc` leaves out because they hold on no row or on every row."""
    return int(np.isin(outcome.by_label.positive, (0, outcome.rows)).sum())


def micro_auc(outcome: Outcome) -> float | None:
    """Area under the ROC curve of all (row, label) pairs pooled; None if they are of one class."""
    pairs, positive = outcome.rows * outcome.labels, len(outcome.row_ranks.score)
    if positive in (0, pairs):
        return None
    values, repeats = np.unique(outcome.row_ranks.score, return_counts=True)
    at_least, above = count_at_least(outcome.probs, values)
    beaten = int(((2 * pairs - at_least - above) * repeats).sum())
    return (beaten - positive**2) / 2 / (positive * (pairs - positive))


def lrap(outcome: Outcome) -> float:
    """Label ranking average precision: over a row's true labels, the share of true ones among those ranked as high.

    A row without true labels, or with all, counts 1. Reference: Tsoumakas et al. 2010, section 7.3.
    """
    ranks, positive = outcome.row_ranks, outcome.by_row.positive
    key = ranks.row * (outcome.labels + 1) + ranks.at_least
    start = np.cumsum(positive) - positive
    true_as_high = np.searchsorted(np.sort(key), key, side="right") - start[ranks.row]
    per_row = np.bincount(ranks.row, weights=true_as_high / ranks.at_least, minlength=outcome.rows)
    return float(np.where(positive > 0, per_row / np.maximum(positive, 1), 1.0).mean())


def _gain_at_k(outcome: Outcome, discount: NDArray[np.float64]) -> NDArray[np.float64]:
    """Discounted true labels among each row's top k, tied labels sharing their places: (k,) -> (N,)."""
    ranks, k = outcome.row_ranks, len(discount)
    reached = np.concatenate([[0.0], np.cumsum(discount)])
    shared = reached[np.minimum(ranks.at_least, k)] - reached[np.minimum(ranks.above, k)]
    per_row = np.bincount(ranks.row, weights=shared / (ranks.at_least - ranks.above), minlength=outcome.rows)
    return per_row.astype(np.float64, copy=False)  # its stub promises integers even with weights


def precision_at_k(outcome: Outcome, k: int) -> float:
    """Share of true labels among the k highest scores, mean over rows."""
    k = min(k, outcome.labels)
    return float(_gain_at_k(outcome, np.ones(k)).mean() / k)


def recall_at_k(outcome: Outcome, k: int) -> float:
    """Share of a row's true labels found among its k highest scores, mean over rows."""
    return float(_ratio(_gain_at_k(outcome, np.ones(min(k, outcome.labels))), outcome.by_row.positive).mean())


def ndcg_at_k(outcome: Outcome, k: int) -> float:
    """Discounted gain 1 / log2(place + 1) of the k highest scores over the best possible one, mean over rows."""
    discount = 1 / np.log2(np.arange(2, min(k, outcome.labels) + 2))
    best = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(outcome.by_row.positive, len(discount))]
    return float(_ratio(_gain_at_k(outcome, discount), best).mean())


def rows(outcome: Outcome) -> int:
    """Rows evaluated."""
    return outcome.rows


def rows_without_labels(outcome: Outcome) -> int:
    """Rows on which no label holds."""
    return int((outcome.by_row.positive == 0).sum())


def labels_without_positives(outcome: Outcome) -> int:
    """Labels that hold on no row."""
    return int((outcome.by_label.positive == 0).sum())


def predicted_per_row(outcome: Outcome) -> float:
    """Mean size of the predicted label sets."""
    return float(outcome.by_row.predicted.mean())


def evaluate_predictions(
    probs: Any, predictions: Any, targets: Any, k: Sequence[int] = (1, 3, 5), metrics: Iterable[str] | None = None
) -> dict[str, float | int]:
    """All metrics of scores and decided label sets against the truth.

    Args:
        probs: Probabilities, array or tensor, shape (N, L).
        predictions: Decided label sets, dense or CSR, shape (N, L).
        targets: True label sets, dense or CSR, shape (N, L).
        k: Depths of the `_at_k` metrics, reported as `precision_at_1`, ...
        metrics: Keys of `METRICS`; None means all.

    Returns:
        Name -> plain float or int. A metric without a value here (`macro_auc` without a two-class label) is left out.

    Raises:
        ValueError: If shapes or values are wrong, a metric is unknown, or a k is below 1.

    Cost: three sorts of the scores and O(P log N L) for P true pairs; memory of one chunk beyond the input.

    Example:
        >>> evaluate_predictions([[0.9, 0.2]], [[1, 1]], [[1, 0]], metrics=["micro_precision", "recall_at_k"], k=[1])
        {'micro_precision': 0.5, 'recall_at_1': 1.0}
    """
    names = list(METRICS if metrics is None else metrics)
    for name in names:
        if name not in METRICS:
            raise ValueError(f"metrics: expected some of {', '.join(METRICS)}, found {name!r}. Choose among them.")
    if any(depth < 1 for depth in k):
        raise ValueError(f"k: expected whole numbers above 0, found {list(k)!r}. Try 1, 3, 5.")
    outcome = Outcome(probs, predictions, targets)
    values: dict[str, float | int | None] = {}
    for name in names:
        if name.endswith("_at_k"):
            values |= {f"{name[:-1]}{depth}": METRICS[name](outcome, depth) for depth in k}
        else:
            values[name] = METRICS[name](outcome)
    return {name: value for name, value in values.items() if value is not None}


def per_label_table(
    names: Sequence[str], probs: Any, predictions: Any, targets: Any, thresholds: float | Sequence[float]
) -> list[dict[str, Any]]:
    """One line a label, in the order of `names`: label, support, threshold, precision, recall, f1, auc.

    Args:
        names: Label names, L of them.
        probs: Probabilities, shape (N, L).
        predictions: Decided label sets, dense or CSR, shape (N, L).
        targets: True label sets, dense or CSR, shape (N, L).
        thresholds: One cut for all labels, or one a label, shape (L,).

    Returns:
        Plain values; `auc` is None for a label with one class only.

    Raises:
        ValueError: If shapes or values are wrong.
    """
    outcome = Outcome(probs, predictions, targets)
    cuts = np.asarray(thresholds, np.float64)
    cuts = np.full(outcome.labels, cuts) if cuts.ndim == 0 else cuts
    for where, found in (("names", len(names)), ("thresholds", len(cuts))):
        if found != outcome.labels:
            raise ValueError(f"{where}: expected {outcome.labels} entries, found {found}. Give one a label.")
    counts = outcome.by_label
    columns = {
        "label": [str(name) for name in names],
        "support": counts.positive.tolist(),
        "threshold": cuts.tolist(),
        "precision": _precision(counts).tolist(),
        "recall": _recall(counts).tolist(),
        "f1": _f1(counts).tolist(),
        "auc": [None if np.isnan(value) else value for value in label_auc(outcome).tolist()],
    }
    return [dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)]


METRICS: dict[str, Callable[..., float | int | None]] = {
    "micro_f1": micro_f1,
    "macro_f1": macro_f1,
    "macro_f1_present": macro_f1_present,
    "weighted_f1": weighted_f1,
    "samples_f1": samples_f1,
    "micro_precision": micro_precision,
    "micro_recall": micro_recall,
    "macro_precision": macro_precision,
    "macro_recall": macro_recall,
    "macro_auc": macro_auc,
    "macro_auc_skipped": macro_auc_skipped,
    "micro_auc": micro_auc,
    "lrap": lrap,
    "subset_accuracy": subset_accuracy,
    "hamming_loss": hamming_loss,
    "precision_at_k": precision_at_k,
    "recall_at_k": recall_at_k,
    "ndcg_at_k": ndcg_at_k,
    "predicted_per_row": predicted_per_row,
    "rows": rows,
    "rows_without_labels": rows_without_labels,
    "labels_without_positives": labels_without_positives,
}
