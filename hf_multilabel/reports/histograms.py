"""Score histograms: how far the probabilities of true and of other pairs lie apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hf_multilabel.reports.drawing import COLORS, label_last, log_ticks, new_figure, shorten
from hf_multilabel.reports.evidence import RunEvidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 25
NAMED = 11
COLUMNS = 4


def count_scores(evidence: RunEvidence, label: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs by their probability, in `BINS` bins of equal width: true ones and others, (B,) each.

    Args:
        evidence: Of scores kept in part, the pairs above their row's floor are counted.
        label: Of one label; None: of all.
    """
    if evidence.complete:
        column = slice(None) if label is None else slice(label, label + 1)
        scores, held = evidence.scores[:, column], evidence.targets[:, column]
        true = scores[held.nonzero()]
        every = np.histogram(scores, BINS, (0, 1))[0]
    else:
        _, labels, probs = evidence.kept
        chosen = np.ones(len(labels), bool) if label is None else labels == label
        true, every = probs[chosen & evidence.kept_true], np.histogram(probs[chosen], BINS, (0, 1))[0]
    positive = np.histogram(true, BINS, (0, 1))[0]
    return positive, every - positive


def chosen_labels(evidence: RunEvidence, named: int = NAMED) -> NDArray[np.int64]:
    """Labels that get a panel of their own: all where few, else the most frequent half and the worst of the others.

    Labels with fewer than three positives in the split are no example of anything and come last.
    """
    if len(evidence.labels) <= named:
        return evidence.by_frequency
    frequent = evidence.by_frequency[: (named + 1) // 2]
    others = np.setdiff1d(np.arange(len(evidence.labels)), frequent)
    positive = evidence.counts.positive[others]
    order = np.lexsort((-positive, evidence.f1[others], positive < 3))
    return np.concatenate([frequent, others[order][: named - len(frequent)]])


def draw_score_histograms(evidence: RunEvidence) -> Figure:
    """All pairs, then a panel a label; counts on a logarithmic scale, the cut as a line."""
    panels: list[int | None] = [None, *chosen_labels(evidence).tolist()]
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(2.5 * columns, 0.6 + 1.75 * rows)
    edges = np.linspace(0, 1, BINS + 1)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, label in zip(grid, panels, strict=False):
        positive, negative = count_scores(evidence, label)
        for counts, color, name in ((negative, COLORS[0], "label does not hold"), (positive, COLORS[1], "label holds")):
            axes.stairs(counts, edges, color=color, fill=True, alpha=0.55, label=name if label is None else None)
        if not (positive.any() or negative.any()):  # no score was kept: a logarithm has no range of its own
            axes.set_ylim(0.7, 10)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        log_ticks(axes.yaxis)
        axes.set_title("all labels" if label is None else shorten(evidence.labels[label], 24), fontsize=8)
        if label is not None and evidence.has_cuts:
            axes.axvline(evidence.cuts[label], color="#333333", linewidth=1, linestyle="--")
    label_last(grid, columns, len(panels))
    figure.supxlabel("probability (dashed: the cut)", fontsize=9)
    what = "texts" if evidence.complete else "kept pairs above their text's floor"
    figure.supylabel(f"{what} (log scale)", fontsize=9)
    figure.legend(loc="outside upper right", ncols=2)
    return figure
