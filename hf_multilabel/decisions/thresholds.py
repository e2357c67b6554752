"""Decision cut-offs on probabilities: a label is predicted when its probability is at least its cut.

Candidates lie just below the scores of positives, see `cuts`; the rules by what they are for: `f_cuts`, `rare_labels`,
`constraints`, `expected_f`. Equal scores are never separated. Of equally good cuts the highest is taken. An optimal cut
is stored midway between the lowest score it takes and the next lower one (0 if there is none), a shrunk one keeps a
distance from both: rounding flips no fitted row.

Cuts lie in [0, 1]. No cut says "never predict": a cut of 1 still takes a probability of exactly 1, which a float32
sigmoid reaches. A label without positives gets the global cut, for nothing says that it needs another. Where no label
has a positive, a rule that can answer without one does; under the others (`NEED_POSITIVE`) the given threshold stays.

Scores kept in part (`TopScores`) give the fitted rows the label sets that the cuts of all scores give them if the cuts
lie above the floors of all rows (a cut is midway to the highest floor where no score between was kept): below a floor
counts are too low and gains too high, and no such cut was chosen all the same. Where one is, the cuts are fitted
again with counts that are too high, so that no cut is better than it looks, and the fit is not called exact. The gain
of `cardinality` may rise with counts: it gives a cut at a floor itself where one there or below may come nearer.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hf_multilabel.decisions.constraints import (
    cardinality,
    cost,
    cost_plug_in,
    precision_at_least,
    recall_at_least,
)
from hf_multilabel.decisions.counting import pairs_above, round_up
from hf_multilabel.decisions.expected_f import f_star_half
from hf_multilabel.decisions.f_cuts import macro_f1, micro_f1, micro_f1_per_label, samples_f1
from hf_multilabel.decisions.options import OPTIONS, check_values, unknown_objective, unknown_option
from hf_multilabel.decisions.rare_labels import balanced, scut_fbr
from hf_multilabel.evaluation import as_label_sets, as_probabilities, evaluate_predictions
from hf_multilabel.evaluation.averages import f_beta, macro, macro_present, micro
from hf_multilabel.evaluation.outcomes import Counts
from hf_multilabel.evaluation.scores import Scores, TopScores
from hf_multilabel.remote_code.decision_multilabel import (
    check_decision,
    check_labels,
    decide_probabilities,
    hash_labels,
)


def fixed(scores: Scores, held: sparse.csr_array, *, threshold: float = 0.5) -> NDArray[np.float64]:
    """The given threshold for every label, (L,). Nothing is fitted."""
    return np.full(scores.shape[1], threshold)


def fit_thresholds(
    probs: ArrayLike | torch.Tensor | TopScores,
    targets: Any,
    objective: str = "balanced",
    *,
    threshold: float = 0.5,
    **options: Any,
) -> NDArray[np.float64] | torch.Tensor:
    """Choose one decision cut-off per label on held-out data.

    Args:
        probs: Probabilities in [0, 1], shape (N, L), array or tensor, or those of them that `TopScores` keeps.
        targets: 1 where the label holds, else 0, shape (N, L), dense or CSR.
        objective: Key of `THRESHOLD_RULES`.
        threshold: The cut of `fixed`; of `NEED_POSITIVE` only where no label has a positive; of the others never.
        **options: What the objective's rule takes by keyword, see `rule_options`; None stands for the rule's default.

    Returns:
        Cut-offs in [0, 1], shape (L,), float64; a tensor if `probs` is one. Predict where prob >= cut-off.

    Raises:
        ValueError: If shapes or values are wrong, or an argument is unknown, missing, out of range or without effect.

    Warns:
        UserWarning: If the scores that `TopScores` keeps do not tell whether these are the cuts of all scores.

    Cost: see the rules.

    Example:
        >>> fit_thresholds(torch.tensor([[0.25], [0.75]]), torch.tensor([[0.0], [1.0]]), "macro_f1")
        tensor([0.5000], dtype=torch.float64)

    Reference: Lipton et al. 2014, section 3; Yang 2001 on rare labels.
    """
    scores, held = check_scores(probs, targets)
    cuts, exact = fit_cuts(scores, held, objective, threshold=threshold, **options)
    _warn_if_cautious(exact, objective, scores)
    return torch.from_numpy(cuts) if isinstance(probs, torch.Tensor) else cuts


def _warn_if_cautious(exact: bool, objective: str, scores: Scores) -> None:
    """Of cuts that are not those of all scores, in the name of whoever called the caller."""
    if not exact:
        warnings.warn(
            f"probs: expected all scores that the cuts of {objective} depend on, found some hidden below floors "
            f"up to {getattr(scores, 'ceiling', 0):.3g}: the cuts are cautious, not exact. Keep more scores a row.",
            stacklevel=3,
        )


def check_scores(probs: ArrayLike | torch.Tensor | TopScores, targets: Any) -> tuple[Scores, sparse.csr_array]:
    """Scores and label sets as the rules take them.

    Raises:
        ValueError: If shapes or values are wrong.
    """
    scores = probs if isinstance(probs, TopScores) else as_probabilities(probs)
    return scores, as_label_sets(targets, scores.shape, "targets")


def fit_cuts(
    scores: Scores, held: sparse.csr_array, objective: str, *, threshold: float = 0.5, **options: Any
) -> tuple[NDArray[np.float64], bool]:
    """`fit_thresholds` of checked scores, and whether the cuts are those of all scores: (L,), bool.

    Raises:
        ValueError: If an argument is unknown, missing, out of range or without effect.
    """
    given = {name: value for name, value in options.items() if value is not None}
    check_options(objective, {**given, "threshold": threshold})
    if objective == "fixed" or (objective in NEED_POSITIVE and not held.nnz):
        return fixed(scores, held, threshold=threshold), True
    rule = THRESHOLD_RULES[objective]
    cuts = rule(scores, held, **given)
    if not isinstance(scores, TopScores) or objective in UNFITTED or scores.knows(cuts):
        return cuts, True
    return rule(replace(scores, unstored_at_floor=True), held, **given), False


def rule_options(objective: str) -> dict[str, bool]:
    """Options of an objective's rule, and whether it needs them.

    Example:
        >>> rule_options("precision_at_least")
        {'precision': True, 'scope': False}
    """
    taken = inspect.signature(THRESHOLD_RULES[objective]).parameters.values()
    return {option.name: option.default is option.empty for option in taken if option.kind is option.KEYWORD_ONLY}


def check_options(objective: str, options: dict[str, Any]) -> None:
    """Refuse what an objective does not take; `threshold` is taken by all.

    Raises:
        ValueError: As `fit_cuts`.
    """
    if objective not in THRESHOLD_RULES:
        raise ValueError(unknown_objective(objective, THRESHOLD_RULES))
    taken = rule_options(objective)
    for name in options:
        if name != "threshold" and name not in taken:
            takers = [rule for rule in THRESHOLD_RULES if name in rule_options(rule)]
            raise ValueError(unknown_option(name, objective, sorted({"threshold", *taken}), takers))
    for name, needed in taken.items():
        if needed and name not in options:
            raise ValueError(f"{name}: expected {OPTIONS[name][0]}, found None. {objective} needs it.")
    check_values(options)


def hash_rows(row_ids: Sequence[str]) -> str:
    """SHA-256 of a set of row ids, whatever their order: tells whether a decision was fitted on the rows at hand."""
    listed = json.dumps(sorted(str(row) for row in row_ids), separators=(",", ":"))
    return hashlib.sha256(listed.encode("ascii")).hexdigest()


def fit_decision(
    probs: ArrayLike | torch.Tensor | TopScores,
    targets: Any,
    labels: Sequence[str],
    objective: str = "balanced",
    *,
    threshold: float = 0.5,
    rule: str = "threshold",
    empty: str = "allow",
    min_labels: int | None = None,
    max_labels: int | None = None,
    top_k: int | None = None,
    fitted_on: str = "validation",
    row_ids: Sequence[str] | None = None,
    cuts: ArrayLike | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Fit the cut-offs and wrap them into the decision that config.json stores, with its evidence.

    `in_sample` holds the scores of the decision on the very rows it was fitted on: optimistic, and not what to expect.
    `expected` stays empty until an honest estimate fills it. Scores kept in part add `exact`: whether the cuts are
    those of all scores. Where one is no higher than a floor, `in_sample` is empty: nothing is known there.

    Args:
        probs: Probabilities in [0, 1], shape (N, L), array or tensor, or those of them that `TopScores` keeps.
        targets: 1 where the label holds, else 0, shape (N, L), dense or CSR.
        labels: Label names in the order of their ids, L of them.
        objective: Key of `THRESHOLD_RULES`.
        threshold: See `fit_thresholds`.
        rule: How thresholds are used: threshold, top_k or threshold_top_k; expected_f1 uses none.
        empty: What an empty label set becomes: allow, at_least_one or abstain.
        min_labels: Fewest labels of a row, or None.
        max_labels: Most labels of a row, or None.
        top_k: Labels of a row under the rules that count, else None.
        fitted_on: The rows' split; stored as None where nothing is fitted that label sets depend on: under the rule
            top_k, the objectives fixed and cost_plug_in, and where the given threshold stays because no label has a
            positive.
        row_ids: Ids of the rows, N of them, for `rows_sha256`; without them the true label sets are hashed.
        cuts: Those of the objective where they are known already, for instance averaged over folds, (L,); all equal
            where the decision stores one number for all labels.
        **options: See `fit_thresholds`.

    Returns:
        Plain, JSON-able values, checked against `labels`.

    Raises:
        ValueError: If shapes, values or settings are wrong.

    Warns:
        UserWarning: As `fit_thresholds`.

    Example:
        >>> decision = fit_decision([[0.25, 0.875], [0.75, 0.625]], [[0, 1], [1, 0]], ["sport", "news"], "macro_f1")
        >>> decision["thresholds"], decision["in_sample"]["macro_f1"]
        ([0.5, 0.75], 1.0)
    """
    scores, held = check_scores(probs, targets)
    check_labels(labels)
    for where, found, size in (("labels", labels, scores.shape[1]), ("row_ids", row_ids, scores.shape[0])):
        if found is not None and len(found) != size:
            raise ValueError(f"{where}: expected {size} entries, found {len(found)}. Align them with probs.")
    if rule == "expected_f1" and objective != "fixed":
        found = "'balanced', the default" if objective == "balanced" else repr(objective)
        expected = "fixed beside the rule expected_f1, which uses no cuts"
        raise ValueError(f"objective: expected {expected}, found {found}. Pass objective='fixed'.")
    given = {name: value for name, value in options.items() if value is not None}
    shared = objective in SHARED or given.get("scope") == "overall"
    if cuts is None:
        chosen, exact = fit_cuts(scores, held, objective, threshold=threshold, **given)
        _warn_if_cautious(exact, objective, scores)
    else:
        check_options(objective, {**given, "threshold": threshold})
        chosen = _check_cuts(cuts, scores.shape[1], shared)
        exact = not isinstance(scores, TopScores) or scores.knows(chosen)
    fits = rule != "top_k" and objective not in UNFITTED and (held.nnz or objective not in NEED_POSITIVE)
    decision: dict[str, Any] = {
        "rule": rule,
        "thresholds": float(chosen[0]) if shared else chosen.tolist(),
        "empty": empty,
        "min_labels": min_labels,
        "max_labels": max_labels,
        "top_k": top_k,
        "calibration": None,
        "objective": objective,
        "fitted_on": fitted_on if fits else None,
        "rows": scores.shape[0],
        "rows_sha256": hash_rows(_sets(held) if row_ids is None else row_ids),
        "expected": {},
        "labels_sha256": hash_labels(labels),
    }
    decision |= {"options": given} if given else {}
    decision |= {"exact": exact} if isinstance(scores, TopScores) else {}
    check_decision(decision, labels)
    return decision | {"in_sample": _in_sample(scores, held, decision, chosen)}


