"""Reliability diagrams: of what the model calls 70% likely, do 70% hold? All labels, and head, torso and tail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_multilabel.evaluation.calibration import BINS, reliability_report
from hf_multilabel.reports.drawing import GREY, PART_COLORS, count_labels, log_ticks, new_figure
from hf_multilabel.reports.evidence import RunEvidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Pairs below which the share of a bin is chance: its dot stands alone.
FEW_PAIRS = 10


def measure(evidence: RunEvidence) -> dict[str, dict[str, Any]]:
    """Calibration of all labels and of each part: `labels`, `pooled_ece` and `bins`, as `reliability_report` has them.

    Of scores kept in part the pairs above their row's floor are measured, about the 60 most probable of a text.
    """
    if evidence.complete:
        return reliability_report(evidence.scores, evidence.targets, evidence.frequency)
    _, label, probs = evidence.kept
    parts = {"all": np.arange(len(evidence.labels)), **evidence.parts}
    found = {}
    for part, ids in parts.items():
        chosen = np.isin(label, ids)
        if chosen.any():
            found[part] = {"labels": len(ids), **pool(probs[chosen], evidence.kept_true[chosen])}
    return found


def pool(probs: NDArray[np.float64], held: NDArray[np.bool_], bins: int = BINS) -> dict[str, Any]:
    """Calibration of some pairs: ECE and the points of the diagram.

    Example:
        >>> pool(np.array([0.9, 0.9]), np.array([True, False]), bins=2)
        {'pooled_ece': 0.4, 'bins': [{'count': 2, 'predicted': 0.9, 'observed': 0.5}]}
    """
    place = np.minimum((probs * bins).astype(int), bins - 1)
    count, predicted, observed = (
        np.bincount(place, weights=weights, minlength=bins) for weights in (np.ones(len(probs)), probs, held)
    )
    points = [
        {"count": int(n), "predicted": float(p / n), "observed": float(y / n)}
        for n, p, y in zip(count, predicted, observed, strict=True)
        if n
    ]
    return {"pooled_ece": float(np.abs(predicted - observed).sum() / len(probs)), "bins": points}


def dot_sizes(count: Sequence[int]) -> NDArray[np.float64]:
    """Areas of dots for numbers of pairs: the eye then sees which bins are chance.

    Example:
        >>> dot_sizes([1, 100, 10_000]).round().tolist()
        [4.0, 8.0, 49.0]
    """
    root = np.sqrt(count)
    return 4 + 45 * root / root.max(initial=1)


def draw_reliability(evidence: RunEvidence) -> Figure:
    """Share of pairs that hold against the probability they were given, above how many there are of each."""
    figure = new_figure(5.6, 5.6)
    diagram, amounts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    diagram.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfectly calibrated")
    for part, found in measure(evidence).items():
        points = found["bins"]
        predicted, observed, count = ([point[key] for point in points] for key in ("predicted", "observed", "count"))
        label = f"{part}: {count_labels(found['labels'])}, ECE {found['pooled_ece']:.4f}"
        color, width = PART_COLORS[part], 1.4 if part == "all" else 0.9
        diagram.scatter(predicted, observed, s=dot_sizes(count), color=color, alpha=0.8, linewidths=0)
        joined = [(p, y) for p, y, n in zip(predicted, observed, count, strict=True) if n >= FEW_PAIRS]
        diagram.plot(*zip(*joined or [(np.nan, np.nan)], strict=True), color=color, linewidth=width, label=label)
        if part == "all":
            amounts.bar(predicted, count, width=0.04, color=PART_COLORS["all"])
    # a little more than 0 to 1, so that dots and bars at the ends are whole
    diagram.set(ylim=(-0.02, 1.02), xlim=(-0.025, 1.025), ylabel="share that holds")
    diagram.set_title(f"Reliability on {evidence.split}")
    figure.legend(*diagram.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    amounts.set_yscale("log")
    log_ticks(amounts.yaxis)
    amounts.set(xlabel="mean probability in a bin", ylabel="(text, label)\npairs, log scale")
    return figure
