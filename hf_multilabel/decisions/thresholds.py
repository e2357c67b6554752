"""Decision cut-offs on probabilities: a label is predicted when its probability is at least its cut.

An F1-optimal cut lies just below the score of a positive, so positives are the only candidates. Equal scores are never
separated. Of equally good cuts the highest is taken. An optimal cut is stored midway between the lowest score it takes
and the next lower one (0 if there is none), a shrunk one keeps a distance from both: rounding flips no fitted row.

Cuts lie in [0, 1]. No rule here says "never predict": a cut of 1 still takes a probability of exactly 1, which a
float32 sigmoid reaches. A label without positives gets the global cut, for nothing says that it needs another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hf_multilabel.decisions.cuts import Candidates, find_candidates, keep_distance, logit, midway
from hf_multilabel.evaluation import (
    as_label_sets,
    as_probabilities,
    count_at_least,
    evaluate_predictions,
    row_chunks,
)
from hf_multilabel.remote_code.decision_multilabel import check_decision, decide_probabilities, hash_labels

SHRINKAGE = 1.0  # measured: docs/decisions.md
ROUNDS = 6  # of the balanced rule: twice what the sets of docs/decisions.md and eurlex4k need to settle


def fixed(probs: NDArray, targets: sparse.csr_array, threshold: float, shrinkage: float) -> NDArray[np.float64]:
    """The given threshold for every label, (L,). Nothing is fitted."""
    return np.full(probs.shape[1], threshold)


def micro_f1(probs: NDArray, targets: sparse.csr_array, threshold: float, shrinkage: float) -> NDArray[np.float64]:
    """The one cut for all labels that maximises micro-F1, (L,). Exact.

    Cost: one sort of the scores.
    """
    values, repeats = np.unique(probs[targets.nonzero()], return_counts=True)
    taken, _ = count_at_least(probs, values)
    caught = np.cumsum(repeats[::-1])[::-1]
    f1 = 2 * caught / (taken + targets.nnz)
    score = values[len(f1) - 1 - np.argmax(f1[::-1])]
    below = probs.max(initial=0, where=probs < score)
    return np.full(probs.shape[1], midway(score, below))


def macro_f1(probs: NDArray, targets: sparse.csr_array, threshold: float, shrinkage: float) -> NDArray[np.float64]:
    """Each label's own F1-optimal cut, (L,); the global micro-F1 cut for labels without a positive. Exact.

    Optimal on the rows it was fitted on only: one or two positives put a cut anywhere.

    Cost: one sort of the scores, a second one if a label has no positive.
    """
    found = find_candidates(probs, targets)
    present = found.positives > 0
    cuts = np.empty(len(present)) if present.all() else micro_f1(probs, targets, threshold, shrinkage)
    cuts[present] = found.cut[found.best(found.f1)]
    return cuts


def balanced(probs: NDArray, targets: sparse.csr_array, threshold: float, shrinkage: float) -> NDArray[np.float64]:
    """Cuts for (micro-F1 + macro-F1) / 2 that hold on other rows: own cuts drawn toward the global one, (L,).

    1. Own cut: the candidate that adds most to micro- plus macro-F1, f1_l / L + (2 caught - F taken) / (all taken + P),
       with micro-F1 F linearised around the current cuts; all labels at once, repeated until nothing moves. F1 alone
       would take nearly every row for a label the model can't rank. A label whose best cut adds nothing keeps the
       global cut.
    2. Shrinkage: on the logit scale a label with n positives goes n / (n + c) of the way from the global micro-F1 cut
       to its own, c being `shrinkage`; infinity gives `micro_f1`. The cut then keeps `MARGIN` or half the gap, if that
       is less, from the scores around it.

    Cost: two sorts of the scores and a few passes over them.
    """
    shared = micro_f1(probs, targets, threshold, shrinkage)
    found = find_candidates(probs, targets)
    own = _joint_cuts(probs, targets, found, shared)
    weight = found.positives / (found.positives + max(shrinkage, np.finfo(float).tiny))
    drawn = weight * logit(own) + (1 - weight) * logit(shared)
    return keep_distance(probs, 1 / (1 + np.exp(-drawn)))


def _joint_cuts(
    probs: NDArray, targets: sparse.csr_array, found: Candidates, shared: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Step 1 of `balanced`: (L,)."""
    labels = np.flatnonzero(found.positives)
    rows, columns = targets.nonzero()
    start_caught = np.bincount(columns[probs[rows, columns].astype(np.float64) >= shared[0]], minlength=len(shared))
    start_taken = np.zeros(len(shared), np.int64)
    for start, stop in row_chunks(*probs.shape):
        # in float64: in float32 a cut between two neighbours would round onto one of them
        start_taken += (probs[start:stop].astype(np.float64) >= shared[0]).sum(axis=0)
    cuts, taken, caught = shared.copy(), start_taken.copy(), start_caught.copy()
    for _ in range(ROUNDS):
        pooled = taken.sum() + targets.nnz
        micro = 2 * caught.sum() / pooled
        gain = found.f1 / len(shared) + (2 * found.caught - micro * found.taken) / pooled
        chosen = found.best(gain)
        worth = gain[chosen] >= 0
        previous, cuts = cuts, shared.copy()
        taken, caught = start_taken.copy(), start_caught.copy()
        cuts[labels[worth]] = found.cut[chosen[worth]]
        taken[labels[worth]] = found.taken[chosen[worth]]
        caught[labels[worth]] = found.caught[chosen[worth]]
        if (cuts == previous).all():
            break
    return cuts