def _check_cuts(cuts: ArrayLike, labels: int, shared: bool) -> NDArray[np.float64]:
    """Given cuts as an array, one a label; equal ones where one number is stored for all labels."""
    found = np.asarray(cuts, np.float64)
    if found.shape != (labels,):
        raise ValueError(f"cuts: expected {labels} numbers, one a label, found shape {found.shape}. Give one a label.")
    if shared and found.min() != found.max():
        expected = "equal numbers where one is stored for all labels"
        step = "Name an objective that has a cut a label, for instance macro_f1"
        raise ValueError(f"cuts: expected {expected}, found {found.min():.4g} to {found.max():.4g}. {step}.")
    return found


def _in_sample(
    scores: Scores, held: sparse.csr_array, decision: dict[str, Any], cuts: NDArray[np.float64]
) -> dict[str, Any]:
    """Scores of a decision on the rows it was fitted on; of scores kept in part only where they tell."""
    if not isinstance(scores, TopScores):
        decided = decide_probabilities(torch.from_numpy(np.require(scores, requirements=["C", "W"])), decision)
        return evaluate_predictions(scores, decided.numpy(), held, metrics=IN_SAMPLE)
    only_cuts = decision["rule"] == "threshold" and decision["empty"] != "at_least_one"
    if not (only_cuts and scores.knows(cuts)) or decision["min_labels"] or decision["max_labels"]:
        return {}
    pairs = pairs_above(scores, held, round_up(cuts, scores.dtype))
    right = np.bincount(pairs.label[pairs.hit], minlength=len(cuts))
    counts = Counts(
        right, np.bincount(pairs.label, minlength=len(cuts)), np.bincount(held.indices, minlength=len(cuts))
    )
    means = (micro, macro, macro_present)
    return {name: float(mean(f_beta, counts)) for name, mean in zip(IN_SAMPLE, means, strict=True)}


