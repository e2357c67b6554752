"""Frequency against F1: what a model does for head, torso and tail labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hf_multilabel.evaluation.frequency import PARTS
from hf_multilabel.reports.drawing import PART_COLORS, log_ticks, new_figure, shorten
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
    few = tested.sum() <= 40
    for part in PARTS:
        ids = evidence.parts[part]
        ids = ids[tested[ids]]
        if not len(ids):
            continue
        at, mean = np.maximum(evidence.frequency[ids], 0.7), evidence.f1[ids].mean()
        label = f"{part}: {len(ids):,} labels, mean F1 {mean:.3f}"
        color, size, alpha = PART_COLORS[part], 28 if few else 9, 0.85 if few else 0.35
        axes.scatter(at, evidence.f1[ids], s=size, color=color, alpha=alpha, linewidths=0, label=label)
        axes.plot([at.min() / 1.05, at.max() * 1.05], [mean, mean], color=color, linewidth=1.6)
    name_worst(axes, evidence, np.flatnonzero(tested))
    log_ticks(axes.xaxis)
    axes.set_ylim(-0.03, 1.06)
    axes.set_xlabel(f"{evidence.frequency_of} texts with the label (log scale)")
    axes.set_ylabel(f"F1 on {evidence.split}, fitted decision")
    axes.set_title("Frequency against F1; lines are the means of head, torso and tail")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def name_worst(axes: Axes, evidence: RunEvidence, tested: np.ndarray) -> None:
    """Names beside the labels that cost most: low F1 times frequency."""
    cost = (1 - evidence.f1[tested]) * np.sqrt(evidence.frequency[tested] + 1.0)
    worst = tested if len(tested) <= NAMED else tested[np.argsort(-cost, kind="stable")[:NAMED]]
    written: list[tuple[float, float]] = []
    for label in worst[np.argsort(evidence.f1[worst])]:
        x, y = np.log10(max(evidence.frequency[label], 0.7)), float(evidence.f1[label])
        # a name that would lie on another one is left out: the table has them all
        if any(abs(x - other) < 0.35 and abs(y - above) < 0.045 for other, above in written):
            continue
        written.append((x, y))
        right = 10**x > axes.get_xlim()[1] ** 0.75 * axes.get_xlim()[0] ** 0.25
        axes.annotate(
            shorten(evidence.labels[label], 26), (10**x, y), xytext=(-5 if right else 5, 4),
            textcoords="offset points", fontsize=7, ha="right" if right else "left",
        )  # fmt: skip
