"""Precision against recall, label by label, with the decision and the fixed cut of 0.5 marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hf_multilabel.reports.drawing import COLORS, GREY, label_last, new_figure, shorten
from hf_multilabel.reports.evidence import RunEvidence, at_pairs
from hf_multilabel.reports.histograms import COLUMNS, chosen_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Points drawn of a curve; a file of vectors or dots holds no more.
MOST_POINTS = 400
# Positives below which the cuts that find them are marked: a curve of one or two of them is chance.
FEW_POSITIVES = 10


@dataclass(frozen=True)
class Curve:
    """A precision-recall curve, from the highest cut down, one point a distinct score.

    Args:
        cuts: The scores, descending, (P,).
        precision: Of the pairs at or above each, (P,).
        recall: Of the true pairs, (P,).
        exact: Whether all pairs at or above the cut are known, (P,); elsewhere precision is an upper bound.
    """

    cuts: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    exact: NDArray[np.bool_]

    def area(self) -> float:
        """Average precision: the mean over true pairs of the precision at their score."""
        return float((np.diff(self.recall, prepend=0) * self.precision).sum())


def trace(scores: NDArray[np.floating], held: NDArray[np.bool_], positives: int, floor: float = -1.0) -> Curve:
    """The curve of some pairs.

    Args:
        scores: Their probabilities, (P,).
        held: Which are true, (P,).
        positives: True pairs in all; at least one.
        floor: No pair that is missing here has a higher score.

    Example:
        >>> curve = trace(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, False, True, False]), 2)
        >>> curve.precision.round(2).tolist(), curve.recall.tolist()
        ([1.0, 0.67, 0.5], [0.5, 1.0, 1.0])
    """
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(held[order])
    # equal scores are one step
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1) if len(scores) else np.zeros(0, np.int64)
    cuts = scores[last].astype(np.float64)
    return Curve(cuts, hits[last] / (last + 1), hits[last] / positives, cuts > floor)


def curve_of(evidence: RunEvidence, label: int | None) -> Curve:
    """The curve of a label, or of all pairs pooled for None."""
    if evidence.complete:
        column = slice(None) if label is None else slice(label, label + 1)
        held = evidence.targets[:, column]
        return trace(np.asarray(evidence.scores[:, column]).ravel(), held.toarray().ravel(), held.nnz)
    top = evidence.scores.top
    stored = top.stored if label is None else top.stored[:, [label]]
    stored = stored.tocoo()
    columns = stored.col if label is None else np.full(stored.nnz, label)
    held = at_pairs(evidence.targets, stored.row, columns)
    positives = evidence.counts.positive.sum() if label is None else evidence.counts.positive[label]
    return trace(stored.data, held, int(positives), top.ceiling)


def draw_precision_recall(evidence: RunEvidence) -> Figure | None:
    """All pairs pooled, then a panel a label that has positives; None where nothing is true."""
    if not evidence.targets.nnz:
        return None
    labels = [label for label in chosen_labels(evidence).tolist() if evidence.counts.positive[label]]
    panels: list[int | None] = [None, *labels]
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(2.5 * columns, 0.7 + 2.1 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, label in zip(grid, panels, strict=False):
        draw_panel(axes, evidence, label)
    label_last(grid, columns, len(panels))
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=4)
    return figure


def draw_panel(axes: Axes, evidence: RunEvidence, label: int | None) -> None:
    """One curve with its two marked points and the share of texts on which the label holds."""
    curve = curve_of(evidence, label)
    shown = np.unique(np.linspace(0, len(curve.cuts) - 1, min(MOST_POINTS, len(curve.cuts))).astype(int))
    shown = shown[curve.recall[shown] > 0]  # cuts that find nothing are no part of the area
    exact = shown[curve.exact[shown]]
    positives = evidence.counts.positive.sum() if label is None else evidence.counts.positive[label]
    if positives < FEW_POSITIVES:
        found = exact[np.diff(curve.recall[exact], prepend=0) > 0]
        axes.plot(curve.recall[found], curve.precision[found], ".", color=COLORS[0], markersize=5)
    axes.plot(*steps(curve, shown), color=COLORS[0], linewidth=1, linestyle=":")
    axes.plot(*steps(curve, exact), color=COLORS[0], linewidth=1.5, label="all cuts")
    share = positives / evidence.rows / (len(evidence.labels) if label is None else 1)
    axes.axhline(share, color=GREY, linestyle="--", linewidth=0.8, label="share of texts (chance)")
    at_half = np.flatnonzero(curve.cuts >= 0.5)
    if len(at_half):
        axes.plot(
            curve.recall[at_half[-1]], curve.precision[at_half[-1]], "s", markersize=5,
            markerfacecolor="white", markeredgecolor="#333333", label="cut 0.5",
        )  # fmt: skip
    else:
        axes.plot([], [], "s", markersize=5, markerfacecolor="white", markeredgecolor="#333333", label="cut 0.5")
    recall, precision, predicted = decided_point(evidence, label)
    shown_at = [[recall], [precision]] if predicted else [[], []]
    axes.plot(*shown_at, "o", markersize=6, color=COLORS[1], label="the decision")
    name = "all labels pooled" if label is None else shorten(evidence.labels[label], 24)
    cut = f", cut {evidence.cuts[label]:.3f}" if label is not None and evidence.has_cuts else ""
    area = f"AP {curve.area():.3f}" if curve.exact.all() else "AP not known"
    axes.set_title(f"{name}\n{area}{cut}", fontsize=8, fontweight="normal")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), xticks=(0, 0.5, 1))


def steps(curve: Curve, chosen: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and precision of some cuts as steps from recall 0, (2P,) each; the area below them is `Curve.area`.

    Nothing lies between two cuts: a straight line there would promise a precision that no cut has.

    Example:
        >>> curve = trace(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]), 2)
        >>> [part.round(2).tolist() for part in steps(curve, np.array([0, 2]))]
        [[0.0, 0.5, 0.5, 1.0], [1.0, 1.0, 0.67, 0.67]]
    """
    recall = curve.recall[chosen]
    return np.column_stack([np.append(0, recall)[:-1], recall]).ravel(), np.repeat(curve.precision[chosen], 2)


def decided_point(evidence: RunEvidence, label: int | None) -> tuple[float, float, int]:
    """Recall and precision of the decided label sets, and how many pairs were predicted."""
    counts = evidence.counts
    chosen = slice(None) if label is None else slice(label, label + 1)
    right, predicted, positive = (
        int(found[chosen].sum()) for found in (counts.true_positive, counts.predicted, counts.positive)
    )
    return right / max(positive, 1), right / max(predicted, 1), predicted
