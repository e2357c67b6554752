"""Does an exported graph give what the model gives? Compared on real texts before an export says done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix

from hf_multilabel.errors import EnvironmentFault, Finding
from hf_multilabel.evaluation.metrics import evaluate_predictions
from hf_multilabel.publishing.reproduction import NEAR, near_a_cut
from hf_multilabel.remote_code.decision_multilabel import decide_probabilities

TOLERANCE = 1e-5
# Points of micro-F1, from 0 to 100, that int8 may lose.
LOST_POINTS = 0.3


class Decided(NamedTuple):
    """Calibrated probabilities (N, L), and the label sets, bool (N, L)."""

    probs: np.ndarray
    labels: np.ndarray


def check_same(
    where: str, labels: Sequence[str], decision: Mapping[str, Any], expected: Decided, found: Decided
) -> dict[str, Any]:
    """Refuse a graph in fp32 that differs from the model.

    Probabilities must agree within `TOLERANCE`, label sets exactly, except for labels whose probability lies within
    1e-5 of their cut: rows that have one are counted.

    Args:
        where: The file, for messages.
        labels: Label names by id.
        decision: As stored.
        expected: Of the model.
        found: Of the graph.

    Returns:
        rows, max_abs_probability_difference, tolerance, rows_with_other_labels, rows_near_a_cut.

    Raises:
        EnvironmentFault: If it differs.
    """
    check_decided(where, labels, decision, found)
    difference = np.abs(expected.probs.astype(np.float64) - found.probs)  # (N, L)
    wrong = ~(difference <= TOLERANCE)  # a NaN is wrong too
    if wrong.any():
        row, label = np.argwhere(wrong)[0]
        what = f"{found.probs[row, label]} instead of {expected.probs[row, label]} in row {row} for {labels[label]!r}"
        raise _fault("P530", where, f"probabilities within {TOLERANCE} of the model's", what)
    near = near_a_cut(torch.from_numpy(expected.probs), dict(decision)).numpy()
    flipped = expected.labels != found.labels
    unexcused = (flipped & ~near).any(axis=1)
    if unexcused.any():
        row = int(np.flatnonzero(unexcused)[0])
        names = [labels[label] for label in np.flatnonzero(flipped[row])][:5]
        what = f"{int(unexcused.sum())} rows with another, first row {row} in {names}"
        raise _fault("P531", where, "the model's label sets", what)
    return {
        "rows": len(found.probs),
        "max_abs_probability_difference": float(difference.max(initial=0.0)),
        "tolerance": TOLERANCE,
        "rows_with_other_labels": int(flipped.any(axis=1).sum()),
        "rows_near_a_cut": int(near.any(axis=1).sum()),
        "near": NEAR,
    }


def check_int8(
    where: str,
    labels: Sequence[str],
    decision: Mapping[str, Any],
    full: Decided,
    found: Decided,
    targets: csr_matrix,
) -> dict[str, Any]:
    """Refuse a graph in int8 that loses more than `LOST_POINTS` of micro-F1 against fp32 on the same labelled rows.

    Args:
        where: The file, for messages.
        labels: Label names by id.
        decision: As stored.
        full: Of the graph in fp32.
        found: Of the graph in int8.
        targets: True label sets, (N, L).

    Returns:
        rows, micro_f1, fp32_micro_f1, lost_points, tolerance_points, rows_with_other_labels.

    Raises:
        EnvironmentFault: If it does, with the number.
    """
    check_decided(where, labels, decision, found)
    f1 = {
        name: float(evaluate_predictions(part.probs, part.labels, targets, metrics=("micro_f1",))["micro_f1"])
        for name, part in (("fp32", full), ("int8", found))
    }
    lost = 100 * (f1["fp32"] - f1["int8"])
    if not lost <= LOST_POINTS:
        what = f"{f1['int8']:.4f} instead of {f1['fp32']:.4f} on {len(found.probs):,} rows: {lost:.2f} points less"
        fix = "export without --int8; on few rows, more with --rows or --data may tell chance from loss"
        raise EnvironmentFault(
            Finding("P532", where, f"expected micro-F1 at most {LOST_POINTS} points below fp32, found {what}", fix)
        )
    return {
        "rows": len(found.probs),
        "micro_f1": f1["int8"],
        "fp32_micro_f1": f1["fp32"],
        "lost_points": lost,
        "tolerance_points": LOST_POINTS,
        "rows_with_other_labels": int((full.labels != found.labels).any(axis=1).sum()),
    }


def check_decided(where: str, labels: Sequence[str], decision: Mapping[str, Any], found: Decided) -> None:
    """Refuse a graph whose label sets are not exactly those its own probabilities give.

    Raises:
        EnvironmentFault: If so; there is no tolerance, both compare the same numbers.
    """
    expected = decide_probabilities(torch.from_numpy(found.probs), dict(decision)).numpy()
    if (other := expected != found.labels).any():
        row, label = np.argwhere(other)[0]
        what = f"{labels[label]!r} {'in' if found.labels[row, label] else 'not in'} the set of row {row}"
        raise _fault("P533", where, "label sets as its probabilities give them", what)


def _fault(code: str, where: str, expected: str, found: str) -> EnvironmentFault:
    fix = "nothing was written; report this with the versions of torch, onnx and onnxruntime"
    return EnvironmentFault(Finding(code, where, f"expected {expected}, found {found}", fix))