def fit_thresholds(
    probs: ArrayLike | torch.Tensor,
    targets: Any,
    objective: str = "balanced",
    *,
    threshold: float = 0.5,
    shrinkage: float | None = None,
) -> NDArray[np.float64] | torch.Tensor:
    """Choose one decision cut-off per label on held-out data.

    Args:
        probs: Probabilities in [0, 1], shape (N, L), array or tensor.
        targets: 1 where the label holds, else 0, shape (N, L), dense or CSR.
        objective: Key of `THRESHOLD_RULES`.
        threshold: The cut of `fixed`; of the others only where no label has a positive.
        shrinkage: Of `balanced` only: positives at which a label's own cut and the global one weigh alike.

    Returns:
        Cut-offs in [0, 1], shape (L,), float64; a tensor if `probs` is one. Predict where prob >= cut-off.

    Raises:
        ValueError: If shapes or values are wrong, or an argument is unknown, out of range or without effect.

    Cost: see the rules.

    Example:
        >>> fit_thresholds(torch.tensor([[0.25], [0.75]]), torch.tensor([[0.0], [1.0]]), "macro_f1")
        tensor([0.5000], dtype=torch.float64)

    Reference: Lipton et al. 2014, section 3; Yang 2001 on rare labels.
    """
    if objective not in THRESHOLD_RULES:
        raise ValueError(
            f"objective: expected one of {', '.join(THRESHOLD_RULES)}, found {objective!r}. Choose one of them."
        )
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: expected a number in [0, 1], found {threshold!r}. Try 0.5.")
    if shrinkage is not None and objective != "balanced":
        raise ValueError(f"shrinkage: expected the objective balanced, found {objective!r}. Leave shrinkage out.")
    if shrinkage is not None and not shrinkage >= 0:
        raise ValueError(f"shrinkage: expected a number of at least 0, found {shrinkage!r}. Try {SHRINKAGE}.")
    scores = as_probabilities(probs)
    held = as_label_sets(targets, scores.shape, "targets")
    rule = THRESHOLD_RULES[objective] if held.nnz else fixed
    cuts = rule(scores, held, threshold, SHRINKAGE if shrinkage is None else shrinkage)
    return torch.from_numpy(cuts) if isinstance(probs, torch.Tensor) else cuts


