"""Frequency against F1: what a model does for head, torso and tail labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hf_multilabel.evaluation.frequency import PARTS
from hf_multilabel.reports.drawing import PART_COLORS, count_labels, log_ticks, name_points, new_figure
from hf_multilabel.reports.evidence import RunEvidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 8


def draw_frequency_f1(evidence: RunEvidence) -> Figure | None:
    """A point a label with a positive in the split; the mean of each part as a line, the worst frequent ones named.

    None where no label has a positive.
    """
    tested = evidence.counts.positive > 0
    if not tested.any():
        return None
    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    axes.set_xscale("log")
    few, lines = tested.sum() <= 40, []
    for part in PARTS:
        ids = evidence.parts[part]
        ids = ids[tested[ids]]
        if not len(ids):
            continue
        at, mean = np.maximum(evidence.frequency[ids], 0.7), evidence.f1[ids].mean()
        label = f"{part}: {count_labels(len(ids))}, mean F1 {mean:.3f}"
        color, size, alpha = PART_COLORS[part], 28 if few else 9, 0.85 if few else 0.35
        axes.scatter(at, evidence.f1[ids], s=size, color=color, alpha=alpha, linewidths=0, zorder=3)
        axes.plot([at.min() / 1.05, at.max() * 1.05], [mean, mean], color=color, linewidth=1.6, label=label)
        lines += [(float(place), float(mean)) for place in np.geomspace(at.min() / 1.05, at.max() * 1.05, 40)]
    log_ticks(axes.xaxis)
    axes.set_ylim(-0.03, 1.06)
    name_worst(axes, evidence, np.flatnonzero(tested), lines)
    axes.set_xlabel(f"{evidence.frequency_of} texts with the label (log scale)")
    axes.set_ylabel(f"F1 on {evidence.split}, fitted decision")
    axes.set_title("F1 by how often a label holds (lines: means)")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def name_worst(axes: Axes, evidence: RunEvidence, tested: np.ndarray, lines: Sequence[tuple[float, float]]) -> None:
    """Names beside the labels that cost most, low F1 times frequency; not on dots or lines where there is room."""
    cost = (1 - evidence.f1[tested]) * np.sqrt(evidence.frequency[tested] + 1.0)
    worst = tested if len(tested) <= NAMED else tested[np.argsort(-cost, kind="stable")[:NAMED]]
    dots = {i: (max(float(evidence.frequency[i]), 0.7), float(evidence.f1[i])) for i in tested.tolist()}
    points = [(*dots[i], evidence.labels[i]) for i in worst.tolist()]
    name_points(axes, sorted(points, key=lambda point: point[1]), others=[*dots.values(), *lines])
