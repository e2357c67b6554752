"""From logits to label sets: the only implementation of the decision that is stored in config.json.

Pipeline, evaluation, report, demo and the ONNX parity check all call `decide`, so that they cannot disagree.

    logits (N, L) -> probabilities: sigmoid of the calibrated logits             calibration
                  -> the rule: p >= threshold, the k highest, or both             rule, thresholds, top_k
                     or the set of the highest expected F1 (no thresholds)
                  -> add the best until min_labels, keep the best max_labels      empty, min_labels, max_labels
                  -> bool (N, L)

"Best" is the margin p - threshold (p itself under the rule top_k, which has no threshold); of equals the lower label id
wins. All comparisons are made in float64, so a float32 score compares with a stored cut the same way everywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .calibration_multilabel import calibrate, check_calibration, is_per_label
from .expected_f1_multilabel import expected_f1_sets

RULES = ("threshold", "top_k", "threshold_top_k", "expected_f1")
EMPTY = ("allow", "at_least_one", "abstain")
FITTED_ON = (None, "validation", "cross_validation")
# All of them must be present: a misspelt key is noticed because the right one is then missing.
SETTINGS = ("rule", "thresholds", "empty", "min_labels", "max_labels", "top_k", "calibration")
# Rows are decided in blocks of about this many scores: 6,000 x 4,271 scores need no float64 copy of the whole.
BLOCK = 1 << 22


def hash_labels(names: Sequence[str]) -> str:
    """SHA-256 of a label list in its order, as a hexadecimal string.

    Example:
        >>> hash_labels(["sport", "politics"])[:8]
        'b9542045'
    """
    return hashlib.sha256(json.dumps(list(names), separators=(",", ":")).encode("ascii")).hexdigest()


def default_decision() -> dict[str, Any]:
    """The decision of a model nothing was fitted for: every label with p >= 0.5, possibly none."""
    return {
        "rule": "threshold",
        "thresholds": 0.5,
        "empty": "allow",
        "min_labels": None,
        "max_labels": None,
        "top_k": None,
        "calibration": None,
        "objective": "fixed",
        "fitted_on": None,
        "rows": 0,
        "expected": {},
        "labels_sha256": None,
    }


def check_decision(decision: dict[str, Any], labels: Sequence[str]) -> None:
    """Refuse a decision that does not belong to these labels; nothing falls back to 0.5.

    Keys beyond those of `default_decision` are evidence: they are kept and change nothing.

    Args:
        decision: As stored in config.json.
        labels: Label names in the order of their ids.

    Raises:
        ValueError: If a setting is missing or out of range, there is not one finite threshold in [0, 1] for all labels
            or one for each, the decision was fitted on rows to report on, or its label list has another SHA-256.

    Example:
        >>> check_decision({**default_decision(), "labels_sha256": hash_labels(["sport", "news"])}, ["sport", "news"])
    """
    check_labels(labels)
    check_settings(decision, len(labels))
    if decision.get("fitted_on") not in FITTED_ON:
        raise _error("fitted_on", f"one of {FITTED_ON}", decision["fitted_on"], "Fit thresholds on validation rows")
    stored, actual = decision.get("labels_sha256"), hash_labels(labels)
    if stored is None and (isinstance(decision["thresholds"], (list, tuple)) or is_per_label(decision["calibration"])):
        what = "thresholds" if isinstance(decision["thresholds"], (list, tuple)) else "calibrated labels"
        expected = f"{actual} beside {len(labels)} {what}"
        raise _error("labels_sha256", expected, None, "Store the hash_labels() of the labels")
    if stored not in (None, actual):
        step = "If the same labels stand in another order, reorder the columns; else fit the decision again"
        raise _error("labels_sha256", f"{actual} of the model's {len(labels)} labels", stored, step)


def check_labels(labels: Sequence[str]) -> None:
    """Refuse what is no list of label names.

    Raises:
        ValueError: If it is None or one text, or a name repeats.
    """
    if labels is None or isinstance(labels, str):
        raise ValueError(f"labels: expected a list of names, found {labels!r}. Pass one name a label.")
    if repeated := first_repeated(labels):
        raise ValueError(f"labels: expected unique names, found {repeated!r} twice. Rename one.")


def first_repeated(names: Sequence[str]) -> str | None:
    """The first name that stands there twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def check_settings(decision: dict[str, Any], num_labels: int) -> None:
    """The part of `check_decision` that needs only the number of labels.

    Raises:
        ValueError: As `check_decision`.
    """
    _check_complete(decision)
    for key, allowed in (("rule", RULES), ("empty", EMPTY)):
        if decision[key] not in allowed:
            raise _error(key, f"one of {allowed}", decision[key], "Choose one of them")
    _check_thresholds(decision["thresholds"], num_labels)
    _check_counts(decision, num_labels)
    check_calibration(decision["calibration"], num_labels)