def hash_rows(row_ids: Sequence[str]) -> str:
    """SHA-256 of a set of row ids, whatever their order: tells whether a decision was fitted on the rows at hand."""
    listed = json.dumps(sorted(str(row) for row in row_ids), separators=(",", ":"))
    return hashlib.sha256(listed.encode("ascii")).hexdigest()


def fit_decision(
    probs: ArrayLike | torch.Tensor,
    targets: Any,
    labels: Sequence[str],
    objective: str = "balanced",
    *,
    threshold: float = 0.5,
    shrinkage: float | None = None,
    rule: str = "threshold",
    empty: str = "allow",
    min_labels: int | None = None,
    max_labels: int | None = None,
    top_k: int | None = None,
    fitted_on: str = "validation",
    row_ids: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Fit the cut-offs and wrap them into the decision that config.json stores, with its evidence.

    `in_sample` holds the scores of the decision on the very rows it was fitted on: optimistic, and not what to expect.
    `expected` stays empty until an honest estimate fills it.

    Args:
        probs: Probabilities in [0, 1], shape (N, L), array or tensor.
        targets: 1 where the label holds, else 0, shape (N, L), dense or CSR.
        labels: Label names in the order of their ids, L of them.
        objective: Key of `THRESHOLD_RULES`.
        threshold: See `fit_thresholds`.
        shrinkage: See `fit_thresholds`.
        rule: How thresholds are used: threshold, top_k or threshold_top_k.
        empty: What an empty label set becomes: allow, at_least_one or abstain.
        min_labels: Fewest labels of a row, or None.
        max_labels: Most labels of a row, or None.
        top_k: Labels of a row under the rules that count, else None.
        fitted_on: The rows' split; stored as None for the objective fixed, which fits nothing.
        row_ids: Ids of the rows, N of them, for `rows_sha256`; without them the true label sets are hashed.

    Returns:
        Plain, JSON-able values, checked against `labels`.

    Raises:
        ValueError: If shapes, values or settings are wrong.
    """
    scores = as_probabilities(probs)
    held = as_label_sets(targets, scores.shape, "targets")
    for where, found, size in (("labels", labels, scores.shape[1]), ("row_ids", row_ids, scores.shape[0])):
        if found is not None and len(found) != size:
            raise ValueError(f"{where}: expected {size} entries, found {len(found)}. Align them with probs.")
    cuts = fit_thresholds(scores, held, objective, threshold=threshold, shrinkage=shrinkage)
    decision: dict[str, Any] = {
        "rule": rule,
        "thresholds": float(cuts[0]) if objective in ("fixed", "micro_f1") else cuts.tolist(),
        "empty": empty,
        "min_labels": min_labels,
        "max_labels": max_labels,
        "top_k": top_k,
        "calibration": None,
        "objective": objective,
        "fitted_on": None if objective == "fixed" else fitted_on,
        "rows": len(scores),
        "rows_sha256": hash_rows(_sets(held) if row_ids is None else row_ids),
        "expected": {},
        "labels_sha256": hash_labels(labels),
    }
    check_decision(decision, labels)
    decided = decide_probabilities(torch.from_numpy(np.require(scores, requirements=["C", "W"])), decision).numpy()
    shown = ("micro_f1", "macro_f1", "macro_f1_present")
    return decision | {"in_sample": evaluate_predictions(scores, decided, held, metrics=shown)}


def _sets(held: sparse.csr_array) -> list[str]:
    """Each row's label ids as text."""
    return [str(ids.tolist()) for ids in np.split(held.indices, held.indptr[1:-1])]


THRESHOLD_RULES: dict[str, Callable[..., NDArray[np.float64]]] = {
    "fixed": fixed,
    "micro_f1": micro_f1,
    "macro_f1": macro_f1,
    "balanced": balanced,
}
