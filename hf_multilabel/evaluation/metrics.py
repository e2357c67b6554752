"""The registry that names the metrics of one `Outcome`, and the functions that report them.

Where scikit-learn defines a metric, the value is scikit-learn's with `zero_division=0`. What it leaves open:

- A row without true labels counts 0 in the `samples_` and `_at_k` metrics and 1 in `lrap`, as in scikit-learn;
  `rows_without_labels` says how many there are. `samples_recall_present` leaves them out, and
  `samples_precision_present` the rows without predicted labels.
- Labels without a positive count 0 in `macro_f1` and are left out of `macro_f1_present`; the same holds of precision,
  recall, Jaccard and average precision (`ap`). `labels_without_positives` counts them.
- Labels with one class only have no AUC: `macro_auc` averages the others, `macro_auc_skipped` counts them.
- Tied scores: every `_at_k` metric is the mean over all orders of the tied labels (what `ndcg_score` does), so that
  the order of the labels never changes a result.
- `k` beyond L means L.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from hf_multilabel.errors import nearest
from hf_multilabel.evaluation.averages import (
    LabelMetric,
    RowMetric,
    f_beta,
    hamming_loss,
    jaccard,
    macro,
    macro_present,
    micro,
    precision,
    predicted_per_row,
    recall,
    samples_f_beta,
    samples_jaccard,
    samples_precision,
    samples_precision_present,
    samples_recall,
    samples_recall_present,
    subset_accuracy,
    weighted,
)
from hf_multilabel.evaluation.budget import SlotMetric
from hf_multilabel.evaluation.calibration import calibration_error, squared_error
from hf_multilabel.evaluation.curves import (
    CurveMetric,
    label_ap,
    label_auc,
    macro_auc_skipped,
    mean_all,
)
from hf_multilabel.evaluation.outcomes import Outcome, check_outcome
from hf_multilabel.evaluation.propensity import psndcg_at_k, psp_at_k
from hf_multilabel.evaluation.ranking import (
    coverage_error,
    lrap,
    ndcg_at_k,
    one_error,
    precision_at_k,
    r_precision_at_k,
    ranking_loss,
    recall_at_k,
)


def count_rows(outcome: Outcome) -> int:
    """Rows evaluated."""
    return outcome.rows


def rows_without_labels(outcome: Outcome) -> int:
    """Rows on which no label holds."""
    return int((outcome.by_row.positive == 0).sum())


def labels_without_positives(outcome: Outcome) -> int:
    """Labels that hold on no row."""
    return int((outcome.by_label.positive == 0).sum())


def head_labels(outcome: Outcome) -> int | None:
    """Labels of the head: the most frequent ones, which hold half of the training pairs."""
    return None if outcome.label_counts is None else int(outcome.part("head").size)


def torso_labels(outcome: Outcome) -> int | None:
    """Labels between head and tail."""
    return None if outcome.label_counts is None else int(outcome.part("torso").size)


def tail_labels(outcome: Outcome) -> int | None:
    """Labels of the tail: the rarest ones, which hold the last tenth of the training pairs or none."""
    return None if outcome.label_counts is None else int(outcome.part("tail").size)


def needs_counts(name: str) -> bool:
    """Whether a metric needs the labels' counts in training."""
    metric = METRICS[name]
    return getattr(metric, "counted", False) or name.startswith(("head_", "torso_", "tail_"))


