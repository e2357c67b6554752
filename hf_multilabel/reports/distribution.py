"""How often each label holds, in training and in the split that is reported on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hf_multilabel.evaluation.frequency import PARTS
from hf_multilabel.reports.drawing import COLORS, PART_COLORS, count_labels, log_ticks, new_figure, shorten
from hf_multilabel.reports.evidence import RunEvidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Labels that get a bar and a name each; of more, the most frequent ones do, beside all labels by rank.
NAMED, NAMED_OF_MANY = 30, 18


def draw_label_distribution(evidence: RunEvidence) -> Figure:
    """A bar a label where few, else the most frequent ones beside the frequency of all labels by rank."""
    many = len(evidence.labels) > NAMED
    named = evidence.by_frequency[: NAMED_OF_MANY if many else NAMED]
    height = 1.2 + 0.24 * max(len(named), 5)
    if not many:
        figure = new_figure(7.2, height)
        draw_bars(figure.subplots(), evidence, named)
        return figure
    figure = new_figure(9.0, height)
    bars, ranks = figure.subplots(1, 2, width_ratios=(1.15, 1))
    draw_bars(bars, evidence, named)
    bars.set_title(f"The {len(named)} most frequent of {len(evidence.labels):,} labels")
    draw_ranks(ranks, evidence)
    return figure


def draw_bars(axes: Axes, evidence: RunEvidence, ids: np.ndarray) -> None:
    """The share of texts on which each of some labels holds, in training beside the split."""
    given = [(evidence.split, evidence.counts.positive, evidence.rows, COLORS[1])]
    if evidence.label_counts is not None:
        given.insert(0, ("training", evidence.label_counts, evidence.training_rows or 1, COLORS[0]))
    places, width = np.arange(len(ids)), 0.8 / len(given)
    for number, (name, counts, rows, color) in enumerate(given):
        height = 100 * counts[ids] / rows
        axes.barh(
            places + (number - (len(given) - 1) / 2) * width,
            height,
            width,
            color=color,
            label=f"{name}, {rows:,} texts",
        )
    axes.set_yticks(places, [shorten(evidence.labels[label]) for label in ids])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="texts on which the label holds (%)", ylabel="label")
    axes.set_title("Labels by frequency")
    axes.legend(loc="lower right")


def draw_ranks(axes: Axes, evidence: RunEvidence) -> None:
    """How often the label of each rank holds, both axes logarithmic; labels that never hold are counted."""
    counts = evidence.frequency[evidence.by_frequency]
    place = np.empty(len(counts), np.int64)
    place[evidence.by_frequency] = np.arange(1, len(counts) + 1)
    for part in PARTS:
        ids = evidence.parts[part]
        held = np.sort(ids[evidence.frequency[ids] > 0])
        order = held[np.argsort(place[held])]
        if len(ids):
            label = f"{part}: {count_labels(len(ids))}"
            axes.plot(place[order], evidence.frequency[order], ".", color=PART_COLORS[part], markersize=4, label=label)
    never = int((counts == 0).sum())
    if never:
        axes.plot([], [], " ", label=f"never: {never:,} of the tail")
    axes.set(xscale="log", yscale="log", xlabel="rank of the label (log scale)")
    axes.set_ylabel(f"{evidence.frequency_of} texts with the label (log scale)")
    axes.set_title("All labels")
    for axis in (axes.xaxis, axes.yaxis):
        log_ticks(axis)
    axes.legend(loc="lower left")