def _sets(held: sparse.csr_array) -> list[str]:
    """Each row's label ids as text."""
    return [str(ids.tolist()) for ids in np.split(held.indices, held.indptr[1:-1])]


IN_SAMPLE = ("micro_f1", "macro_f1", "macro_f1_present")
# their cuts do not depend on the fitted rows
UNFITTED = ("fixed", "cost_plug_in")
# no cut is better than another where no label has a positive: every F is 0, no recall is defined
NEED_POSITIVE = ("micro_f1", "macro_f1", "balanced", "samples_f1", "micro_f1_per_label", "recall_at_least")
# one number is stored for all labels
SHARED = ("fixed", "micro_f1", "samples_f1", "cardinality", "cost_plug_in")

THRESHOLD_RULES: dict[str, Callable[..., NDArray[np.float64]]] = {
    "fixed": fixed,
    "micro_f1": micro_f1,
    "macro_f1": macro_f1,
    "balanced": balanced,
    "samples_f1": samples_f1,
    "micro_f1_per_label": micro_f1_per_label,
    "scut_fbr": scut_fbr,
    "precision_at_least": precision_at_least,
    "recall_at_least": recall_at_least,
    "cardinality": cardinality,
    "cost": cost,
    "cost_plug_in": cost_plug_in,
    "f_star_half": f_star_half,
}