def metric_calls(
    metrics: Iterable[str] | None = None, k: Sequence[int] = (1, 3, 5), betas: Sequence[float] = ()
) -> list[tuple[str, str, tuple[float, ...]]]:
    """Every number to report: its name, its key of `METRICS`, and the k or beta it is computed with.

    Args:
        metrics: Keys of `METRICS`; None means all.
        k: Depths of the `_at_k` metrics, reported as `precision_at_1`, ...
        betas: Weights of recall in the `_f_beta` metrics, reported as `micro_f2`, `micro_f0.5`, ...

    Raises:
        ValueError: If a metric is unknown, a k below 1, or a beta not above 0, or nothing is left to report.

    Example:
        >>> [name for name, _, _ in metric_calls(["micro_f1", "lrap", "precision_at_k", "micro_f_beta"], [5], [2, 0.5])]
        ['micro_f1', 'lrap', 'precision_at_5', 'micro_f2', 'micro_f0.5']
    """
    names = as_names(METRICS if metrics is None else metrics)
    for name in names:
        if name not in METRICS:
            raise ValueError(f"metrics: expected keys of METRICS, found {name!r}. {_meant(str(name))}")
    _check_numbers(
        "k", k, "whole numbers", lambda depth: isinstance(depth, (int, np.integer)) and int(depth) >= 1, "1, 3, 5"
    )
    _check_numbers("betas", betas, "numbers", lambda beta: 0 < beta <= 1e6, "0.5, 2")
    calls: list[tuple[str, str, tuple[float, ...]]] = []
    for name in names:
        if name.endswith("_at_k"):
            calls += [(f"{name[:-1]}{depth}", name, (depth,)) for depth in k]
        elif name.endswith("_f_beta"):
            calls += [(f"{name.removesuffix('_beta')}{beta:g}", name, (beta,)) for beta in betas]
        else:
            calls.append((name, name, ()))
    if names and not calls:
        raise ValueError(f"betas: expected numbers above 0, which {names[0]} needs, found none. Try 0.5, 2.")
    return calls


def as_names(metrics: Iterable[str]) -> list[str]:
    """Names of metrics as a list.

    Raises:
        ValueError: If they are one text, which would be read letter by letter.
    """
    if isinstance(metrics, str):
        raise ValueError(f"metrics: expected a list of names, found {metrics!r}. Write [{metrics!r}].")
    return list(metrics)


def _check_numbers(where: str, given: Any, kind: str, holds: Callable[[Any], bool], example: str) -> None:
    if np.ndim(given) != 1:
        raise ValueError(f"{where}: expected a list of {kind} above 0, found {given!r}. Write [{given}].")
    if not all(map(holds, given)):
        raise ValueError(f"{where}: expected {kind} above 0, found {list(given)!r}. Try {example}.")


def _meant(name: str) -> str:
    """What to write in place of a metric's name that is none: a shown name is one of a depth or a weight.

    Example:
        >>> _meant("micro_f2"), _meant("precision_at_3"), _meant("macro-f1")
        ('Write micro_f_beta with betas=[2].', 'Write precision_at_k with k=[3].', 'Did you mean macro_f1?')
    """
    for pattern, key, option in ((r"(.+_at_)(\d+)", "k", "k"), (r"(.+_f)([\d.]+)", "_beta", "betas")):
        found = re.fullmatch(pattern, name)
        if found and found[1] + key in METRICS:
            return f"Write {found[1]}{key} with {option}=[{found[2]}]."
    near = nearest(name, METRICS)
    meant = [near] if near else [key for key in METRICS if name in key][:5]
    return f"Did you mean {', '.join(meant)}?" if meant else "Choose among those of hf_multilabel.evaluation.METRICS."


def check_counts(outcome: Outcome, metrics: Iterable[str]) -> None:
    """Refuse metrics that need the labels' counts in training where there are none.

    Raises:
        ValueError: If one does.
    """
    for name in metrics:
        if outcome.label_counts is None and needs_counts(name):
            raise ValueError(
                f"label_counts: expected the training texts of each label, which {name} needs, found None. "
                "Give label_counts and rows."
            )


def evaluate_outcome(
    outcome: Outcome, k: Sequence[int] = (1, 3, 5), metrics: Iterable[str] | None = None, betas: Sequence[float] = ()
) -> dict[str, float | int]:
    """All metrics of an outcome, as `evaluate_predictions` gives them.

    Raises:
        ValueError: If a metric is unknown or needs training counts that the outcome lacks, a k is below 1, or a beta
            not above 0.
    """
    check_outcome(outcome)
    metrics = None if metrics is None else as_names(metrics)
    calls = metric_calls(metrics, k, betas)
    check_counts(outcome, metrics or ())
    values = {shown: METRICS[name](outcome, *parameters) for shown, name, parameters in calls}
    return {name: value for name, value in values.items() if value is not None}


