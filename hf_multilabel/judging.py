"""What a decision makes of the scores of a split, and what that is worth: metrics at 0.5 and at the decision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

from hf_multilabel.console import note
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.decisions.constraints import prices_of
from hf_multilabel.decisions.top_decision import decide_top
from hf_multilabel.evaluation.costs import count_costs, mean_cost_interval
from hf_multilabel.evaluation.intervals import confidence_intervals
from hf_multilabel.evaluation.keeping import RankedScores, tell_unsettled
from hf_multilabel.evaluation.metrics import evaluate_outcome
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.evaluation.top_outcome import TopOutcome
from hf_multilabel.remote_code.decision_multilabel import decide_probabilities, default_decision, probabilities

# How many training rows each label has: what metrics that weigh or split labels by frequency need.
COUNTS = "label_counts.json"
TrainingCounts = tuple[Sequence[int], int] | tuple[None, None]


def describe_counts(data: MultiLabelData) -> str:
    """The content of `COUNTS`: training rows, and those of each label, after the remedies against imbalance."""
    counts = dict(zip(data.labels.names, data.labels.counts, strict=True))
    return json.dumps({"rows": int(np.max(data.known_rows())), "labels": counts}, indent=1) + "\n"


def judge(
    scores: np.ndarray | RankedScores,
    targets: csr_matrix,
    decision: Mapping[str, Any],
    label_counts: Sequence[int] | None = None,
    rows: int | None = None,
) -> Outcome:
    """What a decision makes of the scores of a split, beside the truth.

    Where kept scores do not tell all labels of a text, the split is decided again by all scores, if that can be done.

    Args:
        scores: Logits, (N, L), or what was kept of the probabilities that the decision's calibration gives.
        targets: True where the label holds, (N, L).
        decision: As stored in config.json.
        label_counts: Training rows of each label, (L,).
        rows: Training rows, beside `label_counts`.
    """
    rule = dict(decision)
    if not isinstance(scores, RankedScores):
        probs = probabilities(torch.from_numpy(scores), rule)
        return Outcome(probs.numpy(), decide_probabilities(probs, rule).numpy(), targets, label_counts, rows)
    predicted, unsettled = decide_top(scores.top, rule)
    if len(unsettled) and scores.decide_again is not None:
        predicted, unsettled = scores.decide_again(rule), unsettled[:0]
    return TopOutcome(scores, predicted, targets, label_counts, rows, unsettled=len(unsettled))


def measure(
    scores: np.ndarray | RankedScores,
    targets: csr_matrix,
    decision: Mapping[str, Any],
    k: Iterable[int] = (1, 3, 5),
    label_counts: Sequence[int] | None = None,
    rows: int | None = None,
    intervals: bool = False,
    calibrated: RankedScores | None = None,
) -> dict[str, dict[str, Any]]:
    """Metrics at a fixed cut of 0.5 and at a decision, side by side.

    Args:
        scores: Logits, shape (N, L), or what was kept of the uncalibrated probabilities: then metrics that need all
            scores of a label are left out.
        targets: True where the label holds, shape (N, L).
        decision: As stored in config.json.
        k: Cut-offs of the ranking metrics.
        label_counts: Training rows of each label, shape (L,); None leaves out the metrics that need them.
        rows: Training rows, beside `label_counts`.
        intervals: Also give 95% confidence intervals at the decision.
        calibrated: What was kept of the calibrated probabilities, where the decision calibrates and `scores` are kept.

    Returns:
        `fixed` and `tuned`, each from metric name to value, where the decision has prices with `evaluation.costs.COSTS`
        at these; `tuned` has `intervals`, from metric name to [low, high].

    Raises:
        ValueError: If `calibrated` is missing.
    """
    if isinstance(scores, RankedScores) and decision["calibration"] is not None and calibrated is None:
        raise ValueError("calibrated: expected what was kept of the calibrated scores, found None. Score again.")
    found: dict[str, dict[str, Any]] = {}
    prices = prices_of(decision)
    for name, rule in (("fixed", default_decision()), ("tuned", dict(decision))):
        used = scores if name == "fixed" or calibrated is None else calibrated
        outcome = judge(used, targets, rule, label_counts, rows)
        found[name] = evaluate_outcome(outcome, tuple(k))
        found[name] |= count_costs(outcome, prices) if prices else {}
        if isinstance(outcome, TopOutcome):
            found[name]["rows_unsettled"] = outcome.unsettled
            if said := tell_unsettled(found[name]):
                note(f"warning: {name}: {said} Raise evaluation.keep_scores.")
        if intervals and name == "tuned":
            bounds = confidence_intervals(outcome, k=tuple(k))
            found[name]["intervals"] = {metric: list(ends) for metric, ends in bounds.items()}
            found[name]["intervals"] |= {"mean_cost": mean_cost_interval(outcome, prices)} if prices else {}
    return found