def probabilities(logits: Tensor, decision: dict[str, Any]) -> Tensor:
    """Calibrated probabilities, float32 or float64 as the logits are wider.

    Args:
        logits: Shape (N, L).
        decision: As stored in config.json.

    Returns:
        Values in [0, 1], shape (N, L).

    Raises:
        ValueError: If the decision is no mapping or lacks a setting.

    Example:
        >>> probabilities(torch.tensor([[0.0, 3.0]]), default_decision())
        tensor([[0.5000, 0.9526]])
    """
    _check_complete(decision)
    logits = torch.as_tensor(logits)
    # half-precision probabilities collapse to a few hundred values, and with them rankings and cuts
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.sigmoid(calibrate(wide, decision["calibration"]))


def decide_probabilities(probs: Tensor, decision: dict[str, Any]) -> Tensor:
    """Label sets from calibrated probabilities.

    Args:
        probs: Calibrated probabilities in [0, 1], shape (N, L).
        decision: As stored in config.json.

    Returns:
        True where the label is in the set, bool, shape (N, L), on the device of `probs`.

    Raises:
        ValueError: If `probs` is not (N, L), leaves [0, 1] or holds NaN, or the decision does not fit L labels.

    Cost: O(N L), with one partial sort a row where k, a minimum or a maximum binds; O(BLOCK) memory beside the result.

    Example:
        >>> decide_probabilities(torch.tensor([[0.9, 0.4, 0.6], [0.1, 0.2, 0.3]]), default_decision()).tolist()
        [[True, False, True], [False, False, False]]
    """
    probs = torch.as_tensor(probs)
    if probs.ndim != 2:
        raise ValueError(f"probs: expected shape (N, L), found {tuple(probs.shape)}. Pass one row a text.")
    check_settings(decision, probs.shape[1])
    thresholds = torch.as_tensor(decision["thresholds"], dtype=torch.float64, device=probs.device)  # () or (L,)
    if torch.compiler.is_exporting():  # a graph has no loop over a number of blocks that only its reader knows
        return decide_block(probs.double(), thresholds, decision)
    decided = torch.empty(probs.shape, dtype=torch.bool, device=probs.device)
    rows = max(1, BLOCK // max(1, probs.shape[1]))
    for block, out in zip(probs.split(rows), decided.split(rows), strict=True):
        out.copy_(decide_block(block.double(), thresholds, decision))
    return decided


def decide(logits: Tensor, decision: dict[str, Any]) -> Tensor:
    """Label sets from logits: `decide_probabilities` of `probabilities`.

    Args:
        logits: Shape (N, L). Probabilities are not refused here, for logits may lie in [0, 1], too: they go to
            `decide_probabilities`.
        decision: As stored in config.json.

    Returns:
        True where the label is in the set, bool, shape (N, L).

    Raises:
        ValueError: As `decide_probabilities`.

    Example:
        >>> decide(torch.tensor([[-1.0, 2.0]]), default_decision()).tolist()
        [[False, True]]
    """
    return decide_probabilities(probabilities(logits, decision), decision)


def decide_block(probs: Tensor, thresholds: Tensor, decision: dict[str, Any]) -> Tensor:
    """`decide_probabilities` of a few rows in float64 by checked settings: (n, L), () or (L,) -> bool (n, L)."""
    # a graph can't refuse values it has not seen
    if not torch.compiler.is_exporting() and probs.numel() and not ((probs >= 0) & (probs <= 1)).all():
        raise ValueError("probs: expected values in [0, 1], found NaN or others. Pass logits through probabilities().")
    rule = decision["rule"]
    least = max(decision["min_labels"] or 0, 1 if decision["empty"] == "at_least_one" else 0)
    if rule == "expected_f1":
        return expected_f1_sets(probs, least, decision["max_labels"])
    scores = probs if rule == "top_k" else probs - thresholds
    chosen = torch.ones_like(probs, dtype=torch.bool) if rule == "top_k" else probs >= thresholds
    if rule in ("top_k", "threshold_top_k"):
        chosen &= _highest(probs, decision["top_k"])
    if least:
        # what is chosen already stays: +inf ranks it above every margin
        chosen = _choose_again(chosen, chosen.sum(1) < least, scores, chosen, math.inf, least)
    most = decision["max_labels"]
    if most is not None:
        chosen = _choose_again(chosen, chosen.sum(1) > most, scores, ~chosen, -math.inf, most)
    return chosen


def _choose_again(chosen: Tensor, rows: Tensor, scores: Tensor, fixed: Tensor, score: float, k: int) -> Tensor:
    """In some rows, bool (n,), the k highest scores in place of what was chosen; scores at `fixed` are `score`."""
    if torch.compiler.is_exporting():  # a graph does it in all rows: how many need it is known only to its reader
        again = _highest(scores.masked_fill(fixed, score), k)
        return (rows.unsqueeze(1) & again) | (~rows.unsqueeze(1) & chosen)
    found = rows.nonzero().squeeze(1)
    chosen[found] = _highest(scores[found].masked_fill(fixed[found], score), k)
    return chosen


def _highest(scores: Tensor, k: int) -> Tensor:
    """True at the k highest scores of each row, of equals at the lower ids: (n, L) -> bool (n, L)."""
    if scores.numel() == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    last = scores.topk(k, dim=1).values[:, -1:]  # (n, 1); topk alone leaves the order of equals open
    above, equal = scores > last, scores == last
    room = k - above.sum(1, keepdim=True)
    return above | (equal & (equal.cumsum(1) <= room))


def _check_complete(decision: Any) -> None:
    if not isinstance(decision, dict):
        step = "Read it with json.loads()" if isinstance(decision, str) else "Start from default_decision()"
        raise ValueError(f"decision: expected a mapping, found {decision!r:.60}. {step}.")
    missing = [key for key in SETTINGS if key not in decision]
    if missing:
        step = f"The decision lacks {', '.join(missing)}: start from default_decision()"
        raise _error(missing[0], "a value", "no such key", step)


def _check_thresholds(thresholds: Any, num_labels: int) -> None:
    contract = f"one number in [0, 1] or {num_labels}, one a label"
    many = isinstance(thresholds, (list, tuple))
    if many and len(thresholds) != num_labels:
        raise _error("thresholds", contract, f"{len(thresholds)} numbers", "Fit them again for these labels")
    for position, value in enumerate(thresholds if many else [thresholds]):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:  # NaN fails, too
            where = f"thresholds[{position}]" if many else "thresholds"
            raise _error(where, contract, value, "Fit them again")


def _check_counts(decision: dict[str, Any], num_labels: int) -> None:
    for key, least in (("top_k", 1), ("min_labels", 0), ("max_labels", 1)):
        value = decision[key]
        unused = key == "top_k" and "top_k" not in decision["rule"]
        if value is None and (unused or key != "top_k"):
            continue
        if unused:
            raise _error(key, f"null under the rule {decision['rule']}", value, "Change it or the rule")
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= num_labels:
            raise _error(key, f"a whole number from {least} to {num_labels} labels", value, "Change it or the rule")
    least, most = decision["min_labels"] or 0, decision["max_labels"]
    if most is not None and least > most:
        raise _error("min_labels", f"at most max_labels={most}", least, "Lower it")
    if decision["top_k"] is not None and least > decision["top_k"]:
        raise _error("min_labels", f"at most top_k={decision['top_k']}", least, "Lower it")
    if least and decision["empty"] == "abstain":
        raise _error("min_labels", "null or 0 beside empty: abstain", least, "Abstain or fill up, not both")


def _error(key: str, contract: str, found: Any, step: str) -> ValueError:
    return ValueError(f"decision.{key}: expected {contract}, found {found!r}. {step}.")