def evaluate_predictions(
    probs: Any,
    predictions: Any,
    targets: Any,
    k: Sequence[int] = (1, 3, 5),
    metrics: Iterable[str] | None = None,
    betas: Sequence[float] = (),
    label_counts: Any = None,
    rows: int | None = None,
) -> dict[str, float | int]:
    """All metrics of scores and decided label sets against the truth.

    Args:
        probs: Probabilities, array or tensor, shape (N, L).
        predictions: Decided label sets, dense or CSR, shape (N, L).
        targets: True label sets, dense or CSR, shape (N, L).
        k: Depths of the `_at_k` metrics, reported as `precision_at_1`, ...
        metrics: Keys of `METRICS`; None means all.
        betas: Weights of recall in the `_f_beta` metrics, reported as `micro_f2`, ...
        label_counts: Training texts of each label, shape (L,); without them the metrics that weigh or split labels by
            their frequency (`psp_at_k`, `tail_macro_f1`, ...) are left out.
        rows: Number of training texts, beside `label_counts`.

    Returns:
        Name -> plain float or int. A metric without a value here (`macro_auc` without a two-class label) is left out.

    Raises:
        ValueError: If shapes or values are wrong, a metric is unknown or named without the counts it needs, a k is
            below 1, or a beta not above 0.

    Cost: three sorts of the scores, one pass for each k and O(P log N L) for P true pairs; memory of one chunk beyond
    the input.

    Example:
        >>> evaluate_predictions([[0.9, 0.2]], [[1, 1]], [[1, 0]], metrics=["micro_precision", "recall_at_k"], k=[1])
        {'micro_precision': 0.5, 'recall_at_1': 1.0}
    """
    return evaluate_outcome(Outcome(probs, predictions, targets, label_counts, rows), k, metrics, betas)


def per_label_table(
    names: Sequence[str],
    probs: Any,
    predictions: Any,
    targets: Any,
    thresholds: float | Sequence[float],
    label_counts: Any = None,
) -> list[dict[str, Any]]:
    """One line a label, in the order of `names`.

    Args:
        names: Label names, L of them.
        probs: Probabilities, shape (N, L).
        predictions: Decided label sets, dense or CSR, shape (N, L).
        targets: True label sets, dense or CSR, shape (N, L).
        thresholds: One cut for all labels, or one a label, shape (L,).
        label_counts: Training texts of each label, shape (L,); None leaves that column out.

    Returns:
        Plain values: label, training (texts, if given), support (its rows here), predicted, true_positive, threshold,
        precision, recall, f1, auc (None for a label with one class only), ap (None for a label without a positive).

    Raises:
        ValueError: If shapes or values are wrong.
    """
    return label_table(Outcome(probs, predictions, targets), names, thresholds, label_counts)


def label_table(
    outcome: Outcome, names: Sequence[str], thresholds: float | Sequence[float], label_counts: Any = None
) -> list[dict[str, Any]]:
    """`per_label_table` of an outcome; `auc` and `ap` are None where not all scores of a label are known."""
    cuts = np.asarray(thresholds, np.float64)
    cuts = np.full(outcome.labels, cuts) if cuts.ndim == 0 else cuts
    training = None if label_counts is None else np.asarray(label_counts)
    for where, given in (("names", names), ("thresholds", cuts), ("label_counts", training)):
        if given is not None and len(given) != outcome.labels:
            raise ValueError(f"{where}: expected {outcome.labels} entries, found {len(given)}. Give one a label.")
    counts = outcome.by_label
    columns = {
        "label": [str(name) for name in names],
        **({} if training is None else {"training": training.tolist()}),
        "support": counts.positive.tolist(),
        "predicted": counts.predicted.tolist(),
        "true_positive": counts.true_positive.tolist(),
        "threshold": cuts.tolist(),
        "precision": precision(counts).tolist(),
        "recall": recall(counts).tolist(),
        "f1": f_beta(counts).tolist(),
        "auc": [None if np.isnan(value) else value for value in label_auc(outcome).tolist()],
        "ap": [None if np.isnan(value) else value for value in label_ap(outcome).tolist()],
    }
    return [dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)]


