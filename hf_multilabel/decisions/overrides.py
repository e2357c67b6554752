"""Another decision for one use of a finished model: what can be changed without scores to fit on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from hf_multilabel.errors import nearest
from hf_multilabel.remote_code.decision_multilabel import SETTINGS, check_settings, default_decision

# Evidence of a decision that is about its label sets, beside `expected`.
OF_SETS = ("in_sample", "risk", "expected_missing")


def override_decision(
    decision: Mapping[str, Any],
    labels: Sequence[str],
    *,
    threshold: float | None = None,
    label_thresholds: Mapping[str, float] | None = None,
    top_k: int | None = None,
    min_labels: int | None = None,
    max_labels: int | None = None,
    empty: str | None = None,
    rule: str | None = None,
) -> dict[str, Any]:
    """The stored decision with some settings replaced; what was not given stays, as does the calibration.

    Cuts make a rule that uses cuts: they replace `top_k` and `expected_f1` by `threshold`. A `top_k` alone means
    exactly the k most probable labels, and no text abstains; beside cuts, or under a stored `threshold_top_k`, labels
    must pass their cuts, too. `min_labels` takes the place of a stored `empty: abstain`. The rule `expected_f1` takes
    no cuts.

    Args:
        decision: As stored in config.json.
        labels: Label names in the order of their ids, L of them.
        threshold: The cut of every label.
        label_thresholds: Label to its cut; the others keep theirs, or take `threshold`.
        top_k: Labels of a row.
        min_labels: Fewest labels of a row.
        max_labels: Most labels of a row.
        empty: What an empty label set becomes: allow, at_least_one or abstain.
        rule: expected_f1, or None: the others follow from cuts and `top_k`.

    Returns:
        A new decision, checked; its evidence of a fit is gone where cuts or rule were replaced, or a promise was made
        for other label sets, and what was measured of its label sets where any setting changed.

    Raises:
        ValueError: If a label is unknown, a value is out of range, or values do not go together.

    Example:
        >>> from hf_multilabel.remote_code.decision_multilabel import default_decision
        >>> found = override_decision(default_decision(), ["sport", "news"], label_thresholds={"news": 0.2})
        >>> found["rule"], found["thresholds"]
        ('threshold', [0.5, 0.2])
    """
    found, has_cuts = dict(decision), threshold is not None or bool(label_thresholds)
    if rule is not None:
        _check_rule(rule, {"threshold": threshold, "label_thresholds": label_thresholds or None, "top_k": top_k})
        found |= {"rule": rule, "top_k": None, "thresholds": 0.5}
    if has_cuts:
        found["thresholds"] = _cuts(decision["thresholds"], labels, threshold, label_thresholds or {})
        if decision["rule"] != "threshold_top_k":
            found |= {"rule": "threshold", "top_k": None}
    if top_k is not None:
        alone = not has_cuts and decision["rule"] != "threshold_top_k"
        if alone and empty == "abstain":
            expected = f"none that abstains beside top_k={top_k} alone, under which every text gets {top_k} labels"
            raise ValueError(f"empty: expected {expected}, found {empty!r}. Add a threshold, or leave one of them out.")
        found |= {"rule": "top_k" if alone else "threshold_top_k", "top_k": top_k}
        # exactly k is asked for, whatever bounds were stored
        found |= {"min_labels": None, "max_labels": None, "empty": "allow"} if alone else {}
    if min_labels and empty is None and found["empty"] == "abstain":
        found["empty"] = "allow"
    given = {"min_labels": min_labels, "max_labels": max_labels, "empty": empty}
    found |= {key: value for key, value in given.items() if value is not None}
    changed = any(found[key] != decision[key] for key in SETTINGS)
    if has_cuts or top_k is not None or rule is not None or (changed and decision.get("objective") == "risk"):
        nothing = default_decision()
        kept = (*SETTINGS, "labels_sha256")
        found = {key: found[key] if key in kept else value for key, value in nothing.items()}
    elif changed:
        found = {key: value for key, value in found.items() if key not in OF_SETS} | {"expected": {}}
    check_settings(found, len(labels))
    return found


def lost_guarantee(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """The promise of a decision that another one in its place does not make; None if the first made none, or both do.

    Example:
        >>> lost_guarantee({"risk": {"metric": "recall", "target": 0.9, "confidence": None, "controlled": True}}, {})
        'recall 0.9'
    """
    promise = before.get("risk") or {}
    if not promise.get("controlled") or (after.get("risk") or {}).get("controlled"):
        return None
    sure = f", confidence {promise['confidence']}" if promise["confidence"] is not None else ""
    return f"{promise['metric']} {promise['target']}{sure}"


def _check_rule(rule: str, given: Mapping[str, Any]) -> None:
    """Refuse a rule that follows from other arguments, and arguments of another rule beside it."""
    if rule != "expected_f1":
        step = "Give top_k or cuts, and it follows"
        raise ValueError(f"rule: expected expected_f1, the one that takes nothing, found {rule!r}. {step}.")
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name}: expected none beside the rule {rule}, found {value!r}. Leave one of them out.")


def _cuts(
    stored: float | Sequence[float], labels: Sequence[str], threshold: float | None, given: Mapping[str, float]
) -> float | list[float]:
    """The cut of all labels, or one a label."""
    common = stored if threshold is None else threshold
    if not given:
        return list(common) if isinstance(common, (list, tuple)) else _plain(common)
    cuts = list(common) if isinstance(common, (list, tuple)) else [_plain(common)] * len(labels)
    ids = {name: number for number, name in enumerate(labels)}
    for name, cut in given.items():
        if name not in ids:
            near = nearest(name, ids)
            step = f"Write {near}" if near else "Write one of the model's labels"
            raise ValueError(f"threshold: expected a label of the model, found {name!r}. {step}.")
        cuts[ids[name]] = _plain(cut)
    return cuts


def _plain(cut: Any) -> Any:
    """A number of any library as Python's; what is none as it is, for the check that follows."""
    return float(cut) if isinstance(cut, Real) else cut
