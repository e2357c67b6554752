"""The whole decision from logits: calibration first, then cuts on calibrated probabilities, or a guarantee.

Calibration and cuts are fitted on the same rows: see `calibration` for what that costs. Under a risk the calibration is
fitted on one half of the rows and the cut on the other half, for the guarantee is only one for rows that the
calibration has not seen. One temperature takes no rows away from a recall: it leaves the order of all scores as it is,
and a recall asks for nothing else. A precision's walks start from probabilities fixed beforehand, which it would move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hf_multilabel.decisions.calibration import as_logits, calibrate_checked, unknown_label
from hf_multilabel.decisions.risk_control import check_risk, fit_risk, least_rows
from hf_multilabel.decisions.thresholds import UNFITTED, check_options, fit_decision
from hf_multilabel.evaluation import as_label_sets
from hf_multilabel.evaluation.calibration import classwise_ece
from hf_multilabel.remote_code.decision_multilabel import check_decision, default_decision, probabilities

# How sets are made, and of which rows: what no objective takes
SET_OPTIONS = ("rule", "empty", "min_labels", "max_labels", "top_k", "row_ids")


def fit_from_logits(
    logits: ArrayLike | torch.Tensor,
    targets: Any,
    labels: Sequence[str],
    objective: str = "balanced",
    *,
    calibration: str | None = None,
    prevalence: Mapping[str, float] | None = None,
    risk: Mapping[str, Any] | None = None,
    fitted_on: str = "validation",
    **options: Any,
) -> dict[str, Any]:
    """Fit calibration and cuts, and wrap them into the decision that config.json stores, with its evidence.

    Args:
        logits: Finite, shape (N, L), array or tensor.
        targets: 1 where the label holds, else 0, shape (N, L), dense or CSR.
        labels: Label names in the order of their ids, L of them.
        objective: What cuts are fitted for; under a risk only where no cut keeps the promise.
        calibration: Key of `CALIBRATORS`, or None.
        prevalence: See `fit_calibration`; beside an objective that is not fitted, which would undo it.
        risk: See `risk_control`; its cut for all labels then replaces the objective's.
        fitted_on: The rows' split.
        **options: See `fit_decision`.

    Returns:
        Plain, JSON-able values, checked against `labels`: those of `fit_decision`; `calibration` with `rows`, the
        class-wise error before and after, on these rows, and a given `prevalence`; under a risk `risk`, the evidence of
        `fit_risk`, and the objective `risk` where the promise is kept.

    Raises:
        ValueError: If shapes, values or settings are wrong, or a rule would undo the promise.

    Warns:
        UserWarning: If probabilities seem to be given, not logits.

    Example:
        >>> logits = np.array([[-2.0, 1.0], [-1.0, 3.0], [0.5, -2.0], [2.0, 0.0]])
        >>> decision = fit_from_logits(logits, logits > 0.2, ["sport", "news"], calibration="temperature")
        >>> decision["calibration"]["method"], decision["rows"]
        ('temperature', 4)
    """
    scores = as_logits(logits)
    held = as_label_sets(targets, scores.shape, "targets")
    if prevalence and risk is None and objective not in UNFITTED:
        expected = f"{' or '.join(UNFITTED)} beside prevalence: other cuts are fitted at that of the rows"
        raise ValueError(f"objective: expected {expected}, found {objective!r}. Change one of the two.")
    fitted = judged = np.arange(len(scores))
    if risk is not None:
        check_guaranteed({**default_decision(), **options}, risk, prevalence)
        given = {name: value for name, value in options.items() if name not in SET_OPTIONS and value is not None}
        check_options(objective, given)  # used or not
        fitted, judged = divide_rows(len(scores), risk, calibration)
    method = calibration or ("prior_shift" if prevalence else None)
    stored = None
    if method is not None:
        stored = _calibrate(scores[fitted], held[fitted], method, prevalence, labels)
    probs = _probabilities(scores, stored)
    evidence = None
    if risk is not None:
        cut, evidence = fit_risk(probs[judged], held[judged], risk)
        if cut is not None:
            objective, options = "fixed", {**_settings(options), "threshold": cut}
    decision = fit_decision(probs, held, labels, objective, fitted_on=fitted_on, **options)
    if evidence is not None:
        decision |= {"risk": evidence, "objective": "risk" if evidence["controlled"] else decision["objective"]}
    if stored is not None or (evidence or {}).get("controlled"):
        decision |= {"calibration": stored, "fitted_on": fitted_on}
    check_decision(decision, labels)
    return decision


def check_guaranteed(
    decision: Mapping[str, Any], risk: Mapping[str, Any], prevalence: Mapping[str, float] | None
) -> None:
    """Refuse settings under which label sets are not those that the promise is about.

    Raises:
        ValueError: If labels are counted, sets are filled up under a precision, or prevalences differ from the rows'.
    """
    metric, _, _ = check_risk(risk)
    wrong = [("rule", decision["rule"], "threshold", decision["rule"] != "threshold")]
    wrong += [("max_labels", decision["max_labels"], "null", decision["max_labels"] is not None)]
    wrong += [("prevalence", prevalence, "null: the promise is for texts like the rows", prevalence is not None)]
    if metric == "precision":
        wrong += [("empty", decision["empty"], "allow or abstain", decision["empty"] == "at_least_one")]
        wrong += [("min_labels", decision["min_labels"], "null", bool(decision["min_labels"]))]
    for key, found, expected, is_wrong in wrong:
        if is_wrong:
            raise ValueError(f"{key}: expected {expected} beside risk, found {found!r}. Change one of the two.")


def check_promises(
    targets: Any,
    labels: Sequence[str],
    calibration: str | None = None,
    prevalence: Mapping[str, float] | None = None,
    risk: Mapping[str, Any] | None = None,
) -> None:
    """Refuse, before anything is trained, what `fit_from_logits` can not fit on these rows.

    Args:
        targets: CSR, shape (N, L).
        labels: Label names in the order of their ids.
        calibration: As `fit_from_logits`.
        prevalence: As `fit_from_logits`.
        risk: As `fit_from_logits`.

    Raises:
        ValueError: If `prevalence` names another label, or even a flawless model would get no guarantee.
    """
    for name in set(prevalence or ()) - set(labels):
        raise ValueError(unknown_label(name, labels))
    if risk is None:
        return
    _, judged = divide_rows(targets.shape[0], risk, calibration)
    counted = judged[np.diff(targets.indptr)[judged] > 0] if risk.get("recall") else judged
    needed = least_rows(risk)
    if len(counted) < needed:
        told = ["half of them fit the calibration"] if len(judged) < targets.shape[0] else []
        told += ["those without a label do not count"] if len(counted) < len(judged) else []
        expected = f"at least {needed:,} validation rows for this guarantee"
        found = f"{len(counted):,} ({'; '.join(told)})" if told else f"{len(counted):,}"
        more = "Label more, train with a larger data.validation_size, or lower the target"
        raise ValueError(f"risk: expected {expected}, found {found}. {more}.")


def divide_rows(
    rows: int, risk: Mapping[str, Any], calibration: str | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows a calibration is fitted on, and those a promise is judged on: all of them, or two halves."""
    metric, _, _ = check_risk(risk)
    if calibration is None or (calibration == "temperature" and metric == "recall"):
        return np.arange(rows), np.arange(rows)
    return halves(rows)