METRICS: dict[str, Callable[..., float | int | None]] = {
    "micro_f1": LabelMetric(micro, f_beta),
    "macro_f1": LabelMetric(macro, f_beta),
    "macro_f1_present": LabelMetric(macro_present, f_beta),
    "weighted_f1": LabelMetric(weighted, f_beta),
    "samples_f1": RowMetric(samples_f_beta),
    "micro_f_beta": LabelMetric(micro, f_beta),
    "macro_f_beta": LabelMetric(macro, f_beta),
    "weighted_f_beta": LabelMetric(weighted, f_beta),
    "samples_f_beta": RowMetric(samples_f_beta),
    "micro_precision": LabelMetric(micro, precision),
    "macro_precision": LabelMetric(macro, precision),
    "macro_precision_present": LabelMetric(macro_present, precision),
    "weighted_precision": LabelMetric(weighted, precision),
    "samples_precision": RowMetric(samples_precision),
    "samples_precision_present": RowMetric(samples_precision_present, present=True),
    "micro_recall": LabelMetric(micro, recall),
    "macro_recall": LabelMetric(macro, recall),
    "macro_recall_present": LabelMetric(macro_present, recall),
    "weighted_recall": LabelMetric(weighted, recall),
    "samples_recall": RowMetric(samples_recall),
    "samples_recall_present": RowMetric(samples_recall_present, present=True),
    "micro_jaccard": LabelMetric(micro, jaccard),
    "macro_jaccard": LabelMetric(macro, jaccard),
    "macro_jaccard_present": LabelMetric(macro_present, jaccard),
    "samples_jaccard": RowMetric(samples_jaccard),
    "subset_accuracy": RowMetric(subset_accuracy),
    "hamming_loss": RowMetric(hamming_loss),
    "macro_auc": CurveMetric("auc"),
    "macro_auc_skipped": macro_auc_skipped,
    "micro_auc": CurveMetric("auc", pooled=True),
    "macro_ap": CurveMetric("ap", mean_all),
    "macro_ap_present": CurveMetric("ap"),
    "micro_ap": CurveMetric("ap", pooled=True),
    "classwise_ece": calibration_error,
    "brier_score": squared_error,
    "lrap": RowMetric(lrap),
    "coverage_error": RowMetric(coverage_error),
    "ranking_loss": RowMetric(ranking_loss),
    "one_error": RowMetric(one_error),
    "precision_at_k": RowMetric(precision_at_k),
    "recall_at_k": RowMetric(recall_at_k),
    "r_precision_at_k": RowMetric(r_precision_at_k),
    "ndcg_at_k": RowMetric(ndcg_at_k),
    "psp_at_k": RowMetric(psp_at_k, counted=True),
    "psndcg_at_k": RowMetric(psndcg_at_k, counted=True),
    "macro_precision_at_k": SlotMetric(precision),
    "macro_recall_at_k": SlotMetric(recall),
    "macro_f1_at_k": SlotMetric(f_beta),
    "head_labels": head_labels,
    "head_micro_f1": LabelMetric(micro, f_beta, "head"),
    "head_macro_f1": LabelMetric(macro, f_beta, "head"),
    "head_macro_f1_present": LabelMetric(macro_present, f_beta, "head"),
    "torso_labels": torso_labels,
    "torso_micro_f1": LabelMetric(micro, f_beta, "torso"),
    "torso_macro_f1": LabelMetric(macro, f_beta, "torso"),
    "torso_macro_f1_present": LabelMetric(macro_present, f_beta, "torso"),
    "tail_labels": tail_labels,
    "tail_micro_f1": LabelMetric(micro, f_beta, "tail"),
    "tail_macro_f1": LabelMetric(macro, f_beta, "tail"),
    "tail_macro_f1_present": LabelMetric(macro_present, f_beta, "tail"),
    "predicted_per_row": RowMetric(predicted_per_row),
    "rows": count_rows,
    "rows_without_labels": rows_without_labels,
    "labels_without_positives": labels_without_positives,
}
# Keys of `METRICS` that are 0, or least, where nothing is wrong.
LOWER_IS_BETTER = ("hamming_loss", "classwise_ece", "brier_score", "coverage_error", "ranking_loss", "one_error")
