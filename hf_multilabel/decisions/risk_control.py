"""Risk control: one cut for all labels, with a guarantee that holds whatever the model is worth.

    {"recall": 0.95}                      recall of 0.95 in expectation         conformal risk control
    {"recall": 0.95, "confidence": 0.9}   recall of 0.95 with 90% confidence    risk-controlling prediction sets
    {"precision": 0.9, "confidence": 0.9} precision of 0.9 with 90% confidence  Learn-then-Test

Recall and precision are means over texts: of the share of a text's labels that are found, over the texts that have a
label; and of the share of right labels among the predicted ones, over the texts that get one. The cut falls on
calibrated probabilities. Candidates are all scores that can change a loss, found by sorting the positives (recall) or
the highest scores (precision); no losses are tabulated over a grid.

The guarantee holds for texts drawn like the rows. Those must have taken no part in training or in a calibration; but
for a recall one temperature may be fitted on them, since it leaves the order of all scores as it is.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hf_multilabel.decisions.bounds import hoeffding_bentkus, passes_betting
from hf_multilabel.decisions.cuts import midway
from hf_multilabel.evaluation import as_label_sets, as_probabilities, row_chunks

STARTS = tuple(
    np.arange(0.05, 1, 0.1).round(2).tolist()
)  # of the walks toward lower cuts; fixed before any row is seen
METHODS = {
    ("recall", False): "conformal risk control",
    ("recall", True): "risk-controlling prediction sets, betting bound",
    ("precision", True): "Learn-then-Test, fixed sequences, Hoeffding-Bentkus",
}


def check_risk(risk: Mapping[str, Any]) -> tuple[str, float, float | None]:
    """The metric, its target and the confidence of `risk`.

    Raises:
        ValueError: If there is not one of recall and precision in (0, 1), or precision comes without a confidence.
    """
    named = [name for name in ("recall", "precision") if risk.get(name) is not None]
    unknown = sorted(set(risk) - {"recall", "precision", "confidence"})
    if len(named) != 1 or unknown:
        expected = "recall or precision, and perhaps confidence"
        given = ", ".join(sorted(name for name in risk if risk[name] is not None)) or "neither"
        raise ValueError(f"risk: expected {expected}, found {given}. Write for instance recall: 0.95.")
    metric, confidence = named[0], risk.get("confidence")
    for name in (metric, "confidence"):
        value = risk.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1):
            raise ValueError(f"risk.{name}: expected a number between 0 and 1, found {value!r}. Try 0.9.")
    if (metric, confidence is not None) not in METHODS:
        raise ValueError("risk.confidence: expected a number beside precision, found none. Try 0.9.")
    return metric, float(risk[metric]), None if confidence is None else float(confidence)


def promised_metric(decision: Mapping[str, Any]) -> tuple[str, str] | None:
    """The key of `METRICS` that shows what a decision promises, and the promise; None where it promises nothing.

    Example:
        >>> promised_metric({"risk": {"metric": "recall", "target": 0.9, "confidence": None, "controlled": True}})
        ('samples_recall_present', 'at least 0.9 on average')
    """
    risk = decision.get("risk") or {}
    if not risk.get("controlled"):
        return None
    how = "on average" if risk["confidence"] is None else f"with {_percent(risk['confidence'])} confidence"
    return f"samples_{risk['metric']}_present", f"at least {_all_digits(Decimal(repr(risk['target'])))} {how}"


def least_rows(risk: Mapping[str, Any]) -> int:
    """Rows below which even a flawless model gets no guarantee: with a label (recall), or that get one (precision).

    Example:
        >>> least_rows({"recall": 0.95}), least_rows({"recall": 0.95, "confidence": 0.9})
        (19, 45)
        >>> least_rows({"precision": 0.95, "confidence": 0.9})
        90
    """
    metric, target, confidence = check_risk(risk)
    if confidence is None:
        return math.ceil(target / (1 - target) - 1e-9)  # (0 + 1) / (n + 1) <= 1 - target
    delta = 1 - confidence
    # each walk has its share of delta; without a loss Hoeffding's p-value is target ** n
    level = delta / len(STARTS) if metric == "precision" else delta
    rows = max(1, math.ceil(math.log(level) / math.log(target) - 1e-9))
    while metric == "recall" and not passes_betting(np.zeros(rows), 1 - target, delta):
        rows += 1  # the gamblers share the stake, of which the best alone would need no more rows than that
    return rows


def fit_risk(probs: ArrayLike | torch.Tensor, targets: Any, risk: Mapping[str, Any]) -> tuple[float | None, dict]:
    """The cut for all labels that keeps the promise, and the evidence.

    Of all cuts that keep it, recall takes the highest, so that sets are small, and precision the lowest, so that few
    labels are missed.

    Args:
        probs: Calibrated probabilities in [0, 1], shape (N, L), array or tensor.
        targets: 1 where the label holds, else 0, shape (N, L), dense or CSR.
        risk: `recall` or `precision`, and `confidence`.

    Returns:
        The cut, None if no cut keeps the promise; and what a decision stores under `risk`: metric, target, confidence,
        method, rows (that the cut was tested on: with a label, or that get one), rows_left_out, lambda (the cut),
        controlled, sentence.

    Raises:
        ValueError: If shapes or values are wrong.

    Cost: recall sorts the positives, with a confidence it also goes over the rows once for each halving of them;
    precision sorts the scores above the cut. Both read the scores a few times; memory of one chunk beside that.

    Reference: Angelopoulos et al. 2024 (conformal risk control), Bates et al. 2021, Angelopoulos et al. 2021.
    """
    metric, target, confidence = check_risk(risk)
    scores = as_probabilities(probs)
    held = as_label_sets(targets, scores.shape, "targets")
    labelled = np.flatnonzero(np.diff(held.indptr))
    rows, left_out = len(scores), 0
    if metric == "recall":
        rows, left_out = len(labelled), len(scores) - len(labelled)
        found = recall_cut(scores, held, 1 - target, None if confidence is None else 1 - confidence)
    else:
        found = precision_cut(scores, held, 1 - target, 1 - float(confidence or 0))
        if found is not None:
            rows = _rows_that_get_one(scores, found)
            left_out = len(scores) - rows
    cut = None if found is None else _between(scores, found)
    evidence = {
        "metric": metric,
        "target": target,
        "confidence": confidence,
        "method": METHODS[metric, confidence is not None],
        "rows": rows,
        "rows_left_out": left_out,
        "lambda": cut,
        "controlled": cut is not None,
    }
    return cut, {**evidence, "sentence": describe_risk(evidence)}


def describe_risk(evidence: Mapping[str, Any]) -> str:
    """The guarantee in words, or that there is none."""
    what = {
        "recall": "of a text's labels are found, on average over texts that have a label",
        "precision": "of the labels a text gets are right, on average over texts that get one",
    }[evidence["metric"]]
    goal = f"at least {_all_digits(Decimal(repr(evidence['target'])))} {what}"
    rows = f"{evidence['rows']:,} held-out rows"
    if evidence["metric"] == "precision" and evidence["controlled"]:
        rows += f" that get a label, of {evidence['rows'] + evidence['rows_left_out']:,}"
    rows += f" ({evidence['method']})"
    if not evidence["controlled"]:
        return f"Not guaranteed: that {goal}. No cut promises it on {rows}."
    cut = f"the cut {evidence['lambda']:.4g} for all labels, chosen on {rows}"
    if evidence["confidence"] is None:
        return f"Guaranteed for texts like these, averaged over draws of the rows: {goal}, by {cut}."
    confidence = _percent(evidence["confidence"])
    return f"Guaranteed for texts like these, with {confidence} confidence: {goal}, by {cut}."


def _all_digits(number: Decimal) -> str:
    """A number as it was given: a promise that is rounded may be a larger one."""
    return f"{number.normalize():f}"


def _percent(share: float) -> str:
    return f"{_all_digits(100 * Decimal(repr(share)))}%"


def recall_cut(
    scores: NDArray[np.floating], targets: sparse.csr_array, alpha: float, delta: float | None
) -> float | None:
    """The lowest score that must be taken for a mean share of missed labels of at most alpha; None if none is enough.

    A row's loss is the share of its labels below the cut; rows without labels have none and are left out. The risk
    rises with the cut, at the scores of positives only, and so does no bound on it fall: the highest cut that keeps the
    promise is found by halves.

    Args:
        scores: Shape (N, L).
        targets: Canonical CSR, shape (N, L).
        alpha: Share of a row's labels that may be missed.
        delta: Probability that the promise may fail over draws of the rows; None: it holds in expectation.
    """
    counts = np.diff(targets.indptr)
    rows = int((counts > 0).sum())
    if not rows:
        return None
    row, column = targets.nonzero()
    score = scores[row, column]
    order = np.argsort(score, kind="stable")
    score, loss = score[order], 1 / counts[row[order]]
    last = np.flatnonzero(np.diff(score, append=np.inf) > 0)  # of equal scores, taken or missed together
    if delta is None:
        promised = int(((np.cumsum(loss)[last] + 1) / (rows + 1) <= alpha + 1e-12).sum())
        nothing_missed = 1 / (rows + 1) <= alpha + 1e-12
    else:
        index = (np.cumsum(counts > 0) - 1)[row[order]]
        # drawn once for all: rows may stand sorted, but a bet must not know what comes
        place = np.random.default_rng(0).permutation(rows)[index]

        def promises(position: int) -> bool:
            missed = slice(0, int(last[position]) + 1)
            losses = np.bincount(place[missed], weights=loss[missed], minlength=rows)
            return passes_betting(losses.astype(np.float64), alpha, delta)

        promised = bisect_left(range(len(last)), True, key=lambda position: not promises(position))
        nothing_missed = passes_betting(np.zeros(rows), alpha, delta)
    return float(score[last[min(promised, len(last) - 1)]]) if nothing_missed else None


def precision_cut(
    scores: NDArray[np.floating],
    targets: sparse.csr_array,
    alpha: float,
    delta: float,
    empty: str = "left_out",
) -> float | None:
    """The lowest score that may be taken for a mean share of wrong labels of at most alpha; None if there is none.

    The risk neither rises nor falls with the cut, so cuts are tested one after the other from each of `STARTS` toward
    lower ones, each walk with its share of delta, until a test fails. Given which rows get a label, their losses are
    independent draws, so that the bound holds for their number.

    Args:
        scores: Shape (N, L).
        targets: Canonical CSR, shape (N, L).
        alpha: Share of a row's predicted labels that may be wrong.
        delta: Probability that the promise may fail over draws of the rows.
        empty: Rows without a predicted label are `left_out` of the mean, or count as all `wrong` (MAPIE's convention).
    """
    level, floor = delta / len(STARTS), min(STARTS)
    while True:
        score, risk, effective = precision_path(scores, targets, floor, empty)
        passed = hoeffding_bentkus(risk, effective, alpha, level) if len(score) else np.zeros(0, bool)
        complete = floor <= 0 or not len(score) or not passed[-1]
        if complete:
            break
        floor = floor / 4 if floor > 1e-6 else 0.0
    fails = np.append(np.flatnonzero(~passed), len(passed))
    lowest = None
    for start in STARTS:
        first = int(np.searchsorted(-score, -start, side="right")) - 1  # the last score that a cut at start takes
        if first >= 0 and passed[first]:
            reached = float(score[fails[np.searchsorted(fails, first)] - 1])
            lowest = reached if lowest is None else min(lowest, reached)
    return lowest


def precision_path(
    scores: NDArray[np.floating], targets: sparse.csr_array, floor: float, empty: str = "left_out"
) -> tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.int64]]:
    """Distinct scores of at least floor, highest first; with a cut at each, the mean row loss and the rows it is of."""
    rows, columns = np.nonzero(scores >= floor)
    score = scores[rows, columns]
    order = np.lexsort((-score, rows))  # row by row, highest first
    row, score = rows[order], score[order]
    by_row = np.arange(len(row)) - np.searchsorted(row, row)
    wrong = ~_holds(targets, row, columns[order])
    running = np.cumsum(wrong)
    before = np.concatenate([[0], running])[np.arange(len(row)) - by_row]
    loss = (running - before) / (by_row + 1)
    first = by_row == 0
    base = 1.0 if empty == "wrong" else 0.0
    change = loss - np.where(first, base, np.concatenate([[0.0], loss[:-1]]) if len(loss) else loss)
    falling = np.argsort(-score, kind="stable")  # keeps each row's order
    last = np.flatnonzero(np.diff(-score[falling], append=np.inf) > 0)
    total = np.cumsum(change[falling])[last]
    named = np.cumsum(first[falling])[last]
    if empty == "wrong":
        effective = np.full(len(last), len(scores))
        return score[falling][last], (total + len(scores)) / len(scores), effective
    return score[falling][last], total / np.maximum(named, 1), named


def _holds(targets: sparse.csr_array, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the label of each pair holds, (M,)."""
    width = targets.shape[1]
    true = np.repeat(np.arange(targets.shape[0]), np.diff(targets.indptr)) * width + targets.indices
    asked = row * width + column
    place = np.minimum(np.searchsorted(true, asked), max(0, len(true) - 1))
    return true[place] == asked if len(true) else np.zeros(len(asked), bool)


def _rows_that_get_one(scores: NDArray[np.floating], score: float) -> int:
    """Rows with a score that is taken when this one is."""
    return sum(int((scores[start:stop] >= score).any(axis=1).sum()) for start, stop in row_chunks(*scores.shape))


def _between(scores: NDArray[np.floating], score: float) -> float:
    """A cut midway between a score and the next lower one of the matrix."""
    below = 0.0
    for start, stop in row_chunks(*scores.shape):
        block = scores[start:stop]
        below = max(below, float(block.max(initial=0, where=block < score)))
    return float(midway(score, below))