def halves(rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two halves of the rows, drawn the same each time."""
    order = np.random.default_rng(0).permutation(rows)
    return np.sort(order[: rows // 2]), np.sort(order[rows // 2 :])


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say how sets are made, without those of the objective that is not used."""
    return {name: options[name] for name in SET_OPTIONS if name in options}


def _calibrate(
    logits: NDArray[np.floating],
    held: sparse.csr_array,
    method: str,
    prevalence: Mapping[str, float] | None,
    labels: Sequence[str],
) -> dict[str, Any]:
    """A calibration with what it did to the rows it was fitted on."""
    found = calibrate_checked(logits, held, method, prevalence=prevalence, labels=labels)
    errors = {
        name: classwise_ece(_probabilities(logits, used), held) for name, used in (("before", None), ("after", found))
    }
    shifted = {"prevalence": dict(prevalence)} if prevalence else {}
    return found | {"rows": len(logits), "in_sample": {"classwise_ece": errors}, **shifted}


def _probabilities(logits: NDArray[np.floating], calibration: dict[str, Any] | None) -> NDArray[np.floating]:
    """As the model returns them."""
    values = torch.from_numpy(np.require(logits, requirements=["C", "W"]))
    return probabilities(values, {**default_decision(), "calibration": calibration}).numpy()
